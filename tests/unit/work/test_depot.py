"""What replicas put and get in pieces: whatever is lost, sent twice, sent wrong or cut off, the file is whole or not there."""

import asyncio
import random

import pytest

from quarterdeck.clock import VirtualClock
from quarterdeck.model.blobs import PIECE, TRANSFERS, Get, Put, Ref, head, pack, split
from quarterdeck.store.blobs import Blobs
from quarterdeck.work import depot as module
from quarterdeck.work.depot import IDLE, Depot

CONTENT = random.Random(7).randbytes(3 * PIECE + 7)  # noqa: S311 the same in every process that runs these tests
REF = Ref.of(CONTENT)


class Bench:
    """A depot of a folder; `say` gives what is said and what comes behind it."""

    def __init__(self, folder):
        self.folder, self.clock = folder, VirtualClock()
        self.start()

    def start(self):
        """A new process."""
        blobs = Blobs(self.folder, spare=0)
        blobs.open()
        self.depot = Depot(blobs, self.clock)

    async def say(self, holder, asked):
        return split(await self.depot.serve(holder, pack(asked) if isinstance(asked, Put | Get) else asked))

    async def put(self, holder, at, content=CONTENT, ref=REF):
        """How much is there after a piece."""
        said, _ = await self.say(holder, Put(ref, at, content[at : at + PIECE]))
        return said.get("have", said.get("error"))

    def drafts(self):
        return list(self.folder.glob("*/.draft-*"))


@pytest.fixture
def bench(tmp_path):
    """Runs a test's body with a bench."""

    def run(play):
        async def whole():
            async with asyncio.timeout(20):
                await play(Bench(tmp_path / "blobs"))

        asyncio.run(whole())

    return run


def test_pieces_become_a_file_that_is_read_in_pieces(bench, replica):
    async def play(made):
        assert [await made.put(replica(), at) for at in range(0, REF.size, PIECE)] == [PIECE, 2 * PIECE, 3 * PIECE, REF.size]
        assert made.drafts() == []
        found = [(await made.say(replica("b"), Get(REF, at)))[1] for at in range(0, REF.size, PIECE)]
        assert b"".join(found) == CONTENT
        assert await made.say(replica(), Get(REF, REF.size)) == ({}, b"")

    bench(play)


def test_a_piece_out_of_place_changes_nothing_and_is_told_where_to_go_on(bench, replica):
    async def play(made):
        assert await made.put(replica(), PIECE) == 0
        assert await made.put(replica(), 0) == PIECE
        assert await made.put(replica(), 0) == PIECE
        assert await made.put(replica(), 3 * PIECE) == PIECE
        assert [await made.put(replica(), at) for at in (PIECE, 2 * PIECE, 3 * PIECE)] == [2 * PIECE, 3 * PIECE, REF.size]
        assert await made.put(replica(), 3 * PIECE) == REF.size
        assert made.depot.blobs.holds("s", REF)

    bench(play)


def test_the_same_piece_twice_at_the_same_time_counts_once(bench, replica):
    async def play(made):
        for at in range(0, REF.size, PIECE):
            found = await asyncio.gather(*(made.put(replica(), at) for _ in range(3)))
            assert set(found) == {min(at + PIECE, REF.size)}
        assert made.depot.blobs.holds("s", REF)
        assert made.drafts() == []

    bench(play)


def test_a_restart_begins_anew_and_leaves_nothing(bench, replica):
    async def play(made):
        await made.put(replica(), 0)
        made.start()
        assert made.drafts() == []
        assert await made.put(replica(), PIECE) == 0

    bench(play)


def test_what_is_there_needs_no_bytes(bench, replica):
    async def play(made):
        for at in range(0, REF.size, PIECE):
            await made.put(replica(), at)
        assert (await made.say(replica("b"), Put(REF, 0)))[0] == {"have": REF.size}
        assert (await made.say(replica("b", system="t"), Put(REF, 0)))[0] == {"have": 0}

    bench(play)


def test_two_who_put_the_same_do_not_mix(bench, replica):
    async def play(made):
        for at in range(0, REF.size, PIECE):
            await asyncio.gather(made.put(replica("a"), at), made.put(replica("b"), at))
        assert made.depot.blobs.holds("s", REF)
        assert made.drafts() == []

    bench(play)


def test_another_content_than_it_is_called_is_refused_and_nothing_is_left(bench, replica):
    async def play(made):
        other = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
        for at in range(0, 3 * PIECE, PIECE):
            await made.put(replica(), at, other)
        found = await made.put(replica(), 3 * PIECE, other)
        assert (found["kind"], found["again"]) == ("Conflict", False)
        assert f"what came is {Ref.of(other)}, not {REF}" in found["message"]
        assert made.drafts() == []
        assert await made.put(replica(), 0) == PIECE

    bench(play)


def test_more_than_it_is_called_is_refused_and_nothing_is_left(bench, replica):
    async def play(made):
        short = Ref(REF.digest, PIECE - 1)
        assert "what came is more than" in (await made.put(replica(), 0, ref=short))["message"]
        assert made.drafts() == []

    bench(play)


def test_who_begins_too_many_has_given_up_the_first(bench, replica):
    async def play(made):
        refs = [Ref(f"{n:064x}", 2 * PIECE) for n in range(TRANSFERS + 1)]
        assert [await made.put(replica(), 0, ref=ref) for ref in refs[:-1]] == [PIECE] * TRANSFERS
        assert await made.put(replica(), 0, ref=refs[0]) == PIECE
        assert await made.put(replica("b"), 0, ref=refs[-1]) == PIECE
        assert await made.put(replica(), 0, ref=refs[-1]) == PIECE
        assert len(made.drafts()) == TRANSFERS + 1
        have = [split(await made.depot.serve(replica(), pack(Put(ref, PIECE))))[0]["have"] for ref in (refs[0], refs[2], refs[4])]
        assert have == [PIECE] * 3
        assert await made.put(replica(), PIECE, ref=refs[1]) == 0

    bench(play)


def test_a_put_that_sends_nothing_any_more_is_forgotten(bench, replica):
    async def play(made):
        await made.put(replica(), 0)
        made.clock.advance(IDLE + 1)
        await made.put(replica("b"), 0)
        assert len(made.drafts()) == 1
        assert await made.put(replica(), PIECE) == 0

    bench(play)


def test_what_is_not_there_or_damaged_or_foreign_says_so(bench, replica):
    async def play(made):
        said, _ = await made.say(replica(), Get(REF, 0))
        assert (said["error"]["kind"], said["error"]["again"]) == ("NotFound", False)
        for at in range(0, REF.size, PIECE):
            await made.put(replica(), at)
        assert (await made.say(replica(system="t"), Get(REF, 0)))[0]["error"]["kind"] == "NotFound"
        assert (await made.say(replica(system=".."), Get(REF, 0)))[0]["error"]["kind"] == "NotFound"
        (made.folder / "s" / REF.digest[:2] / REF.digest).write_bytes(CONTENT[::-1])
        said, _ = await made.say(replica(), Get(REF, 0))
        assert (said["error"]["kind"], f"{REF} is damaged" in said["error"]["message"]) == ("Terminal", True)

    bench(play)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"[]\n",
        b"7\n",
        b'{"put": 1, "at": 0}\n',
        head({"put": str(REF)}),
        head({"put": str(REF), "at": -1}),
        head({"put": str(REF), "at": True}),
        head({"put": str(REF), "at": REF.size + 1}),
        head({"put": str(REF), "at": 0}, bytes(PIECE + 1)),
        head({"get": "../../etc/passwd", "at": 0}),
        head({"get": f"sha256:{'A' * 64}:1", "at": 0}),
        head({"get": f"sha256:{'a' * 64}:99999999999", "at": 0}),
        b"[" * 100_000 + b"\n",
    ],
)
def test_what_is_no_request_is_refused(bench, replica, body):
    async def play(made):
        said, _ = await made.say(replica(), body)
        assert said["error"]["kind"] == "UserError"
        assert list(made.folder.iterdir()) == []

    bench(play)


def test_a_full_disk_is_told_as_something_that_passes_and_nothing_is_left(bench, replica):
    async def play(made):
        made.depot.blobs._spare = 1 << 62
        found = await made.put(replica(), 0)
        assert (found["kind"], found["again"]) == ("StoreReadOnly", True)
        assert made.drafts() == []

    bench(play)


def test_a_fault_of_ours_is_answered(bench, replica, monkeypatch):
    async def play(made):
        monkeypatch.setattr(module, "_taken", lambda *_: 1 / 0)
        found = await made.put(replica(), 0)
        assert (found["kind"], found["again"]) == ("Terminal", False)

    bench(play)

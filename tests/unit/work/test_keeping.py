"""What is done in the background to the files of large bodies."""

import asyncio
import os

from quarterdeck.model import ops
from quarterdeck.store import blobs
from quarterdeck.store.blobs import Blobs
from quarterdeck.work.keeping import Keeping

DAY = blobs.UNUSED


def test_files_go_when_no_row_has_referred_to_them_for_a_day(office, replica):
    async def play(made):
        kept = Blobs(made.store.home.blobs, spare=0)
        kept.open()
        made.ledger.use = made.work.use = kept.use
        keeping = Keeping(made.store, made.clock, kept)

        def put(content):
            draft = kept.draft("s")
            draft.write(content)
            ref = draft.keep()
            draft.drop()
            return ref

        names = ("payload", "step", "effect", "message", "result", "nothing")
        refs = {name: put(name.encode()) for name in names}
        task, fence = await made.running(replica(), payload=refs["payload"].body)
        await made.say(replica(), ops.Step(task, fence, "n#1", "c", refs["step"].body))
        await made.say(replica(), ops.Begin(task, fence, "e", "unsafe", "h"))
        await made.say(replica(), ops.Finish(task, fence, "e", "done", refs["effect"].body, ""))
        await made.say(replica(), ops.Publish("1" * 32, "c/b", "v", refs["message"].body, "k", None, {}))
        await made.say(replica(), ops.Done(task, fence, refs["result"].body))

        def left():
            return {name for name, ref in refs.items() if (made.store.home.blobs / "s" / ref.digest[:2] / ref.digest).exists()}

        def age(seconds):
            for path in made.store.home.blobs.glob("*/??/*"):
                os.utime(path, (made.clock.now() - seconds,) * 2)

        age(DAY - 1)
        assert (await keeping.sweep(), left()) == (0, set(names))
        age(DAY + 1)
        assert (await keeping.sweep(), left()) == (1, set(names) - {"nothing"})
        await made.say(replica("b"), ops.Handled("1" * 32))
        assert (await keeping.sweep(), left()) == (1, {"payload", "step", "effect", "result"})
        await made.submit()  # the newest task stays
        await asyncio.sleep(0)
        await keeping.seal()
        made.clock.advance(8 * DAY)
        assert await keeping.forget() == 1
        assert (await keeping.sweep(), left()) == (4, set())

    office(play)

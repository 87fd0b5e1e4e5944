"""Accounts and links on a real nats-server."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from quarterdeck.bus import accounts, claims
from quarterdeck.bus.accounts import Revoked
from quarterdeck.bus.admin import Admin
from quarterdeck.bus.connection import Connection, Unanswered
from quarterdeck.bus.keys import Keys
from quarterdeck.bus.subjects import Sender
from quarterdeck.clock import SystemClock
from quarterdeck.errors import NotFound, Terminal, Transient
from quarterdeck.model.desired import Link

CLOCK = SystemClock()


async def closed(connection: Connection) -> None:
    """Return once the server has ended a connection; fail after five seconds."""
    ended = asyncio.Event()
    connection.watchers.append(ended.set)
    if connection.alive:
        await asyncio.wait_for(ended.wait(), 5)
    assert not connection.alive


def test_the_server_itself_says_that_every_ack_is_synced_and_the_probe_is_on_disk(bus, system):
    async def scenario():
        async with bus.admin() as admin:
            seen = await admin.observe()
        assert seen.ready
        assert seen.sync_always
        assert tuple(map(int, seen.version.split("."))) >= (2, 14, 0)
        assert 0 < seen.probe_ms < 1000

    asyncio.run(scenario())


def test_an_ack_that_is_not_synced_makes_the_bus_not_ready(own_bus, system):
    own_bus.kill()
    path = own_bus.home.bus / "nats-server.conf"
    lazy = path.read_text().replace('"sync_interval": "always"', '"sync_interval": "2m"')
    assert lazy != path.read_text()

    async def scenario():
        async with own_bus.admin() as admin:
            seen = await admin.observe()
        assert not seen.ready
        assert "before they are on disk" in seen.reason

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quarterdeck.bus.server.configuration", lambda *_: lazy)
        own_bus.start()
    asyncio.run(scenario())


def test_applying_twice_pushes_once_and_a_new_link_pushes_its_two_ends(bus, system, rooms):
    async def scenario():
        async with bus.admin() as admin:
            first = await admin.apply(system, rooms("a", "b", "c"))
            assert set(first) == {f"{system}.a", f"{system}.b", f"{system}.c", "QD"}
            assert await admin.apply(system, rooms("a", "b", "c")) == ()
            assert await admin.apply(system, rooms("a", "b", "c"), [Link("a", "b")]) == (f"{system}.a", f"{system}.b")
            assert {f"{system}.{c}" for c in "abc"} <= await admin.accounts()
        async with bus.admin() as another:
            assert await another.apply(system, rooms("a", "b", "c"), [Link("a", "b")]) == ()

    asyncio.run(scenario())


def test_a_link_opens_one_direction_live_and_its_removal_closes_it_live(bus, system, rooms):
    async def scenario():
        async with bus.admin() as admin:
            await admin.apply(system, rooms("a", "b"))
            assert (await admin.forbidden(system, "a", "b")).refused
            await admin.apply(system, rooms("a", "b"), [Link("a", "b")])
            assert await admin.open_link(system, "a", "b") < 1000
            reached = await admin.forbidden(system, "a", "b")
            assert not reached.refused
            assert "a reached b on ask.a." in reached.reason
            assert (await admin.forbidden(system, "b", "a")).refused
            _, everything = bus.user(system, "a")
            visitor = await bus.enter(everything)
            await admin.apply(system, rooms("a", "b"))
            with pytest.raises(Unanswered, match="no_responders"):
                await visitor.request("to.b.ask.a.x.0.y.z", b"", {}, 1.0)
            await visitor.close()
            refusal = await admin.forbidden(system, "a", "b")
            assert refusal.refused
            assert refusal.reason == "18 of 18 subjects refused (no responders)"
            with pytest.raises(Transient, match="nobody listens"):
                await admin.open_link(system, "a", "b")

    asyncio.run(scenario())


def test_links_in_a_circle_work_whatever_came_first_and_after_a_restart(own_bus, system, rooms):
    circle = [Link("a", "b"), Link("b", "c"), Link("c", "a")]

    async def all_open(admin):
        for link in circle:
            await admin.open_link(system, link.source, link.target)

    async def scenario():
        async with own_bus.admin() as admin:
            await admin.apply(system, rooms("a", "b", "c"), circle)
            await all_open(admin)
            await admin.apply(system, rooms("a", "b", "c"))
            await admin.apply(system, rooms("a", "b", "c"), circle)
            await all_open(admin)
            own_bus.kill()
            own_bus.start()
            await all_open(admin)
            assert await admin.apply(system, rooms("a", "b", "c"), circle) == ()

    asyncio.run(scenario())
    assert "Can't locate account" not in own_bus.log()
    assert "took too long" not in own_bus.log()


@pytest.mark.parametrize("links", [[Link("a", "b")], [Link("a", "b"), Link("b", "a")]], ids=["one way", "both ways"])
def test_a_link_to_a_new_cluster_does_not_hold_the_server_up(own_bus, system, rooms, links):
    """An import from an account the server does not know yet blocks it until a time limit, for everybody."""

    async def scenario():
        async with own_bus.admin() as admin:
            await admin.apply(system, rooms("a"))
            inside = await own_bus.enter(own_bus.user(system, "a")[1])  # the server has read the account now
            await admin.apply(system, rooms("a", "b"), links)
            for link in links:
                await admin.open_link(system, link.source, link.target)
            await inside.close()

    asyncio.run(scenario())
    assert "Can't locate account" not in own_bus.log()
    assert "Account fetch failed" not in own_bus.log()


def test_a_linked_cluster_speaks_in_its_own_name_only_even_with_all_rights(bus, system, rooms):
    async def scenario():
        heard: list[str] = []

        async def hear(message):
            heard.append(message.subject)
            await message.respond(b"{}")

        async with bus.admin() as admin:
            await admin.apply(system, rooms("a", "b", "c"), [Link("a", "b"), Link("c", "b")])
            _, there = bus.user(system, "b")
            _, here = bus.user(system, "a")
            listener, forger = await bus.enter(there), await bus.enter(here)
            await listener.listen("ask.>", hear)
            await listener.listen("in.>", hear)
            await listener.flush()
            await forger.request("to.b.ask.a.x.0.y.z", b"", {}, 1.0)
            assert heard == ["ask.a.x.0.y.z"]
            for forged in ("b", "c", "qd", "q"):
                for kind in ("ask", "in"):
                    with pytest.raises(Unanswered):
                        await forger.request(f"to.b.{kind}.{forged}.x.0.y.z", b"", {}, 0.3)
            assert heard == ["ask.a.x.0.y.z"]
            await listener.close()
            await forger.close()

    asyncio.run(scenario())


def test_an_import_without_the_exporters_consent_leads_nowhere(bus, system, rooms):
    """A second lock: even an operator-signed account that claims an import it was not given gets nothing."""

    async def scenario():
        async with bus.admin() as admin:
            await admin.apply(system, rooms("a", "b", "c"), [Link("a", "b")])
            spec = next(s for s in accounts.accounts(system, rooms("c")) if s.name == f"{system}.c")
            stolen = claims.Import(f"{system}.b", "ask.a.>", "to.b.ask.a.>")
            jwt = claims.account(replace(spec, imports=(stolen,)), bus.keys.operator, bus.keys.account, issued=CLOCK.now())
            body = claims.read(jwt)
            del body["nats"]["imports"][0]["token"]
            unsigned = claims.mint(body["sub"], body["name"], body["nats"], bus.keys.operator, issued=CLOCK.now())
            await admin.push(unsigned)
            _, there = bus.user(system, "b")
            _, here = bus.user(system, "c")
            listener, thief = await bus.enter(there), await bus.enter(here)

            async def answer(message):
                await message.respond(b"{}")

            await listener.listen("ask.>", answer)
            await listener.flush()
            with pytest.raises(Unanswered):
                await thief.request("to.b.ask.a.x.0.y.z", b"", {}, 0.5)
            await admin.push(jwt)
            await thief.request("to.b.ask.a.x.0.y.z", b"", {}, 0.5)
            await listener.close()
            await thief.close()

    asyncio.run(scenario())


def test_two_systems_with_equal_cluster_names_do_not_see_each_other(bus, system, rooms):
    other = f"{system}x"

    async def scenario():
        heard: list[str] = []

        async def hear(message):
            heard.append(message.subject)
            await message.respond(b"{}")

        async with bus.admin() as admin:
            for each in (system, other):
                await admin.apply(each, rooms("a", "b"), [Link("a", "b")])
            first = await admin.ensure_stream(system, "b", "worker", inventory=())
            second = await admin.ensure_stream(other, "b", "worker", inventory=())
            assert first.account != second.account
            _, there = bus.user(other, "b")
            _, here = bus.user(system, "a")
            listener, visitor = await bus.enter(there), await bus.enter(here)
            await listener.listen("ask.>", hear)
            await listener.listen("in.>", hear)
            await listener.flush()
            for subject in ("to.b.ask.a.x.0.y.z", f"to.{other}.b.ask.a.x.0.y.z", "ask.a.x.0.y.z"):
                with pytest.raises(Unanswered):
                    await visitor.request(subject, b"", {}, 0.3)
            answer = await visitor.request("to.b.in.a.x.0.worker.z", b"1", {}, 1.0)
            assert b'"seq":1' in answer.data
            assert heard == []
            seen = {stream.account: stream.messages for stream in await admin.streams()}
            assert (seen[f"{system}.b"], seen[f"{other}.b"]) == (1, 0)
            await listener.close()
            await visitor.close()

    asyncio.run(scenario())


def test_the_control_plane_reaches_every_cluster_and_no_cluster_reaches_it(bus, system, rooms):
    async def scenario():
        async with bus.admin() as admin:
            await admin.apply(system, rooms("a"))
            with pytest.raises(Transient, match="nobody listens"):
                await admin.ask(system, "a", "worker", "_ping", b"{}", within=1.0)
            replica = await bus.enter_as_replica(system, Sender("a", "worker", 0))

            async def answer(message):
                await message.respond(message.subject.encode())

            await replica.listen("ask.*.*.*.worker.*", answer)
            await replica.flush()
            got = await admin.ask(system, "a", "worker", "_ping", b"{}", within=1.0)
            assert got.data == b"ask.qd.control.0.worker._ping"
            assert got.ms < 1000
            _, everything = bus.user(system, "a")
            insider = await bus.enter(everything)
            for subject in ("qd.probe", "to.QD.qd.probe", "$JS.API.STREAM.INFO.QD_PROBE"):
                if subject.startswith("$JS"):
                    assert b"stream not found" in (await insider.request(subject, b"", {}, 1.0)).data
                else:
                    with pytest.raises(Unanswered, match="no_responders"):
                        await insider.request(subject, b"", {}, 1.0)
            await insider.close()
            await replica.close()

    asyncio.run(scenario())


def test_an_account_takes_as_many_connections_as_its_quota_and_visits_need(bus, system, rooms, monkeypatch):
    monkeypatch.setattr("quarterdeck.bus.connection.CONNECT_WITHIN", 0.5)

    async def scenario():
        async with bus.admin() as admin:
            await admin.apply(system, rooms("a", replicas=2))
            credentials = [bus.user(system, "a")[1] for _ in range(2 * 2 + accounts.SPARE_CONNECTIONS + 1)]
            taken = [await bus.enter(credential) for credential in credentials[:-1]]
            with pytest.raises(Transient, match="cannot be reached"):
                await bus.enter(credentials[-1])
            for connection in taken:
                await connection.close()

    asyncio.run(scenario())


def test_a_revoked_user_is_cut_off_at_once_and_cannot_come_back_while_others_stay(bus, system, rooms, monkeypatch):
    monkeypatch.setattr("quarterdeck.bus.connection.CONNECT_WITHIN", 0.5)

    async def scenario():
        async with bus.admin() as admin:
            await admin.apply(system, rooms("a"))
            key, bad = bus.replica(system, Sender("a", "worker", 0))
            _, good = bus.replica(system, Sender("a", "worker", 1))
            cut, stays = await bus.enter(bad), await bus.enter(good)
            started = time.monotonic()
            await admin.apply(system, rooms("a"), revoked=[Revoked("a", key.public, CLOCK.now())])
            await closed(cut)
            print(f"revoked to cut: {(time.monotonic() - started) * 1000:.0f} ms")
            with pytest.raises(Transient, match="cannot be reached"):
                await bus.enter(bad)
            await stays.flush()
            assert stays.nats.is_connected
            await stays.close()

    asyncio.run(scenario())


def test_an_expired_user_is_cut_off(bus, system, rooms):
    async def scenario():
        async with bus.admin() as admin:
            await admin.apply(system, rooms("a"))
            _, short = bus.user(system, "a", ttl=1.5)
            connection = await bus.enter(short)
            await closed(connection)
            assert CLOCK.now() >= short.expires

    asyncio.run(scenario())


def test_a_removed_account_cuts_its_users_forgets_its_key_and_a_namesake_starts_empty(bus, system, rooms):
    async def scenario():
        async with bus.admin() as admin:
            await admin.apply(system, rooms("a", "b"), [Link("a", "b")])
            await admin.ensure_stream(system, "b", "worker", inventory=())
            with pytest.raises(Transient, match=f"{system}.a still lead to it"):
                await admin.remove(f"{system}.b")
            await admin.apply(system, rooms("a", "b"))
            old = bus.keys.account(f"{system}.b").public
            connection = await bus.enter(bus.user(system, "b")[1])
            await admin.remove(f"{system}.b")
            await admin.remove(f"{system}.b")
            await closed(connection)
            assert f"{system}.b" not in await admin.accounts()
            assert not await admin.stream_exists(system, "b", "worker")
            with pytest.raises(NotFound):
                await admin.ensure_stream(system, "b", "worker", inventory=())
            assert f"{system}.a" in await admin.apply(system, rooms("a", "b"), [Link("a", "b")])
            assert bus.keys.account(f"{system}.b").public != old
            await admin.open_link(system, "a", "b")
            assert not await admin.stream_exists(system, "b", "worker")

    asyncio.run(scenario())


def test_an_account_whose_key_is_lost_gets_no_namesake(bus, system, rooms):
    path = bus.home.keys / f"account-{system}.a.seed"

    async def scenario():
        async with bus.admin() as admin:
            await admin.apply(system, rooms("a"))
        seed = path.read_bytes()
        path.unlink()
        fresh = Keys(bus.home.keys)
        with pytest.raises(Terminal, match="its key is not the one in this home"):
            async with Admin(bus.url, fresh, CLOCK) as admin:
                await admin.apply(system, rooms("a"))
        assert not path.exists()
        path.touch(mode=0o600)
        path.write_bytes(seed)

    asyncio.run(scenario())


def test_a_user_with_hundreds_of_allowed_subjects_still_fits_into_its_greeting(bus, system, rooms):
    async def scenario():
        async with bus.admin() as admin:
            await admin.apply(system, rooms("a"))
            peers = tuple(f"agent-with-a-rather-long-name-{n}" for n in range(300))
            replica = await bus.enter_as_replica(system, Sender("a", "worker", 0), peers=peers)
            await replica.flush()
            await replica.close()

    asyncio.run(scenario())


def test_a_server_that_is_away_is_seen_as_such_and_the_same_admin_goes_on_when_it_is_back(own_bus, system, rooms, monkeypatch):
    monkeypatch.setattr("quarterdeck.bus.access._PATIENCE", 0.3)

    async def scenario():
        async with own_bus.admin() as admin:
            await admin.apply(system, rooms("a"))
            own_bus.kill()
            seen = await admin.observe()
            assert not seen.ready
            assert "did not answer" in seen.reason
            started = time.monotonic()
            own_bus.start()
            while not (await admin.observe()).ready:
                assert time.monotonic() < started + 5
            print(f"server restart to ready: {(time.monotonic() - started) * 1000:.0f} ms")
            assert await admin.apply(system, rooms("a")) == ()

    asyncio.run(scenario())

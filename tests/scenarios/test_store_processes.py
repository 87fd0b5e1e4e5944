"""The store under real processes: killed, started twice, on a full disk, on a disk that fails. Each prints what it measured."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quarterdeck.clock import SystemClock
from quarterdeck.errors import StoreReadOnly
from quarterdeck.model.home import Home
from quarterdeck.model.records import Actor, Entry
from quarterdeck.store import journal
from quarterdeck.store.store import EXIT_STORE_FAILED, Store
from quarterdeck.store.verify import verify

SCRIPT = Path(__file__).with_name("store_writer.py")
ENTRY = Entry(Actor("uid:0", "socket"), "test", "x", after={"n": 1})
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


def start(home, count=1_000_000, size=10, *, under=()):
    return subprocess.Popen([*under, sys.executable, str(SCRIPT), str(home.root), str(count), str(size)], stdout=subprocess.PIPE, text=True)


def acknowledged(process):
    """Everything the process printed: whole lines only."""
    rest = process.stdout.read()
    process.stdout.close()
    process.wait(30)
    return [line for line in rest.splitlines(keepends=True) if line.endswith("\n") and line[0].isdigit()]


def assert_all_there(store, lines):
    with store.read() as connection:
        stored = {record.seq: record.hash for record in journal.read(connection, limit=1_000_000)}
    assert lines, "the trial proves nothing without an acknowledged write"
    for line in lines:
        seq, hash_ = line.split()
        assert stored[int(seq)] == hash_


def verified(home):
    return verify(home.database, head_file=home.root / "journal.head")


def test_sigkill_loses_nothing_that_was_acknowledged(tmp_path):
    home = Home(tmp_path / "home")
    told, opened = [], []
    for trial in range(6):
        process = start(home)
        assert process.stdout.readline() == "open\n"
        told += [process.stdout.readline() for _ in range(1 + 17 * trial)]
        process.send_signal(signal.SIGKILL)
        told += acknowledged(process)
        behind = "the head file ends at"  # at most by one line, and until the next start
        assert [one for one in verified(home).problems if behind not in one] == []
        began = time.perf_counter()
        store = Store.open(home, SystemClock())
        opened.append(time.perf_counter() - began)
        assert_all_there(store, told)
        store.close()
        assert verified(home).ok
    print(f"{len(told)} acknowledged over 6 kills, 0 lost, reopened in at most {max(opened) * 1000:.0f} ms")


def test_two_openers_at_once_leave_one(tmp_path):
    home = Home(tmp_path / "home")
    first = start(home)
    assert first.stdout.readline() == "open\n"
    began = time.monotonic()
    with pytest.raises(Exception, match=f"pid {first.pid}, since 20"):
        Store.open(home, SystemClock())
    seconds = time.monotonic() - began
    second = start(home)
    line = second.stdout.readline()
    assert (second.wait(30), line.partition(":")[0]) == (1, "Conflict")
    assert f"pid {first.pid}" in line
    second.stdout.close()
    first.kill()
    acknowledged(first)
    Store.open(home, SystemClock()).close()
    assert seconds < 1
    print(f"the second was refused after {seconds * 1000:.1f} ms")


def test_many_openers_started_together_leave_exactly_one(tmp_path):
    home = Home(tmp_path / "home")
    openers = [start(home) for _ in range(4)]
    lines = [process.stdout.readline() for process in openers]
    for process in openers:
        process.kill()
        acknowledged(process)
    assert sorted(line.partition(":")[0].strip() for line in lines) == ["Conflict"] * 3 + ["open"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 12 MiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a tmpfs")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(path, *, leave):
    """Fill the disk but for `leave` bytes."""
    with path.open("wb", buffering=0) as ballast:
        ballast.write(b"\0" * max(0, shutil.disk_usage(path.parent).free - leave))


def test_a_full_disk_ends_the_process_then_reads_go_on_then_it_mends_itself(small_disk):
    home = Home(small_disk / "home")
    Store.open(home, SystemClock()).close()
    ballast = small_disk / "ballast"
    fill(ballast, leave=1 << 20)
    process = start(home, size=4000)
    told = acknowledged(process)
    assert process.returncode == EXIT_STORE_FAILED
    fill(small_disk / "rest", leave=0)
    home.database.with_name("quarterdeck.db-shm").unlink()
    began = time.monotonic()
    store = Store.open(home, SystemClock())
    assert not store.writable
    assert_all_there(store, told)
    with pytest.raises(StoreReadOnly):
        store.write_sync(lambda tx: journal.append(tx, ENTRY))
    refused = time.monotonic() - began
    assert refused < 1
    assert not store.try_become_writable()
    ballast.unlink()
    (small_disk / "rest").unlink()
    began = time.monotonic()
    while not store.try_become_writable():
        assert time.monotonic() - began < 30
    back = time.monotonic() - began
    store.write_sync(lambda tx: journal.append(tx, ENTRY))
    assert_all_there(store, told)
    store.close()
    assert verified(home).ok
    print(f"{len(told)} acknowledged, 0 lost; opened, read and refused in {refused:.2f} s; writable {back:.2f} s after space returned")


def test_a_disk_that_is_full_at_the_start_opens_read_only(small_disk):
    home = Home(small_disk / "home")
    store = Store.open(home, SystemClock())
    store.write_sync(lambda tx: journal.append(tx, ENTRY))
    store.close()
    fill(small_disk / "ballast", leave=0)
    store = Store.open(home, SystemClock())
    assert not store.writable
    with store.read() as connection:
        assert journal.head(connection).seq == 1
    (small_disk / "ballast").unlink()
    assert store.try_become_writable()
    assert store.write_sync(lambda tx: journal.append(tx, ENTRY)).seq == 2
    store.close()


@needs_strace
@pytest.mark.parametrize("nth", [12, 25, 40])
def test_a_sync_that_fails_ends_the_process_and_acknowledged_is_stored(tmp_path, nth):
    home = Home(tmp_path / "home")
    Store.open(home, SystemClock()).close()
    inject = f"inject=fsync,fdatasync:error=EIO:when={nth}+"
    process = start(home, under=("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", inject))
    told = acknowledged(process)
    assert process.returncode == EXIT_STORE_FAILED
    store = Store.open(home, SystemClock())
    assert store.writable
    assert_all_there(store, told)
    store.close()
    assert verified(home).ok
    print(f"sync {nth} failed after {len(told)} acknowledged, 0 lost")


@needs_strace
def test_every_acknowledgement_follows_a_sync(tmp_path):
    """reliability.md P2, as the kernel saw it."""
    trace = tmp_path / "trace"
    process = start(Home(tmp_path / "home"), 200, under=("strace", "-f", "-qq", "-o", str(trace), "-e", "trace=fsync,fdatasync,write"))
    told = acknowledged(process)
    synced, proven = False, 0
    for line in trace.read_text(errors="replace").splitlines():
        if re.search(r"(fsync|fdatasync)(\(\d+\)| resumed>\)) += 0", line):
            synced = True
        elif re.search(r'write\(1, "\d+ [0-9a-f]', line):
            assert synced, f"acknowledged without a sync: {line}"
            synced, proven = False, proven + 1
    assert proven == len(told) == 200
    print(f"{proven} of {len(told)} acknowledgements followed a sync of their own")


def test_group_commit_throughput(tmp_path):
    store = Store.open(Home(tmp_path / "home"), SystemClock())

    async def load(writers, total):
        waiting = iter(range(total))

        async def one():
            for _ in waiting:
                await store.write(lambda tx: journal.append(tx, ENTRY))

        began, groups = time.perf_counter(), store._now.writer.groups
        await asyncio.gather(*(one() for _ in range(writers)))
        return total / (time.perf_counter() - began), total / (store._now.writer.groups - groups)

    alone, _ = asyncio.run(load(1, 200))
    grouped, size = asyncio.run(load(64, 3000))
    store.close()
    print(f"durable journal appends: {alone:.0f}/s one by one, {grouped:.0f}/s with 64 writers in groups of {size:.0f}")
    assert size > 8, "64 waiting writers must share commits"

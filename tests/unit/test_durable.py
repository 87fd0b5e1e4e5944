"""A file is replaced whole or not at all, whatever fails or ends in between."""

import os
import signal
import stat

import pytest

from quarterdeck.durable import write_synced

OLD, NEW = b"what was", b"what will be" * 10_000
CALLS = ("open", "fchmod", "write", "fsync", "close", "replace", "unlink")
"""The system calls of a write in their order; the folder's open, fsync and close follow."""


@pytest.fixture
def path(tmp_path):
    """A file with the old content, alone in its folder."""
    file = tmp_path / "file"
    file.write_bytes(OLD)
    return file


def at_call(monkeypatch, name, n, do):
    """Have `do` happen instead of the n-th call of a function of `os`."""
    real, calls = getattr(os, name), []

    def counted(*arguments, **options):
        calls.append(name)
        return do(*arguments, **options) if len(calls) == n else real(*arguments, **options)

    monkeypatch.setattr(os, name, counted)


def refused(*_, **__):
    raise OSError(5, "Input/output error")


def test_a_written_file_has_the_new_content_and_nothing_is_beside_it(path):
    write_synced(path, NEW, mode=0o600)
    assert path.read_bytes() == NEW
    assert list(path.parent.iterdir()) == [path]


def test_file_and_folder_are_synced_in_that_order(path, monkeypatch):
    synced, real = [], os.fsync

    def fsync(descriptor):
        synced.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_synced(path, NEW, mode=0o600)
    assert synced == [path.stat().st_ino, path.parent.stat().st_ino]


@pytest.mark.parametrize("name", ["open", "fchmod", "write", "fsync", "close", "replace"])
def test_a_failure_leaves_the_old_content_and_no_draft(path, monkeypatch, name):
    at_call(monkeypatch, name, 1, refused)
    with pytest.raises(OSError, match="Input/output"):
        write_synced(path, NEW, mode=0o600)
    assert path.read_bytes() == OLD
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_cannot_be_synced_is_an_error(path, monkeypatch):
    at_call(monkeypatch, "fsync", 2, refused)
    with pytest.raises(OSError, match="Input/output"):
        write_synced(path, NEW, mode=0o600)
    assert list(path.parent.iterdir()) == [path]


def test_a_short_write_goes_on(path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: real(descriptor, content[:999]))
    write_synced(path, NEW, mode=0o600)
    assert path.read_bytes() == NEW


@pytest.mark.parametrize("mode", [0o600, 0o644])
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_mode_is_never_wider_than_asked_and_exact_when_the_file_is_there(path, monkeypatch, mode, umask):
    born, real = [], os.fchmod

    def fchmod(descriptor, wanted):
        born.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        real(descriptor, wanted)

    monkeypatch.setattr(os, "fchmod", fchmod)
    path.chmod(0o666)
    before = os.umask(umask)
    try:
        write_synced(path, NEW, mode=mode)
    finally:
        os.umask(before)
    assert born == [mode & ~umask]
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_link_in_the_files_place_is_replaced_and_not_followed(path, tmp_path_factory):
    other = tmp_path_factory.mktemp("elsewhere") / "other"
    other.write_bytes(OLD)
    path.unlink()
    path.symlink_to(other)
    write_synced(path, NEW, mode=0o600)
    assert (path.is_symlink(), path.read_bytes(), other.read_bytes()) == (False, NEW, OLD)


@pytest.mark.parametrize(("name", "n"), [*((name, 1) for name in CALLS), ("open", 2), ("fsync", 2), ("close", 2)])
def test_a_writer_killed_at_any_call_leaves_the_old_content_or_the_new(path, monkeypatch, name, n):
    child = os.fork()
    if child == 0:
        at_call(monkeypatch, name, n, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        write_synced(path, NEW, mode=0o600)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    renamed = name == "unlink" or n == 2
    assert path.read_bytes() == (NEW if renamed else OLD)
    monkeypatch.undo()
    write_synced(path, b"again", mode=0o600)
    assert path.read_bytes() == b"again"

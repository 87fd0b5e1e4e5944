from __future__ import annotations

import os
import stat
from pathlib import Path

import nkeys
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.bus import keys as module
from quarterdeck.bus.keys import Key, Keys
from quarterdeck.errors import Terminal

SEED = Key.fresh("account").seed
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@pytest.mark.parametrize(("role", "letter"), [("operator", "O"), ("account", "A"), ("user", "U")])
def test_a_key_is_what_nkeys_makes_of_its_seed(role, letter):
    key = Key.fresh(role)
    reference = nkeys.from_seed(bytearray(key.seed.encode()))
    assert key.public == reference.public_key.decode()
    assert key.public.startswith(letter)
    assert reference.verify(b"text", key.sign(b"text"))


def test_a_seed_is_never_shown():
    key = Key.fresh("user")
    assert key.seed not in repr(key)


@given(st.integers(0, len(SEED) - 1), st.sampled_from(ALPHABET))
def test_a_seed_with_one_wrong_character_is_no_seed(place, letter):
    if SEED[place] == letter:
        assert Key.from_seed(SEED).seed == SEED
        return
    with pytest.raises(Terminal):
        Key.from_seed(SEED[:place] + letter + SEED[place + 1 :])


def test_keys_are_made_once_in_files_for_the_owner_only(tmp_path):
    folder = tmp_path / "home" / "keys"
    first = Keys(folder)
    made = (first.operator.public, first.account("QD").public, first.account("s.a").public)
    assert len(set(made)) == 3
    second = Keys(folder)
    assert (second.operator.public, second.account("QD").public, second.account("s.a").public) == made
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name for path in folder.iterdir()} == {"operator.seed", "account-QD.seed", "account-s.a.seed"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_file_and_folders_are_synced_before_the_key_can_be_used(tmp_path, monkeypatch):
    synced: list[Path] = []
    real = os.fsync

    def fsync(descriptor):
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(module.os, "fsync", fsync)
    folder = tmp_path / "keys"
    _ = Keys(folder).operator
    parent, file, after = synced
    assert (parent, file.parent, after) == (tmp_path, folder, folder)
    assert file.name.startswith(".operator.seed")


def test_a_key_that_cannot_be_written_is_not_used(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    keys = Keys(tmp_path / "keys")
    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        _ = keys.operator
    assert not (tmp_path / "keys" / "operator.seed").exists()


@pytest.mark.parametrize("content", ["", "SAAA", SEED[:-1], "garbage\x00"], ids=["empty", "short", "one letter less", "no text"])
def test_a_damaged_key_is_refused_and_left_alone(tmp_path, content):
    keys = Keys(tmp_path)
    path = tmp_path / "account-s.a.seed"
    path.touch(mode=0o600)
    path.write_text(content)
    with pytest.raises(Terminal, match="damaged"):
        keys.account("s.a")
    assert path.read_text() == content


def test_a_key_others_can_read_is_refused(tmp_path):
    _ = Keys(tmp_path).operator
    (tmp_path / "operator.seed").chmod(0o640)
    with pytest.raises(Terminal, match="can be read by others"):
        _ = Keys(tmp_path).operator


def test_a_forgotten_account_gets_another_key(tmp_path):
    keys = Keys(tmp_path)
    old = keys.account("s.a").public
    assert keys.has_account("s.a")
    keys.forget_account("s.a")
    keys.forget_account("s.a")
    assert not keys.has_account("s.a")
    assert keys.account("s.a").public != old

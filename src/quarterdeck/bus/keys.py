"""Ed25519 keys in the form NATS calls nkeys: seeds in files of the home, held by the control plane alone.

A key is on disk, fsynced together with its folder, before anybody can use it: an account that was pushed under a key that a power cut
then took away could never be changed again. A key file that cannot be read is never replaced by a new one.
"""

from __future__ import annotations

import base64
import os
import stat
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import nkeys
from nacl.signing import SigningKey

from quarterdeck.durable import sync_folder, write_synced
from quarterdeck.errors import Terminal

Role = Literal["operator", "account", "user"]
SYSTEM: Final = "SYS"
"""The account that watches and administers the server itself."""
PLATFORM: Final = "QD"
"""The account of the control plane."""
_PREFIX: Final[dict[Role, int]] = {
    "operator": nkeys.PREFIX_BYTE_OPERATOR,
    "account": nkeys.PREFIX_BYTE_ACCOUNT,
    "user": nkeys.PREFIX_BYTE_USER,
}


@dataclass(frozen=True, slots=True)
class Key:
    """A signing key. `public` begins with O, A or U for operator, account or user; `seed` is secret and never shown."""

    public: str
    seed: str = field(repr=False)
    _signer: SigningKey = field(repr=False, compare=False)

    @classmethod
    def from_seed(cls, seed: str) -> Key:
        """Read a seed (`SO…`, `SA…`, `SU…`); raises Terminal when it is none, a single wrong character included."""
        try:
            prefix, raw = nkeys.decode_seed(bytearray(seed.encode()))
            intact = nkeys.encode_seed(bytes(raw[:32]), prefix).decode() == seed  # the library ignores the check sum
        except (nkeys.NkeysError, ValueError) as error:
            raise Terminal("not the seed of a key") from error
        if not intact:
            raise Terminal("not the seed of a key: its check sum is wrong")
        signer = SigningKey(bytes(raw[:32]))
        body = bytes([prefix]) + bytes(signer.verify_key)
        public = base64.b32encode(body + nkeys.crc16(bytearray(body)).to_bytes(2, "little")).decode()
        return cls(public, seed, signer)

    @classmethod
    def fresh(cls, role: Role) -> Key:
        """A new random key that is nowhere on disk; right for users, whose seed travels to one replica and is then forgotten."""
        return cls.from_seed(nkeys.encode_seed(os.urandom(32), _PREFIX[role]).decode())

    def sign(self, data: bytes) -> bytes:
        """The 64 bytes of an Ed25519 signature (RFC 8032)."""
        return self._signer.sign(data).signature


class Keys:
    """The operator's key and one key per account, as files `operator.seed` and `account-<name>.seed`, 0600 in a folder 0700.

    `making` is held while something is made that there must be one of: several threads come to the bus at once on the first start.
    """

    def __init__(self, folder: Path) -> None:
        self.making = threading.RLock()
        self._folder = folder
        self._loaded: dict[str, Key] = {}

    @property
    def operator(self) -> Key:
        """Signs accounts: the root of all trust on the bus."""
        return self._key("operator", "operator")

    def account(self, name: str) -> Key:
        """The key of an account (`SYS`, `QD` or `<system>.<cluster>`), created when there is none."""
        return self._key(f"account-{name}", "account")

    def has_account(self, name: str) -> bool:
        """Whether the account has a key already."""
        return (self._folder / f"account-{name}.seed").exists()

    def forget_account(self, name: str) -> None:
        """Delete the key of an account that the server no longer has, so that a later namesake is somebody else."""
        self._loaded.pop(f"account-{name}", None)
        with suppress(FileNotFoundError):  # a removal that was interrupted here and is done again
            (self._folder / f"account-{name}.seed").unlink()
            sync_folder(self._folder)

    def _key(self, name: str, role: Role) -> Key:
        with self.making:
            if name not in self._loaded:
                path = self._folder / f"{name}.seed"
                if not path.exists():
                    self._create(path, Key.fresh(role))
                self._loaded[name] = _read(path)
            return self._loaded[name]

    def _create(self, path: Path, key: Key) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(self._folder.parent)
        write_synced(path, key.seed.encode(), mode=0o600)


def _read(path: Path) -> Key:
    """Load a seed; raises Terminal when others could have read or changed it, or when it is no seed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if stat.S_IMODE(found.st_mode) & 0o077 or found.st_uid != os.geteuid():
            raise Terminal(f"the key {path} can be read by others", hint=f"chmod 600 {path}, then ask who read it", where=str(path))
        seed = file.read().decode("ascii", "replace").strip()
    try:
        return Key.from_seed(seed)
    except Terminal as error:
        hint = "restore the file from a backup; a new key would lock the bus out of its own accounts"
        raise Terminal(f"the key {path} is damaged", hint=hint, where=str(path)) from error

"""The journal's signing key: Ed25519, its seed in a 0600 file of `home.keys`, synced before it is used, never in the database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from nacl.exceptions import CryptoError
from nacl.signing import SigningKey, VerifyKey

from quarterdeck.durable import write_synced
from quarterdeck.errors import NotFound, Terminal

SEED_FILE: Final = "journal.seed"
PUBLIC_FILE: Final = "journal.pub"


def signer(folder: Path) -> SigningKey:
    """The key of this home; made on first use. `journal.pub` beside it holds the public half in hex, for who verifies elsewhere."""
    path = folder / SEED_FILE
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_synced(path, os.urandom(32).hex().encode() + b"\n", mode=0o600)
    key = held(folder)
    if not (folder / PUBLIC_FILE).exists():
        write_synced(folder / PUBLIC_FILE, public(key).encode() + b"\n", mode=0o644)
    return key


def held(folder: Path) -> SigningKey:
    """The key that this home has; none is made. Raises NotFound, and Terminal for a damaged one."""
    path = folder / SEED_FILE
    try:
        return SigningKey(bytes.fromhex(path.read_text().strip()))
    except FileNotFoundError as error:
        hint = "restore keys/journal.seed from a backup; qd up makes a new key when there is none"
        raise NotFound("the journal's signing key is gone", hint=hint, where=str(path)) from error
    except (ValueError, CryptoError) as error:
        msg = f"the journal's signing key is damaged: {error}"
        raise Terminal(msg, hint="restore keys/journal.seed from a backup", where=str(path)) from error


def published(folder: Path) -> str:
    """The public half (hex) as it lies beside the seed; empty where there is none yet."""
    path = folder / PUBLIC_FILE
    return path.read_text().strip() if path.exists() else ""


def public(key: SigningKey) -> str:
    """The public half, as hex."""
    return bytes(key.verify_key).hex()


def signed_by(key: str, message: bytes, signature: str) -> bool:
    """Whether `signature` (lower-case hex) over `message` was made by the holder of `key` (hex)."""
    try:
        VerifyKey(bytes.fromhex(key)).verify(message, bytes.fromhex(signature))
    except (ValueError, TypeError, CryptoError):
        return False
    return bytes.fromhex(signature).hex() == signature

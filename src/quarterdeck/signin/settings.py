"""The file of `qd up --sign-in`: which provider is believed, and what whom it names may do."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from quarterdeck.client.doors import LOOPBACK
from quarterdeck.errors import UserError
from quarterdeck.model.grant import PLACE, Grant, Role
from quarterdeck.model.wording import wrong
from quarterdeck.spec import reader, secrets, validation
from quarterdeck.spec.problems import Finding, Source, refusal
from quarterdeck.spec.quantities import Duration

VARIABLE: Final = "QUARTERDECK_SIGN_IN"
"""The path of the file: carries the option of `qd up` to the control plane and to each of its successors."""
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519"]
"""Signatures by a key pair only (RFC 7518, section 3.1; RFC 9864): what a shared secret signs, whoever checks it could have made."""
Claims = Mapping[str, Any]
_REFERENCE: Final = re.compile(r"(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)")
_SHORTEST, _LONGEST = 300.0, 7 * 86_400.0
_NAMES: Final = ("preferred_username", "email", "sub")
_CODE: Final = "E1601"


def _address(value: str) -> str:
    try:
        parts = urlsplit(value)
    except ValueError:
        parts = urlsplit("")
    clear = parts.scheme == "http" and parts.hostname in LOOPBACK
    if not parts.hostname or parts.query or parts.fragment or parts.username or not (parts.scheme == "https" or clear):
        raise PydanticCustomError("address", "must be https://HOST[:PORT][/PATH]; http only on loopback")
    return value


def _reference(value: str) -> str:
    if not _REFERENCE.fullmatch(value):
        raise PydanticCustomError("reference", "must be env:VARIABLE or file:PATH; a secret itself is never written here")
    return value


def _session(value: Duration) -> Duration:
    if not _SHORTEST <= value <= _LONGEST:
        raise PydanticCustomError("session", "must be from 5m to 7d")
    return value


def _openid(value: tuple[str, ...]) -> tuple[str, ...]:
    if "openid" not in value:
        raise PydanticCustomError("scopes", "must have openid among them: without it a provider names nobody")
    return value


def _some(value: tuple[Rule, ...]) -> tuple[Rule, ...]:
    if not value:
        raise PydanticCustomError("grants", "nobody may do anything: give at least one grant")
    return value


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rule(_Model):
    """`claim` is the name of a claim, or a path to one (`realm_access.roles`); `has` is its value, or one of its values."""

    claim: str = Field(min_length=1, max_length=200)
    has: str | bool | int = Field(union_mode="smart")
    role: Role
    cluster: str | None = Field(default=None, pattern=PLACE, max_length=130)

    def meets(self, claims: Claims) -> bool:
        """Whether it is about whom these claims name. An email counts only when the provider has verified it."""
        if self.claim == "email" and claims.get("email_verified") is not True:
            return False
        found = looked_up(claims, self.claim)
        return any(type(one) is type(self.has) and one == self.has for one in (found if isinstance(found, list) else [found]))


class SignIn(_Model):
    """What is believed: tokens of `issuer`, signed with `algorithm`. Those of programs are for `audience`; without it none are traded."""

    issuer: Annotated[str, AfterValidator(_address)] = Field(max_length=1_000)
    client_id: str = Field(min_length=1, max_length=500)
    client_secret: Annotated[str, AfterValidator(_reference)] | None = None
    audience: str = Field(default="", max_length=500)
    algorithm: Algorithm = "RS256"
    scopes: Annotated[tuple[str, ...], AfterValidator(_openid)] = ("openid", "profile", "email")
    user: str = Field(default="", max_length=200)
    session: Annotated[Duration, BeforeValidator(Duration.parse), AfterValidator(_session)] = Duration(12 * 3600.0)
    ca: str | None = None
    grants: Annotated[tuple[Rule, ...], AfterValidator(_some)]

    @property
    def host(self) -> str:
        """The provider, for people."""
        return urlsplit(self.issuer).hostname or ""

    def grant(self, claims: Claims) -> Grant | None:
        """What the first rule that meets somebody allows; None: nothing."""
        found = next((rule for rule in self.grants if rule.meets(claims)), None)
        return Grant.at(found.role, found.cluster or "") if found else None

    def name(self, claims: Claims) -> str:
        """By which name somebody stands in the journal: the claim `user`, else the first there is of those that are usual."""
        for claim in (self.user,) if self.user else _NAMES:
            found = looked_up(claims, claim)
            known = isinstance(found, str) and (claim != "email" or claims.get("email_verified") is True)
            if known and (name := shown(found, 100)):
                return name
        return str(claims["sub"])[:100]


class _File(_Model):
    apiVersion: Literal["quarterdeck.dev/v1alpha1"]  # noqa: N815 as it is written
    kind: Literal["SignIn"]
    spec: SignIn


@dataclass(frozen=True, slots=True)
class Settings:
    """A file that was read: what it says, the secret of our client there (empty: a public one), and whose signature TLS trusts."""

    sign_in: SignIn
    secret: str = ""
    authority: Path | None = None
    files: tuple[Path, ...] = ()
    """What it was read from."""


def shown(text: object, most: int = 200) -> str:
    """What a provider says, as it may stand in a line of ours: without signs that cannot be seen, and cut."""
    return "".join(sign for sign in str(text) if sign.isprintable()).strip()[:most]


def looked_up(claims: Claims, name: str) -> Any:
    """A claim by its whole name, which may have dots in it, else by the path that the dots make; None when it is not there."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def read(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read the file. Raises SpecError with the place of each fault, UserError for a secret or an authority that is not there."""
    try:
        with path.open("rb") as file:
            text = file.read(reader.MOST_BYTES + 1).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UserError(f"{path} cannot be read: {reason}", hint="--sign-in names the file that docs/access describes") from error
    found = _parsed(text, str(path)).spec
    folder = path.absolute().parent
    secret = secrets.resolve(found.client_secret, base=folder, environ=environ).strip() if found.client_secret else ""
    authority = _authority(folder, found.ca, path) if found.ca else None
    kept = secrets.file_of(found.client_secret, base=folder) if found.client_secret else None
    return Settings(found, secret, authority, tuple(one for one in (path, kept, authority) if one))


def _authority(folder: Path, ca: str, path: Path) -> Path:
    try:
        found = folder / Path(ca).expanduser()
        ssl.create_default_context(cafile=str(found))
    except (OSError, RuntimeError, ValueError) as error:  # ssl.SSLError is an OSError; ~nobody is a RuntimeError
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UserError(f"ca: {ca[:200]} cannot be used: {reason}", where=str(path), hint="name the PEM file of an authority") from error
    return found


def _parsed(text: str, filename: str) -> _File:
    source = Source.of(text, filename)
    reading = reader.read(text, source)
    if reading.root is None or reading.problems:
        raise refusal(filename, reading.problems)
    try:
        return _File.model_validate(_lists(validation.data(reading.root, ())))
    except ValidationError as error:
        found = [source.problem(*validation.locate(reading.root, finding), finding) for finding in _findings(error)]
        raise refusal(filename, tuple(found)) from error


def _findings(error: ValidationError) -> Iterator[Finding]:
    for detail in error.errors(include_url=False):
        where = tuple(part for part in detail["loc"] if part not in ("str", "bool", "int"))
        unknown = detail["type"] == "extra_forbidden"
        allowed = _fields(where) if unknown else ()
        said = f"{'.'.join(map(str, where))}: {wrong(detail)}"
        yield Finding(where, said, at="key" if unknown else "value", wrong=str(where[-1]) if unknown else "", allowed=allowed, code=_CODE)


def _fields(where: tuple[int | str, ...]) -> tuple[str, ...]:
    model = _File if len(where) == 1 else SignIn if len(where) == 2 else Rule  # noqa: PLR2004 the depths of the file
    return tuple(model.model_fields)


def _lists(value: object) -> object:
    """Sequences as pydantic takes them from a file."""
    if isinstance(value, dict):
        return {name: _lists(one) for name, one in value.items()}
    return [_lists(one) for one in value] if isinstance(value, tuple) else value

"""The TCP door: where it listens, whether it speaks TLS, and by which names it may be called.

Loopback is the default. Beyond it TLS is a must: a token that crosses a network in clear is everybody's.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from quarterdeck.client.doors import LOOPBACK
from quarterdeck.errors import UserError

ENVIRONMENT: Final = {
    "bind": "QUARTERDECK_BIND",
    "cert": "QUARTERDECK_TLS_CERT",
    "key": "QUARTERDECK_TLS_KEY",
    "public_url": "QUARTERDECK_PUBLIC_URL",
}
"""The options of `qd up`, by the variables that carry them to the control plane and to each of its successors."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen: an address of this machine, and the files of the certificate chain and its key where TLS is spoken."""

    bind: str = "127.0.0.1"
    cert: Path | None = None
    key: Path | None = None
    public_url: str = ""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Place:
        """As the environment says. Raises UserError for half a TLS, a name instead of an address, or a bind that needs TLS."""
        bind, cert, key, public = (environ.get(name, "").strip() for name in ENVIRONMENT.values())
        bind = bind.strip("[]") or "127.0.0.1"
        if bool(cert) != bool(key):
            raise UserError("TLS needs a certificate and its key", hint="give both: --tls-cert FILE --tls-key FILE")
        if not _is_loopback(bind) and not cert:
            raise UserError(
                f"refused to listen on {bind} without TLS: tokens would cross the network in clear",
                hint="add --tls-cert FILE --tls-key FILE, or stay on loopback and use an SSH tunnel: ssh -L 7410:127.0.0.1:7410 HOST",
            )
        _check_url(public)
        return cls(bind, Path(cert) if cert else None, Path(key) if key else None, public.rstrip("/"))

    @property
    def family(self) -> socket.AddressFamily:
        """IPv4 or IPv6."""
        return socket.AF_INET6 if ":" in self.bind else socket.AF_INET

    def tls(self) -> ssl.SSLContext | None:
        """What the door speaks TLS with, None in clear. Raises UserError for files that do not fit."""
        if self.cert is None or self.key is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.cert, self.key, password=_no_password)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            hint = "both are PEM files; the key is not encrypted and belongs to the certificate"
            raise UserError(f"the certificate cannot be used: {error}", hint=hint, where=f"{self.cert}, {self.key}") from error
        return context

    def trusting(self) -> ssl.SSLContext | None:
        """What a client on this machine trusts: our certificate and no other, whatever name it was made for; None in clear."""
        if self.cert is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the chain may end above a file that holds the leaf alone
        context.load_verify_locations(self.cert)
        return context


@dataclass(frozen=True, slots=True)
class Door:
    """A place that is listened on, at a port."""

    place: Place
    port: int

    @property
    def secure(self) -> bool:
        """Whether it speaks TLS, so that cookies are marked Secure."""
        return self.place.cert is not None

    @property
    def cookie(self) -> str:
        """The name of the session's cookie. Browsers keep cookies by host, so without the port two fleets would log each other out.

        With the prefix no other host of the domain can set it (RFC 6265bis, section 4.1.3.2).
        """
        return f"{'__Host-' if self.url.startswith('https:') else ''}quarterdeck-{self.port}"

    @property
    def here(self) -> str:
        """The address at which this machine itself reaches it."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.place.bind, self.place.bind)  # noqa: S104 compared, not bound

    @property
    def url(self) -> str:
        """Where a browser goes."""
        if self.place.public_url:
            return self.place.public_url
        host = socket.gethostname() if ipaddress.ip_address(self.place.bind).is_unspecified else self.place.bind
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}"

    def ours(self, origin: str, met: str) -> bool:
        """Whether an origin (`scheme://host:port`) names us. `met` is the address at which this connection reached us.

        An address may be believed where a name may not: what DNS rebinding bends is a name (RFC 6454, section 8).
        """
        found = urlsplit(self.place.public_url)
        named = {_origin(self.url), f"{found.scheme}://{found.netloc}"}
        if origin in named:
            return True
        try:
            parts = urlsplit(origin)
            host, port = parts.hostname or "", parts.port
        except ValueError:  # a port that is no number, half an IPv6 address
            return False
        arrived = met.removeprefix("::ffff:")  # IPv4 at a door of both families (RFC 4291, section 2.5.5.2)
        scheme, usual = ("https", 443) if self.secure else ("http", 80)
        return parts.scheme == scheme and (port or usual) == self.port and (host in LOOPBACK or host in (self.place.bind, arrived))

    def host_is_ours(self, host: str, met: str) -> bool:
        """The same of a Host header; one with a user or a path in it is nobody's."""
        if any(sign in host for sign in "/@?#\\"):
            return False
        return self.ours(f"{'https' if self.secure else 'http'}://{host}", met) or host == urlsplit(self.place.public_url).netloc != ""


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _is_loopback(bind: str) -> bool:
    try:
        return ipaddress.ip_address(bind).is_loopback
    except ValueError as error:
        raise UserError(f"{bind!r} is no address", hint="--bind takes an address of this machine, e.g. 192.0.2.7, 0.0.0.0 or ::") from error


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query):
        raise UserError(f"{url!r} is no address of a dashboard", hint="--public-url takes scheme and host, e.g. https://fleet.example.org")


def _no_password() -> str:
    raise ValueError("the key is encrypted")

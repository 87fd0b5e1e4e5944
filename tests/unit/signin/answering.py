"""The provider of `issuing` as a server on loopback, which does as it is told: its answers can be replaced one by one."""

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from tests.unit.signin.issuing import KEYS, but, signed


@dataclass
class Provider:
    """`says` holds what is answered at a path: a document, or (status, document). `asked` is what came in."""

    issuer: str
    says: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)

    def count(self, path):
        return sum(one["path"] == path for one in self.asked)

    def token(self, *, key=None, **claims):
        return signed(but(iss=self.issuer, **claims), **({"key": key} if key else {}))


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self._answer({})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        self._answer({name: values[0] for name, values in parse_qs(body).items()})

    def _answer(self, form):
        provider = self.server.provider
        provider.asked.append({"path": self.path, "form": form, "authorization": self.headers.get("authorization")})
        found = provider.says.get(self.path, (404, {"error": "nothing here"}))
        status, document = found if isinstance(found, tuple) else (200, found)
        text = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        if status in (301, 302, 307, 308):
            self.send_header("location", document)
            text = b""
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        """Nothing."""


@contextmanager
def answering():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    issuer = f"http://127.0.0.1:{server.server_address[1]}"
    about = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "jwks_uri": f"{issuer}/keys",
        "authorization_response_iss_parameter_supported": True,
    }
    server.provider = Provider(issuer, {"/.well-known/openid-configuration": about, "/keys": {"keys": KEYS}})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

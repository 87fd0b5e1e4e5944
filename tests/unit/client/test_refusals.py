"""When a refusal says that it is worth coming again, both clients hear it and wait as long."""

import asyncio
import http.server
import threading

import pytest

from quarterdeck.client import values
from quarterdeck.client.doors import Remote
from quarterdeck.client.exchange import Exchange
from quarterdeck.client.wire import Request, Wire
from quarterdeck.clock import SystemClock
from quarterdeck.errors import Transient

BUSY = b'{"error": {"kind": "Overloaded", "message": "too much", "hint": "", "where": "", "problems": [], "exit_code": 5}}'


@pytest.fixture
def place(request, tmp_path):
    class Busy(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(429)
            if request.param is not None:
                self.send_header("Retry-After", request.param)
            self.send_header("Content-Length", str(len(BUSY)))
            self.end_headers()
            self.wfile.write(BUSY)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield Remote(f"http://127.0.0.1:{server.server_address[1]}", tmp_path / "none", None, "qd_00000000_word")
        server.shutdown()


def _blocking(place):
    return Wire(place, SystemClock()).call(Request("GET", "/v1/tasks"), 5.0)


def _concurrent(place):
    async def main():
        await Exchange(place).call(Request("GET", "/v1/tasks"), 5.0)

    asyncio.run(main())


@pytest.mark.parametrize("ask", [_blocking, _concurrent])
@pytest.mark.parametrize(("place", "after"), [("7", 7.0), (None, 0.0), ("soon", 0.0), ("-1", 0.0)], indirect=["place"])
def test_the_error_says_when_to_come_again(place, after, ask):
    with pytest.raises(Transient, match="too much") as found:
        ask(place)
    assert found.value.after == after


def test_nobody_comes_before_that_and_not_all_at_once():
    assert values.pause(1, 0.0, 3.0) == 3.0
    assert values.pause(1, 1.0, 3.0) == 4.5
    assert values.pause(9, 1.0, 0.5) == pytest.approx(2.02)
    assert values.pause(1, 0.5) == pytest.approx(0.12)

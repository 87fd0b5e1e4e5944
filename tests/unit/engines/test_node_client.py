"""The control plane's end of the line to its node."""

import asyncio
import json

from quarterdeck.clock import SystemClock
from quarterdeck.engines.local.client import NodeClient
from quarterdeck.model.home import Home


async def _greeting(reader, writer):
    """A node that answers every request and hangs up on `bye`."""
    while line := await reader.readline():
        request = json.loads(line)
        if request["verb"] == "bye":
            break
        writer.write(json.dumps({"id": request["id"], "ok": {"boot": "b", "pid": 1}}).encode() + b"\n")
    writer.close()


def test_a_client_cancelled_as_its_node_hangs_up_ends(tmp_path):
    async def scenario():
        home = Home(tmp_path / "home")
        home.run.mkdir(parents=True)
        server = await asyncio.start_unix_server(_greeting, str(home.node_socket))
        client = NodeClient(home, ("/bin/true",), SystemClock())
        running = asyncio.create_task(client.run())
        await asyncio.wait_for(client.attached.wait(), 5)
        client._reader.feed_eof()  # what the kernel tells when the node is gone
        await asyncio.sleep(0)  # _read wakes
        await asyncio.sleep(0)  # _read has raised
        running.cancel()
        done, _ = await asyncio.wait([running], timeout=2)
        running.cancel()
        await asyncio.wait([running], timeout=2)
        server.close()
        client._detach()
        home.node_socket.unlink(missing_ok=True)
        home.run.rmdir()
        assert done

    asyncio.run(scenario())

"""A small real SSH server, by asyncssh: who shows the key has commands carried out and ports of this machine forwarded.

`python ssh_server.py FOLDER`: the folder holds `host`, the key of the server, and `person.pub`, the one that it lets in. It says when it
listens, and ends with its stdin.
"""

import asyncio
import sys
from pathlib import Path

import asyncssh

PORT = 22


class Server(asyncssh.SSHServer):
    def connection_requested(self, dest_host, dest_port, orig_host, orig_port):
        return dest_host == "127.0.0.1"


async def carry_out(process):
    streams = dict.fromkeys(("stdout", "stderr"), asyncio.subprocess.PIPE)
    running = await asyncio.create_subprocess_shell(process.command, cwd=Path.home(), stdin=asyncio.subprocess.DEVNULL, **streams)
    out, said = await running.communicate()
    process.stdout.write(out.decode())
    process.stderr.write(said.decode())
    process.exit(running.returncode)


async def main(keys):
    options = {"server_host_keys": [str(keys / "host")], "authorized_client_keys": str(keys / "person.pub"), "process_factory": carry_out}
    await asyncssh.listen("", PORT, server_factory=Server, **options)
    print("listens", flush=True)
    await asyncio.to_thread(sys.stdin.read)


asyncio.run(main(Path(sys.argv[1])))

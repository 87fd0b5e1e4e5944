"""A small real fleet that is talked to: a clerk that takes orders, says things in a while, refuses and waits; and twins."""

import json
import os
import subprocess

from tests.cli.typist import QD

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: office}
spec:
  clusters:
    desk:
      agents:
        clerk: {run: "agents:clerk", rollout: {drain: 200ms}}
        twin: {run: "agents:twin", replicas: 2, rollout: {drain: 200ms}}
"""
AGENTS = '''\
import asyncio
from dataclasses import dataclass

from quarterdeck import Agent, Terminal

clerk, twin = Agent(), Agent()
taken, later = [], set()


@dataclass(frozen=True)
class Order:
    what: str
    many: int = 1


@clerk.on("take")
async def take(order: Order) -> dict:
    """Take an \\x1b[2Jorder."""
    taken.append(order.what)
    print("took", order.what, flush=True)
    return {"taken": len(taken)}


@clerk.on("taken")
async def told() -> list:
    return taken


@clerk.on("say")
async def say(what: dict) -> None:
    async def go() -> None:
        await asyncio.sleep(what["after"])
        print(what["text"], flush=True)

    later.add(asyncio.create_task(go()))


@clerk.on("refuse")
async def refuse() -> None:
    raise Terminal("not \\x1b[2Jlike this")


@clerk.on("wait")
async def wait(seconds: float) -> str:
    print("waiting", seconds, flush=True)
    await asyncio.sleep(seconds)
    return "at last"


@twin.on("hello")
async def hello() -> str:
    print("hello from a twin", flush=True)
    return "hello"
'''


class Fleet:
    def __init__(self, folder):
        (folder / "agents.py").write_text(AGENTS)
        (folder / "quarterdeck.yaml").write_text(SPEC)
        foreign = ("QUARTERDECK_", "_QD", "NO_COLOR", "COLUMNS", "LINES", "CI")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        here = {"QUARTERDECK_HOME": str(folder / "home"), "QUARTERDECK_PORT": "0", "XDG_CONFIG_HOME": str(folder / "config")}
        self.folder, self.environ = folder, kept | here | {"TERM": "xterm-256color", "INPUTRC": os.devnull}

    def qd(self, *arguments, given=""):
        return subprocess.run(
            [*QD, *arguments], cwd=self.folder, env=self.environ, input=given, capture_output=True, text=True, timeout=60, check=False
        )

    def pid(self, replica):
        (found,) = json.loads(self.qd("get", "replicas", replica, "-o", "json").stdout)["items"]
        return found["pid"]

    def taken(self):
        return json.loads(self.qd("ask", "desk/clerk", "taken").stdout)

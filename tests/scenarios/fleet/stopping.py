"""A fleet to be stopped, whose agents work slowly or do not want to end; and what is left of it."""

import json
import os

from quarterdeck.engines.local.living import living, of

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: trio}
spec:
  clusters:
    edge:
      agents:
        front: {run: "front:agent"}
    core:
      quota: {replicas: 60}
      agents:
        worker: {run: "work:worker", replicas: {min: 2, max: 52}}
        caller: {run: "work:caller"}
        stubborn: {run: "work:stubborn"}
  links:
    - {from: edge, to: core}
"""
FRONT = '''\
"""Passes work on."""

import socket

from quarterdeck import Agent, Context

agent = Agent("front")


@agent.on("knock")
def knock(door_and_line: list[str]) -> str:
    path, line = door_and_line
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(2)
        try:
            door.connect(path)
            door.sendall(line.encode())
            return door.recv(200).decode()
        except OSError as error:
            return type(error).__name__
'''
WORK = '''\
"""Works slowly on tasks; and one that does not want to end."""

import asyncio
import fcntl
import os
import signal
import subprocess
from pathlib import Path

from quarterdeck import Agent, Context

worker = Agent("worker")
caller = Agent("caller")
stubborn = Agent("stubborn")
SINK = Path("sink")


def call(word: str) -> str:
    with SINK.open("a") as file:
        file.write(f"{word}\\n")
    return word


async def hang(word: str) -> str:
    call(word)
    await asyncio.sleep(3600)
    return word


@worker.task()
@caller.task()
async def work(order: dict, ctx: Context) -> str:
    match order["do"]:
        case "quick":
            return await ctx.effect("quick", call, order["word"], semantics="idempotent")
        case "slow":
            await asyncio.sleep(order["seconds"])
            return "slow"
        case kind:  # an effect that does not come back the first time
            first = not SINK.exists() or order["word"] not in SINK.read_text()
            return await ctx.effect("it", hang if first else call, order["word"], semantics=kind)


@stubborn.on("dig")
def dig() -> int:
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        held = open("lock", "w")
        fcntl.flock(held, fcntl.LOCK_EX)
        if os.fork() == 0:
            os.execve("/bin/sleep", ["nats-server", "1000"], {})
        while True:
            signal.pause()
    subprocess.Popen(["/bin/sh", "-c", "trap '' TERM; while :; do (sleep 0.05 &); done"], start_new_session=True)
    return os.getpid()
'''
MARK = "QD_NODE"


def busy():
    """How many times slower than alone we may be: others may have this machine's processors at the same time."""
    return max(1.0, os.getloadavg()[0] / os.cpu_count())


def alive(fleet, target=""):
    return of(living(fleet.home, MARK), "trio", target)


def stop(fleet, *words, within=60, **more):
    return fleet.qd("stop", *words, "--reason", "it must end", "-o", "json", within=within, **more)


def found(ran):
    return {(s["source"], s["claim"].split()[0]): s["found"] for s in ran.json["sources"]}


def done(ran, code=0):
    assert ran.code == code, ran
    return ran.json


def submit(fleet, to="core/worker", **order):
    return fleet.client.post("/v1/tasks", {"target": to, "payload": order})["id"]


def task(fleet, name):
    return fleet.client.get(f"/v1/tasks/{name}")


def in_state(fleet, name, state, within=20):
    return fleet.until(lambda: (t := task(fleet, name))["state"] == state and t, within=within, what=lambda: json.dumps(task(fleet, name)))


def sink(fleet, word):
    """How often the effect was really called, by the files it leaves."""
    files = fleet.home.node.glob("work/trio/core/*/sink")
    return sum(line == word for file in files for line in file.read_text().split())


def begun(fleet, kind, word):
    """A task in the middle of its effect."""
    name = submit(fleet, "core/caller", do=kind, word=word)
    fleet.until(lambda: sink(fleet, word) == 1, what=lambda: json.dumps(task(fleet, name)))
    return name


def stops_of(fleet):
    return [c for c in fleet.items("changes") if c["patch"]["field"] == "stopped" and c["state"] == "live"]

"""Starting one replica: descriptors, cgroup, Boot, and the request to the fork server."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from quarterdeck.engines.local.node.forks import Forks, Key
from quarterdeck.engines.local.node.isolation import Uids, open_to_read
from quarterdeck.engines.local.node.place import Place
from quarterdeck.engines.local.node.process import Equipment, Identity, Listener, Process
from quarterdeck.engines.local.node.rooms import REPLICA_PIDS, Limits
from quarterdeck.model.boot import Boot
from quarterdeck.model.desired import Template
from quarterdeck.model.table import Credential, Row


@dataclass(frozen=True, slots=True)
class Launcher:
    """Turns an identity into a process."""

    place: Place
    forks: Forks
    uids: Uids

    def launch(self, row: Row, identity: Identity, listener: Listener) -> Process:
        """Ask for the process; what becomes of it is told to `listener`. Raises OSError when it cannot even be asked for."""
        boot = self._boot(row, identity)
        mine, theirs = socket.socketpair()
        mask = boot.mask
        pipes = [self.place.logs.reader(identity.slot, stream, mask) for stream in ("out", "err")]
        config, dump = _memory_file(json.dumps(boot.to_json()).encode()), os.memfd_create("stacks")
        process = Process(identity, Equipment(pipes, dump, mine, mask), self.place.clock, listener)
        process.credential = boot.credential
        process.started = max(process.started, row.restart_before)
        try:
            self._ask(process, boot, [theirs.detach(), *(pipe.write_end for pipe in pipes), config, os.dup(dump)])
        except OSError:
            process.close()
            raise
        return process

    def _ask(self, process: Process, boot: Boot, descriptors: list[int]) -> None:
        identity, template, place = process.identity, process.identity.template, self.place
        place.cgroups.make(identity.group, Limits(memory=template.memory, pids=REPLICA_PIDS), leaf=True)
        server = self.forks.get(Key(identity.system, identity.cluster, template.code))
        process.server_pid = server.pid
        limited = "memory" in place.cgroups.bases
        work = place.work(identity.system, identity.cluster, f"{identity.agent}-{identity.n}")
        shell = {
            "title": f"qd replica {identity.slot}",
            "environment": place.environment(work),
            "work": boot.work,
            "uid": self._uid(boot, identity),
            "memory": None if limited else template.memory,
        }
        server.spawn(self._preloaded(template), shell, [*descriptors, *place.cgroups.doors(identity.group)], process)

    def _preloaded(self, template: Template) -> str:
        """The module to import before the fork: never where it might read its environment, or would run with another user's powers."""
        alone = template.env or template.secrets or self.place.isolation.uid
        return "" if alone else template.run.partition(":")[0]

    def _uid(self, boot: Boot, identity: Identity) -> int | None:
        if not self.place.isolation.uid:
            return None
        open_to_read(self.place.home.revisions / identity.template.code)
        return self.uids.settle(identity.slot, self.place.work(identity.system, identity.cluster, f"{boot.agent}-{boot.n}"))

    def _boot(self, row: Row, identity: Identity) -> Boot:
        template = identity.template
        return Boot(
            system=row.system,
            cluster=row.cluster,
            agent=row.agent,
            n=identity.n,
            incarnation=identity.incarnation,
            code=str(self.place.home.revisions / template.code),
            run=template.run,
            work=str(self.place.work(row.system, row.cluster, f"{row.agent}-{identity.n}")),
            bus_url=row.bus_url,
            credential=credential(row, identity.n, identity.incarnation),
            links=row.links,
            peers=row.peers,
            environment=(*template.env, *((name, Path(path).read_text()) for name, path in template.secrets)),
            revision=template.digest,
            secrets=tuple(name for name, _ in template.secrets),
        )


def credential(row: Row, n: int, incarnation: int) -> Credential | None:
    """What the table holds for one incarnation."""
    return next((c for slot in row.slots if slot.n == n for c in slot.credentials if c.incarnation == incarnation), None)


def _memory_file(content: bytes) -> int:
    descriptor = os.memfd_create("boot")
    os.write(descriptor, content)
    return descriptor

"""The proofs of the control plane itself: it tries its own doors and locks from outside, the way a stranger would."""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from quarterdeck.clock import Clock
from quarterdeck.deploy.reconcile import Prober
from quarterdeck.errors import Conflict, Terminal, Transient
from quarterdeck.model.desired import Desired
from quarterdeck.model.home import Home
from quarterdeck.model.steps import Probe
from quarterdeck.store import code, export, journal, keys, lock, verify
from quarterdeck.store.store import Store

WITHIN = 5.0


class Logs(Protocol):
    """Reads the newest log line of a replica through the public door."""

    def newest(self, system: str, replica: str) -> str:
        """The line, or an empty text."""
        ...


class Attached(Protocol):
    """Whether the node answers, and who it is."""

    boot: str
    attached: asyncio.Event

    async def request(self, verb: str, *, limit: float = 5.0) -> object:
        """One question."""
        ...


@dataclass(slots=True)
class ControlProofs:
    """`host` and `port` are where the API's TCP door is reached from here; `tls` trusts its certificate and no other, None in clear."""

    home: Home
    store: Store
    node: Attached
    port: int
    clock: Clock
    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None

    def probers(self) -> Mapping[str, Prober]:
        """By kind of proof."""
        return {
            "JournalVerified": self._journal_verified,
            "SecondWriterRefused": self._second_writer_refused,
            "NodeAttached": self._node_attached,
            "AnonymousRefused": self._anonymous_refused,
            "MetricsReadable": self._metrics_readable,
            "JournalReadable": self._journal_readable,
            "LogsArriving": self._logs_arriving,
            "JournalDeep": self._journal_deep,
            "CodeIntact": self._code_intact,
        }

    async def _journal_verified(self, desired: Desired, probe: Probe) -> str:
        verdict = await asyncio.to_thread(verify.verify, self.home.database)
        if not verdict.ok:
            raise Terminal("; ".join(verdict.problems[:3]))
        return f"{verdict.records} records chained, {f'signed up to {verdict.signed}' if verdict.signed else 'not signed yet'}"

    async def _second_writer_refused(self, desired: Desired, probe: Probe) -> str:
        try:
            second = await asyncio.to_thread(lock.take, self.home.store_lock, self.clock)
        except Conflict as error:
            return error.message
        second.release()
        raise Terminal("a second writer could take the lock of this home")

    async def _node_attached(self, desired: Desired, probe: Probe) -> str:
        await self.node.request("ping")
        return f"node {self.node.boot[:8]} answers"

    async def _anonymous_refused(self, desired: Desired, probe: Probe) -> str:
        status, _ = await self._get("/v1/systems")
        if status != 403:  # noqa: PLR2004 HTTP Forbidden
            raise Terminal(f"an anonymous GET /v1/systems was answered with {status}")
        return "anonymous GET /v1/systems: 403"

    async def _metrics_readable(self, desired: Desired, probe: Probe) -> str:
        body = await self._by_socket(f"/metrics?system={desired.system}")
        sample = next((line for line in body.splitlines() if line.startswith("quarterdeck_replicas{") and desired.system in line), None)
        if sample is None:
            raise Transient("/metrics has no sample of this system yet")
        return sample

    async def _journal_readable(self, desired: Desired, probe: Probe) -> str:
        with self.store.read() as conn:
            head = journal.head(conn)
        body = await self._by_socket(f"/v1/journal?after={head.seq - 1}&limit=1")
        items = json.loads(body)["items"]
        if not items or items[0]["hash"] != head.hash:
            raise Terminal(f"the API does not give record {head.seq} as it is stored")
        return f"record {head.seq} read back with its hash"

    async def _logs_arriving(self, desired: Desired, probe: Probe) -> str:
        body = await self._by_socket(f"/v1/logs?system={desired.system}&target={probe.target}&tail=1&each=true")
        lines = (json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: {"))
        seen = {line["replica"] for line in lines if "replica" in line}
        workload = desired.workload(probe.target)
        wanted = {f"{probe.target}-{n}" for n in range(workload.replicas) if n not in workload.quarantined} if workload else set()
        if wanted - seen:
            raise Transient(f"no log line of {', '.join(sorted(wanted - seen))} yet")
        return f"lines of {len(wanted)} {'replica' if len(wanted) == 1 else 'replicas'} read back"

    async def _journal_deep(self, desired: Desired, probe: Probe) -> str:
        """Export the journal and verify the export elsewhere against the head that was noted first."""
        with self.store.read() as conn:
            head = journal.head(conn)

        def work() -> verify.Verdict:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "journal.jsonl"
                with path.open("w") as out, self.store.read() as conn:
                    out.writelines(export.export(conn, keys.held(self.home.keys)))
                return verify.verify(path, expected_head=head, key=keys.published(self.home.keys))

        verdict = await asyncio.to_thread(work)
        if not verdict.ok:
            raise Terminal("; ".join(verdict.problems[:3]))
        return f"export of {verdict.records} records verified against head {head.seq}"

    async def _code_intact(self, desired: Desired, probe: Probe) -> str:
        digests = {w.template.code for w in desired.workloads}
        for digest in digests:
            if await asyncio.to_thread(code.tree_digest, self.home.revisions / digest) != digest:
                raise Terminal(f"the code snapshot {digest[:12]} was altered")
        return f"{len(digests)} snapshots hashed again"

    async def _get(self, path: str) -> tuple[int, str]:
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(self.host, self.port, ssl=self.tls), WITHIN)
        except (OSError, TimeoutError) as error:  # a certificate that expired is one of them
            raise Transient(f"the TCP door does not answer: {error or type(error).__name__}") from error
        name = f"[{self.host}]" if ":" in self.host else self.host
        return await self._exchange(reader, writer, path, f"{name}:{self.port}")

    async def _by_socket(self, path: str) -> str:
        reader, writer = await asyncio.wait_for(asyncio.open_unix_connection(str(self.home.api_socket)), WITHIN)
        status, body = await self._exchange(reader, writer, path, "localhost")
        if status != 200:  # noqa: PLR2004 HTTP OK
            raise Transient(f"GET {path} gave {status}")
        return body

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, host: str) -> tuple[int, str]:
        """One HTTP/1.0 request: the server answers and closes, so that the answer ends where the stream ends."""
        try:
            writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
            answer = (await asyncio.wait_for(reader.read(), WITHIN)).decode()
        except (OSError, TimeoutError) as error:
            raise Transient(f"GET {path}: {type(error).__name__}") from error
        finally:
            writer.close()
        head, _, body = answer.partition("\r\n\r\n")
        return int(head.split(" ", 2)[1]), body

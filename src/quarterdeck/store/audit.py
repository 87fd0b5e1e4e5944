"""Judges the lines of a journal, pure: finds any record or checkpoint that was changed, removed, reordered, added or cut off.

What each thing proves: the chain, that records belong together in this order; a signature (a checkpoint's, or that of an export's end),
that records up to it are those that its key signed; the head file and a head kept elsewhere, that nothing was cut off the end since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, cast

from quarterdeck.store import keys
from quarterdeck.store.chain import EMPTY, GENESIS, PAYLOADS, SIGNED, Head, checkpoint_digest, link, payload_digest, signing_input
from quarterdeck.store.export import HEADER, Line, is_signed
from quarterdeck.store.headfile import Line as HeadLine
from quarterdeck.store.journal import ERASED
from quarterdeck.store.keeper import SEGMENT

_MOST: Final = 100
"""Problems listed; one altered record can break what follows, and nobody reads ten thousand lines."""
_OVERDUE: Final = 1.0
"""Hours between first and last record after which a journal must have a checkpoint. One is made every minute and at each start after
one; but a clock may be set, and a machine may sleep."""


class Audit:
    """Feed it every line in order, then `finish`. `problems` are sentences for people, and so is `unproven`: what sound lines do not show.

    `key` is the public one (hex) to insist on; then the one found. Records up to `signed` are signed by it.
    """

    def __init__(self, *, key: str | None = None) -> None:
        self.problems: list[str] = []
        self.unproven: list[str] = []
        self.records = 0
        self.head = EMPTY
        self.key, self._insists = key, bool(key)
        self.hashes: dict[int, str] = {}
        self.first: int | None = None
        self.checkpoint: Mapping[str, object] | None = None
        self.signed = 0
        self._begun_at: object = None
        self._end_line: Line | None = None
        self._checkpoints = 0
        self._missing: dict[str, int] = {}
        self._erased: set[str] = set()
        self._begun = self._ended = False

    def feed(self, lines: Iterable[Line]) -> Audit:
        """Judge lines one after another."""
        for line in lines:
            try:
                self._line(line)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                self.problem(f"after record {self.head.seq}: a line that is no journal line: {type(error).__name__} {error}")
        return self

    def problem(self, text: str) -> None:
        """Note one; the list is bounded."""
        if len(self.problems) < _MOST:
            self.problems.append(text)

    def finish(self) -> None:
        """Judge what only the end shows: the floor, payloads without a word, a missing end."""
        if not self._ended:
            self.problem(f"the journal breaks off after record {self.head.seq}: its end line is missing")
        floor = cast("int", self.checkpoint["floor"]) if self.checkpoint else 1
        first = self.head.seq + 1 if self.first is None else self.first
        if first != floor:
            self.problem(f"the journal begins with record {first}, it should begin with {floor}")
        self._checkpointed()
        for digest, seq in self._missing.items():
            if digest not in self._erased:
                self.problem(f"record {seq}: its payload {digest[:12]} is gone, and no record says that it was erased")

    def signed_export(self) -> None:
        """Judge the signature of an export's end: without one, anybody can have written it."""
        end = self._end_line
        if end is None:
            return  # `finish` says so
        if "signature" not in end or "key" not in end:
            self.problem("the export is not signed, so that it cannot be told from a forged one: make it again with qd journal export")
        elif not is_signed(end):
            self.problem(f"the signature of the export's head, record {self.head.seq}, is wrong: the export was changed after it was made")
        elif end["key"] != (self.key or end["key"]):
            self.problem(f"the export's head is signed by another key than expected: {end['key']}")
        else:
            self.key, self.signed = str(end["key"]), self.head.seq
            if not self._insists:
                compare = "compare that with keys/journal.pub of the home it is from, or give the home's key with --key"
                self.unproven.append(f"who made it: it is signed by the key {self.key}; {compare}")

    def expect(self, head: Head) -> None:
        """Compare with a head that was kept elsewhere."""
        if head.seq > self.head.seq:
            self.problem(f"records {self.head.seq + 1} to {head.seq} are cut off: the head kept elsewhere is {head.seq}")
        elif head.seq and self.hash_at(head.seq) is None:
            self.problem(f"record {head.seq} is older than what is kept and cannot be compared")
        elif head.seq and self.hash_at(head.seq) != head.hash:
            self.problem(f"record {head.seq} is not the one whose hash was kept elsewhere")

    def compare(self, lines: Iterable[HeadLine], *, may_lag: bool = False) -> None:
        """Compare with the lines of the head file; its last must be the journal's end, unless it `may_lag`."""
        last: HeadLine | None = None
        for last in lines:
            known = self.hash_at(last.head.seq)
            if known is not None and known != last.head.hash:
                self.problem(f"record {last.head.seq} is not the one the head file names")
        head, mark = (last.head, last.checkpoint) if last else (EMPTY, 0)
        if head.seq > self.head.seq:
            self.problem(f"records {self.head.seq + 1} to {head.seq} are cut off: the head file ends at {head.seq}")
        if may_lag and head.seq < self.head.seq:
            return
        if head.seq < self.head.seq:
            self.problem(f"the head file ends at record {head.seq}, the journal at {self.head.seq}: lines were cut or records added")
        if mark != self.last_checkpoint:
            self.problem(f"the head file names checkpoint {mark} as the last one, the journal has another")

    @property
    def last_checkpoint(self) -> int:
        """The number of the last checkpoint seen; 0 when there is none."""
        return cast("int", self.checkpoint["n"]) if self.checkpoint else 0

    def hash_at(self, seq: int) -> str | None:
        """The hash of a record that was seen, or of the one before the first kept."""
        return self.hashes.get(seq)

    def _checkpointed(self) -> None:
        hours = _seconds(self._begun_at, self.head.at) / 3600
        if self.head.seq - self.signed >= SEGMENT:
            span = f"records {self.signed + 1} to {self.head.seq}"
            self.problem(f"{span} are in no checkpoint, and one is made after {SEGMENT} of them: checkpoints were removed")
        elif not self.signed and hours > _OVERDUE:
            why = "one is made every minute and with each start: they were removed, or the clock was set in the first minute"
            self.problem(f"there is no checkpoint in {hours:.1f} hours of records, and {why}")

    def _line(self, line: Line) -> None:
        if not self._begun:
            self._begun = True
            if line != HEADER:
                self.problem("the first line is not the journal's header")
            return
        if self._ended:
            self.problem("there are lines after the end line")
        match line["kind"]:
            case "record":
                self._record(line)
            case "checkpoint":
                self._checkpoint(line)
            case "end":
                self._end(line)
            case other:
                self.problem(f"after record {self.head.seq}: a line of unknown kind {other!r}")

    def _record(self, line: Line) -> None:
        seq, expected = _number(line["seq"]), self.head.seq + 1
        if seq != expected:
            late = f"record {seq} stands where {expected} belongs"
            self.problem(late if seq < expected else f"records {expected} to {seq - 1} are missing")
        if line["prev"] != self.head.hash:
            self.problem(f"record {seq} does not follow the one before it")
        if link({name: value for name, value in line.items() if name != "payloads"}) != line["hash"]:
            self.problem(f"record {seq} was changed")
        self._payloads(seq, line)
        if self.first is None:
            self.first, self._begun_at = seq, line["at"]
        self.records += 1
        self.head = Head(seq, str(line["hash"]), cast("float", line["at"]))
        self.hashes[seq] = self.head.hash
        if line["verb"] == ERASED:
            self._erased.add(str(line["target"]))

    def _payloads(self, seq: int, line: Line) -> None:
        present = cast("dict[str, dict[str, str]]", line["payloads"])
        named = {str(line[f"{name}_digest"]) for name in PAYLOADS} - {""}
        for digest, payload in present.items():
            if digest not in named:
                self.problem(f"record {seq}: a payload that does not belong to it")
            elif payload_digest(payload["salt"], payload["body"]) != digest:
                self.problem(f"record {seq}: a payload was changed")
        self._missing.update(dict.fromkeys(named - present.keys(), seq))

    def _checkpoint(self, line: Line) -> None:
        row = {name: line[name] for name in (*SIGNED, "signature")}
        n, before = _number(row["n"]), self.checkpoint
        _number(row["seq"]), _number(row["floor"])
        anchor = before is None and self.first is None
        if not keys.signed_by(str(row["key"]), signing_input(row), str(row["signature"])):
            self.problem(f"checkpoint {n} was changed or not signed by its key")
        if row["key"] != (self.key or row["key"]):
            self.problem(f"checkpoint {n} is signed by another key than expected")
        self.key = str(row["key"])
        if anchor:
            self._anchor(row)
        else:
            self._follows(n, row, before)
        self.checkpoint, self.signed = row, _number(row["seq"])
        self._checkpoints += 1

    def _anchor(self, row: Mapping[str, object]) -> None:
        self.head = Head(cast("int", row["seq"]), str(row["hash"]), cast("float", row["at"]))
        self.hashes[self.head.seq] = self.head.hash

    def _follows(self, n: int, row: Mapping[str, object], before: Mapping[str, object] | None) -> None:
        if (n, row["prev"]) != ((cast("int", before["n"]) + 1, checkpoint_digest(before)) if before else (1, GENESIS)):
            self.problem(f"checkpoint {n} does not follow the one before it: one was removed or moved")
        if (row["seq"], row["hash"]) != (self.head.seq, self.head.hash):
            self.problem(f"checkpoint {n} covers record {row['seq']}, which is not the one found there")

    def _end(self, line: Line) -> None:
        self._ended, self._end_line = True, line
        last = self.head if self.records else EMPTY
        totals = {"kind": "end", "records": self.records, "checkpoints": self._checkpoints, "seq": last.seq, "hash": last.hash}
        if {name: value for name, value in line.items() if name not in ("key", "signature")} != totals:
            self.problem("the end line does not agree with the lines before it")


def _seconds(earlier: object, later: object) -> float:
    """Between two times; 0 where one is none, as a changed record may have it."""
    return later - earlier if isinstance(earlier, float) and isinstance(later, float) else 0.0


def _number(value: object) -> int:
    if type(value) is int:
        return value
    msg = f"{value!r} is no whole number"
    raise TypeError(msg)

"""Lists with appends and sets with additions: nothing lost, duplicated, or out of order.

Owns an exact check without a search. Such a collection only grows, so the reads give the order in which
operations took place; what remains is whether real time allows that order.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from raft.lab.checkers.evidence import Findings, end_of
from raft.lab.checkers.records import Record, show


def judge_appends(findings: Findings) -> None:
    """Every read of a list is a prefix of every longer one."""
    for key, records in findings.by_key({"append", "read"}).items():
        values = [record.value for record in records if record.op == "append"]
        if len(values) != len(set(values)):
            findings.cannot_tell(key)  # Which of two equal elements was seen is unknown.
        else:
            _Collection(findings, key, records, ordered=True).judge()


def judge_sets(findings: Findings) -> None:
    """Every read of a set is contained in every larger one; adding is idempotent."""
    for key, records in findings.by_key({"add", "read"}).items():
        _Collection(findings, key, records, ordered=False).judge()


class _Collection:
    """The operations on one key."""

    def __init__(self, findings: Findings, key: str, records: Sequence[Record], *, ordered: bool) -> None:
        self._findings = findings
        self._key = key
        self._ordered = ordered
        self._verb = "append" if ordered else "add"
        reads = [record for record in records if record.op == "read" and record.done]
        # Of equally long reads the earliest first: then the latest call before a read is that of the last
        # one.
        self._reads = sorted(reads, key=lambda read: (len(read.result), read.call))
        self._sound: set[object] = set()  # Elements known to have been written.
        self._writers: dict[object, list[Record]] = {}
        for record in records:
            if record.op == self._verb:
                self._writers.setdefault(record.value, []).append(record)

    def judge(self) -> None:
        """Each read by itself, then each with the one before it, then all against clock and log."""
        if all(self._is_sound(read) for read in self._reads) and self._agree():
            self._fits_time()
            self._fits_the_log()

    def _is_sound(self, read: Record) -> bool:
        """Was everything in this read written, and is it there once?"""
        elements = read.result
        if len(set(elements)) != len(elements):
            twice = next(element for place, element in enumerate(elements) if element in elements[:place])
            text = f"{twice} was {self._verb}ed once, and is there {elements.count(twice)} times"
            return self._wrong(f"doubled-{self._verb}", text, [*self._writers.get(twice, []), read])
        for element in set(elements) - self._sound:
            writers = self._writers.get(element, [])
            if not writers:
                return self._wrong("phantom-value", f"{element} was never {self._verb}ed", [read])
            if all(writer.outcome == "refused" for writer in writers):
                text = f"the {self._verb} of {element} was refused, yet it is seen"
                return self._wrong("refused-write-seen", text, [*writers, read])
            if all(writer.call > end_of(read) for writer in writers if writer.outcome != "refused"):
                text = f"{element} was read before its {self._verb} began"
                return self._wrong("read-from-the-future", text, [*writers, read])
            self._sound.add(element)
        return True

    def _agree(self) -> bool:
        """Is each read contained in the next longer one?"""
        for i in range(1, len(self._reads)):
            shorter, longer = self._reads[i - 1], self._reads[i]
            if self._ordered:
                contained = longer.result[: len(shorter.result)] == shorter.result
            else:
                contained = set(shorter.result) <= set(longer.result)
            if not contained:
                pairs = zip(shorter.result, longer.result, strict=False)
                odd = (
                    next(ours for ours, theirs in pairs if ours != theirs)
                    if self._ordered
                    else min(set(shorter.result) - set(longer.result))
                )
                earlier, later = sorted((shorter, longer), key=lambda read: read.call)
                if odd not in longer.result and end_of(shorter) < longer.call:
                    text = f"{odd} was there, and is gone in a later read"
                    return self._wrong(f"lost-{self._verb}", text, [*self._writers[odd], shorter, longer])
                text = f"two reads contradict each other about {odd}"
                return self._wrong("reads-disagree", text, [*self._writers[odd], earlier, later])
        return True

    def _fits_time(self) -> None:
        """Place everything as early as possible, in the order of the reads: is anything too late?"""
        moment = -inf
        because: Record | None = None  # Why nothing that follows can be earlier.
        known: list[str] = []
        seen: set[str] = set()
        for read in self._reads:
            fresh = read.result[len(known) :] if self._ordered else sorted(set(read.result) - seen)
            floor, reason = moment, because
            for element in fresh:
                called, returned, writer = self._span(element)
                start, cause = (moment, because) if self._ordered else (floor, reason)
                if start > returned:
                    assert cause is not None
                    self._too_late(writer, cause, read)
                    return
                if called > moment:
                    moment, because = called, writer
            known, seen = read.result, seen | set(fresh)
            if moment > end_of(read):
                assert because is not None
                self._too_early(read, because)
                return
            if read.call > moment:
                moment, because = read.call, read
        self._all_seen(seen, moment, because)

    def _fits_the_log(self) -> None:
        """A read that has seen the log up to an index shows exactly what was written up to there."""
        placed = {
            element: min(known, key=lambda writer: writer.index)
            for element, writers in self._writers.items()
            if (known := [writer for writer in writers if writer.done and writer.index])
            and all(writer.outcome == "refused" or writer in known for writer in writers)
        }
        for read in self._reads:
            shown = set(read.result)
            for element, writer in placed.items() if read.index else ():
                if (element in shown) != (writer.index <= read.index):
                    there = "shows" if element in shown else "lacks"
                    text = (
                        f"{read.asked()} has seen the log up to {read.index}, and {there} "
                        f"{show(element)}, which stands at {writer.index}"
                    )
                    self._wrong("read-against-the-log", text, [writer, read])
                    return
            places = [placed[element].index for element in read.result if element in placed]
            if self._ordered and places != sorted(places):
                self._wrong("reordered", f"{read.asked()} shows another order than the log has", [read])
                return

    def _all_seen(self, seen: set[str], moment: float, because: Record | None) -> None:
        """An element that no read has shown must have been written after all of them."""
        lost = [
            self._span(element)[2]
            for element, writers in self._writers.items()
            if element not in seen and any(w.done for w in writers) and self._span(element)[1] < moment
        ]
        if lost:
            assert because is not None
            last = self._reads[-1] if because.op != "read" else because
            more = f" (and {len(lost) - 1} more like it)" if len(lost) > 1 else ""
            text = (
                f"{show(lost[0].value)} was {self._verb}ed and acknowledged, and a later read lacks it{more}"
            )
            self._wrong(f"lost-{self._verb}", text, [lost[0], last, because])

    def _span(self, element: object) -> tuple[float, float, Record]:
        """From when on the element may be there, from when on it must be, and its writer."""
        writers = [writer for writer in self._writers[element] if writer.outcome != "refused"]
        if not writers:
            return inf, inf, self._writers[element][0]
        first = min(writers, key=end_of)
        return min(writer.call for writer in writers), end_of(first), first

    def _too_early(self, read: Record, because: Record) -> None:
        if because.op == "read":
            text = f"{because.describe()}, and lacks what an earlier read has shown"
            self._wrong("stale-read", text, [read, because])
        else:
            text = f"{read.describe()} was over before {because.value} was asked for"
            self._wrong("read-from-the-future", text, [read, because])

    def _too_late(self, writer: Record, because: Record, read: Record) -> None:
        if because.op == "read":
            text = f"{because.asked()} lacks {writer.value}, which had been {self._verb}ed before it began"
            self._wrong("stale-read", text, [writer, because, read])
        else:
            text = f"{writer.value} was there before {because.value} was asked for, and comes after it"
            self._wrong("reordered", text, [writer, because, read])

    def _wrong(self, name: str, text: str, operations: Sequence[Record]) -> bool:
        unique = {id(operation): operation for operation in operations}
        self._findings.wrong(name, self._key, text, unique.values())
        return False

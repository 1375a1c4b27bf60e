"""Watches: every change, once, in order, and none that did not happen.

Owns these rules, and what the order of events means for reads: each change has its place in the log, and the
reads must fit between them. Which watcher must get what is determined by `watchers`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import msgspec

from raft.lab.checkers.evidence import Findings, end_of
from raft.lab.checkers.records import Record
from raft.lab.checkers.registers import judge_registers
from raft.lab.checkers.watchers import Watcher, revision_of, watchers_of

WRITES = frozenset({"put", "cas"})
WRITES_MIN, TOLD_SHARE_MIN = 10, 0.5  # Of all writes, if no `watch` record says what was watched.

Writers = dict[tuple[str, object], list[Record]]
FirstEvents = dict[tuple[str, int], Record]  # By key and revision, the first event of a change.


def judge_watches(findings: Findings) -> None:
    """Each watcher by itself, then all against each other, the writes and the reads."""
    watchers = watchers_of(findings.records)
    writers: Writers = {}
    for record in findings.records:
        if record.op in WRITES:
            writers.setdefault((record.key, record.value), []).append(record)
    told: FirstEvents = {}
    for watcher in watchers:
        _in_order(findings, watcher.events)
        for event in watcher.events:
            _has_reason(findings, event, writers.get((event.key, event.value), []))
            _agrees(findings, event, told.setdefault((event.key, revision_of(event)), event))
    _deletions_were_asked_for(findings, told, writers)
    _in_order_of_time(findings, told, writers)
    _agree_with_the_log(findings, told, writers)
    if not findings.anomalies:
        _complete(findings, watchers, told)
        _nothing_skipped(findings, watchers, told, writers)
    if not findings.anomalies:
        findings.records = _placed(findings.records, told, writers)
        _enough_is_known(findings, watchers, told)
    judge_registers(findings)


# -- each event by itself ---------------------------------------------------------------------------


def _in_order(findings: Findings, stream: Sequence[Record]) -> None:
    latest: dict[str, Record] = {}
    newest: Record | None = None
    for event in stream:
        before = latest.get(event.key)
        if before is not None and revision_of(before) == revision_of(event):
            text = f"{event.client} was told of revision {revision_of(event)} twice"
            findings.wrong("doubled-event", event.key, text, [before, event])
            return
        if newest is not None and revision_of(event) < revision_of(newest):
            text = (
                f"{event.client} was told of revision {revision_of(event)} after revision "
                f"{revision_of(newest)}"
            )
            findings.wrong("events-out-of-order", event.key, text, [newest, event])
            return
        latest[event.key] = newest = event


def _has_reason(findings: Findings, event: Record, writers: Sequence[Record]) -> None:
    """Is there a write that explains this event? A deletion is a swap to None."""
    what = "a deletion" if event.value is None else str(event.value)
    if not writers:
        text = f"{event.client} was told of {what}, which was never asked for"
        findings.wrong("phantom-event", event.key, text, [event])
    elif all(not _may_have_been_made(writer) for writer in writers):
        text = f"{event.client} was told of {what}, which was refused"
        findings.wrong("refused-write-seen", event.key, text, [*writers, event])
    elif all(writer.call > end_of(event) for writer in writers if _may_have_been_made(writer)):
        text = f"{event.client} was told of {what} before its write began"
        findings.wrong("event-from-the-future", event.key, text, [*writers, event])


def _agrees(findings: Findings, event: Record, other: Record) -> None:
    if other.value != event.value:
        text = (
            f"of revision {revision_of(event)} {other.client} was told {other.value}, {event.client} "
            f"{event.value}"
        )
        findings.wrong("watchers-disagree", event.key, text, [other, event])


def _may_have_been_made(writer: Record) -> bool:
    return writer.outcome != "refused" and not _did_not_swap(writer)


def _did_not_swap(writer: Record) -> bool:
    return writer.op == "cas" and writer.done and not writer.result["swapped"]


def _only_writer(event: Record, writers: Writers) -> Record | None:
    """The write of the event, if it is unique."""
    found = writers.get((event.key, event.value), [])
    return found[0] if len(found) == 1 and event.value is not None else None


# -- all events against the writes --------------------------------------------------------------------


def _deletions_were_asked_for(findings: Findings, told: FirstEvents, writers: Writers) -> None:
    """No more deletions of a key than may have been made."""
    deletions: dict[str, list[Record]] = {}
    for event in told.values():
        if event.value is None:
            deletions.setdefault(event.key, []).append(event)
    for key, events in deletions.items():
        asked = [writer for writer in writers.get((key, None), []) if _may_have_been_made(writer)]
        if asked and len(events) > len(asked):
            text = f"{key} was deleted {len(events)} times, and {len(asked)} deletions were asked for"
            findings.wrong("phantom-event", key, text, [*asked, *events])


def _in_order_of_time(findings: Findings, told: FirstEvents, writers: Writers) -> None:
    """A write that was over before another began has the smaller revision; and no write has two."""
    of_write: dict[int, Record] = {}
    earliest_end: tuple[float, Record, Record] | None = None
    for event in sorted(told.values(), key=revision_of, reverse=True):
        writer = _only_writer(event, writers)
        if writer is None:
            continue
        other = of_write.setdefault(id(writer), event)
        if other is not event:
            text = (
                f"one write of {event.value} has two revisions, {revision_of(event)} and {revision_of(other)}"
            )
            findings.wrong("doubled-event", event.key, text, [writer, event, other])
            return
        if earliest_end is not None and earliest_end[0] < writer.call:
            _, later_event, earlier_writer = earliest_end
            text = (
                f"{earlier_writer.value} was written before {writer.value} was asked for, and has the larger "
                f"revision ({revision_of(later_event)} after {revision_of(event)})"
            )
            proof = [earlier_writer, writer, event, later_event]
            findings.wrong("revisions-against-time", event.key, text, proof)
            return
        if earliest_end is None or end_of(writer) < earliest_end[0]:
            earliest_end = (end_of(writer), event, writer)


def _agree_with_the_log(findings: Findings, told: FirstEvents, writers: Writers) -> None:
    """If a writer knows the index of its change, the event has that revision, and no other."""
    at_index = {
        writer.index: writer
        for found in writers.values()
        for writer in found
        if writer.done and writer.index and not _did_not_swap(writer)
    }
    for event in told.values():
        revision, writer = revision_of(event), _only_writer(event, writers)
        there = at_index.get(revision)
        if there is not None and (there.key, there.value) != (event.key, event.value):
            text = (
                f"{event.client} was told of {event.value} at revision {revision}, which wrote {there.value}"
            )
            findings.wrong("wrong-event", event.key, text, [there, event])
            return
        if writer is not None and writer.done and writer.index and writer.index != revision:
            text = (
                f"{event.client} was told of {event.value} at revision {revision}, and it was written at "
                f"{writer.index}"
            )
            findings.wrong("wrong-event", event.key, text, [writer, event])
            return


# -- missing events ----------------------------------------------------------------------------------


def _complete(findings: Findings, watchers: Sequence[Watcher], told: FirstEvents) -> None:
    """Each watcher gets every change that is known to have been made in the range that it watches."""
    known = dict(told)
    for record in findings.records:
        if record.op in WRITES and record.done and record.index and not _did_not_swap(record):
            known.setdefault((record.key, record.index), record)
    changes = sorted(known.items(), key=lambda change: change[0][1])
    for watcher in watchers:
        heard = {(event.key, revision_of(event)) for event in watcher.events}
        for (key, revision), record in changes:
            if (key, revision) in heard or not watcher.had_to_hear(key, revision):
                continue
            how = f"{record.client} was told of" if record.op == "event" else f"{record.client} wrote"
            text = f"{watcher.name} was not told of {record.value} at revision {revision}, which {how}"
            proof = [record, *_neighbours(watcher.events, revision)]
            findings.wrong("missed-event", key, text, proof)
            break


def _neighbours(stream: Sequence[Record], revision: int) -> list[Record]:
    """The event before a revision, and the one after it."""
    place = bisect_left(stream, revision, key=revision_of)
    return list(stream[max(place - 1, 0) : place + 1])


def _nothing_skipped(
    findings: Findings, watchers: Sequence[Watcher], told: FirstEvents, writers: Writers
) -> None:
    """A write that certainly lies between two changes that a watcher got must have reached it, too.

    This holds for its keys, and for a key of which no watcher has an event.
    """
    seen = {(event.key, event.value) for event in told.values()}
    heard_of = {event.key for event in told.values()}
    spans = [(watcher, span) for watcher in watchers for span in _spans(watcher, writers)]
    for (key, value), found in writers.items():
        write = found[0]
        untold = write.done and not _did_not_swap(write) and (key, value) not in seen
        if not untold or len(found) > 1 or write.index:
            continue
        for watcher, ((first_write, first), (last_write, last)) in spans:
            if not (end_of(first_write) < write.call and end_of(write) < last_write.call):
                continue
            if watcher.watches(key) or (watcher.prefix is None and key not in heard_of):
                text = f"{watcher.name} was told of {first.value} and {last.value}, not of {write.value}"
                findings.wrong("missed-event", key, text, [first_write, first, write, last_write, last])
                return


Pair = tuple[Record, Record]  # A write, and its event.


def _spans(watcher: Watcher, writers: Writers) -> list[tuple[Pair, Pair]]:
    """Of a watcher's events, the write that ended first and the one that began last."""
    pairs = [
        (writer, event) for event in watcher.events
        if (writer := _only_writer(event, writers)) is not None
    ]  # fmt: skip
    if not pairs:
        return []
    return [(min(pairs, key=lambda pair: end_of(pair[0])), max(pairs, key=lambda pair: pair[0].call))]


# -- what events mean for reads ---------------------------------------------------------------------


def _placed(records: Sequence[Record], told: FirstEvents, writers: Writers) -> list[Record]:
    """The records; those that an event confirms were done, and are placed at its revision."""
    revisions = {
        id(writer): revision_of(event)
        for event in told.values()
        if (writer := _only_writer(event, writers)) is not None
    }
    placed = []
    for record in records:
        revision = revisions.get(id(record))
        if revision is not None:
            result = record.result if record.done or record.op != "cas" else {"swapped": True}
            record = msgspec.structs.replace(record, index=revision, outcome="done", result=result)
        placed.append(record)
    return placed


def _enough_is_known(findings: Findings, watchers: Sequence[Watcher], told: FirstEvents) -> None:
    """Without `watch` records, nothing can be concluded if most writes reached no watcher."""
    if any(record.op == "watch" for record in findings.records):
        return
    findings.note("no `watch` record says up to which revision it went: a silent watcher stays undetected")
    written = [r for r in findings.records if r.op in WRITES and r.done and not _did_not_swap(r)]
    seen = {(event.key, event.value) for event in told.values()}
    heard = sum((record.key, record.value) in seen for record in written)
    if watchers and len(written) >= WRITES_MIN and heard < TOLD_SHARE_MIN * len(written):
        findings.note(f"of {len(written)} writes the watchers were told of {heard}")
        findings.cannot_tell("the watches")

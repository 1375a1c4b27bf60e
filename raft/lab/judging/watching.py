"""Watches: every change, once, in order, and none that did not happen.

Owns these rules. A watcher is a client that reports `event`s; it watches the keys that it has heard of, from
its first event to its last. What happened before or after that is not asked of it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from raft.lab.judging.evidence import Findings, end_of
from raft.lab.judging.records import Record

WRITES = frozenset({"put", "cas"})


def judge_watches(findings: Findings) -> None:
    """Each watcher by itself, then all against each other and against the writes."""
    streams: dict[str, list[Record]] = {}
    writers: dict[tuple[str, object], list[Record]] = {}
    for record in findings.records:
        if record.op == "event":
            streams.setdefault(record.client, []).append(record)
        elif record.op in WRITES:
            writers.setdefault((record.key, record.value), []).append(record)
    told: dict[tuple[str, int], Record] = {}
    for stream in streams.values():
        _in_order(findings, stream)
        for event in stream:
            _has_reason(findings, event, writers.get((event.key, event.value), []))
            other = told.setdefault((event.key, _revision(event)), event)
            if other.value != event.value:
                text = (
                    f"of revision {_revision(event)} {other.client} was told {other.value}, "
                    f"{event.client} {event.value}"
                )
                findings.wrong("watchers-disagree", event.key, text, [other, event])
    _in_order_of_time(findings, told, writers)
    everything = sorted(told.values(), key=_revision)
    for stream in streams.values():
        _complete(findings, stream, everything)
    _nothing_skipped(findings, streams, told, writers)


def _revision(event: Record) -> int:
    return cast(int, event.result["revision"])


def _in_order(findings: Findings, stream: Sequence[Record]) -> None:
    latest: dict[str, Record] = {}
    newest: Record | None = None
    for event in stream:
        before = latest.get(event.key)
        if before is not None and _revision(before) == _revision(event):
            text = f"{event.client} was told of revision {_revision(event)} twice"
            findings.wrong("doubled-event", event.key, text, [before, event])
            return
        if newest is not None and _revision(event) < _revision(newest):
            text = (
                f"{event.client} was told of revision {_revision(event)} after revision {_revision(newest)}"
            )
            findings.wrong("events-out-of-order", event.key, text, [newest, event])
            return
        latest[event.key] = newest = event


def _has_reason(findings: Findings, event: Record, writers: Sequence[Record]) -> None:
    """Was there a write that this event can tell of? Deletions carry no value, and are anybody's."""
    if event.value is None:
        return
    if not writers:
        text = f"{event.client} was told of {event.value}, which nobody has written"
        findings.wrong("phantom-event", event.key, text, [event])
    elif all(writer.outcome == "refused" or _did_not_swap(writer) for writer in writers):
        text = f"{event.client} was told of {event.value}, the write of which was refused"
        findings.wrong("refused-write-seen", event.key, text, [*writers, event])
    elif all(writer.call > end_of(event) for writer in writers):
        text = f"{event.client} was told of {event.value} before its write began"
        findings.wrong("event-from-the-future", event.key, text, [*writers, event])


def _did_not_swap(writer: Record) -> bool:
    return writer.op == "cas" and writer.done and not writer.result["swapped"]


def _only_writer(event: Record, writers: dict[tuple[str, object], list[Record]]) -> Record | None:
    """The write that the event tells of, if only one can be meant."""
    found = writers.get((event.key, event.value), [])
    return found[0] if len(found) == 1 and event.value is not None else None


def _in_order_of_time(
    findings: Findings,
    told: dict[tuple[str, int], Record],
    writers: dict[tuple[str, object], list[Record]],
) -> None:
    """A write that was over before another began has the smaller revision; and no write has two."""
    of_write: dict[int, Record] = {}
    earliest_end: tuple[float, Record, Record] | None = None
    for event in sorted(told.values(), key=_revision, reverse=True):
        writer = _only_writer(event, writers)
        if writer is None:
            continue
        other = of_write.setdefault(id(writer), event)
        if other is not event:
            text = f"one write of {event.value} has two revisions, {_revision(event)} and {_revision(other)}"
            findings.wrong("doubled-event", event.key, text, [writer, event, other])
            return
        if earliest_end is not None and earliest_end[0] < writer.call:
            _, later_event, earlier_writer = earliest_end
            text = (
                f"{earlier_writer.value} was written before {writer.value} was asked for, and has the larger "
                f"revision ({_revision(later_event)} after {_revision(event)})"
            )
            proof = [earlier_writer, writer, event, later_event]
            findings.wrong("revisions-against-time", event.key, text, proof)
            return
        if earliest_end is None or end_of(writer) < earliest_end[0]:
            earliest_end = (end_of(writer), event, writer)


def _complete(findings: Findings, stream: Sequence[Record], everything: Sequence[Record]) -> None:
    """What any watcher was told of a key, this one was told too, from its first event to its last."""
    keys = {event.key for event in stream}
    heard = {(event.key, _revision(event)) for event in stream}
    first = min(map(_revision, stream))
    last = max(map(_revision, stream))
    for event in everything[bisect_left(everything, first, key=_revision) :]:
        if _revision(event) > last:
            break
        if event.key in keys and (event.key, _revision(event)) not in heard:
            around = _neighbours(stream, _revision(event))
            text = (
                f"{stream[0].client} was not told of {event.value} at revision {_revision(event)}, which "
                f"{event.client} was told of"
            )
            findings.wrong("missed-event", event.key, text, [event, *around])
            return


def _nothing_skipped(
    findings: Findings,
    streams: dict[str, list[Record]],
    told: dict[tuple[str, int], Record],
    writers: dict[tuple[str, object], list[Record]],
) -> None:
    """A write that surely lies between two that a watcher was told of is missing if nobody was told of it."""
    seen = {(event.key, event.value) for event in told.values()}
    spans = [span for stream in streams.values() for span in _spans(stream, writers)]
    for (key, _value), found in writers.items():
        write = found[0]
        if not write.done or _did_not_swap(write) or (key, write.value) in seen or len(found) > 1:
            continue
        for (first_write, first), (last_write, last) in spans:
            if first.key == key and end_of(first_write) < write.call and end_of(write) < last_write.call:
                text = f"{first.client} was told of {first.value} and {last.value}, not of {write.value}"
                findings.wrong("missed-event", key, text, [first_write, first, write, last_write, last])
                return


Told = tuple[Record, Record]  # A write, and the event that tells of it.


def _spans(
    stream: Sequence[Record], writers: dict[tuple[str, object], list[Record]]
) -> list[tuple[Told, Told]]:
    """For each key that a watcher was told of, the write that ended first and the one that began last."""
    known: dict[str, list[Told]] = {}
    for event in stream:
        writer = _only_writer(event, writers)
        if writer is not None:
            known.setdefault(event.key, []).append((writer, event))
    return [
        (min(pairs, key=lambda pair: end_of(pair[0])), max(pairs, key=lambda pair: pair[0].call))
        for pairs in known.values()
    ]


def _neighbours(stream: Sequence[Record], revision: int) -> list[Record]:
    around = [(a, b) for a, b in pairwise(stream) if _revision(a) < revision < _revision(b)]
    return list(around[0]) if around else []

"""The watchers of a history: the events that each one got, over all its sessions, and those it must get.

Owns the reading of a history for that. Knows no rules.
A client named `name.N` is session N of the watcher `name`: a new session continues after the last event of
the previous one. A `watch` record says which keys a session covered (those that begin with `key`), from which
revision to which, and up to where events had been forgotten before it began. Without such a record, a watcher
with sessions watches all keys until the end of the run, and any other only the keys of its events, from its
first event to its last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from msgspec import Struct

from raft.lab.checkers.records import Record


class Watcher(Struct, kw_only=True):
    """One watcher; `prefix` is None if it watches the keys of its events only."""

    name: str
    events: list[Record]  # In order of delivery.
    prefix: str | None
    first: int
    last: int
    forgotten: list[tuple[int, int]]  # Ranges of revisions that it was told are forgotten, inclusive.

    def had_to_hear(self, key: str, revision: int) -> bool:
        """Must it get a change of this key at this revision?"""
        if not self.first <= revision <= self.last:
            return False
        if any(low <= revision <= high for low, high in self.forgotten):
            return False
        return self.watches(key)

    def watches(self, key: str) -> bool:
        """Does it watch this key?"""
        if self.prefix is None:
            return any(event.key == key for event in self.events)
        return key.startswith(self.prefix)


def revision_of(event: Record) -> int:
    """The event's revision."""
    return cast(int, event.result["revision"])


def watchers_of(records: Iterable[Record]) -> list[Watcher]:
    """All watchers of a history."""
    by_client: dict[str, dict[str, list[Record]]] = {}
    for record in records:
        if record.op in ("event", "watch") and record.done:
            stem, _ = _name_of(record.client)
            by_client.setdefault(stem, {}).setdefault(record.client, []).append(record)
    every_event = [
        record for parts in by_client.values() for part in parts.values() for record in part
        if record.op == "event"
    ]  # fmt: skip
    end = max(map(revision_of, every_event), default=0)
    return [_watcher(name, parts, end) for name, parts in by_client.items()]


def _name_of(client: str) -> tuple[str, int]:
    """The watcher's name, and the number of the session; -1 if the name has none."""
    stem, dot, incarnation = client.rpartition(".")
    return (stem, int(incarnation)) if dot and stem and incarnation.isdigit() else (client, -1)


def _watcher(name: str, parts: dict[str, list[Record]], end: int) -> Watcher:
    clients = sorted(parts, key=lambda client: _name_of(client)[1])
    told = [record for client in clients for record in parts[client] if record.op == "event"]
    spans = [record for client in clients for record in parts[client] if record.op == "watch"]
    has_incarnations = _name_of(clients[0])[1] >= 0
    first = min(map(revision_of, told), default=0)
    last = end if has_incarnations else max(map(revision_of, told), default=0)
    prefix: str | None = "" if has_incarnations else None
    if spans:
        prefix = spans[0].key
        first = min(cast(int, span.result["first"]) for span in spans)
        last = max(cast(int, span.result["last"]) for span in spans)
    return Watcher(name=name, events=told, prefix=prefix, first=first, last=last, forgotten=_forgotten(spans))


def _forgotten(spans: Sequence[Record]) -> list[tuple[int, int]]:
    """The ranges between two sessions that the later one was told are forgotten."""
    ranges = []
    behind = 0
    for span in spans:
        up_to = span.result.get("forgotten")
        if up_to:
            ranges.append((behind + 1, cast(int, up_to)))
        behind = max(behind, cast(int, span.result["last"]))
    return ranges

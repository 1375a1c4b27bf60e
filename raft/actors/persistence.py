"""Actors whose state is a fold of events on disk (event sourcing), as Akka's EventSourcedBehavior.

Owns the order: a command is checked, its events change the state at once, they are made durable together with
those of all other commands of the same turn, by one fsync, and only then is anyone answered. An incarnation
begins with the newest snapshot and the events after it. Which commands and events there are is the
subclass's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec

from actors import Actor, Registry
from actors.asks import Reply
from raft.core.types import Entry, Snapshot
from raft.storage.record import Identity
from raft.storage.snapshots import sealed
from raft.storage.store import Store

_TERM: Final = 1  # One writer, and one history: the log's terms mean nothing here.
_READ_BYTES: Final = 4 * 1024 * 1024
_decode_event = msgspec.msgpack.Decoder(tuple[int, msgspec.Raw]).decode


class PersistentActor(Actor):
    """Private state that outlives the actor's process; a power cut loses nothing that was answered.

    A handler checks its message and calls `persist` with the events that follow from it. `apply` changes the
    state by one event, and does nothing else: it is called for each new event, and for each old one when a
    incarnation begins. Two actors never share a directory; the second is refused.
    """

    events: ClassVar[Mapping[int, type]] = {}
    """The events' types by tag. A tag keeps its meaning for as long as there are directories with it."""
    snapshot_type: ClassVar[type] = object
    """What `take_snapshot` returns."""
    snapshot_every: ClassVar[int] = 1000
    """Events between two snapshots, after which older events are forgotten; 0 takes none."""
    sync: ClassVar[bool] = True
    """False survives the end of the process, but not a power cut."""

    def __init__(self, directory: str, persistence_id: str) -> None:
        """`persistence_id` names whose events these are; a directory of another one is refused."""
        self._directory = Path(directory)
        self._persistence_id = persistence_id
        self._registry = Registry(self.events)
        self._store: Store | None = None
        self._new: list[Entry] = []
        self._then: list[Callable[[], object]] = []
        self._last = 0

    def apply(self, event: Any) -> None:
        """Change the state by one event. Must not fail, and must have no other effect."""
        raise NotImplementedError

    def take_snapshot(self) -> Any:
        """The whole state, as something that msgspec can encode."""
        raise NotImplementedError

    def load_snapshot(self, snapshot: Any) -> None:
        """Replace the state by what `take_snapshot` has returned once."""
        raise NotImplementedError

    def on_recovered(self) -> None:
        """Called once the state is that of the last incarnation, before the first message."""

    @property
    def last_event(self) -> int:
        """The number of the last event, durable or about to be; the first has 1."""
        return self._last

    def persist(self, *events: Any, reply: object = None, then: Callable[[], object] | None = None) -> None:
        """Change the state by these events, which are durable when this turn ends.

        Then `reply` answers the message that is being handled, and `then` is called. If the disk refuses
        them the actor crashes, and neither happens: an asker is told that it may or may not have been done.
        """
        for event in events:
            data = msgspec.msgpack.encode((self._registry.tag(type(event)), event))
            self._last += 1
            self._new.append(Entry(_TERM, self._last, data=data))
            self.apply(event)
        if reply is not None:
            self._then.append(_later(self.context.reply_handle(), reply))
        if then is not None:
            self._then.append(then)

    def on_start(self) -> None:
        """Recover; see `on_recovered`. Raises what Store.open does, as for a directory in use."""
        store = Store.open(self._directory, identity=Identity(self._persistence_id, 0), sync=self.sync)
        try:
            self._recover(store)
        except BaseException:
            store.close()
            raise
        self._store = store
        self.on_recovered()

    def on_turn_end(self) -> None:
        """Make durable what this turn has caused, then answer."""
        new, self._new = self._new, []
        then, self._then = self._then, []
        if new and self._store is not None:
            self._store.save(None, new, None)
            self._snapshot_if_due(self._store)
        for call in then:
            call()

    def on_stop(self) -> None:
        """Give the directory back."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _recover(self, store: Store) -> None:
        snapshot = store.snapshot()
        if snapshot.index:
            kind: Any = self.snapshot_type
            self.load_snapshot(msgspec.msgpack.decode(snapshot.data, type=kind))
        self._last = snapshot.index
        while self._last < store.last_index():
            for entry in store.entries(self._last + 1, store.last_index() + 1, _READ_BYTES):
                tag, event = _decode_event(entry.data or b"")
                self.apply(self._registry.decode(tag, event))
                self._last = entry.index

    def _snapshot_if_due(self, store: Store) -> None:
        every, newest = self.snapshot_every, store.snapshot().index
        if not every or self._last - newest < every:
            return
        data = msgspec.msgpack.encode(self.take_snapshot())
        store.save_snapshot(sealed(Snapshot(self._last, _TERM, data=data)))
        store.compact(self._last)


def _later(handle: Reply, reply: object) -> Callable[[], object]:
    return lambda: handle.send(reply)

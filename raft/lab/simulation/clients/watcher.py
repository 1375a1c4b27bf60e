"""A simulated client that watches all keys, and compacts the history that it has seen.

Owns the events that it got, by the production client's calls. Knows nothing of what happened.
"""

from __future__ import annotations

from raft.client.calls.application import decode_or_raise, plain
from raft.client.calls.sessions import await_events, commit_idempotent
from raft.client.calls.steps import RetryBudget
from raft.client.errors import ClientError
from raft.lab.simulation.clients.caller import Caller
from raft.lab.simulation.event_queue import EventQueue
from raft.lab.simulation.run_log import RunLog
from raft.lab.simulation.setting import Setting
from raft.machines import results
from raft.machines.commands import Compact, WatchKeys
from raft.machines.results import Event, Events
from raft.protocol.client import Committed

TRY_SECONDS = 5.0
THINK_FACTOR = 2.0
COMPACTING_SHARE = 0.2


class Watcher:
    """`events` are all events before the revision `next`."""

    def __init__(self, caller: Caller, *, setting: Setting, event_queue: EventQueue, run_log: RunLog) -> None:
        self.name = caller.name
        self.events: list[Event] = []
        self.next = 1
        self.idle = True
        self._caller = caller
        self._event_queue = event_queue
        self._run_log = run_log
        self._dice = setting.dice(self.name)
        self._think_seconds = THINK_FACTOR * setting.think_seconds
        self._stopped = False

    def start(self) -> None:
        """Begin to watch."""
        self._event_queue.after(self._dice.expovariate(1 / self._think_seconds), self._watch)

    def stop(self) -> None:
        """Stop watching."""
        self._stopped = True

    def _watch(self) -> None:
        if self._stopped:
            return
        self.idle = False
        watch = WatchKeys(self.next, b"", None)
        self._caller.run_call(await_events(self._caller.view, watch, self._tries()), self._told, self._failed)

    def _told(self, told: Events) -> None:
        self.events += told.events
        self.next = told.next
        self._run_log.count("events watched", len(told.events))
        if self.next > 1 and self._dice.random() < COMPACTING_SHARE:
            body = plain(Compact(min(self.next - 1, told.revision)))
            self._caller.run_call(
                commit_idempotent(self._caller.view, body, self._tries()), self._compacted, self._failed
            )
        else:
            self._rest()

    def _compacted(self, committed: Committed) -> None:
        answer = decode_or_raise(committed.result)
        assert isinstance(answer, results.Compacted), f"unexpected answer to a compaction: {answer}"
        self._rest()

    def _failed(self, _error: ClientError) -> None:
        self._rest()

    def _rest(self) -> None:
        self.idle = True
        self.start()

    def _tries(self) -> RetryBudget:
        return RetryBudget(self._caller.now, TRY_SECONDS)

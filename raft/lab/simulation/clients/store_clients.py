"""Simulated clients of the store: the production client's calls, run by the event queue.

Owns their requests and timing. Each value is written once, so that a reader knows its writer. A key is
replaced after some hundred operations, because a checker's work grows with their number.
"""

from __future__ import annotations

from collections.abc import Generator
from random import Random
from typing import Any

from raft.client.calls import store
from raft.client.calls.routing import command, query
from raft.client.calls.steps import Outcome as Answer
from raft.client.calls.steps import RetryBudget, Step
from raft.client.errors import ClientError, OutcomeUnknown
from raft.lab.checkers.recorder import Recorder
from raft.lab.checkers.records import Record
from raft.lab.simulation.clients.caller import Caller
from raft.lab.simulation.event_queue import EventQueue
from raft.lab.simulation.run_log import RunLog
from raft.lab.simulation.setting import Setting
from raft.protocol.client import Committed, QueryResult

# Some wait until the node itself answers that the outcome is unknown; others soon ask elsewhere.
TIMEOUTS_SECONDS = (0.3, 1.0, 6.0, 10.0)
PATIENT_SECONDS = 20.0
PADDING = "~"  # Makes a value longer, so that a write spans sectors; not shown.
OPERATIONS_PER_KEY = 200
KEYS_AT_ONCE = 2
ELSEWHERE_SHARE = 0.3  # Of all requests: to any node, not to the last known leader.

# The weights of writes, reads and swaps: some clients hardly write.
HABITS = ((4, 4, 3), (1, 10, 0), (3, 3, 3), (6, 2, 2))

Conversation = Generator[Step, Answer, Committed | QueryResult]


class Keys:
    """The keys in use: a few at a time, each for a limited number of operations."""

    def __init__(self) -> None:
        self._uses = 0

    def choose(self, dice: Random) -> str:
        """A key for the next operation."""
        self._uses += 1
        number = dice.randrange(KEYS_AT_ONCE)
        return f"k{number + KEYS_AT_ONCE * (self._uses // (KEYS_AT_ONCE * OPERATIONS_PER_KEY))}"


class Client:
    """One client, with one request in progress at a time."""

    def __init__(
        self,
        caller: Caller,
        *,
        setting: Setting,
        event_queue: EventQueue,
        run_log: RunLog,
        history: Recorder,
        keys: Keys,
    ) -> None:
        self.name = caller.name
        self.idle = True
        self._caller = caller
        self._event_queue = event_queue
        self._run_log = run_log
        self._history = history
        self._keys = keys
        self._dice = setting.dice(self.name)
        self._think_seconds = setting.think_seconds
        self._padding_bytes_max = setting.padding_bytes_max
        self._habits = self._dice.choice(HABITS)
        self._stopped = False
        self._written = 0
        self._known: dict[str, str | None] = {}

    def start(self) -> None:
        """Begin to make requests."""
        self._event_queue.after(self._dice.expovariate(1 / self._think_seconds), self._ask_something)

    def stop(self) -> None:
        """Make no further requests on its own."""
        self._stopped = True

    def read(self, key: str) -> Record:
        """Read a key now."""
        record = self._history.called(self.name, "get", key)
        self._begin(
            record,
            query(self._caller.view, store.query(store.get_request(key), stale=False), self._tries()),
        )
        return record

    def write(self, key: str) -> Record:
        """Write a new value now."""
        value = self._new_value()
        record = self._history.called(self.name, "put", key, value=value)
        self._begin(record, command(self._caller.view, store.put_request(key, value), self._tries()))
        return record

    def swap(self, key: str) -> Record:
        """Swap the last seen value of the key for a new one."""
        value, expected = self._new_value(), self._known.get(key)
        record = self._history.called(self.name, "cas", key, value=value, expected=expected)
        request = store.cas_request(key, expected, value)
        self._begin(record, command(self._caller.view, request, self._tries()))
        return record

    def _ask_something(self) -> None:
        if self._stopped:
            return
        if self._dice.random() < ELSEWHERE_SHARE:
            self._caller.view.leader = 0
        key = self._keys.choose(self._dice)
        ask = self._dice.choices((self.write, self.read, self.swap), self._habits)[0]
        ask(key)

    def _tries(self) -> RetryBudget:
        timeout_seconds = PATIENT_SECONDS if self._stopped else self._dice.choice(TIMEOUTS_SECONDS)
        return RetryBudget(self._event_queue.now, timeout_seconds)

    def _new_value(self) -> str:
        self._written += 1
        padding = PADDING * self._dice.randrange(self._padding_bytes_max + 1)
        return f"{self.name}.{self._written}{padding}"

    def _begin(self, record: Record, conversation: Conversation) -> None:
        self.idle = False

        def failed(error: ClientError) -> None:
            if not isinstance(error, OutcomeUnknown):
                self._history.refused(record)
            self._end(record)

        self._caller.run_call(conversation, lambda answer: self._done(record, answer), failed)

    def _done(self, record: Record, answer: Committed | QueryResult) -> None:
        result: Any = None
        if record.op == "get":
            result = self._known[record.key] = text_of(store.value_of(answer.result))
        elif record.op == "cas":
            swapped = store.swapped(answer.result)
            found = self._known[record.key] = text_of(swapped.value)
            result = {"swapped": swapped.swapped, "found": found}
        self._history.done(record, result, answer.index)
        self._end(record)

    def _end(self, record: Record) -> None:
        self._run_log.count(f"operations {record.outcome}")
        at = f" at {record.index}" if record.done else ""
        self._run_log.tell(self.name, f"{record.asked()} → {record.answered()}{at}".replace(PADDING, ""))
        self.idle = True
        if not self._stopped:
            self.start()


def text_of(value: bytes | None) -> str | None:
    """A value as a record has it."""
    return None if value is None else value.decode(errors="backslashreplace")

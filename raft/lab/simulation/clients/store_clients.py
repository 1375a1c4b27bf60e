"""Simulated clients of the store: the production client's calls, run by the event queue.

Owns their requests and timing. Each value is written once, so that a reader knows its writer. A key is
replaced after some hundred operations, because a checker's work grows with their number.
"""

from __future__ import annotations

from collections.abc import Generator
from random import Random

from raft.client.calls import store
from raft.client.calls.routing import command, query
from raft.client.calls.steps import Outcome as Answer
from raft.client.calls.steps import RetryBudget, Step
from raft.client.errors import ClientError, OutcomeUnknown
from raft.lab.checkers.history import PADDING, History, Kind, Operation, Outcome
from raft.lab.simulation.clients.caller import Caller
from raft.lab.simulation.event_queue import EventQueue
from raft.lab.simulation.run_log import RunLog
from raft.lab.simulation.setting import Setting
from raft.protocol.client import Committed, QueryResult

# Some wait until the node itself answers that the outcome is unknown; others soon ask elsewhere.
TIMEOUTS_SECONDS = (0.3, 1.0, 6.0, 10.0)
PATIENT_SECONDS = 20.0
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
        history: History,
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
        self._known: dict[str, bytes | None] = {}

    def start(self) -> None:
        """Begin to make requests."""
        self._event_queue.after(self._dice.expovariate(1 / self._think_seconds), self._ask_something)

    def stop(self) -> None:
        """Make no further requests on its own."""
        self._stopped = True

    def read(self, key: str) -> Operation:
        """Read a key now."""
        operation = self._history.called(self.name, key, Kind.GET)
        self._begin(
            operation,
            query(self._caller.view, store.query(store.get_request(key), stale=False), self._tries()),
        )
        return operation

    def write(self, key: str) -> Operation:
        """Write a new value now."""
        value = self._new_value()
        operation = self._history.called(self.name, key, Kind.PUT, value=value)
        self._begin(operation, command(self._caller.view, store.put_request(key, value), self._tries()))
        return operation

    def swap(self, key: str) -> Operation:
        """Swap the last seen value of the key for a new one."""
        value, expected = self._new_value(), self._known.get(key)
        operation = self._history.called(self.name, key, Kind.CAS, value=value, expected=expected)
        self._begin(
            operation, command(self._caller.view, store.cas_request(key, expected, value), self._tries())
        )
        return operation

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

    def _new_value(self) -> bytes:
        self._written += 1
        padding = PADDING * self._dice.randrange(self._padding_bytes_max + 1)
        return f"{self.name}.{self._written}".encode() + padding

    def _begin(self, operation: Operation, conversation: Conversation) -> None:
        self.idle = False

        def failed(error: ClientError) -> None:
            unknown = isinstance(error, OutcomeUnknown)
            self._end(operation, Outcome.UNKNOWN if unknown else Outcome.REFUSED)

        self._caller.run_call(conversation, lambda answer: self._done(operation, answer), failed)

    def _done(self, operation: Operation, answer: Committed | QueryResult) -> None:
        operation.index = answer.index
        if operation.kind is Kind.GET:
            operation.found = store.value_of(answer.result)
        elif operation.kind is Kind.CAS:
            swapped = store.swapped(answer.result)
            operation.swapped, operation.found = swapped.swapped, swapped.value
        if operation.kind is not Kind.PUT:
            self._known[operation.key] = operation.found
        self._end(operation, Outcome.DONE)

    def _end(self, operation: Operation, outcome: Outcome) -> None:
        self._history.returned(operation, outcome)
        self._run_log.count(f"operations {outcome.value}")
        self._run_log.tell(self.name, operation.describe())
        self.idle = True
        if not self._stopped:
            self.start()

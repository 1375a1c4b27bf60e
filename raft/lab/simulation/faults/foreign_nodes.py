"""The end of some runs: a node that has founded a cluster of its own is to be added.

Owns that node, its history, and the guarantee under test: a node with a history of its own is refused by
name. Knows nothing of the faults before.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from raft.client.calls import membership
from raft.client.calls.steps import RetryBudget
from raft.client.errors import ClientError, CommandRefused
from raft.core.types import Role
from raft.lab.simulation.clients.caller import Caller
from raft.lab.simulation.event_queue import EventQueue
from raft.lab.simulation.hosts.member import Member
from raft.lab.simulation.run_log import RunLog
from raft.lab.simulation.setting import endpoint_of
from raft.protocol.client import AddLearner, Members

FOREIGN_NODE = 900  # An id that no member gets.
ENTRIES_MAX = 40
TIMEOUT_SECONDS = 10.0
ELECTION_SECONDS_MAX = 10.0


class Unobserved:
    """An observer that ignores a foreign node, which is not part of this cluster."""

    def started(self, member: Member) -> None:
        """See `Observer`."""

    def forgotten(self, member: Member) -> None:
        """See `Observer`."""

    def looked(self, member: Member) -> None:
        """See `Observer`."""


class ForeignNodes:
    """Tries to add a foreign node to a cluster after all faults have ended."""

    def __init__(
        self,
        caller: Caller,
        *,
        make: Callable[[int, Unobserved], Member],
        event_queue: EventQueue,
        run_log: RunLog,
        dice: Random,
    ) -> None:
        self._caller = caller
        self._make = make
        self._event_queue = event_queue
        self._run_log = run_log
        self._dice = dice

    def try_to_join(self) -> None:
        """Raises AssertionError if it was added."""
        node = self._make(FOREIGN_NODE, Unobserved())
        node.begin_alone(self._dice.randint(1, ENTRIES_MAX))
        assert self._event_queue.run_until(
            self._event_queue.now() + ELECTION_SECONDS_MAX,
            lambda: node.raft is not None and node.raft.role is Role.LEADER,
        ), f"{node.name} is alone, and does not lead"
        answers: list[Members | ClientError] = []
        request = AddLearner(FOREIGN_NODE, endpoint_of(FOREIGN_NODE))
        change = membership.change(self._caller.view, request, RetryBudget(self._caller.now, TIMEOUT_SECONDS))
        self._caller.run_call(change, answers.append, answers.append)
        self._event_queue.run_until(self._event_queue.now() + 2 * TIMEOUT_SECONDS, lambda: bool(answers))
        (answer,) = answers
        assert not isinstance(answer, Members), (
            f"{node.name}, which has a history of its own, was added: {answer}"
        )
        refused = isinstance(answer, CommandRefused)
        self._run_log.count("foreign nodes refused" if refused else "foreign nodes not added")
        self._run_log.tell(node.name, f"is not added: {answer}")
        node.depart()

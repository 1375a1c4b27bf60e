"""Leases at the node that leads: kept alive, run out, or cut short when a connection closes.

Owns the leader's count of them and the proposals that end them. Only a leader that a quorum has confirmed
since it was asked says that a lease goes on; only one that leads at that very moment says that it ends.
Knows nothing of what hangs on a lease.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Protocol

from actors.address import Address
from actors.asks import Answerable
from actors.timers import Timer
from raft.core.errors import ProposalDropped
from raft.core.raft import Raft
from raft.core.types import Role
from raft.machines.application import Application
from raft.machines.codec import encode_nodes_own
from raft.machines.commands import Expire
from raft.machines.lease_clock import LeaseClock
from raft.machines.leases import Leases
from raft.node.applier import Applier
from raft.node.requests.reads import Reads
from raft.protocol.admin import LeaseStatus
from raft.protocol.client import KeepAlive, LeaseProbe, LeaseTime, Refused, TimeLeft
from raft.protocol.registry import CLIENT_ACTOR

# A closed connection is only noticed when something is sent to it.
PROBE_SECONDS = 0.025
# What hangs on the leases that one command ends: its work, and the time that all others wait for it.
EXPIRE_LOAD_MAX = 5_000
LEASES_TOLD, ATTACHED_TOLD, ATTACHED_CHARACTERS_MAX = 8, 3, 60  # In a status.
LEADERSHIP_LOST = Refused("leadership was lost before the lease could be looked at")


class LeaseContext(Protocol):
    """The part of an actor's context that is needed."""

    @property
    def sender(self) -> Address | None:
        """The sender of the current request."""
        ...

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    def tell(self, to: Address, message: object) -> None:
        """Send a message."""
        ...

    def every(self, seconds: float, what: object) -> Timer:
        """Call something again and again."""
        ...

    def watch_process(self, process: str) -> None:
        """Watch for the end of that process."""
        ...

    def unwatch_process(self, process: str) -> None:
        """Take that back."""
        ...


class LeaseKeeper:
    """The leases of an application, as their node sees them."""

    def __init__(
        self, application: Application, raft: Raft, applier: Applier, reads: Reads, context: LeaseContext
    ) -> None:
        self._application = application
        self._raft = raft
        self._applier = applier
        self._reads = reads
        self._context = context
        self._clock: LeaseClock | None = None
        self._counted: Leases | None = None  # Another table after a snapshot was restored.
        self._term = 0
        self.bound: dict[str, set[int]] = {}
        self._probe: Timer | None = None
        self._pruned_at = 0
        self._blind_since: float | None = None  # The machine could not be looked at from then on.
        self.newest = 0
        """The newest lease that `check` has seen."""
        self.behind = False
        """Whether the last `check` left work for another turn."""

    def take(self, request: KeepAlive | TimeLeft, reply_handle: Callable[[], Answerable], now: float) -> None:
        """Answer once a quorum has confirmed that this node leads, and all committed till now is applied."""
        term = self._raft.term
        sender = self._context.sender
        process = sender.process if sender is not None else ""
        self._reads.add(lambda: self.answer(request, term, process), reply_handle(), now)

    @property
    def blind(self) -> bool:
        """Whether the machine could not be looked at by the last `check`."""
        return self._blind_since is not None

    def check(self, now: float) -> None:
        """Count newly granted leases; start over when this node has begun to lead.

        To be called after a change of role, and in each turn in which leases were granted, the machine is not
        free, or this is `behind` or `blind`.
        """
        if not self._applier.free:
            self._blind_since = now if self._blind_since is None else self._blind_since
            self.behind = False
            return
        if self._blind_since is not None:
            self.exclude_time(now - self._blind_since, now)
            self._blind_since = None
        leading = self._raft.term if self._raft.role is Role.LEADER else 0
        leases, clock = self._application.leases, self._clock
        self.newest = leases.newest
        if leading != self._term or leases is not self._counted:
            self._term, self._counted = leading, leases
            self._clock = LeaseClock(leases, now) if leading else None
            if not leading:
                self._unbind_all()
        elif clock is not None and (clock.newest != leases.newest or self.behind):
            clock.follow(now)
        self.behind = self._clock is not None and self._clock.behind

    def expire(self, now: float) -> None:
        """Propose the end of expired leases."""
        if self._clock is None:
            return  # When a leader begins to count, none is due.
        self.check(now)
        clock = self._clock
        if clock is None or not self._applier.free:
            return
        due = clock.due(now, load_of=self._load_of, load_max=EXPIRE_LOAD_MAX)
        if due:
            try:
                self._raft.propose_batch([encode_nodes_own(Expire(due))])
            except ProposalDropped:
                clock.not_proposed(due, now)

    def exclude_time(self, seconds: float, now: float) -> None:
        """Exclude time in which no message was read, keep-alives included: it counts for no lease."""
        if self._clock is not None:
            self._clock.exclude_time(seconds, now)

    def disconnected(self, process: str) -> None:
        """A process has ended: end the leases that are bound to its connection."""
        bound = self.bound.pop(process, None)
        if bound is not None and self._clock is not None:
            self._clock.cut_short(bound, self._context.now())
            self.expire(self._context.now())

    def told(self) -> list[LeaseStatus]:
        """The oldest leases, for a status; none if this node does not lead, or is applying just now."""
        clock, application = self._clock, self._application
        if clock is None or not self._applier.free:
            return []
        now, found = self._context.now(), []
        for lease, ttl_ms in islice(application.leases.ttls_ms.items(), LEASES_TOLD):
            left_seconds = clock.remaining_seconds(lease, now) or 0.0
            keys = [key.decode(errors="replace") for key in application.store.some_of(lease, ATTACHED_TOLD)]
            seats = [
                f"{'holds' if seated else 'waits for'} {election}"
                for election, seated in application.elections.some_of(lease, ATTACHED_TOLD)
            ]
            names = [name[:ATTACHED_CHARACTERS_MAX] for name in [*seats, *keys][:ATTACHED_TOLD]]
            left_seconds, count = round(left_seconds, 1), self._load_of(lease)
            found.append(LeaseStatus(lease, ttl_ms / 1000, left_seconds, names, count))
        return found

    def _load_of(self, lease: int) -> int:
        application = self._application
        return application.store.count_of(lease) + application.elections.count_of(lease)

    def _leads(self, term: int) -> bool:
        return self._raft.role is Role.LEADER and self._raft.term == term

    def answer(self, request: KeepAlive | TimeLeft, term: int, process: str) -> LeaseTime | Refused:
        """The answer to a keep-alive or a question, once leadership in `term` is confirmed."""
        clock, now = self._clock, self._context.now()
        if clock is None or term != self._term or not self._leads(term):
            return LEADERSHIP_LOST
        ttl_ms = self._application.leases.ttls_ms.get(request.lease, 0)
        if isinstance(request, TimeLeft):
            left_seconds = clock.remaining_seconds(request.lease, now)
        else:
            left_seconds = clock.keep_alive(request.lease, now)
            if left_seconds is not None and request.release_on_disconnect and process:
                self._bind(process, request.lease)
        if left_seconds is None:
            return LeaseTime(request.lease, 0.0, 0.0)
        return LeaseTime(request.lease, ttl_ms / 1000, left_seconds)

    # -- bound to a connection --------------------------------------------------------------------

    def _bind(self, process: str, lease: int) -> None:
        if process not in self.bound:
            self._context.watch_process(process)
        self.bound.setdefault(process, set()).add(lease)
        if self._probe is None:
            self._probe = self._context.every(PROBE_SECONDS, self._probe_all)

    def _probe_all(self) -> None:
        table = self._application.leases
        if self._applier.free and self._pruned_at != table.ends:
            self._pruned_at = table.ends
            for process, leases in list(self.bound.items()):
                leases.difference_update([lease for lease in leases if lease not in table])
                if not leases:
                    del self.bound[process]
                    self._context.unwatch_process(process)
        for process in self.bound:
            self._context.tell(Address(process, CLIENT_ACTOR), LeaseProbe())
        if not self.bound and self._probe is not None:
            self._probe.cancel()
            self._probe = None

    def _unbind_all(self) -> None:
        for process in self.bound:
            self._context.unwatch_process(process)
        self.bound.clear()

"""The processes of the other members: to which one this node owes its vote, and whether that one has ended.

Owns when a heartbeat's request for a pledge is granted, whose pledges count, and what is owed from before a
start. How the core uses pledges is in `raft.core.lease`.

Theory. A leader's lease is a promise of votes withheld, and exists in the memory of one process. When that
process has ended, it answers nothing any more, and the promise protects nothing. So with a proof of its end a
voter may vote at once. What is a proof? On one machine, the operating system's word on a process that it was
asked to watch while that process was known to live (Linux: a descriptor of the process, a pidfd). What is
none: a closed connection, silence, a refused connection, the word of another voter. Those may come from a
process that lives, cut off or paused, and answers a client that still reaches it.

- A node names its process in its handshake: the boot of its machine, the namespace of its process ids, its
  pid and when it started, and its incarnation. Another node believes it only over an ipc endpoint, which
  leads to the same kernel, and if boot and namespace are its own.
- A descriptor stays that of the process, so a pid that is used again does not mislead: if another process has
  it, the one that was meant has ended. A handshake of an earlier incarnation is ignored.
- A pledge is owed to one process. What proves the end of an earlier or a later one of the same node proves
  nothing about it.
- By default a voter pledges itself only to a leader whose process it watches. So a lease never makes an
  election wait longer than without, and exists only among processes that read the same clock. With
  `lease_reads` it pledges itself to every leader, and waits where there is no proof.
- To whom it has pledged itself is written down first, and read by its next process: that one waits, too,
  unless that leader's process has ended. The file need not be durable: if the machine fails, so do the
  processes.
- Replies of voters with a shorter election timeout do not count: they withhold their votes for less long.
- A clock that is made to run wrong on purpose ends that node's part in all this, until it runs right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from raft.core.raft import Raft
from raft.core.types import NO_NODE, NodeId
from raft.node.config import NodeConfig
from raft.protocol.registry import Handshake, Process

IPC = "ipc://"


class Watched(Protocol):
    """A process whose end will be known."""

    def has_ended(self, wait_milliseconds: int = 0) -> bool:
        """Whether it is proved to have ended, by now or so much later; blocks for no longer than that."""
        ...

    def close(self) -> None:
        """Stop watching."""
        ...


class Endings(Protocol):
    """What the operating system knows of processes."""

    def own(self, incarnation: int) -> Process | None:
        """This process, as others may watch it; None where none can be watched."""
        ...

    def watch(self, process: Process) -> Watched | None:
        """Watch a process, which may have ended already; None if nothing can be known of it here."""
        ...


class NoEndings:
    """Where nothing is known of other processes."""

    def own(self, incarnation: int) -> Process | None:
        """See `Endings`."""
        del incarnation
        return None

    def watch(self, process: Process) -> Watched | None:
        """See `Endings`."""
        del process
        return None


class Pledge(Struct, frozen=True):
    """The last pledge that was given, and for how long it holds; to no node if none was given.

    Without a process it is owed to an unknown one.
    """

    node: NodeId = NO_NODE
    process: Process | None = None
    milliseconds: int = 0


class PledgeRecord(Protocol):
    """Where the last pledge is written down, for the next process of this node."""

    def read(self) -> Pledge | None:
        """What was written last; None if it is missing or damaged."""
        ...

    def write(self, pledge: Pledge) -> bool:
        """Replace it; False if it cannot be written."""
        ...


class ForgottenPledges:
    """For a node that has no directory: none was given before."""

    def read(self) -> Pledge | None:
        """See `PledgeRecord`."""
        return Pledge()

    def write(self, pledge: Pledge) -> bool:
        """See `PledgeRecord`."""
        del pledge
        return True


class _WatchedProcess(Struct):
    process: Process | None
    watched: Watched | None

    def has_ended(self, wait_milliseconds: int = 0) -> bool:
        return self.watched is not None and self.watched.has_ended(wait_milliseconds)

    def close(self) -> None:
        if self.watched is not None:
            self.watched.close()


class PeerProcesses:
    """One for each peer that is up or was; and the one to which the core's pledge is owed."""

    def __init__(
        self,
        config: NodeConfig,
        raft: Raft,
        *,
        incarnation: int,
        endings: Endings,
        record: PledgeRecord,
        after: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._raft = raft
        self._endings = endings
        self._record = record
        self._always = bool(config.lease_reads)
        self.own = endings.own(incarnation)
        """This process, for the handshake."""
        self.withholds_milliseconds = config.withholds_milliseconds
        """For how long this node withholds its vote, when it is asked to."""
        self._timeout_milliseconds = config.election_milliseconds
        self._ticks_of = config.ticks_of
        self._known: dict[NodeId, _WatchedProcess] = {}
        self._owed_to: NodeId = NO_NODE
        self._owed: _WatchedProcess | None = None
        self._withhold_enough: set[NodeId] = set()
        self._clock_rate = 1.0
        self._owe_from_before(incarnation)
        if raft.pledged and not self._always:
            after(2 * config.election_seconds_max, self._owe_nothing)

    def _owe_from_before(self, incarnation: int) -> None:
        """What an earlier process of this node may have promised; nothing, if this is the first."""
        before = Pledge() if incarnation == 1 else self._record.read()
        if before is None:
            before = Pledge(milliseconds=self._timeout_milliseconds)
        watched = None if before.process is None else self._endings.watch(before.process)
        if watched is not None and watched.has_ended():
            before = Pledge()
        self._raft.resume_pledge(before.node, self._ticks_of(before.milliseconds))
        self._owed_to, self._owed = before.node, _WatchedProcess(before.process, watched)
        if self._always:
            self._record.write(Pledge(milliseconds=self._timeout_milliseconds))
        elif incarnation == 1:
            self._record.write(before)

    def _owe_nothing(self) -> None:
        """Nothing that was promised before the start holds any more."""
        if not self._raft.pledged:
            self._record.write(Pledge())

    def replaced(self, peer: NodeId) -> None:
        """Another process of that member is there now, or none, of which nothing is known yet."""
        self._withhold_enough.discard(peer)
        known = self._known.pop(peer, None)
        if known is not None and known is not self._owed:
            known.close()

    def learned(self, handshake: Handshake, endpoint: str, incarnation: int) -> None:
        """The handshake of a member that is up fits; `incarnation` is that of the process that is there."""
        peer, process = handshake.sender, handshake.process
        if process is not None and (process.incarnation != incarnation or not endpoint.startswith(IPC)):
            process = None
        known = self._known.get(peer)
        if known is None or known.process != process:
            self.replaced(peer)
            self._known[peer] = _WatchedProcess(
                process, None if process is None else self._endings.watch(process)
            )
        if handshake.withholds_milliseconds >= self.withholds_milliseconds:
            self._withhold_enough.add(peer)

    def may_pledge(self, leader: NodeId) -> bool:
        """Whether this node may withhold its vote for that leader, now that it was asked to; it then does."""
        known = self._known.get(leader)
        if known is None or self._clock_rate != 1.0:
            return False
        if known is self._owed:
            return True
        if not self._always:
            if known.watched is None or known.has_ended():
                return False
            if not self._record.write(Pledge(leader, known.process, self.withholds_milliseconds)):
                return False
        if self._owed is not None and self._known.get(self._owed_to) is not self._owed:
            self._owed.close()
        self._owed_to, self._owed = leader, known
        return True

    def counts(self, voter: NodeId) -> bool:
        """Whether a pledge of that voter makes a lease."""
        return voter in self._withhold_enough and self._clock_rate == 1.0

    def has_ended(self, node: NodeId, wait_milliseconds: int = 0) -> bool:
        """Whether the process of `node` that this node has pledged its vote to is proved to have ended.

        Blocks for no longer than `wait_milliseconds`, until it is.
        """
        owed = self._owed
        return node == self._owed_to and owed is not None and owed.has_ended(wait_milliseconds)

    def clock_runs(self, rate: float) -> None:
        """The clock of this process was made to run at this rate on purpose."""
        if rate == self._clock_rate:
            return
        self._clock_rate = rate
        raft = self._raft
        raft.expire_lease()
        if raft.pledged:
            raft.resume_pledge(raft.pledged_to, self._ticks_of(self._timeout_milliseconds * max(1.0, rate)))

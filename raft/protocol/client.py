"""What a client may ask of a node, and the answers it can get.

Owns the shape of the conversation between the client library and a node, and its honesty:
every command ends as `Committed` (or as `Failed`, if the machine turned it down), as one of the
refusals (it is not in the log and never will be, so a retry is safe) or as `Unknown`. Knows nothing of
sockets, of the log, or of what the commands mean; those bytes belong to the state machine.
"""

from __future__ import annotations

import enum
from typing import Annotated

from msgspec import Meta, Struct

from raft.protocol.limits import Name, Number, Seconds, SignedNumber

MEMBERS_MAX = 10_000
"""In one message, as a bound of memory; how many a cluster may have is another matter."""

Ids = Annotated[tuple[SignedNumber, ...], Meta(max_length=MEMBERS_MAX)]
Endpoints = Annotated[dict[Number, Name], Meta(max_length=MEMBERS_MAX)]

MEMBERS_MAX = 64  # Of one cluster, learners too: a leader keeps a connection and a window for each.


class Consistency(enum.Enum):
    """How fresh a read must be."""

    LINEARIZABLE = "linearizable"  # ReadIndex (thesis section 6.4): as fresh as any answered command.
    STALE = "stale"  # What this node has applied; the answer is marked as stale.


class Command(Struct, frozen=True, array_like=True, gc=False):
    """Replicate `body`, apply it to the machine everywhere, and answer with its result."""

    body: bytes


class Query(Struct, frozen=True, array_like=True, gc=False):
    """Ask the machine without changing it; any node may answer."""

    body: bytes
    consistency: Consistency = Consistency.LINEARIZABLE


class WhoLeads(Struct, frozen=True, array_like=True, gc=False):
    """Ask which leader this node follows; answered by `LeaderIs`."""


class KeepAlive(Struct, frozen=True, array_like=True, gc=False):
    """Renew a lease for its full time; only the leader can, and answers by `LeaseTime`.

    With `release_on_disconnect` the lease ends as soon as the leader sees the client's connection closed.
    The client may notice that later, so writes under the lease need the fencing token.
    """

    lease: SignedNumber
    release_on_disconnect: bool = False


class TimeLeft(Struct, frozen=True, array_like=True, gc=False):
    """Ask how long a lease lasts without a keep-alive; only the leader knows, and answers by `LeaseTime`."""

    lease: SignedNumber


class LeaseTime(Struct, frozen=True, array_like=True, gc=False):
    """A lease's full time, and what is left of it; both are 0 if it has ended, or is about to."""

    lease: SignedNumber
    ttl_seconds: Seconds
    left_seconds: Seconds


class LeaseProbe(Struct, frozen=True, array_like=True, gc=False):
    """Sent to a client that holds a lease by its connection, to probe the connection; not answered."""


class AwaitEvents(Struct, frozen=True, array_like=True, gc=False):
    """Ask any node for the events from a revision on; `body` is a query of the machine.

    Answered by a `QueryResult` as soon as there are events, or without events after `hold_seconds`. The
    events are committed; other nodes may already have applied more.
    """

    body: bytes
    hold_seconds: Seconds


class OpenWatch(Struct, frozen=True, array_like=True, gc=False):
    """Ask any node to push the events from a revision on to this client's process.

    Answered by `WatchOpened`; then by one `WatchEvents` after the other, which the client confirms by
    `WatchAck`, until it sends `CloseWatch` or gets `WatchEnded`. The client chooses the `number`.
    """

    number: Number
    body: bytes


class WatchOpened(Struct, frozen=True, array_like=True, gc=False):
    """The watch is open at this node."""


class WatchEvents(Struct, frozen=True, array_like=True, gc=False):
    """From a node: the events from `revision` on, without the first `skip` events of that revision.

    `result` is the machine's answer, as for `AwaitEvents`. Without events it confirms that the watch is open.
    """

    number: Number
    revision: Number
    skip: Number
    result: bytes


class WatchAck(Struct, frozen=True, array_like=True, gc=False):
    """From a client: `count` more `WatchEvents` have arrived."""

    number: Number
    count: Number


class CloseWatch(Struct, frozen=True, array_like=True, gc=False):
    """From a client: close this watch."""

    number: Number


class WatchEnded(Struct, frozen=True, array_like=True, gc=False):
    """From a node: the watch is closed here; the client may open it at another node."""

    number: Number
    reason: str


class AwaitAnswer(Struct, frozen=True, array_like=True, gc=False):
    """Ask the node that sent `StillRunning` for the answer; it may send `StillRunning` again.

    Answered by `Unknown` if the node doesn't know the ticket, or has forgotten it.
    """

    ticket: int


class StillRunning(Struct, frozen=True, array_like=True, gc=False):
    """The request was taken, and the user's own machine works on it: ask this node for the answer, no other.

    The node keeps the answer for a while.
    """

    ticket: int


class Committed(Struct, frozen=True, array_like=True, gc=False):
    """The command is in the log for good; `result` is what the machine answered at `index`."""

    index: Number
    result: bytes
    configuration: Number = 0  # Another number than before: others belong to the cluster now, see WhoLeads.


class Failed(Struct, frozen=True, array_like=True, gc=False):
    """The command is in the log for good; the machine turned it down at `index`, alike on every replica."""

    index: Number
    reason: str


class QueryResult(Struct, frozen=True, array_like=True, gc=False):
    """The machine's answer, true of the state after `index`; `stale` if no quorum has confirmed it."""

    index: Number
    result: bytes
    stale: bool = False
    configuration: Number = 0  # As in Committed.


class NotLeader(Struct, frozen=True, array_like=True, gc=False):
    """Refused, nothing was logged: ask `leader` (0 if unknown) at `endpoint` ("" if unknown)."""

    leader: Number
    endpoint: Name
    term: Number


class Refused(Struct, frozen=True, array_like=True, gc=False):
    """Refused, nothing was logged: a retry is safe, at once or after what `reason` names has passed."""

    reason: str


class OutOfSpace(Struct, frozen=True, array_like=True, gc=False):
    """Refused, nothing was logged: the cluster has reached its quota. Retry when there is room."""

    used_bytes: int
    quota_bytes: int


class TooNew(Struct, frozen=True, array_like=True, gc=False):
    """Refused, nothing was logged: the command is newer than the cluster's version of the machine.

    `reason` names the members that are behind. Retry when they are upgraded.
    """

    needed: int
    agreed: int
    reason: str


class Invalid(Struct, frozen=True, array_like=True, gc=False):
    """Refused for good: the request itself is wrong, and a retry would be refused again."""

    reason: str
    not_allowed: bool = False  # By the role of the asker's key; others may ask for it.


class Unknown(Struct, frozen=True, array_like=True, gc=False):
    """The command entered a log and then its leader was lost: it may or may not be committed."""

    reason: str


class LeaderIs(Struct, frozen=True, array_like=True, gc=False):
    """The leader that the node follows (0: none), the term, and all members' endpoints.

    `identity` is that of its cluster, "" if it does not know it yet.
    """

    leader: Number
    term: Number
    endpoints: Endpoints
    identity: Name = ""


# -- membership ------------------------------------------------------------------


Configuration = tuple[Ids, Ids]
"""The voters and the learners; ids in ascending order."""


class ListMembers(Struct, frozen=True, array_like=True, gc=False):
    """Ask the leader for the members of the cluster; answered by `Members`."""


class AddLearner(Struct, frozen=True, array_like=True):
    """Add the node that listens at `endpoint` as a learner: it gets the log, and no vote.

    Its identity is checked first, unless it sends this itself: then it is `blank`, and doesn't listen yet.
    """

    node: SignedNumber
    endpoint: Name
    expected: Configuration | None = None
    blank: bool = False


class Promote(Struct, frozen=True, array_like=True):
    """Make a learner a voter; refused while it has not caught up."""

    node: SignedNumber
    expected: Configuration | None = None


class Remove(Struct, frozen=True, array_like=True):
    """Remove a member, a voter or a learner."""

    node: SignedNumber
    expected: Configuration | None = None


class Replace(Struct, frozen=True, array_like=True):
    """Make the learner `new` a voter and remove `old` in one change; refused until `new` has caught up."""

    old: SignedNumber
    new: SignedNumber
    expected: Configuration | None = None


class UpdateMember(Struct, frozen=True, array_like=True):
    """Change the endpoint of a member, now or for its next start."""

    node: SignedNumber
    endpoint: Name
    expected: Configuration | None = None


class Members(Struct, frozen=True, array_like=True):
    """The members of the cluster, as applied by its leader."""

    leader: Number
    term: Number
    voters: Ids
    learners: Ids
    endpoints: Endpoints
    match: dict[Number, Number]  # How far each member's log is known to agree with the leader's.
    commit: Number
    leaving: Ids = ()  # During a change, the outgoing voters: both halves decide.


# -- backups ---------------------------------------------------------------------------------------


class TakeBackup(Struct, frozen=True, array_like=True, gc=False):
    """Ask any node for the state of the cluster; answered by `BackupTaken`, or by `StillRunning` before that.

    All that was answered as committed before this was asked is in it.
    """


class BackupTaken(Struct, frozen=True, array_like=True):
    """The node keeps the state at `index` while it is read (`ReadBackup`): an image of `size` bytes.

    The image is what a node's snapshot file holds: it has the checksum with which the snapshot was taken.
    """

    ticket: int
    index: Number
    term: Number
    size: Number
    cluster: Name
    identity: Name
    voters: Ids
    learners: Ids
    endpoints: Endpoints
    machine_version: Number


class ReadBackup(Struct, frozen=True, array_like=True, gc=False):
    """Ask the node that said `BackupTaken` for what stands at `offset`; answered by `BackupPiece`.

    By `Unknown` if the node has that backup no more. After an offset at its end the node forgets it.
    """

    ticket: int
    offset: Number


class BackupPiece(Struct, frozen=True, array_like=True, gc=False):
    """A part of an image."""

    offset: Number
    data: bytes


MemberChange = AddLearner | Promote | Remove | Replace | UpdateMember
"""Asks for a change: answered by `Members` once it is applied, or else as commands are.

Nothing is changed by asking for what is so already. With `expected`, only that configuration is changed.
"""


Answer = (
    Committed
    | Failed
    | QueryResult
    | NotLeader
    | Refused
    | OutOfSpace
    | TooNew
    | Invalid
    | Unknown
    | LeaderIs
    | Members
    | LeaseTime
    | WatchOpened
    | StillRunning
    | BackupTaken
    | BackupPiece
)

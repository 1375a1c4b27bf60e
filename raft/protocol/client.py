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
    STALE = "stale"  # Whatever this node has applied; said to be so in the answer.


class Command(Struct, frozen=True, array_like=True, gc=False):
    """Replicate `body`, apply it to the machine everywhere, and answer with its result."""

    body: bytes


class Query(Struct, frozen=True, array_like=True, gc=False):
    """Ask the machine without changing it; any node may answer."""

    body: bytes
    consistency: Consistency = Consistency.LINEARIZABLE


class WhoLeads(Struct, frozen=True, array_like=True, gc=False):
    """Ask whom this node takes for the leader; answered by `LeaderIs`."""


class KeepAlive(Struct, frozen=True, array_like=True, gc=False):
    """Give a lease its full time again; only the leader can, and answers by `LeaseTime`.

    With `release_on_disconnect` the lease ends as soon as the leader sees the asker's connection closed,
    which the asker itself may notice later: what it guards needs the fencing token all the more.
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


class StillThere(Struct, frozen=True, array_like=True, gc=False):
    """Told to whoever holds a lease by its connection, which shows whether that stands; not answered."""


class AwaitEvents(Struct, frozen=True, array_like=True, gc=False):
    """Ask any node what has happened from a revision on, in the machine's own words.

    Answered by a `QueryResult` as soon as something has, or, that there was nothing so far, after
    `hold_seconds`. What it tells is committed for good; that there is no more yet is this node's belief.
    """

    body: bytes
    hold_seconds: Seconds


class OpenWatch(Struct, frozen=True, array_like=True, gc=False):
    """Ask any node to tell this client's process what happens from a revision on, as it happens.

    Answered by `WatchOpened`; then by one `WatchTold` after the other, which the client confirms by
    `WatchHeard`, until it tells `CloseWatch` or is told `WatchEnded`. `number` is the client's for it.
    """

    number: Number
    body: bytes


class WatchOpened(Struct, frozen=True, array_like=True, gc=False):
    """The watch is open at this node."""


class WatchTold(Struct, frozen=True, array_like=True, gc=False):
    """Told by a node: what has happened from `revision` on, but for the first `skip` events of that one.

    `result` is the machine's answer, as for `AwaitEvents`. Without events it says that the watch stands.
    """

    number: Number
    revision: Number
    skip: Number
    result: bytes


class WatchHeard(Struct, frozen=True, array_like=True, gc=False):
    """Told by a client: so many more `WatchTold`s have arrived."""

    number: Number
    count: Number


class CloseWatch(Struct, frozen=True, array_like=True, gc=False):
    """Told by a client: that watch is not wanted any more."""

    number: Number


class WatchEnded(Struct, frozen=True, array_like=True, gc=False):
    """Told by a node: it tells nothing more to that watch, and others may."""

    number: Number
    reason: str


class AwaitAnswer(Struct, frozen=True, array_like=True, gc=False):
    """Ask the node that said `TakesLong` for the answer; answered by it, or by `TakesLong` after a while.

    By `Unknown` if the node knows nothing of that ticket (any more).
    """

    ticket: int


class TakesLong(Struct, frozen=True, array_like=True, gc=False):
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
    """Refused, nothing was logged: the cluster holds as much as it may. Retry when there is room."""

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


class Unknown(Struct, frozen=True, array_like=True, gc=False):
    """The command entered a log and then its leader was lost: it may or may not be committed."""

    reason: str


class LeaderIs(Struct, frozen=True, array_like=True, gc=False):
    """Whom the asked node follows (0: nobody), in which term, and all members' endpoints.

    `identity` is that of its cluster, "" if it does not know it yet.
    """

    leader: Number
    term: Number
    endpoints: Endpoints
    identity: Name = ""


# -- who belongs to the cluster ------------------------------------------------------------------


Configuration = tuple[Ids, Ids]
"""Who votes, and who only learns; ids in ascending order."""


class ListMembers(Struct, frozen=True, array_like=True, gc=False):
    """Ask the leader who belongs to the cluster; answered by `Members`."""


class AddLearner(Struct, frozen=True, array_like=True):
    """Let a node that listens at `endpoint` have the log, without a vote.

    It is asked who it is before, unless it asks itself: then it is `blank`, and does not listen yet.
    """

    node: SignedNumber
    endpoint: Name
    expected: Configuration | None = None
    blank: bool = False


class Promote(Struct, frozen=True, array_like=True):
    """Give a learner a vote; refused as long as it has not caught up."""

    node: SignedNumber
    expected: Configuration | None = None


class Remove(Struct, frozen=True, array_like=True):
    """Let a member, a voter or a learner, be one no longer."""

    node: SignedNumber
    expected: Configuration | None = None


class Replace(Struct, frozen=True, array_like=True):
    """Give the learner `new` a vote and remove `old`, both at once; refused until `new` has caught up."""

    old: SignedNumber
    new: SignedNumber
    expected: Configuration | None = None


class UpdateMember(Struct, frozen=True, array_like=True):
    """A member listens at `endpoint` from now on, or will when it is started again: let all know."""

    node: SignedNumber
    endpoint: Name
    expected: Configuration | None = None


class Members(Struct, frozen=True, array_like=True):
    """Who belongs to the cluster, as its leader has applied it."""

    leader: Number
    term: Number
    voters: Ids
    learners: Ids
    endpoints: Endpoints
    match: dict[Number, Number]  # How far each member's log is known to agree with the leader's.
    commit: Number
    leaving: Ids = ()  # In the midst of a change, the voters of before: both halves decide.


# -- backups ---------------------------------------------------------------------------------------


class TakeBackup(Struct, frozen=True, array_like=True, gc=False):
    """Ask any node for the state of the cluster; answered by `BackupTaken`, or by `TakesLong` before that.

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
    | TakesLong
    | BackupTaken
    | BackupPiece
)

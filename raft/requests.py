"""What a client may ask of a node, and the answers it can get.

Owns the shape of the conversation between the client library and a node, and its honesty:
every command ends as `Committed` (or as `Failed`, if the machine turned it down), as one of the
refusals (it is not in the log and never will be, so a retry is safe) or as `Unknown`. Knows nothing of sockets, of the log, or of what the
commands mean; those bytes belong to the state machine.
"""

from __future__ import annotations

import enum

from msgspec import Struct


class Consistency(enum.Enum):
    """How fresh a read must be."""

    LINEARIZABLE = "linearizable"  # ReadIndex (thesis section 6.4): as fresh as any answered command.
    STALE = "stale"  # Whatever this node has applied; said to be so in the answer.


class Command(Struct, frozen=True, gc=False):
    """Replicate `body`, apply it to the machine everywhere, and answer with its result."""

    body: bytes


class Query(Struct, frozen=True, gc=False):
    """Ask the machine without changing it; any node may answer."""

    body: bytes
    consistency: Consistency = Consistency.LINEARIZABLE


class WhoLeads(Struct, frozen=True, gc=False):
    """Ask whom this node takes for the leader; answered by `LeaderIs`."""


class Committed(Struct, frozen=True, gc=False):
    """The command is in the log for good; `result` is what the machine answered at `index`."""

    index: int
    result: bytes


class Failed(Struct, frozen=True, gc=False):
    """The command is in the log for good, and the machine turned it down at `index`, alike on every replica."""

    index: int
    reason: str


class QueryResult(Struct, frozen=True, gc=False):
    """The machine's answer, true of the state after `index`; `stale` if it was not confirmed with a quorum."""

    index: int
    result: bytes
    stale: bool = False


class NotLeader(Struct, frozen=True, gc=False):
    """Refused, nothing was logged: ask `leader` (0 if unknown) at `endpoint` ("" if unknown)."""

    leader: int
    endpoint: str
    term: int


class Refused(Struct, frozen=True, gc=False):
    """Refused, nothing was logged: a retry is safe, at once or after what `reason` names has passed."""

    reason: str


class Invalid(Struct, frozen=True, gc=False):
    """Refused for good: the request itself is wrong, and a retry would be refused again."""

    reason: str


class Unknown(Struct, frozen=True, gc=False):
    """The command entered a log and then its leader was lost: it may or may not be committed."""

    reason: str


class LeaderIs(Struct, frozen=True, gc=False):
    """Whom the asked node follows (0: nobody), in which term, and all members' endpoints."""

    leader: int
    term: int
    endpoints: dict[int, str]


Answer = Committed | Failed | QueryResult | NotLeader | Refused | Invalid | Unknown | LeaderIs

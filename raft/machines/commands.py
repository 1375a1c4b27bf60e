"""What a client may ask of the application: its commands, its queries, and their limits as numbers.

Owns the requests as types. Knows nothing of how they are carried out, answered, encoded or checked.
"""

from __future__ import annotations

import enum
from typing import Generic, TypeAlias, TypeVar

from msgspec import Struct

from raft.machines.results import (
    Agreed,
    Campaigned,
    Checked,
    Compacted,
    Counted,
    Deleted,
    Done,
    ElectionState,
    Ended,
    Events,
    Granted,
    Items,
    LeaseList,
    LeaseState,
    Opened,
    Proclaimed,
    Resigned,
    Stored,
    Swapped,
    TransactionDone,
    Value,
)

A = TypeVar("A", covariant=True)

KEY_BYTES_MAX = 4 * 1024
VALUE_BYTES_MAX = 1024 * 1024
COMMAND_BYTES_MAX = 2 * 1024 * 1024  # All of a command, as it travels.
ELECTION_BYTES_MAX = 255
TRANSACTION_PARTS_MAX = 128  # In each of: compares, then, otherwise.
SEATS_MAX = 10_000
LEASES_MAX_PER_EXPIRE = 1_000
LEASE_CANDIDATES_MAX = 1_000  # That hang on one lease, and
LEASE_KEYS_MAX = 100_000  # as many keys: all of them end in one command, and others wait for that.
RANGE_KEYS_MAX = 100_000  # Unbound by one command, likewise.
LIMIT_MAX = 10_000  # Of items or events in one answer.
TTL_MS_MIN = 100
TTL_MS_MAX = 30 * 24 * 3600 * 1000
SESSION_WINDOW = 256  # How far a sequence may be ahead of what is acknowledged.
SESSION_BYTES_MAX = 8 * 1024 * 1024  # Of unacknowledged answers; commands beyond it are not carried out.
ANSWER_BYTES_MAX = 4 * 1024 * 1024  # Of items or events in one answer, more or less.


class Answered(Struct, Generic[A], frozen=True, gc=False):
    """A request that is answered by an `A`, or by a refusal."""


class Fence(Struct, frozen=True, array_like=True, gc=False):
    """Carry the command out only while `token` holds a seat of `election`.

    The election may be left out, as "": no two candidates of any elections have the same token.
    """

    election: str
    token: int


# -- sessions and leases -------------------------------------------------------------------------


class OpenSession(Answered[Opened], frozen=True, array_like=True, tag=1, gc=False):
    """Open a session that lasts while its lease does; answered by `Opened`."""

    ttl_ms: int


class Grant(Answered[Granted], frozen=True, array_like=True, tag=2, gc=False):
    """Grant a lease; answered by `Granted`."""

    ttl_ms: int


class Revoke(Answered[Ended], frozen=True, array_like=True, tag=3, gc=False):
    """End a lease and everything attached to it, also a session's lease; answered by `Ended`."""

    lease: int


class Expire(Answered[Ended], frozen=True, array_like=True, tag=4, gc=False):
    """End leases that have expired by the leader's clock; answered by `Ended`."""

    leases: tuple[int, ...]


# -- elections -----------------------------------------------------------------------------------


class Campaign(Answered[Campaigned], frozen=True, array_like=True, tag=5, gc=False):
    """Queue for one of an election's seats, for as long as `lease` lasts; answered by `Campaigned`.

    Without `wait`, only if a seat is free. Each campaign is a separate candidate.
    """

    election: str
    lease: int
    value: bytes = b""
    seats: int = 1
    wait: bool = True


class Resign(Answered[Resigned], frozen=True, array_like=True, tag=6, gc=False):
    """Leave the seat or the queue; answered by `Resigned`."""

    election: str
    token: int


class Proclaim(Answered[Proclaimed], frozen=True, array_like=True, tag=7, gc=False):
    """Change what the holder of a seat announces; answered by `Proclaimed` or `FenceRejected`."""

    election: str
    token: int
    value: bytes


# -- the store -----------------------------------------------------------------------------------


class Put(Answered[Stored], frozen=True, array_like=True, tag=8, gc=False):
    """Bind `key` to `value`, until `lease` ends unless it is 0; answered by `Stored`."""

    key: bytes
    value: bytes
    lease: int = 0
    fence: Fence | None = None


class Delete(Answered[Deleted], frozen=True, array_like=True, tag=9, gc=False):
    """Unbind `key`; answered by `Deleted`."""

    key: bytes
    fence: Fence | None = None


class CompareAndSwap(Answered[Swapped], frozen=True, array_like=True, tag=10, gc=False):
    """Bind `key` to `new` if it holds `old`; None stands for an unbound key. Answered by `Swapped`."""

    key: bytes
    old: bytes | None
    new: bytes | None
    lease: int = 0
    fence: Fence | None = None


class DeleteRange(Answered[Deleted], frozen=True, array_like=True, tag=11, gc=False):
    """Unbind all keys from `start` on and before `end` (None: to the last); answered by `Deleted`."""

    start: bytes
    end: bytes | None
    fence: Fence | None = None


class Field(enum.IntEnum):
    """A number that the store keeps about a key; all are 0 for an unbound one."""

    VERSION = 1  # Writes since the key was bound, that one included.
    CREATED = 2  # The revision that bound the key.
    REVISION = 3  # The revision that wrote it last.
    LEASE = 4


class Relation(enum.IntEnum):
    """How two values must compare."""

    EQUAL = 1
    NOT_EQUAL = 2
    LESS = 3
    GREATER = 4


class CompareValue(Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Holds if the key's value so compares with `value`; an unbound key is None, neither less nor greater."""

    key: bytes
    relation: Relation
    value: bytes | None


class CompareNumber(Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Holds if that number of the key so compares with `number`."""

    key: bytes
    field: Field
    relation: Relation
    number: int


class Get(Answered[Value], frozen=True, array_like=True, tag=20, gc=False):
    """Ask what `key` holds; answered by `Value`."""

    key: bytes


Compare: TypeAlias = CompareValue | CompareNumber
TransactionPart: TypeAlias = Put | Delete | DeleteRange | Get


class Transaction(Answered[TransactionDone], frozen=True, array_like=True, tag=12, gc=False):
    """Do all of `then` if all `compares` hold, else all of `otherwise`, as one revision.

    Answered by `TransactionDone`. If one part cannot be carried out, the whole transaction is refused.
    """

    compares: tuple[Compare, ...]
    then: tuple[TransactionPart, ...]
    otherwise: tuple[TransactionPart, ...] = ()
    fence: Fence | None = None


class Compact(Answered[Compacted], frozen=True, array_like=True, tag=13, gc=False):
    """Forget the events up to `revision`; answered by `Compacted`."""

    revision: int


class Own(Answered[Done], frozen=True, array_like=True, tag=14, gc=False):
    """A command, or a query, of the user's own machine; answered by `Done`.

    A command that exists `since` a version is answered by `TooNew`, and not carried out, while the cluster's
    version is a lower one.
    """

    body: bytes
    since: int = 1


# Tag 15 was the check of older builds, which compared all answers since the beginning. It is not to be used
# again: such a command is malformed, alike on every replica.


class Check(Answered[Checked], frozen=True, array_like=True, tag=16, gc=False):
    """The leader says which `answer_checksum` the stretch before the check at `index` had; answered by
    `Checked`.

    Only a leader proposes it: a replica whose own checksum differs there stops. The versions are those
    of the code that has answered; see `AnswerChecksum`.
    """

    index: int
    answer_checksum: int
    version: int = 0
    own_answer_checksum: int = 0  # That of the user's own machine, at the same check.
    own_version: int = 0


# -- the version of the user's own machine ---------------------------------------------------------


class Agree(Answered[Agreed], frozen=True, array_like=True, tag=17, gc=False):
    """A leader says that all members have versions from `lowest` to `highest`; answered by `Agreed`.

    And that each knows all commands of that `level`, at least.
    """

    lowest: int
    highest: int
    level: int = 1


class Downgrade(Answered[Agreed], frozen=True, array_like=True, tag=18, gc=False):
    """Lower the cluster's version, and keep it there until all members have that; answered by `Agreed`.

    Version 0 calls it off: the cluster's version rises again. Without `force` it is refused once a command of
    a newer version has been carried out.
    """

    version: int
    force: bool = False


Operation: TypeAlias = (
    OpenSession | Grant | Revoke | Expire | Campaign | Resign | Proclaim | Put | Delete | CompareAndSwap
    | DeleteRange | Transaction | Compact | Own | Check | Agree | Downgrade
)  # fmt: skip


NODE = -1


class Call(Struct, frozen=True, array_like=True, gc=False):
    """A command as it travels: number `sequence` (1, 2, 3 and so on) of `session`.

    All answers up to `acknowledged` have arrived, and are never asked for again. A retry is the same bytes.
    Session 0 is none: such a command is applied as often as it is in the log. Session NODE is that of the
    nodes themselves, which alone say that a lease has ended, ask for a check, or tell the members' versions.
    """

    session: int
    sequence: int
    acknowledged: int
    operation: Operation


# -- queries -------------------------------------------------------------------------------------


class Range(Answered[Items], frozen=True, array_like=True, tag=21, gc=False):
    """Ask for the items from `start` on and before `end` (None: to the last); answered by `Items`.

    With `keys_only` their values are left out.
    """

    start: bytes
    end: bytes | None
    limit: int = 1_000
    keys_only: bool = False


class Count(Answered[Counted], frozen=True, array_like=True, tag=26, gc=False):
    """Ask how many keys there are from `start` on and before `end` (None: to the last); see `Counted`."""

    start: bytes
    end: bytes | None


class GetLease(Answered[LeaseState], frozen=True, array_like=True, tag=22, gc=False):
    """Ask about a lease and the keys on it after that one; answered by `LeaseState` or `LeaseGone`."""

    lease: int
    after: bytes = b""


class ListLeases(Answered[LeaseList], frozen=True, array_like=True, tag=27, gc=False):
    """Ask for the leases that were granted after that one, oldest first; answered by `LeaseList`."""

    after: int = 0
    limit: int = 1_000


class GetElection(Answered[ElectionState], frozen=True, array_like=True, tag=23, gc=False):
    """Ask who holds an election's seats; answered by `ElectionState`."""

    election: str


class WatchKeys(Answered[Events | Compacted], frozen=True, array_like=True, tag=24, gc=False):
    """Ask for the keys' events from `revision` on, of `limit` at most, more or less; answered by `Events`.

    `skip` as many of that revision's events as were looked at before: an answer may end in the midst of a
    large one. `Compacted` if some of the events are forgotten.
    """

    revision: int
    start: bytes
    end: bytes | None
    limit: int = 1_000
    skip: int = 0


class WatchElection(Answered[Events | Compacted], frozen=True, array_like=True, tag=25, gc=False):
    """Ask for an election's events, as `WatchKeys` for keys'."""

    revision: int
    election: str
    limit: int = 1_000
    skip: int = 0


Watch: TypeAlias = WatchKeys | WatchElection
Question: TypeAlias = Get | Range | Count | GetLease | ListLeases | GetElection | Watch | Own
Request: TypeAlias = Operation | Question

"""The answers of the application to commands and queries, and the events for watchers.

Owns the answers as types. Every answer is one of these, a refusal too: a replica never raises because of what
a client sent.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

# -- refusals ------------------------------------------------------------------------------------


class Refused(Struct, frozen=True, array_like=True, tag=0, gc=False):
    """Nothing was done, for the request itself is wrong, or the user's own machine turned it down."""

    reason: str


class SessionExpired(Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Nothing was done: the session has ended, and the outcome of its earlier commands is unknown."""

    session: int


class SequenceReused(Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Nothing was done: another command had that number. Two programs write as one session."""

    session: int
    sequence: int


class Acknowledged(Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Nothing was done: the session has already acknowledged this answer."""

    sequence: int


class WindowFull(Struct, frozen=True, array_like=True, tag=4, gc=False):
    """Nothing was done: the number is too far ahead of what is acknowledged. Acknowledge some, then retry."""

    acknowledged: int


class FenceRejected(Struct, frozen=True, array_like=True, tag=5, gc=False):
    """Nothing was done: that token holds no seat. `holder` is the newest one that does, 0 if none does."""

    election: str
    token: int
    holder: int


class LeaseGone(Struct, frozen=True, array_like=True, tag=6, gc=False):
    """Nothing was done: the lease has ended, or never was."""

    lease: int


class Compacted(Struct, frozen=True, array_like=True, tag=7, gc=False):
    """The events up to `revision` are forgotten; the state can be read, and watched from there on."""

    revision: int


class AnswersFull(Struct, frozen=True, array_like=True, tag=8, gc=False):
    """Nothing was done: the answers kept for the session have too many bytes. Acknowledge some, then retry.

    The first command after the acknowledged ones is never turned down for this.
    """

    acknowledged: int
    kept_bytes: int


class TooNew(Struct, frozen=True, array_like=True, tag=9, gc=False):
    """Nothing was done: the command needs the version `since`, and the cluster's `version` is a lower one."""

    since: int
    version: int


# -- results of commands -------------------------------------------------------------------------


class Opened(Struct, frozen=True, array_like=True, tag=10, gc=False):
    """A session is open; its lease has the same number."""

    session: int
    ttl_ms: int


class Granted(Struct, frozen=True, array_like=True, tag=11, gc=False):
    """A lease is granted."""

    lease: int
    ttl_ms: int


class Ended(Struct, frozen=True, array_like=True, tag=12, gc=False):
    """These leases have ended by this command; those asked for and not named had ended before."""

    leases: tuple[int, ...]


class Campaigned(Struct, frozen=True, array_like=True, tag=13, gc=False):
    """Where a campaign has led.

    `token` names the candidate, and is its fencing token as soon as it holds a seat: it grows with every
    candidate, hence with every leadership. `ahead` candidates, holders of seats included, came before. Token
    0: there was no free seat, and the candidate did not want to wait.
    """

    token: int
    seated: bool
    ahead: int


class Resigned(Struct, frozen=True, array_like=True, tag=14, gc=False):
    """The candidate is removed; `existed` says whether it was in the queue."""

    existed: bool


class Proclaimed(Struct, frozen=True, array_like=True, tag=15, gc=False):
    """The seat's holder announces the new value."""


class Stored(Struct, frozen=True, array_like=True, tag=16, gc=False):
    """The key holds the value, as of `revision`."""

    revision: int


class Deleted(Struct, frozen=True, array_like=True, tag=17, gc=False):
    """The number of keys that were unbound."""

    count: int


class Item(Struct, frozen=True, array_like=True, tag=1, gc=False):
    """A bound key; as an event: the key was bound so at `revision`."""

    key: bytes
    value: bytes
    revision: int
    created: int
    version: int
    lease: int


class Swapped(Struct, frozen=True, array_like=True, tag=18, gc=False):
    """Whether the swap was made, and what the key holds now."""

    swapped: bool
    item: Item | None


class Value(Struct, frozen=True, array_like=True, tag=19, gc=False):
    """What the key holds, None if nothing, in the state of `revision`."""

    item: Item | None
    revision: int


PartDone: TypeAlias = Stored | Deleted | Value


class TransactionDone(Struct, frozen=True, array_like=True, tag=20, gc=False):
    """Whether `then` was done, or else `otherwise`, and the answer to each of its parts."""

    succeeded: bool
    answers: tuple[PartDone, ...]
    revision: int


class Done(Struct, frozen=True, array_like=True, tag=21, gc=False):
    """What the user's own machine answered."""

    result: bytes


class Checked(Struct, frozen=True, array_like=True, tag=22, gc=False):
    """This replica has answered as the leader has."""


class Agreed(Struct, frozen=True, array_like=True, tag=23, gc=False):
    """The cluster's version of the user's own machine; `ceiling`: of a downgrade under way, 0 if none."""

    version: int
    ceiling: int


# -- results of queries --------------------------------------------------------------------------


class Items(Struct, frozen=True, array_like=True, tag=30, gc=False):
    """The items in the order of their keys; with `more`, go on after the last one."""

    items: tuple[Item, ...]
    more: bool
    revision: int


class Counted(Struct, frozen=True, array_like=True, tag=34, gc=False):
    """The number of keys, in the state of `revision`."""

    count: int
    revision: int


class LeaseState(Struct, frozen=True, array_like=True, tag=31, gc=False):
    """A lease that lasts, and the keys that hang on it; with `more`, go on after the last one.

    Only the leader knows how much time is left.
    """

    lease: int
    ttl_ms: int
    keys: tuple[bytes, ...]
    more: bool = False


class LeaseList(Struct, frozen=True, array_like=True, tag=35, gc=False):
    """Leases that last, and the time of each in milliseconds; with `more`, go on after the last one."""

    leases: tuple[tuple[int, int], ...]
    more: bool


class Candidate(Struct, frozen=True, array_like=True, gc=False):
    """A candidate of an election."""

    token: int
    lease: int
    value: bytes


class ElectionState(Struct, frozen=True, array_like=True, tag=32, gc=False):
    """The holders of seats and the waiting candidates, in order of arrival, in the state of `revision`."""

    seats: int
    holders: tuple[Candidate, ...]
    waiting: tuple[Candidate, ...]
    revision: int
    more: int = 0
    """The number of further waiting candidates, which did not fit into one answer."""


class Removed(Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Event: the key was unbound at `revision`."""

    key: bytes
    revision: int


class Led(Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Event: the candidate took a seat at `revision`, or, holding one, announced another value."""

    election: str
    token: int
    value: bytes
    revision: int


class Left(Struct, frozen=True, array_like=True, tag=4, gc=False):
    """Event: the candidate left its seat at `revision`."""

    election: str
    token: int
    revision: int


Event: TypeAlias = Item | Removed | Led | Left


class Events(Struct, frozen=True, array_like=True, tag=33, gc=False):
    """What happened, in order; ask for `next`, `skip` events of it left out, to go on without a gap.

    There are no more events so far if `next` is beyond `revision`, the current one.
    """

    events: tuple[Event, ...]
    next: int
    revision: int
    skip: int = 0


Refusal: TypeAlias = (
    Refused | SessionExpired | SequenceReused | Acknowledged | WindowFull | AnswersFull | FenceRejected
    | LeaseGone | TooNew
)  # fmt: skip
Answer: TypeAlias = (
    Refusal | Compacted | Opened | Granted | Ended | Campaigned | Resigned | Proclaimed | Stored | Deleted
    | Swapped | Value | TransactionDone | Done | Checked | Agreed | Items | Counted | LeaseState | LeaseList
    | ElectionState | Events
)  # fmt: skip

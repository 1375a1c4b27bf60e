"""What travels between two actors, beside the message itself.

Owns the envelope and the small messages that runtimes send each other. Knows nothing of how
either becomes bytes (see codec) or reaches the other process (see transport).
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from actors.address import Address
from actors.failures.crash_reports import CrashReport
from actors.failures.dead_letters import DeadLetter
from actors.handlers import Request

# Both a number and its negation must be writable again, whatever a stranger sends.
OPEN_ASKS_MAX: Final = 1000
ACTORS_TOLD_MAX: Final = 1000
Correlation = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]


NAME_MAX: Final = 256
"""How long an actor's name may be as it travels; longer than any that an actor can have."""

ActorName = Annotated[str, msgspec.Meta(max_length=NAME_MAX)]

HANDLERS_TOLD_MAX: Final = 1000
LEASE_SECONDS_MAX: Final = 600
LeaseSeconds = Annotated[float, msgspec.Meta(gt=0, le=LEASE_SECONDS_MAX)]
"""So long a process goes on measuring for a watcher that may have gone."""


class Envelope(msgspec.Struct, array_like=True, gc=False):
    """A message on the wire, its payload not yet decoded.

    `correlation` is 0 for a tell, positive for an ask, and the negated ask's for its reply.
    An empty `sender` is the runtime itself.
    """

    to: ActorName
    sender: ActorName
    correlation: Correlation
    tag: int
    payload: msgspec.Raw


class Terminated(msgspec.Struct, frozen=True, gc=False):
    """Told to those who watch an actor: it is gone for good, or its process cannot be reached."""

    address: Address
    reason: str


class Exit(msgspec.Struct, frozen=True, gc=False):
    """The incarnation of a linked actor has ended, or its process cannot be reached.

    Told to an actor that has a handler for it. One that has none crashes if the other has `failed`.
    """

    address: Address
    reason: str
    failed: bool


class Link(msgspec.Struct, frozen=True, gc=False):
    """The ask that runtimes send for `link`; its reply is an Exit, however late. Taken back by Unwatch."""


class ProcessUp(msgspec.Struct, frozen=True, gc=False):
    """Told to those who watch a process: that incarnation of it can be heard."""

    process: str
    incarnation: int


class ProcessDown(msgspec.Struct, frozen=True, gc=False):
    """Told to those who watch a process: it has died or cannot be reached any more."""

    process: str
    reason: str


class Watch(msgspec.Struct, frozen=True, gc=False):
    """The ask that runtimes send for `watch`; its reply is Terminated, however late."""


class Unwatch(msgspec.Struct, frozen=True, gc=False):
    """From runtime to runtime: the ask of that correlation, a Watch, needs no reply any more."""

    watch: Correlation


class Refused(msgspec.Struct, frozen=True, gc=False):
    """The reply to an ask that no actor will answer, from a runtime; or from an actor that declines it.

    `delivered` tells whether the target may have acted on it.
    """

    reason: str
    delivered: bool
    by_actor: bool = False


class Resync(msgspec.Struct, frozen=True, gc=False):
    """From runtime to runtime: I have, or may have, lost track of what is open between us.

    The sender says its own watches and open asks again right behind this, and the receiver does the same:
    what one end waits for is then known to the other end, or that end says that it will never come.
    """


class OpenAsks(msgspec.Struct, frozen=True, gc=False):
    """From runtime to runtime: my asks that wait for you. Those that you know nothing of end now.

    An empty list only shows whether the other process can be reached.
    """

    correlations: Annotated[tuple[Correlation, ...], msgspec.Meta(max_length=OPEN_ASKS_MAX)]


class Taken(msgspec.Struct, frozen=True, gc=False):
    """The ask between runtimes that is answered as it is read: all that was sent before it has been taken."""


class Undelivered(msgspec.Struct, frozen=True, gc=False):
    """Told to an actor that has a handler for it: so many of its tells to `to` were refused in one turn.

    By that actor's full mailbox, or on the way to its process; they are lost. Asks fail instead.
    """

    to: Address
    reason: str
    count: int


class Inspect(msgspec.Struct, frozen=True, gc=False):
    """Ask any actor, here or elsewhere, for its ActorInfo; answered by its runtime, whatever its handlers."""


class ActorInfo(msgspec.Struct, frozen=True):
    """What can be seen of a running actor from outside.

    `behaviour` names the messages that it handles at present; `owed` counts the asks whose
    answers it has put off; `dropped` counts what found its mailbox full.
    """

    address: Address
    state: str
    behaviour: tuple[str, ...]
    mailbox_depth: int
    stashed: int
    owed: int
    handled: int
    dropped: int
    restarts: int
    children: tuple[str, ...]
    last_error: str | None


class ProcessInfo(msgspec.Struct, frozen=True):
    """What can be seen of a process from outside: the answer to Inspect at an address without an actor.

    `actors` has the ACTORS_TOLD_MAX that have the most in their mailboxes.
    """

    process: str
    incarnation: int
    actors_count: int
    actors: tuple[ActorInfo, ...]
    open_asks: int
    dead_letters: dict[str, int]
    """How many there were since the start, by reason."""
    recent_dead_letters: tuple[DeadLetter, ...]
    dropped_frames: dict[str, int]


class HandlerTime(msgspec.Struct, frozen=True, gc=False):
    """What an actor's handler of one kind of message has taken since its process began to measure.

    For an `async def` handler that is the time until its coroutine has ended. `message` is a type's name;
    "a callback" stands for replies, and "the end of a turn" for `on_turn_end`.
    """

    actor: str
    message: str
    count: int
    seconds: float
    longest_seconds: float


class ProcessLoad(msgspec.Struct, frozen=True):
    """What a process is doing: the answer to Observe. `now` and `since` are of its own monotonic clock.

    `handlers` has the HANDLERS_TOLD_MAX that have taken the longest in all, measured from `since` on.
    """

    info: ProcessInfo
    pid: int
    cpu_seconds: float
    memory_bytes: int
    now: float
    since: float
    handlers: tuple[HandlerTime, ...]


class Observe(Request[ProcessLoad], frozen=True):
    """Asks a process, at its address without an actor, what it is doing.

    It measures its handlers from now on, until so many seconds have passed without another request.
    """

    lease_seconds: LeaseSeconds


class TraceRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One message of an actor that is traced, without its contents.

    `waited_seconds` is None for one that was there before the trace began. `outcome` is "handled",
    "answered", "stashed", "crashed: ...", or the reason of a dead letter.
    """

    number: int
    at: float
    sender: Address | None
    message: str
    waited_seconds: float | None
    took_seconds: float
    outcome: str


class Traced(msgspec.Struct, frozen=True):
    """The answer to Trace: what the actor has handled since; `lost` counts what was not kept until asked."""

    now: float
    records: tuple[TraceRecord, ...]
    lost: int


class Trace(Request[Traced], frozen=True):
    """Asks a process, at its address without an actor, for the messages of one of its actors.

    It records from now on, until so many seconds have passed without another request. `after` is the
    number of the last record that the asker has; 0 at first.
    """

    actor: ActorName
    after: int
    lease_seconds: LeaseSeconds


class NameChanged(msgspec.Struct, frozen=True):
    """Who holds a name in the directory; told to its monitors, and the reply to what is asked of it."""

    name: str
    holder: Address | None


class GroupChanged(msgspec.Struct, frozen=True):
    """Who is in a group of the directory, in the order in which they joined; likewise."""

    group: str
    members: tuple[Address, ...]


class Register(Request[NameChanged], frozen=True):
    """Asks the directory to give a name to an actor of the asker's process."""

    name: ActorName
    holder: Address


class Unregister(Request[NameChanged], frozen=True):
    """Asks the directory to free a name that `holder` has."""

    name: ActorName
    holder: Address


class WhereIs(Request[NameChanged], frozen=True):
    """Asks the directory who holds a name."""

    name: ActorName


class MonitorName(Request[NameChanged], frozen=True):
    """Asks the directory to tell `watcher` whenever the holder of a name changes."""

    name: ActorName
    watcher: Address


class Join(Request[GroupChanged], frozen=True):
    """Asks the directory to make an actor of the asker's process a member of a group."""

    group: ActorName
    member: Address


class Leave(Request[GroupChanged], frozen=True):
    """Asks the directory to end a membership."""

    group: ActorName
    member: Address


class Members(Request[GroupChanged], frozen=True):
    """Asks the directory who is in a group."""

    group: ActorName


class MonitorGroup(Request[GroupChanged], frozen=True):
    """Asks the directory to tell `watcher` whenever the members of a group change."""

    group: ActorName
    watcher: Address


class HostState(msgspec.Struct, frozen=True):
    """From host to host: where I am, my processes, the hosts that I know. Without an endpoint I leave."""

    host: ActorName
    endpoint: str
    processes: dict[str, str]
    hosts: dict[str, str]


class Neighbours(msgspec.Struct, frozen=True):
    """From a host's program to its processes: all that there are to connect to, and where they listen."""

    endpoints: dict[str, str]


class Hosts(msgspec.Struct, frozen=True):
    """The other hosts, each with its state: "up" or "unreachable"."""

    states: dict[str, str]


class ListNeighbours(Request[Neighbours], frozen=True):
    """Asks a host's actor `hosts` for all processes of all hosts that it knows, itself among them."""


class HostChanged(msgspec.Struct, frozen=True):
    """Told to those that monitor hosts: one is "up", "unreachable" or "down" now."""

    host: str
    state: str


class MonitorHosts(Request[Hosts], frozen=True):
    """Asks the actor `hosts` of one's own host to tell `watcher` of all hosts, now and at each change."""

    watcher: Address


DIRECTORY_TAG_MAX: Final = -101
"""Tags up to this are those of messages that actors of this package send each other, as users' actors do."""

# Beside the tags of the user's messages, which are positive; one byte each in msgpack.
SYSTEM_TAGS: Final = {
    -1: Watch,
    -2: Unwatch,
    -3: Terminated,
    -4: Refused,
    -5: Inspect,
    -6: ActorInfo,
    -7: CrashReport,
    -8: Resync,
    -9: OpenAsks,
    -10: Taken,
    -11: Undelivered,
    -12: ProcessInfo,
    -13: Exit,
    -14: Link,
    -15: Observe,
    -16: ProcessLoad,
    -17: Trace,
    -18: Traced,
    -101: NameChanged,
    -102: GroupChanged,
    -103: Register,
    -104: Unregister,
    -105: WhereIs,
    -106: MonitorName,
    -107: Join,
    -108: Leave,
    -109: Members,
    -110: MonitorGroup,
    -111: HostState,
    -112: Neighbours,
    -113: Hosts,
    -114: HostChanged,
    -115: MonitorHosts,
    -116: ListNeighbours,
}

"""What a replicated application has to offer, and how it says no.

Owns the protocol between a node and the machine that it replicates, and the one way in which a bad
command fails. Knows nothing of terms, leaders, disks or clients.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

import msgspec

VERSION_MAX = 1_000_000


class MachineError(Exception):
    """The machine turned a command or a query down; the text is the client's answer.

    Whatever raises it must follow from the command and the state alone: every replica raises it alike.
    """


class Diverged(Exception):
    """This replica has answered otherwise than the leader did to the same commands; it has to stop.

    A machine is not deterministic, or a memory failed. Which of the two replicas is right nobody knows.
    """


class WrongVersion(Exception):
    """This version of the machine can't go on with the data that are here; the node has to stop.

    The members have agreed on a newer one, or a snapshot cannot be read. Nothing is lost: a node with another
    version goes on with the same data.
    """


@runtime_checkable
class StateMachine(Protocol):
    """An application whose state is a function of the commands applied so far, in order.

    Deterministic by contract: no clock, no randomness, no input but the arguments, no iteration over
    sets. The node calls `apply` once for each committed command in this life, in the order of the log;
    after a restart it begins again from the last snapshot. One thread at a time, never two.
    """

    def apply(self, index: int, command: bytes) -> bytes:
        """Change the state by the command at `index` and answer it; `MachineError` turns it down."""
        ...

    def query(self, query: bytes) -> bytes:
        """Answer without changing anything; `MachineError` turns it down."""
        ...

    def snapshot(self) -> bytes:
        """The whole state as bytes, equal on all replicas that have applied the same commands."""
        ...

    def restore(self, data: bytes) -> None:
        """Forget the present state and become the one that `snapshot` wrote; b"" is the empty state."""
        ...


@runtime_checkable
class InParts(Protocol):
    """What a machine may offer besides, so that a large state never holds up the node.

    A part is the work of a few milliseconds. Without this pair `snapshot` and `restore` are used, and
    the process does nothing else while they copy the state.
    """

    def snapshot_parts(self) -> Iterator[bytes]:
        """The state of this moment. The call is quick; the parts are drawn later and on another thread.

        Commands are applied meanwhile, which the parts must not show.
        """
        ...

    def restore_parts(self, parts: Iterable[bytes | memoryview]) -> None:
        """Become the state that the parts make up; no parts are the empty state. On any thread, alone."""
        ...


@runtime_checkable
class Versioned(Protocol):
    """What a machine may offer besides, so that its nodes can be upgraded one by one.

    All members have agreed, at one index of the log, on the lowest version that any of them has: the
    cluster's version. What a newer version changes is to begin, and to end, with that. Without these two a
    machine is of version 1.
    """

    version: int
    """Of this code: 1, 2, 3 and so on."""

    def cluster_version_is(self, version: int) -> None:
        """From the next command on the cluster's version is this one; called before `restore`, too."""
        ...


def version_of(machine: StateMachine | None) -> int:
    """The version of a machine's code; TypeError for what is none. Without a machine it is 1."""
    version = getattr(machine, "version", 1)
    if type(version) is not int or not 1 <= version <= VERSION_MAX:
        raise TypeError(
            f"{type(machine).__qualname__}.version is {version!r}: a machine's version is a whole number "
            f"from 1 to {VERSION_MAX}"
        )
    return version


# What code raises because of its arguments. An error of the ground it stands on (memory, disk, stack)
# may strike one replica and spare the others: it is not in this list, and stops the node.
COMMAND_ERRORS = (
    MachineError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    msgspec.MsgspecError,
)
# The errors of that ground. All others that a user's machine raises belong to the command: the same command
# raises them on every replica and at every start again, so that to stop for one would be to stop for good.
GROUND_ERRORS = (MemoryError, OSError)


def reason_of(error: BaseException) -> str:
    """What to tell the client about a command that raised one of `COMMAND_ERRORS`; any text can be sent."""
    if not isinstance(error, MachineError):
        return f"{type(error).__name__}: {error}"
    return sendable(error)


def sendable(error: BaseException) -> str:
    """The text of an error that a user's machine has raised, whatever it is made of."""
    try:
        text = str(error)
    except COMMAND_ERRORS:
        return type(error).__name__
    return text.encode("utf-8", "backslashreplace").decode()

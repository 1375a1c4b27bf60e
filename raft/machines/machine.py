"""The interface of a replicated application, and how it refuses a command.

Owns the protocol between a node and the machine that it replicates, and the one way in which a bad
command fails. Knows nothing of terms, leaders, disks or clients.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

import msgspec

VERSION_MAX = 1_000_000


class MachineError(Exception):
    """The machine refused a command or a query; the text is the client's answer.

    It must depend only on the command and the state: every replica must raise it alike.
    """


class Diverged(Exception):
    """This replica's answers to the same commands differ from the leader's; it has to stop.

    A machine is not deterministic, or memory failed. It is unknown which of the two replicas is right.
    """


class WrongVersion(Exception):
    """This version of the machine can't continue with the data of this node; it has to stop.

    The members have agreed on a newer one, or a snapshot cannot be read. Nothing is lost: a node with
    another version continues with the same data.
    """


@runtime_checkable
class StateMachine(Protocol):
    """An application whose state is a function of the commands applied so far, in order.

    Deterministic by contract: no clock, no randomness, no input but the arguments, no iteration over
    sets. Each process calls `apply` once for each committed command, in the order of the log; after a
    restart it begins with the last snapshot. Calls never overlap.
    """

    def apply(self, index: int, command: bytes) -> bytes:
        """Apply the command at `index` and return the answer; raise `MachineError` to refuse it."""
        ...

    def query(self, query: bytes) -> bytes:
        """Answer without changing anything; raise `MachineError` to refuse it."""
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

        Commands are applied meanwhile, and must not change the parts.
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


# Errors that depend on the arguments. An error of the environment (memory, disk, stack)
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
ENVIRONMENT_ERRORS = (MemoryError, OSError)


def reason_of(error: BaseException) -> str:
    """The client's answer to a command that raised one of `COMMAND_ERRORS`, as text that can be sent."""
    if not isinstance(error, MachineError):
        return f"{type(error).__name__}: {error}"
    return sendable(error)


def sendable(error: BaseException) -> str:
    """The text of an error that a user's machine has raised, with unencodable characters replaced."""
    try:
        text = str(error)
    except COMMAND_ERRORS:
        return type(error).__name__
    return text.encode("utf-8", "backslashreplace").decode()

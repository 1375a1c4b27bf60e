"""What a replicated application has to offer, and how it says no.

Owns the protocol between a node and the machine that it replicates, and the one way in which a bad
command fails. Knows nothing of terms, leaders, disks or clients.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import msgspec


class MachineError(Exception):
    """The machine turned a command or a query down; the text is the client's answer.

    Whatever raises it must follow from the command and the state alone: every replica raises it alike.
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


def reason_of(error: BaseException) -> str:
    """What to tell the client about a command that raised one of `COMMAND_ERRORS`."""
    return str(error) if isinstance(error, MachineError) else f"{type(error).__name__}: {error}"

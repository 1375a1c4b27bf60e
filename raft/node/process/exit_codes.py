"""How a node's process ends, as one table: what each exit code means, and whether starting it again can help.

Owns the table; the numbers are named in raft.node.config. Supervisors of nodes, in this project and outside,
follow this table.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from raft.node.config import (
    EXIT_BROKEN_PROMISE,
    EXIT_CORRUPT,
    EXIT_DISK_FAILED,
    EXIT_DIVERGED,
    EXIT_FAILED,
    EXIT_LOG_MISSING,
    EXIT_OUT_OF_MEMORY,
    EXIT_REFUSED,
    EXIT_REMOVED,
    EXIT_ROLLED_BACK,
    EXIT_WRONG_VERSION,
)


class Ending(Struct, frozen=True):
    """One way to end."""

    code: int
    meaning: str
    restart_helps: bool
    remedy: str


ENDINGS: Final = (
    Ending(0, "stopped by SIGTERM or SIGINT, leadership handed over", False, "nothing is wrong"),
    Ending(
        EXIT_FAILED, "an error in this program, or it could not join anew yet", True, "its log says which"
    ),
    Ending(
        EXIT_REFUSED,
        "it cannot start like this: an option, a key, or a port or directory in use",
        False,
        "do what its last words say",
    ),
    Ending(
        EXIT_REMOVED,
        "it was removed from the cluster",
        False,
        "to add it again: an empty directory, and --join",
    ),
    Ending(
        EXIT_DISK_FAILED,
        "a write or a sync failed, so what the disk holds is not known",
        True,
        "check the disk",
    ),
    Ending(
        EXIT_CORRUPT,
        "what was durable is damaged",
        False,
        "--repair-from-peers, or remove it and add another",
    ),
    Ending(
        EXIT_LOG_MISSING,
        "its directory is empty, and it has run before or was not made by init",
        False,
        "mount its disk; if that is lost, remove the node and add another",
    ),
    Ending(
        EXIT_DIVERGED,
        "its machine has answered otherwise than the leader's",
        False,
        "make the machine deterministic; then begin this node anew",
    ),
    Ending(
        EXIT_ROLLED_BACK,
        "its log lacks what it had acknowledged: an old copy, or a disk that lost synced writes",
        False,
        "--repair-from-peers, or remove it and add another",
    ),
    Ending(
        EXIT_BROKEN_PROMISE,
        "another member's log contradicts what is committed here: a majority was rolled back",
        False,
        "restore a backup, or recover the node with the longest log",
    ),
    Ending(
        EXIT_WRONG_VERSION,
        "its machine is older than the members have agreed, or cannot read its snapshot",
        False,
        "start it with that version or a newer one",
    ),
    Ending(
        EXIT_OUT_OF_MEMORY, "no memory for what is committed", True, "more memory, or a lower quota for all"
    ),
)

RESTART_IS_OF_NO_USE: Final = frozenset(each.code for each in ENDINGS if not each.restart_helps and each.code)
"""A supervisor does not restart a node with one of these exit codes; it does with others, or a signal."""

DATA_NEED_A_DECISION: Final = RESTART_IS_OF_NO_USE - {EXIT_REFUSED, EXIT_REMOVED}
"""An operator has to decide what to do with the data."""


def as_text() -> str:
    """The table for a terminal."""
    rows = [
        f"  {each.code:>2}  {'again' if each.restart_helps else '-':5}  {each.meaning}" for each in ENDINGS
    ]
    return "exit codes, and whether starting it again can help:\n" + "\n".join(rows)

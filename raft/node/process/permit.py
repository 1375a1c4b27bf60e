"""The permit by which a node begins in an empty directory: made by a command, destroyed by the node.

Owns the file and its making. Imports next to nothing: a launcher makes permits before it starts any node.

The command that makes a cluster or reserves an id puts a permit into the node's directory, and the node
destroys it once its log is durable. So a directory that was wiped has neither log nor permit, and the node
does not start: it would vote a second time in terms in which it has voted (restate#2415, dragonboat#256).
"""

from __future__ import annotations

from pathlib import Path

from actors.processes.private_files import make_private, replace_file

PERMIT = ".first-start"


def permit_first_start(directory: Path) -> None:
    """Let a node that has never run begin in this directory; durable. Raises OSError."""
    make_private(directory)
    replace_file(directory / PERMIT, b"", sync=True)

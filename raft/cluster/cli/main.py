"""A launcher process from its command line to its exit code.

Owns bringing all verbs together. Loaded only after the nodes are on their way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

# isort: off - Help shows the verbs in the order in which they are imported.
from raft.cluster.cli import (
    breaking,
    checking,
    checkup,
    holding,
    leading,
    leasing,
    locking,
    looking,
    membership,
    records,
    running,
    shells,
    simulating,
    storing,
    telling,
    transacting,
    wrecking,
)
from raft.cluster.cli.app import Session, carry_out

# isort: on

if TYPE_CHECKING:
    from actors.process import ForkServer

VERB_MODULES = (
    running,
    looking,
    records,
    checkup,
    checking,
    breaking,
    simulating,
    wrecking,
    telling,
    leading,
    membership,
    storing,
    transacting,
    leasing,
    locking,
    holding,
    shells,
)


def run(
    arguments: Sequence[str], fork_server: ForkServer | None, started_seconds: float, ready_fd: int
) -> int:
    """Carry out one command line; returns the exit code."""
    session = Session(fork_server=fork_server, started_seconds=started_seconds, ready_fd=ready_fd)
    return carry_out(arguments, session)

"""A launcher process from its command line to its exit code.

Owns bringing all verbs together. Loaded only after the nodes are on their way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from raft.cluster.cli import (
    backup,
    breaking,
    checking,
    checkup,
    data_directory,
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
from raft.cluster.cli.app import Session, app, carry_out

if TYPE_CHECKING:
    from actors.process import ForkServer

VERB_MODULES = (  # Help shows the verbs in this order.
    running,
    data_directory,
    backup,
    shells,
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
)

_ORDER = [module.__name__ for module in VERB_MODULES]
app.registered_commands.sort(key=lambda verb: _ORDER.index(verb.callback.__module__) if verb.callback else 0)


def run(
    arguments: Sequence[str], fork_server: ForkServer | None, started_seconds: float, ready_fd: int
) -> int:
    """Carry out one command line; returns the exit code."""
    session = Session(fork_server=fork_server, started_seconds=started_seconds, ready_fd=ready_fd)
    return carry_out(arguments, session)

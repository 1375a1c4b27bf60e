"""The consensus core: a message or a tick goes in, a `Ready` value comes out.

Owns every decision that Raft makes. Knows no socket, clock, disk, thread or logger, and draws
randomness only from the generator it was given.

Names are imported on first use: a client needs only the shapes of messages.
"""

import importlib

TYPE_CHECKING = False  # Type checkers take it for typing's.
if TYPE_CHECKING:
    from raft.core.config import Config, ReadOnlyOption
    from raft.core.raft import Raft
    from raft.core.ready import Ready
    from raft.core.status import Status

_HOMES = {
    "Config": "raft.core.config",
    "Raft": "raft.core.raft",
    "ReadOnlyOption": "raft.core.config",
    "Ready": "raft.core.ready",
    "Status": "raft.core.status",
}

__all__ = ["Config", "Raft", "ReadOnlyOption", "Ready", "Status"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)

"""The consensus core: a message or a tick goes in, a `Ready` value comes out.

Owns every decision that Raft makes. Knows no socket, clock, disk, thread or logger, and draws
randomness only from the generator it was given.
"""

from raft.core.config import Config, ReadOnlyOption
from raft.core.raft import Raft
from raft.core.ready import Ready
from raft.core.status import Status

__all__ = ["Config", "Raft", "ReadOnlyOption", "Ready", "Status"]

"""The version of the user's own machine on which all members have agreed: the cluster's version.

Owns how it changes, by the log alone: it rises to the lowest version that any member has, and it falls only
when it is asked to. Knows nothing of how members report their versions.

The model is etcd's cluster version. It is raised by `Agree`, which a leader proposes once it knows the
versions of every member, and lowered by `Downgrade`, which sets a ceiling as well: until all members are of
that version, or the downgrade is called off, the cluster's version stays there.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from raft.machines.commands import Agree, Downgrade

LEVEL: Final = 1
"""Of this release: it knows all built-in commands up to that level."""

SINCE_LEVEL: Final[dict[type, int]] = {}
"""The level of each built-in command that came after the first. Counted up with `LEVEL` when one is added, or
when one is answered otherwise than before: a leader lets it into the log when all members know it."""


class Agreement(Struct, frozen=True, array_like=True, gc=False):
    """What is agreed."""

    version: int = 1
    ceiling: int = 0  # Of a downgrade in progress; 0 without one.
    newest: int = 1  # That a command carried out so far has needed.
    level: int = 1  # Of the built-in commands; it never falls.

    def agree(self, operation: Agree) -> Agreement:
        """After all members had versions from `lowest` to `highest`."""
        ceiling = 0 if operation.highest <= self.ceiling else self.ceiling
        version = min(operation.lowest, ceiling or operation.lowest)
        level = max(self.level, operation.level)
        return Agreement(max(self.version, version), ceiling, self.newest, level)

    def next(self, lowest: int, highest: int, level: int = 1) -> Agree | None:
        """What a leader proposes when its members have these versions; None if that would change nothing."""
        operation = Agree(lowest, highest, level)
        return operation if self.agree(operation) != self else None

    def downgrade(self, operation: Downgrade) -> Agreement | str:
        """After that, or why it is refused."""
        version = operation.version
        if version == 0:
            return Agreement(self.version, 0, self.newest, self.level)
        if not 0 < version <= self.version:
            return (
                f"the cluster's version is {self.version}: it can go down to one from 1 on, not to {version}"
            )
        if version < self.newest and not operation.force:
            return (
                f"commands of version {self.newest} have been carried out, so the state may hold what "
                f"version {version} cannot read. If the machine takes that back when the cluster's version "
                "falls (cluster_version_is), use force"
            )
        return Agreement(version, version, min(self.newest, version), self.level)

    def uses(self, version: int) -> Agreement:
        """After a command that needs this version was carried out."""
        return Agreement(self.version, self.ceiling, version, self.level)


def too_old(agreed: int, version: int) -> str:
    """The error text of a node whose version is too old or too new."""
    return (
        f"this cluster's members have agreed on version {agreed} of its machine, and the machine here is of "
        f"version {version}; nothing was changed. Start this node with version {agreed} or a newer one. "
        f"To go back to version {version}, lower the cluster's version first (Downgrade), while all members "
        "run the newer one, and let each take a snapshot, as a graceful stop does"
    )


def level_too_low(agreed: int, level: int) -> str:
    """What a node says whose release does not know all commands that may be in the log."""
    return (
        f"this cluster's members have agreed on level {agreed} of the built-in commands, and this "
        f"release knows level {level}; nothing was changed. Start this node with the release that it "
        "had, or a newer one; to go back further restore a backup"
    )

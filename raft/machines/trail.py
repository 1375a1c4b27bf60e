"""A checksum of what a replica has answered, in stretches from check to check, and what is compared of it.

Owns the rule by which replicas are compared. Knows nothing of how a check travels.

A stretch is compared only with one that the same version of the code has answered as a whole: another
version may word a refusal otherwise, or answer with a field more. That a command was refused counts, its text
does not. Each check ends a stretch and begins another one, so what differs once is not held against a replica
for good.
"""

from __future__ import annotations

from zlib import crc32

from msgspec import Struct

from raft.machines.codec import encode_answer
from raft.machines.machine import Diverged
from raft.machines.results import Checked

CHECKED = encode_answer(Checked())
# For every `Refused`, whose tag is 0, whatever its text says.
REFUSED = b"refused"
SEVERAL = 0  # Versions, or an older build that did not say.


class LastCheck(Struct, frozen=True, array_like=True, gc=False):
    """Where the last check was, and the checksum of the stretch that it ended."""

    index: int = 0
    trail: int = 0
    settled: bool = True  # There was nothing in it.
    version: int = SEVERAL  # Of the code that has answered all of it.


class Trail:
    """The stretch in hand, and the one before it, as answered by code of some `version`."""

    def __init__(self, version: int) -> None:
        self._code = version
        self.checksum = 0
        self.version = version
        self.last = LastCheck(version=version)

    def add(self, answer: bytes) -> bytes:
        """One more encoded answer, which is returned. That of a check is nothing new to check."""
        if answer != CHECKED:
            self.checksum = crc32(answer if answer[1] else REFUSED, self.checksum)
        return answer

    def restore(self, checksum: int, version: int, last: LastCheck) -> None:
        """Go on from a snapshot, which code of another version may have made."""
        self.checksum = checksum
        self.last = last if last.index else LastCheck(version=self._code)
        self.version = self._code if version == self._code or not checksum else SEVERAL

    @property
    def settled(self) -> bool:
        """Is there nothing to check?"""
        return self.last.settled and not self.checksum

    def check(self, index: int, of: LastCheck | None, whose: str) -> None:
        """A check stands at `index`, and says what the leader's stretch before it was; None compares nothing.

        Raises Diverged if this replica's was another one.
        """
        last = self.last
        same = of is not None and of.index == last.index and of.version == last.version != SEVERAL
        if same and of is not None and of.trail != last.trail:
            raise Diverged(
                f"the answers{whose} up to index {last.index} are not those of the leader "
                f"(checksum {last.trail:08x} here, {of.trail:08x} there): is the machine deterministic?"
            )
        self.last = LastCheck(index, self.checksum, not self.checksum, self.version)
        self.checksum, self.version = 0, self._code

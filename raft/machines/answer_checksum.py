"""A checksum of the answers of a replica, from one check to the next, compared with the leader's.

Owns the rule by which replicas are compared. Knows nothing of how a check travels.

Intervals between checks are compared only if the same version of the code has answered all commands in
them: another version may phrase a refusal differently, or add a field to an answer. For a refused command
only the refusal counts, not its text. Each check begins a new interval, so an earlier difference is not
reported again.
"""

from __future__ import annotations

from zlib import crc32

from msgspec import Struct

from raft.machines.codec import encode_answer
from raft.machines.machine import Diverged
from raft.machines.results import Checked

CHECKED = encode_answer(Checked())
# In place of every `Refused`, whose tag is 0, with any text.
REFUSED = b"refused"
SEVERAL = 0  # Several versions, or an older build that did not record its version.


class LastCheck(Struct, frozen=True, array_like=True, gc=False):
    """The index of the last check, and the checksum of the interval that it ended."""

    index: int = 0
    answer_checksum: int = 0
    settled: bool = True  # There was nothing in it.
    version: int = SEVERAL  # Of the code that has answered all of it.


class AnswerChecksum:
    """The current interval, and the one before it, as answered by code of some `version`."""

    def __init__(self, version: int) -> None:
        self._code = version
        self.value = 0
        self.version = version
        self.last = LastCheck(version=version)

    def add(self, answer: bytes) -> bytes:
        """Add an encoded answer, and return it. The answer to a check itself doesn't count."""
        if answer != CHECKED:
            self.value = crc32(answer if answer[1] else REFUSED, self.value)
        return answer

    def restore(self, checksum: int, version: int, last: LastCheck) -> None:
        """Continue from a snapshot, which code of another version may have made."""
        self.value = checksum
        self.last = last if last.index else LastCheck(version=self._code)
        self.version = self._code if version == self._code or not checksum else SEVERAL

    @property
    def settled(self) -> bool:
        """Whether there is nothing to check."""
        return self.last.settled and not self.value

    def check(self, index: int, of: LastCheck | None, whose: str) -> None:
        """End the interval with a check at `index`; `of` is the leader's interval before it, None to skip.

        Raises Diverged if this replica's checksum of that interval differs.
        """
        last = self.last
        same = of is not None and of.index == last.index and of.version == last.version != SEVERAL
        if same and of is not None and of.answer_checksum != last.answer_checksum:
            raise Diverged(
                f"the answers{whose} up to index {last.index} are not those of the leader "
                f"(checksum {last.answer_checksum:08x} here, {of.answer_checksum:08x} there): "
                "is the machine deterministic?"
            )
        self.last = LastCheck(index, self.value, not self.value, self.version)
        self.value, self.version = 0, self._code

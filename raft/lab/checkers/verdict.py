"""What a judge says of a history: legal, illegal with proof, or undecided.

Owns the words. An undecided verdict is not a pass.
"""

from __future__ import annotations

import enum

import msgspec
from msgspec import Struct

from raft.lab.checkers.records import Record

VERSION = 1


class Ruling(enum.Enum):
    """The verdict in a word."""

    LEGAL = "legal"
    ILLEGAL = "illegal"
    UNDECIDED = "undecided"


class Anomaly(Struct, frozen=True, kw_only=True):
    """Something that cannot have happened in a correct cluster, and the few operations that prove it."""

    name: str  # Of this kind of anomaly: stale-read, lost-append, ...
    key: str
    text: str  # In plain words.
    operations: tuple[Record, ...] = ()


class Verdict(Struct, frozen=True, kw_only=True):
    """The verdict on one history.

    `undecided` are the keys that no search came to an end with, and `notes` say what could not be judged for
    want of something in the history. With too little done nothing is decided, and `reason` says so.
    """

    v: int = VERSION
    ruling: Ruling
    workload: str
    operations: int
    unknown: int
    keys: int
    anomalies: tuple[Anomaly, ...] = ()
    undecided: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Legal, and known to be."""
        return self.ruling is Ruling.LEGAL

    def with_more(self, anomalies: tuple[Anomaly, ...]) -> Verdict:
        """This verdict, with what other evidence than the clients' has shown (events, state hashes)."""
        if not anomalies:
            return self
        every = self.anomalies + anomalies
        return msgspec.structs.replace(self, ruling=Ruling.ILLEGAL, anomalies=every)

    def sentence(self) -> str:
        """The verdict in words, for a reader who has never judged a history."""
        scope = (
            f"{_count(self.operations, 'operation')} on {_count(self.keys, 'key')}, {self.unknown} of them "
            "of unknown outcome"
        )
        if self.ruling is Ruling.LEGAL:
            return f"legal: {scope}: there is an order, true to real time, that explains every answer"
        if self.ruling is Ruling.ILLEGAL:
            return f"ILLEGAL: {scope}: {_count(len(self.anomalies), 'anomaly', 'anomalies')}"
        if self.reason:
            return f"undecided: {scope}: {self.reason}"
        keys = ", ".join(self.undecided)
        return f"undecided: {scope}: the search took too long on {keys}, which proves nothing"


def encode_verdict(verdict: Verdict) -> bytes:
    """The verdict as one JSON object."""
    return msgspec.json.encode(verdict)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"

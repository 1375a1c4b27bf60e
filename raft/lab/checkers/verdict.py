"""The verdict on a history: legal, illegal with proof, or undecided.

Owns its wording. An undecided verdict is not a pass.
"""

from __future__ import annotations

import enum

import msgspec
from msgspec import Struct

from raft.cluster.quantities import count_of
from raft.lab.checkers.records import Record

VERSION = 1


class Ruling(enum.Enum):
    """The verdict in a word."""

    LEGAL = "legal"
    ILLEGAL = "illegal"
    UNDECIDED = "undecided"


class Anomaly(Struct, frozen=True, kw_only=True):
    """Something impossible in a correct cluster, and the few operations that prove it."""

    name: str  # The kind of anomaly: stale-read, lost-append, ...
    key: str
    text: str  # In plain words.
    operations: tuple[Record, ...] = ()


class Verdict(Struct, frozen=True, kw_only=True):
    """The verdict on one history.

    `undecided` are the keys whose search came to no result, and `notes` say what could not be checked for
    lack of information. With too few operations nothing is decided, and `reason` says so.
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
        """This verdict, with anomalies from other evidence than the clients' (events, state hashes)."""
        if not anomalies:
            return self
        every = self.anomalies + anomalies
        return msgspec.structs.replace(self, ruling=Ruling.ILLEGAL, anomalies=every)

    def sentence(self) -> str:
        """The verdict in words, for readers without previous knowledge."""
        scope = (
            f"{count_of(self.operations, 'operation')} on {count_of(self.keys, 'key')}, "
            f"{self.unknown} of them of unknown outcome"
        )
        if self.ruling is Ruling.LEGAL:
            return f"legal: {scope}: there is an order, true to real time, that explains every answer"
        if self.ruling is Ruling.ILLEGAL:
            return f"ILLEGAL: {scope}: {count_of(len(self.anomalies), 'anomaly', 'anomalies')}"
        if self.reason:
            return f"undecided: {scope}: {self.reason}"
        keys = ", ".join(self.undecided)
        return f"undecided: {scope}: the search took too long on {keys}, which proves nothing"


def encode_verdict(verdict: Verdict) -> bytes:
    """The verdict as one JSON object."""
    return msgspec.json.encode(verdict)

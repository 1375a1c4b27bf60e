"""What is known of each fencing token: who was given it, and from when to when it surely held its seat.

Owns the collecting, lock by lock. Knows no rules.

A client that was stopped may believe that it holds what it has lost. So a token holds for certain only up to
where something proves it: a write that the fence let in, a release that found it held, or `until`, the moment
up to which its holder could be sure of its lease, as long as it had not begun to give it up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from typing import cast

from msgspec import Struct

from raft.lab.checkers.evidence import Findings, end_of
from raft.lab.checkers.records import Record

RELEASES = frozenset({"release", "resign"})
CLAIMS = frozenset({"acquire", "keep"})  # They may say until when the holder is sure.
OPERATIONS = frozenset({"acquire", "keep", "led", "left", *RELEASES})


class Tenure(Struct, kw_only=True):
    """One token of one lock; `acquired` is None for a token that no acquisition in the history was given."""

    token: int
    acquired: Record | None = None
    claims: list[Record] = []
    releases: list[Record] = []
    writes: list[Record] = []

    @property
    def since(self) -> float:
        """From here on it held its seat for certain, unless it had lost it already."""
        return -inf if self.acquired is None else end_of(self.acquired)

    @property
    def given_up(self) -> float:
        """When its holder began to give it up, whatever came of that."""
        return min((release.call for release in self.releases), default=inf)

    @property
    def accepted(self) -> list[Record]:
        """The writes that were let in."""
        return [write for write in self.writes if write.done and write.result["accepted"]]

    @property
    def turned_down(self) -> list[Record]:
        """The writes that were not."""
        return [write for write in self.writes if write.done and not write.result["accepted"]]

    @property
    def released(self) -> list[Record]:
        """The releases that found it held: one at most, if all is well."""
        return [release for release in self.releases if release.done and found_held(release)]

    @property
    def refused(self) -> list[Record]:
        """The releases that found it lost."""
        return [release for release in self.releases if release.done and not found_held(release)]

    def sure_until(self, claim: Record) -> float:
        """Up to when a claim makes it certain that the token holds; -inf for one that says nothing."""
        until = until_of(claim)
        return -inf if until is None else min(until, self.given_up)

    def proofs(self) -> list[tuple[float, Record]]:
        """All moments at which it held its seat for certain, each with what proves it."""
        proofs = [(write.call, write) for write in self.accepted]
        proofs += [(release.call, release) for release in self.released]
        proofs += [(self.sure_until(claim), claim) for claim in self.claims]
        return [proof for proof in proofs if proof[0] > self.since]

    @property
    def last_proof(self) -> tuple[float, Record] | None:
        """The latest of them."""
        return max(self.proofs(), key=lambda proof: proof[0], default=None)

    @property
    def seen_by(self) -> tuple[float, Record] | None:
        """The earliest moment by which it had taken its seat for certain, and what proves it."""
        proofs = [(end_of(write), write) for write in self.accepted]
        if self.acquired is not None:
            proofs.append((self.since, self.acquired))
        return min(proofs, key=lambda proof: proof[0], default=None)


class Lock(Struct, kw_only=True):
    """One lock or election, its tokens in their order, and the keys that it guards."""

    key: str
    seats: int = 1
    tenures: dict[int, Tenure] = {}
    twice: list[tuple[Record, Record]] = []  # Acquisitions that were given one token.
    astray: list[Record] = []  # Releases that belong to no acquisition.
    seen: list[Record] = []  # What observers were told.
    guarded: list[str] = []

    @property
    def in_order(self) -> list[Tenure]:
        """By token."""
        return [self.tenures[token] for token in sorted(self.tenures)]

    def tenure(self, token: int) -> Tenure:
        """That of a token."""
        return self.tenures.setdefault(token, Tenure(token=token, claims=[], releases=[], writes=[]))


def locks_of(findings: Findings) -> dict[str, Lock]:
    """All locks of a history."""
    locks = {
        key: _lock_of(key, records, findings.records) for key, records in findings.by_key(OPERATIONS).items()
    }
    for key, writes in findings.by_key({"fenced-put"}).items():
        lock = _guardian(key, writes, locks)
        if lock is None:
            findings.note(f"which lock guards {key} cannot be told: its tokens belong to several")
            continue
        lock.guarded.append(key)
        for write in writes:
            lock.tenure(token_of(write)).writes.append(write)
    return locks


def token_of(record: Record) -> int:
    """The token that an operation was given, or that it shows."""
    if record.op in ("acquire", "led", "left"):
        return cast(int, record.result["token"])
    return cast(int, record.expected)


def until_of(claim: Record) -> float | None:
    """Until when the holder was sure of its lease, by its own word."""
    if not claim.done or not isinstance(claim.result, dict):
        return None
    return cast(float | None, claim.result.get("until"))


def found_held(release: Record) -> bool:
    """Was the seat held until this release? One that is done and does not say so has found it held."""
    return not isinstance(release.result, dict) or bool(release.result.get("held", True))


def _lock_of(key: str, records: Sequence[Record], everything: Sequence[Record]) -> Lock:
    lock = Lock(key=key, tenures={}, twice=[], astray=[], seen=[], guarded=[])
    for record in records:
        if record.op == "acquire" and record.value is not None:
            lock.seats = max(lock.seats, cast(int, record.value))
        if record.op == "acquire" and record.done:
            tenure = lock.tenure(token_of(record))
            if tenure.acquired is not None:
                lock.twice.append((tenure.acquired, record))
                continue
            tenure.acquired = record
            tenure.claims.append(record)
    for record in records:
        if record.op in RELEASES:
            _release(lock, record, records, everything)
        elif record.op == "keep" and record.done and record.expected is not None:
            lock.tenure(token_of(record)).claims.append(record)
        elif record.op in ("led", "left") and record.done:
            lock.tenure(token_of(record))
            lock.seen.append(record)
    return lock


def _release(lock: Lock, release: Record, records: Sequence[Record], everything: Sequence[Record]) -> None:
    """Find the token that it gives up: it says so, or it is the one that its client was given last."""
    if release.expected is not None:
        tenure = lock.tenure(token_of(release))
    else:
        mine = [
            tenure
            for tenure in lock.tenures.values()
            if tenure.acquired is not None
            and tenure.acquired.client == release.client
            and tenure.since <= release.call
        ]
        if not mine:
            if release.done and found_held(release) and not _explained(lock, release, records, everything):
                lock.astray.append(release)
            return
        tenure = max(mine, key=lambda tenure: (not tenure.released, tenure.since))
    tenure.releases.append(release)


def _explained(lock: Lock, release: Record, records: Sequence[Record], everything: Sequence[Record]) -> bool:
    """May a release without a token that its client was given be in order all the same?

    Its client may have asked for the lock without hearing of it. And a client goes on under a new name after
    an operation of unknown outcome: then it releases what it was given under its old one.
    """
    for record in records:
        asked = record.op == "acquire" and record.call <= release.call
        if asked and record.outcome == "unknown" and record.client == release.client:
            return True
    for tenure in lock.tenures.values():
        acquired = tenure.acquired
        if acquired is None or tenure.since > release.call or tenure.releases:
            continue
        before = [r for r in everything if r.client == acquired.client and r.call <= release.call]
        if before[-1].outcome == "unknown":
            return True
    return False


def _guardian(key: str, writes: Iterable[Record], locks: dict[str, Lock]) -> Lock | None:
    """The lock whose tokens guard a key; one that has no other record if the tokens are those of none."""
    named = [lock for name, lock in locks.items() if name and key.endswith(f"/{name}")]
    if named:
        return named[0]
    tokens = {token_of(write) for write in writes}
    found = [lock for lock in locks.values() if tokens & lock.tenures.keys()]
    if len(locks) == 1:
        return next(iter(locks.values()))
    if not found:
        return locks.setdefault("", Lock(key="", tenures={}, twice=[], astray=[], seen=[], guarded=[]))
    return found[0] if len(found) == 1 else None


def says_until(history: Iterable[Record]) -> bool:
    """Do the acquisitions of a history say until when they were believed?"""
    return all(until_of(record) is not None for record in history if record.op == "acquire" and record.done)

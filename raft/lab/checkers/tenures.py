"""The history of each fencing token: its owner, and from when to when it certainly held its seat.

Owns the collecting, lock by lock. Knows no rules.
A paused client may believe that it holds what it has lost. So a token holds for certain only until the last
proof: a write accepted by the fence, a release that found it held, or `until`, the time until which its
holder could rely on its lease, as long as it had not begun to release it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from typing import cast

from msgspec import Struct

from raft.lab.checkers.evidence import Findings, end_of
from raft.lab.checkers.records import Record

RELEASES = frozenset({"release", "resign"})
CLAIMS = frozenset({"acquire", "keep"})  # They may say until when the holder relies on it.
OPERATIONS = frozenset({"acquire", "keep", "led", "left", *RELEASES})


class Tenure(Struct, kw_only=True):
    """One token of one lock; `acquired` is None for a token without an acquisition in the history."""

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
        """When its holder began to release it, whatever the outcome."""
        return min((release.call for release in self.releases), default=inf)

    @property
    def accepted(self) -> list[Record]:
        """The writes that the fence accepted."""
        return [write for write in self.writes if write.done and write.result["accepted"]]

    @property
    def turned_down(self) -> list[Record]:
        """The writes that the fence rejected."""
        return [write for write in self.writes if write.done and not write.result["accepted"]]

    @property
    def released(self) -> list[Record]:
        """The releases that found it held: at most one in a legal history."""
        return [release for release in self.releases if release.done and found_held(release)]

    @property
    def refused(self) -> list[Record]:
        """The releases that found it lost."""
        return [release for release in self.releases if release.done and not found_held(release)]

    def sure_until(self, claim: Record) -> float:
        """Until when a claim makes it certain that the token holds; -inf for one that does not say."""
        until = until_of(claim)
        return -inf if until is None else min(until, self.given_up)

    def proofs(self) -> list[tuple[float, Record]]:
        """All times at which it held its seat for certain, each with its proof."""
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
        """The earliest time by which it had its seat for certain, and the proof."""
        proofs = [(end_of(write), write) for write in self.accepted]
        if self.acquired is not None:
            proofs.append((self.since, self.acquired))
        return min(proofs, key=lambda proof: proof[0], default=None)


class Lock(Struct, kw_only=True):
    """One lock or election, its tokens in order, and the keys that it guards."""

    key: str
    seats: int = 1
    tenures: dict[int, Tenure] = {}
    twice: list[tuple[Record, Record]] = []  # Pairs of acquisitions with the same token.
    astray: list[Record] = []  # Releases without an acquisition.
    seen: list[Record] = []  # Notifications of observers.
    guarded: list[str] = []

    @property
    def in_order(self) -> list[Tenure]:
        """By token."""
        return [self.tenures[token] for token in sorted(self.tenures)]

    def tenure(self, token: int) -> Tenure:
        """The record of a token."""
        return self.tenures.setdefault(token, Tenure(token=token, claims=[], releases=[], writes=[]))


def locks_of(findings: Findings) -> dict[str, Lock]:
    """All locks of a history."""
    locks = {
        key: _lock_of(key, records, findings.records) for key, records in findings.by_key(OPERATIONS).items()
    }
    for key, writes in findings.by_key({"fenced-put"}).items():
        lock = _guardian(key, writes, locks)
        if lock is None:
            findings.note(f"it is unknown which lock guards {key}: its tokens belong to several")
            continue
        lock.guarded.append(key)
        for write in writes:
            lock.tenure(token_of(write)).writes.append(write)
    return locks


def token_of(record: Record) -> int:
    """The token that an operation was given, or presents."""
    if record.op in ("acquire", "led", "left"):
        return cast(int, record.result["token"])
    return cast(int, record.expected)


def until_of(claim: Record) -> float | None:
    """Until when the holder relied on its lease, by its own account."""
    if not claim.done or not isinstance(claim.result, dict):
        return None
    return cast(float | None, claim.result.get("until"))


def found_held(release: Record) -> bool:
    """Was the seat held until this release? If it is done and does not say so, yes."""
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
    """Find the token that it releases: the one that it names, or the one that its client got last."""
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
    """Is a release without an acquisition by its client still possible?

    Its client may have requested the lock without getting an answer. And a client continues under a new name
    after an unknown outcome: then it releases what it got under its old name.
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
    """The lock whose tokens guard a key; an anonymous one if the tokens belong to none."""
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
    """Do the acquisitions of a history contain `until`?"""
    return all(until_of(record) is not None for record in history if record.op == "acquire" and record.done)

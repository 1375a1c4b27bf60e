"""Locks and elections: no more holders than seats, growing tokens, and fences that hold.

Owns the rules that give an anomaly its name. Other anomalies are found by the search over the whole object
(`lock_model`): the queue, the seats, and the store behind the fence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import heappush, heappushpop

from raft.lab.checkers.counterexample import READS, prove
from raft.lab.checkers.evidence import Findings, end_of
from raft.lab.checkers.lock_model import search_lock
from raft.lab.checkers.records import Record
from raft.lab.checkers.registers import OPERATIONS as REGISTER_OPERATIONS
from raft.lab.checkers.registers import judge_register
from raft.lab.checkers.search import STEPS_MAX
from raft.lab.checkers.tenures import Lock, Tenure, locks_of, says_until, token_of
from raft.lab.checkers.verdict import Ruling

PROOF_STEPS_MAX = 5_000
# In an older history: this many refused releases show that holders lost their locks, but not why.
REFUSED_MIN, REFUSED_SHARE_MAX = 10, 0.25

Rule = Callable[[Findings, Lock], bool]


def judge_holds(findings: Findings) -> None:
    """Every guarded key as a register, then every lock with all that it guards."""
    by_key = findings.by_key(REGISTER_OPERATIONS)
    locks = locks_of(findings)
    for key, records in by_key.items():
        judge_register(findings, key, records)
    sound = not findings.anomalies
    for lock in locks.values():
        named = any(rule(findings, lock) for rule in RULES)
        if not named and sound:
            _check_whole_object(findings, lock, by_key)
    _note_missing_fields(findings)


def _note_missing_fields(findings: Findings) -> None:
    if not any(record.op == "acquire" for record in findings.records):
        findings.note("no acquisition is recorded: tokens were compared with each other only")
    elif not says_until(findings.records):
        findings.note(
            "acquisitions without `until`: a holder counts as one only up to its last accepted write or to a "
            "release that found it held"
        )
        releases = [record for record in findings.records if record.op == "release"]
        refused = sum(release.outcome == "refused" for release in releases)
        if refused >= REFUSED_MIN and refused > REFUSED_SHARE_MAX * len(releases):
            findings.note(f"{refused} of {len(releases)} releases were refused, and nothing says why")
            findings.cannot_tell("the locks")


# -- rules; each returns whether it found something ----------------------------------------------


def _tokens_are_given_once(findings: Findings, lock: Lock) -> bool:
    for first, second in lock.twice[:1]:
        text = f"{first.client} and {second.client} were both given token {token_of(second)}"
        findings.wrong("token-given-twice", lock.key, text, [first, second])
    return bool(lock.twice)


def _tokens_grow(findings: Findings, lock: Lock) -> bool:
    """A token that had held a seat before another was asked for is smaller."""
    latest: Record | None = None
    for tenure in lock.in_order:
        seen = tenure.seen_by
        if latest is not None and seen is not None and seen[0] < latest.call:
            text = (
                f"{latest.client} was given token {token_of(latest)}, after token {tenure.token} had been "
                f"given to {seen[1].client}"
            )
            findings.wrong("token-went-back", lock.key, text, [seen[1], latest])
            return True
        if tenure.acquired is not None and (latest is None or tenure.acquired.call > latest.call):
            latest = tenure.acquired
    return False


def _seats_suffice(findings: Findings, lock: Lock) -> bool:
    """When a token gets its seat, fewer older tokens than there are seats hold theirs, then or later."""
    held: list[tuple[float, int, Record, Tenure]] = []  # The longest, as many as there are seats.
    for tenure in lock.in_order:
        seen = tenure.seen_by
        if seen is not None and len(held) == lock.seats and held[0][0] > seen[0]:
            _report_too_many_holders(findings, lock, [entry[2:] for entry in held], tenure, seen[1])
            return True
        proof = tenure.last_proof
        if proof is not None:
            entry = (proof[0], tenure.token, proof[1], tenure)
            if len(held) == lock.seats:
                heappushpop(held, entry)
            else:
                heappush(held, entry)
    return False


def _report_too_many_holders(
    findings: Findings, lock: Lock, older: Sequence[tuple[Record, Tenure]], newer: Tenure, seen: Record
) -> None:
    proof, tenure = older[0]
    records = [record for record, _ in older]
    records += [other.acquired for _, other in older if other.acquired is not None]
    records += [seen, *([newer.acquired] if newer.acquired is not None else [])]
    records += newer.released
    unique = {id(record): record for record in records}.values()
    if proof.op == "fenced-put":
        did = "had been given" if seen.op == "acquire" else "had written with"
        text = (
            f"{proof.client} wrote to {proof.key} with token {tenure.token}, after {seen.client} {did} token "
            f"{newer.token}: the fence let an old holder through"
        )
        findings.wrong("stale-token-accepted", lock.key or proof.key, text, unique)
        return
    seats = "" if lock.seats == 1 else f", which has {lock.seats} seats"
    until = max(moment for moment, _ in tenure.proofs())
    text = (
        f"{newer.token} was a holder's token at {end_of(seen):.6f} s, while the older {tenure.token} "
        f"held {lock.key} until {until:.6f} s for certain{seats}"
    )
    findings.wrong("two-holders", lock.key, text, unique)


def _nothing_after_release(findings: Findings, lock: Lock) -> bool:
    for tenure in lock.in_order:
        for release in tenure.released:
            for later in (*tenure.accepted, *tenure.released):
                if end_of(release) >= later.call:
                    continue
                if later.op == "fenced-put":
                    text = (
                        f"{later.client} wrote to {later.key} with token {tenure.token}, which had been "
                        "released: the fence let an old holder through"
                    )
                    findings.wrong("stale-token-accepted", lock.key, text, [release, later])
                else:
                    text = f"token {tenure.token} was released twice, and found held both times"
                    findings.wrong("released-twice", lock.key, text, [release, later])
                return True
    return False


def _holders_are_accepted(findings: Findings, lock: Lock) -> bool:
    """Neither writes nor release are refused to a token that holds its seat afterwards."""
    for tenure in lock.in_order:
        proof = tenure.last_proof
        if proof is None:
            continue
        for refusal in (*tenure.turned_down, *tenure.refused):
            if tenure.since <= refusal.call and end_of(refusal) < proof[0]:
                name = "holder-turned-down" if refusal.op == "fenced-put" else "release-refused-to-holder"
                text = (
                    f"{refusal.describe()}, though token {tenure.token} held {lock.key} until "
                    f"{proof[0]:.6f} s for certain"
                )
                given = [tenure.acquired] if tenure.acquired is not None else []
                unique = {id(record): record for record in (*given, refusal, proof[1])}.values()
                findings.wrong(name, lock.key, text, unique)
                return True
    return False


def _releases_match_acquisitions(findings: Findings, lock: Lock) -> bool:
    for release in lock.astray[:1]:
        text = f"{release.client} released {lock.key}, which it had not been given"
        findings.wrong("release-without-acquisition", lock.key, text, [release])
        return True
    for tenure in lock.in_order:
        for release in tenure.released:
            if tenure.acquired is None:
                text = f"{release.client} released token {tenure.token}, which was given to no one"
                findings.wrong("release-without-acquisition", lock.key, text, [release])
                return True
            if release.call < tenure.since:
                text = f"{release.client} released token {tenure.token} before it was given"
                proof = [release, tenure.acquired]
                findings.wrong("release-before-acquisition", lock.key, text, proof)
                return True
    return False


def _tokens_were_given(findings: Findings, lock: Lock) -> bool:
    """A write accepted by the fence shows a token that was requested and granted."""
    acquisitions = [record for record in findings.records if record.op == "acquire"]
    if not acquisitions:
        return False
    for tenure in lock.in_order:
        for record in (*tenure.accepted, *(e for e in lock.seen if token_of(e) == tenure.token)):
            if tenure.acquired is None and record.op == "fenced-put":
                text = f"{record.client} wrote to {record.key} with token {tenure.token}, given to no one"
                findings.wrong("phantom-token", lock.key or record.key, text, [record, acquisitions[0]])
                return True
            if tenure.acquired is not None and record.call < tenure.acquired.call:
                text = (
                    f"token {tenure.token} was used by {record.client} before {tenure.acquired.client} asked "
                    "for it"
                )
                findings.wrong("token-used-before-it-was-given", lock.key, text, [record, tenure.acquired])
                return True
    return False


RULES: Sequence[Rule] = (
    _tokens_are_given_once,
    _tokens_grow,
    _releases_match_acquisitions,
    _nothing_after_release,
    _seats_suffice,
    _holders_are_accepted,
    _tokens_were_given,
)


# -- the whole object --------------------------------------------------------------------------


def _check_whole_object(findings: Findings, lock: Lock, by_key: dict[str, list[Record]]) -> None:
    reads = [record for key in lock.guarded for record in by_key.get(key, ()) if record.op in READS]
    ruling = search_lock(lock, reads, STEPS_MAX)
    if ruling is Ruling.UNDECIDED:
        findings.cannot_tell(lock.key)
    elif ruling is Ruling.ILLEGAL:
        kept = prove(_records_of(lock, reads), _is_illegal)
        text = f"no order of these operations on {lock.key} and what it guards explains every answer"
        findings.wrong("not-linearizable", lock.key, text, kept)


def _records_of(lock: Lock, reads: Iterable[Record]) -> list[Record]:
    records = [*reads, *lock.seen]
    for tenure in lock.in_order:
        records += [*tenure.claims, *tenure.releases, *tenure.writes]
    return sorted({id(record): record for record in records}.values(), key=lambda record: record.call)


def _is_illegal(records: Sequence[Record]) -> bool:
    findings = Findings(records)
    reads = [record for record in records if record.op in READS]
    return any(
        search_lock(lock, [r for r in reads if r.key in lock.guarded], PROOF_STEPS_MAX) is Ruling.ILLEGAL
        for lock in locks_of(findings).values()
    )

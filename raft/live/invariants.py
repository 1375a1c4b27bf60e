"""What must hold in each picture of a cluster, checked from what its nodes say of their logs.

Owns three checks of the Raft paper (figure 3): election safety, log matching and leader completeness.
Pure. A log is known by the runs of terms of its last entries, so what is older is not checked.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from raft.cluster.rpc.messages import ClusterStatus, NodeView

Runs = Sequence[tuple[int, int]]
"""A log's last entries: the first index and the term of each run of equal terms."""


class Invariant(Struct, frozen=True):
    """One property: whether it holds, and what is known of it."""

    name: str
    holds: bool
    text: str


def term_at(runs: Runs, last: int, index: int) -> int | None:
    """The term of a log's entry; None if the log does not reach to it, or no longer tells."""
    if index > last:
        return None
    return next((term for start, term in reversed(runs) if start <= index), None)


def mismatch(one: Runs, one_last: int, other: Runs, other_last: int) -> int | None:
    """An index at which two logs differ although they agree on a later entry; None if there is none."""
    if not one or not other:
        return None
    low, high = max(one[0][0], other[0][0]), min(one_last, other_last)
    starts = {start for start, _ in (*one, *other)}
    # Between these places neither log's term changes.
    places = sorted({low, *(start for start in starts if low <= start <= high)}) if low <= high else []
    same_later = False
    for place in reversed(places):
        same = term_at(one, one_last, place) == term_at(other, other_last, place)
        if same_later and not same:
            return place
        same_later = same_later or same
    return None


class Invariants:
    """Told of each picture; keeps what has been broken, for that is not mended by later pictures."""

    def __init__(self) -> None:
        self._leaders: dict[int, int] = {}  # By term.
        self._committed = (0, 0, 0)  # The highest index seen, the entry's term, and the term of who said so.
        self._broken: dict[str, str] = {}

    def violation(self, text: str) -> None:
        """The launcher has seen two leaders in one term."""
        self._broken.setdefault("one leader a term", text)

    def check(self, status: ClusterStatus) -> list[Invariant]:
        """All three, after one more picture."""
        logs = [node for node in status.nodes if node.last is not None and node.log_terms]
        self._check_leaders(status.nodes)
        self._check_matching(logs)
        self._check_committed(logs)
        sound = {
            "one leader a term": f"{len(self._leaders)} terms seen",
            "logs match": f"the last entries of {len(logs)} logs compared",
            "committed stays": f"up to index {self._committed[0]}",
        }
        return [
            Invariant(name, name not in self._broken, self._broken.get(name, sound[name])) for name in sound
        ]

    def _check_leaders(self, nodes: Sequence[NodeView]) -> None:
        for node in nodes:
            if node.role == "leader" and node.term is not None:
                first = self._leaders.setdefault(node.term, node.id)
                if first != node.id:
                    self.violation(f"n{first} and n{node.id} led term {node.term}")
        while len(self._leaders) > 10_000:
            del self._leaders[min(self._leaders)]

    def _check_matching(self, logs: Sequence[NodeView]) -> None:
        distinct = {(tuple(node.log_terms), node.last or 0): node.id for node in logs}
        known = [*distinct.items()]
        for position, ((runs, last), node) in enumerate(known):
            for (others, others_last), other in known[position + 1 :]:
                index = mismatch(runs, last, others, others_last)
                if index is not None:
                    text = f"n{node} and n{other} differ at index {index}, below an entry that is the same"
                    self._broken.setdefault("logs match", text)

    def _check_committed(self, logs: Sequence[NodeView]) -> None:
        index, term, told_in = self._committed
        for node in logs:
            leads_since = node.role == "leader" and (node.term or 0) > told_in
            there = term_at(node.log_terms, node.last or 0, index)
            knows_it = (node.commit or 0) >= index > 0
            gone = there is None and (node.last or 0) < index and leads_since
            replaced = there is not None and there != term and (leads_since or knows_it)
            if index and (gone or replaced):
                text = f"n{node.id} does not hold the entry {index} of term {term}, which was committed"
                self._broken.setdefault("committed stays", text)
        for node in logs:
            commit = node.commit or 0
            found = term_at(node.log_terms, node.last or 0, commit)
            if commit > self._committed[0] and found is not None:
                self._committed = (commit, found, node.term or 0)

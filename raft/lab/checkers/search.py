"""The search for an order of operations that explains every answer and agrees with real time.

Owns the search: that of Wing and Gong, with Lowe's memoization ("Testing for linearizability", 2017). Knows
nothing of registers or counters: an operation defines its effect on a state.

Four optimizations: a read that fits is placed at once, since it cannot hinder others. A state that another
operation still needs is not left for good. Of several equivalent operations of unknown outcome the oldest is
placed first. The set of placed operations is stored as a count of the oldest ones and a few bits beyond.

A search that takes too long ends undecided, which proves nothing and must not count as a pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from math import inf

from msgspec import Struct

from raft.lab.checkers.verdict import Ruling

STEPS_MAX = 2_000_000


class Contradiction:
    """The effect of an operation on a state that contradicts its answer."""


CONTRADICTION = Contradiction()
NOTHING_KNOWN = Contradiction()  # For `needs` and `makes`.
Effect = Callable[[Hashable], Hashable]


class Call(Struct, frozen=True, kw_only=True):
    """One operation for the search.

    `effect` gives the state after it, or CONTRADICTION. An `optional` one may be placed anywhere after its
    call, or nowhere; `alike` is equal for optional ones with the same effect. `reads` says that it never
    changes the state. `needs` is the only state that it fits, if there is one; then all operations that may
    lead to that state must give it as `makes`. Those with an `index` are placed in its order, at equal
    indexes those that change the state first; 0 means none.
    """

    called: float
    returned: float = inf
    effect: Effect
    optional: bool = False
    reads: bool = False
    alike: Hashable = None
    needs: Hashable = NOTHING_KNOWN
    makes: Hashable = NOTHING_KNOWN
    index: int = 0


class Found(Struct, frozen=True):
    """The ruling; if ILLEGAL, no order explains the answers up to the return of call number `stuck`."""

    ruling: Ruling
    stuck: int = -1


def search(calls: Sequence[Call], start: Hashable, *, steps_max: int = STEPS_MAX) -> Found:
    """Search for an order, from the state `start`."""
    found = _Search(calls, start, looks_ahead=True).run(steps_max)
    if found.ruling is not Ruling.ILLEGAL:
        return found
    # Lookahead gives up before the return at which the plain search would report the failure.
    again = _Search(calls, start, looks_ahead=False).run(steps_max)
    if again.ruling is Ruling.ILLEGAL:
        return again
    last = max(range(len(calls)), key=lambda number: (not calls[number].optional, calls[number].returned))
    return Found(Ruling.ILLEGAL, last)


class _Search:
    """Marks are calls and returns in order of time; those of operations not yet placed are a linked list."""

    def __init__(self, calls: Sequence[Call], start: Hashable, *, looks_ahead: bool) -> None:
        self._calls = calls
        self._start = start
        order = sorted(range(len(calls)), key=lambda number: calls[number].called)
        # At equal times calls come first: operations that merely touch are concurrent.
        marks = [(calls[number].called, 0, number) for number in order]
        marks += [(call.returned, 1, number) for number, call in enumerate(calls) if not call.optional]
        marks.sort()
        self._numbers = [number for _, _, number in marks]
        self._is_call = [kind == 0 for _, kind, _ in marks]
        self._return_of = [len(marks)] * len(calls)
        for mark, (_, kind, number) in enumerate(marks):
            if kind == 1:
                self._return_of[number] = mark
        # The last place is before the first mark and after the last.
        self._following = [*range(1, len(marks) + 1), 0]
        self._previous = [len(marks), *range(len(marks))]
        self._places = _places(calls, order)
        self._elder = _elders(calls, order)
        self._ranks = _ranks(calls)
        # Among unplaced operations: how many need a state, and how many may make it.
        self._needs = [NOTHING_KNOWN if call.optional or not looks_ahead else call.needs for call in calls]
        self._makes = [call.makes for call in calls]
        self._wanted, self._makers = Counter(self._needs), Counter(self._makes)

    def run(self, steps_max: int) -> Found:
        """The search itself; one loop, for speed."""
        calls, following, is_call, numbers = self._calls, self._following, self._is_call, self._numbers
        places, elder, ranks = self._places, self._elder, self._ranks
        next_rank = 0
        end = len(numbers)
        needed = sum(not call.optional for call in calls)
        # Placed operations: the first `oldest` mandatory ones, more of them by bits, optional ones by bits.
        oldest, bits, chosen, state = 0, 0, 0, self._start
        tried: set[tuple[int, int, int, Hashable]] = set()
        trail: list[tuple[int, int, int, int, Hashable, bool]] = []
        furthest = -1
        mark = following[end]
        for _ in range(steps_max):
            if oldest == needed:
                return Found(Ruling.LEGAL)
            if is_call[mark]:
                number = numbers[mark]
                call = calls[number]
                rank = ranks[number]
                after = call.effect(state) if rank < 0 or rank == next_rank else CONTRADICTION
                fits = after is not CONTRADICTION
                if call.optional:
                    fits = fits and (elder[number] < 0 or chosen >> elder[number] & 1 == 1)
                    step = (oldest, bits, chosen | 1 << places[number], after)
                else:
                    now = bits | 1 << (places[number] - oldest)
                    run = (now ^ (now + 1)).bit_length() - 1
                    step = (oldest + run, now >> run, chosen, after)
                if not fits or (not call.reads and (step in tried or self._strands(number, state))):
                    mark = following[mark]
                    continue
                if not call.reads:
                    tried.add(step)
                trail.append((mark, oldest, bits, chosen, state, call.reads))
                oldest, bits, chosen, state = step
                next_rank += rank >= 0
                self._take_out(mark, number)
                mark = following[end]
                continue
            # The operation that returns here had to be placed before anything that follows.
            furthest = max(furthest, mark)
            forced = True
            while forced:
                if not trail:
                    return Found(Ruling.ILLEGAL, numbers[furthest])
                mark, oldest, bits, chosen, state, forced = trail.pop()
                next_rank -= ranks[numbers[mark]] >= 0
                self._put_back(mark, numbers[mark])
            mark = following[mark]
        return Found(Ruling.UNDECIDED)

    def _strands(self, number: int, state: Hashable) -> bool:
        """Would an operation that needs this state be unplaceable if this one left the state?"""
        wanted = self._wanted.get(state, 0) - (self._needs[number] == state)
        return wanted > 0 and not self._makers.get(state, 0)

    def _take_out(self, mark: int, number: int) -> None:
        self._wanted[self._needs[number]] -= 1
        self._makers[self._makes[number]] -= 1
        following, previous = self._following, self._previous
        before, behind = previous[mark], following[mark]
        following[before], previous[behind] = behind, before
        mate = self._return_of[number]
        if mate < len(self._numbers):
            before, behind = previous[mate], following[mate]
            following[before], previous[behind] = behind, before

    def _put_back(self, mark: int, number: int) -> None:
        self._wanted[self._needs[number]] += 1
        self._makers[self._makes[number]] += 1
        following, previous = self._following, self._previous
        mate = self._return_of[number]
        if mate < len(self._numbers):
            following[previous[mate]] = previous[following[mate]] = mate
        following[previous[mark]] = previous[following[mark]] = mark


def _places(calls: Sequence[Call], order: Sequence[int]) -> list[int]:
    """Each operation's rank by age, among the mandatory ones or among the optional ones."""
    places = [0] * len(calls)
    counts = [0, 0]
    for number in order:
        optional = calls[number].optional
        places[number] = counts[optional]
        counts[optional] += 1
    return places


def _ranks(calls: Sequence[Call]) -> list[int]:
    """For each operation with an index its rank among those, or -1."""
    ranks = [-1] * len(calls)
    indexed = [number for number, call in enumerate(calls) if call.index]
    indexed.sort(key=lambda number: (calls[number].index, calls[number].reads, calls[number].called))
    for rank, number in enumerate(indexed):
        ranks[number] = rank
    return ranks


def _elders(calls: Sequence[Call], order: Sequence[int]) -> list[int]:
    """For each optional operation the rank of the equivalent one called just before it, or -1."""
    places, youngest = _places(calls, order), dict[Hashable, int]()
    elders = [-1] * len(calls)
    for number in order:
        call = calls[number]
        if call.optional and call.alike is not None:
            elders[number] = youngest.get(call.alike, -1)
            youngest[call.alike] = places[number]
    return elders

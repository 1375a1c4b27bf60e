"""Is there an order of operations that explains every answer, and agrees with real time?

Owns the search: Wing and Gong's, with Lowe's memory of what was tried ("Testing for linearizability",
2017). Knows nothing of registers or counters: an operation says what it makes of a state.

Four things make it quick. A read that fits is placed at once, since it is in nobody's way. A state that
somebody has yet to see is not left for good. Of several operations of unknown outcome that are alike the
oldest is placed first. And what is placed is remembered as a number of the oldest operations and a few bits
beyond.

A search that takes too long ends undecided, which proves nothing and must not pass for a proof.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from math import inf

from msgspec import Struct

from raft.lab.checkers.verdict import Ruling

STEPS_MAX = 2_000_000


class Misfit:
    """What an operation makes of a state that its answer does not fit."""


MISFIT = Misfit()
NOTHING_KNOWN = Misfit()  # Of what an operation needs, or makes.
Effect = Callable[[Hashable], Hashable]


class Call(Struct, frozen=True, kw_only=True):
    """One operation as the search sees it.

    `effect` gives the state after it, or MISFIT. One that is `optional` may be placed anywhere after its
    call, or nowhere; `alike` is equal for optional ones that do the same. `reads` says that it never
    changes the state. `needs` is the only state that it fits, if there is one; then all operations that may
    lead to that state say so by `makes`. Those with an `index` are placed in its order, at one index those
    that change the state first; 0 is none.
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
    """The ruling; if it is ILLEGAL, no order explains the answers up to the return of call number `stuck`."""

    ruling: Ruling
    stuck: int = -1


def search(calls: Sequence[Call], start: Hashable, *, steps_max: int = STEPS_MAX) -> Found:
    """Search for an order, from the state `start`."""
    found = _Search(calls, start, looks_ahead=True).run(steps_max)
    if found.ruling is not Ruling.ILLEGAL:
        return found
    # Whoever looks ahead gives up before the return at which everybody else would see that it is over.
    again = _Search(calls, start, looks_ahead=False).run(steps_max)
    if again.ruling is Ruling.ILLEGAL:
        return again
    last = max(range(len(calls)), key=lambda number: (not calls[number].optional, calls[number].returned))
    return Found(Ruling.ILLEGAL, last)


class _Search:
    """Marks are calls and returns in order of time; those of operations not yet placed form a chain."""

    def __init__(self, calls: Sequence[Call], start: Hashable, *, looks_ahead: bool) -> None:
        self._calls = calls
        self._start = start
        order = sorted(range(len(calls)), key=lambda number: calls[number].called)
        # At one moment calls come first: operations that merely touch overlap.
        marks = [(calls[number].called, 0, number) for number in order]
        marks += [(call.returned, 1, number) for number, call in enumerate(calls) if not call.optional]
        marks.sort()
        self._numbers = [number for _, _, number in marks]
        self._is_call = [kind == 0 for _, kind, _ in marks]
        self._return_of = [len(marks)] * len(calls)
        for mark, (_, kind, number) in enumerate(marks):
            if kind == 1:
                self._return_of[number] = mark
        # The last place is before the first mark and behind the last.
        self._following = [*range(1, len(marks) + 1), 0]
        self._previous = [len(marks), *range(len(marks))]
        self._places = _places(calls, order)
        self._elder = _elders(calls, order)
        self._ranks = _ranks(calls)
        # Of what is not placed: how many need a state, and how many may make it.
        self._needs = [NOTHING_KNOWN if call.optional or not looks_ahead else call.needs for call in calls]
        self._makes = [call.makes for call in calls]
        self._wanted, self._makers = Counter(self._needs), Counter(self._makes)

    def run(self, steps_max: int) -> Found:
        """The search itself; one loop, since it is all there is to speed up."""
        calls, following, is_call, numbers = self._calls, self._following, self._is_call, self._numbers
        places, elder, ranks = self._places, self._elder, self._ranks
        next_rank = 0
        end = len(numbers)
        needed = sum(not call.optional for call in calls)
        # Placed are: the first `oldest` operations that must be, more of them by bits, optional ones by bits.
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
                after = call.effect(state) if rank < 0 or rank == next_rank else MISFIT
                fits = after is not MISFIT
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
        """Would somebody who needs this state wait for ever, if it were left by this operation?"""
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
    """Each operation's number by age, among those that must be placed or among those that may."""
    places = [0] * len(calls)
    counts = [0, 0]
    for number in order:
        optional = calls[number].optional
        places[number] = counts[optional]
        counts[optional] += 1
    return places


def _ranks(calls: Sequence[Call]) -> list[int]:
    """For each operation with an index its place among those that have one, or -1."""
    ranks = [-1] * len(calls)
    indexed = [number for number, call in enumerate(calls) if call.index]
    indexed.sort(key=lambda number: (calls[number].index, calls[number].reads, calls[number].called))
    for rank, number in enumerate(indexed):
        ranks[number] = rank
    return ranks


def _elders(calls: Sequence[Call], order: Sequence[int]) -> list[int]:
    """For each optional operation the place of the one alike that was called just before it, or -1."""
    places, youngest = _places(calls, order), dict[Hashable, int]()
    elders = [-1] * len(calls)
    for number in order:
        call = calls[number]
        if call.optional and call.alike is not None:
            elders[number] = youngest.get(call.alike, -1)
            youngest[call.alike] = places[number]
    return elders

"""Log, storage, progress and window of appends against models that are plain lists."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from raft.core.errors import Compacted, Unavailable
from raft.core.log import APPENDS_MAX, Log, Sizes
from raft.core.progress import Inflights, Progress, ProgressState
from raft.core.status import log_terms
from raft.core.types import NO_LIMIT, Entry, EntryKind, Size, decode_entry, measure
from raft.storage.memory import MemoryStorage

checked = settings(max_examples=300, deadline=None, database=None, derandomize=True)
TERMS = st.lists(st.integers(0, 2), max_size=5)


def entries_from(index: int, terms: list[int]) -> list[Entry]:
    return [
        Entry(term, index + offset, EntryKind.NORMAL, b"%d.%d" % (term, index + offset) + bytes(term))
        for offset, term in enumerate(terms)
    ]


class Model:
    """A log beside the list of terms that it should hold; index 0 is before the first entry."""

    def __init__(self) -> None:
        self.storage = MemoryStorage()
        self.log = Log(self.storage, NO_LIMIT, applies_unstable=False)
        self.terms = [0]
        self.writing: list[list[Entry]] = []
        self.applied: list[int] = []

    def append_from_leader(self, back: int, steps: list[int], wrong: bool, commit: int) -> None:
        """An append that fits `back` entries before the end, or claims another term there."""
        # What lies below the commit index is answered before it gets this far.
        previous = max(len(self.terms) - 1 - back, self.log.committed)
        term = self.terms[previous]
        terms, last = [], term
        for step in steps:
            last += step
            terms.append(max(last, 1))
        sent = entries_from(previous + 1, terms)
        fits = self.log.try_append(previous, term + 7 if wrong else term, commit, sent)
        assert fits == (not wrong)
        if wrong:
            return
        for at, sent_term in enumerate(terms, previous + 1):
            if at < len(self.terms) and self.terms[at] != sent_term:
                del self.terms[at:]
            if at == len(self.terms):
                self.terms.append(sent_term)

    def write(self) -> None:
        handed_out = self.log.next_unstable()
        self.log.accept_unstable()
        self.storage.append(handed_out)
        if handed_out:
            self.writing.append(handed_out)

    def acknowledge(self) -> None:
        if self.writing:
            last = self.writing.pop(0)[-1]
            self.log.stable_to(last.index, last.term)

    def apply(self) -> None:
        ready = self.log.next_committed()
        if ready:
            self.log.accept_applying(ready)
            self.applied += [entry.index for entry in ready]
            self.log.applied_to(ready[-1].index, 0)

    def compact(self) -> None:
        if self.log.applied >= self.storage.first_index():
            self.storage.compact(self.log.applied)

    def check(self) -> None:
        log = self.log
        first = log.first_index()
        assert log.last_index() == len(self.terms) - 1
        assert [log.term(at) for at in range(first - 1, len(self.terms))] == self.terms[first - 1 :]
        held = log.slice(first, log.last_index() + 1, NO_LIMIT) if first <= log.last_index() else []
        assert [(entry.index, entry.term) for entry in held] == list(enumerate(self.terms))[first:]
        self.check_sizes(held[-6:])
        assert self.applied == list(range(1, log.applied + 1))
        assert log.applied <= log.committed < len(self.terms)

    def check_sizes(self, held: list[Entry]) -> None:
        for begin, end in itertools.combinations(range(len(held) + 1), 2):
            assert self.log.size_of(held[begin:end]) == counted(held[begin:end])


def counted(entries: list[Entry]) -> Size:
    fresh = [Entry(entry.term, entry.index, entry.kind, entry.data) for entry in entries]
    return Size(sum(entry.size() for entry in fresh), sum(len(entry.data or b"") for entry in fresh))


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append_from_leader"), st.integers(0, 4), TERMS, st.booleans(), st.integers(0, 9)),
        st.tuples(st.sampled_from(("write", "acknowledge", "apply", "compact"))),
    ),
    max_size=25,
)


@checked
@given(ACTIONS)
def test_a_log_holds_what_a_list_would_hold(actions):
    model = Model()
    for name, *arguments in actions:
        committed = model.log.committed
        getattr(model, name)(*arguments)
        model.check()
        assert model.log.committed >= committed


@checked
@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(0, 120), st.data())
def test_a_slice_is_the_longest_prefix_that_fits_wherever_its_entries_are(sizes, bytes_max, data):
    storage = MemoryStorage()
    entries = [Entry(1, at, EntryKind.NORMAL, bytes(size)) for at, size in enumerate(sizes, 1)]
    stored = data.draw(st.integers(0, len(entries)))
    storage.append(entries[:stored])
    log = Log(storage, NO_LIMIT, applies_unstable=False)
    if stored < len(entries):
        log.append(entries[stored:])
    lo = data.draw(st.integers(1, len(entries)))
    expected, total = [], 0
    for entry in entries[lo - 1 :]:
        total += entry.size()
        if expected and total > bytes_max:
            break
        expected.append(entry)
    assert log.slice(lo, len(entries) + 1, bytes_max) == expected


KINDS_AND_DATA = st.tuples(
    st.sampled_from(EntryKind), st.none() | st.integers(0, 300).map(bytes) | st.just(bytes(20_000))
)


@checked
@given(st.integers(1, 300), st.integers(1, 300), st.lists(KINDS_AND_DATA, min_size=1, max_size=8))
def test_what_is_measured_at_once_is_what_each_entry_counts_for(term, first, contents):
    entries = [Entry(term, index, kind, data) for index, (kind, data) in enumerate(contents, first)]
    assert measure(entries) == counted(entries)
    sized = [(entry.size_cache or entry.size(), entry) for entry in entries]
    assert all(size == counted([entry]).total for size, entry in sized)


def test_sizes_are_right_after_any_number_of_appends():
    log = Log(MemoryStorage(), NO_LIMIT, applies_unstable=False)
    for first in range(1, 12 * APPENDS_MAX, 3):
        log.append(entries_from(first, [first % 7 + first // 100] * 3))
        log.commit_to(first)
    assert [log.size_of(log.unstable[at:]) == counted(log.unstable[at:]) for at in range(len(log.unstable))]


def test_sizes_of_long_ago_are_forgotten():
    sizes = Sizes()
    for first in range(1, 2 * APPENDS_MAX, 2):
        sizes.append(first, first + 1, Size(1, 1))
    assert sizes.between(1, 2) == Size(1, 1)
    sizes.append(2 * APPENDS_MAX + 1, 2 * APPENDS_MAX + 2, Size(1, 1))
    assert sizes.between(1, 2) is None


@checked
@given(st.lists(st.integers(1, 3), max_size=8), st.integers(0, 12), st.integers(0, 4))
def test_the_hint_is_the_last_place_that_could_match(steps, index, term):
    log = Log(MemoryStorage(), NO_LIMIT, applies_unstable=False)
    terms = [sum(steps[: at + 1]) for at in range(len(steps))]
    if terms:
        log.append(entries_from(1, terms))
    index = min(index, len(terms))
    known = [0, *terms]
    expected = max(at for at in range(index + 1) if known[at] <= term)
    assert log.find_conflict_by_term(index, term) == (expected, known[expected])


@checked
@given(st.lists(st.integers(0, 2), max_size=12), st.integers(0, 8), st.integers(1, 14))
def test_the_runs_of_terms_tell_the_term_of_each_of_the_last_entries(steps, compacted, entries_max):
    terms = [1 + sum(steps[: at + 1]) for at in range(len(steps))]
    storage = MemoryStorage()
    storage.append(entries_from(1, terms))
    if min(compacted, len(terms)):
        storage.compact(min(compacted, len(terms)))
    log = Log(storage, NO_LIMIT, applies_unstable=False)
    first = max(log.first_index(), log.last - entries_max + 1)
    runs = log_terms(log, entries_max)
    told = {at: term for start, term in runs for at in range(start, log.last + 1)}
    assert told == {at: log.term(at) for at in range(first, log.last + 1)}
    assert all(before[1] < after[1] for before, after in itertools.pairwise(runs))


@checked
@given(st.lists(st.tuples(st.integers(1, 12), TERMS.filter(bool), st.booleans()), max_size=8))
def test_storage_holds_what_a_list_would_hold(writes):
    storage, model, compacted = MemoryStorage(), {0: 0}, 0
    for start, steps, compact in writes:
        start = min(start, max(model) + 1)
        entries = entries_from(start, [step + 1 for step in steps])
        storage.append(entries)
        if entries[-1].index > compacted:
            model = {at: term for at, term in model.items() if at < start or at <= compacted}
            model |= {entry.index: entry.term for entry in entries if entry.index > compacted}
        if compact and max(model) > compacted:
            compacted = (compacted + max(model) + 1) // 2
            storage.compact(compacted)
        assert (storage.first_index(), storage.last_index()) == (compacted + 1, max(model))
        for at in range(max(model) + 2):
            if at < compacted:
                expected = Compacted
            elif at > max(model):
                expected = Unavailable
            else:
                assert storage.term(at) == model[at]
                continue
            try:
                storage.term(at)
            except expected:
                continue
            raise AssertionError(f"the term at {at} should not be known")


@checked
@given(
    st.integers(1, 5),
    st.integers(0, 40),
    st.lists(st.tuples(st.booleans(), st.integers(1, 4), st.integers(0, 20))),
)
def test_a_window_of_appends_is_full_by_count_or_by_bytes(messages_max, bytes_max, actions):
    window, model, last = Inflights(messages_max, bytes_max), [], 0
    for add, step, size in actions:
        if add and not window.full:
            last += step
            window.add(last, size)
            model.append((last, size))
        elif not add:
            index = last - step
            window.free_up_to(index)
            model = [(at, size) for at, size in model if at > index]
        total = sum(size for _, size in model)
        assert (len(window), window.bytes_in_flight) == (len(model), total)
        assert window.full == (len(model) >= messages_max or (bytes_max > 0 and total >= bytes_max))


@checked
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 15), st.integers(0, 15)), max_size=30))
def test_progress_never_forgets_a_match_and_never_sends_below_it(actions):
    peer = Progress(0, 1, Inflights(3, 0))
    last = 15
    for kind, one, other in actions:
        match = peer.match
        if kind == 0 and not peer.paused() and peer.next <= last:
            peer.sent_entries(1, 1)
        elif kind == 1:
            known = min(one, peer.next - 1) if peer.state is not ProgressState.SNAPSHOT else one
            assert peer.acknowledge(known) == (known > match)
            peer.inflights.free_up_to(known)
        elif kind == 2:
            before = (peer.next, peer.state)
            if not peer.reject(one, other):
                assert (peer.next, peer.state) == before
        elif kind == 3:
            peer.become_probe()
        elif kind == 4:
            peer.become_replicate()
        elif kind == 5 and one >= peer.next:
            peer.become_snapshot(one)
        assert peer.match >= match
        assert peer.next > peer.match
        assert not len(peer.inflights) or peer.state is ProgressState.REPLICATE


@checked
@given(
    st.integers(0, 2**40),
    st.integers(0, 2**40),
    st.sampled_from(EntryKind),
    st.none() | st.binary(max_size=300),
)
def test_an_entry_is_read_back_from_its_bytes_and_keeps_them(term, index, kind, data):
    entry = Entry(term, index, kind, data)
    again = decode_entry(entry.encoded())
    assert again == entry
    assert again.encoded() is again.encoded()
    assert again.encoded() == entry.encoded()

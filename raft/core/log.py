"""The log: entries in storage, then entries not yet durable, and how far they are committed and applied.

Owns the indexes. Entries from `offset` on are unstable; those below `offset_in_progress` have been handed
out to be written. Knows nothing of roles and messages.
"""

from __future__ import annotations

from raft.core.errors import BrokenStorage, Compacted, RolledBack, Unavailable
from raft.core.types import (
    NO_LIMIT,
    Entry,
    EntryKind,
    Index,
    Size,
    Snapshot,
    Storage,
    Term,
    entries_size,
    limit_size,
    measure,
)

# Of so many appends the sizes are known: many more than are under way at a time.
APPENDS_MAX = 64


class Sizes:
    """Sums of the sizes of what was appended lately, up to the end of each append, from some index on.

    Each peer, the disk and the machine mostly take entries from the end of one append to that of another, so
    that a difference is all that has to be computed.
    """

    __slots__ = ("_up_to",)

    def __init__(self) -> None:
        self._up_to: dict[Index, tuple[int, int]] = {}

    def append(self, first: Index, last: Index, size: Size) -> None:
        """Note the size of the entries from `first` to `last`, which is the end of the log now."""
        before = self._up_to.get(first - 1)
        if before is None or len(self._up_to) > APPENDS_MAX:
            before = 0, 0
            self._up_to = {first - 1: before}
        self._up_to[last] = before[0] + size.total, before[1] + size.payload

    def between(self, first: Index, last: Index) -> Size | None:
        """Return the size of the entries from `first` to `last`, if it is known."""
        before, up_to = self._up_to.get(first - 1), self._up_to.get(last)
        if before is None or up_to is None:
            return None
        return Size(up_to[0] - before[0], up_to[1] - before[1])


class Log:
    """All indexes are positions in one sequence: applied <= applying <= committed <= last."""

    __slots__ = (
        "_applies_unstable",
        "_sizes",
        "_storage",
        "_tail_start",
        "applied",
        "applying",
        "applying_bytes",
        "applying_bytes_max",
        "applying_paused",
        "committed",
        "last",
        "last_term",
        "offset",
        "offset_in_progress",
        "snapshot_in_progress",
        "unstable",
        "unstable_snapshot",
    )

    def __init__(self, storage: Storage, applying_bytes_max: int, *, applies_unstable: bool) -> None:
        """Start with what is stored. `applies_unstable`: the caller saves entries before it applies them."""
        self._storage = storage
        self._applies_unstable = applies_unstable
        first, last = storage.first_index(), storage.last_index()
        if last + 1 < first:
            raise BrokenStorage(f"the first stored index is {first} and the last is {last}")
        self.last: Index = last
        self.last_term: Term = storage.term(last)
        # Entries from here to the end are known to be of the last term: most look-ups end there.
        self._tail_start: Index = last
        self.unstable: list[Entry] = []
        self._sizes = Sizes()
        self.offset: Index = last + 1
        self.offset_in_progress: Index = last + 1
        self.unstable_snapshot: Snapshot | None = None
        self.snapshot_in_progress = False
        self.committed: Index = first - 1
        self.applying: Index = first - 1
        self.applied: Index = first - 1
        self.applying_bytes_max = applying_bytes_max
        self.applying_bytes = 0
        self.applying_paused = False

    # Reading

    def first_index(self) -> Index:
        """Return the first index that is not covered by a snapshot."""
        if self.unstable_snapshot is not None:
            return self.unstable_snapshot.index + 1
        return self._storage.first_index()

    def last_index(self) -> Index:
        """Return the index of the last entry, or of the snapshot that nothing follows."""
        return self.last

    def term(self, index: Index) -> Term:
        """Return the term at `index`; raises Compacted or Unavailable."""
        if index >= self._tail_start:
            if index > self.last:
                raise Unavailable
            if index >= self.committed:  # Never compacted away.
                return self.last_term
        if index >= self.offset:
            return self.unstable[index - self.offset].term
        snapshot = self.unstable_snapshot
        if snapshot is not None and snapshot.index == index:
            return snapshot.term
        # The term just below the first entry is still known, for matching.
        if index + 1 < self.first_index():
            raise Compacted
        return self._storage.term(index)

    def matches(self, index: Index, term: Term) -> bool:
        """Tell whether there is an entry of this term at `index`."""
        try:
            return self.term(index) == term
        except (Compacted, Unavailable):
            return False

    def contradicts(self, index: Index, term: Term) -> bool:
        """Tell whether `index` is committed here, and known to hold an entry of another term."""
        if not 0 < index <= self.committed:
            return False
        try:
            return self.term(index) != term
        except Compacted:
            return False

    def is_up_to_date(self, last_index: Index, last_term: Term) -> bool:
        """Tell whether a log that ends there is at least as up to date as this one (thesis section 3.6.1)."""
        return last_term > self.last_term or (last_term == self.last_term and last_index >= self.last)

    def find_conflict_by_term(self, index: Index, term: Term) -> tuple[Index, Term]:
        """Return the last index up to `index` whose term is at most `term`, and its term: a possible match.

        The term is 0 where it was compacted away.
        """
        while index > 0:
            try:
                own = self.term(index)
            except (Compacted, Unavailable):
                return index, 0
            if own <= term:
                return index, own
            index -= 1
        return 0, 0

    def slice(self, lo: Index, hi: Index, bytes_max: int) -> list[Entry]:
        """Return entries lo to hi-1, cut to those that fit, at least one; raises Compacted."""
        if hi - lo < 2:
            bytes_max = NO_LIMIT
        elif bytes_max < NO_LIMIT:
            size = self._sizes.between(lo, hi - 1)
            if size is not None and size.total <= bytes_max:
                bytes_max = NO_LIMIT
        offset = self.offset
        if lo >= offset:
            entries = self.unstable[lo - offset : hi - offset]
            return entries if bytes_max == NO_LIMIT else limit_size(entries, bytes_max)
        if self.unstable_snapshot is not None:
            raise Compacted  # It covers all that is stored.
        cut = min(hi, offset)
        try:
            stored = self._storage.entries(lo, cut, bytes_max)
        except Unavailable as error:
            raise BrokenStorage(f"entries {lo} to {cut - 1} were stored and are not there") from error
        if hi <= offset or len(stored) < cut - lo:
            return stored
        if bytes_max >= NO_LIMIT:
            return stored + self.unstable[: hi - offset]
        room = bytes_max - entries_size(stored)
        if room <= 0:
            return stored
        rest = limit_size(self.unstable[: hi - offset], room)
        if len(rest) == 1 and rest[0].size() > room:
            return stored
        return stored + rest

    def size_of(self, entries: list[Entry]) -> Size:
        """Return the size of consecutive entries of this log."""
        if len(entries) == 1:
            return measure(entries)
        return self._sizes.between(entries[0].index, entries[-1].index) or measure(entries)

    def has_conf_change_to_apply(self) -> bool:
        """Tell whether an entry that is committed and not yet applied changes the configuration."""
        lo = self.applied + 1
        while lo <= self.committed:
            page = self.slice(lo, self.committed + 1, self.applying_bytes_max)
            if any(entry.kind is not EntryKind.NORMAL for entry in page):
                return True
            lo += len(page)
        return False

    # Appending

    def try_append(
        self, previous_index: Index, previous_term: Term, commit: Index, entries: list[Entry]
    ) -> bool:
        """Append what a leader sent if the log holds (previous_index, previous_term), and commit with it.

        Only an entry that conflicts with an existing one is replaced, with all after it: a late or
        duplicated append never shortens the log.
        """
        if previous_index == self.last:
            if previous_term != self.last_term:
                return False
            if entries:
                self.append(entries)
        else:
            if not self.matches(previous_index, previous_term):
                return False
            for position, entry in enumerate(entries):
                if not self.matches(entry.index, entry.term):
                    self.append(entries[position:] if position else entries)
                    break
        if commit > self.committed:
            verified = previous_index + len(entries)
            self.commit_to(commit if commit < verified else verified)
        return True

    def append(self, entries: list[Entry], size: Size | None = None) -> None:
        """Append entries, replacing all existing ones from the first one's index on.

        `size` is what `measure` has returned for them, if it was called already.
        """
        first = entries[0].index
        if first <= self.committed:
            raise BrokenStorage(f"entry {first} is to be replaced, but {self.committed} is committed")
        if first > self.last:
            self.unstable += entries
        else:
            self._replace(first, entries)
        tail = entries[-1]
        self.last = tail.index
        if tail.index > first:
            self._sizes.append(first, tail.index, size or measure(entries))
        if tail.term != self.last_term or first <= self._tail_start:
            self.last_term = tail.term
            self._tail_start = first if entries[0].term == tail.term else tail.index

    def _replace(self, first: Index, entries: list[Entry]) -> None:
        self._sizes = Sizes()
        if first <= self.offset:
            self.unstable = entries.copy()
            self.offset = self.offset_in_progress = first
        else:
            del self.unstable[first - self.offset :]
            self.unstable += entries
            # What is being written above `first` is being overwritten: it must be handed out anew.
            self.offset_in_progress = min(self.offset_in_progress, first)

    def restore(self, snapshot: Snapshot) -> None:
        """Replace the whole log by a snapshot that is not durable yet."""
        assert snapshot.index > self.committed, f"snapshot {snapshot.index} is behind {self.committed}"
        self.committed = snapshot.index
        self.offset = self.offset_in_progress = snapshot.index + 1
        self.unstable = []
        self._sizes = Sizes()
        self.unstable_snapshot = snapshot
        self.snapshot_in_progress = False
        self.last = self._tail_start = snapshot.index
        self.last_term = snapshot.term

    # Becoming durable

    def next_unstable(self) -> list[Entry]:
        """Return the unstable entries that were not handed out yet."""
        return self.unstable[self.offset_in_progress - self.offset :]

    def next_snapshot(self) -> Snapshot | None:
        """Return the unstable snapshot, if it was not handed out yet."""
        return None if self.snapshot_in_progress else self.unstable_snapshot

    def accept_unstable(self) -> None:
        """Note that all unstable entries and the snapshot have been handed out."""
        if self.unstable:
            self.offset_in_progress = self.last + 1
        if self.unstable_snapshot is not None:
            self.snapshot_in_progress = True

    def stable_to(self, index: Index, term: Term) -> None:
        """Note that the log is durable up to an entry, unless that has been overwritten since."""
        if self.offset <= index <= self.last and self.unstable[index - self.offset].term == term:
            del self.unstable[: index + 1 - self.offset]
            self.offset = index + 1
            if self.offset_in_progress <= index:
                self.offset_in_progress = index + 1

    def stable_snapshot_to(self, index: Index) -> None:
        """Note that the snapshot at `index` is durable."""
        if self.unstable_snapshot is not None and self.unstable_snapshot.index == index:
            self.unstable_snapshot = None
            self.snapshot_in_progress = False

    # Committing and applying

    def commit_to(self, index: Index) -> None:
        """Raise the commit index; a lower one is ignored."""
        if index > self.committed:
            if index > self.last:
                raise RolledBack(
                    f"this node had acknowledged entries up to {index}, but its log ends at {self.last}: its "
                    "disk has gone back to an earlier state. Start it with --repair-from-peers, or remove it "
                    "from the cluster and add another"
                )
            self.committed = index

    def has_next_committed(self) -> bool:
        """Tell whether there are entries to hand out for applying."""
        return (
            self.applying < self.committed
            and not self.applying_paused
            and self.unstable_snapshot is None
            and self.applying < self._appliable()
        )

    def next_committed(self) -> list[Entry]:
        """Return the entries to apply next, within the limit on those handed out and not yet applied."""
        if self.applying_paused or self.unstable_snapshot is not None:
            return []
        last = self.committed if self._applies_unstable else self._appliable()
        if self.applying >= last:
            return []
        room = self.applying_bytes_max
        if room < NO_LIMIT:
            room -= self.applying_bytes
        return self.slice(self.applying + 1, last + 1, room)

    def accept_applying(self, entries: list[Entry]) -> Size:
        """Note that these entries have been handed out for applying; returns their size."""
        last = entries[-1].index
        assert last <= self.committed, f"applying {last} is past commit {self.committed}"
        self.applying = last
        size = self.size_of(entries)
        self.applying_bytes += size.total
        # A batch that stopped short did so for its size: nothing more before some of it is applied.
        self.applying_paused = self.applying_bytes >= self.applying_bytes_max or (
            last < self.committed and last < self._appliable()
        )
        return size

    def applied_to(self, index: Index, size_bytes: int) -> None:
        """Note that the machine has applied everything up to `index`."""
        assert self.applied <= index, f"applied would move back from {self.applied} to {index}"
        assert index <= self.committed, f"applied {index} is past commit {self.committed}"
        self.applied = index
        if self.applying < index:
            self.applying = index
        left = self.applying_bytes - size_bytes
        self.applying_bytes = left if left > 0 else 0
        self.applying_paused = self.applying_bytes >= self.applying_bytes_max

    def _appliable(self) -> Index:
        if self._applies_unstable or self.committed < self.offset:
            return self.committed
        return self.offset - 1

    def snapshot(self) -> Snapshot:
        """Return the newest snapshot; raises SnapshotTemporarilyUnavailable."""
        return self.unstable_snapshot or self._storage.snapshot()

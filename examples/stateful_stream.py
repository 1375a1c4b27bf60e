"""Count words in a stream, in an actor whose counts survive it, while its process is killed again and again.

    python examples/stateful_stream.py /tmp/counts

The stream is pulled: the counter answers a line once that is on disk, and only then is sent the next.
What it had in its hands when it died is sent again; a line that was counted before is recognized by its
number, so that each is counted once.
"""

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import msgspec

from actors import Backoff, ProcessSystem, Request, RestartPolicy, answers, handles
from raft.actors import PersistentActor

LINES = 300
KILLS = 3
WORDS = ("one", "fish", "two", "fish", "red", "fish", "blue", "fish")


class Counted(msgspec.Struct, frozen=True):
    """The event: a line's words were counted."""

    number: int
    words: tuple[str, ...]


class Line(Request[int], frozen=True):
    """Asks to count a line; the answer is its number, once that is on disk."""

    number: int
    text: str


class Counts(msgspec.Struct, frozen=True):
    """How often each word came, up to which line, and who counted."""

    words: dict[str, int]
    lines: int
    pid: int


class GetCounts(Request[Counts], frozen=True):
    """Asks for the counts."""


class WordCounter(PersistentActor):
    """Counts words; its state is that of its events."""

    events: ClassVar[Mapping[int, type]] = {1: Counted}
    snapshot_type = Counts
    snapshot_every = 100

    def __init__(self, directory: str) -> None:
        super().__init__(directory, "words")
        self.words: Counter[str] = Counter()
        self.lines = 0

    def apply(self, event: Counted) -> None:
        """Count the words of a line."""
        self.words.update(event.words)
        self.lines = event.number

    def take_snapshot(self) -> Counts:
        """All counts."""
        return Counts(dict(self.words), self.lines, 0)

    def load_snapshot(self, snapshot: Any) -> None:
        """The counts of an earlier incarnation."""
        self.words, self.lines = Counter(snapshot.words), snapshot.lines

    @handles(Line)
    def on_line(self, line: Line) -> None:
        """Count a line that was not counted before; lines come in order."""
        if line.number <= self.lines:
            self.context.reply(line.number)
        else:
            self.persist(Counted(line.number, tuple(line.text.split())), reply=line.number)

    @answers(GetCounts)
    def tell(self, asked: GetCounts) -> Counts:
        """Tell the counts."""
        return Counts(dict(self.words), self.lines, os.getpid())


def lines() -> Iterator[Line]:
    """The stream."""
    for number in range(1, LINES + 1):
        yield Line(number, " ".join(WORDS[number % 4 : number % 4 + 4]))


def main(directory: str) -> None:
    """Count, and kill the counter a few times."""
    policy = RestartPolicy(backoff=Backoff(first_seconds=0.01))
    with ProcessSystem([Line, GetCounts, Counts, int]) as system:
        pool = system.spawn_pool(WordCounter, "counter", 1, arguments={"directory": directory}, policy=policy)
        for number in pool.map(lines(), in_hand=1, retries=KILLS):
            if number % (LINES // (KILLS + 1)) == 0 and number < LINES:
                os.kill(pool.ask(GetCounts()).pid, signal.SIGKILL)
                print(f"killed the counter behind line {number}")
        counts = pool.ask(GetCounts())
        print(f"{counts.lines} lines: {dict(sorted(counts.words.items()))}")


if __name__ == "__main__":
    main(sys.argv[1])

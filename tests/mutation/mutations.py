"""The mutations, read from `mutations.txt`.

Owns the form of that file: a headline `# name: file`, then lines of the core with ` ` for what stays, `-` for
what goes and `+` for what comes, as in a patch. Each must fit its file in exactly one place.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).with_name("mutations.txt")
SURVIVORS = Path(__file__).with_name("survivors.txt")


class StaleMutation(Exception):
    """The lines are no longer there, or there more than once: the list has to follow the code."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """What one mutant has in place of the core's own lines."""

    name: str
    file: str
    before: str
    after: str

    def apply(self, core: Path) -> None:
        """Break the core in this folder. Raises StaleMutation."""
        path = core / self.file
        text = f"\n{path.read_text()}"
        if text.count(f"\n{self.before}") != 1:
            raise StaleMutation(f"its lines are not in exactly one place of {self.file}")
        path.write_text(text.replace(f"\n{self.before}", f"\n{self.after}")[1:])


def mutations() -> Iterator[Mutation]:
    """All of them, in the order of the file."""
    for block in LIST.read_text().split("\n\n"):
        head, *lines = block.strip("\n").split("\n")
        name, _, file = head.removeprefix("# ").rpartition(": ")
        before = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "+")
        after = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "-")
        yield Mutation(name, file, before, after)


def explained_survivors() -> set[str]:
    """The names that head the paragraphs of `survivors.txt`."""
    paragraphs = SURVIVORS.read_text().split("\n\n")
    return {paragraph.partition(":\n")[0].strip() for paragraph in paragraphs}

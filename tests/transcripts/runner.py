"""Runs whole transcripts: finds the files, chooses the interpreter, compares each answer.

Owns what counts as a failure, and its report.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.transcripts import commands, confchange, quorum
from tests.transcripts.environment import Environment
from tests.transcripts.parser import Directive, SyntaxFault, parse


class Interpreter(Protocol):
    """Answers the commands of one file, in order."""

    def run(self, directive: Directive) -> str: ...


class InteractionInterpreter:
    """Keeps the cluster that the commands so far have made."""

    def __init__(self) -> None:
        self._environment = Environment()

    def run(self, directive: Directive) -> str:
        return commands.run(self._environment, directive)


@dataclass(frozen=True, slots=True)
class Difference:
    """The first command of a file that was answered otherwise than expected."""

    path: Path
    directive: Directive
    answer: str

    def __str__(self) -> str:
        expected, got = self.directive.expected.splitlines(), self.answer.splitlines()
        same = 0
        for one, other in zip(expected, got, strict=False):
            if one != other:
                break
            same += 1
        head = f"{self.path}:{self.directive.line}: {self.directive} (answers differ from line {same + 1} on)"
        return "\n".join((head, *_block("expected", expected, same), *_block("got", got, same)))


def _block(title: str, lines: list[str], same: int) -> Iterator[str]:
    yield f"  {title}:"
    for number, line in enumerate(lines):
        yield f"  {'>' if number == same else ' '} {line}"


def transcripts(paths: Iterable[Path]) -> list[Path]:
    """The files named, and those with the ending .txt in the folders named, at any depth."""
    found: list[Path] = []
    for path in paths:
        found += sorted(path.rglob("*.txt")) if path.is_dir() else [path]
    return found


def first_difference(path: Path) -> Difference | None:
    """Run a file; None if every answer is as expected.

    Raises SyntaxFault if it is no transcript. Whatever breaks inside the core goes on to the caller.
    """
    interpreter: Interpreter | None = None
    for directive in parse(path.read_text(encoding="utf-8")):
        interpreter = interpreter or _interpreter(directive)
        try:
            answer = interpreter.run(directive)
        except Exception as error:
            error.add_note(f"{path}:{directive.line}: {directive}")
            raise
        if answer and not answer.endswith("\n"):
            answer += "\n"
        if answer != directive.expected:
            return Difference(path, directive, answer)
    return None


def _interpreter(first: Directive) -> Interpreter:
    """The kinds of transcript have no command in common, so the first one tells."""
    if first.command in quorum.COMMANDS:
        return quorum.QuorumInterpreter()
    if first.command in confchange.COMMANDS:
        return confchange.ConfChangeInterpreter()
    return InteractionInterpreter()


__all__ = ["Difference", "SyntaxFault", "first_difference", "transcripts"]

"""From the text of a transcript to its directives.

Owns the file syntax: comments, continued lines, arguments, input and expected blocks. Knows no command.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

SEPARATOR = "----"
LOG_LINE = re.compile(r"^ *(DEBUG|INFO|WARN|ERROR|FATAL) ")


class SyntaxFault(Exception):
    """The text is no transcript; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Argument:
    """`key`, `key=value` or `key=(value, value)`; a bare key has no values."""

    key: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Directive:
    """One command with what it is given and what it must answer. `line` counts from 1."""

    line: int
    command: str
    arguments: tuple[Argument, ...]
    input: str
    expected: str

    @property
    def words(self) -> tuple[str, ...]:
        """The bare arguments in order."""
        return tuple(argument.key for argument in self.arguments if not argument.values)

    @property
    def ids(self) -> tuple[int, ...]:
        """The bare arguments in order, as node ids."""
        return tuple(map(to_number, self.words))

    def values(self, key: str) -> tuple[str, ...]:
        """What was given for `key`, over all its mentions; nothing if it has none."""
        return tuple(value for argument in self.arguments if argument.key == key for value in argument.values)

    def numbers(self, key: str) -> tuple[int, ...]:
        return tuple(map(to_number, self.values(key)))

    def number(self, key: str, default: int) -> int:
        return (default, *self.numbers(key))[-1]

    def switch(self, key: str) -> bool:
        """Whether `key=true` was given; absent means off."""
        value = ("", *self.values(key))[-1]
        if value not in ("true", "false", ""):
            raise SyntaxFault(f"{key} is true or false, not {value!r}")
        return value == "true"

    def __str__(self) -> str:
        words = [self.command]
        for argument in self.arguments:
            values = argument.values
            if not values:
                words.append(argument.key)
            elif len(values) == 1:
                words.append(f"{argument.key}={values[0]}")
            else:
                words.append(f"{argument.key}=({','.join(values)})")
        return " ".join(words)


def to_number(word: str) -> int:
    """A decimal number. Raises SyntaxFault for anything else."""
    if not (word.isascii() and word.isdigit()):
        raise SyntaxFault(f"a number was expected, not {word!r}")
    return int(word)


def parse(text: str) -> Iterator[Directive]:
    """The directives of a transcript in order. Raises SyntaxFault at the first line that makes no sense."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    cursor = 0
    while cursor < len(lines):
        line = lines[cursor].strip()
        start = cursor
        cursor += 1
        if not line or line.startswith("#"):
            continue
        while line.endswith("\\") and cursor < len(lines):
            line = f"{line[:-1].rstrip()} {lines[cursor].strip()}"
            cursor += 1
        command, arguments = _split(line)
        given, cursor = _until_separator(lines, cursor)
        expected, cursor = _expected(lines, cursor)
        yield Directive(start + 1, command, arguments, given, without_log_lines(expected))


def without_log_lines(expected: str) -> str:
    """The block less the lines that a library wrote to its log; `ok` when nothing else was there."""
    lines = expected.split("\n")[:-1]
    kept = [line for line in lines if not LOG_LINE.match(line)]
    if lines and not kept:
        return "ok\n"
    return "".join(f"{line}\n" for line in kept)


def _until_separator(lines: list[str], cursor: int) -> tuple[str, int]:
    start = cursor
    while cursor < len(lines) and lines[cursor] != SEPARATOR:
        cursor += 1
    return "\n".join(lines[start:cursor]).strip(), cursor + 1


def _expected(lines: list[str], cursor: int) -> tuple[str, int]:
    if lines[cursor : cursor + 1] == [SEPARATOR]:
        return _expected_with_blank_lines(lines, cursor + 1)
    start = cursor
    while cursor < len(lines) and lines[cursor].strip():
        cursor += 1
    return "".join(f"{line}\n" for line in lines[start:cursor]), cursor + 1


def _expected_with_blank_lines(lines: list[str], start: int) -> tuple[str, int]:
    end = start
    while end < len(lines) and lines[end : end + 2] != [SEPARATOR, SEPARATOR]:
        end += 1
    return "".join(f"{line}\n" for line in lines[start:end]), end + 2


def _split(line: str) -> tuple[str, tuple[Argument, ...]]:
    command, _, rest = line.partition(" ")
    arguments: list[Argument] = []
    while rest := rest.lstrip():
        end = next((at for at, char in enumerate(rest) if char in " ="), len(rest))
        key, rest = rest[:end], rest[end:]
        if not rest.startswith("="):
            arguments.append(Argument(key))
            continue
        values, rest = _values(rest[1:])
        arguments.append(Argument(key, values))
    return command, tuple(arguments)


def _values(text: str) -> tuple[tuple[str, ...], str]:
    """The values after `key=`, and what follows them on the line."""
    if not text.startswith("("):
        value, _, rest = text.partition(" ")
        return (value,), rest
    values: list[str] = []
    depth = 0
    start = 1
    for at, char in enumerate(text):
        if char == "(":
            depth += 1
        elif char == "," and depth == 1:
            values.append(text[start:at].strip())
            start = at + 1
        elif char == ")":
            depth -= 1
            if depth == 0:
                values.append(text[start:at].strip())
                return (() if values == [""] else tuple(values)), text[at + 1 :]
    raise SyntaxFault(f"a list of values is never closed: {text}")

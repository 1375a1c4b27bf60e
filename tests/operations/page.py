"""The commands of a page: what is typed on which host, and what is printed then.

Reads console blocks whose prompts name a host (`h1$ …`, `admin$ …`), with `> ` before the further lines of a
command, and comments that tell what happens to a host in between (`<!-- h2 is lost -->`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

PROMPT = re.compile(r"(h\d|admin)\$ (.*)")
LOST = re.compile(r"<!-- (h\d) is lost -->")
ASKS = "to continue:"


class Step(Struct):
    """A command on a host and its output; without a command, the host is lost."""

    line: int
    host: str
    command: str = ""
    printed: list[str] = []

    @property
    def typed(self) -> str:
        """What is typed when the command asks."""
        asks = next((n for n, text in enumerate(self.printed) if text.endswith(ASKS)), None)
        return "" if asks is None else f"{self.printed[asks + 1]}\n"


def steps(page: Path) -> Iterator[Step]:
    step: Step | None = None
    inside = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if (lost := LOST.fullmatch(line)) is not None:
            yield Step(number, lost[1])
        if line.startswith("```"):
            inside = line == "```console"
            if step is not None:
                yield step
            step = None
        elif inside and (prompt := PROMPT.fullmatch(line)) is not None:
            if step is not None:
                yield step
            step = Step(number, prompt[1], prompt[2], [])
        elif step is not None and line.startswith(">"):
            step.command += "\n" + line[2:]
        elif step is not None:
            step.printed.append(line)


_ALIKE = (
    (re.compile(r"\b[0-9a-f]{12,}\b"), "HEX"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.+-]+Z?"), "TIME"),
    (re.compile(r"all is committed|\d+ of them may not have been committed, and are kept"), "COMMITTED"),
    (re.compile(r"\b(leader|follower|voter)\b(?! n)"), "ROLE"),
    (re.compile(r"\d+(\.\d+)?(ms|us|s|m)?\b"), "0"),
    (re.compile(r"\b(startup|timeout|transfer|seen)\b"), "REASON"),
    (re.compile(r" +"), " "),
)


def alike(text: str) -> str:
    """The line without what differs from run to run: numbers, times, who leads, keys."""
    for pattern, word in _ALIKE:
        text = pattern.sub(word, text)
    return text.strip()

"""The page on operations, followed to the letter on hosts of its own."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from raft.cluster.namespaces import NamespaceHosts, why_unavailable
from tests.operations.hosts import Hosts
from tests.operations.page import Step, alike, steps
from tests.processes.clusters import ROOT

PAGE = ROOT / "docs" / "operations.md"
TOKEN = re.compile(r"--token (\S+)")
PATIENCE_SECONDS = 30.0
_MISSING = why_unavailable()


def test_the_page_has_its_chapters() -> None:
    commands = " ".join(step.command for step in steps(PAGE))
    for verb in ("init", "keys rotate", "member replace", "backup save", "backup restore", "recover"):
        assert f"raft-actors {verb}" in commands


@pytest.mark.processes
@pytest.mark.skipif(bool(_MISSING), reason=f"no hosts of our own here: {_MISSING}")
def test_a_new_operator_who_follows_the_page_has_the_cluster_that_it_promises(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    tokens: dict[str, str] = {}
    with NamespaceHosts() as namespaces:
        hosts = Hosts(namespaces, tmp_path)
        try:
            for step in steps(PAGE):
                if step.command:
                    follow(hosts, step, tokens)
                else:
                    hosts.lose(step.host)
        finally:
            hosts.close()


def shows(printed: str, wanted: Sequence[str]) -> bool:
    """Are the lines those of the page, but for what differs from run to run?"""
    return [*map(alike, printed.splitlines())] == [*map(alike, wanted)]


def follow(hosts: Hosts, step: Step, tokens: dict[str, str]) -> None:
    """Type it, and compare what is printed with what the page shows."""
    where = f"{PAGE.name}:{step.line}: {step.host}$ {step.command}"
    command = TOKEN.sub(lambda found: f"--token {tokens[found[1]]}", step.command)
    code, printed = hosts.run(step.host, command, step.typed)
    until = time.monotonic() + PATIENCE_SECONDS
    while " status" in command and not shows(printed, step.printed) and time.monotonic() < until:
        code, printed = hosts.run(step.host, command)  # Who was heard just now still counts for a moment.
    assert code == 0, f"{where}\nended with {code}:\n{printed}"
    tokens.update(zip(TOKEN.findall("\n".join(step.printed)), TOKEN.findall(printed), strict=True))
    if step.typed:
        printed = printed.replace(step.typed, "", 1)  # The terminal's echo, wherever it comes.
    if " report" in command:
        return  # How many elections there were is a matter of luck.
    wanted = [line for line in step.printed if f"{line}\n" != step.typed]
    assert shows(printed, wanted), f"{where}\nprints:\n{printed}"

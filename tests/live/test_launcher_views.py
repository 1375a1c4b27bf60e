"""The views that `up` brings along: the page's address outlives a launcher, the terminal view does not."""

from __future__ import annotations

import os
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.processes.clusters import ROOT, running
from tests.processes.terminal import Terminal

pytestmark = pytest.mark.processes


def test_the_page_of_a_durable_cluster_has_the_same_address_after_a_restart(tmp_path: Path) -> None:
    urls = []
    for _ in range(2):
        with running(1, "--web", "--data-dir", str(tmp_path / "data")) as cluster:
            assert cluster.process.stderr is not None
            words, url = cluster.process.stderr.readline().split()
            assert words == "page:"
            with urllib.request.urlopen(url, timeout=120) as response:
                assert b"raft-actors" in response.read()
            urls.append(url)
    assert urls[0] == urls[1]


def test_up_with_top_shows_the_terminal_view_and_ends_with_it() -> None:
    command = [sys.executable, "launcher.py", "--nodes", "1", "--name", f"top-{os.getpid()}", "--top"]
    terminal = Terminal(
        command, {**os.environ, "TERM": "xterm-256color", "LINES": "24", "COLUMNS": "80"}, ROOT
    )
    try:
        terminal.expect("leads term")
        terminal.type("q")
        terminal.expect("0 safety violations")
        assert terminal.wait() == 0
    finally:
        terminal.close()

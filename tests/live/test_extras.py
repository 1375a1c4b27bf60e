"""What a verb of the live views says where the library that it needs is not installed."""

from __future__ import annotations

import importlib.util

import pytest

from raft.cli.verbs.observe import live
from raft.cluster.failures import VerbFailed


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ("web", r"starlette and uvicorn are not installed: pip install 'raft-actors\[web\]'"),
        ("top", r"textual is not installed: pip install 'raft-actors\[top\]'"),
    ],
)
def test_a_verb_says_which_extra_is_missing(monkeypatch: pytest.MonkeyPatch, extra: str, says: str) -> None:
    live.require(extra)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(VerbFailed, match=says):
        live.require(extra)

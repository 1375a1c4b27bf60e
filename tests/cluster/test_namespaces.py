"""Hosts that are network namespaces: where they cannot be had, and what was left behind."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from raft.cluster.namespaces import NAMED, NamespaceHosts, NoNamespaces, why_unavailable


def test_without_the_right_or_the_tools_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NoNamespaces, match="need root"):
        NamespaceHosts()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda tool: None if tool == "nft" else tool)
    with pytest.raises(NoNamespaces, match="need nft"):
        NamespaceHosts()


@pytest.mark.skipif(bool(why_unavailable()), reason=f"no hosts of our own here: {why_unavailable()}")
def test_what_a_killed_process_has_left_is_removed_and_nothing_is_left_behind() -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = f"raft-{dead.pid}-n1"
    subprocess.run(["ip", "netns", "add", left], check=True)
    with NamespaceHosts() as hosts:
        assert not (NAMED / left).exists()
        hosts.add(1)
        assert (NAMED / hosts.name(1)).exists()
    assert not (NAMED / hosts.name(1)).exists()

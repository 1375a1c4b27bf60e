"""What a fork server removes once its parent is gone."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from actors.processes import fork_server


def locked(path: Path) -> int:
    path.mkdir()
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def test_a_directory_is_removed_though_a_dying_process_lets_go_of_its_lock_a_moment_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    held = [locked(path)]
    monkeypatch.setattr(time, "sleep", lambda _seconds: os.close(held.pop()))
    fork_server.remove_unlocked(path)
    assert not path.exists()


def test_a_directory_that_stays_locked_is_left_to_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    held = locked(path)
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    fork_server.remove_unlocked(path)
    assert path.exists()
    os.close(held)

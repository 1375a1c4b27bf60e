"""The guided tour: every scene ends as its words say, on a real cluster."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from raft.live.tour import SCENES, Progress
from tests.cluster.test_command_line import VERBS

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_tour_has_eight_scenes_made_of_verbs_that_exist() -> None:
    assert len(SCENES) == 8
    verbs = {step.command.split()[0] for scene in SCENES for step in scene.steps}
    assert verbs <= {*VERBS, "member"}


@pytest.mark.processes
@pytest.mark.timeout(600)
def test_every_scene_of_the_tour_ends_as_it_says() -> None:
    done = subprocess.run(
        [sys.executable, "launcher.py", "tour", "--no-wait"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [f"{number}. {scene.title}" in done.stdout for number, scene in enumerate(SCENES, 1)] == [True] * 8
    assert "holds no seat" in done.stdout and "0 safety violations" in done.stdout


def test_a_tour_stands_still_until_the_page_or_the_terminal_asks_it_on() -> None:
    progress, signs = Progress(), iter([False, True])
    progress.begin(3, SCENES[2])
    progress.add("kill leader", "n1 killed", "")
    progress.wait(lambda: next(signs))
    assert (progress.scene.number, progress.scene.steps[0].said, progress.scene.waits) == (
        3,
        "n1 killed",
        False,
    )
    waiting = threading.Thread(target=progress.wait, args=(lambda: False,))
    waiting.start()
    while not progress.scene.waits:
        waiting.join(0.01)
    progress.asked_on.set()
    waiting.join(30)
    assert not waiting.is_alive()

"""What --dry-run says is what would be done, and nothing is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from raft.cluster.failures import ExitCode
from raft.cluster.rpc import messages
from tests.cluster.supervisor_lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    for node in made.cluster.nodes:
        made.bring_up(node)
    made.lead(1, 2)
    yield made
    made.journal.close()
    made.fork_server.close()


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        (messages.Kill("leader", dry_run=True), "would kill n1 (pid "),
        (messages.Kill("1", restart_after_seconds=2.0, dry_run=True), ", and start it again after 2s"),
        (messages.Kill("1", at="save.written", dry_run=True), "would kill n1 at save.written"),
        (messages.Stop("2", dry_run=True), "would stop n2 (pid "),
        (messages.Restart("2", dry_run=True), "would restart n2 (pid "),
        (messages.Restart("2", rolling=True, dry_run=True), "would restart n2, one after the other"),
        (messages.Pause("3", for_seconds=5.0, dry_run=True), " for 5s"),
        (messages.Partition(["1", "2"], dry_run=True), "would partition n1 | n2"),
        (messages.Isolate("leader", dry_run=True), "would isolate n1"),
        (messages.Link("1", "2", drop=0.1, dry_run=True), "would link n1 -> n2, drop 10%"),
        (messages.BreakDisk("1", full=True, dry_run=True), "would break the disk of n1, full"),
        (messages.SetClockRate("1", 2.0, dry_run=True), "would change n1, clock at 2 times its rate"),
        (messages.RemoveMember("2", dry_run=True), "would remove n2 from the cluster, and stop it"),
        (messages.ReplaceMember("2", dry_run=True), "give it the place of n2, and stop n2"),
        (messages.Down(dry_run=True), "would stop 3 nodes, and delete their data"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_a_dry_run_says_what_would_be_done_and_does_nothing(verb: object, said: str, lab: Lab) -> None:
    answer = lab.ask(verb)
    assert isinstance(answer, messages.Done), answer
    assert said in answer.lines[0]
    assert lab.states() == ["running"] * 3
    assert not lab.cluster.faults.active
    assert not any(lab.child(node).signals for node in (1, 2, 3))
    assert not lab.told("fault")
    assert len(lab.fork_server.children) == 3
    assert not lab.runtime.stopped


@pytest.mark.parametrize(
    ("verb", "exit_code"),
    [
        (messages.Kill("9", dry_run=True), ExitCode.USAGE),
        (messages.Partition(["1,2", "2,3"], dry_run=True), ExitCode.USAGE),
        (messages.Link("1", "1", drop=0.1, dry_run=True), ExitCode.USAGE),
        (messages.Kill("1", at="nowhere", dry_run=True), ExitCode.USAGE),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_dry_run_refuses_what_the_verb_would_refuse(verb: object, exit_code: ExitCode, lab: Lab) -> None:
    refused = lab.ask(verb)
    assert isinstance(refused, messages.Failed)
    assert refused.exit_code == exit_code

"""`check perf` with three real nodes: figures, a verdict, and nothing left of what it wrote."""

from __future__ import annotations

import pytest

from raft.cluster.failures import ExitCode
from tests.processes.shell import Shell, finish

pytestmark = pytest.mark.processes


def test_a_cluster_is_put_to_the_test_and_keeps_nothing_of_it() -> None:
    with Shell() as shell:
        up = shell.up("--nodes 3")
        shell.ok("leader --wait 60s")
        written = shell.run("check perf --duration 300ms --clients 4 --at-least 0 -o json")
        told = written.json
        assert told["v"] == 1
        assert (told["nodes"], told["clients"], told["size"], told["reads"]) == (3, 4, 16, False)
        assert told["operations"] > 0
        assert told["failed"] == 0
        assert 0 < told["p50_ms"] <= told["p90_ms"] <= told["p99_ms"] <= told["max_ms"]
        assert told["ok"] is (written.code == ExitCode.OK)
        assert written.err == ""

        read = shell.run("check perf --reads --duration 300ms --at-least 0").out.splitlines()
        assert " reads of 16 bytes by 16 clients" in read[0]
        assert {line[:6] for line in read[2:]} <= {"PASS  ", "FAIL  "}
        assert "PASS  0 of " in read[-1]

        too_slow = shell.run("check perf --duration 300ms --at-least 1000000000")
        assert too_slow.code == ExitCode.FAILURE
        assert "FAIL  throughput is " in too_slow.out
        assert "check-perf" not in shell.run("get check-perf/ --prefix").out
        assert finish(up).code == 0


def test_without_a_leader_the_check_says_so() -> None:
    with Shell() as shell:
        up = shell.up("--nodes 3")
        shell.ok("leader --wait 60s")
        shell.ok("put kept yes")
        shell.ok("kill 1,2")
        done = shell.run("check perf --duration 300ms")
        assert done.code in (ExitCode.NO_LEADER, ExitCode.UNREACHABLE, ExitCode.OUTCOME_UNKNOWN)
        assert done.out == ""
        assert done.err.startswith("error: ")
        assert finish(up).code == 0

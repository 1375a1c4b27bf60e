"""A new user's session with five real nodes, from the first command to Ctrl-C."""

from __future__ import annotations

import json

import pytest

from raft.cli.entry import HOMES
from tests.processes.shell import LAUNCHER, Shell, finish, until

pytestmark = pytest.mark.processes


def leads_now(shell: Shell) -> int:
    return int(shell.ok("leader --wait 60s"))


def test_five_nodes_are_started_watched_used_broken_mended_and_stopped() -> None:
    with Shell() as shell:
        up = shell.up("--nodes 5")
        look_and_use(shell)
        break_and_mend_nodes(shell)
        break_and_mend_links(shell)
        move_leadership(shell)
        read_what_happened(shell)
        verbs_import_what_they_need(shell)
        done = finish(up)
        assert done.code == 0, done.err
        lines = done.out.splitlines()
        assert any("5 nodes up, leader n" in line for line in lines)
        assert "safety violation" in lines[-1]
        assert list(shell.runtime.glob("*/*")) == []
        assert list(shell.temporary.iterdir()) == []


def look_and_use(shell: Shell) -> None:
    table = shell.ok("status").splitlines()
    assert "quorum 5/5, can lose 2" in table[0]
    assert table[1].split()[:4] == ["NODE", "PID", "ROLE", "TERM"]
    assert len(table) == 7
    assert shell.ok("put colour blue") == "OK"
    assert shell.ok("get colour") == "blue"
    assert shell.ok("get colour --stale") in ("blue", "")
    assert shell.run("get nothing").code == 7
    assert shell.ok("cas colour blue green") == "OK"
    assert shell.run("cas colour blue red").code == 5
    assert shell.ok("del colour") == "1"
    assert shell.ok("del colour") == "0"
    assert shell.ok("put kept yes") == "OK"


def break_and_mend_nodes(shell: Shell) -> None:
    first = leads_now(shell)
    assert shell.ok("kill leader").startswith(f"n{first} killed")
    second = leads_now(shell)
    assert second != first
    assert shell.ok("get kept") == "yes"
    assert shell.run(f"kill {first}").code == 1
    report = json.loads(shell.ok("report -o json"))
    assert (report["leaders"][-2]["ended"], report["leaders"][-1]["reason"]) == ("died", "leader-died")
    assert shell.ok(f"start {first}").startswith(f"n{first} started")

    assert shell.ok("pause leader").startswith(f"n{second} paused")
    until(lambda: leads_now(shell) != second)
    assert next(node for node in shell.status()["nodes"] if node["id"] == second)["state"] == "paused"
    assert shell.ok("resume all").startswith(f"n{second} resumed")
    until(lambda: all(node["leader"] for node in shell.status()["nodes"]))


def break_and_mend_links(shell: Shell) -> None:
    assert "n1 n2 | n3 n4 n5" in shell.ok("partition 1,2 3,4,5")
    until(lambda: not any(node["leader"] for node in shell.status()["nodes"][:2]))
    until(lambda: "cut off, though running: n1 n2" in shell.ok("status"))
    quorum = shell.status()["quorum"]
    assert (quorum["needed"], quorum["reachable"]) == (3, 3)
    refused = shell.run("put split minority --via 1,2 --timeout 1s")
    assert refused.code in (3, 11), refused
    assert shell.ok("put split majority") == "OK"
    assert "partition" in shell.ok("faults")
    assert "cleared" in shell.ok("heal")
    assert shell.ok("faults") == "no faults"
    until(lambda: all(node["leader"] for node in shell.status()["nodes"]))
    assert shell.ok("get split") == "majority"
    shell.ok("isolate all")
    until(lambda: "NO QUORUM 1/5, 3 needed, for" in shell.ok("status"))
    assert shell.status()["nodes"][0]["hears"] == []
    shell.ok("heal")
    until(lambda: shell.status()["quorum"]["reachable"] == 5)
    until(lambda: all(node["leader"] for node in shell.status()["nodes"]))
    assert "delay 20ms" in shell.ok("link leader followers --delay 20ms --jitter 5ms --drop 5%")
    assert "cleared" in shell.ok("faults clear")


def move_leadership(shell: Shell) -> None:
    before = leads_now(shell)
    to = before % 5 + 1
    assert shell.ok(f"transfer {to}").startswith(f"n{to} leads term")
    assert "leads term" in shell.ok("step-down")
    assert shell.run("transfer leader").code == 1


def read_what_happened(shell: Shell) -> None:
    assert "leader-elected" in shell.ok("logs --grep leader-elected -n 5")
    assert all(json.loads(line)["v"] == 1 for line in shell.ok("logs -n 20 -o json").splitlines())
    events = shell.events()
    assert [event["event"] for event in events].count("node-started") == 6
    assert events == sorted(events, key=lambda event: event["event"] and 0)
    terms = [event["term"] for event in events if event["event"] == "leader-elected"]
    assert len(set(terms)) == len(terms)
    assert not [event for event in events if event["event"] == "violation"]
    report = json.loads(shell.ok("report -o json"))
    assert [leader["term"] for leader in report["leaders"]] == sorted(terms)
    assert "ENDED" in shell.ok("report")


def verbs_import_what_they_need(shell: Shell) -> None:
    """One of each module, in an interpreter that has loaded nothing for the others."""
    lines = (
        "status", "report", "get kept", "timeline -o jsonl", "step-down", "faults", "txn --then 'get kept'",
    )  # fmt: skip
    started_by = HOMES["up"]
    assert {HOMES[line.split()[0]] for line in lines} == set(HOMES.values()) - {started_by}
    for line in (*lines, "health"):
        done = shell.run_in_new_interpreter(line)
        assert (done.code, done.err) == (0, ""), line


def test_the_prompt_takes_the_same_verbs_on_a_terminal() -> None:
    with Shell() as shell:
        terminal = shell.terminal("--nodes 3")
        terminal.expect("raft>")
        for typed, answer in (
            ("put a 1", "OK"),
            ("get a", "1"),
            ("kill leader", "LEADER"),
            ("start all", "started (pid"),
            ("frobnicate", "No such command"),
            ("help kill", "Example"),
            ("up", "another terminal"),
        ):
            terminal.type(typed + "\n")
            terminal.expect(answer)
            terminal.expect("raft>")
        watch = shell.at_terminal("status -w --interval 100ms")
        for text in ("\x1b[?1049h", "\x1b[H", "quorum 3/3", "\x1b[H", "quorum 3/3"):
            watch.expect(text)
        watch.type("\x03")
        watch.expect("\x1b[?1049l")
        assert watch.wait() == 130
        terminal.type("half a line\x03")
        terminal.type("chaos --duration 1s\n")
        terminal.expect("another terminal")
        terminal.type("python launcher.py get a\n")
        terminal.expect("1\r\n")
        terminal.expect("raft>")
        terminal.type("\x03")
        terminal.expect("delete its data? [y/N]")
        terminal.type("n\n")
        terminal.expect("raft>")
        assert shell.status()["alive"] == 3
        terminal.type("\x03\x03")
        terminal.expect("safety violation")
        assert terminal.wait() == 0


def test_the_terminal_is_given_back_as_it_was_when_the_cluster_ends_under_a_half_typed_line() -> None:
    with Shell() as shell:
        up = " ".join([*LAUNCHER, "--nodes 1"])
        terminal = shell.bash("")
        terminal.type(f"stty -a > before; TERM=xterm {up}; stty -a > after\n")
        terminal.expect("raft>")
        terminal.type("half")
        terminal.expect("half")
        shell.ok("down")
        terminal.expect("safety violation")
        until(lambda: (shell.home / "after").exists() and (shell.home / "after").read_text())
        assert (shell.home / "after").read_text() == (shell.home / "before").read_text()


def test_ctrl_z_gives_the_normal_screen_back_and_fg_the_other_one() -> None:
    with Shell() as shell:
        up = shell.up("--nodes 1")
        terminal = shell.bash(f"TERM=xterm {' '.join(LAUNCHER)} status -w --interval 50ms")
        terminal.expect("\x1b[?1049h")
        terminal.expect("quorum 1/1")
        terminal.type("\x1a")
        terminal.expect("\x1b[?1049l")
        terminal.expect("Stopped")
        terminal.type("fg\n")
        terminal.expect("\x1b[?1049h")
        terminal.expect("quorum 1/1")
        terminal.type("\x03")
        terminal.expect("\x1b[?1049l")
        terminal.type("exit\n")
        assert finish(up).code == 0

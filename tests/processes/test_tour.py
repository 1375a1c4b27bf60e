"""A tour of every verb, through pipes and on terminals of 80 and 120 columns.

What each verb does is tested elsewhere; here it is how it looks and how it ends.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from typer.main import get_command

from raft.cli.main import app
from tests.cluster.test_command_line import every_command
from tests.processes.shell import Shell
from tests.processes.verb_host import Answer
from tests.processes.verbs import verb_host

pytestmark = pytest.mark.processes

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Step(NamedTuple):
    """What is typed, how it ends, and some of what is said; `until` that is said it goes on by itself."""

    line: str
    code: int = 0
    says: str = ""
    until: str = ""
    wide: bool = False  # Its lines are as long as what they tell of.


LOOK = [
    Step("ls", says="CLUSTER  NODES"),
    Step("doctor", says="ok    clock", wide=True),
    Step("health", says="n3  ok"),
    Step("web", 130, until="http://127.0.0.1:"),
    Step("metrics --once", says='raft_node_up{cluster="', wide=True),
    Step("actors top --interval 200ms", says="HANDLER OF", wide=True),
    Step("actors trace n2 --seconds 200ms", says="OUTCOME", wide=True),
    Step("actors trace n9 --seconds 200ms", 1, "no process n9", wide=True),
    Step("status", says="quorum 3/3, can lose 1"),
    Step("status -w --interval 50ms", 130, until="quorum 3/3"),
    Step("leader"),
    Step("report", says="0 safety violations"),
    Step("report --time wall", says="0 safety violations"),
    Step("events --kind cluster-ready", says="3 nodes up"),
    Step("events -f -n 1", 130, until="s"),
    Step("logs -n 3", wide=True),
    Step("logs -f leader -n 1", 130, until="n", wide=True),
    Step("wal 1", says="hard-state", wide=True),
    Step("member list", says="ENDPOINT", wide=True),
    Step("faults", says="no faults"),
    Step("timeline -o jsonl", says='"event":"cluster-started"', wide=True),
]
STORE = [
    Step("put colour blue", says="OK"),
    Step("put a/1 1 -q"),
    Step("put a/2 2 --timeout 5", 2, "5ms or 5s"),
    Step("get colour", says="blue"),
    Step("get a/ --prefix", says="a/1\t1"),
    Step("get none", 7, "error: there is no key 'none'"),
    Step("get none/ --prefix", 7, "no key begins with 'none/'"),
    Step("cas colour blue green", says="OK"),
    Step("cas colour blue green", 5, "holds 'green'"),
    Step("txn --if colour=green --then 'get colour' --then 'del colour'", says="green"),
    Step("txn --if colour=green --then 'get colour' --else 'put colour x'", 5, "of --else were done"),
    Step("del a/ --prefix --dry-run", says="would delete a/1"),
    Step("del a/ --prefix", says="1"),
    Step("watch colour --revision 1", 130, until="put colour x"),
    Step("observe x", 130, until="REVISION EVENT"),
    Step("lease grant 30s"),
    Step("lease left 999999", 7, "there is no lease 999999"),
    Step("lease keep 999999 --once", 7, "there is no lease 999999"),
    Step("lease revoke 999999 --dry-run", 7, "there is no lease 999999"),
    Step("lock l -- true", says="is held with token"),
    Step("lock l -- nonsuch-program", 127, "nonsuch-program is not found"),
    Step("elect e -- false", 1),
    Step("check perf --duration 50ms --at-least 1", says="p50"),
    Step("tune --measure", says="--election-timeout"),
]
BREAK = [
    Step("kill 2 --dry-run", says="would kill n2"),
    Step("kill 2", says="n2 killed"),
    Step("kill 2", 1, "n2 is down"),
    Step("start all", says="n2 started"),
    Step("pause 3", says="n3 paused"),
    Step("resume all", says="n3 resumed"),
    Step("partition 1 2,3", says="n1 | n2 n3"),
    Step("isolate 1"),
    Step("link 1 2 --delay 1ms --drop 1% --both", says="n1 <-> n2"),
    Step("faults", says="partition"),
    Step("status", says="partition#"),
    Step("heal", says="cleared"),
    Step("disk 2 --fsync-delay 1ms", says="fsync +1ms"),
    Step("clock 2 --rate 1.1", says="clock at 1.1"),
    Step("faults clear", says="cleared"),
    Step("leader --wait 60s"),
    Step("snapshot all", says="n3 has a snapshot"),
    Step("transfer", says="leads term"),
    Step("step-down", says="leads term"),
    Step("member add --learner", says="joined as a learner"),
    Step("member promote NEW", says="promoted"),
    Step("member remove NEW", says="removed and stopped"),
    Step("member replace 1 --dry-run", says="the place of n1"),
    Step("stop 3", says="n3 stopped"),
    Step("restart 3", says="n3 restarted"),
    Step("kill 9", 2, "there is no node 9"),
    Step("nonsense", 2, "No such command 'nonsense'"),
]
ELSEWHERE = [
    Step("judge nowhere.jsonl", 2, "cannot be read"),
    Step("keys make KEYS --nodes 3", says="n1.toml", wide=True),
    Step("keys add shop --role client --dir KEYS", says="shop.toml", wide=True),
    Step("keys rotate n2 --dir KEYS", wide=True),
    Step("keys retire n2 --dir KEYS", wide=True),
    Step("keys remove shop --dir KEYS", wide=True),
    Step("keys list --dir KEYS", says="n2", wide=True),
    Step("keys list --dir nowhere", 1, "nowhere/allowed.toml cannot be read"),
    Step("backup save b80", says="everything up to entry"),
    Step("backup show b80", says="complete", wide=True),
    Step("backup restore b80 --data-dir restored", says="a new cluster of 3 nodes"),
    Step("init --data-dir host", says="start its node with --existing"),
    Step("recover --data-dir nowhere", 1, "there is no directory nowhere"),
    Step("member update 9 tcp://10.0.0.7:7001", 1, "node 9 is no member"),
    Step("render dashboard", says='"panels"', wide=True),
    Step("render alerts", says="RaftNoLeader", wide=True),
    Step("render systemd --members 1=tcp://10.0.0.1:7001", says="Type=notify", wide=True),
    Step("render kubernetes", says="StatefulSet", wide=True),
    Step("render containerfile", says="FROM", wide=True),
    Step("completion bash", says="complete -o default", wide=True),
    Step("simulate --seed 1 --duration 100ms --nodes 3", says="every check passed", wide=True),
    Step("chaos --nodes 99", 2, "99"),
    Step("up --nodes 0", 2, "1 to 64"),
]


class Tour:
    """A shell in which each step is typed."""

    def __init__(self, shell: Shell) -> None:
        self._env = {name: value for name, value in shell.env.items() if name not in ("COLUMNS", "NO_COLOR")}
        self._shell = shell

    def ask(self, line: str, columns: int, until: str = "") -> Answer:
        return verb_host().run(shlex.split(line), self._env, self._shell.home, columns, until)

    def take(self, step: Step, columns: int) -> None:
        """On a terminal that is so wide; if it is 0 wide, through pipes, and as JSON where there is any."""
        newest = max(int(path.name[1:]) for path in self._shell.temporary.glob("raft-actors-*/n[0-9]*"))
        line = step.line.replace("NEW", str(newest)).replace("KEYS", f"keys{columns}")
        as_json = not columns and not step.until and takes_output(line)
        answer = self.ask(f"{line} -o json" if as_json else line, columns, step.until)
        where = (line, columns, answer)
        said = ESCAPES.sub("", answer.out) + answer.err
        assert "Traceback" not in said, where
        assert answer.code == step.code or (step.until and not columns), where
        if as_json:
            assert [json.loads(row)["v"] for row in answer.out.splitlines() if row[-1] == "}"] or step.code, (
                where
            )
        else:
            assert step.says in said, where
        if not columns:
            assert "\x1b" not in answer.out + answer.err, where
        elif not step.wide:
            shown = [row for row in said.splitlines() if not row.startswith("error: ")]
            assert [row for row in shown if len(row) > columns] == [], where


def takes_output(line: str) -> bool:
    words = line.split()
    commands = dict(every_command(get_command(app)))
    command: Any = commands.get(" ".join(words[:2])) or commands.get(words[0])
    known = [] if command is None else [one.name for one in command.params]
    return "output" in known and words[0] != "timeline"


@pytest.fixture(scope="module")
def tour() -> Iterator[Tour]:
    with Shell() as shell:
        shell.up("--nodes 3 --election-timeout 150ms-300ms")
        tour = Tour(shell)
        yield tour
        assert "stopping 3 nodes" in tour.ask("down", 80).out


WHOLE_SCREEN = {"top", "tour"}  # Typed in tests/live.
STEPS = [*LOOK, *STORE, *BREAK, *ELSEWHERE]
IN_PIPES = [*LOOK, *STORE, *BREAK[:4], *BREAK[-2:]]  # The others print as these do.


@pytest.mark.parametrize(
    ("columns", "steps"), [(80, STEPS), (120, LOOK), (0, IN_PIPES)], ids=["80", "120", "pipe"]
)
def test_every_verb_looks_well_on_a_terminal_and_is_json_in_a_pipe(
    columns: int, steps: list[Step], tour: Tour
) -> None:
    for step in steps:
        tour.take(step, columns)


def test_a_value_moves_no_terminal_s_cursor_and_goes_through_a_pipe_as_it_is(tour: Tour) -> None:
    value = "one\ttwo\nthree\x1b[31m"
    for line in (shlex.join(["put", "bad", value]), shlex.join(["put", "bad/1", value])):
        assert tour.ask(line, 0).code == 0
    for line in ("get bad", "get bad/ --prefix", "txn --then 'get bad'"):
        assert "one\ttwo\r\nthree\\x1b[31m\r\n" in tour.ask(line, 80).out, line
        assert f"{value}\n" in tour.ask(line, 0).out, line


def test_the_tour_leaves_no_verb_out() -> None:
    commands = [name for name, command in every_command(get_command(app)) if not hasattr(command, "commands")]
    lines = [*(step.line for step in STEPS), "down", *WHOLE_SCREEN]
    assert [name for name in commands if not any(f"{line} ".startswith(f"{name} ") for line in lines)] == []

"""Verbs on nodes that no launcher here has started: by their endpoints, from wherever these are given."""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from actors.transport.curve import Grant, generate
from raft.cli import remote, remote_records
from raft.cli.app import Remote, Session, run_verb
from raft.cli.main import VERB_MODULES
from raft.cli.remote import NOT_ALLOWED
from raft.cli.remote_records import RemoteRecords
from raft.cluster.failures import ExitCode
from raft.node.config import NodeConfig
from tests.client.nodes import Nodes
from tests.processes.clusters import wait_until

pytestmark = pytest.mark.processes


class Said(NamedTuple):
    out: str
    err: str


Verb = Callable[..., Said]


@pytest.fixture(scope="module")
def running() -> Iterator[Nodes]:
    with tempfile.TemporaryDirectory(prefix="re") as name:
        nodes = Nodes(Path(name))
        yield nodes
        nodes.server.close()


@pytest.fixture
def nodes(running: Nodes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Nodes:
    """Three nodes; nothing of the environment or of a file names others."""
    for variable in ("RAFT_ENDPOINTS", "RAFT_CLUSTER", "RAFT_KEYS", "RAFT_CLUSTER_ID", "RAFT_CONTEXT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(remote, "STATUS_SECONDS", 3.0)  # Of a node that is dead, all of it.
    running.revive()
    return running


@pytest.fixture
def verb(capsys: pytest.CaptureFixture[str]) -> Verb:
    """Carries a verb out in this process; it has to end with `code`."""
    assert VERB_MODULES, "all verbs are there"

    def carry(*words: str, code: int = 0) -> Said:
        capsys.readouterr()
        ended = run_verb(words, Session())
        said = Said(*capsys.readouterr())
        assert ended == code, (words, ended, said)
        return said

    return carry


def some(nodes: Nodes, *chosen: int) -> tuple[str, str]:
    return "--endpoints", ",".join(f"{node}={nodes.endpoints[node]}" for node in chosen)


def test_one_endpoint_is_enough_to_see_all_members(nodes: Nodes, verb: Verb) -> None:
    def status() -> Any:
        return json.loads(verb("status", *some(nodes, 2), "-o", "json").out)

    wait_until(lambda: status()["leader"] == int(verb("leader", "--wait", "60s", *some(nodes, 2)).out))
    told = status()
    assert [node["id"] for node in told["nodes"]] == [1, 2, 3]
    assert told["voters"] == 3
    listed = json.loads(verb("member", "list", *some(nodes, 2), "-o", "json").out)
    assert {member["id"]: member["endpoint"] for member in listed["members"]} == nodes.endpoints
    assert [line.split()[1] for line in verb("health", *some(nodes, 3)).out.splitlines()] == ["ok"] * 3


def test_a_node_that_cannot_be_reached_has_its_row(nodes: Nodes, verb: Verb) -> None:
    verb("leader", "--wait", "60s", *some(nodes, 1))
    nodes.kill(3)
    told: dict[str, Any] = {}

    def two_have_a_leader() -> bool:
        told.update(json.loads(verb("status", *some(nodes, 1, 3), "-o", "json").out))
        return bool(told["leader"])

    wait_until(two_have_a_leader)
    states = {node["id"]: node["state"] for node in told["nodes"]}
    assert states == {1: "running", 2: "running", 3: "unreachable"}
    assert (told["quorum"]["needed"], told["quorum"]["reachable"], told["can_lose"]) == (2, 2, 0)
    assert "unreachable" in verb("status", *some(nodes, 1)).out
    assert "n3" in verb("health", "--timeout", "500ms", *some(nodes, 1), code=ExitCode.UNREACHABLE).out


def test_the_store_leases_locks_and_backups_work(nodes: Nodes, verb: Verb, tmp_path: Path) -> None:
    at = some(nodes, 1, 2)
    assert verb("put", "colour", "blue", *at).out == "OK\n"
    assert verb("get", "colour", *at).out == "blue\n"
    verb("cas", "colour", "red", "green", *at, code=ExitCode.REJECTED)
    assert verb("txn", "--if", "colour=blue", "--then", "put colour green", *at).out == "OK\n"
    lease = verb("lease", "grant", "30s", *at).out.strip()
    verb("lease", "revoke", lease, *at)
    assert "is held with token" in verb("lock", "work", *at, "--", "true").err
    assert "is held with token" in verb("elect", "boss", *at, "--", "true").err
    assert "up to entry" in verb("backup", "save", str(tmp_path / "b"), *at).out
    assert verb("del", "colour", *at).out == "1\n"


def test_leadership_is_moved_and_snapshots_are_taken(nodes: Nodes, verb: Verb) -> None:
    at = some(nodes, 1, 2, 3)
    leader = int(verb("leader", "--wait", "60s", *at).out)
    follower = leader % 3 + 1
    assert verb("transfer", str(follower), *at).out.startswith(f"n{follower} leads term")
    assert "leads already" in verb("transfer", "leader", *at, code=ExitCode.FAILURE).err
    assert f", after n{follower}" in verb("step-down", *at).out
    lines = verb("snapshot", "all", *at).out.splitlines()
    assert [line.split()[0] for line in lines] == ["n1", "n2", "n3"]


def test_members_are_added_moved_and_removed_by_their_endpoints(nodes: Nodes, verb: Verb) -> None:
    at = some(nodes, 1, 2, 3)
    assert "is started with --join" in verb("member", "add", *at, code=ExitCode.USAGE).err
    elsewhere = f"ipc://{nodes.directory}/n4"
    added = verb("member", "add", f"4={elsewhere}", "--learner", *at)
    assert added.out.startswith("n4 joined as a learner: 3 voters")
    verb("member", "update", "4", f"{elsewhere}b", *at)
    listed = json.loads(verb("member", "list", *at, "-o", "json").out)
    assert {member["id"]: member["endpoint"] for member in listed["members"]}[4] == f"{elsewhere}b"
    assert verb("member", "remove", "4", "--dry-run", *at).out.startswith("would remove n4")
    assert verb("member", "remove", "4", *at).out.startswith("n4 removed: 3 voters")


@pytest.mark.parametrize(
    "words", ["kill 1", "pause leader", "partition 1 2,3", "disk 1 --full", "stop all", "down"]
)
def test_what_only_a_launcher_does_is_refused_and_the_nodes_are_not_asked(
    nodes: Nodes, verb: Verb, words: str
) -> None:
    assert NOT_ALLOWED in verb(*words.split(), *some(nodes, 1), code=ExitCode.FAILURE).err


@pytest.mark.parametrize("words", ["wal leader", "timeline -o jsonl"])
def test_what_a_launcher_has_written_is_not_looked_for(nodes: Nodes, verb: Verb, words: str) -> None:
    assert "no launcher runs these nodes" in verb(*words.split(), *some(nodes, 1), code=ExitCode.FAILURE).err


def test_events_and_leaders_are_what_the_nodes_tell(nodes: Nodes, verb: Verb) -> None:
    at = some(nodes, 2)
    leader = int(verb("leader", "--wait", "60s", *at).out)
    told = [json.loads(line) for line in verb("events", *at, "-o", "jsonl").out.splitlines()]
    assert {event["node"] for event in told} == {1, 2, 3}
    assert [event["wall"] for event in told] == sorted(event["wall"] for event in told)
    [elected] = [event for event in told if event["event"] == "leader-elected"][-1:]
    assert (elected["node"], elected["voters"]) == (leader, 3)
    votes = [event for event in told if event["event"] == "vote-granted"]
    assert leader in {vote["candidate"] for vote in votes}
    only = verb("events", *at, "--node", str(leader), "--kind", "leader-elected", "-n", "1").out
    assert f"n{leader}" in only and "leader-elected" in only and only.count("\n") == 1
    assert (
        "'node-exited' is not a kind of event"
        in verb("events", *at, "--kind", "node-exited", code=ExitCode.USAGE).err
    )
    report = json.loads(verb("report", *at, "-o", "json").out)
    last = report["leaders"][-1]
    assert (last["node"], last["term"], last["ended"]) == (leader, elected["term"], None)
    assert (report["violations"], report["unreachable"]) == ([], [])
    assert "0 safety violations" in verb("report", *at).out


def test_lines_of_logs_are_those_that_the_nodes_remember(nodes: Nodes, verb: Verb) -> None:
    at = some(nodes, 1)
    leader = verb("leader", "--wait", "60s", *at).out.strip()
    lines = verb("logs", "leader", *at, "--grep", "leader-elected", "-n", "1").out.splitlines()
    assert len(lines) == 1 and f"n{leader}" in lines[0] and "leads term" in lines[0]
    [raw] = verb("logs", leader, *at, "--grep", "node-started", "-n", "1", "-o", "raw").out.splitlines()
    assert json.loads(raw)["node"] == f"n{leader}"
    assert verb("logs", *at, "--level", "error").out == ""


def test_a_node_that_tells_nothing_has_its_line_and_what_others_saw_of_it_is_told(
    nodes: Nodes, verb: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_records, "STATUS_SECONDS", 3.0)
    leader = int(verb("leader", "--wait", "60s", *some(nodes, 1)).out)
    other = leader % 3 + 1
    nodes.kill(leader)
    at = some(nodes, other)
    after = int(verb("leader", "--wait", "60s", *at).out)
    _, line = verb("events", *at, "-n", "1").out.splitlines()
    assert f"n{leader}" in line and "unreachable" in line
    report = json.loads(verb("report", *at, "-o", "json").out)
    assert report["unreachable"] == [leader]
    before, last = report["leaders"][-2:]
    assert (before["node"], before["reason"], before["votes"], before["ended"]) == (leader, "seen", 0, "died")
    assert (last["node"], last["ended"]) == (after, None)
    assert f"n{leader} tells nothing" in verb("report", *at).out


def test_the_times_of_nodes_are_measured_and_what_suits_them_is_named(nodes: Nodes, verb: Verb) -> None:
    at = some(nodes, 1)
    verb("leader", "--wait", "60s", *at)
    measured = json.loads(verb("tune", "--measure", *at, "-o", "json").out)
    assert {int(node): sorted(map(int, peers)) for node, peers in measured["round_trip_seconds"].items()} == {
        1: [2, 3],
        2: [1, 3],
        3: [1, 2],
    }
    assert measured["not_measured"] == {}
    assert all(seconds > 0.0 for seconds in measured["fsync_seconds"].values())
    assert measured["heartbeat_seconds"] >= 0.05
    nodes.kill(3)
    said = verb("tune", "--measure", *some(nodes, 1, 2))
    assert "n3 was not measured: down" in said.err
    assert "--heartbeat " in said.out and "[up]" in said.out and "TO n2" in said.out
    verb("get", "tune/", "--prefix", *at, code=ExitCode.NOT_FOUND)


def test_given_times_need_no_cluster_and_contradictions_are_refused(verb: Verb) -> None:
    out = verb("tune", "--rtt", "80ms", "--fsync", "5ms").out
    assert out.splitlines()[0] == "--heartbeat 80ms --election-timeout 1s-2s"
    assert "--measure" in verb("tune", code=ExitCode.USAGE).err
    assert "--measure" in verb("tune", "--measure", "--rtt", "1ms", code=ExitCode.USAGE).err


def test_what_is_new_is_told_once_and_a_node_that_comes_back_begins_anew(nodes: Nodes) -> None:
    cluster = Session(remote=Remote(endpoints=some(nodes, 1)[1])).remote_cluster()
    with RemoteRecords(cluster, log=False) as records:
        first = records.look()
        assert first.events and first.remarks == []
        wait_until(lambda: records.look(0.5).events == [])
        follower = next(node for node in (2, 3) if node != records.leader)
        nodes.kill(follower)
        gone = records.look(0.5)
        assert [(remark.node, remark.event) for remark in gone.remarks] == [(follower, "unreachable")]
        assert {(event.kind, event.values["peer"]) for _, event in gone.events} == {("peer-down", follower)}
        assert records.look(0.5).remarks == [], "that is said once"
        nodes.start(follower)
        back = records.look(5.0)
        assert [(remark.node, remark.event) for remark in back.remarks] == [(follower, "answers")]
        assert next(event for node, event in back.events if node == follower).kind == "node-started"
        assert records.unreachable == []


def test_other_clusters_and_other_nodes_are_named(nodes: Nodes, verb: Verb) -> None:
    verb("leader", "--wait", "60s", *some(nodes, 1))
    said = verb("status", *some(nodes, 1), "--cluster-id", "other", code=ExitCode.UNREACHABLE).err
    assert "n1 of cluster 'default' listens at" in said
    wrong = ("--endpoints", f"2={nodes.endpoints[1]}")
    said = verb("status", *wrong, code=ExitCode.UNREACHABLE).err
    assert f"n1 listens at {nodes.endpoints[1]}, not n2 of cluster 'default'" in said


def test_endpoints_come_from_the_environment_and_the_command_line_counts_more(
    nodes: Nodes, verb: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAFT_ENDPOINTS", some(nodes, 1)[1])
    verb("leader", "--wait", "60s")
    assert "'nope' is running" in verb("status", "--cluster", "nope", code=ExitCode.UNREACHABLE).err
    monkeypatch.setenv("RAFT_CLUSTER", "nope")
    verb("status")
    monkeypatch.setenv("RAFT_CLUSTER_ID", "other")
    verb("status", code=ExitCode.UNREACHABLE)
    verb("status", "--cluster-id", "default")


def test_a_name_that_leads_nowhere_is_named(nodes: Nodes, verb: Verb, tmp_path: Path) -> None:
    generate(tmp_path / "keys", ["n1", "client"])
    words = ("--endpoints", "1=tcp://no.such.host.invalid:7001", "--keys", str(tmp_path / "keys/client.toml"))
    said = verb("status", *words, code=ExitCode.UNREACHABLE).err
    assert "n1: the name no.such.host.invalid cannot be resolved" in said
    said = verb("get", "k", *words, "--timeout", "500ms", code=ExitCode.UNREACHABLE).err
    assert "Are they up, n1 at tcp://no.such.host.invalid:7001" in said


def test_a_context_is_a_table_in_a_file(nodes: Nodes, verb: Verb, tmp_path: Path) -> None:
    file = tmp_path / "raft-actors.toml"
    file.write_text(
        f'context = "here"\n[contexts.here]\nendpoints = "{some(nodes, 1)[1]}"\ncluster-id = "default"\n'
        f'[contexts.other]\nendpoints = "{some(nodes, 1)[1]}"\ncluster-id = "other"\n'
    )
    verb("leader", "--wait", "60s")
    verb("status", "--context", "other", code=ExitCode.UNREACHABLE)
    said = verb("status", "--context", "third", code=ExitCode.USAGE).err
    assert "there is no context 'third': there are here, other" in said
    file.write_text('[contexts.here]\nendpoint = "1=ipc:///x"\n')
    said = verb("status", "--context", "here", code=ExitCode.USAGE).err
    assert "raft-actors.toml:2: 'endpoint' is not known in [contexts.here]: did you mean endpoints?" in said


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--endpoints", "1"], "is not a node's endpoint"),
        (["--endpoints", "0=ipc:///a"], "is not a node's endpoint"),
        (["--endpoints", "1=http://h1"], "an endpoint is ipc:///absolute/path or tcp://host:port"),
        (["--endpoints", "1=tcp://127.0.0.1:99999"], "not a number up to 65535"),
        (["--endpoints", "1=tcp://h1:7001"], "needs CURVE keys"),
        (["--endpoints", "1=ipc:///a,1=ipc:///b"], "given twice"),
        (["--endpoints", "1=ipc:///a", "--cluster", "c"], "choose one"),
        (["--endpoints", "1=ipc:///a", "--context", "c"], "choose one"),
        (["--keys", "/no/such/key"], "goes with --endpoints"),
        (["--endpoints", "1=ipc:///a", "--keys", "/no/such/key"], "/no/such/key"),
    ],
)
def test_words_that_contradict_each_other_are_refused(
    nodes: Nodes, verb: Verb, words: list[str], reason: str
) -> None:
    assert reason in verb("status", *words, code=ExitCode.USAGE).err


@pytest.fixture
def keyed(nodes: Nodes, tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """A node on its own that only keys are heard by; the words that name it."""
    generate(
        tmp_path / "keys",
        ["n1", "n2", "client", "watcher", "bound"],
        {"watcher": Grant("reader"), "bound": Grant("reader", "app/")},
    )
    endpoint = f"ipc://{tmp_path}/k1"
    config = NodeConfig(
        first_start=True,
        node=1,
        listen=endpoint,
        data_dir=str(tmp_path / "data"),
        keys=str(tmp_path / "keys" / "n1.toml"),
        log_path=str(tmp_path / "n1.log"),
    )
    child = nodes.server.spawn("raft.node.process.main:main", config.encode(), log_path=tmp_path / "out")
    child.wait_started(10)
    yield ("--endpoints", f"1={endpoint}")
    child.kill(signal.SIGKILL)
    child.wait(60)


def test_nodes_with_keys_answer_those_who_have_one_and_do_for_each_what_its_role_allows(
    keyed: tuple[str, ...], verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "STATUS_SECONDS", 5.0)
    client = ("--keys", str(tmp_path / "keys" / "client.toml"))
    verb("leader", "--wait", "60s", *keyed, *client)
    assert "leader n1" in verb("status", *keyed, *client).out
    verb("put", "k", "v", *keyed, *client)
    verb("backup", "save", str(tmp_path / "b"), *keyed, *client)
    reader = ("--keys", str(tmp_path / "keys" / "watcher.toml"))
    assert verb("get", "k", *keyed, *reader).out == "v\n"
    assert "leader-elected" in verb("events", *keyed, *reader).out
    assert "leader-elected" in verb("logs", *keyed, *reader).out
    for words, lacks in (
        (["backup", "save", str(tmp_path / "c")], "take a backup: that needs the role operator"),
        (["put", "k", "w"], "only read: to write needs the role client"),
        (["transfer"], "move leadership: that needs the role operator"),
        (["snapshot", "all"], "order a snapshot: that needs the role operator"),
        (["member", "remove", "1"], "change the members: that needs the role operator"),
    ):
        refused = verb(*words, *keyed, *reader, code=ExitCode.NOT_ALLOWED).err
        assert (
            f"the key of watcher has the role reader, which may {'' if 'only' in lacks else 'not '}{lacks}"
            in refused
        )
    assert not (tmp_path / "c").exists()
    monkeypatch.setattr(remote, "STATUS_SECONDS", 3.0)  # Of a node that is dead, all of it.
    another = ("--endpoints", keyed[1].replace("1=", "2="))
    said = verb("status", *another, *client, code=ExitCode.UNREACHABLE).err
    assert "n2: " in said
    bound = ("--keys", str(tmp_path / "keys" / "bound.toml"))
    said = verb("health", *keyed, *bound, code=ExitCode.NOT_ALLOWED).err
    assert "the key of bound has the role reader, which is bound to what is below 'app/'" in said
    assert "do they need no key (--keys)?" in verb("status", *keyed, code=ExitCode.UNREACHABLE).err


def test_nodes_to_connect_to_are_named_by_their_ids(nodes: Nodes, verb: Verb) -> None:
    done = verb("get", "k", "--via", "leader", *some(nodes, 1), code=ExitCode.USAGE)
    assert "--via leader: name nodes by their ids" in done.err

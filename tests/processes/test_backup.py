"""A backup of real nodes under load, a cluster made of it, and one that is left of a cluster."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from actors.transport.curve import generate
from raft.cli.app import Session, run_verb
from raft.cli.main import VERB_MODULES
from raft.cli.verbs.cluster import data_directory
from raft.client import Client, ClientError, Unreachable
from raft.client.survey import ask_each
from raft.node.config import EXIT_REFUSED
from raft.protocol.client import WhoLeads
from raft.storage.backup import read_backup
from tests.backup.saved import save
from tests.node.cluster import Cluster as Simulated
from tests.processes.clusters import PATIENCE_SECONDS, ROOT, running

pytestmark = pytest.mark.processes


class Said(NamedTuple):
    """What a verb has printed."""

    stdout: str
    stderr: str


Launcher = Callable[..., Said]


@pytest.fixture
def launcher(capsys: pytest.CaptureFixture[str]) -> Launcher:
    """Carries a verb out, in this process; it has to end with `code`."""

    assert VERB_MODULES, "all verbs are there"

    def carry(*words: str, code: int = 0) -> Said:
        ended = run_verb(words, Session())
        said = Said(*capsys.readouterr())
        assert ended == code, (words, ended, said)
        return said

    return carry


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A backup of a simulated cluster."""
    cluster = Simulated(3)
    cluster.elect()
    cluster.put(cluster.leaders()[0], b"k", b"v")
    save(cluster, 1, tmp_path / "b")
    return tmp_path / "b"


class Load:
    """Writes numbers, one after another, and remembers the last that was acknowledged."""

    def __init__(self, client: Client) -> None:
        self.acknowledged = 0
        self._client = client
        self._over = threading.Event()
        self._some = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._some.wait(PATIENCE_SECONDS)

    def _run(self) -> None:
        while not self._over.is_set():
            number = self.acknowledged + 1
            self._client.put(f"n{number}", f"{number}" * 50)
            self.acknowledged = number
            if number == 50:
                self._some.set()

    def end(self) -> None:
        self._over.set()
        self._thread.join()


class Nodes:
    """Nodes on their own, of a cluster named "new", each in a directory that is there already."""

    def __init__(self, directory: Path, count: int) -> None:
        self.directory = directory
        self.at = {node: f"ipc://{directory}/s{node}" for node in range(1, count + 1)}
        self.running: dict[int, subprocess.Popen[str]] = {}

    def start(self, node: int, *others: int) -> subprocess.Popen[str]:
        words = ["--id", str(node), "--listen", self.at[node], "--data-dir", str(self.directory / f"{node}")]
        for other in others:
            words += ["--peer", f"{other}={self.at[other]}"]
        command = [sys.executable, "-m", "raft.node", "--existing", "--cluster", "new", *words]
        self.running[node] = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        return self.running[node]

    def end(self, *nodes: int) -> None:
        for node in nodes:
            process = self.running.pop(node)
            process.terminate()
            process.communicate(timeout=PATIENCE_SECONDS)

    def client(self, *nodes: int) -> Client:
        known = {node: self.at[node] for node in nodes}
        return Client(known, cluster="new", timeout_seconds=PATIENCE_SECONDS)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    nodes = Nodes(tmp_path, 3)
    yield nodes
    nodes.end(*nodes.running)


def test_all_that_was_acknowledged_before_a_save_under_load_is_in_the_cluster_made_of_it(
    tmp_path: Path, launcher: Launcher
) -> None:
    file, data = str(tmp_path / "b"), str(tmp_path / "data")
    with running(3) as cluster, cluster.client() as client:
        load = Load(client)
        before = load.acknowledged
        launcher("backup", "save", file, "--via", "2", "--cluster", cluster.name)
        load.end()
        again = launcher("backup", "save", file, "--cluster", cluster.name, code=1)
        assert "--force" in again.stderr
    shown = json.loads(launcher("backup", "show", file, "-o", "json").stdout)
    assert shown["voters"] == [1, 2, 3]
    launcher("backup", "restore", file, "--data-dir", data)
    refused = launcher("backup", "restore", file, "--data-dir", data, code=2)
    assert "choose a new directory" in refused.stderr
    with running(3, "--data-dir", data) as cluster, cluster.client() as client:
        found = {item.key: item.value for item in client.items(b"n")}
        for number in range(1, before + 1):
            assert found.pop(b"n%d" % number) == f"{number}".encode() * 50
        # What was written meanwhile is in it up to some write, and nothing after that.
        assert sorted(int(key[1:]) for key in found) == list(range(before + 1, before + 1 + len(found)))
        assert before + len(found) <= load.acknowledged + 1
        assert client.put("new", "1") > shown["index"] + 1_000_000_000


def test_a_torn_backup_makes_no_cluster(file: Path, tmp_path: Path, launcher: Launcher) -> None:
    file.write_bytes(file.read_bytes()[:-1])
    refused = launcher("backup", "restore", str(file), "--data-dir", str(tmp_path / "data"), code=1)
    assert "is damaged" in refused.stderr
    assert not (tmp_path / "data").exists()
    assert "is damaged" in launcher("backup", "show", str(file), code=1).stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--node-id", "4"], "node 4 is none of the members"),
        (["--node-id", "1", "--members", "1=tcp"], "is not a node's endpoint"),
        (["--node-id", "1", "--members", "1=ipc:///a,1=ipc:///b"], "given twice"),
        (["--node-id", "1", "--token", "1-ab"], "no token for this backup"),
        (["--token", "7-ab"], "go with --node-id"),
        (["--nodes", "3", "--node-id", "1"], "for a whole cluster"),
        (["--nodes", "0"], "1 to 64 nodes"),
    ],
)
def test_a_restore_that_makes_no_sense_changes_nothing(
    file: Path, tmp_path: Path, launcher: Launcher, words: list[str], reason: str
) -> None:
    refused = launcher("backup", "restore", str(file), "--data-dir", str(tmp_path / "data"), *words, code=2)
    assert reason in refused.stderr
    assert not (tmp_path / "data").exists()


def test_nodes_on_their_own_are_made_of_one_backup_by_one_token(
    nodes: Nodes, file: Path, tmp_path: Path, launcher: Launcher
) -> None:
    members = f"1={nodes.at[1]},2={nodes.at[2]}"
    common = ["backup", "restore", str(file), "--members", members, "--cluster-id", "new"]
    common += ["-o", "json", "--node-id"]
    first = json.loads(launcher(*common, "1", "--data-dir", str(tmp_path / "1")).stdout)
    second = launcher(*common, "2", "--data-dir", str(tmp_path / "2"), "--token", first["token"])
    assert json.loads(second.stdout)["identity"] == first["identity"]
    assert first["identity"] != read_backup(file).head.identity
    nodes.start(1, 2)
    nodes.start(2, 1)
    with nodes.client(1, 2) as client:
        assert client.get("k") == b"v"
        assert client.leader().identity == first["identity"]


def test_a_node_that_is_left_becomes_a_cluster_only_when_the_majority_is_lost(
    nodes: Nodes,
    tmp_path: Path,
    launcher: Launcher,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.setattr(data_directory, "ASK_SECONDS", 0.6)
    for node in (1, 2, 3):
        launcher("init", "--data-dir", str(tmp_path / f"{node}"))
    for node in (1, 2, 3):
        nodes.start(node, *({1, 2, 3} - {node}))
    own = ["recover", "--data-dir", str(tmp_path / "1")]
    peers = ["--peers", f"2={nodes.at[2]},3={nodes.at[3]}"]
    old = Client({1: nodes.at[1]}, cluster="new", timeout_seconds=10.0)
    request.addfinalizer(old.close)
    with nodes.client(1, 2, 3) as client:
        client.put("k", "v")
        assert old.get("k") == b"v"
        assert "in use by another process" in launcher(*own, "--yes", code=1).stderr
        nodes.end(1)
        client.put("k", "w")  # Node 1 does not get this.
    assert "the endpoint of n2 is not in this directory" in launcher(*own, "--yes", code=2).stderr
    refused = launcher(*own, *peers, "--yes", code=1).stderr
    assert "a majority is alive: n1, n2, n3" in refused
    assert "Start n1 as it is" in refused
    nodes.running[2].send_signal(signal.SIGSTOP)  # It may go on at any time.
    refused = launcher(*own, *peers, "--yes", code=1).stderr
    assert "whether n2 lives cannot be told: something listens at" in refused
    nodes.running[2].send_signal(signal.SIGCONT)
    nodes.end(2)
    far = ["--peers", "2=tcp://192.0.2.1:7001,3=tcp://192.0.2.1:7002"]
    assert "it needs CURVE keys" in launcher(*own, *far, "--yes", code=1).stderr
    nowhere = ["--peers", f"2=tcp://no-such-name.invalid:7001,3={nodes.at[3]}", "--keys", some_key(tmp_path)]
    assert "leads nowhere from here" in launcher(*own, *nowhere, "--yes", code=1).stderr
    refused = launcher(*own, *peers, "--yes", code=1).stderr
    assert "n2 does not answer" in refused
    assert "a majority is alive: n1, n3" in refused
    nodes.end(3)
    assert "confirm it by --yes" in launcher(*own, *peers, code=2).stderr
    done = launcher(*own, "--lost", "2,n3", "--yes")
    assert "the lost members must never run on their old data" in done.stderr
    nodes.start(1)
    with nodes.client(1) as client:
        assert client.get("k") == b"v"
        with pytest.raises(Unreachable):  # By a client of before.
            old.get("k", timeout_seconds=2.0)
        # A lost member comes back on its old data: it is not heard, and not added.
        nodes.start(2, 1, 3)
        ask_each({2: nodes.at[2]}, WhoLeads(), cluster="new", timeout_seconds=PATIENCE_SECONDS)  # It is up.
        # Which of the two is said depends on whether it has been heard of before it is asked for.
        refusal = "a node with a history of its own cannot be added|is not heard here"
        with pytest.raises(ClientError, match=refusal):
            client.add_member(2, nodes.at[2])
        client.put("k", "x")


def some_key(directory: Path) -> str:
    generate(directory / "keys", ["client"])
    return str(directory / "keys" / "client.toml")


def test_a_node_does_not_start_on_a_recovery_that_was_interrupted(nodes: Nodes, tmp_path: Path) -> None:
    (tmp_path / "1").mkdir(mode=0o700)
    (tmp_path / "1" / ".unfinished").write_text("prepare")
    _, said = nodes.start(1).communicate(timeout=PATIENCE_SECONDS)
    assert nodes.running.pop(1).returncode == EXIT_REFUSED
    assert "run that verb again" in said


def test_the_directory_of_a_cluster_is_recovered_only_when_most_of_it_is_lost(
    tmp_path: Path, launcher: Launcher
) -> None:
    data = tmp_path / "data"
    with running(3, "--data-dir", str(data)) as cluster:
        cluster.verb("put", "k", "v")
        own = ["recover", "--data-dir", str(data), "--yes"]
        assert "in use" in launcher(*own, code=1).stderr
    assert "a majority is alive" in launcher(*own, code=1).stderr
    (data / "n2").rename(tmp_path / "n2")
    (data / "n3").rename(tmp_path / "n3")
    launcher(*own)
    with running(1, "--data-dir", str(data)) as cluster:
        assert cluster.verb("get", "k").strip() == "v"
        assert "n4 joined" in cluster.verb("member", "add")

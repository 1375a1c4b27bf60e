"""What is rendered for systemd and Kubernetes: checked by their own tools, and run as processes."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.transport.curve import generate
from raft.cli.app import Session, run_verb
from raft.cli.main import VERB_MODULES
from raft.client import Client, OutcomeUnknown
from raft.cluster.failures import ExitCode
from raft.engines.kubernetes import (
    PORT,
    Shape,
    exporter_script,
    hand_over_script,
    manifests,
    node_script,
    rendered,
)
from raft.engines.systemd import UNIT, Hosts, files
from raft.node.process.exit_codes import RESTART_IS_OF_NO_USE
from tests.examples.hosts import environment
from tests.examples.test_examples import free_port
from tests.processes.clusters import ROOT, wait_until

assert VERB_MODULES  # All verbs are known.
MEMBERS = {1: "tcp://h1:7001", 2: "tcp://h2:7001", 3: "tcp://h3:7001"}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_analyze_finds_nothing_to_say_against_the_units(tmp_path: Path) -> None:
    for name, text in files(Hosts(members=MEMBERS, python=sys.executable)).items():
        (tmp_path / name.replace("@.", "@1.")).write_text(text)
    units = [str(path) for path in tmp_path.glob("*.service")]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(units) == 2


def test_a_unit_is_not_started_again_after_just_those_codes_that_the_table_forbids() -> None:
    codes = re.search(r"^RestartPreventExitStatus=(.*)$", files(Hosts(members=MEMBERS))[UNIT], re.M)
    assert codes is not None
    assert {int(code) for code in codes[1].split()} == RESTART_IS_OF_NO_USE


def strict_validation() -> Any:
    return pytest.importorskip("kubernetes_validate", reason="kubernetes-validate (PyPI) is not installed")


@pytest.mark.parametrize("version", ["1.27", "1.33"])
def test_the_manifests_are_valid_by_the_strict_schemas_of_kubernetes(version: str) -> None:
    kubernetes_validate = strict_validation()
    for shape in (Shape(), Shape(name="db", namespace="shop", members=5, storage_class="fast")):
        for each in manifests(shape):
            kubernetes_validate.validate(each, version, strict=True)


def test_the_manifests_as_yaml_say_the_same() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    assert list(yaml.safe_load_all(rendered(Shape()))) == manifests(Shape())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("render kubernetes --members 0", "1 to 64"),
        ("render kubernetes --name Raft!", "--name 'Raft!'"),
        ("render kubernetes --storage much", "--storage 'much'"),
        ("render kubernetes --image a$(b)", "no image"),
        ("render systemd --members h1:7001", "1=tcp://host:port"),
        ("render systemd --members 1=tcp://h1:7001 --cluster-id a%sb;", "--cluster-id"),
        ("render systemd --members 1=tcp://h1:7001 --python python3", "whole path"),
        ("render systemd --members 1=tcp://h1:7001 --keys-dir=", "need keys"),
    ],
)
def test_a_shape_that_cannot_be_is_refused_with_what_to_write(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb(line.split(), Session()) == ExitCode.USAGE
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""


def test_units_are_written_into_a_directory_that_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["render", "systemd", "--members", "1=tcp://h1:7001,2=tcp://h2:7001", "--to", str(tmp_path / "u")]
    assert run_verb(line, Session()) == ExitCode.OK
    assert {path.name for path in (tmp_path / "u").iterdir()} == {
        "raft@.service", "1.env", "2.env", "raft-metrics.service",
    }  # fmt: skip
    assert run_verb([*line[:-1], "/proc/nowhere"], Session()) == ExitCode.FAILURE
    assert "cannot be written" in capsys.readouterr().err


# -- run as rendered --------------------------------------------------------------------------------


class Engine:
    """A stand-in for what starts processes: each has a name, and its log is kept."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, words: list[str], **variables: str) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                words, env={**environment(), **variables}, cwd=self.directory, stderr=log, stdout=log
            )

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()

    def end(self, name: str, number: int = signal.SIGTERM) -> int:
        process = self.running.pop(name)
        process.send_signal(number)
        return process.wait(30)

    def close(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with contextlib.closing(Engine(tmp_path)) as engine:
        yield engine


@pytest.mark.processes
def test_a_unit_s_command_line_starts_a_node_that_is_ready_and_starts_again_on_its_data(
    tmp_path: Path, engine: Engine
) -> None:
    hosts = Hosts(
        members={1: f"tcp://127.0.0.1:{free_port()}"}, python=sys.executable, keys_dir="", cluster="shop",
        data_dir=str(tmp_path / "data"), user="nobody",
    )  # fmt: skip
    made = files(hosts)
    command = re.search(r"^ExecStart=((?:.*\\\n)*.*)$", made[UNIT], re.M)
    assert command is not None
    variables = dict(line.split("=", 1) for line in made["1.env"].splitlines())
    text = (
        command[1].replace("\\\n", " ").replace("%i", "1").replace("${RAFT_LISTEN}", variables["RAFT_LISTEN"])
    )
    words = shlex.split(re.sub(r"\$(\w+)", lambda name: variables[name[1]], text))
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(tmp_path / "notify"))
    told.settimeout(30)
    listening = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    with contextlib.closing(told):
        engine.start("n1", words, **listening)
        assert engine.running.pop("n1").wait(30) in RESTART_IS_OF_NO_USE, "it was not made by init"
        assert run_verb(["init", "--data-dir", str(tmp_path / "data" / "1")], Session()) == ExitCode.OK
        for value in (b"1", b"2"):
            engine.start("n1", words, **listening)
            assert told.recv(100) == b"READY=1"
            with Client(hosts.members, cluster="shop") as client:
                assert client.get(b"k") == (None if value == b"1" else b"1")
                client.put(b"k", value)
            assert engine.end("n1") == 0
            assert told.recv(100) == b"STOPPING=1"


class Pods:
    """The pods of a StatefulSet as processes: names become loopback addresses, and mounts directories."""

    def __init__(self, engine: Engine, shape: Shape) -> None:
        self.engine, self.shape = engine, shape
        self.port, self.metrics_port = free_port(), free_port()
        generate(engine.directory / "keys", ["n1", "n2", "n3", "client"])
        self.net = {1: 77, 2: 77, 3: 77}
        bin_ = engine.directory / "bin"
        bin_.mkdir()
        for name, words in (
            ("raft-actors", f"{sys.executable} {ROOT}/launcher.py"),
            ("python3", sys.executable),
        ):
            (bin_ / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
            (bin_ / name).chmod(0o755)

    @property
    def endpoints(self) -> dict[int, str]:
        return {node: f"tcp://127.0.{net}.{node}:{self.port}" for node, net in self.net.items()}

    def script(self, text: str, node: int) -> str:
        shape, net = self.shape, self.net[node]
        domain = f"{shape.name}.{shape.namespace}.svc:{PORT}"
        for before, after in (
            (f"{shape.name}-$((n-1)).{domain}", f"127.0.77.$n:{self.port}"),
            (f"$HOSTNAME.{domain}", f"127.0.{net}.{node}:{self.port}"),
            (f"tcp://0.0.0.0:{PORT}", f"tcp://127.0.{net}.{node}:{self.port}"),
            (f"tcp://127.0.0.1:{PORT}", f"tcp://127.0.{net}.{node}:{self.port}"),
            ("0.0.0.0:9100", f"127.0.0.1:{self.metrics_port}"),
            ("/var/lib/raft", f"{self.engine.directory}/volume{node}"),
            ("/keys/n", f"{self.engine.directory}/keys/n"),
            ("/keys/allowed", f"{self.engine.directory}/keys/allowed"),
        ):
            text = (
                text.replace(f"$HOME{before}", "@home@")
                .replace(before, after)
                .replace("@home@", f"$HOME{before}")
            )
        return text

    def variables(self, node: int, first_start: str = "yes") -> dict[str, str]:
        home = self.engine.directory / f"home{node}"
        home.mkdir(exist_ok=True)
        path = f"{self.engine.directory}/bin:{os.environ['PATH']}"
        return {
            "HOSTNAME": f"{self.shape.name}-{node - 1}", "HOME": str(home), "PATH": path,
            "RAFT_FIRST_START": first_start, "RAFT_CONFIG": "",
        }  # fmt: skip

    def start(self, node: int, first_start: str = "yes") -> None:
        (self.engine.directory / f"volume{node}").mkdir(exist_ok=True)
        script = self.script(node_script(self.shape), node)
        self.engine.start(f"n{node}", ["/bin/sh", "-c", script], **self.variables(node, first_start))

    def client(self) -> Client:
        return Client(
            self.endpoints, cluster=self.shape.cluster, keys=self.engine.directory / "keys/client.toml"
        )


def write(client: Client, value: bytes) -> None:
    """Write until it is done; a value that is put twice is the same."""
    while True:
        with contextlib.suppress(OutcomeUnknown):
            client.put(b"k", value, timeout_seconds=30)
            return


@pytest.mark.processes
def test_pods_run_as_rendered_hand_over_come_back_to_their_volumes_and_may_move(engine: Engine) -> None:
    pods = Pods(engine, Shape(name="db", namespace="shop", cluster="orders"))
    for node in (1, 2, 3):
        pods.start(node)
    with pods.client() as client:
        write(client, b"1")
        leader = client.members().leader

        # A pod is stopped in good order: its hook hands over first.
        hook = pods.script(hand_over_script(pods.shape), leader)
        done = subprocess.run(
            ["/bin/sh", "-c", hook],
            env={**environment(), **pods.variables(leader)},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert re.fullmatch(rf"n\d leads term \d+, after n{leader}\n", done.stdout)
        assert client.members().leader != leader
        assert engine.end(f"n{leader}") == 0
        pods.start(leader, first_start="no")

        # Another one is killed, comes back to the same volume, and has what was written meanwhile.
        victim = next(node for node in (1, 2, 3) if node != leader)
        engine.end(f"n{victim}", signal.SIGKILL)
        write(client, b"2")
        pods.start(victim, first_start="no")

        # A third one comes back at another address.
        mover = 6 - leader - victim
        engine.end(f"n{mover}", signal.SIGKILL)
        pods.net[mover] = 78
        pods.start(mover, first_start="no")
        client.update_member(mover, pods.endpoints[mover], timeout_seconds=30)
        engine.end(f"n{victim}", signal.SIGKILL)
        write(client, b"3")  # Which needs the one that has moved.

        # What lost its volume does not begin anew: it has promised things.
        shutil.rmtree(engine.directory / f"volume{victim}")
        pods.start(victim, first_start="no")
        assert engine.running.pop(f"n{victim}").wait(30) == 6

    # The exporter beside a node asks it with the pod's own key.
    script = pods.script(exporter_script(pods.shape), mover)
    engine.start("exporter", ["/bin/sh", "-c", script], **pods.variables(mover))
    ready = f"http://127.0.0.1:{pods.metrics_port}/readyz"
    import httpx

    def is_ready() -> bool:
        with contextlib.suppress(httpx.TransportError), httpx.Client(trust_env=False) as visitor:
            return visitor.get(ready, timeout=60).status_code == 200
        return False

    wait_until(is_ready)

"""A node as a process of its own: it starts, refuses with a reason, and stops on a signal."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors.transport.curve import ALLOWED_FILE, generate
from raft.client import Client, ClientError
from raft.client.connection import Connection
from raft.node.config import EXIT_LOG_MISSING, EXIT_REFUSED, NodeConfig
from raft.node.process.data_dir import count_incarnation
from raft.protocol.admin import GetStatus, NodeStatus, SetLink
from raft.protocol.registry import address_of

pytestmark = pytest.mark.processes


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rn") as name:
        yield Path(name)


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts nodes; what is left of them at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(directory: Path, *more: str, flags: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        arguments = {"--id": "1", "--listen": f"ipc://{directory}/n1", "--data-dir": f"{directory}/data"}
        given = {**arguments, **dict(zip(more[::2], more[1::2], strict=True))}
        words = [word for pair in given.items() for word in pair]
        command = [sys.executable, *flags, "-m", "raft.node", *words]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for node in started:
        if node.poll() is None:
            node.kill()
        node.communicate()


def refusal(node: subprocess.Popen[str]) -> str:
    _, said = node.communicate(timeout=60)
    assert node.returncode == EXIT_REFUSED, said
    return said


def test_a_single_node_serves_and_stops_gracefully_on_a_signal(directory: Path, start: Start) -> None:
    for number, how in enumerate((signal.SIGTERM, signal.SIGINT)):
        node = start(directory)
        with Client([f"ipc://{directory}/n1"], timeout_seconds=20.0) as client:
            assert client.get("k") == (None if number == 0 else b"v")
            client.put("k", "v")
        node.send_signal(how)
        node.communicate(timeout=60)
        assert node.returncode == 0
    assert (directory / "data" / "incarnation").read_text().startswith("2 ")


def test_a_second_node_on_the_same_data_is_refused_and_the_first_continues(
    directory: Path, start: Start
) -> None:
    first = start(directory)
    with Client([f"ipc://{directory}/n1"], timeout_seconds=20.0) as client:
        client.put("k", "v")
        assert "in use by another process" in refusal(start(directory))
        assert client.get("k") == b"v"
    first.terminate()
    first.communicate(timeout=60)


def test_a_node_without_the_machine_of_its_snapshot_ends_with_the_reason(
    directory: Path, start: Start
) -> None:
    node = start(directory, "--machine", "examples.replicated_counter:Counters", "--snapshot-entries", "2")
    with Client([f"ipc://{directory}/n1"], timeout_seconds=20.0) as client:
        for _ in range(4):
            client.put("k", "v")
    node.terminate()
    node.communicate(timeout=60)
    said = refusal(start(directory))
    assert "the node cannot take the cluster's state over" in said
    assert "needs that machine" in said
    assert "Traceback" not in said


def test_data_of_another_node_is_refused(directory: Path, start: Start) -> None:
    node = start(directory)
    with Client([f"ipc://{directory}/n1"], timeout_seconds=20.0) as client:
        client.put("k", "v")
    node.terminate()
    node.communicate(timeout=60)
    assert "node" in refusal(start(directory, "--id", "2"))


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--listen", "tcp://0.0.0.0:7000", "keys"),
        ("--peer", "1=ipc:///tmp/x", "among its own peers"),
        ("--peer", "2", "is no peer"),
        ("--heartbeat", "50", "has no unit"),
        ("--election-timeout", "50ms-60ms", "two heartbeats"),
        ("--machine", "no.such.module:Thing", "cannot be had"),
        ("--machine", "collections:OrderedDict", "is no machine"),
        ("--keys", "/no/such/file", "cannot be read"),
        ("--data-dir", "/proc/no-such-directory", "/proc/no-such-directory"),
    ],
)
def test_bad_arguments_are_refused_with_the_reason(
    directory: Path, start: Start, option: str, value: str, words: str
) -> None:
    said = refusal(start(directory, option, value))
    assert words in said
    assert "Traceback" not in said


def test_a_node_refuses_to_run_without_its_assertions(directory: Path, start: Start) -> None:
    assert "assertions" in refusal(start(directory, flags=("-O",)))


def test_incarnations_are_counted_and_a_damaged_number_is_refused(directory: Path) -> None:
    path = directory / "incarnation"
    assert [count_incarnation(path, sync=True) for _ in range(3)] == [1, 2, 3]
    path.write_text("what?")
    with pytest.raises(Exception, match="higher than any before"):
        count_incarnation(path, sync=True)


def test_a_node_that_has_run_before_refuses_an_empty_directory(directory: Path, start: Start) -> None:
    node = start(directory, flags=())
    node.terminate()
    node.communicate(timeout=60)
    arguments = ["--id", "1", "--listen", f"ipc://{directory}/n1", "--data-dir", f"{directory}/lost"]
    command = [sys.executable, "-m", "raft.node", "--existing", *arguments]
    lost = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert lost.returncode == EXIT_LOG_MISSING
    assert str(directory / "lost") in lost.stderr


def test_links_broken_from_the_start_are_broken_before_any_order(directory: Path) -> None:
    here, there = f"ipc://{directory}/n1", f"ipc://{directory}/n2"
    cut = SetLink(7, [2], cut=True)
    config = NodeConfig(
        node=1,
        listen=here,
        data_dir=f"{directory}/data",
        peers={2: there},
        first_start=True,
        fault_injection=True,
        links=(cut,),
    )
    code = f"from raft.node.process.main import main; main({config.encode()!r})"
    node = subprocess.Popen([sys.executable, "-c", code])
    guest = Connection({1: here}, cluster="default", keys=None)
    answers: list[object] = []
    assert guest.runtime.run_until(lambda: guest.is_up(1), 20.0)
    guest.runtime.ask(address_of(1), GetStatus(), 5.0).then(answers.append, answers.append)
    assert guest.runtime.run_until(lambda: bool(answers), 5.0)
    guest.close()
    node.terminate()
    node.wait(timeout=60)
    assert isinstance(answers[0], NodeStatus)
    assert answers[0].faults == ["link to n2: cut"]


def test_clients_get_the_advertised_address_and_not_the_listening_one(directory: Path, start: Start) -> None:
    outside = f"ipc://{directory}/outside"
    node = start(directory, "--advertise", outside)
    with Client({1: f"ipc://{directory}/n1"}, timeout_seconds=20.0) as client:
        client.put("k", "v")
        assert client.members().endpoints == {1: outside}
    node.terminate()
    node.communicate(timeout=60)
    assert node.returncode == 0


def test_on_sighup_a_node_reads_its_keys_again(directory: Path, start: Start) -> None:
    names = ["n1", "alice", "bob"]
    directory.chmod(0o700)
    paths = dict(zip(names, generate(directory / "keys", names), strict=True))
    allowed = directory / "keys" / ALLOWED_FILE
    everyone = allowed.read_text()
    here = {1: f"ipc://{directory}/n1"}
    node = start(directory, "--keys", str(paths["n1"]))
    with (
        Client(here, keys=paths["alice"], timeout_seconds=20.0) as alice,
        Client(here, keys=paths["bob"], timeout_seconds=20.0) as bob,
    ):
        alice.put("k", "1")
        bob.put("k", "2")
        allowed.write_text("".join(line for line in everyone.splitlines(True) if "alice" not in line))
        node.send_signal(signal.SIGHUP)
        alice.timeout_seconds = 2.0
        with pytest.raises(ClientError):
            deadline = time.monotonic() + 30.0
            while time.monotonic() < deadline:
                alice.put("k", "3")
        bob.put("k", "4")
        allowed.write_text(everyone)
        node.send_signal(signal.SIGHUP)
        alice.timeout_seconds = 20.0
        assert alice.get("k") == b"4"
    node.terminate()
    node.communicate(timeout=60)
    assert node.returncode == 0


# What takes long to load, and is of no use to a node that has just started.
SLOW_TO_LOAD = {
    "asyncio", "concurrent", "dataclasses", "logging", "multiprocessing", "shutil", "ssl",
    "subprocess", "tempfile",
}  # fmt: skip
PACKAGES = {"actors", "raft", "msgspec", "typing_extensions", "zmq", "org"}  # pickle tries "org".


def loaded(told: str) -> set[str]:
    """The packages that an interpreter has imported, by what -X importtime says."""
    lines = [line for line in told.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines} - {"imported package"}


def test_a_node_that_serves_has_loaded_nothing_that_its_first_second_does_not_need(
    directory: Path, start: Start
) -> None:
    node = start(directory, flags=("-X", "importtime"))
    with Client({1: f"ipc://{directory}/n1"}) as client:
        client.put("k", b"v")
    node.send_signal(signal.SIGTERM)
    _, told = node.communicate(timeout=60)
    assert node.returncode == 0, told
    bare = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", ""], stderr=subprocess.PIPE, text=True, check=True
    )
    packages = loaded(told) - loaded(bare.stderr)
    assert packages >= {"raft", "zmq"}
    assert packages & SLOW_TO_LOAD == set()
    assert packages - sys.stdlib_module_names <= PACKAGES

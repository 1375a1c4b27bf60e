"""The exporter beside real nodes: scraped through a kill and a pause, by `up`, by the verb, and embedded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from actors.transport.curve import generate
from raft.embedding import AsyncNode
from raft.exporter.pages import Pages
from raft.exporter.scraper import Scraper
from tests.embedding.hosts import alone
from tests.examples.test_examples import free_port
from tests.processes.clusters import ROOT, Cluster, running, wait_until

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def cluster(port: int) -> Iterator[Cluster]:
    with running(3, "--metrics", f"127.0.0.1:{port}") as cluster:
        yield cluster


def get(port: int, path: str) -> httpx.Response:
    with httpx.Client(trust_env=False) as client:
        return client.get(f"http://127.0.0.1:{port}{path}", timeout=60)


def up(text: str) -> dict[int, int]:
    return {
        int(node): int(value) for node, value in re.findall(r'^raft_node_up{.*node="(\d)"} (\d)$', text, re.M)
    }


def test_a_killed_or_paused_node_is_down_and_the_others_are_scraped_on(cluster: Cluster, port: int) -> None:
    assert up(get(port, "/metrics").text) == {1: 1, 2: 1, 3: 1}
    assert json.loads(get(port, "/health").text) == {"health": "true"}
    cluster.verb("kill", "3")
    cluster.verb("pause", "2")
    assert up(get(port, "/metrics").text) == {1: 1, 2: 0, 3: 0}
    assert get(port, "/livez").status_code == 200
    wait_until(lambda: get(port, "/readyz").status_code == 503)
    health = get(port, "/health")
    assert (health.status_code, json.loads(health.text)["health"]) == (503, "false")
    cluster.verb("faults", "clear")
    wait_until(lambda: up(get(port, "/metrics").text) == {1: 1, 2: 1, 3: 1})
    wait_until(lambda: get(port, "/health").status_code == 200)


def test_what_the_leader_sends_its_peers_is_what_they_have_received_from_it(
    cluster: Cluster, port: int
) -> None:
    leader = cluster.verb("leader").split()[0].strip("n")
    peer = "1" if leader != "1" else "2"

    def counted(name: str, node: str, other: str) -> float:
        text = get(port, "/metrics").text
        return float(re.findall(rf'^{name}{{.*node="{node}",peer="{other}"}} (.*)$', text, re.M)[0])

    before = counted("raft_peer_sent_bytes_total", leader, peer)
    cluster.verb("put", "key", "x" * 100_000)
    wait_until(lambda: counted("raft_peer_sent_bytes_total", leader, peer) >= before + 100_000)
    sent = counted("raft_peer_sent_bytes_total", leader, peer)
    wait_until(lambda: counted("raft_peer_received_bytes_total", peer, leader) >= sent)


def test_what_is_no_request_is_told_so_and_does_no_harm(cluster: Cluster, port: int) -> None:
    async def send(request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer

    assert asyncio.run(send(b"nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
    assert asyncio.run(send(b"x" * 100_000)).startswith(b"HTTP/1.1 400 ")
    assert asyncio.run(send(b"POST /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 405 ")
    head = asyncio.run(send(b"HEAD /metrics?x=1 HTTP/1.1\r\n\r\n"))
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert head.endswith(b"\r\n\r\n")


def test_a_port_that_is_taken_is_refused_before_a_node_is_started(cluster: Cluster, port: int) -> None:
    words = ["launcher.py", "--nodes", "1", "--name", f"{cluster.name}-2", "--metrics", f"127.0.0.1:{port}"]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "metrics cannot be served at 127.0.0.1:" in done.stderr
    assert "STARTED" not in done.stdout


def test_the_verb_asks_the_nodes_that_it_is_given_and_prints_one_scrape(cluster: Cluster) -> None:
    nodes = ",".join(f"{node.id}={node.endpoint}" for node in cluster.record.nodes)
    absent = f"9=tcp://127.0.0.1:{free_port()}"
    command = [
        sys.executable, "launcher.py", "metrics", "--endpoints", f"{nodes},{absent}", "--cluster-id",
        cluster.record.cluster, "--once",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert up(done.stdout) == {1: 1, 2: 1, 3: 1, 9: 0}
    assert up(cluster.verb("metrics", "--once")) == {1: 1, 2: 1, 3: 1}


def test_the_verb_serves_until_it_is_interrupted(cluster: Cluster) -> None:
    command = [sys.executable, "launcher.py", "metrics", "--listen", "127.0.0.1:0", "--cluster", cluster.name]
    served = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        assert served.stderr is not None
        found = re.search(r"serving http://127.0.0.1:(\d+)/metrics", served.stderr.readline())
        assert found is not None
        assert up(get(int(found[1]), "/metrics").text) == {1: 1, 2: 1, 3: 1}
    finally:
        served.send_signal(signal.SIGINT)
        _, err = served.communicate(timeout=30)
    assert (served.returncode, err) == (130, "")


@pytest.mark.parametrize(
    ("endpoint", "why"), [("tcp://10.0.0.1:7000", "needs CURVE keys"), ("tcp://127.0.0.1:0", "give the port")]
)
def test_an_endpoint_that_could_never_be_reached_is_refused_and_not_shown_as_down(
    endpoint: str, why: str
) -> None:
    command = [sys.executable, "launcher.py", "metrics", "--endpoints", f"1={endpoint}", "--once"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr


def test_keys_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    command = [
        sys.executable, "launcher.py", "metrics", "--once", "--endpoints", "1=tcp://127.0.0.1:7001", "--keys",
        str(tmp_path / "none.key"),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "none.key" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_embedded_node_is_scraped_through_its_program(tmp_path: Path) -> None:
    async def live() -> None:
        async with alone(tmp_path) as node:
            await node.wait_for_leader()
            assert up(await node.metrics()) == {1: 1}
            app = httpx.ASGITransport(node.metrics_app())
            async with httpx.AsyncClient(transport=app, base_url="http://app") as client:
                assert up((await client.get("/metrics")).text) == {1: 1}
                assert (await client.get("/health")).json() == {"health": "true"}
                assert (await client.get("/readyz")).status_code == 200

    asyncio.run(live())


def test_a_node_that_does_not_know_the_exporter_s_key_shows_as_down(tmp_path: Path) -> None:
    generate(tmp_path / "keys", ["n1", "metrics"])
    shutil.copytree(tmp_path / "keys", tmp_path / "others")
    generate(tmp_path / "others", ["stranger"])
    endpoint = f"tcp://127.0.0.1:{free_port()}"

    async def live() -> None:
        keys = tmp_path / "keys" / "n1.toml"
        async with AsyncNode(1, listen=endpoint, data_dir=tmp_path / "n1", keys=keys) as node:
            await node.wait_for_leader()
            for key, is_up in ((tmp_path / "others/stranger.toml", 0), (tmp_path / "keys/metrics.toml", 1)):
                make = Scraper(lambda: {1: endpoint}, cluster="default", keys=key)
                with contextlib.closing(make) as scraper:
                    assert up(await Pages(scraper).metrics()) == {1: is_up}

    asyncio.run(live())

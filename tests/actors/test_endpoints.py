"""Where a process may listen or connect."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from actors.transport.endpoints import (
    EndpointError,
    canonical,
    check_endpoint,
    check_target,
    claim_ipc_path,
    is_deserted,
    is_loopback,
)


@pytest.mark.parametrize(
    "endpoint", ["ipc:///run/n1", "tcp://127.0.0.1:7001", "tcp://[::1]:7001", "tcp://localhost:*"]
)
def test_what_stays_on_this_machine_needs_no_keys(endpoint: str) -> None:
    check_endpoint(endpoint, has_keys=False)


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://10.0.0.1:7001",
        "tcp://0.0.0.0:7001",
        "tcp://*:7001",
        "tcp://[::]:1",
        "tcp://example.org:1",
        "tcp://eth0:1",
    ],
)
def test_what_leaves_this_machine_needs_keys(endpoint: str) -> None:
    with pytest.raises(EndpointError, match="needs CURVE keys"):
        check_endpoint(endpoint, has_keys=False)
    check_endpoint(endpoint, has_keys=True)


@pytest.mark.parametrize(
    ("endpoint", "complaint"),
    [
        ("n1", "an endpoint is"),
        ("udp://127.0.0.1:1", "an endpoint is"),
        ("ipc://relative/path", "absolute path"),
        ("ipc://@abstract", "absolute path"),
        ("ipc:///" + "x" * 107, "has 108 bytes"),
        ("tcp://127.0.0.1", "tcp://host:port"),
        ("tcp://127.0.0.1:port", "not a number up to 65535"),
        ("tcp://127.0.0.1:65536", "not a number up to 65535"),
        ("tcp://127.0.0.1;10.0.0.1:80", "tcp://host:port"),
        ("tcp://127.0.0.1:" + "9" * 5000, "at most 300 characters"),
        ("tcp://127.0.0.1:" + "9" * 200, "not a number up to 65535"),
        ("ipc:///run/n1\n", "printable"),
        ("ipc:///run/n1\0", "printable"),
    ],
)
def test_what_is_no_endpoint_is_refused_with_the_reason(endpoint: str, complaint: str) -> None:
    with pytest.raises(EndpointError, match=complaint):
        check_endpoint(endpoint, has_keys=True)


@pytest.mark.parametrize(
    ("endpoint", "complaint"),
    [
        ("tcp://127.0.0.1:*", "whose port the system chooses"),
        ("tcp://127.0.0.1:0", "whose port the system chooses"),
        ("tcp://0.0.0.0:7001", "all of a machine"),
        ("tcp://[::]:7001", "all of a machine"),
        ("tcp://*:7001", "all of a machine"),
    ],
)
def test_where_a_process_may_listen_it_cannot_always_be_found(endpoint: str, complaint: str) -> None:
    check_endpoint(endpoint, has_keys=True)
    with pytest.raises(EndpointError, match=complaint):
        check_target(endpoint, has_keys=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tcp://localhost:7001", "tcp://127.0.0.1:7001"),
        ("tcp://[::1]:7001", "tcp://[0:0:0:0:0:0:0:1]:7001"),
        ("tcp://127.0.0.1:7001", "tcp://127.0.0.1:07001"),
        ("tcp://Example.org:7001", "tcp://example.org:7001"),
        ("ipc:///run//n1", "ipc:///run/./n1"),
    ],
)
def test_one_socket_has_one_canonical_endpoint(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)
    assert canonical("tcp://127.0.0.1:7001") != canonical("tcp://127.0.0.2:7001")


def test_the_longest_path_that_fits_is_allowed() -> None:
    check_endpoint("ipc:///" + "x" * 106, has_keys=False)


def test_loopback_is_a_matter_of_the_address_and_not_of_the_name() -> None:
    assert is_loopback("127.1.2.3")
    assert not is_loopback("127.0.0.1.example.org")


def test_a_directory_open_to_others_is_no_place_for_a_socket(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(EndpointError, match="open to others"):
        claim_ipc_path(f"ipc://{tmp_path}/n1")
    with pytest.raises(EndpointError, match="No such file"):
        claim_ipc_path(f"ipc://{tmp_path}/absent/n1")


def test_a_stale_socket_is_removed_and_a_live_one_is_not(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    path = tmp_path / "n1"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(EndpointError, match="another process listens"):
            claim_ipc_path(f"ipc://{path}")
        assert path.exists()
    claim_ipc_path(f"ipc://{path}")
    assert not path.exists()


def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "n1").write_text("precious")
    with pytest.raises(EndpointError, match="is no socket"):
        claim_ipc_path(f"ipc://{tmp_path}/n1")
    assert (tmp_path / "n1").read_text() == "precious"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_port_of_this_machine_is_deserted_until_a_process_listens_there(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind(("127.0.0.1" if host == "localhost" else host.strip("[]"), 0))
        endpoint = f"tcp://{host}:{listener.getsockname()[1]}"
        assert is_deserted(endpoint)
        listener.listen()
        assert not is_deserted(endpoint)


def test_a_socket_in_the_file_system_is_deserted_without_its_process(tmp_path: Path) -> None:
    path = tmp_path / "n1"
    assert is_deserted(f"ipc://{path}")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert not is_deserted(f"ipc://{path}")
    assert is_deserted(f"ipc://{path}"), "the file stays"


def test_of_another_machine_it_is_never_certain_that_nothing_listens_there() -> None:
    assert not is_deserted("tcp://192.0.2.1:7001")
    assert not is_deserted("tcp://node.example:7001")

"""Where a page is served: its secret and its port stay the same over restarts, if a file keeps them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from raft.cluster.failures import VerbFailed
from raft.live.address import Address, address_at


@contextlib.contextmanager
def opened(place: str, kept_in: Path | None = None):
    address = address_at(place, kept_in)
    with contextlib.closing(address.listener):
        yield address


def test_each_start_has_a_secret_of_its_own_unless_a_file_keeps_one(tmp_path: Path) -> None:
    kept = tmp_path / "page.json"
    with opened("127.0.0.1:0") as one, opened("127.0.0.1:0") as other:
        assert one.token != other.token and len(one.token) >= 20
    with opened("127.0.0.1:0", kept) as first:
        url = first.url
    with opened("127.0.0.1:0", kept) as again:
        assert again.url == url
    assert kept.stat().st_mode & 0o077 == 0


def test_a_port_that_is_taken_meanwhile_gives_another_address_with_the_same_secret(tmp_path: Path) -> None:
    kept = tmp_path / "page.json"
    with opened("127.0.0.1:0", kept) as first, opened("127.0.0.1:0", kept) as second:
        assert first.port != second.port and first.token == second.token
        port = first.port
    with opened(f"127.0.0.1:{port}", kept) as wanted:
        assert wanted.port == port


@pytest.mark.parametrize(
    "damaged", [b"", b"{}", b'{"port":1,"token":"a/../b"}', b'{"port":0,"token":"' + b"x" * 30]
)
def test_a_damaged_file_is_replaced(tmp_path: Path, damaged: bytes) -> None:
    kept = tmp_path / "page.json"
    kept.write_bytes(damaged)
    with opened("127.0.0.1:0", kept) as first:
        url = first.url
    with opened("127.0.0.1:0", kept) as again:
        assert again.url == url


def test_an_address_that_cannot_be_had_is_named() -> None:
    with opened("127.0.0.1:0") as taken, pytest.raises(VerbFailed, match=f"127.0.0.1:{taken.port}"):
        address_at(f"127.0.0.1:{taken.port}")


def test_only_a_page_for_all_addresses_takes_other_host_names() -> None:
    with opened("127.0.0.1:0") as one, opened("0.0.0.0:0") as every:
        assert "*" not in one.hosts and f"localhost:{one.port}" in one.hosts
        assert "*" in every.hosts
        assert isinstance(every, Address)

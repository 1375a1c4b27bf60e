"""A node's configuration: its encoding, and its validation."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from raft.node.config import BadConfig, NodeConfig

GOOD = NodeConfig(node=1, listen="ipc:///tmp/n1", data_dir="/d", peers={2: "ipc:///tmp/n2"})


def test_a_configuration_is_encoded_as_bytes() -> None:
    assert NodeConfig.decode(GOOD.check().encode()) == GOOD
    with pytest.raises(BadConfig):
        NodeConfig.decode(b"garbage")


def test_configured_times_are_multiples_of_ticks() -> None:
    assert GOOD.tick_seconds == 0.025
    assert (GOOD.election_ticks, GOOD.election_ticks_max) == (10, 20)


def test_a_node_may_listen_at_all_addresses_if_it_advertises_one() -> None:
    everywhere = msgspec.structs.replace(GOOD, listen="tcp://0.0.0.0:7000", keys="n1.toml", peers={})
    told = msgspec.structs.replace(everywhere, advertise="tcp://n1.example.org:7000").check()
    assert told.address == "tcp://n1.example.org:7000"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"node": 0}, "from 1 to"),
        ({"peers": {1: "ipc:///tmp/x"}}, "among its own peers"),
        ({"peers": {2: "ipc:///tmp/n1"}}, "share the endpoint"),
        ({"listen": "ipc:///" + "x" * 200}, "107"),
        ({"listen": "http://x"}, "endpoint"),
        ({"listen": "tcp://10.0.0.1:7000"}, "keys"),
        ({"peers": {2: "tcp://example.org:7000"}}, "keys"),
        ({"supervisor": "tcp://0.0.0.0:7000"}, "keys"),
        ({"listen": "tcp://0.0.0.0:7000", "keys": "n1.toml"}, "--advertise"),
        ({"listen": "tcp://[::]:7000", "keys": "n1.toml"}, "--advertise"),
        ({"advertise": "tcp://*:7000", "keys": "n1.toml"}, "--advertise"),
        ({"advertise": "ipc:///tmp/n2", "peers": {2: "ipc:///tmp/n2"}}, "share the endpoint"),
        ({"network_namespace": "/run/netns/n1"}, "fault injection"),
        ({"data_dir": ""}, "--data-dir"),
        ({"machine": "nonsense"}, "package.module:Class"),
        ({"heartbeat_seconds": 0.0}, "heartbeat"),
        ({"election_seconds_min": 0.06}, "two heartbeats"),
        ({"election_seconds_max": 0.25}, "tie for ever"),
        ({"lease_reads": True, "check_quorum": False}, "check-quorum"),
    ],
)
def test_a_bad_configuration_is_refused_with_the_reason(change: dict[str, Any], words: str) -> None:
    fields = {name: getattr(GOOD, name) for name in GOOD.__struct_fields__}
    with pytest.raises(BadConfig, match=words):
        NodeConfig(**{**fields, **change}).check()

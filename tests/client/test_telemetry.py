"""Spans of a client's calls: what is in them, what is not, and that a client without them pays nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from raft.client import AsyncClient, Client, CommandRefused, Unreachable, trace_calls
from raft.client.telemetry import TelemetryMissing
from tests.client.nodes import Nodes

pytestmark = pytest.mark.processes
ROOT = Path(__file__).resolve().parents[2]


class Recorder:
    """A provider whose spans are kept."""

    def __init__(self, **options: Any) -> None:
        self.provider = TracerProvider(**options)
        self._kept = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._kept))

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._kept.get_finished_spans())

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans]


def attempts(span: ReadableSpan) -> list[tuple[Any, Any]]:
    found = [event.attributes or {} for event in span.events if event.name == "ask"]
    return [
        (attributes["raft.node"], attributes["raft.answer"])
        for attributes in found
        if attributes["raft.request"] != "WhoLeads"
    ]


def follower_and_leader(nodes: Nodes) -> tuple[int, int]:
    with Client(nodes.endpoints, timeout_seconds="20s") as client:
        client.put("begun", "")
        leader = client.leader().leader
    return min(nodes.endpoints.keys() - {leader}), leader


def test_each_call_of_a_blocking_client_is_one_span_and_never_has_keys_or_values(nodes: Nodes) -> None:
    recorder = Recorder()
    with trace_calls(Client(nodes.endpoints, timeout_seconds="20s"), recorder.provider) as client:
        client.put("the-key", "the-value")
        assert client.get("the-key") == b"the-value"
        assert trace_calls(client, recorder.provider) is client, "a second time changes nothing"
        client.cas("the-key", "the-value", "another")
    assert recorder.names == ["put", "get", "cas"]
    for span in recorder.spans:
        attributes = dict(span.attributes or {})
        assert span.kind is SpanKind.CLIENT
        assert attributes["db.system.name"] == "raft-actors"
        assert attributes["db.operation.name"] == span.name
        assert attributes["raft.node"] in nodes.endpoints
        assert attributes["raft.attempts"] == len(attempts(span)) > 0
        assert span.status.status_code is StatusCode.UNSET
        assert "the-" not in span.to_json()


def test_the_nodes_that_were_asked_and_where_they_sent_the_client_are_in_its_span(nodes: Nodes) -> None:
    for _ in range(10):  # On a busy machine the follower may lead by the time it is asked.
        follower, _ = follower_and_leader(nodes)
        recorder = Recorder()
        with trace_calls(Client({follower: nodes.endpoints[follower]}), recorder.provider) as client:
            client.put("k", "v")
        (span,) = recorder.spans
        if (follower, "NotLeader") in attempts(span):
            break
    attributes = dict(span.attributes or {})
    assert (follower, "NotLeader") in attempts(span)
    leader, answer = attempts(span)[-1]
    assert answer == "Committed"
    assert leader != follower
    assert attributes["raft.node"] == leader
    assert attributes["raft.redirects"] == attempts(span).count((follower, "NotLeader"))


def test_calls_of_an_asyncio_client_are_children_of_the_current_span_also_many_at_once(nodes: Nodes) -> None:
    recorder = Recorder()
    tracer = recorder.provider.get_tracer("test")

    async def work() -> None:
        async with AsyncClient(nodes.endpoints, timeout_seconds="20s") as client:
            trace_calls(client, recorder.provider)
            with tracer.start_as_current_span("request"):
                await asyncio.gather(*(client.put(f"k{number}", "v") for number in range(5)))
                await client.get("k1")

    asyncio.run(work())
    request = next(span for span in recorder.spans if span.name == "request")
    calls = [span for span in recorder.spans if span.name != "request"]
    assert sorted(span.name for span in calls) == ["get", *["put"] * 5]
    for span in calls:
        assert span.parent is not None
        assert request.context is not None
        assert span.parent.span_id == request.context.span_id
        assert attempts(span)[-1][1] in ("Committed", "QueryResult")


def test_a_call_that_fails_says_how_and_whom_it_asked(nodes: Nodes) -> None:
    recorder = Recorder()
    with (
        trace_calls(Client(nodes.endpoints, timeout_seconds="20s"), recorder.provider) as client,
        trace_calls(Client(["ipc:///nowhere/n1"], timeout_seconds=0.2), recorder.provider) as lost,
    ):
        with pytest.raises(CommandRefused):
            client.command(b"garbage")
        with pytest.raises(Unreachable):
            lost.get("k")
    refused, unreachable = recorder.spans
    assert refused.status.status_code is unreachable.status.status_code is StatusCode.ERROR
    assert (refused.attributes or {})["error.type"] == "CommandRefused"
    assert (unreachable.attributes or {})["error.type"] == "Unreachable"
    assert attempts(unreachable)[0] == (1, "Undeliverable")
    assert "wait" in {event.name for event in unreachable.events}


def test_what_is_not_sampled_is_not_recorded_and_works_as_before(nodes: Nodes) -> None:
    recorder = Recorder(sampler=ALWAYS_OFF)
    with trace_calls(Client(nodes.endpoints, timeout_seconds="20s"), recorder.provider) as client:
        client.put("k", "v")
        assert client.get("k") == b"v"
    assert recorder.spans == []


def test_a_client_that_is_not_traced_is_as_it_was_and_loads_nothing(nodes: Nodes) -> None:
    with Client(nodes.endpoints, timeout_seconds="20s") as one, Client(nodes.endpoints) as other:
        trace_calls(other, Recorder().provider)
        assert not vars(one).keys() & {"put", "get", "_drive"}
    script = "import sys, raft.client, raft.node.process.main; print('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_without_opentelemetry_it_is_said_what_to_install(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    with Client(nodes.endpoints) as client, pytest.raises(TelemetryMissing, match=r"raft-actors\[otel\]"):
        trace_calls(client)

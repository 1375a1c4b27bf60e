"""A transport that misbehaves on order: a network's faults, by seeded rule.

Owns what happens to frames on their way out; what comes in is left alone, so that a cut is one
way, and both ends must be told to cut both ways. Below it the connection lives on: no peer is
reported down, as with a real network that swallows packets.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

from actors.clock import Clock
from actors.transport.base import Transport

HELD_FRAMES_MAX: Final = 100_000
_DESTINATIONS_KEPT_MAX: Final = 1024


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with the way to a process, or to every process when `to` is None.

    Probabilities are per frame. Delayed frames stay in order; only `reorder` lets a frame fall
    behind, by `reorder_seconds`. Faults for the same destination add up.
    """

    to: str | None = None
    cut: bool = False
    drop: float = 0.0
    duplicate: float = 0.0
    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    reorder: float = 0.0
    reorder_seconds: float = 0.01

    def __post_init__(self) -> None:
        for name in ("drop", "duplicate", "reorder"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a probability, within [0, 1], not {getattr(self, name)}")
        for name in ("delay_seconds", "jitter_seconds", "reorder_seconds"):
            if not 0 <= getattr(self, name) < 3600:
                raise ValueError(f"{name} is at least 0 and less than an hour, not {getattr(self, name)}")

    def plus(self, other: Fault) -> Fault:
        """Both at once."""
        return Fault(
            to=self.to,
            cut=self.cut or other.cut,
            drop=_either(self.drop, other.drop),
            duplicate=_either(self.duplicate, other.duplicate),
            delay_seconds=min(self.delay_seconds + other.delay_seconds, 3599.0),
            jitter_seconds=min(self.jitter_seconds + other.jitter_seconds, 3599.0),
            reorder=_either(self.reorder, other.reorder),
            reorder_seconds=max(self.reorder_seconds, other.reorder_seconds),
        )


class FaultyTransport:
    """Any transport, with faults in front of it; see Transport for the methods that it passes on."""

    def __init__(self, inner: Transport, *, random: random.Random, clock: Clock) -> None:
        self.inner = inner
        self._random = random
        self._clock = clock
        self._faults: dict[int, Fault] = {}
        self._effective: dict[str, Fault | None] = {}
        self._last_id = 0
        self._held: list[tuple[float, int, str, bytes]] = []
        self._held_until: dict[str, float] = {}
        self._sequence = 0
        self._counters: Counter[str] = Counter()
        self.name = inner.name
        self.incarnation = inner.incarnation
        self.frame_bytes_max = inner.frame_bytes_max
        # Passed on as they are.
        self.connect = inner.connect
        self.disconnect = inner.disconnect
        self.receive = inner.receive
        self.add_reader = inner.add_reader
        self.remove_reader = inner.remove_reader
        self.wake = inner.wake
        self.pace = 1.0  # Of this process's clock: what it takes for a second is over so much sooner.

    def add(self, fault: Fault) -> int:
        """Let a fault take effect; returns the id to clear it by, which is never used again."""
        self._last_id += 1
        self._faults[self._last_id] = fault
        self._effective.clear()
        return self._last_id

    def clear(self, fault_id: int | None = None) -> bool:
        """Take back one fault, or all; False when there was none. What is held stays held until its time."""
        found = bool(self._faults) if fault_id is None else fault_id in self._faults
        if fault_id is None:
            self._faults.clear()
        else:
            self._faults.pop(fault_id, None)
        self._effective.clear()
        return found

    @property
    def faults(self) -> Mapping[int, Fault]:
        """What is in effect, by id."""
        return dict(self._faults)

    def next_deadline(self) -> float | None:
        """When a frame that is held leaves next; None when none is held."""
        return self._held[0][0] if self._held else None

    def send(self, process: str, payload: bytes) -> str | None:
        """Pass a frame on, or what the faults leave of it; one that they swallow counts as accepted."""
        if not self._faults and not self._held_until:
            return self.inner.send(process, payload)
        fault = self._fault_to(process)
        if fault is None and process not in self._held_until:
            return self.inner.send(process, payload)
        fault = fault or Fault()
        if fault.cut:
            self._counters["fault cut"] += 1
            return None
        if self._happens(fault.drop):
            self._counters["fault drop"] += 1
            return None
        refusal = self._send_late(process, payload, fault)
        if self._happens(fault.duplicate):
            self._counters["fault duplicate"] += 1
            self._send_late(process, payload, fault)
        return refusal

    def poll(self, timeout_seconds: float | None) -> None:
        """Wait, but no longer than until a held frame has to leave."""
        if not self._held_until and not self._held:
            self.inner.poll(timeout_seconds)
            return
        self._release()
        if self._held:
            left_seconds = max(self._held[0][0] - self._clock.now(), 0.0)
            timeout_seconds = left_seconds if timeout_seconds is None else min(timeout_seconds, left_seconds)
        self.inner.poll(None if timeout_seconds is None else timeout_seconds / self.pace)
        self._release()

    @property
    def counters(self) -> Mapping[str, int]:
        """The transport's own, and how many frames met which fault."""
        return {**self.inner.counters, **self._counters}

    def close(self) -> None:
        """Close the transport; what is still held is lost, as on a wire that is cut."""
        self._held.clear()
        self.inner.close()

    def _fault_to(self, process: str) -> Fault | None:
        if process not in self._effective:
            if len(self._effective) > _DESTINATIONS_KEPT_MAX:
                self._effective.clear()
            total: Fault | None = None
            for fault in self._faults.values():
                if fault.to is None or fault.to == process:
                    total = fault if total is None else total.plus(fault)
            self._effective[process] = total
        return self._effective[process]

    def _send_late(self, process: str, payload: bytes, fault: Fault) -> str | None:
        now = self._clock.now()
        due = now + fault.delay_seconds + fault.jitter_seconds * self._random.random()
        if self._happens(fault.reorder):
            self._counters["fault reorder"] += 1
            due += fault.reorder_seconds
        else:
            # Jitter alone reorders nothing, as a connection delivers in order however slow it is.
            due = max(due, self._held_until.get(process, now))
            if due > now:
                self._held_until[process] = due
        if due <= now:
            return self.inner.send(process, payload)
        if len(self._held) >= HELD_FRAMES_MAX:
            return "full"
        self._sequence += 1
        heapq.heappush(self._held, (due, self._sequence, process, payload))
        return None

    def _release(self) -> None:
        now = self._clock.now()
        while self._held and self._held[0][0] <= now:
            _, _, process, payload = heapq.heappop(self._held)
            refusal = self.inner.send(process, payload)
            if refusal is not None:
                self._counters[f"late {refusal}"] += 1
        if self._held_until and not self._held:
            self._held_until.clear()

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self._random.random() < probability


def _either(one: float, other: float) -> float:
    return 1 - (1 - one) * (1 - other)

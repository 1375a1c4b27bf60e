"""What leaves this process in the present turn: one frame for each destination.

Owns the batching, and how far behind a peer may be: a sender is refused when what was sent and not taken
has grown too much, whatever the transport below could hold. Owns what becomes of a frame that is refused:
asks in it end at once, ordinary messages are dead letters of which their senders are told, and those of
the runtimes themselves (watches, ends, crash reports, and that an answer was lost) are kept and tried again,
until they are taken or the peer is down.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from actors.address import Address
from actors.asks import Asks
from actors.clock import Clock
from actors.codec import Encodable, FrameBuilder, Registry, read_envelopes
from actors.envelope import (
    DIRECTORY_TAG_MAX,
    SYSTEM_TAGS,
    ActorInfo,
    Envelope,
    Inspect,
    ProcessInfo,
    Refused,
    Resync,
    Taken,
    Undelivered,
)
from actors.errors import AskFailed, MessageTooBig, Undeliverable
from actors.failures.dead_letters import DeadLetters
from actors.timers import Timer, Timers
from actors.transport.base import Transport

FRAME_BYTES_SOFT_MAX: Final = 512 * 1024  # a frame that has grown beyond leaves before the turn ends
ENVELOPE_BYTES_MAX: Final = 1024  # what a frame needs beside a message: names, numbers, the list's header
KEPT_MESSAGES_MAX: Final = 10_000
KEPT_BYTES_MAX: Final = 4 * 1024 * 1024
RETRY_SECONDS: Final = 0.02
UNTAKEN_BYTES_MAX: Final = 64 * 1024 * 1024
UNTAKEN_BYTES_ASKED: Final = 16 * 1024 * 1024  # a peer that may be so far behind is asked whether it is
ASK_TAKEN_SECONDS: Final = 1.0
FULL: Final = "full"
"""The one refusal that is not for good: the peer is there, and has not read what it was sent before."""

# The letters of runtimes that are kept. What is asked or answered by Inspect is asked again by its user.
_KEPT_TAGS: Final = frozenset(
    tag
    for tag, kind in SYSTEM_TAGS.items()
    if tag > DIRECTORY_TAG_MAX and kind not in (Inspect, ActorInfo, ProcessInfo, Taken, Undelivered)
)
_encode = msgspec.msgpack.Encoder().encode


class _Flow:
    """How many bytes a peer was sent, and up to which of them it is known to have taken them."""

    __slots__ = ("asked", "sent_bytes", "taken_bytes")

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.taken_bytes = 0
        self.asked = False


class Outbox:
    """The frames that are being filled, by destination, and the letters that wait for a full peer."""

    def __init__(
        self,
        transport: Transport,
        registry: Registry,
        asks: Asks,
        dead: DeadLetters,
        clock: Clock,
        timers: Timers,
    ) -> None:
        self._transport = transport
        self._registry = registry
        self._asks = asks
        self._dead = dead
        self._clock = clock
        self._timers = timers
        self._kept: dict[str, deque[bytes]] = {}
        self._overflowed: set[str] = set()
        self._flows: dict[str, _Flow] = {}
        self._retry_timer: Timer | None = None
        self._frame_bytes_max = transport.frame_bytes_max
        self.frames: dict[str, FrameBuilder] = {}
        self.on_resync: Callable[[str], None]
        """Called when a process for which more letters were waiting than are kept was sent a Resync."""
        self.on_refused_tells: Callable[[str, Address, str, int], None]
        """Called with a sender's name, the target, why, and how many of its tells were refused."""

    def put(self, to: Address, sender: str, correlation: int, message: object) -> None:
        """Encode a message for another process.

        Raises CodecError, and leaves what was put before as it was, when it can't be encoded or is too big.
        """
        process = to.process
        frame = self.frames.get(process)
        if frame is None:
            frame = FrameBuilder(self._registry)
            size = frame.add(to.actor, sender, correlation, message)
            self.frames[process] = frame
        else:
            size = frame.add(to.actor, sender, correlation, message)
        if size > FRAME_BYTES_SOFT_MAX:
            self._part_with(process, frame, type(message).__qualname__)

    def put_all(self, process: str, envelopes: Sequence[Encodable]) -> bool:
        """Encode many small messages for one process at once; False, and nothing is put, if that fails."""
        frame = self.frames.get(process) or FrameBuilder(self._registry)
        if not frame.add_all(envelopes, FRAME_BYTES_SOFT_MAX):
            return False
        self.frames[process] = frame
        return True

    @property
    def kept(self) -> dict[str, int]:
        """How many letters of this runtime wait for a process that takes nothing just now, by process."""
        return {process: len(letters) for process, letters in self._kept.items()}

    def put_system(self, to: Address, sender: str, correlation: int, message: object) -> None:
        """Put a letter of this runtime to another one, behind those that are kept for it already."""
        kept = self._kept.get(to.process)
        if kept is None:
            self.put(to, sender, correlation, message)
        else:
            self._keep(to.process, [self._encoded(to.actor, sender, correlation, message)])

    def flush(self) -> None:
        """Hand every frame to the transport."""
        while self.frames:
            process, frame = self.frames.popitem()
            self._send(process, frame)

    def peer_up(self, process: str) -> None:
        """Count from now on what a process is sent."""
        self._flows[process] = _Flow()

    def peer_down(self, process: str) -> None:
        """Keep nothing more for a process that is gone."""
        self._flows.pop(process, None)
        self._kept.pop(process, None)
        self._overflowed.discard(process)

    def _part_with(self, process: str, frame: FrameBuilder, kind: str) -> None:
        """Send a frame that has grown, so that a big message shares it with none that came before."""
        last = frame.drop_last()
        del self.frames[process]
        if frame.count:
            self._send(process, frame)
        if len(last) > self._frame_bytes_max - ENVELOPE_BYTES_MAX:
            raise MessageTooBig(
                f"{kind} takes {len(last):,} bytes, and a message to another process may take"
                f" {self._frame_bytes_max - ENVELOPE_BYTES_MAX:,}: send it in parts"
            )
        frame = FrameBuilder(self._registry)
        if frame.add_encoded(last) > FRAME_BYTES_SOFT_MAX:
            self._send(process, frame)
        else:
            self.frames[process] = frame

    def _send(self, process: str, frame: FrameBuilder) -> None:
        payload = frame.take()
        flow = self._flows.get(process)
        if flow is not None and flow.sent_bytes - flow.taken_bytes > UNTAKEN_BYTES_ASKED:
            refusal = self._send_counted(process, flow, payload)
        else:
            refusal = self._transport.send(process, payload)
            if flow is not None and refusal is None:
                flow.sent_bytes += len(payload)
        if refusal is not None:
            self._refused(process, payload, refusal)

    def _send_counted(self, process: str, flow: _Flow, payload: bytes) -> str | None:
        untaken_bytes = flow.sent_bytes - flow.taken_bytes
        if untaken_bytes and untaken_bytes + len(payload) > UNTAKEN_BYTES_MAX:
            refusal: str | None = FULL
        else:
            refusal = self._transport.send(process, payload)
            if refusal is None:
                flow.sent_bytes += len(payload)
        if untaken_bytes > UNTAKEN_BYTES_ASKED and not flow.asked:
            self._ask_taken(process, flow)
        return refusal

    def _ask_taken(self, process: str, flow: _Flow) -> None:
        """Ask a peer whether it has come so far; its answer says so, whatever it is."""
        sent_bytes = flow.sent_bytes
        pending = self._asks.open(Address(process, ""), ASK_TAKEN_SECONDS)

        def on_reply(_reply: object) -> None:
            flow.asked = False
            flow.taken_bytes = sent_bytes

        def on_failure(failure: AskFailed) -> None:
            flow.asked = False
            if isinstance(failure, Undeliverable):
                flow.taken_bytes = sent_bytes  # An older peer, which does not know the question.

        frame = FrameBuilder(self._registry)
        frame.add("", "", pending.correlation, Taken())
        if self._transport.send(process, frame.take()) is None:
            flow.asked = True
            pending.then(on_reply, on_failure)
        else:
            pending.cancel()

    def _refused(self, process: str, payload: bytes, refusal: str) -> None:
        kept: list[bytes] = []
        tells: Counter[tuple[str, str]] = Counter()
        lost = 0
        for envelope in read_envelopes(payload)[0]:
            correlation = envelope.correlation
            if refusal == FULL and envelope.tag in _KEPT_TAGS:
                kept.append(_encode(envelope))
                continue
            lost += 1
            if correlation > 0:
                self._asks.fail(correlation, Undeliverable(f"{process}: {refusal}"))
            elif correlation < 0 and refusal == FULL:
                kept.append(self._lost_answer(envelope))
            elif correlation == 0 and envelope.tag > 0:
                tells[envelope.sender, envelope.to] += 1
        if lost:
            self._dead.add(f"peer {refusal}", Address(process, ""), None, "frame", lost)
        for (sender, to), count in tells.items():
            self.on_refused_tells(sender, Address(process, to), f"peer {refusal}", count)
        if kept:
            self._keep(process, kept)

    def _lost_answer(self, reply: Envelope) -> bytes:
        reason = "its answer could not be sent, as too much was waiting for this process already"
        return self._encoded(reply.to, "", reply.correlation, Refused(reason, delivered=True))

    def _encoded(self, to: str, sender: str, correlation: int, message: object) -> bytes:
        builder = FrameBuilder(self._registry)
        builder.add(to, sender, correlation, message)
        return builder.drop_last()

    def _keep(self, process: str, queued_messages: list[bytes]) -> None:
        kept = self._kept.setdefault(process, deque())
        if kept and process in self._overflowed:
            self._dead.add(
                f"peer {FULL}", Address(process, ""), None, "letters of the runtime", len(queued_messages)
            )
            return
        kept.extend(queued_messages)
        if len(kept) > KEPT_MESSAGES_MAX or sum(map(len, kept)) > KEPT_BYTES_MAX:
            self._dead.add(f"peer {FULL}", Address(process, ""), None, "letters of the runtime", len(kept))
            self._overflowed.add(process)
            kept.clear()
            kept.append(self._encoded("", "", 0, Resync()))
        if self._retry_timer is None:
            self._retry_timer = self._timers.at(self._clock.now() + RETRY_SECONDS, self._retry)

    def _retry(self) -> None:
        self._retry_timer = None
        kept_for, self._kept = self._kept, {}
        for process, kept in kept_for.items():
            frame = FrameBuilder(self._registry)
            for queued in kept:
                frame.add_encoded(queued)
            self._send(process, frame)
            if process in self._overflowed and process not in self._kept:
                self._overflowed.discard(process)
                self.on_resync(process)

"""What leaves this process in the present turn: one frame for each destination.

Owns the batching. What the transport refuses is counted, and asks among it end at once.
"""

from __future__ import annotations

from typing import Final

from actors.address import Address
from actors.asks import Asks
from actors.codec import FrameBuilder, Registry
from actors.dead_letters import DeadLetters
from actors.errors import Undeliverable
from actors.transport import Transport

FRAME_BYTES_SOFT_MAX: Final = 512 * 1024  # a frame that has grown beyond leaves before the turn ends


class Outbox:
    """The frames that are being filled, by destination."""

    def __init__(self, transport: Transport, registry: Registry, asks: Asks, dead: DeadLetters) -> None:
        self._transport = transport
        self._registry = registry
        self._asks = asks
        self._dead = dead
        self.frames: dict[str, FrameBuilder] = {}
        self._asked: dict[str, list[int]] = {}

    def put(self, to: Address, sender: str, correlation: int, message: object) -> None:
        """Encode a message for another process; raises CodecError when it can't be."""
        process = to.process
        frame = self.frames.get(process)
        if frame is None:
            frame = FrameBuilder(self._registry)
            size = frame.add(to.actor, sender, correlation, message)
            self.frames[process] = frame
        else:
            size = frame.add(to.actor, sender, correlation, message)
        if correlation > 0:
            self._asked.setdefault(process, []).append(correlation)
        if size > FRAME_BYTES_SOFT_MAX:
            self._send(process, self.frames.pop(process))

    def flush(self) -> None:
        """Hand every frame to the transport."""
        while self.frames:
            process, frame = self.frames.popitem()
            self._send(process, frame)

    def _send(self, process: str, frame: FrameBuilder) -> None:
        asked = self._asked.pop(process, ())
        count = frame.count
        refusal = self._transport.send(process, frame.take())
        if refusal is None:
            return
        self._dead.add(f"peer {refusal}", Address(process, ""), None, "frame", count)
        for correlation in asked:
            self._asks.fail(correlation, Undeliverable(f"{process}: {refusal}"))

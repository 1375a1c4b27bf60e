"""What a launcher and its fork server say to each other, and how it travels.

Owns the requests, the answers and their framing (length, then MessagePack, on a stream socket
that can carry descriptors). Knows nothing of how a process is made or ended.
"""

from __future__ import annotations

import os
import socket
import struct
from array import array
from collections import deque
from typing import Generic, TypeVar

import msgspec

_LENGTH = struct.Struct(">I")
_RECEIVE_BYTES = 64 * 1024
_ANCILLARY_BYTES = socket.CMSG_SPACE(64 * array("i").itemsize)


class Prepare(msgspec.Struct, array_like=True, tag=0):
    """Import these modules once, so that no child has to."""

    preload: list[str]


class Cleanup(msgspec.Struct, array_like=True, tag=1):
    """Remove these paths, then those directories that are empty, and no others, when the launcher is gone.

    A directory that a process has locked (flock) is left to it.
    """

    paths: list[str]
    if_empty: list[str] = []


class Spawn(msgspec.Struct, array_like=True, tag=2):
    """Fork a child that calls `target` ("package.module:function") with `argument`."""

    number: int
    target: str
    argument: bytes
    log_path: str
    env: dict[str, str]


class Stop(msgspec.Struct, array_like=True, tag=3):
    """Send SIGTERM to the child asked for under `number`, and SIGKILL if it is still there so much later."""

    number: int
    kill_after_seconds: float


class Started(msgspec.Struct, array_like=True, tag=0):
    """The child asked for under `number` runs; a descriptor that tells of its death comes along."""

    number: int
    pid: int


class Failed(msgspec.Struct, array_like=True, tag=1):
    """The child asked for under `number` was not made."""

    number: int
    reason: str
    traceback: str


class Exited(msgspec.Struct, array_like=True, tag=2):
    """The child has ended and left no zombie: its exit code, or minus the signal that ended it."""

    number: int
    returncode: int


Request = Prepare | Cleanup | Spawn | Stop
Answer = Started | Failed | Exited
REQUEST: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
ANSWER: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)

Incoming = TypeVar("Incoming")


class Channel(Generic[Incoming]):
    """One end of the stream: whole messages out and in, and descriptors beside them."""

    def __init__(self, stream: socket.socket, incoming: msgspec.msgpack.Decoder[Incoming]) -> None:
        self._stream = stream
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = incoming
        self._buffer = bytearray()
        self.descriptors: deque[int] = deque()
        self.ended = False

    def fileno(self) -> int:
        """The descriptor to wait on before `receive`."""
        return self._stream.fileno()

    def send(self, message: Request | Answer, descriptor: int | None = None) -> None:
        """Send one whole message, waiting only for a peer far behind. Raises OSError when it is gone."""
        body = self._encoder.encode(message)
        frame = _LENGTH.pack(len(body)) + body
        sent = socket.send_fds(self._stream, [frame], [] if descriptor is None else [descriptor])
        self._stream.sendall(frame[sent:])

    def receive(self) -> list[Incoming]:
        """Every whole message that has arrived, without waiting; `ended` once the other end is closed."""
        while not self.ended:
            try:
                # Not socket.recv_fds: before Python 3.12 it drops its flags, and would wait.
                data, ancillary, _, _ = self._stream.recvmsg(
                    _RECEIVE_BYTES, _ANCILLARY_BYTES, socket.MSG_DONTWAIT
                )
            except BlockingIOError:
                break
            except ConnectionError:
                data, ancillary = b"", []
            for _level, _kind, rights in ancillary:
                self._keep_descriptors(rights)
            self._buffer += data
            self.ended = not data
        return self._whole_messages()

    def close(self) -> None:
        """Close this end; the other one sees the end of the stream."""
        self._stream.close()
        while self.descriptors:
            os.close(self.descriptors.popleft())

    def _keep_descriptors(self, rights: bytes) -> None:
        fds = array("i")
        fds.frombytes(rights[: len(rights) - len(rights) % fds.itemsize])
        for fd in fds:
            os.set_inheritable(fd, False)
            self.descriptors.append(fd)

    def _whole_messages(self) -> list[Incoming]:
        messages = []
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            messages.append(self._decoder.decode(bytes(self._buffer[start + _LENGTH.size : end])))
            start = end
        del self._buffer[:start]
        return messages

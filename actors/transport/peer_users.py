"""Whose process is at the other end of a TCP connection within this machine.

Owns the question to the system (Linux's sock_diag, one connection at a time), and who counts as trusted: this
user and root, as ssh and the directories of ipc sockets have it. Where the system does not tell, each user
counts, which is said once in the log. Knows nothing of what is said on a connection.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from typing import Final

from actors.transport.log import Log

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_REQUEST: Final = 1
_HEADER: Final = struct.Struct("=IHHII")  # Length, type, flags, sequence, port: a netlink message.
_WANTED: Final = struct.Struct("=BBBBI")  # Family, protocol, extensions, padding, states.
_PORTS: Final = struct.Struct("!HH")
_ANY_INTERFACE_NO_COOKIE: Final = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
_ADDRESS_BYTES: Final = 16
_STATE_AT: Final = _HEADER.size + 1
_USER: Final = struct.Struct("=I")
_USER_AT: Final = _HEADER.size + 4 + 48 + 12  # Behind the family and state, the addresses, three counts.
_ESTABLISHED: Final = 1
_ANSWER_BYTES: Final = 4096
_MAPPED: Final = "::ffff:"


class Users:
    """Asks for a process that listens or connects on loopback TCP without keys."""

    def __init__(self, log: Log) -> None:
        self._trusted = {os.geteuid(), 0}
        self._tells = self._try_out()
        if not self._tells:
            log(
                "WARNING",
                "users-unknown",
                "this system does not tell which user a local TCP connection belongs to: without keys every "
                "user of this machine is heard",
            )

    def is_stranger(self, descriptor: int, port: int) -> bool:
        """Does the other end of a connection belong to another user, or has it gone already?

        `port` is where one of both listens: else another connection has got the descriptor meanwhile.
        """
        return self.trusts(descriptor, port) is not True

    def trusts(self, descriptor: int, port: int) -> bool | None:
        """As `is_stranger`, the other way round; None if the other end has gone already."""
        if not self._tells:
            return True
        with suppress(OSError, ValueError):
            user = _user_at_other_end(descriptor, port)
            return None if user is None else user in self._trusted
        return None

    def _try_out(self) -> bool:
        """Does the system know what is known here: whose a connection to oneself is?"""
        with (
            suppress(OSError, ValueError),
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname()) as one,
            server.accept()[0],
        ):
            return _user_at_other_end(one.fileno(), server.getsockname()[1]) == os.geteuid()
        return False


def _user_at_other_end(descriptor: int, port: int) -> int | None:
    """The user whose socket is connected to this one; None if none is. Raises OSError, or ValueError."""
    asked = socket.socket(fileno=descriptor)
    try:
        family = asked.family
        here, there = asked.getsockname()[:2], asked.getpeername()[:2]
    finally:
        asked.detach()
    if port not in (here[1], there[1]):
        return None
    if family == socket.AF_INET6 and there[0].startswith(_MAPPED):
        family = socket.AF_INET
        here, there = ((host.removeprefix(_MAPPED), port) for host, port in (here, there))
    addresses = [socket.inet_pton(family, host).ljust(_ADDRESS_BYTES, b"\0") for host in (there[0], here[0])]
    identity = b"".join((_PORTS.pack(there[1], here[1]), *addresses, _ANY_INTERFACE_NO_COOKIE))
    body = _WANTED.pack(family, socket.IPPROTO_TCP, 0, 0, 1 << _ESTABLISHED) + identity
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
    ) as system:
        system.send(_HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST, 1, 0) + body)
        answer = system.recv(_ANSWER_BYTES)
    kind = _HEADER.unpack_from(answer)[1]
    # One that waits for its end (TIME_WAIT) belongs to user 0 in this answer.
    if kind != _SOCK_DIAG_BY_FAMILY or answer[_STATE_AT] != _ESTABLISHED:
        return None
    return int(_USER.unpack_from(answer, _USER_AT)[0])

"""Where a process may listen or connect, checked before a socket exists.

Owns the rules: local means a private directory, a socket's path has its limit, a socket in use is
not taken over, and what leaves this machine needs keys. Every error says what to do.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from actors.errors import TransportError

IPC_PATH_BYTES_MAX: Final = 107
ENDPOINT_CHARACTERS_MAX: Final = 300  # A host name of 253, and what stands around it.
_PORT_MAX: Final = 65535
_PORT_DIGITS_MAX: Final = 5
_REFUSAL_SECONDS_MAX: Final = 0.005  # This machine's own takes microseconds; a paused process gives none.


class EndpointError(TransportError):
    """An endpoint that cannot be one, is not safe, or is in use."""


def check_endpoint(endpoint: str, *, has_keys: bool) -> None:
    """Raise EndpointError unless it is ipc:///absolute/path, or a tcp://host:port that is safe."""
    if len(endpoint) > ENDPOINT_CHARACTERS_MAX:
        raise EndpointError(
            f"an endpoint has at most {ENDPOINT_CHARACTERS_MAX} characters, not {len(endpoint)}"
        )
    if not endpoint.isprintable():
        raise EndpointError(f"an endpoint has printable characters only, unlike {endpoint!r}")
    kind, separator, rest = endpoint.partition("://")
    if kind == "ipc" and separator:
        _check_ipc_path(rest)
    elif kind == "tcp" and separator:
        host, _port = split_tcp(endpoint)
        if not has_keys and not is_loopback(host):
            raise EndpointError(
                f"{endpoint} can be reached from other machines, so it needs CURVE keys: make them, give this"
                " process its key file, or use a loopback address (127.0.0.1) or ipc://"
            )
    else:
        raise EndpointError(f"an endpoint is ipc:///absolute/path or tcp://host:port, not {endpoint!r:.200}")


def check_target(endpoint: str, *, has_keys: bool) -> None:
    """Raise EndpointError unless another process can connect to it: `check_endpoint`, and no wildcards."""
    check_endpoint(endpoint, has_keys=has_keys)
    if not endpoint.startswith("tcp://"):
        return
    host, port = split_tcp(endpoint)
    if port == 0:
        raise EndpointError(
            f"nothing can connect to {endpoint}, whose port the system chooses: give the port's number"
        )
    if host == "*" or _is_unspecified(host):
        raise EndpointError(
            f"nothing can connect to {endpoint}, which stands for all of a machine's addresses: give one"
        )


def canonical(endpoint: str) -> str:
    """The same text for endpoints that lead to the same socket, as far as they can be told by reading."""
    if endpoint.startswith("tcp://"):
        try:
            host, port = split_tcp(endpoint)
        except EndpointError:
            return endpoint
        host = "127.0.0.1" if host == "localhost" else host.lower().strip("[]")
        with suppress(ValueError):  # Whether a name leads to another member's address the resolver knows.
            host = str(ipaddress.ip_address(host))
        return f"tcp://{host}:{port}"
    if endpoint.startswith("ipc://"):
        return "ipc://" + os.path.normpath(endpoint.removeprefix("ipc://"))
    return endpoint


def split_tcp(endpoint: str) -> tuple[str, int]:
    """Host and port of tcp://host:port; port 0 for `*`, which lets the system choose."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    if not host or any(character in host for character in "/; ,"):
        raise EndpointError(f"a TCP endpoint is tcp://host:port, not {endpoint!r:.200}")
    if port == "*":
        return host, 0
    is_number = port.isascii() and port.isdigit() and len(port) <= _PORT_DIGITS_MAX
    if not (is_number and int(port) <= _PORT_MAX):
        raise EndpointError(f"the port in {endpoint!r:.200} is not a number up to {_PORT_MAX}")
    return host, int(port)


def to_listen_at(endpoint: str) -> str:
    """The endpoint as libzmq takes it, which listens at addresses and not at names."""
    if endpoint.startswith("ipc://"):
        return endpoint
    host, port = split_tcp(endpoint)
    return f"tcp://{'127.0.0.1' if host == 'localhost' else host}:{port or '*'}"


def is_loopback(host: str) -> bool:
    """Whether `host` can be reached from this machine only; a name other than localhost may lead anywhere."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_deserted(endpoint: str) -> bool:
    """Whether it is certain that no process listens there; of other machines it never is.

    Takes milliseconds at most.
    """
    address: str | tuple[str, int]
    if endpoint.startswith("ipc://"):
        family, address = socket.AF_UNIX, endpoint.removeprefix("ipc://")
    else:
        host, port = split_tcp(endpoint)
        if not is_loopback(host):
            return False
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        address = "127.0.0.1" if host == "localhost" else host.strip("[]"), port
    with socket.socket(family) as probe:
        probe.settimeout(_REFUSAL_SECONDS_MAX)
        return probe.connect_ex(address) in (errno.ECONNREFUSED, errno.ENOENT)


def _is_unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return False


def claim_ipc_path(endpoint: str) -> None:
    """Make way for a socket at ipc://path: its directory is private, and no process listens there.

    Removes the socket that a dead process left. Two that start at the same moment are kept apart by the
    lock that their caller holds, not by this. Raises EndpointError.
    """
    path = Path(endpoint.removeprefix("ipc://"))
    _check_private_directory(path.parent)
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise EndpointError(f"{path} is there already and is no socket: remove it or listen elsewhere")
    if _has_listener(path):
        raise EndpointError(f"another process listens at {path}: stop it or listen elsewhere")
    path.unlink(missing_ok=True)


def _check_ipc_path(text: str) -> None:
    if not text.startswith("/"):
        raise EndpointError(f"ipc:// needs an absolute path, not {text!r:.200}")
    length = len(os.fsencode(text))
    if length > IPC_PATH_BYTES_MAX:
        raise EndpointError(
            f"the socket path {text:.200} has {length} bytes, and the system allows {IPC_PATH_BYTES_MAX}:"
            " use a directory with a shorter name"
        )


def _check_private_directory(directory: Path) -> None:
    try:
        found = directory.stat()
    except OSError as error:
        raise EndpointError(f"no socket can be made in {directory}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise EndpointError(f"{directory} is not a directory")
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise EndpointError(
            f"{directory} is open to others (owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):o}):"
            " sockets need a directory of your own with mode 700"
        )


def _has_listener(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:
            return True  # Its backlog is full: paused, perhaps, but there.
        except OSError as error:
            raise EndpointError(f"{path} cannot be used: {error.strerror}") from error
    return True

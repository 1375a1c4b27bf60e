"""CURVE keys as files, and the door that only their owners pass.

Owns the key files, the list of those who are let in, and the ZAP handler that asks it. A key
belongs to a name: a process speaks as that name, or as a name under it ("alice" as "alice.7f3").
While its key is being changed a name has two. What the list says of roles is passed on as it is.
Knows nothing of frames.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec
import zmq
from zmq.utils import z85

from actors.address import check_process_name
from actors.errors import TransportError
from actors.processes.private_files import replace_file

ALLOWED_FILE: Final = "allowed.toml"
DOMAIN: Final = b"actors"
_ENDPOINT: Final = "inproc://zeromq.zap.01"
_KEY_CHARACTERS: Final = 40
KEYS_MAX: Final = 4
"""So many keys may a name have at once."""
KEY_PROPERTY: Final = "X-Key"
"""What each frame of a connection tells of it: by which of its owner's keys it was made."""


class KeysError(TransportError):
    """Keys that cannot be made, read or trusted; the message says what to do."""


class Grant(msgspec.Struct, frozen=True):
    """What the list says of a name beside its keys; what it means is another's to say."""

    role: str = ""
    below: str = ""


class Entry(msgspec.Struct, frozen=True):
    """A name in the list: its keys, the newest first."""

    keys: tuple[bytes, ...]
    grant: Grant


class Keys(msgspec.Struct, frozen=True):
    """One process's key pair, and the public keys of all whom it knows, by name."""

    name: str
    public: bytes
    secret: bytes
    allowed: Mapping[str, bytes]  # The newest of each.
    older: Mapping[str, tuple[bytes, ...]] = {}  # Of those who are changing theirs.
    grants: Mapping[str, Grant] = {}

    def __repr__(self) -> str:  # Never the secret: it would end in a log.
        return f"Keys({self.name!r}, {len(self.allowed)} allowed)"

    def keys_of(self, process: str) -> tuple[bytes, ...]:
        """All keys by which `process` may prove who it is, the newest first."""
        name = process if process in self.allowed else process.rpartition(".")[0]
        return (self.allowed[name], *self.older.get(name, ())) if name in self.allowed else ()

    def owners(self) -> dict[bytes, str]:
        """Whose each key is that is let in."""
        newest = {key: name for name, key in self.allowed.items()}
        return newest | {key: name for name, keys in self.older.items() for key in keys}

    def public_key_of(self, process: str) -> bytes:
        """The key that `process` must prove to have: its own, or that of the name it is under.

        Raises KeysError for a stranger.
        """
        keys = self.keys_of(process)
        if not keys:
            raise KeysError(f"{ALLOWED_FILE} has no public key of {process}: make one, and add it everywhere")
        return keys[0]


def generate(
    directory: Path, names: Sequence[str], grants: Mapping[str, Grant] = MappingProxyType({})
) -> list[Path]:
    """Make a key file NAME.toml for each name, and enter them all in the list of those allowed.

    Files have mode 0600 in a directory of mode 0700. A process needs its own key file and, beside it, the
    list; no other process's key file. Names that are in the list already stay. Raises KeysError, before
    anything is written, when a name has a key already.
    """
    for name in names:
        _check_name(name)
        if (directory / f"{name}.toml").exists():
            raise KeysError(
                f"{directory / name}.toml is there already: remove it first if {name} needs a new key"
            )
    if len(set(names)) < len(names):
        raise KeysError(f"a name occurs twice among {', '.join(names)}")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise KeysError(f"{directory} cannot be made: {error.strerror}") from error
    _check_private(directory)
    entries = read_list(directory) if (directory / ALLOWED_FILE).exists() else {}
    secrets = {name: zmq.curve_keypair() for name in names}
    for name, (public, _) in secrets.items():
        entries[name] = Entry((public,), grants.get(name, Grant()))
    paths = [_write_key(directory, name, *pair) for name, pair in secrets.items()]
    _write_list(directory, entries)
    return paths


def rotate(directory: Path, name: str) -> Path:
    """Make another key for a name, which is let in by both until `retire`; its key file has the new one.

    The list has to be everywhere before the key file is. Raises KeysError for one that has two already.
    """
    entries = read_list(directory)
    entry = _entry_of(directory, entries, name)
    if len(entry.keys) > 1:
        raise KeysError(
            f"{name} has {len(entry.keys)} keys in {directory / ALLOWED_FILE}: retire the old one first"
        )
    public, secret = zmq.curve_keypair()
    entries[name] = Entry((public, *entry.keys), entry.grant)
    _write_list(directory, entries)
    return _write_key(directory, name, public, secret)


def retire(directory: Path, name: str) -> int:
    """Let a name in by its newest key only; how many older ones there were. Raises KeysError."""
    entries = read_list(directory)
    entry = _entry_of(directory, entries, name)
    entries[name] = Entry(entry.keys[:1], entry.grant)
    _write_list(directory, entries)
    return len(entry.keys) - 1


def remove(directory: Path, name: str) -> None:
    """Take a name off the list, and its key file away. Raises KeysError."""
    entries = read_list(directory)
    _entry_of(directory, entries, name)
    del entries[name]
    _write_list(directory, entries)
    (directory / f"{name}.toml").unlink(missing_ok=True)


def load(path: Path) -> Keys:
    """Read a key file, and the list of those allowed beside it. Raises KeysError."""
    _check_private(path)
    fields = _read_toml(path)
    name = fields.get("name", "")
    public, secret = _key(path, fields.get("public")), _key(path, fields.get("secret"))
    if zmq.curve_public(secret) != public:
        raise KeysError(f"the public and the secret key in {path} do not belong together")
    return keys_with(_check_name(name), public, secret, read_list(path.parent))


def keys_with(name: str, public: bytes, secret: bytes, entries: Mapping[str, Entry]) -> Keys:
    """A key pair, and a list."""
    return Keys(
        name,
        public,
        secret,
        {name: entry.keys[0] for name, entry in entries.items()},
        {name: entry.keys[1:] for name, entry in entries.items() if len(entry.keys) > 1},
        {name: entry.grant for name, entry in entries.items()},
    )


class Authenticator:
    """Answers libzmq's question, at each handshake, whether that key may come in (ZAP, RFC 27).

    Without one, libzmq lets every key in. It listens inside one zmq context, and has to be there before
    the first peer is.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], keys: Keys, on_stranger: Callable[[str, str], None]
    ) -> None:
        """`on_stranger` is told the address and the public key of each that is turned away."""
        self.allow(keys)
        self._on_stranger = on_stranger
        self.socket = context.socket(zmq.REP)
        self.socket.bind(_ENDPOINT)

    def allow(self, keys: Keys) -> None:
        """Let in those whom this list names from now on, and no others."""
        self._keys = keys
        self._owners = keys.owners()

    def guard(self, inbox: zmq.Socket[bytes]) -> None:
        """Make `inbox` ask at the door, and show our key; before it is bound."""
        inbox.setsockopt(zmq.CURVE_SERVER, 1)
        inbox.setsockopt(zmq.CURVE_SECRETKEY, self._keys.secret)
        inbox.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
        inbox.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def answer(self) -> None:
        """Answer all pending connections, without waiting for more."""
        with suppress(zmq.Again):
            while True:
                self.socket.send_multipart(self._verdict(self.socket.recv_multipart(zmq.DONTWAIT)))

    def _verdict(self, question: list[bytes]) -> list[bytes]:
        version, number, domain, address, _routing_id, mechanism, *credentials = question
        owner, key = None, b""
        if domain == DOMAIN and mechanism == b"CURVE" and len(credentials) == 1:
            key = z85.encode(credentials[0])
            owner = self._owners.get(key)
        if owner is None:
            self._on_stranger(address.decode(errors="replace"), key.decode())
            return [version, number, b"400", b"not among those allowed", b"", b""]
        return [version, number, b"200", b"OK", owner.encode(), _property(KEY_PROPERTY, key)]


def identify(peer: zmq.Socket[bytes], keys: Keys, public_key: bytes) -> None:
    """Make a connecting socket prove who it is, and ask the same of the one it finds; before it connects."""
    peer.setsockopt(zmq.CURVE_SERVERKEY, public_key)
    peer.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
    peer.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)


def _check_name(name: object) -> str:
    if not isinstance(name, str) or any(character in name for character in '"\\'):
        raise KeysError(f"{name!r} cannot be a process's name")
    return check_process_name(name)


def _check_private(path: Path) -> None:
    """Only this user, or root, can change the file and the way to it, and only this user can read it."""
    _check_trusted(path)
    mode = _stat(path)[0]
    if mode & 0o077:
        raise KeysError(f"{path} can be read by others (mode {mode:o}): chmod go= {path}")


def _check_trusted(path: Path) -> None:
    """No other user can change the file, or put another one in its place: as ssh checks its own files.

    A directory that all may write to counts only if entries in it are their owners' (sticky, as /tmp).
    """
    full = path.resolve() if path.exists() else path.absolute()
    for place in (full, *full.parents):
        mode, owner = _stat(place)
        if owner not in (os.geteuid(), 0):
            raise KeysError(
                f"{place} belongs to another user (uid {owner}), who could change {path.name}:"
                f" chown it to uid {os.geteuid()}, or keep the keys elsewhere"
            )
        shared = mode & 0o022
        if shared and not (place != full and mode & stat.S_ISVTX):
            raise KeysError(f"{place} can be changed by others (mode {mode:o}): chmod go-w {place}")


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise KeysError(f"{path} cannot be read: {error.strerror}") from error
    return stat.S_IMODE(found.st_mode), found.st_uid


def _read_toml(path: Path) -> dict[str, object]:
    import tomllib  # Only who has keys pays for it.

    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise KeysError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise KeysError(f"{path} is no key file: {error}") from error


def read_list(directory: Path) -> dict[str, Entry]:
    """The list of those allowed, by name. Raises KeysError."""
    path = directory / ALLOWED_FILE
    _check_trusted(path)
    entries = {_check_name(name): _entry(path, name, told) for name, told in _read_toml(path).items()}
    keys = [key for entry in entries.values() for key in entry.keys]
    if len(set(keys)) < len(keys):
        raise KeysError(f"two names have the same key in {path}, or one has it twice")
    return entries


def _entry(path: Path, name: str, told: object) -> Entry:
    if not isinstance(told, dict):
        return Entry((_key(path, told),), Grant())
    unknown = sorted(set(told) - {"keys", "role", "below"})
    keys = told.get("keys")
    if unknown or not isinstance(keys, list) or not 1 <= len(keys) <= KEYS_MAX:
        what = f"has no use for {unknown[0]!r}" if unknown else f"needs keys, one to {KEYS_MAX} of them"
        raise KeysError(f"{name} {what} in {path}: write {{ keys = [...], role = ..., below = ... }}")
    role, below = told.get("role", ""), told.get("below", "")
    if not isinstance(role, str) or not isinstance(below, str):
        raise KeysError(f"role and below of {name} are texts in {path}")
    return Entry(tuple(_key(path, key) for key in keys), Grant(role, below))


def _entry_of(directory: Path, entries: Mapping[str, Entry], name: str) -> Entry:
    if name not in entries:
        raise KeysError(
            f"{directory / ALLOWED_FILE} has no key of {name}: {', '.join(entries) or 'no entry'}"
        )
    return entries[name]


def _write_list(directory: Path, entries: Mapping[str, Entry]) -> None:
    lines = "".join(f"{_quoted(name)} = {_written(entry)}\n" for name, entry in sorted(entries.items()))
    _write_private(
        directory / ALLOWED_FILE, f"# Who is let in, by public key. Every machine has this list.\n{lines}"
    )


def _written(entry: Entry) -> str:
    keys = ", ".join(_quoted(key.decode()) for key in entry.keys)
    parts = [f"keys = [{keys}]"]
    parts += [f"role = {_quoted(entry.grant.role)}"] if entry.grant.role else []
    parts += [f"below = {_quoted(entry.grant.below)}"] if entry.grant.below else []
    return f"{{ {', '.join(parts)} }}" if entry != Entry(entry.keys[:1], Grant()) else keys


def _quoted(text: str) -> str:
    """As TOML has it, which agrees with JSON for what is printable; tests hold it against a reader."""
    return json.dumps(text, ensure_ascii=False)


def _write_key(directory: Path, name: str, public: bytes, secret: bytes) -> Path:
    path = directory / f"{name}.toml"
    _write_private(
        path,
        f'# The holder of this file speaks as {name}: keep it secret.\nname = "{name}"\n'
        f'public = "{public.decode()}"\nsecret = "{secret.decode()}"\n',
    )
    return path


def _property(name: str, value: bytes) -> bytes:
    """One property of a connection, as a ZAP handler tells it."""
    return bytes([len(name)]) + name.encode() + len(value).to_bytes(4, "big") + value


def _key(path: Path, text: object) -> bytes:
    if not isinstance(text, str) or not text.isascii() or len(text) != _KEY_CHARACTERS:
        raise KeysError(f"{path} lacks a key of {_KEY_CHARACTERS} characters")
    try:
        z85.decode(text.encode())
    except (KeyError, ValueError) as error:
        raise KeysError(f"{path} has a key with characters that keys do not have") from error
    return text.encode()


def _write_private(path: Path, text: str) -> None:
    """Put a whole file in its place, never half of it, and never for others to read."""
    try:
        replace_file(path, text.encode())
    except OSError as error:
        raise KeysError(f"{path} cannot be written: {error.strerror}") from error

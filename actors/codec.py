"""Messages as bytes: a table of tags, and frames of many envelopes.

Owns the encoding, msgpack of typed structs, and the table that says which tag is which type.
The table comes from above; nothing is looked up by name, and no more is called by decoding than the
types' own `__post_init__`. Whatever goes wrong with a message is a CodecError of that message alone:
the others in its frame are read and written as if it were not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec

from actors.envelope import NAME_MAX, SYSTEM_TAGS, ActorName, Correlation, Envelope
from actors.errors import CodecError, UnregisteredMessage
from actors.failures.crash_reports import describe
from actors.transport.msgpack import Walk

# Besides its own errors the decoder lets out UnicodeDecodeError, a ValueError, and a RecursionError.
_NOT_DECODABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
ENVELOPES_MAX: Final = 100_000
_LIST_HEADER: Final = b"\xdd\x00\x00\x00\x00"  # msgpack's list of up to 2**32 - 1 elements


class Registry:
    """Which tag on the wire is which message type, with a decoder for each, made when it is first needed.

    Tags are positive numbers, best below 128, where they take one byte; a type has one tag.
    """

    def __init__(self, tags: Mapping[int, type]) -> None:
        if any(tag < 1 for tag in tags):
            raise ValueError(f"tags are positive numbers, not {min(tags)}")
        every = {**SYSTEM_TAGS, **tags}
        self.tags = {kind: tag for tag, kind in every.items()}
        """By type; to be read only."""
        if len(self.tags) != len(every):
            raise ValueError("a type has one tag, and a tag has one type")
        self._kinds = every
        self._decoders: dict[int, Callable[[Any], Any]] = {}

    def tag(self, kind: type) -> int:
        """The tag of a message type; raises UnregisteredMessage when it has none."""
        try:
            return self.tags[kind]
        except KeyError:
            raise UnregisteredMessage(
                f"{kind.__qualname__} has no tag, so that it cannot leave the process"
            ) from None

    def decode(self, tag: int, payload: bytes | msgspec.Raw) -> Any:
        """The message that a payload holds; raises CodecError for a strange tag or strange bytes."""
        decoder = self._decoders.get(tag) or self._make_decoder(tag)
        try:
            return decoder(payload)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise CodecError(f"tag {tag}: {describe(error)}") from error

    def prepare(self, kind: type) -> None:
        """Make a type's decoder now, so that its first message is read as quickly as those after it."""
        tag = self.tag(kind)
        if tag not in self._decoders:
            self._make_decoder(tag)

    def _make_decoder(self, tag: int) -> Callable[[Any], Any]:
        """Not made with the registry: it takes long, and a process that has just started needs few."""
        kind = self._kinds.get(tag)
        if kind is None:
            raise CodecError(f"there is no message type with the tag {tag} here")
        self._decoders[tag] = msgspec.msgpack.Decoder(kind).decode
        return self._decoders[tag]


Encodable = tuple[str, str, int, int, object]
"""The target's name, the sender's, the correlation, the tag and the message: an envelope to be encoded."""

_encode_into = msgspec.msgpack.Encoder().encode_into
_encode = msgspec.msgpack.Encoder().encode
# More than any sender puts into one: each becomes an object, which takes more memory than its bytes.
_Envelopes = Annotated[list[Envelope], msgspec.Meta(max_length=ENVELOPES_MAX)]
_decode_envelopes = msgspec.msgpack.Decoder(_Envelopes).decode
_decode_envelope = msgspec.msgpack.Decoder(Envelope).decode
_decode_header = msgspec.msgpack.Decoder(tuple[ActorName, ActorName, Correlation, int]).decode
VALUES_WALKED_MAX: Final = 100_000
BROKEN_ENVELOPES_MAX: Final = 64
UNREADABLE: Final = b"\xc1"  # the one byte that is never msgpack


class FrameBuilder:
    """Collects the envelopes of one frame; each message is encoded when it is added, and only then."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._tags = registry.tags
        self._buffer = bytearray(_LIST_HEADER)
        self._last_at = len(_LIST_HEADER)
        self.count = 0

    def add(self, to: str, sender: str, correlation: int, message: object) -> int:
        """Encode one more envelope; the bytes of the frame so far.

        Raises CodecError and adds nothing when it can't be encoded.
        """
        if len(to) + len(sender) > NAME_MAX and max(len(to), len(sender)) > NAME_MAX:
            raise CodecError(
                f"an actor's name has at most {NAME_MAX} characters, unlike {max(to, sender, key=len)!r:.80}"
            )
        buffer = self._buffer
        end = len(buffer)
        kind = type(message)
        tag = self._tags.get(kind) or self._registry.tag(kind)
        try:
            _encode_into((to, sender, correlation, tag, message), buffer, -1)
        except BaseException as error:
            del buffer[end:]
            if isinstance(error, KeyboardInterrupt):
                raise
            raise CodecError(f"{kind.__qualname__} cannot be encoded: {describe(error)}") from error
        self._last_at = end
        self.count += 1
        return len(buffer)

    def add_all(self, envelopes: Sequence[Encodable], bytes_max: int) -> bool:
        """Encode many envelopes at once, with names and tags that are known to be right.

        False, and nothing is added, when one of them can't be encoded, or the frame would be too long.
        """
        try:
            encoded = memoryview(_encode(envelopes))
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
            return False
        if len(self._buffer) + len(encoded) > bytes_max:
            return False
        count = len(envelopes)
        header_bytes = 1 if count < 16 else 3 if count < 2**16 else 5  # Of msgpack's list.
        self._buffer += encoded[header_bytes:]
        self.count += count
        return True

    def drop_last(self) -> bytes:
        """Take the envelope that was added last out again, once; returns its bytes."""
        envelope = bytes(self._buffer[self._last_at :])
        del self._buffer[self._last_at :]
        self.count -= 1
        return envelope

    def add_encoded(self, envelope: bytes) -> int:
        """Add an envelope that `drop_last` returned, of whatever builder; the bytes of the frame so far."""
        self._last_at = len(self._buffer)
        self._buffer += envelope
        self.count += 1
        return len(self._buffer)

    def take(self) -> bytes:
        """The frame so far, as bytes; the builder is empty afterwards."""
        self._buffer[1:5] = self.count.to_bytes(4, "big")
        frame = bytes(self._buffer)
        self._buffer = bytearray(_LIST_HEADER)
        self.count = 0
        return frame


def read_envelopes(payload: bytes) -> tuple[list[Envelope], int]:
    """The envelopes of a frame, in order, and how many parts of it are none.

    Something that is nested too deeply, or no envelope at all, costs its neighbours nothing.
    """
    try:
        return _decode_envelopes(payload), 0
    except _NOT_DECODABLE:
        return _read_one_by_one(payload)


def _read_one_by_one(payload: bytes) -> tuple[list[Envelope], int]:
    envelopes, broken = [], 0
    walk = Walk(payload, VALUES_WALKED_MAX)
    for part in walk.elements():
        if broken == BROKEN_ENVELOPES_MAX:
            break  # Not an accident: no more time is spent on it.
        try:
            envelopes.append(_decode_envelope(part))
        except _NOT_DECODABLE:
            try:
                # Its header may still be good: then the asker can be told.
                header = _decode_header(Walk(part, VALUES_WALKED_MAX).first_elements(4))
                envelopes.append(Envelope(*header, msgspec.Raw(UNREADABLE)))
            except _NOT_DECODABLE:
                broken += 1
    return envelopes, broken + (not walk.whole)

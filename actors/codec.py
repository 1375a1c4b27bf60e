"""Messages as bytes: a table of tags, and frames of many envelopes.

Owns the encoding, msgpack of typed structs, and the table that says which tag is which type.
The table comes from above; nothing is looked up by name, and nothing can be called by decoding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import msgspec

from actors.envelope import NAME_MAX, SYSTEM_TAGS, Envelope
from actors.errors import CodecError, UnregisteredMessage

# Besides its own errors the decoder lets out UnicodeDecodeError, a ValueError, and a RecursionError.
_NOT_DECODABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
ENVELOPES_MAX: Final = 100_000
_LIST_HEADER: Final = b"\xdd\x00\x00\x00\x00"  # msgpack's list of up to 2**32 - 1 elements


class Registry:
    """Which tag on the wire is which message type, with a decoder made ready for each.

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
        self._decoders: dict[int, Callable[[Any], Any]] = {
            tag: msgspec.msgpack.Decoder(kind).decode for tag, kind in every.items()
        }

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
        decoder = self._decoders.get(tag)
        if decoder is None:
            raise CodecError(f"nobody knows the tag {tag}")
        try:
            return decoder(payload)
        except _NOT_DECODABLE as error:
            raise CodecError(f"tag {tag}: {error}") from error


_encode_into = msgspec.msgpack.Encoder().encode_into
# More than any sender puts into one: each becomes an object, which takes more memory than its bytes.
_Envelopes = Annotated[list[Envelope], msgspec.Meta(max_length=ENVELOPES_MAX)]
_decode_envelopes = msgspec.msgpack.Decoder(_Envelopes).decode


class FrameBuilder:
    """Collects the envelopes of one frame; each message is encoded when it is added, and only then."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._tags = registry.tags
        self._buffer = bytearray(_LIST_HEADER)
        self.count = 0

    def add(self, to: str, sender: str, correlation: int, message: object) -> int:
        """Encode one more envelope; the bytes of the frame so far.

        Raises CodecError and adds nothing when it can't be encoded.
        """
        if len(to) > NAME_MAX or len(sender) > NAME_MAX:
            raise CodecError(
                f"an actor's name has at most {NAME_MAX} characters, unlike {max(to, sender, key=len)!r:.80}"
            )
        buffer = self._buffer
        end = len(buffer)
        kind = type(message)
        tag = self._tags.get(kind) or self._registry.tag(kind)
        try:
            _encode_into((to, sender, correlation, tag, message), buffer, -1)
        except (msgspec.MsgspecError, TypeError, OverflowError) as error:
            del buffer[end:]
            raise CodecError(f"{type(message).__qualname__} cannot be encoded: {error}") from error
        self.count += 1
        return len(buffer)

    def take(self) -> bytes:
        """The frame so far, as bytes; the builder is empty afterwards."""
        self._buffer[1:5] = self.count.to_bytes(4, "big")
        frame = bytes(self._buffer)
        self._buffer = bytearray(_LIST_HEADER)
        self.count = 0
        return frame


def decode_frame(payload: bytes) -> list[Envelope]:
    """The envelopes of a frame, in order; raises CodecError when it is not one."""
    try:
        return _decode_envelopes(payload)
    except _NOT_DECODABLE as error:
        raise CodecError(f"not a frame: {error}") from error

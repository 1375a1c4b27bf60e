"""The core's limits and options that users of a node can set, with their defaults.

Owns the names under which they are set (`--tune append_bytes_max=65536`) and the reading of such words.
What they mean together is checked by the core's own configuration.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct


class BadTuning(Exception):
    """An invalid setting; the text names the valid ones."""


class Tuning(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """See raft.core.config for what each of them does; sizes are bytes."""

    append_bytes_max: int = 512 * 1024
    # What is applied in one go, between two looks at the inbox: a few milliseconds' worth.
    apply_bytes_max: int = 64 * 1024
    uncommitted_bytes_max: int = 64 * 1024 * 1024
    inflight_appends_max: int = 256
    inflight_bytes_max: int = 16 * 1024 * 1024
    # State, event history and log: what grows is turned down before; 0: see raft.node.space.
    quota_bytes: int = 0
    priority: int = 0
    conf_change_validation: bool = True
    step_down_on_removal: bool = True
    hand_over_on_removal: bool = True


def parse_tuning(words: Iterable[str]) -> Tuning:
    """Parse settings like "priority=-1"; raises BadTuning, which names the valid ones."""
    given: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if name not in Tuning.__struct_fields__ or not equals:
            known = ", ".join(Tuning.__struct_fields__)
            raise BadTuning(f"{word!r} tunes nothing: write NAME=VALUE with one of {known}")
        given[name] = text
    try:
        # Not strict: "true", "0" and "-1" are what their field's type makes of them.
        return msgspec.convert(given, Tuning, strict=False)
    except msgspec.ValidationError as error:
        raise BadTuning(str(error)) from None

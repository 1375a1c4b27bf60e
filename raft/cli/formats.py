"""Keys, values and events as JSON.

Owns the formats that the verbs of the store share.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raft.machines.results import Event, Item


def text_field(name: str, data: bytes) -> dict[str, str]:
    """Bytes for a JSON object: as text if they are UTF-8, else under `name_base64`."""
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(data).decode("ascii")}


def item_fields(item: Item) -> dict[str, object]:
    """A key's item, with its numbers."""
    return {
        **text_field("key", item.key),
        **text_field("value", item.value),
        "revision": item.revision,
        "created": item.created,
        "version": item.version,
        "lease": item.lease,
    }


def event_fields(event: Event) -> dict[str, object]:
    """An event of a key or an election."""
    from raft.machines.results import Item, Led, Removed

    if isinstance(event, Item):
        return {"event": "put", **item_fields(event)}
    if isinstance(event, Removed):
        return {"event": "deleted", **text_field("key", event.key), "revision": event.revision}
    if isinstance(event, Led):
        return {
            "event": "led",
            "election": event.election,
            "token": event.token,
            **text_field("value", event.value),
            "revision": event.revision,
        }
    return {"event": "left", "election": event.election, "token": event.token, "revision": event.revision}

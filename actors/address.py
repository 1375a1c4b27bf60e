"""Where an actor can be told something.

Owns the one value that names an actor across processes. Knows nothing of sockets or of
whether such an actor exists.
"""

from __future__ import annotations

import msgspec

from actors.errors import BadAddress


class Address(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """An actor's name inside a process's name; may be sent inside messages.

    It outlives the actor: a restarted actor, or a restarted process, answers to the same address.
    """

    process: str
    actor: str

    def __str__(self) -> str:
        return f"{self.process}/{self.actor}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read what `str` wrote: everything before the first slash is the process."""
        process, slash, actor = text.partition("/")
        if not slash:
            raise BadAddress(f"an address is written process/actor, not {text!r}")
        return cls(check_process_name(process), check_actor_name(actor))


def check_process_name(name: str) -> str:
    """Return `name`, or raise BadAddress: 1 to 64 printable characters, no `/`, `#` or blank."""
    if not name or len(name) > 64 or not name.isprintable() or any(c in "/# " for c in name):
        raise BadAddress(
            f"a process name has 1 to 64 printable characters without '/', '#' or blanks, not {name!r}"
        )
    return name


def check_actor_name(name: str) -> str:
    """Return `name`, or raise BadAddress: 1 to 200 printable characters without blanks.

    A slash separates a child's name from its parent's.
    """
    if not name or len(name) > 200 or not name.isprintable() or " " in name or "" in name.split("/"):
        raise BadAddress(f"an actor name has 1 to 200 printable characters without blanks, not {name!r}")
    return name

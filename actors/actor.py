"""What an actor is to the one who writes it: a table of handlers, hooks, and a context.

Owns the base class only. Everything that an actor can do is in its context.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from actors.context import Context
from actors.supervision import RestartPolicy

Handlers = Mapping[type, Callable[[Any, Any], None]]


class Actor:
    """Private state that is only touched one message at a time.

    `handlers` maps the exact type of a message to what is called with the actor and the message.
    A message without a handler is a dead letter. The table comes last in the class:
    `handlers: ClassVar[Handlers] = {Ping: on_ping}`. A handler must not block: nothing else runs in
    the process meanwhile. An exception that leaves a handler or a hook is a crash: the actor is
    replaced by a new one, or stopped, as the policy of its parent says; the message is not tried again.
    """

    handlers: ClassVar[Handlers] = {}
    supervision: ClassVar[RestartPolicy] = RestartPolicy()
    """What happens when this actor's children fail."""

    context: Context
    """Set before `on_start`; not yet there in `__init__`."""

    def on_start(self) -> None:
        """Called before the first message of this actor's life."""

    def on_restart(self, reason: str) -> None:
        """Called instead of `on_start` on the new object that replaces a crashed one."""
        del reason
        self.on_start()

    def on_stop(self) -> None:
        """Called after the last message, once the children have stopped; after a crash too.

        Not called when `on_start` or `on_restart` failed.
        """

    def on_turn_end(self) -> None:
        """Called at the end of each turn of the loop in which this actor handled anything."""

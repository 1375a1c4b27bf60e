"""What an actor is to the one who writes it: a table of handlers, hooks, and a context.

Owns the base class only. Everything that an actor can do is in its context.
"""

from __future__ import annotations

from typing import Any, ClassVar

from actors.context import Context
from actors.failures.supervision import RestartPolicy
from actors.handlers import Handlers as Handlers
from actors.handlers import collect, is_coroutine_function


class Actor:
    """Private state that is only touched one message at a time.

    `@handles(Ping)` above a method, or `@answers(Who)` where what it returns is the reply, makes it the
    handler of messages of exactly that type; a message without a handler is a dead letter. The table that
    they make is `handlers`, which may also be written out: `handlers: ClassVar[Handlers] = {Ping:
    on_ping}`. A handler must not block: nothing else runs in the process meanwhile; one that has to wait
    is an `async def`. An exception that leaves a handler or a hook is a crash: the actor is replaced by a
    new one, or stopped, as the policy of its parent says; the message is not tried again.
    """

    handlers: ClassVar[Handlers] = {}
    supervision: ClassVar[RestartPolicy] = RestartPolicy()
    """What happens when this actor's children fail."""

    reentrant: ClassVar[bool] = False
    """Handle other messages while an `async def` handler awaits. Its state may then change at each await."""

    context: Context
    """Set before `on_start`; not yet there in `__init__`."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        declared = collect(cls)
        if declared:
            cls.handlers = {**cls.handlers, **declared, **vars(cls).get("handlers", {})}
        for hook in ("on_stop", "on_turn_end"):
            if is_coroutine_function(getattr(cls, hook)):
                raise TypeError(
                    f"{cls.__qualname__}.{hook} cannot be an `async def`, as nothing waits for it. Clean up"
                    " in the `finally` of a coroutine, which is cancelled when the actor ends"
                )

    def on_start(self) -> Any:
        """Called before the first message of this incarnation, which waits for it if it is an `async def`."""

    def on_restart(self, reason: str) -> Any:
        """Called instead of `on_start` on the new object that replaces a crashed one."""
        del reason
        return self.on_start()

    def on_stop(self) -> None:
        """Called after the last message, once the children have stopped; after a crash too.

        Not called when `on_start` or `on_restart` failed.
        """

    def on_turn_end(self) -> None:
        """Called at the end of each turn of the loop in which this actor handled anything."""

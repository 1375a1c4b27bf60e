"""Questions that wait for a reply.

Owns the open asks of a runtime, and the two ends of one: Pending for who asked, Reply for who answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.errors import AskFailed


class Pending:
    """A reply that has not come yet. Ends exactly once: with a reply, or with an AskFailed."""

    @property
    def done(self) -> bool:
        """Has it ended?"""
        raise NotImplementedError

    def result(self) -> Any:
        """The reply; raises the AskFailed it ended with. Only when done."""
        raise NotImplementedError

    def then(self, on_reply: Callable[[Any], None], on_failure: Callable[[AskFailed], None]) -> None:
        """Call one of the two when it ends, or at once when it has."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Lose interest: neither callback is called, a reply is dropped."""
        raise NotImplementedError


class Reply:
    """The right to answer one ask, once."""

    def send(self, message: object) -> None:
        """Answer; a second answer, or one after the asker has given up, is dropped and counted."""
        raise NotImplementedError

"""A simulated client that watches all keys, and lets the cluster forget what it has seen.

Owns the stream as it was told, by the production client's conversation. Knows nothing of what happened.
"""

from __future__ import annotations

from raft.client.application import meaning, plain
from raft.client.conversation import Attempts
from raft.client.errors import ClientError
from raft.client.holding import news, settle
from raft.lab.simulated.agenda import Agenda
from raft.lab.simulated.caller import Caller
from raft.lab.simulated.setting import Setting
from raft.lab.simulated.story import Story
from raft.machines import answers
from raft.machines.answers import Event, Events
from raft.machines.operations import Compact, WatchKeys
from raft.requests import Committed

TRY_SECONDS = 5.0
THINK_FACTOR = 2.0
COMPACTING_SHARE = 0.2


class Watcher:
    """`events` is all it was told, which is all that happened before the revision `next`."""

    def __init__(self, caller: Caller, *, setting: Setting, agenda: Agenda, story: Story) -> None:
        self.name = caller.name
        self.events: list[Event] = []
        self.next = 1
        self.idle = True
        self._caller = caller
        self._agenda = agenda
        self._story = story
        self._dice = setting.dice(self.name)
        self._think_seconds = THINK_FACTOR * setting.think_seconds
        self._stopped = False

    def start(self) -> None:
        """Begin to watch."""
        self._agenda.after(self._dice.expovariate(1 / self._think_seconds), self._watch)

    def stop(self) -> None:
        """Ask no more."""
        self._stopped = True

    def _watch(self) -> None:
        if self._stopped:
            return
        self.idle = False
        watch = WatchKeys(self.next, b"", None)
        self._caller.converse(news(self._caller.book, watch, self._tries()), self._told, self._failed)

    def _told(self, told: Events) -> None:
        self.events += told.events
        self.next = told.next
        self._story.count("events watched", len(told.events))
        if self.next > 1 and self._dice.random() < COMPACTING_SHARE:
            body = plain(Compact(min(self.next - 1, told.revision)))
            self._caller.converse(
                settle(self._caller.book, body, self._tries()), self._compacted, self._failed
            )
        else:
            self._rest()

    def _compacted(self, committed: Committed) -> None:
        answer = meaning(committed.result)
        assert isinstance(answer, answers.Compacted), f"a compaction is not answered by {answer}"
        self._rest()

    def _failed(self, _error: ClientError) -> None:
        self._rest()

    def _rest(self) -> None:
        self.idle = True
        self.start()

    def _tries(self) -> Attempts:
        return Attempts(self._caller.now, TRY_SECONDS)

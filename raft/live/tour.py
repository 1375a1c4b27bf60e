"""The guided tour: eight short scenes, each with its words and the commands that are carried out.

Owns the script, and where a tour stands, for those who follow it on a page. How a command is carried out is
the verb's, see `raft.cli.verbs.observe.tour`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from raft.live.feed import ScenePicture, StepPicture
from raft.live.sampler import Look, Source

NODES = 5
GO_ON = "go-on"


class Progress:
    """Where a tour stands; shared by the thread that carries it out and those that show it."""

    def __init__(self) -> None:
        words = f"{len(SCENES)} scenes, on a cluster of {NODES} nodes that is yours to break."
        self.scene = ScenePicture(0, len(SCENES), "A guided tour", words, [], False)
        self.asked_on = threading.Event()

    def begin(self, number: int, scene: Scene) -> None:
        """The scene with that number begins."""
        self.scene = ScenePicture(number, len(SCENES), scene.title, scene.words, [], False)

    def add(self, command: str, said: str, look: str) -> None:
        """A command was carried out."""
        self._change(steps=[*self.scene.steps, StepPicture(command, said, look)])

    def wait(self, other_sign: Callable[[], bool]) -> None:
        """Until a viewer wants to go on, or there is another sign of that."""
        self.asked_on.clear()
        self._change(waits=True)
        while not self.asked_on.wait(LOOK_SECONDS) and not other_sign():
            pass
        self._change(waits=False)

    def _change(self, **values: Any) -> None:
        self.scene = msgspec.structs.replace(self.scene, **values)


class TourSource:
    """A cluster that is looked at while a tour goes on."""

    def __init__(self, source: Source, progress: Progress) -> None:
        self._source = source
        self._progress = progress

    def look(self) -> Look:
        """The cluster, and the scene."""
        look = self._source.look()
        return Look(msgspec.structs.replace(look.picture, scene=self._progress.scene), look.records)

    def has_news(self) -> bool:
        """See `Source`."""
        return self._source.has_news()

    def close(self) -> None:
        """See `Source`."""
        self._source.close()


LOOK_SECONDS = 0.2


class Step(Struct, frozen=True):
    """A command as it is typed, and how it ends; `look` says what to see in its output.

    A step whose output is to hold `says` may take a moment to show it, and is repeated until it does.
    TOKEN in a command is the fencing token that an earlier step has printed.
    """

    command: str
    look: str = ""
    codes: tuple[int, ...] = (0,)
    says: str = ""  # Part of the output, once it shows what it should.


class Scene(Struct, frozen=True):
    """A title, a few sentences, and the steps."""

    title: str
    words: str
    steps: tuple[Step, ...]


SCENES: tuple[Scene, ...] = (
    Scene(
        "Election",
        "Five processes have just started. None was told to lead. The first whose patience ended "
        "asked the others for their votes, and a majority, three of five, made it leader of a new "
        "term.",
        (
            Step(
                "status",
                "One node has the role leader; all nodes name it, in the same term.",
                says="quorum 5/5",
            ),
            Step("report", "Who has led, elected with how many votes, and how quickly."),
        ),
    ),
    Scene(
        "Replication",
        "A write goes to the leader, which sends it to all. As soon as a majority has it on disk it "
        "is committed, and only then acknowledged.",
        (
            Step("put colour blue"),
            Step("get colour", says="blue"),
            Step("status", "COMMIT has risen on each node; LAG is 0."),
        ),
    ),
    Scene(
        "The leader dies",
        "SIGKILL, without a word of farewell. The others notice within their election timeout, and "
        "elect another. Nothing that was acknowledged is lost.",
        (
            Step("kill leader"),
            Step("leader --wait 10s", "The id of the new leader."),
            Step("get colour", "The value is still there.", says="blue"),
            Step("report", "Why the first one ended, and how long there was no leader."),
            Step("start all"),
        ),
    ),
    Scene(
        "A partition",
        "Node 1 leads, and is cut off together with node 2. Two of five are no majority: it cannot "
        "commit, so it steps down. The other three elect a leader of their own, and go on.",
        (
            Step("transfer 1", codes=(0, 1)),
            Step("partition 1,2 3,4,5"),
            Step(
                "get colour --via 3,4,5 --timeout 10s",
                "Three nodes are enough, also to be sure that this is the newest value.",
                says="blue",
            ),
            Step("put colour green --via 3,4,5 --timeout 10s", "The majority goes on."),
            Step(
                "get colour --via 1,2 --timeout 1s",
                "The minority refuses, rather than answer with something old.",
                codes=(3, 4, 11, 124),
            ),
            Step("status", "n1 and n2 are cut off, though running."),
        ),
    ),
    Scene(
        "Healing",
        "The network is whole again. What the minority has in its logs and the majority does not, was "
        "never acknowledged: it is cut off, and replaced by what the leader has.",
        (
            Step("heal"),
            Step("status", "One leader, one term, and soon no lag.", says="quorum 5/5"),
            Step("get colour", "What the majority has decided.", says="green"),
        ),
    ),
    Scene(
        "A stale leader",
        "A process can stop for a while (garbage collection, a suspended machine) and believe that it "
        "still leads. Raft refuses its writes. Systems outside of the cluster must do so as well: "
        "each election gives a token, greater than all before, and a write under an older token is "
        "refused.",
        (
            Step("pause leader"),
            Step("leader --wait 10s", "Another one leads; the first does not know yet."),
            Step(
                "lock billing -- true", "The lock was held with a token, and given back.", says="with token"
            ),
            Step("put invoice paid --fence TOKEN", "Who held it is late, and is refused.", codes=(5,)),
            Step("resume all"),
            Step("status", "The former leader has heard of the newer term, and follows.", says="quorum 5/5"),
        ),
    ),
    Scene(
        "Membership",
        "A cluster changes its members while it works. A new node learns without a vote until it has "
        "caught up; then it is promoted. The change is an entry in the log like any other.",
        (
            Step("member add --learner"),
            Step("member promote 6", "Six voters: four are a majority now."),
            Step("member remove 2"),
            Step("member list", "Node 6 has a vote, node 2 is gone.", says="n6"),
        ),
    ),
    Scene(
        "A snapshot",
        "A log that only grows would fill the disk. A snapshot is the state at one index; what is "
        "before it in the log can go. A node that has been away for too long is sent the snapshot.",
        (
            Step("snapshot all", says="has a snapshot"),
            Step("status"),
            Step("report", "All that you have seen. No safety violation.", says="0 safety violations"),
        ),
    ),
)

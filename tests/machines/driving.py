"""An application that is fed one command after another, as a log would."""

from __future__ import annotations

from typing import Any

from raft.machines.application import Application
from raft.machines.codec import decode_answer, encode_call, encode_nodes_own, encode_question
from raft.machines.commands import Call, Expire, Grant, OpenSession, Operation, Question
from raft.machines.machine import StateMachine
from raft.machines.results import Opened


class Driver:
    def __init__(self, own: StateMachine | None = None) -> None:
        self.application = Application(own)
        self.index = 0
        self.log: list[bytes] = []

    def apply(self, command: bytes) -> Any:
        self.index += 1
        self.log.append(command)
        return decode_answer(self.application.apply(self.index, command))

    def do(self, operation: Operation, session: int = 0, sequence: int = 0, acknowledged: int = 0) -> Any:
        return self.apply(encode_call(Call(session, sequence, acknowledged, operation)))

    def expire(self, *leases: int) -> Any:
        return self.apply(encode_nodes_own(Expire(leases)))

    def ask(self, question: Question) -> Any:
        return decode_answer(self.application.query(encode_question(question)))

    def open(self) -> int:
        opened = self.do(OpenSession(5_000))
        assert isinstance(opened, Opened)
        return opened.session

    def lease(self) -> int:
        lease: int = self.do(Grant(5_000)).lease
        return lease

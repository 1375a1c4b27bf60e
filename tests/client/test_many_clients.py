"""Many clients in one program."""

from __future__ import annotations

import psutil
import pytest

from raft.client import Client, Unreachable

CLIENTS = 30
ELSEWHERE = {1: "tcp://127.0.0.1:1", 2: "tcp://127.0.0.1:2", 3: "tcp://127.0.0.1:3"}


def test_all_clients_of_a_process_share_the_threads_of_one_and_give_their_descriptors_back() -> None:
    process = psutil.Process()
    with Client(ELSEWHERE):
        threads, descriptors = process.num_threads(), process.num_fds()
        clients = [Client(ELSEWHERE) for _ in range(CLIENTS)]
        assert process.num_threads() == threads
        for client in clients:
            client.close()
        for _ in range(1000):
            with Client(ELSEWHERE):  # libzmq closes behind our back, in the order of asking.
                if process.num_fds() <= descriptors + 20:
                    return
    raise AssertionError(f"{process.num_fds()} descriptors are open after {descriptors}")


def test_one_client_that_is_closed_leaves_the_others_open() -> None:
    with Client(ELSEWHERE, timeout_seconds=0.2) as staying:
        Client(ELSEWHERE).close()
        with pytest.raises(Unreachable):
            staying.get("key")

"""What all tests share: compiled modules, no deadline for properties, and the marks of whole directories."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import settings

# However busy the machine is, how long one example takes says nothing of what is tested.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


# `make fast` leaves these out. Marked here, since it goes for every test below them.
MARKS = {
    "tests/lab": "slow",
    "tests/chaos": "slow",
    "tests/strangers": "slow",
    "tests/benchmarks": "slow",
    "tests/storage/test_recovery.py": "slow",
    "tests/storage/test_crashes.py": "slow",
    "tests/live/test_page.py": "live",
    "tests/live/test_page_parts.py": "live",
    "tests/live/test_page_of_a_run.py": "live",
    "tests/live/test_tour.py": "live",
    "tests/processes": "processes",
    "tests/examples": "processes",
}


@contextmanager
def compiled_modules_kept() -> Iterator[None]:
    """Let each process that is started here find its modules compiled, and leave nothing behind.

    Where PYTHONDONTWRITEBYTECODE is set, as in many containers, every start would compile them anew.
    """
    directory = tempfile.mkdtemp(prefix="compiled-")
    del os.environ["PYTHONDONTWRITEBYTECODE"]
    os.environ["PYTHONPYCACHEPREFIX"] = directory
    try:
        yield
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def pytest_configure(config: pytest.Config) -> None:
    # A shell ignores these for what runs in the background, and so would each launcher that is started here.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    # The processes that run the tests inherit this from the one that starts them.
    if os.environ.get("PYTHONDONTWRITEBYTECODE") and "PYTEST_XDIST_WORKER" not in os.environ:
        kept = compiled_modules_kept()
        kept.__enter__()
        config.add_cleanup(lambda: kept.__exit__(None, None, None))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for place, mark in MARKS.items():
            if item.nodeid.startswith((place + "/", place + "::")):
                item.add_marker(mark)


def pytest_itemcollected(item: pytest.Item) -> None:
    # The processes that run the tests have to agree on their names.
    if " at 0x" in item.nodeid:
        raise pytest.UsageError(f"{item.nodeid}: a name with an address in it is another one in each process")

"""One browser for all tests of a process, and a page for each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.live.browser import Browser
    from tests.live.stage import Stage


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from tests.live.browser import chromium  # Here, since most tests need none.

    with chromium() as one:
        yield one


@pytest.fixture
def stage(browser: Browser) -> Iterator[Stage]:
    from tests.live.stage import Stage, show

    one = Stage()
    browser.size(1300)
    browser.complaints()
    show(browser, one)
    yield one
    one.server.close()

"""The system's chromium for tests of the page, and for the pictures in the docs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

selenium = pytest.importorskip("selenium", reason="selenium is not installed: pip install -e '.[browser]'")

from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MISSING = "" if CHROMIUM and DRIVER else "chromium is missing: apt-get install chromium chromium-driver"
PATIENCE_SECONDS = 120.0
SCRIPT_SECONDS = 240  # For one script; the driver's own 30 are few on a machine with other things to do.


class Browser:
    """One window, and ways to look into it."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def size(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        return str(self.js("return document.querySelector(arguments[0])?.textContent ?? ''", selector))

    def click(self, selector: str) -> None:
        self.js(
            "document.querySelector(arguments[0]).dispatchEvent(new MouseEvent('click', {bubbles: true}))",
            selector,
        )

    def until(self, condition: Callable[[], Any]) -> Any:
        return WebDriverWait(self.driver, PATIENCE_SECONDS, 0.1).until(lambda _: condition())

    def complaints(self) -> list[str]:
        """What the browser has complained of: errors in the page, and what its policy has refused."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]

    def picture(self, path: Path, *, whole: bool = True) -> None:
        if whole:
            height = int(self.js("return document.documentElement.scrollHeight"))
            width = int(self.js("return innerWidth"))
            self.driver.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
            )
            self.js("return new Promise((done) => setTimeout(done, 600))")
        self.driver.save_screenshot(str(path))


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window, with a profile of its own that goes with it."""
    options = webdriver.ChromeOptions()
    assert CHROMIUM is not None and DRIVER is not None, MISSING
    options.binary_location = CHROMIUM
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for argument in (
            "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
            "--disable-background-networking", "--disable-component-update", "--no-first-run",
            f"--user-data-dir={profile}",
        ):  # fmt: skip
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options, Service(DRIVER))
        driver.set_script_timeout(SCRIPT_SECONDS)
        try:
            yield Browser(driver)
        finally:
            driver.quit()

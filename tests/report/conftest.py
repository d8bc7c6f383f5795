"""Run folders to make pages from, and a browser to open them in."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from holoprop.report import write_report
from tests.report.synthetic import write_run

# No first-run pages, no updates, no telephoning home: the browser is to open one file and nothing else.
_SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The folder of a run that came to its end."""
    return write_run(tmp_path / "runs" / "digits-mlp")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a folder with its page, shared by tests that change nothing in it."""
    folder = write_run(tmp_path_factory.mktemp("runs") / "digits-mlp")
    write_report(folder)
    return folder


@pytest.fixture
def unfinished(finished: Path) -> Path:
    """The same run, interrupted in its first epochs: a configuration and metrics only."""
    for name in ("environment.json", "gradient_check.json", "evaluation.npz"):
        (finished / name).unlink()
    metrics = finished / "metrics.jsonl"
    lines = metrics.read_text(encoding="utf-8").splitlines(keepends=True)
    metrics.write_text("".join(lines[:20]) + lines[20][:30], encoding="utf-8")
    return finished


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """A headless Chromium, driven by selenium; its profile is new and thrown away."""
    from selenium import webdriver
    from selenium.common.exceptions import WebDriverException

    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if missing := [name for name, path in programs.items() if path is None]:
        pytest.fail(f"{' and '.join(missing)} not found: install Debian's packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    for switch in (*_SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    try:
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs["chromedriver"]))
    except WebDriverException as error:
        pytest.fail(f"chromium does not start: {error.msg}")
    yield driver
    driver.quit()

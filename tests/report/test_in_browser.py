"""The page in Chromium. Oracle: what the browser itself says of it: its console, its measurements."""

from pathlib import Path
from typing import Any

import pytest

from holoprop.report import write_report
from tests.report.synthetic import write_run

pytestmark = pytest.mark.browser

RUNS: dict[str, dict[str, Any]] = {
    "digits": {},
    "mnist": {"data": "mnist", "image_shape": (28, 28), "points": 10, "test_samples": 10_000, "mistakes": 210},
    "fashion": {"data": "fashion-mnist", "image_shape": (28, 28), "test_samples": 10_000, "mistakes": 1400},
    "colour": {"data": "pictures", "image_shape": (32, 32, 3), "classes": 20, "name": "n" * 80},
    "unfinished": {},
}


@pytest.fixture(params=RUNS)
def page(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = write_run(tmp_path / "run", **RUNS[request.param])
    if request.param == "unfinished":
        for name in ("environment.json", "gradient_check.json", "evaluation.npz"):
            (folder / name).unlink()
    return write_report(folder)


def _open(browser: Any, page: Path, *, width: int, scheme: str = "light") -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get_log("browser")  # what earlier pages said
    browser.get(page.as_uri())


def test_page_opens_from_disk_without_complaint_and_loads_nothing(browser: Any, page: Path) -> None:
    _open(browser, page, width=1280)
    assert browser.get_log("browser") == []
    assert browser.title.endswith("· holoprop")
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []


def test_all_images_and_pictures_are_there(browser: Any, page: Path) -> None:
    _open(browser, page, width=1280)
    widths = browser.execute_script("return [...document.images].map(image => image.naturalWidth)")
    expected = page.read_text(encoding="utf-8").count("<img ")
    assert len(widths) == expected
    assert all(width > 0 for width in widths)
    sizes = browser.execute_script(
        """
        return [...document.querySelectorAll('svg')]
          .map(svg => [svg.clientWidth, svg.clientHeight, svg.querySelectorAll('path').length]);
        """
    )
    assert len(sizes) >= 4
    assert all(min(size) > 10 for size in sizes), sizes


@pytest.mark.parametrize("width", [400, 768, 1280])
def test_nothing_sticks_out_of_the_window(browser: Any, page: Path, width: int) -> None:
    _open(browser, page, width=width)
    inside, content, room = browser.execute_script(
        "const root = document.documentElement; return [innerWidth, root.scrollWidth, root.clientWidth]"
    )
    assert inside == width  # a telephone zooms out to show what does not fit
    assert content <= room <= width


def test_text_in_pictures_stays_inside_and_apart(browser: Any, page: Path) -> None:
    """Boxes of the words as the browser sets them, in its own font: none outside its picture, no two overlapping."""
    _open(browser, page, width=400)
    faults = browser.execute_script(
        """
        const faults = [];
        for (const svg of document.querySelectorAll('svg')) {
          const frame = svg.getBoundingClientRect();
          const words = [...svg.querySelectorAll('text')].filter(text => text.textContent.trim())
            .map(text => [text.textContent, text.getBoundingClientRect()]);
          for (const [i, [text, a]] of words.entries()) {
            if (a.left < frame.left - 1 || a.right > frame.right + 1
                || a.top < frame.top - 1 || a.bottom > frame.bottom + 1)
              faults.push(text + ' sticks out');
            for (const [other, b] of words.slice(i + 1))
              if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
                  && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3)
                faults.push(text + ' on ' + other);
          }
        }
        return faults;
        """
    )
    assert faults == []


def test_dark_paper_has_light_ink(browser: Any, page: Path) -> None:
    """Oracle: brightness of text against that of the page, in HTML and in pictures, in both schemes."""
    brightness = """
        const grey = colour => colour.match(/[0-9.]+/g).slice(0, 3).map(Number).reduce((a, b) => a + b) / 3;
        const paper = grey(getComputedStyle(document.body).backgroundColor);
        const inks = [getComputedStyle(document.body).color, getComputedStyle(document.querySelector('svg text')).fill];
        return inks.map(ink => grey(ink) - paper);
    """
    _open(browser, page, width=400, scheme="light")
    assert max(browser.execute_script(brightness)) < -125
    _open(browser, page, width=400, scheme="dark")
    assert min(browser.execute_script(brightness)) > 125

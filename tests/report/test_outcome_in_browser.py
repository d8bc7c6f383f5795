"""Pages of experiments in Chromium. Oracle: what the browser itself says of them: its console, its measurements."""

from pathlib import Path
from typing import Any

import pytest

from holoprop.experiments.reproduce.registry import EXPERIMENTS
from holoprop.report.reproduction.page import write_outcome_page
from holoprop.report.reproduction.summary import write_index
from tests.report.outcomes import outcome_of

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("name", [each.name for each in EXPERIMENTS])
def test_pages_open_offline_fit_a_telephone_and_can_be_explored(name: str, browser: Any, tmp_path: Path) -> None:
    """No complaint in the console, nothing loaded, nothing sticks out, and every picture unfolds to one with curves."""
    from selenium.webdriver.support.ui import WebDriverWait  # an extra, there where a browser is

    page = write_outcome_page(outcome_of(name), tmp_path / "page.html")
    metrics = {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get_log("browser")  # what earlier pages said
    browser.get(page.as_uri())
    pictures = browser.execute_script("return document.querySelectorAll('svg.plot').length")
    assert pictures >= 1
    browser.execute_script("document.querySelectorAll('details.explore').forEach(each => { each.open = true; })")
    count = browser.execute_script("return document.querySelectorAll('details.explore').length")
    assert count == pictures
    drawn = (
        "return [...document.querySelectorAll('.interactive')].map(each => each.querySelectorAll('.main-svg').length)"
    )
    WebDriverWait(browser, 30).until(lambda _: min(browser.execute_script(drawn)) > 0)
    traces = "return [...document.querySelectorAll('.interactive')].map(each => each.data.length)"
    assert min(browser.execute_script(traces)) >= 1
    assert browser.get_log("browser") == []
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [each for each in loaded if not each.startswith(("data:", "blob:"))] == []
    inside, content, room = browser.execute_script(
        "const root = document.documentElement; return [innerWidth, root.scrollWidth, root.clientWidth]"
    )
    assert inside == 400 and content <= room <= 400


def test_the_index_opens_offline_fits_a_telephone_and_its_links_lead_to_pages(browser: Any, tmp_path: Path) -> None:
    outcomes = [outcome_of(name) for name in ("hep-fig2a", "hep-fig2d")]
    for outcome in outcomes:
        write_outcome_page(outcome, tmp_path / outcome.scale / outcome.name / f"{outcome.name}.html")
    index = write_index(outcomes, tmp_path / "index.html")
    metrics = {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get_log("browser")
    browser.get(index.as_uri())
    content, room = browser.execute_script(
        "const root = document.documentElement; return [root.scrollWidth, root.clientWidth]"
    )
    assert content <= room <= 400
    links = browser.execute_script("return [...document.querySelectorAll('table a')].map(each => each.href)")
    assert len(links) == len(outcomes)
    for link, outcome in zip(links, outcomes, strict=True):
        browser.get(link)
        assert outcome.title in browser.execute_script("return document.body.textContent")
    assert browser.get_log("browser") == []

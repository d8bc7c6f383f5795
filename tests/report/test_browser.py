"""Oracle: a real browser. The page opens offline without an error, its pictures are there, and it fits a phone."""

import pytest

from holoprop.report import write_report

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("state", ["finished", "unfinished"])
def test_the_page_opens_without_an_error(browser, request, state):
    folder = request.getfixturevalue(state)
    browser.get(write_report(folder).as_uri())
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    widths = browser.execute_script("return [...document.images].map(i => i.naturalWidth)")
    assert all(width > 0 for width in widths)
    pictures = browser.execute_script(
        "return [...document.querySelectorAll('svg, img')].map(p => p.getBoundingClientRect().width)"
    )
    assert pictures and all(width > 0 for width in pictures)


def test_the_page_fits_a_phone(browser, finished):
    browser.get(write_report(finished).as_uri())
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width <= 400

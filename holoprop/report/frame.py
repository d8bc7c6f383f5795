"""The frame of a page of its own: title, style, sections; and the tiles of its headline."""

import re
from collections.abc import Iterable
from importlib import resources
from string import Template

from holoprop.report.markup import Markup, element, escaped, joined


def single_page(title: str, headline: Markup, sections: Iterable[Markup]) -> str:
    """Return a whole page as HTML that needs nothing from outside and runs nothing."""
    files = resources.files(__package__ or "holoprop.report")
    # The links of a run's page lead to sections that other pages do not have.
    frame = re.sub(r"<nav.*?</nav>\n", "", (files / "page.html").read_text(encoding="utf-8"), flags=re.DOTALL)
    return Template(frame).substitute(
        title=escaped(title),
        style=(files / "page.css").read_text(encoding="utf-8"),
        headline=headline,
        sections=joined(sections),
    )


def tile(label: str, value: str, remark: str) -> Markup:
    """Return one number of the headline, with what it is above and a remark below."""
    return element("div", element("dt", label), element("dd", element("b", value), element("small", remark)))

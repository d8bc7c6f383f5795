"""The frame of a page of its own: title, style, sections; and the tiles of its headline."""

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from string import Template

from holoprop.report.markup import Markup, element, escaped, joined


def single_page(title: str, headline: Markup, sections: Iterable[Markup], scripts: Sequence[str] = ()) -> str:
    """Return a whole page as HTML that needs nothing from outside and runs nothing but the given `scripts`."""
    files = resources.files(__package__ or "holoprop.report")
    # The links of a run's page lead to sections that other pages do not have.
    frame = re.sub(r"<nav.*?</nav>\n", "", (files / "page.html").read_text(encoding="utf-8"), flags=re.DOTALL)
    page = Template(frame).substitute(
        title=escaped(title),
        style=(files / "page.css").read_text(encoding="utf-8"),
        headline=headline,
        sections=joined(sections),
    )
    if not scripts:
        return page
    page = page.replace(_NOTHING_RUNS, f"script-src {' '.join(map(_hash, scripts))}; {_NOTHING_RUNS}", 1)
    page = page.replace("loads nothing and runs nothing", "loads nothing and runs nothing but these scripts", 1)
    return page.replace("</body>", joined(element("script", Markup(each)) for each in scripts) + "\n</body>")


_NOTHING_RUNS = "img-src data:;"
"""Of the page's security policy, where what may run is put in."""


def _hash(script: str) -> str:
    """By which a page's security policy knows a script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def tile(label: str, value: str, remark: str) -> Markup:
    """Return one number of the headline, with what it is above and a remark below."""
    return element("div", element("dt", label), element("dd", element("b", value), element("small", remark)))

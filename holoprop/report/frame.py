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
    return Template(frame).substitute(
        title=escaped(title),
        style=(files / "page.css").read_text(encoding="utf-8"),
        headline=headline,
        sections=joined(sections),
        **running(scripts),
    )


def running(scripts: Sequence[str] = ()) -> dict[str, str]:
    """Return what a page's frame says of what may run: `hashes` for its security policy, and the `scripts`."""
    digests = (hashlib.sha256(each.encode()).digest() for each in scripts)
    hashes = [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
    return {
        "hashes": " ".join(hashes or ["'none'"]),
        "scripts": "".join(element("script", Markup(each)) + "\n" for each in scripts),
    }


def tile(label: str, value: str, remark: str) -> Markup:
    """Return one number of the headline, with what it is above and a remark below."""
    return element("div", element("dt", label), element("dd", element("b", value), element("small", remark)))

"""Oracle: the run folder's own files: every number shown must be in them, and the page must need nothing else."""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from holoprop.report import ReportError, write_report

_VOID = {"meta", "img", "br", "hr", "link", "input", "path", "use", "rect", "circle", "line", "polyline", "polygon"}


class _Page(HTMLParser):
    """Collects headings and resource addresses, and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _VOID:
            self.open.append(tag)
        # An anchor is followed by a person, not loaded by the browser.
        if tag != "a":
            self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parse(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    assert page.open == []
    return page


def test_the_page_needs_nothing_else(finished):
    page = parse(write_report(finished))
    assert page.addresses
    assert all(address.startswith(("data:", "#")) for address in page.addresses)


def test_every_section_is_there(finished):
    text = " ".join(parse(write_report(finished)).text)
    for heading in ("Learning curves", "Gradient", "Rest states", "Confusion matrix", "Configuration", "Versions"):
        assert heading in text


def test_numbers_are_those_of_the_files(finished):
    text = write_report(finished).read_text(encoding="utf-8")
    epochs = [
        record
        for line in (finished / "metrics.jsonl").read_text().splitlines()
        if (record := json.loads(line))["kind"] == "epoch"
    ]
    accuracies = [record["test_accuracy"] for record in epochs]
    assert f"{100 * accuracies[-1]:.2f}" in text and f"{100 * max(accuracies):.2f}" in text
    check = json.loads((finished / "gradient_check.json").read_text())
    assert f"{check['total']['cosine']:.7f}" in text
    for layer in check["layers"]:
        assert html.escape(layer["name"]) in text


def test_an_unfinished_run_has_a_page_that_says_so(unfinished):
    text = " ".join(parse(write_report(unfinished)).text)
    assert "Learning curves" in text
    assert re.search(r"\b(not|no|absent|before)\b", text)


def test_a_broken_file_is_named_in_one_line(finished):
    (finished / "gradient_check.json").write_text("{")
    with pytest.raises(ReportError, match=r"gradient_check\.json") as caught:
        write_report(finished)
    assert "\n" not in str(caught.value)


def test_what_comes_from_files_is_escaped(finished):
    config = finished / "config.toml"
    config.write_text(config.read_text() + '\n[note]\nevil = "<script>alert(1)</script>"\n')
    assert "<script>alert(1)" not in write_report(finished).read_text(encoding="utf-8")

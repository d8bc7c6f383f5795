"""A page taken apart as a browser would: elements, their attributes and text, and whether every tag is closed."""

import dataclasses
from html.parser import HTMLParser

VOID = {"br", "hr", "img", "input", "link", "meta"}


@dataclasses.dataclass
class Element:
    """An element with the elements in it; `text` is all text inside, with single spaces."""

    tag: str
    attributes: dict[str, str]
    parent: "Element | None" = None
    children: list["Element"] = dataclasses.field(default_factory=list)
    pieces: list[str] = dataclasses.field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join("".join(self.pieces).split())

    def all(self, tag: str = "", **attributes: str) -> list["Element"]:
        """Return every element inside with this tag and these attributes (`class_` holds one of the classes)."""
        found = []
        for child in self.children:
            fits = not tag or child.tag == tag
            for name, value in attributes.items():
                given = child.attributes.get(name.strip("_"), "")
                fits = fits and value in (given.split() if name == "class_" else [given])
            found += [child] * fits + child.all(tag, **attributes)
        return found

    def one(self, tag: str = "", **attributes: str) -> "Element":
        (found,) = self.all(tag, **attributes)
        return found


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = self.open = Element("", {})

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open = self.open.children[-1]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> at {self.getpos()} has an attribute twice: {names}"
        self.open.children.append(Element(tag, {name: value or "" for name, value in attrs}, self.open))

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.tag, f"</{tag}> at {self.getpos()} closes <{self.open.tag}>"
        assert self.open.parent is not None
        self.open = self.open.parent

    def handle_data(self, data: str) -> None:
        place: Element | None = self.open
        while place is not None:
            place.pieces.append(data)
            place = place.parent


def read_page(text: str) -> Element:
    """Return the root of a page; fails on a tag that is not closed, or is closed out of turn."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert reader.open is reader.root, f"<{reader.open.tag}> is never closed"
    return reader.root

"""HTML put together from parts that are escaped unless they are markup already.

Text from a run's files (names, configuration, versions) goes through `escaped`, so none of it can become markup.
"""

import html
from collections.abc import Iterable, Sequence


class Markup(str):
    """Text that is HTML already and is not escaped again."""

    __slots__ = ()


def escaped(value: object) -> Markup:
    """Return `value` as HTML text, quotes included; `Markup` as it is."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value), quote=True))


def joined(parts: Iterable[object], between: str = "\n") -> Markup:
    """Return parts one after the other."""
    return Markup(between.join(escaped(part) for part in parts))


def element(tag: str, *children: object, **attributes: object) -> Markup:
    """Return `<tag …>children</tag>`; `class_` stands for `class`, `aria_label` for `aria-label`."""
    given = "".join(f' {name.strip("_").replace("_", "-")}="{escaped(value)}"' for name, value in attributes.items())
    return Markup(f"<{tag}{given}>" if tag == "img" else f"<{tag}{given}>{joined(children, '')}</{tag}>")


def section(identity: str, title: str, *children: object) -> Markup:
    """Return a section with a heading that can be linked to."""
    return element("section", element("h2", title), *children, id=identity)


def absent(text: str) -> Markup:
    """Return a remark on a part that the run did not leave."""
    return element("p", text, class_="absent")


def panel(content: object, caption: object, **attributes: object) -> Markup:
    """Return a picture or table with the caption that says what to see."""
    return element("figure", content, element("figcaption", caption), **attributes)


def table(head: Sequence[object], rows: Iterable[Sequence[object]], *, class_: str = "") -> Markup:
    """Return a table; the first cell of each row is its heading. It scrolls by itself where a screen is too narrow.

    Of a table of `numbers` a column that holds words only is set as words are, from the left.
    """
    rows = list(rows)
    worded = {k for k, column in enumerate(zip(*rows, strict=True)) if all(map(_is_worded, column))}

    def cell(tag: str, content: object, k: int, **attributes: str) -> Markup:
        return element(tag, content, **attributes, **({"class_": "words"} if k and k in worded else {}))

    body = joined(
        (
            element(
                "tr", element("th", row[0], scope="row"), *(cell("td", each, k) for k, each in enumerate(row) if k > 0)
            )
            for row in rows
        ),
        "",
    )
    top = (
        element("thead", element("tr", *(cell("th", each, k, scope="col") for k, each in enumerate(head))))
        if head
        else ""
    )
    return element("div", element("table", top, element("tbody", body), class_=class_), class_="scroll")


def _is_worded(content: object) -> bool:
    return isinstance(content, str) and content[:1].isalpha()

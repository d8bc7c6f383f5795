"""The section on what the trained network gets wrong: the confusion matrix and images of mistakes."""

import math

import numpy as np

from holoprop.data.dataset import DataError
from holoprop.data.registry import find_source
from holoprop.report.drawing import png_address
from holoprop.report.markup import Markup, absent, element, joined, panel, section
from holoprop.report.records import EvaluationArrays, Run

_IMAGE_WIDTH = 84
"""About how wide an example is shown, in CSS pixels."""
_MOST_CLASSES = 20
"""With more classes a matrix can no longer be looked at; there the most frequent confusions are listed."""
_PAIRS = 20


def confusion_and_mistakes(run: Run) -> Markup:
    """Return the confusion matrix and the example mistakes, the surest first."""
    title, evaluation = "Confusion matrix and mistakes", run.evaluation
    if evaluation is None:
        return section("mistakes", title, absent("Not there: the run ended before its evaluation."))
    names = _class_names(run, len(evaluation.confusion))
    table = _confusion if len(names) <= _MOST_CLASSES else _pairs
    return section(
        "mistakes",
        title,
        element(
            "div",
            panel(table(evaluation.confusion, names), _confusion_caption(evaluation, names)),
            _examples(evaluation, names),
            class_="panels",
        ),
    )


def _class_names(run: Run, classes: int) -> tuple[str, ...]:
    """The classes' names where the data set is a known one, else their numbers."""
    try:
        names = find_source(str(run.setting("data", "name"))).class_names
    except DataError:
        names = ()
    return names if len(names) == classes else tuple(map(str, range(classes)))


def _confusion(confusion: np.ndarray, names: tuple[str, ...]) -> Markup:
    totals = np.maximum(confusion.sum(1), 1)
    rows = []
    for true, counts in enumerate(confusion):
        cells = []
        for predicted, count in enumerate(counts.tolist()):
            # The root lifts rare mistakes into sight; text stays readable on the strongest tint.
            tint = 0.0 if not count else 0.1 + 0.5 * math.sqrt(count / totals[true])
            kind = "right" if true == predicted else "wrong"
            hover = f"{names[true]} taken for {names[predicted]}: {count} of {confusion[true].sum()}"
            cells.append(
                element("td", count, class_=kind, style=f"--tint: {tint:.2f}", title=hover)
                if count
                else element("td", 0, class_="none")
            )
        rows.append(element("tr", element("th", _heading(true, names), scope="row"), *cells))
    numbers = [element("th", label, scope="col") for label in range(len(names))]
    over = element("th", "predicted", colspan=len(names), scope="colgroup")
    head = element(
        "thead", element("tr", element("td", ""), over), element("tr", element("th", "true", scope="col"), *numbers)
    )
    return element("div", element("table", head, element("tbody", joined(rows)), class_="confusion"), class_="scroll")


def _pairs(confusion: np.ndarray, names: tuple[str, ...]) -> Markup:
    off = confusion * (1 - np.eye(len(names), dtype=confusion.dtype))
    order = np.argsort(-off, axis=None, kind="stable")[:_PAIRS]
    rows = []
    for true, predicted in zip(*np.unravel_index(order, off.shape), strict=True):
        if off[true, predicted]:
            cells = (names[true], names[predicted], off[true, predicted], confusion[true].sum())
            rows.append(element("tr", *(element("td", cell) for cell in cells)))
    heads = ("true", "predicted", "times", "of")
    head = element("thead", element("tr", *(element("th", each, scope="col") for each in heads)))
    return element("div", element("table", head, element("tbody", joined(rows)), class_="confusion"), class_="scroll")


def _heading(label: int, names: tuple[str, ...]) -> object:
    if names[label] == str(label):
        return label
    return joined([label, element("span", names[label], class_="name")], " ")


def _confusion_caption(evaluation: EvaluationArrays, names: tuple[str, ...]) -> str:
    wrong, samples = evaluation.samples - evaluation.correct, evaluation.samples
    text = (
        f"Rows are the true classes, columns what the network says: {evaluation.correct} of {samples} test samples lie "
        "on the diagonal."
    )
    if len(names) > _MOST_CLASSES:
        text = f"Rows are the most frequent confusions; {evaluation.correct} of {samples} test samples are right."
    if not wrong:
        return text + " There are no mistakes."
    off = evaluation.confusion * (1 - np.eye(len(names), dtype=evaluation.confusion.dtype))
    true, predicted = (int(index) for index in np.unravel_index(off.argmax(), off.shape))
    times = int(off[true, predicted])
    return (
        f"{text} The most frequent of {wrong} mistakes: {names[true]} taken for {names[predicted]}, "
        f"{times} time{'s' * (times > 1)}."
        + (" Strong tints off the diagonal are classes that are mixed up." if len(names) <= _MOST_CLASSES else "")
    )


def _examples(evaluation: EvaluationArrays, names: tuple[str, ...]) -> Markup:
    wrong = evaluation.samples - evaluation.correct
    if not len(evaluation.images):
        return absent("There are no mistakes to show." if not wrong else "The run stored no examples of mistakes.")
    # Whole multiples of the pixels, so that all of them are shown equally large.
    width = evaluation.images.shape[2] * max(1, _IMAGE_WIDTH // evaluation.images.shape[2])
    cards = []
    for k in np.argsort(-evaluation.confidence, kind="stable").tolist():
        true, predicted = names[evaluation.true[k]], names[evaluation.predicted[k]]
        address = png_address(evaluation.images[k])
        described = f"{true}, predicted {predicted}"
        picture = element("img", src=address, alt=described, width=min(width, 112))
        sure = f"{100 * evaluation.confidence[k]:.0f} % sure"
        cards.append(
            element("li", picture, element("span", f"{true} → ", element("b", predicted)), element("small", sure))
        )
    caption = (
        f"{len(cards)} of {wrong} mistakes, as true → predicted, those first of which the network was surest. Odd "
        "samples are forgivable; clear ones point to a fault."
    )
    return panel(element("ul", *cards, class_="examples" if max(map(len, names)) <= 3 else "examples named"), caption)

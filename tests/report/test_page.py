"""The page of a run. Oracle throughout: the files in the run's folder, and the page taken apart by html.parser."""

import base64
import io
import json
import re
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from holoprop.data.registry import find_source
from holoprop.report import write_report
from tests.report.reading import Element, read_page
from tests.report.synthetic import PARAMETERS, write_run

SECTIONS = ("curves", "gradient", "rest", "mistakes", "configuration", "environment")


def _page(folder: Path) -> Element:
    return read_page(write_report(folder).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(stored: Path) -> Element:
    """The page of a finished run, taken apart once for all that only look at it."""
    return read_page((stored / "report.html").read_text(encoding="utf-8"))


def _metrics(folder: Path, kind: str) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


def _tiles(page: Element) -> dict[str, tuple[str, str]]:
    tiles = page.one("dl").all("div")
    return {tile.one("dt").text: (tile.one("b").text, tile.one("small").text) for tile in tiles}


def test_the_page_is_the_only_thing_written(finished: Path) -> None:
    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    path = write_report(finished)
    assert path == finished / "report.html"
    after = {path.name: path.read_bytes() for path in finished.iterdir()}
    assert after == before | {"report.html": path.read_bytes()}


def test_the_same_files_give_the_same_page(finished: Path) -> None:
    assert write_report(finished).read_bytes() == write_report(finished).read_bytes()


def test_every_section_is_there_in_order_and_can_be_reached(page: Element) -> None:
    assert [section.attributes["id"] for section in page.all("section")] == list(SECTIONS)
    assert [link.attributes["href"] for link in page.one("nav").all("a")] == [f"#{name}" for name in SECTIONS]
    assert page.all("", class_="absent") == []
    assert page.all("", class_="warning") == []
    assert all(figure.one("figcaption").text.endswith(".") for figure in page.all("figure"))


@pytest.mark.parametrize("folder", ["stored", "unfinished"])
def test_the_page_is_valid_and_loads_nothing(folder: str, request: pytest.FixtureRequest) -> None:
    """Well-formed by `read_page`; identifiers unique; what is referred to exists or is in the page itself."""
    path = write_report(request.getfixturevalue(folder))
    text = path.read_text(encoding="utf-8")
    elements = read_page(text).all()
    identities = [each.attributes["id"] for each in elements if "id" in each.attributes]
    assert len(identities) == len(set(identities))
    for each in elements:
        for name in ("src", "href", "xlink:href", "action", "data", "srcset", "poster"):
            value = each.attributes.get(name, "")
            assert value.startswith("data:image/png;base64,") or value[1:] in identities or not value, value[:60]
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(identities)
    assert re.findall(r"url\((?!#)|@import|https?:", text) == []
    assert {each.tag for each in elements}.isdisjoint({"script", "link", "iframe", "object", "embed", "base"})


def test_headline_shows_the_numbers_of_the_files(stored: Path, page: Element) -> None:
    epochs = _metrics(stored, "epoch")
    best = max(epochs, key=lambda record: record["test_accuracy"])
    total = json.loads((stored / "gradient_check.json").read_text())["total"]
    assert page.one("h1").text == "digits-mlp"
    assert best["epoch"] != epochs[-1]["epoch"]
    assert _tiles(page) == {
        "test accuracy, last epoch": (f"{100 * epochs[-1]['test_accuracy']:.2f} %", "epoch 12"),
        "test accuracy, best epoch": (f"{100 * best['test_accuracy']:.2f} %", f"epoch {best['epoch']}"),
        "cosine to the implicit gradient": (
            f"{total['cosine']:.7f}",
            "relative error 4.4·10⁻⁴, 19 test samples",
        ),
        "training time": ("15 s", "12 epochs, 1.25 s each; compiling included"),
        "seed": ("7", "of weights and sample order"),
    }


def test_the_first_of_equally_good_epochs_is_the_best(finished: Path) -> None:
    records = _metrics(finished, "epoch")
    lines = [json.dumps(record | {"test_accuracy": 0.5}) for record in records]
    (finished / "metrics.jsonl").write_text("\n".join(lines))
    assert _tiles(_page(finished))["test accuracy, best epoch"] == ("50.00 %", "epoch 1")


def test_gradient_table_shows_every_parameter(stored: Path, page: Element) -> None:
    check = json.loads((stored / "gradient_check.json").read_text())
    rows = page.one("section", id="gradient").one("tbody").all("tr")
    shown = {row.one("th").text: [cell.text for cell in row.all("td")] for row in rows}
    assert list(shown) == [*PARAMETERS, "total"]
    for each in [*check["parameters"], check["total"] | {"name": "total"}]:
        cosine, _, error = shown[each["name"]]
        assert cosine == f"{each['cosine']:.7f}"
        superscripts = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
        mantissa, power = error.translate(superscripts).split("·10")
        assert float(f"{mantissa}e{power}") == pytest.approx(each["relative_error"], rel=0.05)  # two digits
    assert shown["connections[0].weight"][1] == "2.1·10⁻⁸"
    assert shown["readout.bias"][1] == "< 10⁻¹⁶"  # a cosine above 1 by rounding


def test_outcomes_are_counted(page: Element) -> None:
    """Oracle: the statuses as `synthetic` writes them, 19 settled and one two-cycle."""
    rows = page.one("table", class_="outcomes").one("tbody").all("tr")
    counts = {row.one("th").text: int(row.all("td")[0].text) for row in rows}
    assert counts == {"settled": 19, "max_steps": 0, "two_cycle": 1, "diverged": 0}


def test_residual_caption_counts_what_lies_beyond_the_tolerance(stored: Path, page: Element) -> None:
    """Oracle: the default tolerance √neurons · 1e-6 of DESIGN, with 256 + 64 neurons."""
    beyond = int((np.load(stored / "evaluation.npz")["residual"] > np.sqrt(320) * 1e-6).sum())
    assert beyond > 1
    caption = page.one("section", id="rest").all("figcaption")[0].text
    assert f"Up to the tolerance, 1.8·10⁻⁵, a state counts as settled; {beyond} lie beyond it." in caption


def test_confusion_matrix_is_that_of_the_file(stored: Path, page: Element) -> None:
    rows = page.one("table", class_="confusion").one("tbody").all("tr")
    shown = np.array([[int(cell.text) for cell in row.all("td")] for row in rows])
    confusion = np.load(stored / "evaluation.npz")["confusion"]
    np.testing.assert_array_equal(shown, confusion)
    caption = page.one("section", id="mistakes").all("figcaption")[0].text
    assert f"{np.trace(confusion)} of {confusion.sum()} test samples lie on the diagonal" in caption
    assert "The most frequent of 13 mistakes: 4 taken for 9, 5 times." in caption


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (32, 32, 3)])
def test_mistakes_are_shown_pixel_for_pixel_surest_first(tmp_path: Path, shape: tuple[int, ...]) -> None:
    folder = write_run(tmp_path / "run", image_shape=shape)
    stored = np.load(folder / "evaluation.npz")
    cards = _page(folder).one("ul", class_="examples").all("li")
    order = np.argsort(-stored["confidence"])
    assert len(cards) == len(order) == 13
    for card, k in zip(cards, order, strict=True):
        assert card.one("span").text == f"{stored['true'][k]} → {stored['predicted'][k]}"
        assert card.one("small").text == f"{100 * stored['confidence'][k]:.0f} % sure"
        address = card.one("img").attributes["src"].removeprefix("data:image/png;base64,")
        pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(address)), format="png")[..., :3]
        expected = stored["images"][k] if len(shape) == 3 else np.repeat(stored["images"][k][..., None], 3, 2)
        # Rounded to eight bits a channel.
        np.testing.assert_allclose(pixels, expected, atol=0.51 / 255)
        assert int(card.one("img").attributes["width"]) % shape[1] == 0


def test_classes_have_the_names_of_the_data_set(tmp_path: Path) -> None:
    """Oracle: Fashion-MNIST's own class 9, the ankle boot."""
    page = _page(write_run(tmp_path / "run", data="fashion-mnist"))
    headings = [heading.text for heading in page.one("table", class_="confusion").one("tbody").all("th")]
    assert headings[9] == "9 Ankle boot"


def test_of_many_classes_the_most_frequent_confusions_are_listed(tmp_path: Path) -> None:
    """Oracle: the stored counts off the diagonal; with names, and without a matrix that nobody could look at."""
    folder = write_run(tmp_path / "run", data="cifar-100", image_shape=(32, 32, 3), classes=100)
    section = _page(folder).one("section", id="mistakes")
    rows = section.one("table", class_="confusion").one("tbody").all("tr")
    confusion = np.load(folder / "evaluation.npz")["confusion"]
    off = confusion * (1 - np.eye(100, dtype=int))
    names = find_source("cifar-100").class_names
    assert 1 < len(rows) == min(20, np.count_nonzero(off))
    for row in rows:
        true, predicted, times, of = (cell.text for cell in row.all("td"))
        pair = names.index(true), names.index(predicted)
        assert (int(times), int(of)) == (off[pair], confusion[pair[0]].sum())
    counts = [int(row.all("td")[2].text) for row in rows]
    assert counts == sorted(off[off > 0].tolist(), reverse=True)[:20]
    caption = section.all("figcaption")[0].text
    assert caption.startswith(
        "Rows are the most frequent confusions; 347 of 360 test samples are right. The most frequent"
    )


def test_no_mistakes_are_said_to_be_none(tmp_path: Path) -> None:
    section = _page(write_run(tmp_path / "run", mistakes=0)).one("section", id="mistakes")
    assert section.one("", class_="absent").text == "There are no mistakes to show."
    assert "There are no mistakes." in section.one("figcaption").text


def test_configuration_and_versions_are_shown_as_stored(stored: Path, page: Element) -> None:
    code = page.one("section", id="configuration").one("code")
    assert "".join(code.pieces) == (stored / "config.toml").read_text(encoding="utf-8").strip()
    rows = page.one("section", id="environment").all("tr")
    shown = {row.one("th").text: row.one("td").text for row in rows}
    versions = json.loads((stored / "environment.json").read_text())
    same = set(versions) - {"x64", "date"}
    assert {name: shown[name] for name in same} == {name: versions[name] for name in same}
    assert (shown["float64 switched on"], shown["begun"]) == ("no", "2026-11-20 21:32:07 UTC")


def test_an_unfinished_run_says_what_is_missing(unfinished: Path) -> None:
    page = _page(unfinished)
    warning = page.one("", class_="warning").text
    assert warning.startswith("Unfinished. Training stands at 2 of 12 epochs.")
    assert "gradient_check.json, evaluation.npz, environment.json" in warning
    for name in ("gradient", "rest", "mistakes", "environment"):
        assert page.one("section", id=name).all("p", class_="absent")
    tiles = _tiles(page)
    assert tiles["test accuracy, last epoch"][1] == "epoch 2"
    assert tiles["cosine to the implicit gradient"] == ("–", "not checked yet")


def test_a_run_in_its_first_epoch_shows_single_steps(unfinished: Path) -> None:
    lines = (unfinished / "metrics.jsonl").read_text().splitlines(keepends=True)
    (unfinished / "metrics.jsonl").write_text("".join(lines[:3]))
    page = _page(unfinished)
    assert "No epoch has ended yet" in page.one("section", id="curves").all("figcaption")[0].text
    assert _tiles(page)["training time"] == ("–", "no epoch has ended yet")


def test_a_run_without_records_says_so(unfinished: Path) -> None:
    (unfinished / "metrics.jsonl").write_text("")
    absent = _page(unfinished).one("section", id="curves").one("", class_="absent")
    assert absent.text == "Nothing was recorded yet: metrics.jsonl holds no records."


def test_an_evaluation_of_an_earlier_state_is_pointed_out(finished: Path) -> None:
    """A run that was resumed and interrupted keeps the evaluation of before."""
    last = _metrics(finished, "epoch")[-1]
    later = last | {"epoch": 13, "step": 910, "test_accuracy": last["test_accuracy"] - 0.01}
    with (finished / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(later) + "\n")
    warning = _page(finished).one("", class_="warning").text
    assert "are of another state of the network (test accuracy 96.39 %) than the last epoch" in warning


def test_a_check_without_settled_samples_says_so(finished: Path) -> None:
    path = finished / "gradient_check.json"
    check = json.loads(path.read_text())
    nothing = {"cosine": None, "relative_error": None}
    check |= {"samples": 0, "total": nothing, "parameters": [each | nothing for each in check["parameters"]]}
    check["certificate"]["free_residual"] = [None] * 20
    check["certificate"]["point_residual"] = [[None] * 20] * 3
    path.write_text(json.dumps(check))
    page = _page(finished)
    assert "no sample came to rest" in page.one("section", id="gradient").one("", class_="absent").text
    assert _tiles(page)["cosine to the implicit gradient"] == ("–", "no sample came to rest")


def test_an_estimator_that_nudges_nothing_has_a_free_phase_only(finished: Path) -> None:
    path = finished / "gradient_check.json"
    check = json.loads(path.read_text())
    check["certificate"] |= {"points": [], "point_residual": []}
    path.write_text(json.dumps(check))
    caption = _page(finished).one("section", id="rest").all("figcaption")[1].text
    assert "a free phase only" in caption


def test_nothing_in_the_files_can_become_markup(finished: Path) -> None:
    """Oracle: the elements of the page of a harmless run; the hostile text comes back as the very same text."""
    hostile = """</code></pre><script>alert("x")</script><img src=x onerror='y'> & co $style &lt;"""
    harmless = [each.tag for each in _page(finished).all()]
    config = (finished / "config.toml").read_text(encoding="utf-8")
    config = config.replace('name = "digits-mlp"', f"name = '''{hostile}'''", 1)
    config = config.replace('activation = "double_silu"', f"activation = '''{hostile}'''")
    (finished / "config.toml").write_text(config, encoding="utf-8")
    environment = json.loads((finished / "environment.json").read_text())
    (finished / "environment.json").write_text(json.dumps(environment | {"device": hostile, "date": hostile}))
    check = json.loads((finished / "gradient_check.json").read_text())
    check["parameters"][0]["name"] = check["estimator"] = check["certificate"]["free_status"][0] = hostile
    (finished / "gradient_check.json").write_text(json.dumps(check))
    page = _page(finished)
    assert {each.tag for each in page.all()} <= set(harmless)
    assert len(page.all("img")) == harmless.count("img")
    assert [each for each in page.all() if "onerror" in each.attributes] == []
    assert page.one("h1").text == hostile
    assert page.one("title").text == f"{hostile} · holoprop"
    assert "".join(page.one("section", id="configuration").one("code").pieces) == config.strip()
    assert hostile in [cell.text for cell in page.one("section", id="environment").all("td")]
    assert hostile in [cell.text for cell in page.one("section", id="gradient").all("th")]
    assert hostile in [cell.text for cell in page.one("table", class_="outcomes").all("th")]

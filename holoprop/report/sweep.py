"""The page of a sweep, `sweep.html`: best trial, picture, every trial. One file, made from the sweep's folder alone."""

from pathlib import Path
from typing import Any

from holoprop.experiments.run_folder import write_text
from holoprop.experiments.sweep.folder import read_sweep
from holoprop.experiments.sweep.table import Row, SweepResults, read_results
from holoprop.report.drawing import inline_svg
from holoprop.report.frame import single_page, tile
from holoprop.report.markup import Markup, absent, element, joined, panel, section, table
from holoprop.report.sweep_figures import sweep_picture, value_text
from holoprop.report.wording import date, duration
from holoprop.train.metrics import percent


def write_sweep_page(folder: Path) -> Path:
    """Write the page of a sweep into its folder, and return its path, `folder/sweep.html`.

    **Raises:** `RunFolderError`, one line, if the folder holds no sweep or no results, or they are damaged; `OSError`
    from the file system.
    """
    path = folder / "sweep.html"
    write_text(path, render_sweep_page(read_sweep(folder), read_results(folder)))
    return path


def render_sweep_page(asked: dict[str, Any], results: SweepResults) -> str:
    """Return the page as HTML.

    **Arguments:** `asked`: what `read_sweep` returns; `results`: what came of it.
    """
    name = results.folder.resolve().name
    sections = [_picture(results), _trials(results), _grid(asked), _best_configuration(asked, results)]
    return single_page(f"Sweep {name}", _headline(name, asked, results), sections)


def _headline(name: str, asked: dict[str, Any], results: SweepResults) -> Markup:
    best, done = results.best, results.count("done")
    total = len(results.rows)
    seconds = [row.result.seconds for row in results.rows if row.result is not None]
    if best is None or best.result is None:
        tiles = [tile("best test accuracy", "–", "no trial is done")]
    else:
        result = best.result
        tiles = [
            tile("best test accuracy", percent(result.best_test_accuracy), f"in epoch {result.best_epoch}"),
            tile("in its last epoch", percent(result.test_accuracy), f"epoch {result.epochs}"),
            tile("best trial", best.trial.partition("-")[0], _point(best, results.keys)),
        ]
    tiles += [
        tile("trials done", f"{done} of {total}", _not_done(results)),
        tile("training time", duration(sum(seconds)) if seconds else "–", "of all trials together"),
    ]
    return joined(
        [
            element("h1", f"Sweep {name}"),
            element(
                "p",
                f"{asked['source']} over {' × '.join(asked['grid'])} · begun {date(asked['date'])}",
                class_="summary",
            ),
            _warning(results),
            element("dl", *tiles, class_="tiles"),
        ]
    )


def _not_done(results: SweepResults) -> str:
    counts = [(results.count(state), words) for state, words in (("failed", "failed"), ("missing", "not run yet"))]
    return ", ".join(f"{count} {words}" for count, words in counts if count) or "all of them"


def _warning(results: SweepResults) -> Markup:
    if results.count("done") == len(results.rows):
        return Markup("")
    remark = f"Trials: {_not_done(results)}. The same command with --resume runs these, and no others."
    return element("p", element("b", "Unfinished. "), remark, class_="warning")


def _picture(results: SweepResults) -> Markup:
    title = "What came out"
    drawn = sweep_picture(results)
    if drawn is None:
        return section("picture", title, absent("There is nothing to draw: no trial is done."))
    content = panel(inline_svg(drawn.figure, drawn.name, drawn.description), drawn.caption)
    return section("picture", title, element("div", content, class_="panels"))


def _trials(results: SweepResults) -> Markup:
    keys = [key.partition(".")[2] for key in results.keys]
    head = ("trial", *keys, "best", "in epoch", "last", "test loss", "cosine", "unsettled", "time", "state")
    rows = [_cells(results, row, row is results.best) for row in results.rows]
    caption = (
        "Test accuracy in the best epoch and in the last; loss on the test set; cosine of the trained network's "
        "gradient to the exact one; share of training samples that did not settle in the last epoch. Bold: the best "
        "trial. The number of a trial leads to its own report, in the folder trials beside this page."
    )
    failures = [(row.trial, row.reason) for row in results.rows if row.reason is not None]
    parts = [panel(table(head, rows, class_="numbers"), caption, class_="wide")]
    if failures:
        parts.append(panel(table(("trial", "why it failed"), failures), "Trials that failed.", class_="wide"))
    return section("trials", "Trials", element("div", *parts, class_="stack"))


def _cells(results: SweepResults, row: Row, best: bool) -> list[object]:
    number = row.trial.partition("-")[0]
    values = [value_text(row.point[key]) for key in results.keys]
    result = row.result
    if result is None:
        words = "not run yet" if row.state == "missing" else row.state
        return [number, *values, *["–"] * 7, words]
    report = f"trials/{row.trial}/report.html"
    link = element("a", number, href=report) if (results.folder / report).is_file() else number
    cells = [
        *values,
        percent(result.best_test_accuracy),
        result.best_epoch,
        percent(result.test_accuracy),
        "–" if result.test_loss is None else f"{result.test_loss:.4f}",
        "–" if result.cosine is None else f"{result.cosine:.5f}",
        percent(result.unsettled),
        duration(result.seconds),
        row.state if row.tries <= 1 else f"{row.state}, {row.tries} tries",
    ]
    return [element("b", link) if best else link, *(element("b", cell) if best else cell for cell in cells)]


def _grid(asked: dict[str, Any]) -> Markup:
    rows = [(key, ", ".join(texts)) for key, texts in asked["grid"].items()]
    return section("grid", "Grid", table(("key", "values"), rows, class_="facts"))


def _best_configuration(asked: dict[str, Any], results: SweepResults) -> Markup:
    title = "Configuration of the best trial"
    if results.best is None:
        return section("configuration", title, absent("No trial is done."))
    import tomli_w

    config = next(each for each in asked["trials"] if each["name"] == results.best.trial)
    return section("configuration", title, element("pre", element("code", tomli_w.dumps(config).strip())))


def _point(row: Row, keys: tuple[str, ...]) -> str:
    return ", ".join(f"{key.partition('.')[2]} {value_text(row.point[key])}" for key in keys)

"""Missing and broken files. Oracle: one line that names the file and what is wrong with it."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from holoprop.report import ReportError, write_report
from holoprop.report.records import read_run


def _text(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    return lambda folder: _write(folder / name, change((folder / name).read_text(encoding="utf-8")))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _check(**changes: object) -> Callable[[Path], None]:
    return _text("gradient_check.json", lambda text: json.dumps(json.loads(text) | changes))


def _arrays(**changes: object) -> Callable[[Path], None]:
    """Replace arrays of the evaluation; `None` leaves one out."""

    def change(folder: Path) -> None:
        arrays = dict(np.load(folder / "evaluation.npz")) | changes
        np.savez(folder / "evaluation.npz", **{name: value for name, value in arrays.items() if value is not None})

    return change


def _bytes(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes())) and None


def _flip(data: bytes) -> bytes:
    """Damage the compressed pixels, not the table of contents."""
    middle = len(data) // 2
    return data[:middle] + bytes(255 - byte for byte in data[middle : middle + 64]) + data[middle + 64 :]


BROKEN = {
    "no configuration": (lambda f: (f / "config.toml").unlink(), "config.toml is missing: it is not the folder"),
    "no metrics": (lambda f: (f / "metrics.jsonl").unlink(), "metrics.jsonl is missing"),
    "torn configuration": (_text("config.toml", lambda text: text[:12]), "config.toml is not TOML"),
    "not text": (_bytes("config.toml", lambda data: b"\xff" + data), "config.toml is damaged: it is not UTF-8"),
    "torn record": (_text("metrics.jsonl", lambda text: text.replace("}", "", 1)), "metrics.jsonl, line 1 is not JSON"),
    "unknown record": (
        _text("metrics.jsonl", lambda text: text.replace('"kind": "step"', '"kind": "leap"', 1)),
        "metrics.jsonl, line 1: kind must be 'step' or 'epoch', got 'leap'",
    ),
    "no object": (_text("metrics.jsonl", lambda text: "3\n" + text), "metrics.jsonl, line 1: kind must be"),
    "record without loss": (
        _text("metrics.jsonl", lambda text: text.replace('"loss"', '"lost"', 1)),
        "metrics.jsonl, line 1: loss: field required",
    ),
    "record of words": (
        _text("metrics.jsonl", lambda text: text.replace('"step": 10,', '"step": "ten",', 1)),
        "metrics.jsonl, line 1: step: input should be a valid integer",
    ),
    "torn environment": (_text("environment.json", lambda text: text[:-2]), "environment.json is not JSON"),
    "list of versions": (_text("environment.json", lambda text: "[1]"), "environment.json must hold an object"),
    "torn check": (_text("gradient_check.json", lambda text: text[:50]), "gradient_check.json is not JSON"),
    "check without layers": (_check(layers=None), "gradient_check.json: layers: input should be a valid list"),
    "points and residuals": (
        _check(certificate={
            "free_residual": [], "point_residual": [], "free_status": [], "unsettled_share": 0, "points": ["0.1+0j"]
        }),
        "gradient_check.json: certificate: value error, 1 points but residuals of 0",
    ),
    "no numbers": (
        _check(certificate={
            "free_residual": [], "point_residual": [[]], "free_status": [], "unsettled_share": 0, "points": ["β"]
        }),
        "gradient_check.json: certificate.points.0: ",
    ),
    "torn arrays": (_bytes("evaluation.npz", lambda data: data[:100]), "evaluation.npz is not a readable .npz archive"),
    "damaged arrays": (_bytes("evaluation.npz", _flip), "evaluation.npz is not a readable .npz archive"),
    "empty arrays": (_bytes("evaluation.npz", lambda data: b""), "evaluation.npz is not a readable .npz archive"),
    "missing arrays": (_arrays(true=None, residual=None), "evaluation.npz lacks the arrays true, residual"),
    "pickled arrays": (
        _arrays(residual=np.array([None, {}], dtype=object)), "evaluation.npz is not a readable .npz archive"
    ),
    "oblong confusion": (_arrays(confusion=np.zeros((10, 9), int)), "evaluation.npz: confusion must be a square"),
    "flat confusion": (_arrays(confusion=np.zeros(10, int)), "evaluation.npz: confusion must be a square"),
    "no matrix": (_arrays(confusion=np.array(3)), "evaluation.npz: confusion must be a square"),
    "shares": (_arrays(confusion=np.full((10, 10), 0.1)), "confusion must be a square matrix of counts, got float64"),
    "four channels": (_arrays(images=np.zeros((13, 8, 8, 4))), "images must be (k, h, w) or (k, h, w, 3)"),
    "too few labels": (_arrays(true=np.zeros(3, int)), "evaluation.npz: true must hold 13 values, got (3,)"),
    "a tenth digit": (_arrays(predicted=np.full(13, 10)), "evaluation.npz: predicted must hold labels in 0…9"),
    "residual matrix": (_arrays(residual=np.zeros((2, 2))), "evaluation.npz: residual must hold one value a sample"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_in_one_line(finished: Path, name: str) -> None:
    damage, message = BROKEN[name]
    damage(finished)
    with pytest.raises(ReportError, match=re.escape(message)) as caught:
        write_report(finished)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)
    assert str(finished) in str(caught.value)
    assert not (finished / "report.html").exists()


def test_no_folder_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"nowhere is not the folder of a run: there is no such folder$"):
        write_report(tmp_path / "nowhere")


def test_a_line_that_was_being_written_is_passed_over(finished: Path) -> None:
    """As a run leaves it that was killed; oracle: the whole lines before it."""
    whole = read_run(finished)
    with (finished / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step", "st')
    torn = read_run(finished)
    assert (torn.steps, torn.epochs) == (whole.steps, whole.epochs)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", (np.sqrt(320) * 1e-6, np.sqrt(320) * 1e-6)),
        ('dtype = "float32"', 'dtype = "float64"', (np.sqrt(320) * 1e-11, np.sqrt(320) * 1e-11)),
        ("depth = 5", "depth = 5\ntolerance = 1e-4", (1e-4, 1e-4)),
        ("depth = 5", "depth = 5\ntolerance = 1e-4\nnudged_tolerance = 1e-3", (1e-4, 1e-3)),
        ('kind = "mlp"', 'kind = "unheard-of"', (None, None)),
    ],
)
def test_tolerances_are_the_configured_or_the_default_ones(
    finished: Path, old: str, new: str, expected: tuple[float | None, float | None]
) -> None:
    """Oracle: DESIGN's default, √neurons · 1e-6 (float32) or 1e-11 (float64); unknown for networks of another kind."""
    _text("config.toml", lambda text: text.replace(old, new, 1))(finished)
    assert read_run(finished).tolerances == pytest.approx(expected)

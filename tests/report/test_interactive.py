"""Figures as Plotly draws them. Oracle: the numbers that the figures were drawn from."""

import json
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from holoprop.report.drawing import COLOURS, house_style, inline_svg, new_axes, show_decades
from holoprop.report.interactive import explorer


def _drawn(figure: Figure) -> dict:
    inline_svg(figure, "x", "x")
    markup = explorer(figure, "x")
    assert markup is not None and markup.startswith('<details class="explore" data-name="x"')
    found = re.search(r'<script type="application/json" id="x-data">(.*?)</script>', markup)
    assert found is not None
    return json.loads(found[1])


def test_curves_keep_their_numbers_names_and_colours() -> None:
    with house_style():
        figure, axes = new_axes("epoch", "error (%)")
        axes.plot([1, 2, 3], [5.0, np.nan, 4.0], "--", marker="s", color=COLOURS["blue"], label="circle")
        axes.plot([1, 2], [7, 8], color="#123456")
        axes.axhline(6.0, color=COLOURS["ink"])
        axes.set_yscale("log")
    drawn = _drawn(figure)
    first, second, level = drawn["data"]
    assert (first["x"], first["y"], first["name"], first["mode"]) == (
        [1, 2, 3],
        [5, None, 4],
        "circle",
        "lines+markers",
    )
    assert (first["line"]["color"], first["line"]["dash"]) == ("var(--blue)", "dash") and first["showlegend"]
    assert (second["line"]["color"], second["name"], second["showlegend"]) == ("#123456", "", False)
    assert level["y"] == [6, 6] and level["x"] == pytest.approx(list(axes.get_xlim()), rel=1e-5)
    assert drawn["layout"]["yaxis"]["type"] == "log" and drawn["layout"]["xaxis"]["title"]["text"] == "epoch"
    np.testing.assert_allclose(drawn["layout"]["yaxis"]["range"], np.log10(axes.get_ylim()))


def test_axes_that_carry_logarithms_show_the_numbers_themselves() -> None:
    with house_style():
        figure, axes = new_axes("x", "1 − cosine")
        show_decades(axes, "y", -6, 0)
        axes.plot([0, 1], [-3.0, -6.0])
        axes.invert_yaxis()
    drawn = _drawn(figure)
    np.testing.assert_allclose(drawn["data"][0]["y"], [1e-3, 1e-6])
    assert drawn["layout"]["yaxis"]["type"] == "log" and drawn["layout"]["yaxis"]["range"] == [0, -6]


def test_maps_points_bars_and_words_on_axes() -> None:
    with house_style():
        figure = Figure(figsize=(5, 3))
        left, right = figure.subplots(1, 2)
        picture = left.imshow(np.arange(6.0).reshape(2, 3), origin="lower", extent=(0, 3, 0, 2), vmin=0, vmax=5)
        figure.colorbar(picture, ax=left).set_label("residual")
        right.plot([1.0, 2.0], [3.0, 4.0], "o", color=COLOURS["green"], label="samples")
        right.bar([0], [2.5], width=0.5, color=COLOURS["pink"], label="mean")
        right.set_xticks([0, 1], ["none", "all\nof it"])
        right.set_title("second", loc="left")
    drawn = _drawn(figure)
    heat, bar, cloud = drawn["data"]
    assert heat["z"] == [[0, 1, 2], [3, 4, 5]] and heat["x"] == [0.5, 1.5, 2.5] and heat["y"] == [0.5, 1.5]
    assert heat["colorbar"]["title"]["text"] == "log10 of residual" and (heat["zmin"], heat["zmax"]) == (0, 5)
    assert (bar["x"], bar["y"], bar["name"], bar["xaxis"]) == ([0], [2.5], "mean", "x2")
    assert (cloud["x"], cloud["y"], cloud["mode"]) == ([1, 2], [3, 4], "markers")
    assert cloud["marker"]["color"] == "var(--green)"
    assert drawn["layout"]["xaxis2"]["ticktext"] == ["none", "all<br>of it"]
    assert drawn["layout"]["yaxis"]["scaleanchor"] == "x" and "scaleanchor" not in drawn["layout"]["yaxis2"]
    assert drawn["layout"]["annotations"][0]["text"] == "second"
    assert drawn["layout"]["xaxis"]["domain"][1] < drawn["layout"]["xaxis2"]["domain"][0]


def test_a_figure_of_nothing_has_no_explorer_and_names_cannot_end_the_script() -> None:
    with house_style():
        empty, _ = new_axes("x", "y")
        figure, axes = new_axes("x", "y")
        axes.plot([0, 1], [0, 1], label="</script><b>")
    inline_svg(empty, "x", "x")
    assert explorer(empty, "x") is None
    # As it is in JSON, and with its tags written out, for Plotly would take them for markup.
    assert _drawn(figure)["data"][0]["name"] == "&lt;/script&gt;&lt;b&gt;"


def test_rings_strips_ranges_and_bars_of_error_are_there_too() -> None:
    with house_style():
        figure, axes = new_axes("x", "y")
        axes.set(xlim=(-3, 3), ylim=(-3, 5))
        axes.add_patch(Circle((0.5, 0), 2.0, fill=False, edgecolor=COLOURS["vermilion"], linestyle="--"))
        axes.add_patch(Circle((0.5, 0), 2.0, fill=False, edgecolor="#ffffff"))
        axes.axvspan(1, 2, color=COLOURS["grid"])
        axes.fill_between([0.0, 1.0], [1.0, 2.0], [3.0, 4.0], color=COLOURS["blue"])
        axes.bar([-1], [2.0], width=0.5, color=COLOURS["pink"], yerr=0.25)
        axes.plot([0.0], [1.0], "+")
    drawn = _drawn(figure)
    area, bar, ring, point = drawn["data"][:4]
    assert area["fill"] == "toself" and {*zip(area["x"], area["y"], strict=True)} >= {(0, 1), (1, 2), (0, 3), (1, 4)}
    assert bar["error_y"]["array"] == [0.25]
    radius = np.hypot(np.array(ring["x"]) - 0.5, ring["y"])
    np.testing.assert_allclose(radius, 2, rtol=1e-4)
    assert ring["line"] == {"color": "var(--vermilion)", "width": 1.6, "dash": "dash"}
    (strip,) = drawn["layout"]["shapes"]
    assert (strip["x0"], strip["x1"], strip["xref"]) == (1, 2, "x")
    crosses = [trace for trace in drawn["data"] if trace.get("marker", {}).get("symbol") == "cross-thin"]
    assert len(crosses) == 1 and crosses[0]["mode"] == "markers" and crosses[0]["marker"]["line"]["width"] == 2
    assert point["type"] == "scatter"

"""The page of a stability map. Oracles: the numbers drawn, `settle`'s own, and that it needs nothing from outside."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

import holoprop as hp
from holoprop.experiments.beta_plane import BetaPlane, map_sample
from holoprop.report.map_page import write_map_page
from holoprop.report.orbits import orbit_figure, trace_figure
from holoprop.report.spectrum import spectrum_figure
from holoprop.report.stability import stability_figure


@pytest.fixture(scope="module")
def result() -> BetaPlane:
    net = hp.mlp(3, (6,), 2, weight_scale=3.0, key=jax.random.key(1))
    x = np.array([[0.2, 0.5, 0.9]], np.float32)
    return map_sample(
        net, x, np.array([1]), points=6, radius=0.3, resolution=9, extent=8.0, max_steps=30, title="<small>"
    )


def test_the_page_needs_nothing_from_outside(result: BetaPlane, tmp_path: Path) -> None:
    page = write_map_page(result, tmp_path / "new" / "map.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', page) and "<script" not in page and "<nav" not in page
    for text in ("Stability map of &lt;small&gt;", "r = 0.3", "predicted ‖c₇‖", "solver tolerance", "neuron"):
        assert text in page
    again = write_map_page(result, tmp_path / "again.html").read_text(encoding="utf-8")
    assert page == again


def test_the_map_is_the_residual_and_the_circles_are_round(result: BetaPlane) -> None:
    axes = stability_figure(result.plane, 0.3, 2.0).axes[0]
    drawn = np.asarray(axes.images[0].get_array())
    low, high = axes.images[0].get_clim()
    np.testing.assert_allclose(drawn, np.clip(np.log10(result.plane.residual[0]), low, high), atol=1e-5)
    assert {patch.radius for patch in axes.patches} == {0.3, 2.0}  # pyright: ignore[reportAttributeAccessIssue]
    assert axes.get_aspect() == 1
    left, right, bottom, top = axes.images[0].get_extent()
    np.testing.assert_allclose((left, right, bottom, top), (-9, 9, -9, 9))


def test_the_spectrum_is_that_of_the_certificate(result: BetaPlane) -> None:
    spectrum = result.orbit.spectrum
    lines = {str(line.get_label()): line for line in spectrum_figure(spectrum, result.fine.spectrum).axes[0].lines}
    norms = np.asarray(spectrum.norms[0])
    drawn = np.asarray(lines["the estimate's 6 points"].get_ydata())
    np.testing.assert_allclose(drawn, np.log10(norms[1:] / norms[1]), atol=1e-6)
    predicted = lines["predicted ‖c₇‖"]
    np.testing.assert_allclose(predicted.get_ydata(), np.log10(spectrum.aliasing[:1]), atol=1e-6)
    np.testing.assert_allclose(predicted.get_xdata(), [7])


def test_paths_go_through_the_settled_points_and_close(result: BetaPlane) -> None:
    response = np.asarray(result.fine.response[0][:, 0])
    line = orbit_figure(result.fine).axes[0].lines[0]
    path = np.asarray(line.get_xdata()) + 1j * np.asarray(line.get_ydata())
    chosen = int(re.findall(r"neuron (\d+)", str(line.get_label()))[0])
    scale = np.abs(response[:, chosen]).max() / np.abs(path).max()
    np.testing.assert_allclose(path[:-1:8] * scale, response[:, chosen], rtol=0, atol=2e-2 * np.abs(response).max())
    np.testing.assert_allclose(path[0], path[-1], atol=1e-9)
    trace = trace_figure(result.fine).axes[0].lines[0]
    time, real = np.asarray(trace.get_xdata()), np.asarray(trace.get_ydata())
    assert (time[0], time[-1]) == (0, 2)
    np.testing.assert_allclose(real[: len(real) // 2], real[len(real) // 2 : -1], atol=1e-9)
    np.testing.assert_allclose(real[: len(path)], path.real, atol=1e-9)


def test_a_network_of_which_nothing_settles_is_drawn_too(tmp_path: Path) -> None:
    net = hp.mlp(3, (6, 6), 2, activation="double_silu", weight_scale=60.0, key=jax.random.key(1))
    lost = map_sample(net, np.ones((1, 3), np.float32), np.array([1]), radius=5.0, resolution=5, max_steps=10)
    page = write_map_page(lost, tmp_path / "map.html").read_text(encoding="utf-8")
    assert 'class="warning"' in page


def test_bad_input_is_one_line() -> None:
    net = hp.mlp(3, (6,), 2, key=jax.random.key(1))
    with pytest.raises(ValueError, match=r"a map is of one sample, got 2"):
        map_sample(net, np.zeros((2, 3)), np.array([0, 1]))
    with pytest.raises(ValueError, match=r"solver must be one of picard, .*got 'newton'"):
        map_sample(net, np.zeros((1, 3)), np.array([0]), solver="newton")

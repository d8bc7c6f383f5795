"""How cost grows: the FLOP model's own laws, and a run of tiny sizes."""

import json

import pytest

from holoprop import bench, cli
from holoprop.bench.growth import GROWTH, Size, render_growth, run_growth

SIZES = {
    "batch": (Size(width=4, side=8), Size(batch=8, width=4, side=8)),
    "points": (Size(width=4, side=8), Size(points=4, width=4, side=8)),
}


@pytest.fixture(scope="module")
def rows():
    lines = []
    rows = run_growth(SIZES, lines.append, rounds=1, at_least=0.01)
    # One size in two places is compiled once.
    assert len([line for line in lines if "compiling" in line]) == 3
    return rows


def test_rows(rows):
    assert [(row["grows"], row["batch"], row["points"]) for row in rows] == [
        ("batch", 4, 2),
        ("batch", 8, 2),
        ("points", 4, 2),
        ("points", 4, 4),
    ]
    assert json.loads(json.dumps(rows)) == rows
    assert rows[0] == {**rows[2], "grows": "batch"}
    assert all(row["gflops"] == pytest.approx(row["mflop"] / row["step_s"] / 1e3) for row in rows)


def test_cost_is_linear_in_the_batch(rows):
    assert rows[1]["mflop"] == pytest.approx(2 * rows[0]["mflop"])


def test_table_shows_factors(rows):
    text = render_growth(rows)
    assert "×2.00" in text and text.count("×") == 4
    assert max(map(len, text.splitlines())) <= 140


def test_each_list_grows_in_what_it_names():
    for name, sizes in GROWTH.items():
        values = [getattr(size, name) for size in sizes]
        assert values == sorted(set(values)) and sizes[0] != sizes[-1]
        assert len({Size(**{**vars(size), name: 0}) for size in sizes}) == 1


def test_command_prints_the_table(rows, monkeypatch, capsys):
    # The numbers are measured once above; here is what the command makes of them.
    monkeypatch.setattr(bench, "run_growth", lambda progress: rows)
    for arguments, wanted in ((["--growth"], render_growth(rows)), (["--growth", "--json"], None)):
        with pytest.raises(SystemExit) as ended:
            cli.main(["bench", *arguments])
        out = capsys.readouterr().out
        assert ended.value.code == 0
        assert out.rstrip("\n") == wanted if wanted else json.loads(out) == rows


def test_command_refuses_growth_of_one_benchmark(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["bench", "--growth", "--only", "mlp-table1"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "holoprop: --growth measures a network of its own: leave out --only\n"

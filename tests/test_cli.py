"""The command line: what it prints and where, what it writes, how it ends."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from holoprop import cli
from holoprop.experiments import training
from holoprop.experiments.run_folder import FILES
from holoprop.experiments.sources import list_presets

# Plain alternation compiles in a fraction of Anderson's time; the gradient checks below take the preset's own solver.
TINY = [
    f"--set={override}"
    for override in (
        "network.hidden=[12]",
        "estimator.solver=alternating",
        "data.train_limit=60",
        "data.test_limit=40",
        "training.epochs=2",
        "optimizer.schedule=constant",
    )
]


class Output(NamedTuple):
    status: int
    out: str
    err: str


class Shell:
    """Run commands in this process, in an empty folder."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: str) -> Output:
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        out, err = self.capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Output(ended.value.code, out, err)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(capsys)


def test_train_trains_checks_and_reports(shell: Shell) -> None:
    """Oracle: the four facts on standard output, against the files of the run; progress goes to standard error."""
    done = shell("train", "digits-mlp", *TINY)
    assert done.status == 0, done.err
    folder = Path("runs/digits-mlp")
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    lines = dict(line.split("  ", 1) for line in done.out.splitlines())
    check = json.loads((folder / "gradient_check.json").read_text())
    assert f"{check['total']['cosine']:.7f}" in lines["cosine to Implicit"]
    assert check["total"]["cosine"] >= 0.9999
    epochs = [record for line in (folder / "metrics.jsonl").open() if (record := json.loads(line))["kind"] == "epoch"]
    assert lines["test accuracy"].strip().startswith(f"{100 * epochs[-1]['test_accuracy']:.2f} % (best ")
    assert lines["training"].strip().endswith(" s for 2 epochs")
    assert lines["report"].strip() == "runs/digits-mlp/report.html"
    assert (folder / "report.html").stat().st_size > 1000
    assert [line.split(" · ")[0] for line in done.err.splitlines()] == ["epoch 1/2", "epoch 2/2"]
    # The same command again finds the run; it is neither repeated nor lost without a word.
    again = shell("train", "digits-mlp", *TINY)
    assert (again.status, again.out) == (2, "")
    assert again.err.splitlines() == [
        "holoprop: runs/digits-mlp holds a run already: resume it, overwrite it, or choose another name "
        "(--resume, --overwrite or --name)"
    ]
    assert shell("train", "digits-mlp", *TINY, "--overwrite").out.splitlines()[0] == done.out.splitlines()[0]


def test_an_interrupt_says_how_to_go_on(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: status 130, one line, and the promised `--resume` works."""
    from holoprop.experiments import display

    class Interrupting(display.TrainingLines):
        def epoch(self, record: dict) -> None:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(display, "TrainingLines", Interrupting)
        stopped = shell("train", "digits-mlp", *TINY, "--name", "x")
    assert (stopped.status, stopped.out) == (130, "")
    assert stopped.err.splitlines()[-1] == "holoprop: interrupted; the same command with --resume continues it"
    resumed = shell("train", "digits-mlp", *TINY, "--name", "x", "--resume")
    assert resumed.status == 0, resumed.err
    assert resumed.err.splitlines()[0].startswith("epoch 2/2")


def test_an_interrupt_before_training_promises_nothing(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "run_training", interrupt)
    stopped = shell("train", "digits-mlp")
    assert stopped == (130, "", "holoprop: interrupted; nothing was trained yet\n")


def test_a_stop_that_was_asked_for_is_no_failure(shell: Shell) -> None:
    """Status 0 and one line. Oracle: the promise holds, `--resume` goes on to the end."""
    stopped = shell("train", "digits-mlp", *TINY, "--name", "y", "--time-limit", "1e-9")
    assert stopped[:2] == (0, "")
    line = "holoprop: stopped by the time limit of 6e-08 s; nothing was trained yet"
    assert stopped.err.splitlines()[-1] == line
    again = shell("train", "digits-mlp", *TINY, "--name", "y", "--overwrite")
    assert again.status == 0, again.err


def test_several_seeds(shell: Shell) -> None:
    """Oracle: the runs' own files; mean and sample standard deviation by numpy."""
    done = shell("train", "digits-mlp", *TINY, "--seeds", "2", "--name", "both")
    assert done.status == 0, done.err
    last = []
    for seed in (0, 1):
        folder = Path(f"runs/both/seed-{seed}")
        assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
        assert tomllib.loads((folder / "config.toml").read_text())["training"]["seed"] == seed
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        last.append([json.loads(line) for line in lines][-1]["test_accuracy"])
    summary = json.loads(Path("runs/both/seeds.json").read_text())["last_test_accuracy"]
    assert summary["values"] == last
    assert summary["mean"] == pytest.approx(np.mean(last)) and summary["std"] == pytest.approx(np.std(last, ddof=1))
    words = f"{100 * summary['mean']:.2f} % ± {100 * summary['std']:.2f} %"
    assert any(words in line for line in done.out.splitlines())
    refused = shell("train", "digits-mlp", *TINY, "--seeds", "2", "--name", "both")
    assert (refused.status, refused.out) == (2, "")
    assert "seed-0 holds a run already" in refused.err


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--devices", "99"), "devices must be in 1 … 1, the cpu devices that JAX finds here, got 99"),
        (("--platform", "quantum"), "--platform must be cpu, gpu or tpu, got quantum"),
        (("--time-limit", "0"), "--time-limit must be positive, in minutes, got 0"),
        (("--coordinator", "a:1"), "--coordinator needs --processes, how many there are, and --process, which one"),
        (("--process", "0"), "--processes and --process need --coordinator, the HOST:PORT of the first process"),
        (("--seeds", "2", "--devices", "1"), "--devices does not go with --seeds: leave one of them out"),
    ],
)
def test_devices_that_are_not_there(shell: Shell, options: tuple[str, ...], line: str) -> None:
    refused = shell("train", "digits-mlp", *TINY, *options)
    assert (refused.status, refused.out) == (2, "")
    assert refused.err.startswith(f"holoprop: {line}") and refused.err.count("\n") == 1
    assert not Path("runs/digits-mlp").exists()


def test_a_full_disk_is_one_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "runs/digits-mlp/metrics.jsonl")

    monkeypatch.setattr(training, "fit", full)
    done = shell("train", "digits-mlp", *TINY)
    assert done == (2, "", "holoprop: runs/digits-mlp/metrics.jsonl: No space left on device\n")


def test_a_fault_of_ours_is_not_hidden(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: only what a person can cause becomes one line; a bug keeps its traceback."""

    def fault(*_: object, **__: object) -> None:
        raise KeyError("bug")

    monkeypatch.setattr(training, "run_training", fault)
    with pytest.raises(KeyError, match="bug"):
        cli.main(["train", "digits-mlp"])


def test_check_gradient_prints_json(shell: Shell) -> None:
    """Oracle: the acceptance of the demo, cosine ≥ 0.9999, on the digits preset's own fresh network."""
    done = shell("check-gradient", "digits-mlp", "--json", "--samples", "4", "--set", "network.hidden=[12]")
    assert done.status == 0, done.err
    check = json.loads(done.out)
    assert check["total"]["cosine"] >= 0.9999
    assert check["samples"] == 4
    certificate = check["certificate"]
    assert sum(certificate["verdicts"].values()) == 4
    assert certificate["median_radius"] == pytest.approx(0.03)
    assert 0 < certificate["median_predicted_error"] < 1


def test_check_gradient_prints_a_table(shell: Shell) -> None:
    done = shell(
        "check-gradient", "digits-mlp", "--samples=4", "--set=network.hidden=[12]", "--set=estimator.radius=0.2"
    )
    head, columns, *rows, total, certificate = done.out.splitlines()
    assert head == "Holomorphic(points=4, radius=0.2) against Implicit, 4 test samples"
    assert columns.split("  ")[0] == "gradient of"
    names = [row[:24].rstrip() for row in rows]
    assert names == [
        "connections[0]", "  connections[0].weight", "  connections[0].bias",
        "readout", "  readout.weight", "  readout.bias",
    ]  # fmt: skip
    assert float(total.split()[1]) >= 0.9999
    assert re.fullmatch(r"certificate: 4 samples: 4 ok; predicted error \S+ .*; circle 0\.2, .*", certificate)


def test_presets_lists_every_preset(shell: Shell) -> None:
    done = shell("presets")
    assert [line.split()[0] for line in done.out.splitlines()[1:]] == [preset.name for preset in list_presets()]


def test_show_prints_a_file_that_trains_the_same(shell: Shell) -> None:
    """Oracle: showing the shown configuration changes nothing."""
    shown = shell("show", "mnist-mlp", "--set", "training.epochs=3").out
    assert tomllib.loads(shown)["training"]["epochs"] == 3
    Path("mine.toml").write_text(shown)
    assert shell("show", "mine.toml").out == shown


def test_schema_is_json(shell: Shell) -> None:
    assert "estimator" in json.loads(shell("schema").out)["properties"]


def test_data_commands(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the built-in set is there and right; an empty cache holds nothing else."""
    monkeypatch.delenv("HOLOPROP_DATA", raising=False)
    monkeypatch.setenv("HOLOPROP_CACHE", "cache")
    listed = shell("data", "list").out.splitlines()
    grey, colour = (
        ["digits", "mnist", "fashion-mnist"],
        ["svhn", "cifar-10", "cifar-100", "cifar-100-subset", "imagenet32"],
    )
    assert [line.split()[0] for line in listed] == ["name", *grey, *colour]
    assert listed[1].endswith("built in")
    assert listed[2].endswith("not downloaded")
    assert shell("data", "fetch", "digits").out == "digits is built in: there is nothing to download\n"
    verified = shell("data", "verify")
    assert (verified.status, verified.out.startswith("ok  digits/")) == (0, True)


def test_a_set_in_the_format_of_imagenet_is_made_converted_and_trained_on(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: what each command prints; 1000 classes in the network, in the evaluation and on the page."""
    monkeypatch.setenv("HOLOPROP_CACHE", "cache")
    monkeypatch.setenv("HOLOPROP_DATA", ".")
    made = shell("data", "synthesise", "imagenet32", "--folder", ".", "--images", "60", "--test-images", "20", "--npz")
    assert made.out.splitlines()[-1] == "imagenet32/val_data.npz" and len(made.out.splitlines()) == 11
    refused = shell("data", "convert", "imagenet32")
    assert (refused.status, len(refused.err.splitlines()[-1:])) == (2, 1)
    assert "data.verify = false" in refused.err.splitlines()[-1]
    assert shell("data", "convert", "imagenet32", "--no-verify").out == "cache/imagenet32/arrays-unverified\n"
    data = ["--set=data.name=imagenet32", "--set=data.verify=false", "--set=training.epochs=1"]
    # Backpropagation compiles fastest, and the data are what is tested.
    data += ["--set=network.feedback=off", "--set=estimator={name='backpropagation'}"]
    too_many = shell("train", "digits-mlp", *TINY, *data, "--set=data.train_limit=61")
    assert too_many.err == (
        "holoprop: data.train_limit must be at most 60, the train samples of imagenet32 here, got 61\n"
    )
    done = shell("train", "digits-mlp", *TINY, *data, "--set=data.test_limit=none", "--name=large")
    assert done.status == 0, done.err
    assert Path("runs/large/report.html").stat().st_size < 1_000_000
    assert "most frequent confusions" in Path("runs/large/report.html").read_text()
    wrong = shell("data", "synthesise", "mnist", "--folder", ".")
    assert (wrong.status, wrong.err.startswith("holoprop: only imagenet32 is imitated, got 'mnist'")) == (2, True)


def test_data_verify_fails_where_a_file_is_wrong(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLOPROP_DATA", "data")
    Path("data/mnist").mkdir(parents=True)
    Path("data/mnist/train-images-idx3-ubyte.gz").write_bytes(b"not it")
    done = shell("data", "verify", "mnist")
    assert done.status == 2
    assert [line[:4] for line in done.out.splitlines()] == ["BAD "] * 4
    assert done.err.startswith("holoprop: 4 of 4 files are missing or wrong: mnist/train-images-idx3-ubyte.gz, ")
    assert len(done.err.splitlines()) == 1


def test_version_names_what_a_result_depends_on(shell: Shell) -> None:
    import jax

    assert f"jax        {jax.__version__}" in shell("version").out.splitlines()


def test_help_without_a_command(shell: Shell) -> None:
    done = shell()
    assert done.status == 2
    for command in ("train", "check-gradient", "presets", "data", "bench"):
        assert command in done.err


def test_the_process_ends_with_status_2_and_one_line_without_a_traceback(tmp_path: Path) -> None:
    """Oracle: the operating system's view, where the tests above have pytest's."""
    command = [sys.executable, "-m", "holoprop.cli", "train", "digit-mlp"]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "holoprop: unknown preset 'digit-mlp': choose one of "
        f"{', '.join(preset.name for preset in list_presets())}, or give a path that ends in .toml; "
        "did you mean 'digits-mlp'?"
    ]

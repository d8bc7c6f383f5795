"""Misuse of configurations, files, data and the Python interface: each case has its one line.

Oracle throughout: the line itself, word for word, since it is what the person reads. On the command line it goes to
standard error with exit status 2, and nothing is written.
"""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import holoprop as hp
from holoprop import cli
from holoprop.bench import benchmark_names
from holoprop.data.loading import load_dataset
from holoprop.experiments.config import parse_config
from holoprop.experiments.sources import load_config
from holoprop.experiments.training import run_training

TINY = (
    "network.hidden=[12]",
    "estimator.name=implicit",
    "estimator.solver=alternating",
    "data.train_limit=60",
    "data.test_limit=40",
    "training.epochs=1",
)


def line_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that fails; return its one line."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert err.startswith("holoprop: ")
    return err.removeprefix("holoprop: ").removesuffix("\n")


CONFIGURATIONS = {
    "unknown key": (
        ["estimator.pionts=4"],
        "unknown key estimator.pionts = 4: [estimator] takes name, points, radius, points_per_batch, "
        "gradient_tolerance, noise, free_steps, nudged_steps, window, solver, depth, tolerance, max_steps, "
        "nudged_tolerance, nudged_max_steps, form, asymmetry, homeostasis, homeostasis_samples, homeostasis_form, "
        "homeostasis_schedule, kolen_pollack, unsettled; did you mean estimator.points?",
    ),
    "unknown section": (
        ["trainig.epochs=4"],
        "unknown key trainig: a configuration takes name, network, estimator, data, training, optimizer; "
        "did you mean training?",
    ),
    "key in the wrong section": (
        ["network.batch_size=4"],
        "unknown key network.batch_size = 4: [network] takes kind, hidden, start, feedback, angle, activation, "
        "cost, weight_scale, weight_std, dtype; did you mean training.batch_size?",
    ),
    "negative radius": (["estimator.radius=-0.4"], "estimator.radius must be a finite number > 0 or 'auto', got -0.4"),
    "one point": (
        ["estimator.points=1"],
        "estimator.points must be an integer ≥ 2, got 1; for one nudge and a free phase set "
        'estimator.name = "one_sided"',
    ),
    "a word for a number": (["training.epochs=many"], "training.epochs must be an integer ≥ 1, got 'many'"),
    "true for a number": (["training.epochs=true"], "training.epochs must be an integer ≥ 1, got true"),
    "infinite learning rate": (
        ["optimizer.learning_rate=inf"],
        "optimizer.learning_rate must be a finite number > 0, got inf",
    ),
    "empty layer": (
        ["network.hidden=[64, 0]"],
        "network.hidden must be a list, not empty, of which each is an integer ≥ 1, got [64, 0]",
    ),
    "no layers": (
        ["network.kind=convnet", "network.hidden=[64]"],
        "network.hidden = [64] has no meaning with network.kind = 'convnet', only with mlp or loop_mlp",
    ),
    "channels of dense layers": (
        ["network.channels=[8]"],
        "network.channels = [8] has no meaning with network.kind = 'mlp', only with convnet or resnet",
    ),
    "unknown activation": (
        ["network.activation=sigmoyd"],
        "network.activation must be one of sigmoid, double_silu, tanh, silu, softplus, hard_sigmoid, relu, "
        "got 'sigmoyd'; did you mean 'sigmoid'?",
    ),
    "kinked activation on a circle": (
        ["network.activation=relu"],
        "network.activation = 'relu' is not holomorphic, which estimator.points = 4 needs: use one of sigmoid, "
        "double_silu, tanh, silu, softplus, or estimator.points = 2",
    ),
    "key of another estimator": (
        ["estimator.beta=0.1"],
        "estimator.beta = 0.1 has no meaning with estimator.name = 'holomorphic', only with one_sided, centered, "
        "stencil or continual",
    ),
    "no nudge": (
        ["estimator.name=one_sided", "estimator.beta=0"],
        "estimator.beta must be a number other than 0, got 0.0",
    ),
    "batch larger than the data": (
        ["training.batch_size=5000"],
        "training.batch_size must be at most 1437, the training samples of digits in use, got 5000",
    ),
    "more samples than there are": (
        ["data.test_limit=400"],
        "data.test_limit must be at most 360, the test samples of digits, got 400",
    ),
    "unknown data set": (
        ["data.name=mnits"],
        "data.name: unknown data set 'mnits', known are cifar-10, cifar-100, cifar-100-subset, digits, "
        "fashion-mnist, imagenet32, mnist, svhn; did you mean 'mnist'?",
    ),
    "missing key": (["training.epochs=none"], "training.epochs is missing: give an integer ≥ 1"),
    "name with a slash": (
        ["name=../x"],
        "name must be a name of letters, digits, '.', '_' and '-' that begins with a letter or digit, got '../x'",
    ),
    "no equals sign": (
        ["training.epochs"],
        "--set 'training.epochs' has no '=': write section.key=value, for example training.epochs=3",
    ),
    "unclosed bracket": (
        ["network.hidden=[64"],
        "--set 'network.hidden=[64' has no valid value: give a number, true, false, a word, or another TOML value",
    ),
}


@pytest.mark.parametrize(("overrides", "line"), CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_configurations(
    overrides: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert line_of(capsys, "train", "digits-mlp", *(f"--set={override}" for override in overrides)) == line
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError) as caught:
        load_config("digits-mlp", overrides)
    assert str(caught.value) == line


def test_configurations_in_python() -> None:
    tree: dict[str, Any] = {"name": "x", "network": {"hidden": 64}}
    line = "network.hidden must be a list, not empty, of which each is an integer ≥ 1, got 64"
    with pytest.raises(ValueError) as caught:
        parse_config(tree)
    assert str(caught.value) == line


FILES = {
    "absent": (None, "run.toml: No such file or directory"),
    "malformed": (b"[network]\nhidden = [64\n", "run.toml is not valid TOML: Unclosed array (at end of document)"),
    "binary": (b"\xff\xfe\x00", "run.toml is not a text file in UTF-8"),
    "empty": (b"", "network is missing: give a section with kind, hidden, channels, kernel, blocks, strength, padding, "
              "pools, pooling, temperature, start, feedback, angle, activation, cost, weight_scale, weight_std, dtype"),
    "no section": (b"network = 3\n", "network must be a section with kind, hidden, channels, kernel, blocks, "
                   "strength, padding, pools, pooling, temperature, start, feedback, angle, activation, cost, "
                   "weight_scale, weight_std, dtype, got 3"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "line"), FILES.values(), ids=FILES)
def test_files(
    content: bytes | None,
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("run.toml").write_bytes(content)
    printed = line_of(capsys, "train", "run.toml")
    # Python's TOML parser words the place of the mistake differently from version to version.
    assert printed.startswith(line.partition(":")[0])
    assert printed == line or "TOML" in line
    assert not Path("runs").exists()


def test_a_folder_for_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.toml").mkdir()
    assert line_of(capsys, "train", "run.toml") == "run.toml: Is a directory"
    assert line_of(capsys, "check-gradient", ".") == ". is not the folder of a run: it has no config.toml"


COMMANDS = {
    "unknown preset": (
        ["train", "digit-mlp"],
        "unknown preset 'digit-mlp': choose one of cifar10-p1, cifar10-p1-bp, cifar10-p2, cifar10-small, "
        "cifar10-vgg6, digits-mlp, fashion-mnist-mlp, imagenet32-p1, mnist-mlp, or give a path that ends in .toml; "
        "did you mean 'digits-mlp'?",
    ),
    "no preset": (["train"], "Missing argument 'PRESET|FILE.toml'. (holoprop --help)"),
    "unknown command": (["frobnicate"], "No such command 'frobnicate'. (holoprop --help)"),
    "unknown option": (["presets", "--all"], "No such option: --all (holoprop --help)"),
    "unknown benchmark": (
        ["bench", "--only", "mlp"],
        f"unknown benchmark 'mlp'; known are {', '.join(benchmark_names())}",
    ),
    "no samples": (["check-gradient", "digits-mlp", "--samples", "0"], "samples must be at least 1, got 0"),
    "unknown set": (
        ["data", "fetch", "minst"],
        "unknown data set 'minst', known are cifar-10, cifar-100, cifar-100-subset, digits, "
        "fashion-mnist, imagenet32, mnist, svhn; did you mean 'mnist'?",
    ),
    "resuming and overwriting": (
        ["train", "digits-mlp", "--resume", "--overwrite"],
        "a run is either resumed or overwritten: give one of the two",
    ),
    "nothing to resume": (
        ["train", "digits-mlp", "--resume"],
        "there is no run in runs/digits-mlp to resume: start it without resuming",
    ),
}


@pytest.mark.parametrize(("arguments", "line"), COMMANDS.values(), ids=COMMANDS)
def test_commands(
    arguments: list[str],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert line_of(capsys, *arguments) == line
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("runs") / "digits-mlp"
    run_training(load_config("digits-mlp", TINY), folder)
    return folder


def test_runs_that_are_there(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each misuse of a finished run, which is untouched in the end."""
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    sets = [f"--set={override}" for override in TINY]

    def train(*arguments: str) -> str:
        return line_of(capsys, "train", "digits-mlp", "--folder", str(run.parent), *sets, *arguments)

    assert train() == (
        f"{run} holds a run already: resume it, overwrite it, or choose another name (--resume, --overwrite or --name)"
    )
    assert train("--resume", "--set=training.seed=7") == (
        f"{run} cannot be resumed with another configuration: training.seed was 0 there and is 7 here"
    )
    checkpoint = run / "checkpoint.eqx"
    whole = checkpoint.read_bytes()
    damage = f"{checkpoint} is damaged (its checksum does not fit): delete it and start the run afresh"
    for damaged, line in (
        (whole[:-10], damage),
        (whole[:200] + b"X" + whole[201:], damage),
        (b"not a checkpoint", f"{checkpoint} is not a checkpoint of this version (holoprop-checkpoint-1)"),
    ):
        checkpoint.write_bytes(damaged)
        assert train("--resume") == line
        assert line_of(capsys, "check-gradient", str(run)) == line
    checkpoint.unlink()
    assert train("--resume") == f"there is no checkpoint at {checkpoint}: start the run without resuming"
    checkpoint.write_bytes(whole)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_folder_that_is_not_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "digits-mlp").mkdir()
    (tmp_path / "digits-mlp" / "thesis.tex").write_text("precious")
    line = line_of(capsys, "train", "digits-mlp", "--folder", str(tmp_path), "--overwrite")
    assert line == f"{tmp_path / 'digits-mlp'} is not empty and holds no run: choose another name"
    (tmp_path / "file").write_text("")
    line = line_of(capsys, "train", "digits-mlp", "--folder", str(tmp_path / "file"))
    assert line == f"{tmp_path / 'file' / 'digits-mlp'}: Not a directory"


def test_data_that_are_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A truncated file, told by its checksum before anything is made of it, and told when reading it unverified."""
    monkeypatch.setenv("HOLOPROP_DATA", str(tmp_path))
    folder = tmp_path / "mnist"
    folder.mkdir()
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte.gz").write_bytes(gzip.compress(bytes(5000))[:20])
    path = folder / "train-images-idx3-ubyte.gz"
    line = line_of(capsys, "train", "mnist-mlp", "--folder", str(tmp_path / "runs"))
    assert line.startswith(
        f"{path} is not the official file: expected sha256 440fcabf73cc546f… (9,912,422 bytes), got "
    )
    assert line.endswith("load it as it is by load_dataset('mnist', verify=False)")
    assert not (tmp_path / "runs").exists()
    with pytest.raises(ValueError) as caught:
        load_dataset("mnist", verify=False)
    assert str(caught.value) == f"{path} is truncated: its gzip stream breaks off; fetch it again"
    monkeypatch.setenv("HOLOPROP_DATA", str(tmp_path / "nowhere"))
    line = f"HOLOPROP_DATA={tmp_path / 'nowhere'} is not a folder; correct it or unset it"
    assert line_of(capsys, "data", "list") == line


KEY = jax.random.key(0)
NET = hp.mlp(6, (5, 4), 3, key=KEY)
X, Y = np.ones((10, 6), np.float32), np.arange(10) % 3


def fit(x: np.ndarray = X, y: np.ndarray = Y, **changes: Any) -> Any:
    options: dict[str, Any] = {"epochs": 1, "batch_size": 5, **changes}
    return hp.fit(NET, hp.Centered(), optax.sgd(0.1), (x, y), **options)


PYTHON: dict[str, tuple[Callable[[], Any], str]] = {
    "wrong number of inputs": (lambda: hp.settle(NET, X[:, :5]), "x must have shape (batch, 6), got (10, 5)"),
    "no batch axis": (
        lambda: hp.settle(NET, X[0]),
        "x must have shape (batch, 6), got (6,); add the batch axis with x[None]",
    ),
    "too few labels": (lambda: fit(y=Y[:4]), "x holds 10 samples but y holds 4"),
    "labels that are no integers": (
        lambda: hp.Holomorphic()(NET, X, Y.astype(np.float32)),
        "y must be integer labels of shape (batch,) or one-hot rows of shape (batch, 3), got float32 of shape (10,)",
    ),
    "labels out of range": (lambda: fit(y=Y + 1), "labels must be in 0…2, got 1…3"),
    "inputs that are not finite": (
        lambda: fit(x=np.full_like(X, np.nan)),
        "inputs must be finite: 60 values are NaN or infinite",
    ),
    "batch larger than the data": (
        lambda: fit(batch_size=50),
        "batch_size must be at most the number of samples, got 50 for 10 samples",
    ),
    "no epochs": (lambda: fit(epochs=0), "epochs must be at least 1, got 0"),
    "resuming from nowhere": (lambda: fit(resume=True), "resume needs a folder: pass the one the run was started with"),
    "state of wrong shapes": (
        lambda: hp.settle(NET, X, state=(jnp.zeros((10, 5)), jnp.zeros((10, 3)))),
        "state must hold layers of shapes [(10, 5), (10, 4)], got [(10, 5), (10, 3)]",
    ),
    "nudge without targets": (
        lambda: hp.settle(NET, X, beta=0.1),
        "a nudge beta needs targets y: pass integer labels or one-hot rows",
    ),
    "unknown activation": (
        lambda: hp.mlp(6, (5,), 3, activation="sigmoyd", key=KEY),
        "unknown activation 'sigmoyd'; choose one of sigmoid, double_silu, tanh, silu, softplus, hard_sigmoid, relu",
    ),
    "kinked activation on a circle": (
        lambda: hp.Holomorphic(points=4)(hp.mlp(6, (5,), 3, activation="relu", key=KEY), X, Y),
        "ReLU is not holomorphic, so a circle of 4 points does not give its gradient: use points=2, or a smooth "
        "activation such as 'sigmoid' or 'double_silu'",
    ),
    "one point": (
        lambda: hp.Holomorphic(points=1),
        "points must be at least 2, got 1: for one nudge and a free phase use OneSided(beta)",
    ),
    "negative radius": (lambda: hp.Holomorphic(radius=-0.4), "radius must be positive and finite, got -0.4"),
    "too long a memory": (lambda: hp.Anderson(depth=9), "depth must be from 1 to 8, got 9"),
    "full damping": (lambda: hp.Picard(damping=1.0), "damping must be in [0, 1), got 1.0"),
    "no tolerance": (lambda: hp.Anderson(tolerance=0.0), "tolerance must be positive, got 0.0"),
    "gradients of two networks": (
        lambda: hp.alignment(NET, hp.mlp(6, (5,), 3, key=KEY)),
        "the two gradients belong to different networks: their parameters differ in name or shape",
    ),
}


@pytest.mark.parametrize(("misuse", "line"), PYTHON.values(), ids=PYTHON)
def test_python(misuse: Callable[[], Any], line: str) -> None:
    with pytest.raises(ValueError) as caught:
        misuse()
    assert str(caught.value) == line

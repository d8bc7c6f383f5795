"""A whole sweep: plan, check, run what is missing, and keep the table of results up to date all the while."""

from collections.abc import Callable, Sequence
from pathlib import Path

from holoprop.experiments.sweep.engine import Engine, run_trials
from holoprop.experiments.sweep.folder import begin_sweep
from holoprop.experiments.sweep.grid import parse_axis
from holoprop.experiments.sweep.plan import plan_trials
from holoprop.experiments.sweep.table import Row, SweepResults, write_results
from holoprop.experiments.sweep.trial import Ending, Trial, read_result
from holoprop.train.metrics import percent


def run_sweep(
    source: str,
    grid: Sequence[str],
    folder: Path,
    *,
    engine: Engine,
    overrides: Sequence[str] = (),
    retries: int = 2,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[str], None] = lambda text: None,
    finished: Callable[[Path], object] = lambda folder: None,
) -> SweepResults:
    """Run every point of a grid over a configuration, each in a run folder of its own, `folder/trials/NAME`.

    **Arguments:**

    - `source`, `overrides`: the configuration, as in `load_config`.
    - `grid`: `"section.key=a,b,c"` each; the trials are their product.
    - `folder`: the sweep's own, made if need be.
    - `engine`: where trials run: a `LocalEngine` or a `RayEngine`.
    - `retries`: how often a trial is started again, from its checkpoint, after its worker died.
    - `resume`: run only those trials of the sweep that is there which are not done; the grid must be the same.
    - `overwrite`: replace the sweep that is there.
    - `progress`: is told in a line what happens; `finished`: is given the folder of each trial that is done, once.

    **Returns:** the `SweepResults`, as they are in `folder/results.parquet` too. Trials that failed have a row that
    says why; an exception or Ctrl-C leaves the table of what is done so far.

    **Raises:** `ConfigError`, `RunFolderError`, one line each, before anything is run or touched; `OSError` from the
    file system.

    ```python
    run_sweep("digits-mlp", ["optimizer.learning_rate=0.03,0.1"], Path("runs/rates"), engine=LocalEngine(workers=2))
    ```
    """
    if retries < 0:
        raise ValueError(f"--retries must be at least 0, got {retries}")
    axes = [parse_axis(text) for text in grid]
    trials = plan_trials(source, axes, overrides)
    place = folder / "trials"
    endings: dict[str, tuple[Ending, int]] = {}
    missing: list[Trial] = []

    def results() -> SweepResults:
        rows = [_row(trial, place, *endings.get(trial.name, (None, 0))) for trial in trials]
        return SweepResults(folder, tuple(axis.key for axis in axes), rows)

    def ended(trial: Trial, ending: Ending, tries: int) -> None:
        endings[trial.name] = ending, tries
        write_results(results())
        count = len(trials) - len(missing) + len(endings)
        progress(f"{count}/{len(trials)} · {trial.name}: {_outcome(place / trial.name, ending)}")
        if ending.fault is None:
            finished(place / trial.name)

    # The engine first: a cluster that cannot be reached is to leave no folder behind.
    with engine:
        begin_sweep(folder, source, axes, trials, resume=resume, overwrite=overwrite)
        missing += [trial for trial in trials if read_result(place / trial.name) is None]
        write_results(results())
        run_trials(engine, missing, place, retries=retries, ended=ended, progress=progress)
    return results()


def _row(trial: Trial, place: Path, ending: Ending | None, tries: int) -> Row:
    result = read_result(place / trial.name)
    seed = trial.config.training.seed
    if result is not None:
        return Row(trial.name, trial.point, seed, "done", tries=result.tries, result=result)
    if ending is None:
        return Row(trial.name, trial.point, seed, "missing")
    reason = ending.fault or "its result is not there any more"
    return Row(trial.name, trial.point, seed, "failed", reason, tries)


def _outcome(folder: Path, ending: Ending) -> str:
    result = read_result(folder)
    if result is None:
        return f"failed: {ending.fault}"
    best = f"best {percent(result.best_test_accuracy)} in epoch {result.best_epoch}"
    return f"test accuracy {percent(result.test_accuracy)} ({best}), {result.seconds:.1f} s"

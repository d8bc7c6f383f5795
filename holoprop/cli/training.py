"""The command that trains: one run, or several seeds at once, on the devices and hosts that it is given."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from holoprop.cli.options import Overrides, Source
from holoprop.cli.output import complain

if TYPE_CHECKING:
    from holoprop.experiments.config import Config
    from holoprop.experiments.training import RunResult
    from holoprop.train.profiling import Profiler

app = typer.Typer()


class _Manner(NamedTuple):
    """How a run is run, which does not change what it is."""

    resume: bool
    overwrite: bool
    devices: int | None
    time_limit: float | None
    tensorboard: bool
    wandb: bool
    profile: bool


@app.command()
def train(
    source: Source,
    overrides: Overrides = None,
    name: Annotated[str | None, typer.Option(help="The run's name; default: that of the preset or file.")] = None,
    folder: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs"),
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run from its checkpoint.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is there.")] = False,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Train so many seeds at once, from training.seed on, on one device.")
    ] = None,
    devices: Annotated[
        int | None, typer.Option(min=1, help="Devices that share each batch; default: all that JAX finds.")
    ] = None,
    platform: Annotated[
        str | None, typer.Option(help="Compute on this kind of device: cpu, gpu or tpu; default: JAX's choice.")
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option(metavar="MINUTES", help="Stop after this time, to be continued by --resume.")
    ] = None,
    coordinator: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Of a run on several hosts: where its first process is.")
    ] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="How many processes there are.")] = None,
    process: Annotated[int | None, typer.Option(min=0, help="Which of them this is, from 0.")] = None,
    distributed: Annotated[
        bool, typer.Option("--distributed", help="One of several processes, as a cluster such as Slurm tells.")
    ] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write event files for TensorBoard.")] = False,
    wandb: Annotated[
        bool, typer.Option("--wandb", help="Write a run of Weights & Biases; offline unless WANDB_MODE is set.")
    ] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Trace the steps 3 to 8 of this call.")] = False,
) -> None:
    """Train a network, check its gradient, and write a report."""
    from holoprop.experiments.run_folder import RunFolderError
    from holoprop.experiments.sources import load_config
    from holoprop.train.interrupt import StoppedError

    config = load_config(source, overrides or (), name=name)
    place = folder / config.name
    if time_limit is not None and not time_limit > 0:
        raise ValueError(f"--time-limit must be positive, in minutes, got {time_limit:g}")
    if seeds is not None:
        for option, given in (("--devices", devices), ("--tensorboard", tensorboard), ("--wandb", wandb)):
            if given:
                raise ValueError(f"{option} does not go with --seeds: leave one of them out")
        if profile or distributed or coordinator:
            raise ValueError("--seeds is for one process, and traces nothing: leave out --profile and --coordinator")
    _choose_devices(platform, coordinator, processes, process, distributed=distributed)
    seconds = None if time_limit is None else 60 * time_limit
    manner = _Manner(resume, overwrite, devices, seconds, tensorboard, wandb, profile)
    try:
        if seeds is None:
            _train_one(config, place, manner)
        else:
            _train_seeds(config, place, seeds, manner)
    except KeyboardInterrupt:
        raise typer.Exit(complain(f"interrupted; {_how_to_go_on(place)}", 130)) from None
    except StoppedError as stop:
        # Whoever asked knows: this is no failure.
        raise typer.Exit(complain(f"{stop}; {_how_to_go_on(place)}", 0)) from None
    except RunFolderError as error:
        options = " (--resume, --overwrite or --name)" if not (resume or overwrite) and place.is_dir() else ""
        raise RunFolderError(f"{error}{options}") from None


def _choose_devices(
    platform: str | None, coordinator: str | None, processes: int | None, process: int | None, *, distributed: bool
) -> None:
    """Tell JAX what to compute on, before it looks."""
    if platform is not None:
        if platform not in ("cpu", "gpu", "tpu"):
            raise ValueError(f"--platform must be cpu, gpu or tpu, got {platform}")
        import jax

        jax.config.update("jax_platforms", platform)
        jax.devices()  # now, and not after the data have been read
    if distributed or coordinator is not None:
        from holoprop.train.devices import start_processes

        if not distributed and (processes is None or process is None):
            raise ValueError("--coordinator needs --processes, how many there are, and --process, which one this is")
        start_processes(coordinator, processes, process)
    elif processes is not None or process is not None:
        raise ValueError("--processes and --process need --coordinator, the HOST:PORT of the first process")


def _train_one(config: "Config", place: Path, manner: _Manner) -> None:
    import jax

    from holoprop.experiments.display import training_display
    from holoprop.experiments.logging.together import with_logs
    from holoprop.experiments.training import run_training
    from holoprop.train.profiling import Profiler

    first = jax.process_index() == 0
    display, profiler = None, None
    if first:
        display = with_logs(training_display(), config, place, tensorboard=manner.tensorboard, wandb=manner.wandb)
        profiler = Profiler(place / "profile") if manner.profile else None
    result = run_training(
        config,
        place,
        resume=manner.resume,
        overwrite=manner.overwrite,
        devices=manner.devices,
        time_limit=manner.time_limit,
        progress=display,
        profiler=profiler,
    )
    if not first:
        return
    from holoprop.report.page import write_report
    from holoprop.train.metrics import percent

    best = result.best_epoch
    highest = f"best {percent(best['test_accuracy'])} in epoch {best['epoch']}"
    print(f"test accuracy       {percent(result.test_accuracy)} ({highest})")
    if "test_top5" in result.fit.history[-1]:
        print(f"top-5 accuracy      {percent(result.evaluation.top5_accuracy)}")
    print(f"cosine to Implicit  {agreement(result.gradient_check)}")
    print(f"training            {result.seconds:.1f} s for {len(result.fit.history)} epochs")
    if profiler is not None:
        print(f"trace               {_trace(profiler)}")
    print(f"report              {write_report(place)}")


def _train_seeds(config: "Config", place: Path, count: int, manner: _Manner) -> None:
    from holoprop.experiments.display import training_display
    from holoprop.experiments.seeds import run_seeds
    from holoprop.report.page import write_report
    from holoprop.train.metrics import percent

    result = run_seeds(
        config,
        place,
        count,
        resume=manner.resume,
        overwrite=manner.overwrite,
        time_limit=manner.time_limit,
        progress=training_display(),
    )
    for run in result.runs:
        write_report(run.folder)
        print(f"{run.config.name:19} {_accuracies(run)}")
    last, best, cosine = result.last, result.best, result.cosine
    print(f"test accuracy       {percent(last.mean)} ± {percent(last.std)} (best {percent(best.mean)} ± ", end="")
    print(f"{percent(best.std)}; means ± standard deviations of {count} seeds)")
    if cosine.values:
        print(f"cosine to Implicit  {cosine.mean:.7f} (least {min(cosine.values):.7f})")
    print(f"training            {result.seconds:.1f} s for all")
    print(f"reports             {place}")


def _accuracies(run: "RunResult") -> str:
    from holoprop.train.metrics import percent

    best = run.best_epoch
    return f"{percent(run.test_accuracy)} (best {percent(best['test_accuracy'])} in epoch {best['epoch']})"


def _how_to_go_on(place: Path) -> str:
    kept = (place / "checkpoint.eqx").is_file()
    return "the same command with --resume continues it" if kept else "nothing was trained yet"


def _trace(profiler: "Profiler") -> str:
    if not profiler.traced:
        return f"none: training ended before step {profiler.first}"
    return f"{profiler.folder} ({profiler.traced} steps, for Perfetto or TensorBoard)"


def agreement(check: dict[str, Any]) -> str:
    """Return the cosine of a gradient check in words."""
    total = check["total"]
    if total["cosine"] is None:
        return "unknown: no sample settled"
    return f"{total['cosine']:.7f} (relative error {total['relative_error']:.1e}, {check['samples']} test samples)"

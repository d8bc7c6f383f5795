"""The command line: every command reads its arguments, calls one function of the package and prints what it returns.

What a person can cause ends in one line on standard error and exit status 2, never in a traceback; an interrupt in 130.
"""

import io
import os
import sys
from collections.abc import Sequence

import typer

from holoprop.cli import datasets, listing, reproducing, runs, studies, sweeps, training
from holoprop.cli.output import complain

app = typer.Typer(
    name="holoprop",
    help="Train settling networks by holomorphic equilibrium propagation, and see how exact their gradients are.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(training.app)
app.add_typer(runs.app)
app.add_typer(listing.app)
app.add_typer(sweeps.app)
app.add_typer(reproducing.app)
app.add_typer(studies.app)
app.add_typer(datasets.app, name="data")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with `arguments` (default: those of the process) and exit with its status."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show ≥ or × is no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        command = typer.main.get_command(app)
        # Not by calling it, which turns an interrupt into a bare status.
        with command.make_context("holoprop", list(sys.argv[1:] if arguments is None else arguments)) as context:
            status = command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as ended:
        status = ended.exit_code
    except KeyboardInterrupt:
        status = complain("interrupted", 130)
    except BrokenPipeError:
        # Whoever read our output has had enough; a second complaint at shutdown would help nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error, file=sys.stderr)
            sys.exit(2)
        line = _one_line(error)
        if line is None or os.environ.get("HOLOPROP_TRACEBACK"):
            raise
        status = complain(line, 2)
    sys.exit(status if isinstance(status, int) else 0)


def _one_line(error: Exception) -> str | None:
    """What to tell the person who caused `error`; `None` if it is a fault of ours."""
    text = " ".join(str(error).split())
    if explain := getattr(error, "format_message", None):  # typer's own: a missing argument, an unknown option
        return f"{' '.join(explain().split())} (holoprop --help)"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or text or type(error).__name__}"
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text:
        return "out of memory: choose a smaller network, fewer points or a smaller batch"
    if isinstance(error, ValueError) or type(error).__name__ in ("TrainingError", "UnsettledError"):
        return text or type(error).__name__
    if isinstance(error, RuntimeError) and "initialize backend" in text:
        return f"JAX finds no such device: {text}"
    return None

"""The page of a run, `report.html`: one file that needs nothing else, made from the run's folder alone.

The same files always give the same page, byte for byte.
"""

from importlib import resources
from pathlib import Path
from string import Template

from holoprop.experiments.run_folder import write_text
from holoprop.report.curves import learning_curves
from holoprop.report.exactness import gradient_alignment, rest_states
from holoprop.report.frame import running
from holoprop.report.markup import escaped, joined
from holoprop.report.mistakes import confusion_and_mistakes
from holoprop.report.overview import configuration, environment, headline
from holoprop.report.records import Run, read_run

_SECTIONS = (learning_curves, gradient_alignment, rest_states, confusion_and_mistakes, configuration, environment)


def write_report(folder: Path) -> Path:
    """Write the page of a run into its folder, and nothing else: no network is loaded or trained.

    A run that was interrupted gives a page too, which says what is missing.

    **Arguments:** `folder`: with at least `config.toml` and `metrics.jsonl`, as `run_training` writes them.

    **Returns:** the page's path, `folder/report.html`.

    **Raises:** `ReportError`, one line with the file's name, if a file is broken or one of those two is missing;
    `OSError` from the file system.

    ```python
    write_report(Path("runs/digits-mlp"))
    ```
    """
    run = read_run(Path(folder))
    path = Path(folder) / "report.html"
    write_text(path, render_page(run))
    return path


def render_page(run: Run) -> str:
    """Return the whole page of a run as HTML."""
    files = resources.files(__package__ or "holoprop.report")
    template = Template((files / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escaped(run.name),
        style=(files / "page.css").read_text(encoding="utf-8"),
        headline=headline(run),
        sections=joined(make(run) for make in _SECTIONS),
        **running(),
    )

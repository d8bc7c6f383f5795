"""The frame of a run's page: the headline with the numbers looked for first; configuration and versions at the end."""

from holoprop.report.markup import Markup, absent, element, joined, section, table
from holoprop.report.records import EpochRecord, Run
from holoprop.report.wording import date, duration, scientific, shown
from holoprop.train.metrics import percent


def headline(run: Run) -> Markup:
    """Return name, what was trained, what is missing, and the five numbers that a person looks for first."""
    tested = [record for record in run.epochs if record.test_accuracy is not None]
    seconds = sum((record.seconds for record in run.epochs), 0.0)
    tiles = [
        _tile("test accuracy, last epoch", *_accuracy(tested[-1] if tested else None)),
        # The first of equals, as everywhere else.
        _tile("test accuracy, best epoch", *_accuracy(max(tested, key=_test_accuracy) if tested else None)),
        _tile("cosine to the implicit gradient", *_cosine(run)),
        _tile("training time", duration(seconds) if run.epochs else "–", _pace(run, seconds)),
        _tile("seed", shown(run.setting("training", "seed")), "of weights and sample order"),
    ]
    return joined(
        [
            element("h1", run.name),
            element("p", _summary(run), class_="summary"),
            _progress(run),
            element("dl", *tiles, class_="tiles"),
        ]
    )


def configuration(run: Run) -> Markup:
    """Return the configuration as the run stored it."""
    return section("configuration", "Configuration", element("pre", element("code", run.config_text.strip())))


def environment(run: Run) -> Markup:
    """Return versions, platform, device, precision and date."""
    title = "Versions and machine"
    if run.environment is None:
        return section("environment", title, absent("Not there: the run has no environment.json."))
    names = {"x64": "float64 switched on", "date": "begun"}
    rows = [
        (names.get(key, key), date(value) if key == "date" else shown(value)) for key, value in run.environment.items()
    ]
    return section("environment", title, table((), rows, class_="facts"))


def _tile(label: str, value: str, remark: str) -> Markup:
    return element("div", element("dt", label), element("dd", element("b", value), element("small", remark)))


def _test_accuracy(record: EpochRecord) -> float:
    return record.test_accuracy or 0.0


def _accuracy(record: EpochRecord | None) -> tuple[str, str]:
    return (percent(record.test_accuracy), f"epoch {record.epoch}") if record else ("–", "no epoch was tested yet")


def _cosine(run: Run) -> tuple[str, str]:
    if run.check is None:
        return "–", "not checked yet"
    total = run.check.total
    if total.cosine is None or total.relative_error is None:
        return "–", "no sample came to rest"
    return f"{total.cosine:.7f}", f"relative error {scientific(total.relative_error)}, {run.check.samples} test samples"


def _pace(run: Run, seconds: float) -> str:
    if not run.epochs:
        return "no epoch has ended yet"
    done = len(run.epochs)
    return f"{done} epoch{'s' * (done > 1)}, {duration(seconds / done)} each; compiling included"


def _summary(run: Run) -> str:
    hidden = run.setting("network", "hidden")
    sizes = "-".join(map(str, hidden)) if isinstance(hidden, list) else None
    facts = [
        ("data", run.setting("data", "name")),
        ("settled layers", sizes),
        ("activation", run.setting("network", "activation")),
        ("estimator", run.check.estimator if run.check else run.setting("estimator", "name")),
        ("optimiser", run.setting("optimizer", "name")),
    ]
    return " · ".join(f"{label} {value}" for label, value in facts if value is not None)


def _progress(run: Run) -> Markup:
    """A remark on a run that has not come to its end, or that was trained on since it was evaluated."""
    wanted, done = run.setting("training", "epochs"), len(run.epochs)
    remarks = []
    if isinstance(wanted, int) and done < wanted:
        remarks.append(f"Training stands at {done} of {wanted} epochs.")
    files = {"gradient_check.json": run.check, "evaluation.npz": run.evaluation, "environment.json": run.environment}
    missing = [name for name, content in files.items() if content is None]
    if missing:
        remarks.append(f"Parts of this page are empty, for want of {', '.join(missing)}.")
    if run.evaluation is not None and run.evaluation.samples and run.epochs:
        last, share = run.epochs[-1].test_accuracy, run.evaluation.correct / run.evaluation.samples
        if last is not None and abs(last - share) > 1e-6:
            remarks.append(
                f"Evaluation and gradient check are of another state of the network (test accuracy {percent(share)}) "
                "than the last epoch."
            )
    if not remarks:
        return Markup("")
    ended = run.check is not None and run.evaluation is not None and not (isinstance(wanted, int) and done < wanted)
    return element("p", element("b", "Note. " if ended else "Unfinished. "), " ".join(remarks), class_="warning")

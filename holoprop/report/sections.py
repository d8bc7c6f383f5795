"""The sections of a run's page: headline, learning curves, gradient, rest states, configuration.

Each takes the run as it was read and returns HTML; where the run left nothing to show, it says so.
"""

from collections import Counter
from datetime import UTC, datetime

import numpy as np
from matplotlib.figure import Figure

from holoprop.report.drawing import inline_svg, power_of_ten, scientific
from holoprop.report.figures import (
    LEAST_DIFFERENCE,
    accuracy_figure,
    alignment_figure,
    circle_figure,
    loss_figure,
    residual_histogram,
    sweeps_figure,
    unsettled_figure,
)
from holoprop.report.markup import Markup, absent, element, escaped, joined, panel, section, table
from holoprop.report.records import Agreement, Certificate, EpochRecord, Run
from holoprop.settling.rest import Status

_OUTCOMES = {
    Status.settled: "residual at most the tolerance",
    Status.max_steps: "still above the tolerance after the largest number of steps",
    Status.two_cycle: "alternates between two states",
    Status.diverged: "not finite, or grew without bound",
    Status.not_applicable: "noisy or time-stepped: there is no tolerance to meet",
}


def headline(run: Run) -> Markup:
    """Return name, what was trained, what is missing, and the five numbers that a person looks for first."""
    tested = [record for record in run.epochs if record.test_accuracy is not None]
    seconds = sum(record.seconds for record in run.epochs)
    tiles = [
        _tile("test accuracy, last epoch", *_accuracy(tested[-1] if tested else None)),
        # The first of equals, as everywhere else.
        _tile("test accuracy, best epoch", *_accuracy(max(tested, key=_test_accuracy) if tested else None)),
        _tile("cosine to the implicit gradient", *_cosine(run)),
        _tile("training time", duration(seconds) if run.epochs else "–", _pace(run, seconds)),
        _tile("seed", _shown(run.setting("training", "seed")), "of weights and sample order"),
    ]
    return joined(
        [
            element("h1", run.name),
            element("p", _summary(run), class_="summary"),
            _progress(run),
            element("dl", *tiles, class_="tiles"),
        ]
    )


def learning_curves(run: Run) -> Markup:
    """Return loss, accuracy and share unsettled over the epochs."""
    if not run.steps and not run.epochs:
        return section("curves", "Learning curves", absent("Nothing was recorded yet: metrics.jsonl holds no records."))
    unit = {"cross_entropy": "nats", "squared_error": "squared error"}.get(str(run.setting("network", "cost")), "cost")
    unsettled = _svg(unsettled_figure(run), "unsettled", "share of unsettled samples")
    pictures = [
        panel(_svg(loss_figure(run, unit), "loss", "loss over training"), _loss_caption(run)),
        panel(_svg(accuracy_figure(run), "accuracy", "accuracy over training"), _accuracy_caption(run)),
        panel(unsettled, _unsettled_caption(run)),
    ]
    if any(record.sweeps is not None for record in run.epochs):
        pictures.append(
            panel(
                _svg(sweeps_figure(run), "sweeps", "settling steps over training"),
                "How long the free states took to settle. It grows with the weights; a steep rise warns of states that "
                "soon will not settle at all.",
            )
        )
    return section("curves", "Learning curves", element("div", *pictures, class_="panels"))


def gradient_alignment(run: Run) -> Markup:
    """Return the agreement of the estimated gradient with the implicit one, per parameter."""
    title, check = "Gradient alignment", run.check
    if check is None:
        return section("gradient", title, absent("Not there: the run ended before its gradient was checked."))
    lead = element(
        "p",
        f"The gradient of {check.estimator} at the end of training, compared with the exact one "
        f"({check.reference} differentiation at the rest state) on the same {check.samples} test samples.",
    )
    rows = [*check.layers, check.total]
    if all(row.cosine is None for row in rows):
        return section("gradient", title, lead, absent("There is nothing to compare: no sample came to rest."))
    worst = min((row for row in check.layers or rows if row.cosine is not None), key=lambda row: row.cosine or 0.0)
    caption = (
        "How far each parameter's gradient points away from the exact one: the further left, the better. 10⁻⁴ is a "
        f"cosine of 0.9999. Furthest off: {worst.name}."
    )
    if any(row.cosine is not None and 1 - row.cosine < LEAST_DIFFERENCE for row in rows):
        caption += " Arrowheads: equal to the exact one within rounding."
    numbers = table(
        ("gradient of", "cosine", "1 − cosine", "relative error"),
        [(element("code", row.name), *_agreement(row)) for row in rows],
        class_="numbers total-last",
    )
    pictures = [
        panel(_svg(alignment_figure(check.total, check.layers), "alignment", "1 − cosine of each gradient"), caption),
        panel(numbers, "Relative error is ‖g − g*‖/‖g*‖, with g* the exact gradient: it also sees a wrong length."),
    ]
    return section("gradient", title, lead, element("div", *pictures, class_="panels"))


def rest_states(run: Run) -> Markup:
    """Return how well states came to rest: on the test set, on the circle, and how the solver ended."""
    free_tolerance, nudged_tolerance = run.tolerances
    pictures = []
    if run.evaluation is None:
        pictures.append(absent("Residuals of the test set are not there: the run ended before its evaluation."))
    elif not np.isfinite(run.evaluation.residual).any():
        pictures.append(absent("No residual of the test set is finite: every state diverged."))
    else:
        pictures.append(
            panel(
                _svg(
                    residual_histogram(run.evaluation.residual, free_tolerance),
                    "residuals",
                    "residuals of test samples",
                ),
                _histogram_caption(run.evaluation.residual, free_tolerance),
            )
        )
    if run.check is None:
        pictures.append(absent("Residuals on the circle are not there: the run ended before its gradient was checked."))
    else:
        certificate = run.check.certificate
        pictures += [
            panel(
                _svg(circle_figure(certificate, free_tolerance, nudged_tolerance), "circle", "residuals at each nudge"),
                _circle_caption(certificate),
            ),
            panel(_outcomes(certificate), _outcome_caption(run, certificate), class_="wide"),
        ]
    lead = element(
        "p", "The gradient is exact only at rest. The residual ‖σ(a(s)) − s‖ says how far from it a state is."
    )
    return section("rest", "Rest states", lead, element("div", *pictures, class_="panels"))


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
        (names.get(key, key), _date(value) if key == "date" else _shown(value))
        for key, value in run.environment.items()
    ]
    return section("environment", title, table((), rows, class_="facts"))


def percent(share: float | None) -> str:
    """Return a share as `97.50 %`."""
    return "–" if share is None else f"{100 * share:.2f} %"


def duration(seconds: float) -> str:
    """Return seconds in words: `4.1 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left} min" if hours else f"{minutes} min {rest} s"


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


def _loss_caption(run: Run) -> str:
    if not run.epochs:
        return (
            "It should fall, if not from one step to the next. No epoch has ended yet, so there are single steps only."
        )
    return (
        "Both lines should fall; a test loss that rises again means overfitting. Training values are means over each "
        "epoch, while the network still changes; grey: single steps."
    )


def _accuracy_caption(run: Run) -> str:
    if not run.epochs:
        return "Share of samples classified correctly in single batches."
    return "Share of samples classified correctly. The gap between the lines is the generalisation gap."


def _unsettled_caption(run: Run) -> str:
    shares = [record.unsettled for record in run.epochs or run.steps]
    shares += [record.test_unsettled for record in run.epochs]
    highest = max((share for share in shares if share is not None), default=0.0)
    if not highest:
        return "Share of samples that did not come to rest. It is zero throughout: every one did."
    return (
        f"Share of samples that did not come to rest, at most {percent(highest)}. Gradients from unsettled states are not "
        "to be trusted; where the share rises during training, weights have grown."
    )


def _agreement(row: Agreement) -> tuple[str, str, str]:
    if row.cosine is None or row.relative_error is None:
        return "–", "–", "–"
    distance = 1 - row.cosine
    apart = scientific(distance) if distance >= LEAST_DIFFERENCE else f"< {power_of_ten(-16)}"
    return f"{row.cosine:.7f}", apart, scientific(row.relative_error)


def _histogram_caption(residual: np.ndarray, tolerance: float | None) -> str:
    finite = residual[np.isfinite(residual)]
    median, largest = (scientific(float(pick(finite))) for pick in (np.median, np.max))
    text = f"Free residuals of {len(residual)} test samples after training: median {median}, largest {largest}."
    if tolerance is not None:
        above = len(residual) - int((finite <= tolerance).sum())
        beyond = f"{above} {'lie' if above > 1 else 'lies'}" if above else "none lies"
        text += f" Up to the tolerance, {scientific(tolerance)}, a state counts as settled; {beyond} beyond it."
    if lost := len(residual) - len(finite):
        text += f" {lost} are not finite and not drawn."
    return text


def _circle_caption(certificate: Certificate) -> str:
    text = (
        f"Each dot is one of the {len(certificate.free_residual)} samples of the gradient check, each bar the median. "
    )
    if not certificate.points:
        return text + "This estimator nudges nothing, so there is a free phase only."
    conjugates = any(point.imag for point in certificate.points)
    text += "Columns of the same height mean that the network settles as well nudged as free; one that stands out "
    text += "is a nudge at which it hardly comes to rest."
    return text + " The lower half of the circle is the complex conjugate of the upper one." * conjugates


def _outcomes(certificate: Certificate) -> Markup:
    counts = Counter(certificate.free_status)
    known = [status for status in Status if status is not Status.not_applicable or counts[status.name]]
    rows: list[tuple[object, ...]] = [(element("code", s.name), counts.pop(s.name, 0), _OUTCOMES[s]) for s in known]
    rows += [(element("code", name), count, "") for name, count in counts.items()]
    return table(("outcome", "samples", "what it means"), rows, class_="outcomes")


def _outcome_caption(run: Run, certificate: Certificate) -> Markup:
    last = run.epochs[-1] if run.epochs else None
    text = (
        "How the solver ended in the free phase of the gradient check. Samples of which some phase, free or nudged, "
        f"did not settle: {percent(certificate.unsettled_share)}."
    )
    if last is not None:
        text += f" Unsettled in the last epoch: {percent(last.unsettled)} of training samples"
        text += f", {percent(last.test_unsettled)} of test samples." if last.test_unsettled is not None else "."
    return escaped(text)


def _svg(figure: Figure, name: str, description: str) -> Markup:
    return Markup(inline_svg(figure, name, description))


def _date(value: object) -> str:
    try:
        return f"{datetime.fromisoformat(str(value)).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except ValueError:
        return str(value)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else str(value)

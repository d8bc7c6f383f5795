"""The sections on how exact the gradient is: its agreement with the implicit one, and how well states came to rest."""

from collections import Counter

import numpy as np

from holoprop.report.drawing import inline_svg
from holoprop.report.figures import LEAST_DIFFERENCE, alignment_figure, circle_figure, residual_histogram
from holoprop.report.markup import Markup, absent, element, escaped, panel, section, table
from holoprop.report.records import Run, StoredAgreement, StoredCertificate
from holoprop.report.wording import power_of_ten, scientific
from holoprop.settling.rest import Status
from holoprop.train.metrics import percent

_OUTCOMES = {
    Status.settled: "residual at most the tolerance",
    Status.max_steps: "still above the tolerance after the largest number of steps",
    Status.two_cycle: "alternates between two states",
    Status.diverged: "not finite, or grew without bound",
    Status.not_applicable: "noisy or time-stepped: there is no tolerance to meet",
}


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
    rows = [*check.parameters, check.total]
    if all(row.cosine is None for row in rows):
        return section("gradient", title, lead, absent("There is nothing to compare: no sample came to rest."))
    worst = min((row for row in check.parameters or rows if row.cosine is not None), key=lambda row: row.cosine or 0.0)
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
        panel(
            inline_svg(alignment_figure(check.total, check.parameters), "alignment", "1 − cosine of each gradient"),
            caption,
        ),
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
                inline_svg(
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
                inline_svg(
                    circle_figure(certificate, free_tolerance, nudged_tolerance), "circle", "residuals at each nudge"
                ),
                _circle_caption(certificate),
            ),
            panel(_outcomes(certificate), _outcome_caption(run, certificate), class_="wide"),
        ]
    lead = element(
        "p", "The gradient is exact only at rest. The residual ‖σ(a(s)) − s‖ says how far from it a state is."
    )
    return section("rest", "Rest states", lead, element("div", *pictures, class_="panels"))


def _agreement(row: StoredAgreement) -> tuple[str, str, str]:
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


def _circle_caption(certificate: StoredCertificate) -> str:
    text = (
        f"Each dot is one of the {len(certificate.free_residual)} samples of the gradient check, each bar the median. "
    )
    if not certificate.points:
        return text + "This estimator nudges nothing, so there is a free phase only."
    conjugates = any(point.imag for point in certificate.points)
    text += "Columns of the same height mean that the network settles as well nudged as free; one that stands out "
    text += "is a nudge at which it hardly comes to rest."
    return text + " The lower half of the circle is the complex conjugate of the upper one." * conjugates


def _outcomes(certificate: StoredCertificate) -> Markup:
    counts = Counter(certificate.free_status)
    known = [status for status in Status if status is not Status.not_applicable or counts[status.name]]
    rows: list[tuple[object, ...]] = [(element("code", s.name), counts.pop(s.name, 0), _OUTCOMES[s]) for s in known]
    rows += [(element("code", name), count, "") for name, count in counts.items()]
    return table(("outcome", "samples", "what it means"), rows, class_="outcomes")


def _outcome_caption(run: Run, certificate: StoredCertificate) -> Markup:
    last = run.epochs[-1] if run.epochs else None
    text = (
        "How the solver ended in the free phase of the gradient check. Samples of which some phase, free or nudged, "
        f"did not settle: {percent(certificate.unsettled_share)}."
    )
    if last is not None:
        text += f" Unsettled in the last epoch: {percent(last.unsettled)} of training samples"
        text += f", {percent(last.test_unsettled)} of test samples." if last.test_unsettled is not None else "."
    return escaped(text)

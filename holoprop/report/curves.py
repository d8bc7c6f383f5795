"""The section on how training went: loss, accuracy, share unsettled and settling steps over the epochs."""

from holoprop.report.drawing import inline_svg
from holoprop.report.figures import accuracy_figure, cosine_figure, loss_figure, sweeps_figure, unsettled_figure
from holoprop.report.markup import Markup, absent, element, panel, section
from holoprop.report.records import Run
from holoprop.train.metrics import percent


def learning_curves(run: Run) -> Markup:
    """Return loss, accuracy and share unsettled over the epochs."""
    if not run.steps and not run.epochs:
        return section("curves", "Learning curves", absent("Nothing was recorded yet: metrics.jsonl holds no records."))
    unit = {"cross_entropy": "nats", "squared_error": "squared error"}.get(str(run.setting("network", "cost")), "cost")
    unsettled = inline_svg(unsettled_figure(run), "unsettled", "share of unsettled samples")
    pictures = [
        panel(inline_svg(loss_figure(run, unit), "loss", "loss over training"), _loss_caption(run)),
        panel(inline_svg(accuracy_figure(run), "accuracy", "accuracy over training"), _accuracy_caption(run)),
        panel(unsettled, _unsettled_caption(run)),
    ]
    if any(record.sweeps is not None for record in run.epochs):
        pictures.append(
            panel(
                inline_svg(sweeps_figure(run), "sweeps", "settling steps over training"),
                "How long the free states took to settle. It grows with the weights; a steep rise warns of states that "
                "soon will not settle at all.",
            )
        )
    if any(record.cosine is not None for record in run.epochs):
        pictures.append(
            panel(
                inline_svg(cosine_figure(run), "cosine", "cosine of the gradient to the exact one over training"),
                "How far the estimated gradient points away from the exact one, after each epoch. Above 0.01 it is "
                "time for tighter tolerances, more points or a smaller circle.",
            )
        )
    return section("curves", "Learning curves", element("div", *pictures, class_="panels"))


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
        f"Share of samples that did not come to rest, at most {percent(highest)}. Gradients from unsettled states are "
        "not to be trusted; where the share rises during training, weights have grown."
    )

"""How far to trust a run, and the probability that it gives an image."""

from collections.abc import Mapping
from typing import Any

from cxrlib import metrics
from cxrlib.evaluation import three_classes
from cxrlib.formatting import percent, rate
from cxrlib.runs.provenance import SYNTHETIC_RUN, TITLES, TrainedOn, trained_on
from cxrlib.runs.records import estimates, split_titles

_RARER = 0.1  # a share of pneumonia that a reader may well meet
_ELSEWHERE: dict[TrainedOn, str] = {
    "kaggle": "All patients were children at one hospital. Expect more errors in adults, at other "
    "hospitals and with other machines.",
    "other": "All images come from the data set that it was trained on. Expect more errors in "
    "other patients, at other hospitals and with other machines.",
}
_ELSEWHERE["kaggle_part"] = _ELSEWHERE["kaggle"]
_ELSEWHERE["synthetic"] = "All images were drawn by a program."
_NOT_TESTED_ON: dict[TrainedOn, str] = {
    "kaggle": "Trained on children from one hospital. Expect more errors in adults and at other "
    "hospitals.",
    "other": "Tested only on its own data set. Expect more errors in other patients.",
    "synthetic": SYNTHETIC_RUN,
}
_NOT_TESTED_ON["kaggle_part"] = _NOT_TESTED_ON["kaggle"]


def statement(run_metrics: Mapping[str, Any], point: str, probability: float) -> str:
    """How far to trust a run and the probability that it gave, in sentences for its reader."""
    kind, titles = trained_on(run_metrics), split_titles(run_metrics)
    sentences = [
        SYNTHETIC_RUN if kind == "synthetic" else f"The network was trained on {TITLES[kind]}."
    ]
    for split, measured in run_metrics["splits"].items():
        found = estimates(run_metrics, split, point)
        sentences.append(
            f"On {measured['pictures']} {titles[split]} images of {measured['patients']} "
            f"patients not used for training, it detected {rate(found['sensitivity'])} of "
            f"pneumonias and correctly ruled out {rate(found['specificity'])} of normal images."
        )
        if by_class := three_classes.read(measured):
            sentences.append(
                f"It chose the right class (normal, bacterial, viral) for "
                f"{rate(by_class.accuracy)} of them."
            )
    if "test" not in run_metrics["splits"]:
        sentences.append(f"It has not been measured on {titles['test']} images.")
    validation = run_metrics["splits"]["validation"]
    share = validation["pneumonia"] / validation["pictures"]
    rarer = metrics.at_prevalence(probability, share, _RARER)
    return " ".join(
        [
            *sentences,
            "Threshold and calibration were fitted on these validation images, so the validation "
            f"figures are somewhat optimistic. The probability assumes the prevalence of these "
            f"images, {percent(share)}; at a prevalence of {percent(_RARER)} it would be "
            f"{percent(rarer)}.",
            _ELSEWHERE[kind],
        ]
    )


def lines(
    run_metrics: Mapping[str, Any], point: str, probability: float, *, prevalence: float
) -> list[str]:
    """Three lines on how far to trust the reading of one image.

    Args:
        run_metrics: of the run that read it.
        point: name of the operating point.
        probability: of pneumonia, as the run gave it.
        prevalence: share of pneumonia among the reader's own patients, 0..1.

    Returns:
        Sensitivity and specificity at this threshold, what the probability becomes at that
        prevalence, and for whom the model was not tested.
    """
    split = "test" if "test" in run_metrics["splits"] else "validation"
    measured, found = run_metrics["splits"][split], estimates(run_metrics, split, point)
    validation = run_metrics["splits"]["validation"]
    share = validation["pneumonia"] / validation["pictures"]
    elsewhere = metrics.at_prevalence(probability, share, prevalence)
    return [
        f"At this threshold the model detects {rate(found['sensitivity'])} of pneumonias and "
        f"correctly rules out {rate(found['specificity'])} of normal images "
        f"({measured['pictures']} {split_titles(run_metrics)[split]} images).",
        f"Where {percent(prevalence)} of patients have pneumonia, this image's probability is "
        f"{percent(elsewhere)}.",
        _NOT_TESTED_ON[trained_on(run_metrics)],
    ]

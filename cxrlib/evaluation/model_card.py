"""What is said of a run in prose: its model card."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cxrlib import tables
from cxrlib.evaluation import stress_table, three_classes
from cxrlib.formatting import decimal, metric, rate, setting
from cxrlib.runs.config import TrainingConfig, describe_augmentation
from cxrlib.runs.contents import METRIC_TITLES
from cxrlib.runs.folder import Run
from cxrlib.runs.operating_points import POINT_TITLES
from cxrlib.runs.provenance import SYNTHETIC_RUN, TrainedOn, trained_on
from cxrlib.runs.records import estimates_of, read_calibration, split_titles

if TYPE_CHECKING:
    import pandas as pd

_RESULTS = "## Results"  # what stands above it in a card says how the run was made
_SET = "`paultimothymooney/chest-xray-pneumonia` (Kermany et al. 2018, CC BY 4.0)"
_TRAINED_ON: dict[TrainedOn, str] = {
    "kaggle": f"The train and val folders of the Kaggle set {_SET}: children of one to five years "
    "from one hospital.",
    "kaggle_part": f"Part of the Kaggle set {_SET}, going by the files' names: children of one to "
    "five years from one hospital.",
    "synthetic": "Synthetic radiographs, drawn by a program. **It has never seen a patient's "
    "radiograph, and its output for one means nothing.**",
    "other": "Another data set than the Kaggle set `paultimothymooney/chest-xray-pneumonia`, or "
    "more than it.",
}


def card(
    config: TrainingConfig, environment: Mapping[str, Any], run_metrics: Mapping[str, Any]
) -> str:
    """The model card, Markdown, made from the run's own records alone."""
    place = f" They were read from {environment['data']}." if "data" in environment else ""
    lines = [
        "# Model card",
        "",
        "**For education and research, not for diagnosis.** Reads frontal chest radiographs for "
        "pneumonia and gives a calibrated probability.",
        "",
        "## Trained on",
        f"{_TRAINED_ON[trained_on(run_metrics)]}{place} Whole patients, "
        f"{setting(config.validation_fraction)} of each class, were held out for validation.",
        "",
        "## How it was made",
        _how(config),
        "",
        f"Keras {environment['keras']} on {environment['backend']}, {environment['device']}.",
        "",
        *results_and_limits(run_metrics),
    ]
    return "\n".join(lines) + "\n"


def _how(config: TrainingConfig) -> str:
    """What a run was asked to do, in sentences."""
    sentences = [
        f"{config.network}, {config.size} px, classes {', '.join(config.class_names)}; "
        f"starting weights {config.weights}; {config.head_epochs} epochs for the head, up to "
        f"{config.fine_tune_epochs} of fine-tuning with {config.optimizer} at "
        f"{config.learning_rate:g}; "
        f"augmentation {describe_augmentation(config.model_dump())}; "
        f"imbalance: {config.imbalance}; seed {config.seed}.",
        "It sees the bounding box of the lungs, found by a segmentation network."
        if config.crop == "lungs"
        else "It sees the whole image, squashed to a square.",
    ]
    if config.head == "evidence":
        sentences.append(
            "The score is the smooth maximum (log-sum-exp) of a map of local evidence. With weight "
            f"{config.evidence_weight:g}, the map learned that normal images have no evidence, "
            "where opacities were drawn in, and that no evidence lies outside the lungs; "
            "normalization is folded into the convolutions with the statistics of the initial "
            "weights."
        )
    if config.weight_averaging:
        sentences.append("The weights are an exponential moving average over training.")
    if config.randomize_background:
        sentences.append("In training, what lies outside the lungs was often replaced.")
    if config.synthetic_opacity_ratio:
        taught = ", labelled pneumonia" if not config.distill_from_start else ""
        sentences.append(
            f"To the normal images {setting(config.synthetic_opacity_ratio)} were added that had "
            f"opacities drawn into their lungs{taught}."
        )
    if config.distill_from_start:
        sentences.append(
            "Instead of labels it learned the log-odds that the run it started from assigns to the "
            "images before augmentation (Ba and Caruana, NeurIPS 2014), its batch normalization "
            "frozen."
        )
    if config.consistency_weight:
        sentences.append(
            "Two augmentations of each image had to agree (R-Drop; Liang et al., "
            f"NeurIPS 2021; weight {config.consistency_weight:g})."
        )
    if config.weight_interpolation:
        sentences.append(
            "Its weights are interpolated between those of the run it started from, head included "
            f"({setting(config.weight_interpolation)}), and the trained ones (after WiSE-FT, "
            "Wortsman et al., CVPR 2022)."
        )
    if config.recalibrates_batchnorm:
        sentences.append(
            "Batch-normalization statistics were recomputed on "
            f"{config.batchnorm_recalibration} training images."
        )
    return " ".join(sentences)


def results_and_limits(
    run_metrics: Mapping[str, Any],
    stress: "pd.DataFrame | None" = None,
    kept: Mapping[str, Any] | None = None,
) -> list[str]:
    """The lines of a model card that any run has, trained or an ensemble.

    Args:
        run_metrics: its ``metrics.json``.
        stress: its stress test, if there was one.
        kept: what it came to on other sets of images, by name.
    """
    calibration = read_calibration(run_metrics)
    lines = [
        _RESULTS,
        "95 % intervals in brackets: Wilson for proportions, bootstrap by patient for the rest. "
        f"Calibration (temperature {calibration.temperature:.2f}, class offsets "
        f"{', '.join(f'{offset:.2f}' for offset in calibration.offsets)}; Alexandari et al., ICML "
        "2020) and operating points were fitted on validation; the validation figures are "
        "therefore somewhat optimistic.",
    ]
    for name, measured in (run_metrics["splits"] | dict(kept or {})).items():
        lines += _results_on(name, measured, run_metrics)
    if "test" not in run_metrics["splits"]:
        title = split_titles(run_metrics)["test"]
        lines += ["", f"**Not measured** on the {title} images, which were not available."]
    if stress is not None:
        lines += stress_table.card_section(stress)
    kind = trained_on(run_metrics)
    lines += ["", "## Limits"]
    if kind == "synthetic":
        lines.append(f"- {SYNTHETIC_RUN}")
    lines += [
        (
            "- Children from one hospital. On adults, other hospitals, other machines"
            if kind in ("kaggle", "kaggle_part")
            else "- On patients outside its data set, other hospitals, other machines"
        )
        + ", expect more errors"
        + (
            ", as on the external data above."
            if stress is not None and len(stress_table.external(stress))
            else "; not measured here."
        ),
    ]
    if kind == "kaggle":
        lines += [
            "- On the official test images, networks trained this way keep their sensitivity but "
            "lose specificity: expect more false positives than on validation.",
            "- In this data set, shape and resolution of the images alone separate the classes "
            "well. Augmentation hides much of that from the network, but not all.",
        ]
    lines += [
        "- The probability assumes the prevalence of the validation images; where pneumonia is "
        "rarer, it is too high.",
        "- Most images that are not frontal chest radiographs are rejected, but not all.",
        "- A heatmap shows what the network used, not where the disease is.",
    ]
    return lines


def _results_on(
    title: str, measured: Mapping[str, Any], run_metrics: Mapping[str, Any]
) -> list[str]:
    """What a run came to on one set of images."""
    point = run_metrics["default_point"]
    found = estimates_of(measured, point)
    threshold = run_metrics["operating_points"][point]["threshold"]
    lines = [
        "",
        f"### {title}: {measured['pictures']} images of {measured['patients']} patients, "
        f"{measured['pneumonia']} with pneumonia",
        f"At the operating point {POINT_TITLES[point]}, probability ≥ {rate(threshold)}:",
        "",
        "| metric | value |",
        "|---|---|",
        *(f"| {words} | {metric(name, found[name])} |" for name, words in METRIC_TITLES.items()),
        f"| Calibration error before calibration | {decimal(measured['ece_uncalibrated'])} |",
    ]
    if counts := measured.get("counts"):
        lines.append(
            "| True positives, false negatives, false positives, true negatives | "
            + ", ".join(str(counts[point][cell]) for cell in ("tp", "fn", "fp", "tn"))
            + " |"
        )
    if by_class := three_classes.read(measured):
        lines += [
            "",
            f"{by_class.sentence()} The most probable class, for each true one:",
            "",
            *tables.markdown(by_class.table()),
        ]
    return lines


def rewrite_card(run: Run) -> None:
    """Bring a finished run's model card up to date with what has been measured since.

    Raises:
        RunError: the run's files are missing or damaged.
    """
    made, _, _ = run.card.partition(_RESULTS)
    run.save_card(made + "\n".join(results_and_limits(run.metrics, run.stress, run.kept)) + "\n")

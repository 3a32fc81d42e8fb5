"""Numbers from labels and scores: how well a model tells pneumonia from normal, and how surely.

Pure functions of ``(y_true, y_score)``, arrays of one length with one entry per radiograph:
``y_true`` is 1 for pneumonia and 0 for normal, ``y_score`` the model's score. A radiograph is
called positive where ``score >= threshold``. What cannot be computed (a sensitivity without
pneumonia, an area without both classes) is ``nan``, never a guess and never a warning. Inputs
that do not fit together raise ``ValueError``.

Every interval is a 95 % interval. Proportions carry the Wilson interval; everything else is
bootstrapped over patients (``groups``), because radiographs of one patient are alike and
counting them as independent makes intervals too narrow.

Needs NumPy and SciPy only.
"""

from cxrlib.metrics.bootstrap import REPLICATES, mean
from cxrlib.metrics.calibration import (
    CALIBRATION_BINS,
    Calibration,
    CalibrationPoint,
    expected_calibration_error,
    fit_calibration,
    reliability,
)
from cxrlib.metrics.comparison import AucComparison, McNemar, delong_test, mcnemar_test
from cxrlib.metrics.confusion import Confusion, confusion
from cxrlib.metrics.curves import (
    Band,
    PrecisionRecallCurve,
    RocCurve,
    pr_auc,
    precision_recall,
    precision_recall_band,
    roc,
    roc_auc,
    roc_band,
)
from cxrlib.metrics.distributions import (
    as_distribution,
    distribution_of_logits,
    log_odds,
    log_odds_of_logits,
)
from cxrlib.metrics.estimates import Estimate, from_columns, to_columns, wilson
from cxrlib.metrics.operating import (
    OPERATING_POINTS,
    OperatingPoint,
    Verdict,
    operating_points,
    verdict,
)
from cxrlib.metrics.prevalence import (
    at_prevalence,
    likelihood_ratios,
    natural_frequencies,
    predictive_values,
)
from cxrlib.metrics.summary import cross_entropy, summarize, summary_from_json, summary_to_json

__all__ = [
    "CALIBRATION_BINS",
    "OPERATING_POINTS",
    "REPLICATES",
    "AucComparison",
    "Band",
    "Calibration",
    "CalibrationPoint",
    "Confusion",
    "Estimate",
    "McNemar",
    "OperatingPoint",
    "PrecisionRecallCurve",
    "RocCurve",
    "Verdict",
    "as_distribution",
    "at_prevalence",
    "confusion",
    "cross_entropy",
    "delong_test",
    "distribution_of_logits",
    "expected_calibration_error",
    "fit_calibration",
    "from_columns",
    "likelihood_ratios",
    "log_odds",
    "log_odds_of_logits",
    "mcnemar_test",
    "mean",
    "natural_frequencies",
    "operating_points",
    "pr_auc",
    "precision_recall",
    "precision_recall_band",
    "predictive_values",
    "reliability",
    "roc",
    "roc_auc",
    "roc_band",
    "summarize",
    "summary_from_json",
    "summary_to_json",
    "to_columns",
    "verdict",
    "wilson",
]

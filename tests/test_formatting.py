"""Numbers as people read them."""

import math
import re
from pathlib import Path

import pytest

from cxrlib.formatting import RATES, decimal, interval, metric, percent, rate
from cxrlib.metrics import Estimate
from cxrlib.runs.contents import METRIC_TITLES, STRESS_ESTIMATES

ROOT = Path(__file__).resolve().parent.parent
NAN = math.nan


@pytest.mark.parametrize(
    ("probability", "shown"),
    [
        (0, "< 1 %"), (0.0099, "< 1 %"), (0.01, "1 %"), (0.424, "42 %"),
        (0.99, "99 %"), (0.991, "> 99 %"), (0.9996, "> 99 %"), (1, "> 99 %"),
    ],
)  # fmt: skip
def test_a_probability_is_never_certain(probability, shown):
    assert percent(probability).replace("\N{NO-BREAK SPACE}", " ") == shown


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        (0, "0.0 %"), (0.0004, "< 0.1 %"), (0.57, "57.0 %"), (0.9994, "99.9 %"),
        (0.9996, "> 99.9 %"), (1, "100.0 %"), (NAN, "undefined"),
        (Estimate(0.9662, 0.9482, 0.9781), "96.6 % (94.8–97.8)"),
        (Estimate(1.0, 0.8831, 1.0), "100.0 % (88.3–100.0)"),
        (Estimate(0.5, NAN, NAN), "50.0 % (no interval)"),
        (Estimate(NAN, NAN, NAN), "undefined"),
    ],
)  # fmt: skip
def test_a_rate_is_all_only_where_it_is_all(found, shown):
    assert rate(found).replace("\N{NO-BREAK SPACE}", " ") == shown


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        (0.99271, "0.993"), (-0.0004, "0.000"), (NAN, "undefined"),
        (Estimate(0.8, 0.49, 0.943), "0.800 (0.490–0.943)"),
        (Estimate(-0.0123, -0.0301, 0.0062), "-0.012 (-0.030 to 0.006)"),
        (Estimate(1.0, NAN, NAN), "1.000 (no interval)"),
    ],
)  # fmt: skip
def test_what_is_no_share_has_three_decimals(found, shown):
    assert decimal(found) == shown


def test_a_metric_goes_by_its_name():
    found = Estimate(0.9, 0.8, 0.95)
    in_percent = {
        name for name in (*METRIC_TITLES, *STRESS_ESTIMATES) if "%" in metric(name, found)
    }
    assert in_percent == RATES - {"recall"}
    assert not in_percent & {"roc_auc", "pr_auc", "mcc", "brier", "ece", "log_loss"}
    assert interval("roc_auc", found) == "0.800–0.950"
    assert interval("accuracy", found) == "80.0–95.0"


@pytest.mark.parametrize("folder", ["pages", "cxrlib/evaluation", "cxrlib/commands"])
def test_percent_is_written_in_one_place(folder):
    """Own formats would show 100 % beside > 99 %."""
    own = re.compile(r':\.\d%\}|format="percent"|100 \* [\w.]+:\.')
    wrong = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in sorted((ROOT / folder).rglob("*.py"))
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if own.search(line)
    ]
    assert not wrong

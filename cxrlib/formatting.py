"""Numbers as people read them: with the same digits on every page, in every report and table.

What is a share of images, patients or probability is in percent; what is not (areas under a
curve, errors of calibration, losses) has three decimals. What programs read (JSON, CSV) keeps
all digits, and its fractions.
"""

import math
from collections.abc import Sequence
from typing import Protocol

# Of the metrics that a run is measured by, those that are shares. The others have no unit.
RATES = frozenset(
    {
        "accuracy",
        "balanced_accuracy",
        "changed",
        "f1",
        "npv",
        "precision",
        "recall",
        "refused",
        "reversed",
        "sensitivity",
        "specificity",
    }
)
UNDEFINED = "undefined"
_SPACE = "\N{NO-BREAK SPACE}"
PERCENT_SIGN = f"{_SPACE}%"


class Interval(Protocol):
    """A value with the ends of its interval, as `metrics.Estimate`."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


def percent(share: float) -> str:
    """A probability, or a share, 0..1: whole percents, and no false certainty at the ends.

    >>> print(percent(0.9971), percent(0.42), sep=", ")
    >\N{NO-BREAK SPACE}99\N{NO-BREAK SPACE}%, 42\N{NO-BREAK SPACE}%
    """
    if share > 0.99:
        return f">{_SPACE}99{PERCENT_SIGN}"
    if share < 0.01:
        return f"<{_SPACE}1{PERCENT_SIGN}"
    return f"{100 * share:.0f}{PERCENT_SIGN}"


def setting(share: float) -> str:
    """A share that somebody chose, exactly.

    >>> print(setting(1), setting(0.15), setting(0.125), sep=", ")
    100\N{NO-BREAK SPACE}%, 15\N{NO-BREAK SPACE}%, 12.5\N{NO-BREAK SPACE}%
    """
    return f"{100 * share:.4g}{PERCENT_SIGN}"


def rate(found: float | Interval) -> str:
    """A rate or a threshold, 0..1, in percent with one decimal, its interval in brackets.

    Only what is all of them is 100 %, and only what is none of them 0 %.

    >>> print(rate(0.9662), rate(1), rate(0.9997), sep=", ")
    96.6\N{NO-BREAK SPACE}%, 100.0\N{NO-BREAK SPACE}%, >\N{NO-BREAK SPACE}99.9\N{NO-BREAK SPACE}%
    """
    value, ends = _parts(found)
    if math.isnan(value):
        return UNDEFINED
    shown = f"{100 * value:.1f}"
    if shown == "100.0" and value < 1:
        shown = f">{_SPACE}99.9"
    if shown == "0.0" and value > 0:
        shown = f"<{_SPACE}0.1"
    return f"{shown}{PERCENT_SIGN}{_brackets([100 * end for end in ends], 1)}"


def decimal(found: float | Interval, digits: int = 3) -> str:
    """A number without a unit, its interval in brackets.

    >>> print(decimal(0.99271), decimal(-0.0004), decimal(0.5, digits=2), sep=", ")
    0.993, 0.000, 0.50
    """
    value, ends = _parts(found)
    return UNDEFINED if math.isnan(value) else f"{value:z.{digits}f}{_brackets(ends, digits)}"


def metric(name: str, found: float | Interval) -> str:
    """A metric by its name in a run's files: a rate, or a number without a unit."""
    return rate(found) if name in RATES else decimal(found)


def interval(name: str, found: Interval) -> str:
    """The interval of a metric alone.

    >>> from cxrlib.metrics import Estimate
    >>> interval("accuracy", Estimate(0.966, 0.952, 0.977))
    '95.2–97.7'
    """
    return metric(name, found).partition(" (")[2].rstrip(")")


def _parts(found: float | Interval) -> tuple[float, tuple[float, ...]]:
    if isinstance(found, int | float):
        return found, ()
    return found.value, (found.low, found.high)


def _brackets(ends: Sequence[float], digits: int) -> str:
    if not ends:
        return ""
    if not all(map(math.isfinite, ends)):
        return " (no interval)"
    low, high = (f"{end:z.{digits}f}" for end in ends)
    # A dash beside a minus sign is hard to read; of a rounded zero it says nothing.
    return f" ({low}{' to ' if ends[0] < 0 else '–'}{high})"

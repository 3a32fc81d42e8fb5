"""A number with its 95 % interval, and the Wilson interval of a proportion."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from cxrlib import formatting

Z_95 = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval; ``nan`` where undefined.

    As text it is `formatting.decimal`; of a rate, `formatting.rate` makes percent.

    >>> print(Estimate(0.95312, 0.94108, 0.96402))
    0.953 (0.941–0.964)
    >>> print(Estimate(-0.0123, -0.0301, 0.0062))
    -0.012 (-0.030 to 0.006)
    >>> print(Estimate(math.nan, math.nan, math.nan))
    undefined
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return formatting.decimal(self)


def to_columns(name: str, found: Estimate) -> dict[str, float]:
    """An estimate in a row of a table: columns ``name``, ``name_low`` and ``name_high``."""
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def from_columns(name: str, row: Mapping[Any, Any]) -> Estimate:
    """The estimate that `to_columns` put into a row."""
    return Estimate(row[name], row[f"{name}_low"], row[f"{name}_high"])


def covering(value: float, low: float, high: float) -> Estimate:
    """An estimate whose interval is stretched, where needed, to hold its value.

    A bootstrap interval of a few or very skewed data can miss the value it belongs to, which no
    error bar can show.
    """
    return Estimate(float(value), float(min(low, value)), float(max(high, value)))


def wilson(successes: int, total: int) -> Estimate:
    """Proportion ``successes / total`` with its Wilson score interval (Wilson 1927).

    All ``nan`` where ``total`` is 0.

    >>> print(wilson(81, 263))
    0.308 (0.255–0.366)
    >>> print(wilson(29, 29))
    1.000 (0.883–1.000)
    """
    if total == 0:
        return Estimate(math.nan, math.nan, math.nan)
    p = successes / total
    z2 = Z_95**2
    centre = (p + z2 / (2 * total)) / (1 + z2 / total)
    half = Z_95 / (1 + z2 / total) * math.sqrt(p * (1 - p) / total + z2 / (4 * total**2))
    # Rounding must not push the end of 0 of n below 0, or of n of n short of 1.
    return covering(p, max(0.0, centre - half), min(1.0, centre + half))

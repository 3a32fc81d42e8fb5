"""Bootstrap over patients: many replicates at once, as weights on the radiographs.

A replicate draws as many patients as there are, with replacement. Instead of copying their
radiographs, each radiograph is given the number of times its patient was drawn as a weight;
statistics of weighted data then need no new sort and run on whole blocks of replicates.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from cxrlib.metrics.arrays import Floats, as_patients
from cxrlib.metrics.estimates import Estimate, covering

REPLICATES = 1000

# Weights held at a time: 1 MB, so that a block stays in the processor's cache.
_BLOCK = 2**17


def cluster_bootstrap(
    statistic: Callable[[Floats], Floats],
    n: int,
    groups: ArrayLike | None,
    *,
    replicates: int,
    seed: int,
) -> Floats:
    """Values of a statistic on resampled patients (Davison & Hinkley 1997, section 3.8).

    ``statistic`` maps weights [b, n], whole numbers, to values [b, m]. ``groups`` [n] says which
    patient each radiograph is of; without it each radiograph is its own patient.

    Returns float64 [replicates, m]. With fewer than two patients nothing can be resampled and
    all of it is ``nan``. Raises ``ValueError`` if ``groups`` is not of length ``n``.
    """
    patient = as_patients(groups, n)
    patients = int(patient.max(initial=-1)) + 1
    if patients < 2:
        return np.full((replicates, statistic(np.ones((1, n))).shape[1]), np.nan)
    rng = np.random.default_rng(seed)
    blocks = []
    rows = max(1, _BLOCK // n)
    for start in range(0, replicates, rows):
        count = min(rows, replicates - start)
        drawn = rng.integers(patients, size=(count, patients))
        drawn += patients * np.arange(count)[:, None]
        times = np.bincount(drawn.ravel(), minlength=count * patients).astype(np.float64)
        blocks.append(statistic(times.reshape(count, patients)[:, patient]))
    return np.concatenate(blocks)


def percentile_interval(values: Floats) -> tuple[Floats, Floats]:
    """95 % percentile interval of each column of replicates [replicates, m]: low [m], high [m].

    Replicates in which a statistic is undefined (no pneumonia was drawn) are left out of its
    interval; where all are, the interval is ``nan``.
    """
    bounds = np.full((2, values.shape[1]), np.nan)
    for column, drawn in enumerate(values.T):
        defined = drawn[~np.isnan(drawn)]
        if defined.size:
            bounds[:, column] = np.quantile(defined, (0.025, 0.975))
    return bounds[0], bounds[1]


def mean(
    values: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Estimate:
    """Mean of one value a radiograph ``[n]``, with an interval from the bootstrap over patients.

    ``nan`` values are left out.

    >>> print(mean([0.9, 0.9, 0.7, 0.7], groups=["a", "a", "b", "b"]))
    0.800 (0.700–0.900)
    """
    numbers = np.asarray(values, dtype=np.float64)
    defined = ~np.isnan(numbers)
    if not defined.any():
        return Estimate(np.nan, np.nan, np.nan)
    numbers = numbers[defined]
    patients = None if groups is None else np.asarray(groups)[defined]

    def weighted(times: Floats) -> Floats:
        return (times @ numbers / times.sum(axis=1))[:, None]

    drawn = cluster_bootstrap(weighted, numbers.size, patients, replicates=replicates, seed=seed)
    low, high = percentile_interval(drawn)
    return covering(numbers.mean(), low[0], high[0])

"""Readings to measure: cohorts of patients, and what hypothesis draws."""

import numpy as np
from hypothesis import assume, settings
from hypothesis import strategies as st
from scipy.special import expit

from cxrlib.metrics.bootstrap import cluster_bootstrap

# The machine may be busy training; being slow is no failure here.
without_deadline = settings(deadline=None)


def cohort(seed=0, *, patients=60, each=4, separation=2.0, shared=0.7):
    """Labels, probabilities and patients; radiographs of one patient are alike.

    Scores are binormal with the given separation, so the true ROC-AUC is known. They take a
    hundred values, so that there are ties.
    """
    rng = np.random.default_rng(seed)
    label = rng.random(patients) < 0.5
    patient = np.repeat(np.arange(patients), each)
    own = rng.normal(size=patient.size) * np.sqrt(1 - shared)
    latent = separation * label[patient] + rng.normal(size=patients)[patient] * shared**0.5 + own
    return label[patient].astype(int), expit(latent - 1).round(2), patient


# Few distinct scores make ties and thresholds at scores common.
tied_scores = st.integers(0, 12).map(lambda k: k / 12)


@st.composite
def both_classes(draw):
    n = draw(st.integers(2, 30))
    y = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    s = draw(st.lists(tied_scores | st.floats(0, 1), min_size=n, max_size=n))
    assume(0 < sum(y) < n)
    return np.array(y), np.array(s)


def drawn_copies(n, patient, replicates, seed):
    """Row numbers of each replicate, every radiograph as often as its patient was drawn."""
    weights = cluster_bootstrap(lambda w: w, n, patient, replicates=replicates, seed=seed)
    return [np.repeat(np.arange(n), row.astype(int)) for row in weights]

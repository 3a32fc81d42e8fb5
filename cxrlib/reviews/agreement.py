"""What readings come to: right and wrong, changed answers, and agreement beyond chance.

Functions of the table that `exchange.export` makes, one row a reading. *Cannot tell* is an answer
of its own: neither a pneumonia found nor a normal image cleared, so that it costs sensitivity
or specificity, and the third category of kappa, where the model's *uncertain* is its like.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cxrlib import formatting
from cxrlib.labels import NORMAL, PNEUMONIA, is_pneumonia
from cxrlib.metrics import Estimate, OperatingPoint, verdict, wilson
from cxrlib.metrics.arrays import Floats, ratio
from cxrlib.metrics.bootstrap import REPLICATES, cluster_bootstrap, percentile_interval
from cxrlib.metrics.estimates import Z_95, covering
from cxrlib.reviews.schema import ANSWERS

KAPPA_DIGITS = 2  # of a list of some dozen cases
CALLS = ("normal", "pneumonia", "cannot tell")
_MODEL_CALLS = {"unlikely": "normal", "likely": "pneumonia", "uncertain": "cannot tell"}
_LABEL_CALLS = {NORMAL: "normal", PNEUMONIA: "pneumonia"}
_ANSWER_CALLS = {
    answer: "cannot tell" if positive is None else "pneumonia" if positive else "normal"
    for answer, positive in ANSWERS.items()
}


@dataclass(frozen=True)
class Accuracy:
    """Sensitivity and specificity, with Wilson intervals."""

    sensitivity: Estimate
    specificity: Estimate


@dataclass(frozen=True)
class Agreement:
    """How often two raters gave the same call.

    >>> print(Agreement(4, 5, Estimate(0.0, 0.0, 0.0)))
    4 of 5 agree (κ 0.00)
    """

    agreed: int
    cases: int
    kappa: Estimate

    def __str__(self) -> str:
        kappa = formatting.decimal(self.kappa.value, KAPPA_DIGITS)
        return f"{self.agreed} of {self.cases} agree (κ {kappa})"


@dataclass(frozen=True)
class SessionResult:
    """What one session came to. ``nan`` where undefined.

    Attributes:
        read, skipped, flagged: numbers of cases.
        before, after, model: on the cases that have a label, all three on the same.
        agreement_before, agreement_after: of reader and model.
        changed: the cases whose call was changed, with ``effect`` better, worse or neither.
        differing: the cases on which the reader's calls, the model's and the label are not all
            the same.
        seconds: median reading time of a case, blind.
        seconds_after: median time of a case from the model's answer on.
    """

    read: int
    skipped: int
    flagged: int
    before: Accuracy
    after: Accuracy
    model: Accuracy
    agreement_before: Agreement
    agreement_after: Agreement
    changed: pd.DataFrame
    differing: pd.DataFrame
    seconds: float
    seconds_after: float


def session_result(readings: pd.DataFrame) -> SessionResult:
    """What the rows of one session come to; unfinished readings are left out."""
    done = with_calls(readings[readings.second_at.notna()])
    known = done[done.label != ""]
    judged = done[done.probability.notna()]
    compared = known[known.probability.notna()]
    changed = done[done["first"] != done["second"]]
    truth = changed.label.map(_LABEL_CALLS)
    all_calls = done[["first", "second", "model_call"]].assign(truth=done.label.map(_LABEL_CALLS))
    effect = np.select(
        [truth.isna(), changed.second == truth, changed["first"] == truth],
        ["unknown", "better", "worse"],
        "neither",
    )
    return SessionResult(
        read=len(done),
        skipped=int(readings.skipped.sum()),
        flagged=int(readings.flagged.sum()),
        before=_accuracy(compared, "first"),
        after=_accuracy(compared, "second"),
        model=_model_accuracy(compared),
        agreement_before=_agreement(judged["first"], judged.model_call),
        agreement_after=_agreement(judged.second, judged.model_call),
        changed=changed.assign(effect=effect),
        differing=done[all_calls.nunique(axis=1) > 1],
        seconds=float(done.first_seconds.median()),
        seconds_after=float(done.second_seconds.median()),
    )


def with_calls(readings: pd.DataFrame) -> pd.DataFrame:
    """The rows with ``first``, ``second`` and ``model_call``, each one of `CALLS`."""
    model = [
        _MODEL_CALLS[verdict(row.probability, OperatingPoint("", row.threshold, row.low, row.high))]
        if not math.isnan(row.probability)
        else None
        for row in readings.itertuples()
    ]
    return readings.assign(
        first=readings.first_answer.map(_ANSWER_CALLS),
        second=readings.second_answer.map(_ANSWER_CALLS),
        model_call=model,
    )


def _accuracy(rows: pd.DataFrame, answer: str) -> Accuracy:
    positive = is_pneumonia(rows.label)
    return Accuracy(
        wilson(int((rows[answer][positive] == "pneumonia").sum()), int(positive.sum())),
        wilson(int((rows[answer][~positive] == "normal").sum()), int((~positive).sum())),
    )


def _model_accuracy(rows: pd.DataFrame) -> Accuracy:
    # Held against the threshold alone, as wherever else the model's sensitivity is given.
    called = np.where(rows.probability >= rows.threshold, "pneumonia", "normal")
    return _accuracy(rows.assign(called=called), "called")


# --- agreement ------------------------------------------------------------------------------------


def _agreement(a: pd.Series, b: pd.Series) -> Agreement:
    return Agreement(int((a == b).sum()), len(a), cohen_kappa(list(a), list(b)))


def cohen_kappa(a: Sequence[str], b: Sequence[str]) -> Estimate:
    """Agreement of two raters beyond chance (Cohen 1960) with its large-sample interval.

    The standard error is that of Fleiss, Cohen & Everitt 1969. Kappa is ``nan`` without cases and
    where both raters always say the same one thing. The interval is ``nan`` where the standard
    error is 0, which is no certainty: they agree throughout, or one of them always says the same.

    >>> print(cohen_kappa(list("aaabbbab"), list("aaabbbba")))
    0.500 (-0.100 to 1.000)
    """
    categories = sorted({*a, *b})
    if len(categories) < 2:
        return Estimate(math.nan, math.nan, math.nan)
    says_a, says_b = (np.array(calls)[:, None] == categories for calls in (list(a), list(b)))
    share = says_a.T.astype(np.float64) @ says_b / len(a)
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    observed, chance = np.trace(share), rows @ columns
    kappa = (observed - chance) / (1 - chance)
    off = share * (columns[:, None] + rows[None, :]) ** 2
    variance = (
        np.diag(share) @ (1 - (rows + columns) * (1 - kappa)) ** 2
        + (1 - kappa) ** 2 * (off.sum() - np.trace(off))
        - (kappa - chance * (1 - kappa)) ** 2
    ) / (len(a) * (1 - chance) ** 2)
    if variance < 1e-12:
        return Estimate(float(kappa), math.nan, math.nan)
    half = Z_95 * math.sqrt(variance)
    return covering(kappa, max(kappa - half, -1.0), min(kappa + half, 1.0))


def fleiss_kappa(counts: ArrayLike, *, seed: int = 0) -> Estimate:
    """Agreement of several raters beyond chance (Fleiss 1971), interval by resampling cases.

    Args:
        counts: ``[cases, categories]``, how many raters put the case there; the same number of
            raters, two or more, for each case.
        seed: of the bootstrap.
    """
    table = np.asarray(counts, dtype=np.float64)
    if not table.size:
        return Estimate(math.nan, math.nan, math.nan)
    raters = table[0].sum()
    agreeing = (table * (table - 1)).sum(axis=1) / (raters * (raters - 1))

    def statistic(weights: Floats) -> Floats:
        total = weights.sum(axis=1)
        observed = weights @ agreeing / total
        chance = ((weights @ table / (total * raters)[:, None]) ** 2).sum(axis=1)
        # Rounding must not turn raters who all say one thing into a number.
        return ratio(observed - chance, np.where(np.isclose(chance, 1), 0, 1 - chance))[:, None]

    value = statistic(np.ones((1, len(table))))[0, 0]
    drawn = cluster_bootstrap(statistic, len(table), None, replicates=REPLICATES, seed=seed)
    low, high = percentile_interval(drawn)
    return covering(value, low[0], high[0])


def calls_by_reader(readings: pd.DataFrame, answer: str = "first") -> pd.DataFrame:
    """The calls of all readers: one row a case, one column a reader; ``nan`` where not read.

    Of a case that a reader read several times the latest counts.

    Args:
        readings: rows of sessions that are over.
        answer: ``first`` or ``second``.
    """
    done = with_calls(readings[readings.second_at.notna()]).sort_values("second_at")
    return done.groupby(["case_key", "reader"])[answer].last().unstack("reader")


def kappa_matrix(calls: pd.DataFrame) -> pd.DataFrame:
    """Cohen's kappa of each two columns of calls, on the cases that both have.

    Returns:
        One row a pair: ``one``, ``other``, ``cases``, ``agreement`` (share), ``kappa``
        (`Estimate`).
    """
    rows = []
    names = list(calls.columns)
    for number, one in enumerate(names):
        for other in names[number + 1 :]:
            both = calls[[one, other]].dropna()
            rows.append(
                {
                    "one": one,
                    "other": other,
                    "cases": len(both),
                    "agreement": (both[one] == both[other]).mean(),
                    "kappa": cohen_kappa(list(both[one]), list(both[other])),
                }
            )
    return pd.DataFrame(rows, columns=["one", "other", "cases", "agreement", "kappa"])


def counts_of(calls: pd.DataFrame) -> pd.DataFrame:
    """How many readers made each of `CALLS`, one row a case."""
    return pd.DataFrame({call: (calls == call).sum(axis=1) for call in CALLS}, index=calls.index)


def argued(calls: pd.DataFrame) -> pd.DataFrame:
    """The cases on which readers disagree, the most argued about first.

    Returns:
        `counts_of`, with ``disagreement``: the share of pairs of readers that disagree.
    """
    counts = counts_of(calls)
    readers = counts.sum(axis=1)
    counts, readers = counts[readers > 1], readers[readers > 1]
    agreeing = (counts * (counts - 1)).sum(axis=1) / (readers * (readers - 1))
    table = counts.assign(disagreement=1 - agreeing)
    table = table[table.disagreement > 0]
    return table.sort_values("disagreement", ascending=False, kind="stable")

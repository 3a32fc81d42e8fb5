"""Which images of a data set train, validate and test a run: whole patients at a time."""

import numpy as np
import pandas as pd

from cxrlib.data.dataset import LAYOUT, DatasetError
from cxrlib.labels import BINARY


def assign_folds(
    table: pd.DataFrame, *, validation_fraction: float, seed: int, balanced: bool = False
) -> pd.Series:
    """Which images train, validate and test a run.

    Validation is carved from the official train and val folders together (the official val
    has 16 images, too few to steer by). Images of one patient, and identical images,
    stay on one side; each class gives the same share. An image whose identical copy is in
    the official test folder takes part in neither.

    Args:
        table: as of `dataset.index`.
        validation_fraction: share of each class that is validated on.
        seed: of the patients chosen.
        balanced: leave out patients of the larger class from validation, until both classes have
            about as many images.

    Returns:
        Series aligned with ``table``: ``train``, ``validation``, ``test`` or ``excluded``.

    Raises:
        DatasetError: a class has too few patients for both sides.
    """
    folds = pd.Series("train", index=table.index)
    folds[table.split == "test"] = "test"
    tested = set(table.digest[table.split == "test"])
    folds[(table.split != "test") & table.digest.isin(tested)] = "excluded"

    pool = table[folds == "train"]
    if pool.empty:
        raise DatasetError(f"There are no images to train on: a folder train/ is needed.\n{LAYOUT}")
    groups = _together(pool)
    rng = np.random.default_rng(seed)
    for label in BINARY:
        # A group goes with the class of its first image: mixed groups are rare mistakes.
        first = pool.groupby(groups).label.first()
        members = first.index[first == label].to_numpy()
        sizes = groups.value_counts().loc[members].to_numpy()
        order = rng.permutation(len(members))
        wanted = validation_fraction * sizes.sum()
        chosen = members[order][np.cumsum(sizes[order]) <= max(wanted, sizes[order][:1].sum())]
        if len(chosen) == len(members):
            raise DatasetError(
                f"Only {len(members)} patient(s) with the label {label}: at least two are needed, "
                "one to train and one to validate."
            )
        folds[groups.index[groups.isin(chosen)]] = "validation"
    if balanced:
        _balance(folds, pool, groups, rng)
    return folds


def _balance(
    folds: pd.Series, pool: pd.DataFrame, groups: pd.Series, rng: np.random.Generator
) -> None:
    """Take patients of the larger class out of validation, in place."""
    held_out = pool[folds[pool.index] == "validation"]
    counts = held_out.label.value_counts()
    of_larger = groups[held_out.index[held_out.label == counts.idxmax()]]
    surplus = int(counts.max() - counts.min())
    sizes = of_larger.value_counts(sort=False)
    order = rng.permutation(len(sizes))
    left_out = sizes.index[order][np.cumsum(sizes.to_numpy()[order]) <= surplus]
    folds[of_larger.index[of_larger.isin(left_out)]] = "excluded"


def _together(table: pd.DataFrame) -> pd.Series:
    """Number of the group each image must stay with: same patient or same bytes."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    patients, _ = pd.factorize(table.patient)
    digests, _ = pd.factorize(table.digest)
    links = coo_array(
        (np.ones(len(table)), (patients, digests + patients.max() + 1)),
        shape=(patients.max() + digests.max() + 2,) * 2,
    )
    _, component = connected_components(links, directed=False)
    return pd.Series(component[patients], index=table.index)

"""Ensembles: runs that are the mean of other runs.

An ensemble is a run's folder without a network. Its configuration names its members, which lie
beside it; predictions, calibration, operating points and card are its own. Here is what becomes of
the folders; `compare_runs.save_ensemble` makes one and `inference.ensemble` reads X-rays with it.
"""

from cxrlib import runs
from cxrlib.runs.folder import Run, RunError


def member_names(run: Run) -> list[str]:
    """What an ensemble is the mean of; empty for any other run.

    Raises:
        RunError: the run's configuration is missing or damaged.
    """
    return run.config.get("members", [])


def networks(run: Run) -> list[Run]:
    """The runs whose networks read for this one: an ensemble's members, or the run itself.

    Raises:
        RunError: a member is gone or unfinished, or the run's configuration is damaged.
    """
    names = member_names(run)
    if not names:
        return [run]
    try:
        return [runs.find(name, models=run.folder.parent) for name in names]
    except RunError as error:
        raise RunError(
            f"The run {run.name} is the mean of {' and '.join(names)}, and not all of them are "
            f"there. {error} Copy what is missing into that folder, or use another run."
        ) from error


def needing(run: Run) -> list[str]:
    """The names of the ensembles beside a run that it is a member of."""
    found = []
    for other in runs.finished(run.folder.parent):
        try:
            if run.name in member_names(other):
                found.append(other.name)
        except RunError:
            continue  # what a damaged run needs is not known, and it cannot read anyway
    return found

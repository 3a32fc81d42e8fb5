"""Ensembles: runs that are the mean of other runs.

An ensemble is a run's folder without a network. Its configuration names its members, which lie
beside it; predictions, calibration, operating points and card are its own. Neither pictures nor
networks are needed here: `ensemble_classifier` reads X-rays with one.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cxrlib import __version__, comparison, evaluation, runs
from cxrlib.comparison import ComparisonError
from cxrlib.runs import Run, RunError


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


def save(name: str, members: Sequence[Run]) -> Run:
    """Keep the mean of several runs as a run of its own, beside them.

    Args:
        name: what it shall be called.
        members: two or more finished runs of one folder.

    Raises:
        ComparisonError: they share too few validation pictures, or one is an ensemble itself.
        RunError: the name is taken or cannot name a folder, or a member's files are damaged.
    """
    for member in members:
        if parts := member_names(member):
            raise ComparisonError(
                f"{member.name} is a mean of runs already. Choose {' and '.join(parts)} instead."
            )
    runs.check_name(name)
    predictions, found = comparison.ensemble({run.name: run.predictions for run in members})
    config = {"name": name, "members": [run.name for run in members]}
    run = runs.create(name, models=members[0].folder.parent)
    run.save_config(json.dumps(config, indent=1))
    run.save_environment({"cxrlib": __version__})
    run.finish(predictions, found, card(config["members"], found))
    return run


def card(members: Sequence[str], run_metrics: Mapping[str, Any]) -> str:
    """An ensemble's model card, Markdown."""
    lines = [
        "# Model card",
        "",
        "**For education and research, not for diagnosis.** Reads frontal chest radiographs for "
        "pneumonia and gives a calibrated probability.",
        "",
        "## How",
        f"The mean of the calibrated probabilities of {len(members)} runs, calibrated anew: "
        f"{', '.join(members)}. Their own cards say how each was trained, and on what.",
        "",
        *evaluation.results_and_limits(run_metrics),
    ]
    return "\n".join(lines) + "\n"

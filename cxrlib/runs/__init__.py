"""Runs: folders that hold a trained network with everything that is known of it."""

from cxrlib.runs.folder import Run, RunError, StoppedError
from cxrlib.runs.registry import (
    MODELS,
    SHIPPED,
    SHIPPED_LUNGS,
    check_name,
    create,
    delete,
    find,
    find_unfinished,
    finished,
    rename,
    unfinished,
)

__all__ = [
    "MODELS",
    "SHIPPED",
    "SHIPPED_LUNGS",
    "Run",
    "RunError",
    "StoppedError",
    "check_name",
    "create",
    "delete",
    "find",
    "find_unfinished",
    "finished",
    "rename",
    "unfinished",
]

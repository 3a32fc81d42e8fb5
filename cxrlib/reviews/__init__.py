"""Clinicians' readings: blind first, then against the model, kept in a SQL database.

A *reader* goes through *sessions*; a session is a list of *readings*, one a case, in an order
fixed when it was begun. Each reading holds the blind answer (first), the answer after the model
was seen (second), and both times. Needs SQLAlchemy and no TensorFlow.
"""

from cxrlib.reviews.agreement import (
    SessionResult,
    argued,
    calls_by_reader,
    cohen_kappa,
    fleiss_kappa,
    kappa_matrix,
    session_result,
)
from cxrlib.reviews.cases import (
    STRATEGIES,
    Case,
    folder_cases,
    open_case,
    practice_cases,
    run_cases,
)
from cxrlib.reviews.exchange import export, read_csv, read_json, restore, write_json
from cxrlib.reviews.schema import (
    ANSWERS,
    CONFIDENCES,
    RATINGS,
    Reader,
    Reading,
    Session,
    Stage,
)
from cxrlib.reviews.store import ReviewError, Store, default_url

__all__ = [
    "ANSWERS",
    "CONFIDENCES",
    "RATINGS",
    "STRATEGIES",
    "Case",
    "Reader",
    "Reading",
    "ReviewError",
    "Session",
    "SessionResult",
    "Stage",
    "Store",
    "argued",
    "calls_by_reader",
    "cohen_kappa",
    "default_url",
    "export",
    "fleiss_kappa",
    "folder_cases",
    "kappa_matrix",
    "open_case",
    "practice_cases",
    "read_csv",
    "read_json",
    "restore",
    "run_cases",
    "session_result",
    "write_json",
]

"""Why a training failed, in a sentence for a person."""

import errno
from contextlib import suppress
from types import TracebackType

from cxrlib.runs.folder import Run, StoppedError


class Reported:
    """Keeps with the run why its training failed, and lets the exception pass."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, StoppedError):
            with suppress(OSError):  # on a full disk; the error itself goes on
                self._run.save_failure(_reason(error))


def disk_problem(error: OSError) -> str:
    """What is wrong with a disk and what to do, in a sentence; empty for any other error."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "There is no space left on the disk, or for you on it. Free some, then resume."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            f"{error.filename} may not be read or written. Change its permissions or choose "
            "another folder, then resume."
        )
    return ""


def _reason(error: Exception) -> str:
    if type(error).__module__.startswith("cxrlib."):
        return str(error)  # made for people
    if isinstance(error, OSError) and (sentence := disk_problem(error)):
        return sentence
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return (
            "The device's memory does not suffice. Duplicate the run with a smaller batch or "
            "size, or free memory and resume."
        )
    return f"Training broke off: {type(error).__name__}. The log says more."

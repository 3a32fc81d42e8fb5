"""Uploads: in memory only, and no more of it than a session and the server can spare."""

import os
import threading
import weakref
from typing import TYPE_CHECKING

from starlette.formparsers import MultiPartParser
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

from cxrlib.images.limits import MAX_BYTES, RadiographError

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile, UploadedFileRec

    from cxrlib.images.radiograph import Radiograph

# Bytes that the server holds for all visitors together, and half of that for one.
_SERVER = int(os.environ.get("CXR_UPLOADS_MB", "300")) * 2**20
_SESSION = _SERVER // 2
# What is kept in place of a file for which there is no room, and what is said of it.
_NOT_KEPT = {
    b"no room in the session": (
        f"This file does not fit: your uploads may take up to {_SESSION >> 20} MB together. "
        "Remove some of them, then add it again."
    ),
    b"no room on the server": (
        "The server cannot hold more uploads at the moment. Add the file again in a few minutes."
    ),
}
_SESSION_FULL, _SERVER_FULL = _NOT_KEPT

_counting = threading.RLock()
_add_file = MemoryUploadedFileManager.add_file


class Upload:
    """An uploaded file, which counts for as long as a page holds it."""

    def __init__(self, file: "UploadedFile") -> None:
        context = get_script_run_ctx()
        assert context, "only pages hold uploads"
        self.key = (context.session_id, file.file_id)
        self.data = file.getvalue()
        with _counting:
            _held.add(self)

    def read(self) -> "Radiograph":
        """The radiograph in it.

        Raises:
            RadiographError: it cannot be read, or there was no room for it.
        """
        from cxrlib.images import radiograph  # the empty page waits for no NumPy

        if self.data in _NOT_KEPT:
            raise RadiographError(_NOT_KEPT[self.data])
        return radiograph.read(self.data)


_held: "weakref.WeakSet[Upload]" = weakref.WeakSet()


def set_up() -> None:
    """Have Streamlit's server keep uploads in memory, within bounds."""
    # What is above this is spooled to an unnamed file on the disk.
    MultiPartParser.spool_max_size = MAX_BYTES + 2**20
    setattr(MemoryUploadedFileManager, "add_file", _add_within_bounds)  # noqa: B010  # mypy


def _add_within_bounds(
    self: MemoryUploadedFileManager, session_id: str, file: "UploadedFileRec"
) -> None:
    with _counting:
        sizes = _sizes(self)
        sizes.pop((session_id, file.file_id), None)
        of_session = sum(size for (owner, _), size in sizes.items() if owner == session_id)
        if of_session + len(file.data) > _SESSION:
            file = file._replace(data=_SESSION_FULL)
        elif sum(sizes.values()) + len(file.data) > _SERVER:
            file = file._replace(data=_SERVER_FULL)
        _add_file(self, session_id, file)


def _sizes(manager: MemoryUploadedFileManager) -> dict[tuple[str, str], int]:
    """Bytes of every upload that the server or a page holds, by session and file."""
    with manager._lock:
        sizes = {
            (session, file_id): len(file.data)
            for session, files in manager.file_storage.items()
            for file_id, file in files.items()
        }
    return sizes | {upload.key: len(upload.data) for upload in _held}

"""Memory that nobody uses goes back to the system: a small server has 690 MB in all."""

import ctypes
import sys
import threading
import time
from functools import cache
from typing import Any

from streamlit import runtime

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # of glibc's malloc.h
_LARGE = 4 * 2**20  # bytes
_EVERY = 30  # seconds


@cache
def set_up() -> None:
    """Have the server give back memory; does its work once, whoever calls."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc:
        # What is large goes back when it is freed. Left in the heaps of the threads that decoded
        # them, four images of 60 megapixels held 0.8 GB in place of 0.3.
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        # Each run of a page is a thread, and glibc would give every one of them a heap of its own,
        # none of which is ever empty: 50 MB more after 200 uploads, and rising.
        libc.mallopt(_M_ARENA_MAX, 2)
    threading.Thread(target=_tidy, args=(libc,), daemon=True).start()


def _tidy(libc: ctypes.CDLL | None) -> None:
    while True:
        time.sleep(_EVERY)
        let_closed_pages_go(runtime.get_instance()._session_mgr)
        if libc:
            libc.malloc_trim(0)  # what lies free between what is used: 60 MB after 200 uploads


def let_closed_pages_go(sessions: Any) -> None:
    """Drop the pages, with their uploads, that were closed two minutes ago or longer.

    Streamlit keeps a closed page for that time, in case its browser comes back, but looks for those
    whose time is over only when the next page is closed: the last ones would stay for hours.

    Args:
        sessions: Streamlit's ``WebsocketSessionManager``, of which this uses what is not public.
    """
    with sessions._storage_lock:
        sessions._session_storage._cache.expire()

"""The process that serves all visitors: spared what it need not do, and trimmed."""

import ctypes
import gc
import mmap
import sys
import threading
import time
from pathlib import Path

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # of glibc's malloc.h
_LARGE = 4 * 2**20  # bytes
_SECONDS_BETWEEN = 60.0
_SECONDS_KEPT = 180.0  # Streamlit keeps what a closed page had for two minutes
_giving = threading.Lock()
_last_run = 0.0


def set_up_heaps() -> None:
    """Have threads to come share the heaps that there are, and large arrays lie outside them.

    Every run of a page is a thread of its own, and glibc gives each a heap, up to eight for each
    core: what one leaves free another cannot use. Once there are more than eight heaps it does
    not look at this limit any more, so the first run of the first page has to set it.

    What is large has pages of its own, which the system gets back when it is freed. Left alone,
    glibc would put it into the heaps once it has seen something large freed, and what stays there
    of visitors, small and in between, would keep all of it from being given back: 0.25 GB after
    four hundred pictures. Were less than this large too, reading would wait for pages more often.
    It does so now and then, up to a quarter longer: glibc, once it is told what is large, also
    gives back the heap's end as soon as 128 kB of it are free. With 64 MB left there the server
    came to 1.1 GB, beside other work, and no longer stayed under 1.0.
    """
    if sys.platform == "linux":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _LARGE)


def keep_what_is_compiled() -> None:
    """Have Streamlit's call of Keras' ``clear_session`` after every run of a page do nothing.

    It throws away what TensorFlow has compiled for the networks that all visitors share: the next
    picture would wait for a second. The app builds no networks, so nothing piles up without it.
    """
    import keras

    keras.backend.clear_session = lambda: None


def spare_from_collection() -> None:
    """Leave what is loaded out of the garbage collections to come.

    Streamlit collects after every run of a page and would look through all of TensorFlow each
    time: a third of a second in which nobody is served. What visitors have at this moment is left
    out with it, and would never be freed; so it is all looked through again from time to time.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def give_back_memory_each_minute() -> None:
    """Give memory back in the background, until nobody has been here for three minutes.

    Not in the run of a page, which it would make longer at its very end: the next run, of a click
    meanwhile, starts beside it, and Streamlit would then take the fragments of the new run for
    gone. The page would stand still.
    """
    global _last_run
    _last_run = time.monotonic()
    if _giving.acquire(blocking=False):
        threading.Thread(target=_give_back_while_people_come, name="give back", daemon=True).start()


def _give_back_while_people_come() -> None:
    try:
        while time.monotonic() < _last_run + _SECONDS_KEPT:
            give_back_memory()
            time.sleep(_SECONDS_BETWEEN)
    finally:
        _giving.release()


def give_back_memory() -> None:
    """Give the system back what is not needed any more, 0.4 GB once the networks are loaded.

    That is what visitors left, what reading their pictures left free between what is in use, and
    code and constants of the libraries, most of which were needed to load them only: what is
    needed again is mapped again from its file, in microseconds.
    """
    if sys.platform != "linux":
        spare_from_collection()
        return
    before = _as_in_their_files()
    spare_from_collection()
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    # A library that another thread is just loading is laid out anew meanwhile: what lies there
    # now may be its data.
    for start, end in before & _as_in_their_files():
        libc.madvise(start, end - start, mmap.MADV_DONTNEED)
    libc.malloc_trim(0)


def _as_in_their_files() -> set[tuple[int, int]]:
    """Where files are mapped that cannot be written to there, and never were."""
    found = set()
    place, of_file = "", False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, *values = line.split(maxsplit=5)
        if not name.endswith(":"):
            place, of_file = name, values[0] in ("r-xp", "r--p") and values[3] != "0"
        elif name == "Anonymous:" and of_file and values[0] == "0":
            start, end = (int(address, 16) for address in place.split("-"))
            found.add((start, end))
    return found

"""The process that serves all visitors: kept small, and spared what Streamlit does between runs."""

import ctypes
import gc
import platform

_MMAP_THRESHOLD = -3  # of glibc's mallopt
_LARGE = 128 * 1024  # bytes; where glibc begins


def give_memory_back() -> None:
    """Have glibc return every large block to the system as soon as it is free.

    It learns to keep ever larger ones, in a heap for each thread. Streamlit runs every page in a
    thread of its own: the heaps would fill with the holes of gone pictures, some megabytes an
    upload.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)


def keep_what_is_compiled() -> None:
    """Have Streamlit's call of Keras' ``clear_session`` after every run of a page do nothing.

    It throws away what TensorFlow has compiled for the networks that all visitors share: the next
    picture would wait for a second. The app builds no networks, so nothing piles up without it.
    """
    import keras

    keras.backend.clear_session = lambda: None


def spare_from_collection() -> None:
    """Leave what is loaded out of all garbage collections to come.

    Streamlit collects after every run of a page and would look through all of TensorFlow each
    time: a third of a second in which nobody is served.
    """
    gc.collect()
    gc.freeze()

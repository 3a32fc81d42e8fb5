"""The process that serves all visitors: kept small, and spared what Streamlit does between runs."""

import ctypes
import gc
import platform

_glibc = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def give_memory_back() -> None:
    """Have glibc return to the system what is free between the blocks that are in use.

    Streamlit runs every page in a thread of its own, and each thread's heap fills with the holes
    of gone pictures: some megabytes an upload. Takes a few milliseconds.
    """
    if _glibc:
        _glibc.malloc_trim(0)


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

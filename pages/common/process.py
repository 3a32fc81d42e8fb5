"""The process that serves all visitors, spared what Streamlit does after every run of a page."""

import gc


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

"""Batches that threads make while the training step works, for any Keras backend."""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import cv2
import keras

Batch = tuple[Any, ...]  # inputs, targets and, where they count differently, weights


class PrefetchedBatches(keras.utils.PyDataset):
    """Batches that are made ahead of the step that takes them, one a thread.

    To be asked for in order. Keras' own threads would hold up the end of each epoch by more than a
    tenth of a second. OpenCV is left with one thread in this process, since each batch has one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._threads = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._threads, "batches", cv2.setNumThreads, (1,))
        self._ahead: dict[int, Future[Batch]] = {}

    def make(self, number: int) -> Batch:
        """Batch ``number`` of the epoch."""
        raise NotImplementedError

    def forget(self) -> None:
        """Drop what was made ahead: from now on other batches are wanted."""
        for future in self._ahead.values():
            future.cancel()
        self._ahead = {}

    def __getitem__(self, number: int) -> Batch:
        wanted = range(number, min(number + 2 * self._threads, len(self)))
        self._ahead = {
            later: self._ahead.get(later) or self._pool.submit(self.make, later) for later in wanted
        }
        return self._ahead[number].result()


def fit_input(batches: PrefetchedBatches) -> Any:
    """One epoch of batches as `keras.Model.fit` takes it fastest.

    Keras would have TensorFlow tune the pipeline, and each epoch may then end as much as its own
    length late: when the tuning does.
    """
    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    def one_epoch() -> Iterator[Batch]:
        for number in range(len(batches)):
            yield batches[number]

    signature = keras.tree.map_structure(
        lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), batches[0]
    )
    options = tf.data.Options()
    options.autotune.enabled = False
    options.threading.private_threadpool_size = 1
    dataset = tf.data.Dataset.from_generator(one_epoch, output_signature=signature)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))
    return dataset.prefetch(1).with_options(options)

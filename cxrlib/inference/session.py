"""A run's network on ONNX Runtime, from the files that ``training.export`` writes.

Reading needs no TensorFlow: the runtime is imported in a tenth of a second, and a network loaded
in another.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np

from cxrlib.runs.folder import Run, RunError

# Since 1.29 the runtime reports to its maker what it runs, and keeps an identifier of the machine,
# unless this is set when it is first imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

_T = TypeVar("_T")

CLASSIFIER_OUTPUTS = ("logits", "pooled", "features", "features_gradient")
LUNG_OUTPUTS = ("lung",)
FORWARD_DIGEST = "forward_digest"  # of the forward pass's file, in the gradient's metadata

_LARGEST = 2**29  # bytes; the largest registered network has a fifth of that
_SIDES = range(32, 1025)  # pixels
_MAX_AT_ONCE = 8  # passes
_at_once = min(os.cpu_count() or 1, _MAX_AT_ONCE)
# Each pass has one core: on two cores, two passes at once take two thirds of the time that they
# take one after the other with both cores each.
_cores = threading.BoundedSemaphore(_at_once)
# One at a time: a gradient's pass keeps all that it computes on its way forward, and two at once
# held 50 MB more.
_one_gradient = threading.Lock()
_UNREADABLE = (
    errors.Fail,
    errors.InvalidArgument,
    errors.InvalidGraph,
    errors.InvalidProtobuf,
    errors.NoSuchFile,
    errors.NotImplemented,
    errors.RuntimeException,
    UnicodeDecodeError,  # of its own message, which names what it stumbled over
)


class Session:
    """A network that reads. Threads may share it.

    Args:
        name: of the run, for messages.
        forward: the file of the forward pass, or what it holds.
        gradient: the same with its gradient; loaded when first asked for.
        outputs: what the forward pass has to give at least.

    Raises:
        RunError: the file is missing, damaged, too large, or none that cxrlib exported.
    """

    def __init__(
        self,
        name: str,
        forward: Path | bytes,
        gradient: Path | bytes | None,
        outputs: Collection[str] = CLASSIFIER_OUTPUTS,
    ) -> None:
        self._name = name
        self._forward_file, self._gradient_file = forward, gradient
        self._forward = _load(name, forward)
        self._gradient: onnxruntime.InferenceSession | None = None
        self._loading_gradient = threading.Lock()  # once for all who ask while it is not there
        inputs = self._forward.get_inputs()
        self.outputs = tuple(output.name for output in self._forward.get_outputs())
        if (
            [(one.name, one.type) for one in inputs] != [("pixels", "tensor(float)")]
            or len(inputs[0].shape) != 3
            or inputs[0].shape[1] != inputs[0].shape[2]
            or inputs[0].shape[1] not in _SIDES
            or not set(outputs).issubset(self.outputs)
        ):
            raise RunError(
                f"The network of the run {name} was not exported by cxrlib. Copy the run's "
                f"folder again, or write it again with: python -m cxrlib export --run {name}"
            )
        self.size: int = inputs[0].shape[1]
        self.widths = {output.name: output.shape[1] for output in self._forward.get_outputs()}

    def run(self, images: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
        """Some outputs for images.

        Args:
            images: ``[n, size, size]`` in 0..255, of any type of number.
            outputs: of ``self.outputs``; also ``gradient``, ``float32 [n, size, size]``, of the
                log-odds of pneumonia with respect to the pixels.

        Returns:
            As many arrays, ``float32 [n, …]``.

        Raises:
            RunError: the gradient's file is missing or damaged.
        """
        turn: AbstractContextManager
        if "gradient" in outputs:
            with self._loading_gradient:
                network = self._with_gradient()
            turn = _one_gradient
        else:
            network, turn = self._forward, nullcontext()

        def passes(images: np.ndarray) -> list[list[np.ndarray]]:
            found = []
            for image in images:
                pixels = np.asarray(image, np.float32)[None]
                with turn, _cores:
                    found.append(network.run(outputs, {"pixels": pixels}))
            return found

        shares = np.array_split(images, min(len(images), _at_once))
        parts = chain.from_iterable(together([partial(passes, share) for share in shares]))
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]

    def _with_gradient(self) -> onnxruntime.InferenceSession:
        if self._gradient is None:
            if self._gradient_file is None:
                raise RunError(f"The network of {self._name} was exported without its gradient.")
            gradient = _load(self._name, self._gradient_file)
            if isinstance(self._forward_file, Path) and isinstance(self._gradient_file, Path):
                # Its weights are parts of that file: of another they would be nonsense.
                stored = gradient.get_modelmeta().custom_metadata_map.get(FORWARD_DIGEST)
                if stored != digest(self._forward_file.read_bytes()):
                    raise RunError(
                        f"The files of the run {self._name} do not belong together: "
                        f"{self._gradient_file.name} was made for another "
                        f"{self._forward_file.name}. Copy the run's folder again, or write both "
                        f"again with: python -m cxrlib export --run {self._name}"
                    )
            self._gradient = gradient
        return self._gradient


def load(run: Run, outputs: Collection[str] = CLASSIFIER_OUTPUTS) -> Session:
    """The network of a finished run.

    Raises:
        RunError: its files are missing, damaged, too large, or none that cxrlib exported.
    """
    return Session(run.name, run.onnx_file, run.gradient_file, outputs)


def use_cores(count: int) -> None:
    """Have this process compute so many passes at once from now on."""
    global _at_once, _cores
    _at_once, _cores = count, threading.BoundedSemaphore(count)


def at_once() -> int:
    """How many passes this process computes at once."""
    return _at_once


def together(jobs: Sequence[Callable[[], _T]]) -> list[_T]:
    """What some jobs return that wait for networks: each but the first has a thread of its own."""
    first, *others = jobs
    if not others:
        return [first()]
    with ThreadPoolExecutor(len(others)) as threads:
        waiting = [threads.submit(job) for job in others]
        return [first(), *(future.result() for future in waiting)]


def digest(data: bytes) -> str:
    """What tells a network's file from others."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _load(name: str, network: Path | bytes) -> onnxruntime.InferenceSession:
    if isinstance(network, Path) and network.exists() and network.stat().st_size > _LARGEST:
        raise RunError(
            f"The file {network.name} of the run {name} is larger than {_LARGEST >> 20} MB and is "
            "not loaded."
        )
    _share_memory()
    options = onnxruntime.SessionOptions()
    # With all sizes known more of it is computed in the blocked layout of its convolutions.
    options.add_free_dimension_override_by_name("n", 1)
    options.log_severity_level = 4  # what is wrong is raised as well
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.use_env_allocators", "1")
    # Planned ahead, what a network computes lies in one block beside what others left in the arena:
    # 33 MB more for two networks with their gradients, and 3 % faster.
    options.enable_mem_pattern = False
    try:
        return onnxruntime.InferenceSession(
            network if isinstance(network, bytes) else str(network),
            options,
            providers=["CPUExecutionProvider"],
        )
    except _UNREADABLE as error:
        raise RunError(
            f"The network of the run {name} cannot be loaded: its file is missing, damaged or "
            f"incompatible with ONNX Runtime {onnxruntime.__version__}. Copy the run's folder "
            f"again, or write it again with: python -m cxrlib export --run {name}"
        ) from error


@cache
def _share_memory() -> None:
    """Have all networks use one arena: what one leaves, the next takes.

    Three networks with their gradients and the lung finder held 560 MB after reading four images
    at a time, 272 MB so, as fast.
    """
    onnxruntime.create_and_register_allocator(
        onnxruntime.OrtMemoryInfo(
            "Cpu",
            onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR,
            0,
            onnxruntime.OrtMemType.DEFAULT,
        ),
        None,
    )

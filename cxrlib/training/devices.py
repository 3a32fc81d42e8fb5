"""What this machine can train on, found without TensorFlow."""

import ctypes
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_CLUSTER = "cluster:"
_QUERY = "index,uuid,name,memory.total,memory.used"

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_TOP_PAD = 256 * 2**20


@dataclass(frozen=True)
class Device:
    """A GPU, the CPU, or a Ray cluster, which finds a device for a run itself.

    Attributes:
        id: ``cpu``; ``gpu:0``, ``gpu:1``, …; or ``cluster:HOST:PORT``.
        title: what it is called.
        memory: bytes it has; 0 where that is unknown.
        used: bytes of a GPU's memory that are in use; 0 for the CPU.
    """

    id: str
    title: str
    memory: int
    used: int = 0

    @property
    def is_gpu(self) -> bool:
        """Whether it is a GPU of this machine."""
        return self.id.startswith("gpu:")


def found() -> list[Device]:
    """The NVIDIA GPUs that ``CUDA_VISIBLE_DEVICES`` leaves visible, the CPU, and last the cluster
    that ``CXR_CLUSTER`` names, ``HOST:PORT``.
    """
    return [*_gpus(), _cpu(), *_cluster()]


def on_cluster(address: str) -> str:
    """The id of a cluster as a device."""
    return f"{_CLUSTER}{address}"


def cluster_address(ids: Sequence[str]) -> str:
    """The address of the cluster that a run's devices name; empty for devices of this machine."""
    return next((name.removeprefix(_CLUSTER) for name in ids if name.startswith(_CLUSTER)), "")


def use(ids: list[str]) -> None:
    """Let this process see these devices only; to be called before TensorFlow is loaded."""
    numbers = [name.removeprefix("gpu:") for name in ids if name != "cpu"]
    # The numbers are nvidia-smi's, and CUDA may count otherwise.
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(numbers) or "-1"
    # Otherwise TensorFlow takes all of a GPU's memory at once, whatever it needs.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


def keep_memory() -> None:
    """Have this process keep the memory of one batch for the next; for one that works and ends.

    glibc hands blocks of more than 32 MB back to the system as soon as they are free, and the
    system clears every page before it gives it out again: a third of a step on the CPU.
    """
    if sys.platform == "linux":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
        mallopt(_M_TOP_PAD, _TOP_PAD)
        mallopt(_M_ARENA_MAX, 1)


def process_memory(pid: int) -> int | None:
    """Bytes of main memory that a process holds, or None where the system does not say."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _gpus() -> list[Device]:
    try:
        listed = subprocess.run(
            ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []  # no driver, or one that does not answer: nothing to train on
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = []
    for line in listed.splitlines():
        index, uuid, name, total, used = (part.strip() for part in line.split(","))
        if visible is None or {index, uuid} & set(visible.split(",")):
            # Some machines that share memory between CPU and GPU answer "[N/A]".
            memory, taken = (int(part) * 2**20 if part.isdigit() else 0 for part in (total, used))
            gpus.append(Device(f"gpu:{index}", f"GPU {index}, {name}", memory, taken))
    return gpus


def _cluster() -> list[Device]:
    address = os.environ.get("CXR_CLUSTER", "").strip()
    return [Device(on_cluster(address), f"Ray cluster at {address}", 0)] if address else []


def _cpu() -> Device:
    memory = 0
    if hasattr(os, "sysconf"):  # not on Windows
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Device("cpu", f"CPU, {os.cpu_count()} cores ({platform.machine()})", memory)

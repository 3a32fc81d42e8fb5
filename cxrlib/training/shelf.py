"""How a run's folder travels between the machine that asked for it and the node that trains it.

The shelf is an actor on the cluster's head. The node lays on it what changes in its copy of the
folder; the machine that asked takes that down, and lays a request to stop beside it. Whatever
happens to the node or to that machine, the other one finds the last checkpoint there.
"""

import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from cxrlib.data import classes, remote
from cxrlib.runs.config import TrainingConfig
from cxrlib.runs.folder import Run
from cxrlib.training import practice

FIRST = 1  # the number of the change that a shelf is made with
_SECONDS = 1.0


@dataclass(frozen=True)
class Order:
    """What a node is to train.

    Attributes:
        name: of the run.
        config: what to do.
        data: path of the data set on the nodes, or its URL; empty for synthetic radiographs, which
            a node draws where it has none.
        gpu: whether it is given a GPU.
        meanings: that were given to the data set's classes (`classes.give`).
        source: the name of the folder with the weights to begin with; empty for weights by name.
        source_files: what that folder holds.
    """

    name: str
    config: TrainingConfig
    data: str
    gpu: bool
    meanings: Mapping[str, str]
    source: str = ""
    source_files: Mapping[str, bytes] | None = None


def order(run: Run, *, gpu: bool) -> Order:
    """What the cluster is to train for an unfinished run of this machine."""
    task = run.task
    config, data = TrainingConfig(**task["config"]), task["data"]
    place = "" if data == str(practice.folder()) else data
    meanings = classes.given(remote.folder(data))
    file = Path(config.weights)
    if not file.suffix:
        return Order(run.name, config, place, gpu, meanings)
    # Of another run's network also what that run held out is asked for.
    found = Run(file.parent).files if file.suffix == ".keras" else {file.name: file}
    contents = {name: path.read_bytes() for name, path in found.items()}
    return Order(run.name, config, place, gpu, meanings, file.parent.name, contents)


class Shelf:
    """The files of one run, by their path below its folder. Used as a Ray actor.

    Args:
        wanted: what is to be trained.
        files: what lies on it at first.
    """

    def __init__(self, wanted: Order, files: Mapping[str, bytes]) -> None:
        self._order = wanted
        self._files: dict[str, tuple[int, bytes]] = {}
        self._changes = 0
        self._taken = self._stop = False
        self.put(files, files)

    def order(self) -> Order:
        """What is to be trained; whoever asks has started."""
        self._taken = True
        return self._order

    def taken(self) -> bool:
        """Whether a node has ever started."""
        return self._taken

    def put(self, contents: Mapping[str, bytes], names: Collection[str]) -> int:
        """Lay down what has changed; what is not among ``names`` is gone."""
        self._changes += 1
        self._files |= {name: (self._changes, data) for name, data in contents.items()}
        self._files = {name: self._files[name] for name in names}
        return self._changes

    def get(self, since: int) -> tuple[int, dict[str, bytes], list[str]]:
        """The number of the last change, what has changed since another, and all names."""
        changed = {name: data for name, (number, data) in self._files.items() if number > since}
        return self._changes, changed, list(self._files)

    def request_stop(self) -> None:
        """Ask the node to stop."""
        self._stop = True

    def stop_requested(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop


class Carrier:
    """While in its context, lays on the shelf what changes in a run's folder.

    Args:
        run: as it was taken from the shelf.
        shelf: handle of a `Shelf`.
    """

    def __init__(self, run: Run, shelf: Any) -> None:
        self._run, self._shelf = run, shelf
        self._stamps = self._look()
        self._carrying = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> "Carrier":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.carry()

    def _look(self) -> dict[str, tuple[int, int]]:
        stamps = {}
        for name, file in self._run.files.items():
            with suppress(FileNotFoundError):  # it is gone since it was listed
                status = file.stat()
                stamps[name] = status.st_mtime_ns, status.st_size
        return stamps

    def carry(self) -> None:
        """Lay down what has changed since the last time."""
        with self._carrying:
            self._carry()

    def _carry(self) -> None:
        import ray

        stamps = self._look()
        changed = {}
        for name in stamps:
            if stamps[name] != self._stamps.get(name):
                with suppress(FileNotFoundError):  # the next look finds it gone
                    changed[name] = (self._run.folder / name).read_bytes()
        if changed or stamps.keys() != self._stamps.keys():
            known = [name for name in stamps if name in changed or name in self._stamps]
            ray.get(self._shelf.put.remote(changed, known))
        self._stamps = stamps

    def _work(self) -> None:
        import ray

        while not self._ended.wait(_SECONDS):
            self.carry()
            if ray.get(self._shelf.stop_requested.remote()):
                self._run.request_stop()


def take_down(run: Run, shelf: Any, since: int) -> int:
    """Bring a run's folder here to what lies on the shelf; returns the number of that change."""
    import ray

    changes, changed, names = ray.get(shelf.get.remote(since))
    if changes != since:
        run.replace_files(changed, names)
    return changes


def data_of(wanted: Order) -> str:
    """The data set on this node; its classes mean what they mean to who asked."""
    if not wanted.data:
        return str(practice.folder())
    if wanted.meanings:
        classes.give(remote.folder(wanted.data), wanted.meanings)
    return wanted.data


def unpack(wanted: Order, shelf: Any, place: Path) -> tuple[Run, TrainingConfig]:
    """A node's own copy of a run's folder, and its configuration with the weights found there."""
    run = Run(place / wanted.name)
    run.folder.mkdir()
    take_down(run, shelf, -1)
    if not wanted.source_files:
        return run, wanted.config
    source = Run(place / "source" / wanted.source)
    source.replace_files(wanted.source_files, wanted.source_files.keys())
    weights = source.folder / Path(wanted.config.weights).name
    return run, wanted.config.model_copy(update={"weights": str(weights)})

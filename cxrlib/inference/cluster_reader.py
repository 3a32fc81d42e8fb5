"""Reads files on the nodes of a Ray cluster, for archives of any number of them."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from cxrlib import cluster, urls
from cxrlib.inference.file_reader import FileReader, Result, Settings
from cxrlib.runs import ensembles
from cxrlib.runs.folder import Run

_ROUND = 20_000  # files handed over at a time: memory stays the same for any number of them
_BLOCK = 16  # files read again where a worker is lost

_Folders = dict[str, dict[str, bytes]]  # what the files of some folders hold


def read_on_cluster(
    paths: Iterator[str], settings: Settings, *, address: str, sources: Sequence[str]
) -> Iterator[Result]:
    """Read files on all cores of a cluster; results come in no order.

    A node that is lost has its files read by others.

    Args:
        paths: each once.
        settings: how to read them. The run need not be on the nodes.
        address: as for `cluster.connect`.
        sources: what every node has to see.

    Raises:
        ClusterError: the cluster cannot be reached, or a node does not see a source.
    """
    cluster.connect(address)
    cluster.check_nodes(list(map(urls.absolute, sources)))
    import ray
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False  # there is one for all rounds
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    folders = ray.put(_packed(Run(settings.run)))
    readers = ray.data.ActorPoolStrategy(min_size=1, max_size=int(ray.cluster_resources()["CPU"]))
    while batch := list(islice(paths, _ROUND)):
        rows = [{"path": path} for path in batch]
        found = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // _BLOCK)).map(
            _Reader,  # type: ignore[arg-type]  # a class is made once for each reader
            fn_constructor_args=(folders, settings),
            num_cpus=1,
            compute=readers,
        )
        yield from (Result(**row) for row in found.iter_rows())


def _packed(run: Run) -> _Folders:
    """A run's files, and those of the runs that it is the mean of."""
    return {
        one.name: {file.name: file.read_bytes() for file in one.folder.iterdir() if file.is_file()}
        for one in {run, *ensembles.networks(run)}
    }


class _Reader:
    """A `FileReader` with a run of its own, for Ray Data."""

    def __init__(self, folders: object, settings: Settings) -> None:
        import ray

        found: _Folders = ray.get(folders)  # type: ignore[call-overload]
        with tempfile.TemporaryDirectory(prefix="cxrlib-") as place:
            for name, contents in found.items():
                (Path(place) / name).mkdir()
                for file, data in contents.items():
                    (Path(place) / name / file).write_bytes(data)
            self._reader = FileReader(replace(settings, run=Path(place) / settings.run.name))

    def __call__(self, row: dict[str, str]) -> dict[str, object]:
        return vars(self._reader.read(row["path"]))

"""Archives: any number of files, read on all cores into one table.

Results are kept in a SQLite file beside the table as they come, a row a file, and the table is
written from it at the end. The same command resumes after an interruption, and no file is read or
listed twice. Memory does not grow with the number of files.
"""

import csv
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from cxrlib import tables, urls
from cxrlib.inference import ensemble
from cxrlib.inference.file_reader import Result, Settings, read_in_processes
from cxrlib.runs import ensembles
from cxrlib.runs.folder import Run

FORMATS = (".parquet", ".csv")
_MANIFESTS = (".csv", ".txt")
_COLUMNS = ("file", "path")  # of a manifest in CSV, the first that it has
_COMMIT_FILES = 100
_WRITTEN_ROWS = 10_000  # at a time, from the file of results to the table
_SCHEMA = """
create table if not exists about (name text primary key, value text not null);
create table if not exists results (
    file text primary key, probability real, verdict text not null, reason text not null,
    error text not null, heatmap text not null
) without rowid;
"""


# Reads files, each once, and gives their results in any order.
Engine = Callable[[Iterator[str], Settings], Iterator[Result]]


class ArchiveError(ValueError):
    """An archive cannot be read as asked; says what to do."""


@dataclass(frozen=True)
class Summary:
    """What reading an archive came to.

    Attributes:
        files: rows of the table.
        errors: files among them that could not be read.
        refused: images among them that should not be read.
    """

    files: int
    errors: int
    refused: int


def read(
    sources: Sequence[str],
    out: Path,
    run: Run,
    *,
    insist: bool = False,
    heatmaps: Path | None = None,
    engine: Engine | None = None,
) -> Summary:
    """Read all files of folders and manifests into a table.

    The table has a row a file, sorted: ``file``, ``probability``, ``verdict``, ``reason`` of what
    was refused, ``error`` of what could not be read, ``heatmap`` (path below the folder of
    heatmaps), ``operating_point``, ``threshold``, ``run``, ``run_version``.

    Args:
        sources: folders; manifests, which are a text file of a path a line or a CSV with a column
            ``file`` or ``path``, relative to the manifest; images; or URLs of folders or images. A
            manifest may list URLs too.
        out: the table, ``.parquet`` or ``.csv``.
        run: a finished run.
        insist: read images too that do not look like frontal chest radiographs.
        heatmaps: folder for a small heatmap, PNG, of each image that is read.
        engine: what reads; by default a process for each core of this machine.

    Raises:
        ArchiveError: the table is there already or was started differently, or a source is missing
            or has no files.
        RunError: files of the run are missing or damaged.
    """
    if out.suffix not in FORMATS:
        raise ArchiveError(f"{out} must end in {' or '.join(FORMATS)}.")
    if out.exists():
        raise ArchiveError(f"{out} already exists. Delete it, or choose another name.")
    count = sum(1 for _ in _listed(sources))
    if not count:
        raise ArchiveError(f"There are no files in {' and '.join(map(urls.public, sources))}.")
    point = ensemble.load(run).point
    constants = {
        "operating_point": point.name,
        "threshold": point.threshold,
        "run": run.name,
        "run_version": version(run),
    }
    asked = {
        "sources": "\n".join(sorted(map(urls.absolute, sources))),
        "insist": str(insist),
        "heatmaps": str(heatmaps and heatmaps.absolute()),
    }
    begun = out.with_name(f"{out.name}.partial")
    with closing(sqlite3.connect(begun)) as kept:
        kept.executescript(_SCHEMA)
        _check_begun(kept, asked | {name: str(value) for name, value in constants.items()}, begun)
        _read_rest(
            kept,
            sources,
            count,
            Settings(run.folder, insist, heatmaps is not None),
            heatmaps,
            engine or _on_all_cores,
        )
        _write(kept, out, constants)
        total, errors, refused = kept.execute(
            "select count(*), sum(error != ''), sum(verdict = 'refused') from results"
        ).fetchone()
    begun.unlink()
    return Summary(total, errors, refused)


def version(run: Run) -> str:
    """A digest of all that a finished run reads with: networks, calibration, thresholds."""
    key = hashlib.blake2b(json.dumps(run.metrics).encode(), digest_size=8)
    for network in ensembles.networks(run):
        key.update(json.dumps(network.metrics).encode())
        key.update(network.onnx_file.read_bytes())
    return key.hexdigest()


def _on_all_cores(paths: Iterator[str], settings: Settings) -> Iterator[Result]:
    return read_in_processes(paths, settings, os.cpu_count() or 1)


def _read_rest(
    kept: sqlite3.Connection,
    sources: Sequence[str],
    count: int,
    settings: Settings,
    heatmaps: Path | None,
    engine: Engine,
) -> None:
    """Read what has no result yet."""
    (done,) = kept.execute("select count(*) from results").fetchone()
    with tqdm(total=count, initial=done, unit=" files") as bar:
        try:
            for result in engine(_unread(kept, sources), settings):
                _keep(kept, result, heatmaps)
                bar.update()
                if bar.n % _COMMIT_FILES == 0:
                    kept.commit()
        finally:
            kept.commit()


def _listed(sources: Sequence[str]) -> Iterator[str]:
    """The files, as absolute paths and URLs; hidden ones in folders are passed over.

    Raises:
        ArchiveError: a source is missing, or a manifest has no column of files.
        UrlError: there is nothing at a URL, or it cannot be reached.
    """
    for place in sources:
        source = Path(place)
        if urls.is_url(place):
            yield from (url for url, _ in urls.walk(place))
        elif source.is_dir():
            for parent, _, names in os.walk(source.absolute()):
                yield from (os.path.join(parent, name) for name in names if name[0] != ".")  # noqa: PTH118  # a third of the time
        elif not source.is_file():
            raise ArchiveError(f"There is no file or folder {source}.")
        elif source.suffix.lower() in _MANIFESTS:
            folder = source.absolute().parent
            yield from (
                line if urls.is_url(line) else str(folder / line) for line in _lines(source)
            )
        else:
            yield str(source.absolute())


def _lines(manifest: Path) -> Iterator[str]:
    with manifest.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as opened:
        if manifest.suffix.lower() == ".txt":
            yield from filter(None, map(str.strip, opened))
            return
        table = csv.DictReader(opened)
        column = next((name for name in _COLUMNS if name in (table.fieldnames or ())), None)
        if column is None:
            raise ArchiveError(
                f"The manifest {manifest} has no column {' or '.join(_COLUMNS)}: name a column "
                "so, or give a text file with one path per line."
            )
        yield from (row[column] for row in table if row[column])


def _unread(kept: sqlite3.Connection, sources: Sequence[str]) -> Iterator[str]:
    """The files without a result, each once."""
    kept.execute("create temp table handed_out (file text primary key) without rowid")
    kept.execute("insert into handed_out select file from results")
    for path in _listed(sources):
        if kept.execute("insert or ignore into handed_out values (?)", [_text(path)]).rowcount:
            yield path


def _text(path: str) -> str:
    """A path as text; a name that is not UTF-8 with its bytes escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _keep(kept: sqlite3.Connection, result: Result, heatmaps: Path | None) -> None:
    name = ""
    if heatmaps and result.heatmap:
        # By digest, in 256 folders: names repeat, and a folder of a million files is slow.
        digest = hashlib.blake2b(os.fsencode(result.file), digest_size=8).hexdigest()
        name = f"{digest[:2]}/{digest}.png"
        (heatmaps / name).parent.mkdir(parents=True, exist_ok=True)
        (heatmaps / name).write_bytes(result.heatmap)
    kept.execute(
        "insert into results values (?, ?, ?, ?, ?, ?)",
        [
            _text(result.file),
            result.probability,
            result.verdict,
            result.reason,
            result.error,
            name,
        ],
    )


def _check_begun(kept: sqlite3.Connection, asked: Mapping[str, str], file: Path) -> None:
    """That what is kept was begun with the same files, run and options."""
    begun = dict(kept.execute("select name, value from about"))
    if begun and begun != asked:
        others = ", ".join(name for name in asked if begun.get(name) != asked[name])
        raise ArchiveError(
            f"{file} was started differently ({others.replace('_', ' ')}). Resume with the same "
            "command, delete the file, or choose another name for the table."
        )
    kept.executemany("insert or ignore into about values (?, ?)", asked.items())
    kept.commit()


def _write(kept: sqlite3.Connection, out: Path, constants: Mapping[str, object]) -> None:
    """The table, written beside its place and renamed, some thousand rows at a time."""
    partial = out.with_name(f"{out.name}.writing")
    rows = pd.read_sql_query(
        "select * from results order by file", kept, chunksize=_WRITTEN_ROWS,
        dtype={"probability": "float64"},
    )  # fmt: skip
    chunks = (chunk.assign(**constants) for chunk in rows)
    (_write_csv if out.suffix == ".csv" else _write_parquet)(chunks, partial)
    partial.replace(out)


def _write_csv(chunks: Iterator[pd.DataFrame], file: Path) -> None:
    with file.open("wb") as opened:
        for number, chunk in enumerate(chunks):
            head, _, rows = tables.to_csv(chunk).partition(b"\n")
            opened.write(rows if number else head + b"\n" + rows)


def _write_parquet(chunks: Iterator[pd.DataFrame], file: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    writer = None
    try:
        for chunk in chunks:
            rows = pa.Table.from_pandas(chunk, preserve_index=False)
            writer = writer or parquet.ParquetWriter(file, rows.schema)
            writer.write_table(rows)
    finally:
        if writer:
            writer.close()

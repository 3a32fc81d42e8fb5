"""The networks that this server has loaded: each once, for everybody."""

import threading
import weakref
from typing import TYPE_CHECKING

from cxrlib import runs
from cxrlib.runs import ensembles

if TYPE_CHECKING:
    from cxrlib.inference.ensemble import Reader

# Bytes of networks' files, and in memory about twice as much: a small server has 690 MB in all.
_KEPT = 100 * 2**20
_Key = tuple[str, tuple[float, ...]]
# With the size of their files; the one that was asked for last comes last.
_loaded: "dict[_Key, tuple[Reader, int]]" = {}
# Of each that is in use, to be had without a look at its files.
_keys: "weakref.WeakKeyDictionary[Reader, _Key]" = weakref.WeakKeyDictionary()
_loading = threading.Lock()


def classifier_of(run: runs.Run) -> "Reader":
    """The classifier of a finished run; loaded again where its networks changed.

    Raises:
        RunError: the run's files, or those of an ensemble's member, are missing or damaged.
    """
    key = (str(run.folder), modified(run))
    with _loading:
        if key not in _loaded:
            # With what it imports half a second, which the empty first page does not wait for.
            from cxrlib.inference.ensemble import load

            sizes = [member.onnx_file.stat().st_size for member in ensembles.networks(run)]
            _loaded[key] = load(run), sum(sizes)
            _keys[_loaded[key][0]] = key
        _loaded[key] = _loaded.pop(key)
        while len(_loaded) > 1 and sum(size for _, size in _loaded.values()) > _KEPT:
            del _loaded[next(iter(_loaded))]
        return _loaded[key][0]


def key_of(reader: "Reader") -> tuple[str, tuple[float, ...]]:
    """A loaded run's folder, and when its networks were written: another may take its place."""
    return _keys[reader]


def modified(run: runs.Run) -> tuple[float, ...]:
    """When the network that a finished run reads with was written, or each of an ensemble's.

    Raises:
        RunError: there is none.
    """
    return tuple(member.onnx_file.stat().st_mtime for member in ensembles.networks(run))

"""Reading and writing the files of a run's folder, each checked and each whole.

What is read is checked, and everything wrong is a `RunError`; what is written is written beside its
place and renamed.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrlib.runs import contents

if TYPE_CHECKING:
    import pandas as pd

PARTIAL = "partial-"  # what files are called while they are written
_LARGEST = 2**26  # bytes of a file that is read whole; of 200,000 images there are 20 MB


class RunError(ValueError):
    """A run is missing, unfinished or damaged; says what to do."""


@dataclass(frozen=True)
class Stored:
    """A folder whose files are read and written whole."""

    folder: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    def _file(self, name: str) -> Path:
        return self.folder / name

    def _write(self, name: str, text: str) -> None:
        self._replace(name, lambda partial: partial.write_text(text, encoding="utf-8"))

    def _replace(self, name: str, save: Callable[[Path], object]) -> None:
        partial = self.folder / f"{PARTIAL}{os.getpid()}-{name}"
        try:
            save(partial)
            partial.replace(self._file(name))
        finally:
            # On a full disk this is what makes room to say so.
            partial.unlink(missing_ok=True)

    def _json(self, name: str, check: Callable[[dict[str, Any]], None] | None = None) -> dict:
        def read(file: Path) -> dict[str, Any]:
            found = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(found, dict):
                raise ValueError("it is no table of names and values")
            if check:
                check(found)
            return found

        return self._read(name, read)

    def _csv(
        self, name: str, check: Callable[["pd.DataFrame"], None], **options: Any
    ) -> "pd.DataFrame":
        import pandas as pd  # the app's first page, which lists runs, does not wait for it

        def read(file: Path) -> pd.DataFrame:
            table = pd.read_csv(file, **options)
            check(table)
            return table

        return self._read(name, read)

    def _read(self, name: str, reader: Callable[[Path], Any]) -> Any:
        file = self._file(name)
        try:
            if file.stat().st_size > _LARGEST:
                raise ValueError(f"it is larger than {_LARGEST >> 20} MB")
            return reader(file)
        except FileNotFoundError as error:
            raise RunError(
                f"The run {self.name} has no {name}: it was not copied whole, or did not finish. "
                "Copy the folder again or retrain."
            ) from error
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(
                f"The file {name} of the run {self.name} is damaged ({error}). Copy the folder "
                "again or retrain."
            ) from error

    def _read_predictions(
        self, name: str, check: Callable[["pd.DataFrame"], None]
    ) -> "pd.DataFrame":
        texts = dict.fromkeys(contents.PREDICTION_TEXTS, str)
        return self._csv(name, check, keep_default_na=False, dtype=texts)

"""The command line, `python -m cxrlib COMMAND`; without one it lists them."""

import io
import os
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from cxrlib import arguments, cluster, runs, urls
from cxrlib.commands import COMMANDS
from cxrlib.data import dataset
from cxrlib.images.radiograph import RadiographError
from cxrlib.inference.archive import ArchiveError
from cxrlib.runs import config, sweeps
from cxrlib.training import devices

# TensorFlow reports every CPU feature and missing GPU library at each start; its errors stay.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def main(given: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may be in no alphabet
    options = arguments.parser().parse_args(given)
    devices.keep_memory()
    try:
        return COMMANDS[options.command](options)
    except ValidationError as error:
        for field, sentence in config.problems(error).items():
            option = f"--{field.replace('_', '-')}: " if field else ""
            print(f"{option}{sentence}", file=sys.stderr)
    except (
        dataset.DatasetError,
        runs.RunError,
        RadiographError,
        ArchiveError,
        cluster.ClusterError,
        sweeps.SweepError,
        urls.UrlError,
    ) as error:
        print(error, file=sys.stderr)
    except OSError as error:
        from cxrlib.training.failures import disk_problem

        if not (sentence := disk_problem(error)):
            raise
        print(sentence, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())

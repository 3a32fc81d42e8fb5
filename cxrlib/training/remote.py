"""What a cluster's node runs for a job: trains the run that lies on a shelf.

``python -m cxrlib.training.remote SHELF``, submitted by `cluster_jobs`.
"""

import logging
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from cxrlib.cluster import NAMESPACE
from cxrlib.runs.folder import StoppedError
from cxrlib.training import devices, jobs
from cxrlib.training.failures import Reported
from cxrlib.training.shelf import Carrier, Order, data_of, unpack


def main(name: str) -> None:
    """Train the run on the shelf of that name; what comes of it is laid there."""
    import ray

    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    devices.keep_memory()
    ray.init(namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
    shelf: Any = ray.get_actor(name)
    wanted: Order = ray.get(shelf.order.remote())
    with tempfile.TemporaryDirectory(prefix="cxrlib-") as place:
        run, config = unpack(wanted, shelf, Path(place))
        # Who asked reads in the folder how it ended.
        with Carrier(run, shelf), suppress(StoppedError), Reported(run):
            run.clear_marks()
            jobs.train_now(run, config, data_of(wanted), gpu=wanted.gpu)


if __name__ == "__main__":
    main(sys.argv[1])
    # Everything is on the shelf, and the end of an interpreter with TensorFlow takes seconds.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)

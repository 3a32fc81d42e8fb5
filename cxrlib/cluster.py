"""The connection to a Ray cluster. Each obstacle is one sentence that names the remedy.

Ray is an optional extra and takes a second to import: it is loaded when an address is given.
"""

import logging
import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path

import cxrlib
from cxrlib import urls

_CONNECT_SECONDS = 5
_CHECK_SECONDS = 60
NAMESPACE = "cxrlib"
_PLACE = re.compile(r"(?P<host>[^/:]+|\[[^\]]+\]):(?P<port>\d+)")
_SAME = f"Install the same version of cxrlib there ({cxrlib.__version__}), and restart Ray."


class ClusterError(ValueError):
    """A cluster cannot be reached or used; says what to do."""


def connect(address: str) -> None:
    """Connect this process to a cluster, where it is not yet.

    Args:
        address: ``HOST:PORT`` as ``ray start --head`` prints it. This machine has to belong to the
            cluster.

    Raises:
        ClusterError: Ray is not installed, nothing answers there, or it is of another version.
    """
    # What listens there may be no cluster: ten seconds are waited then, not ten minutes. Ray reads
    # this when it is imported.
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
    os.environ.setdefault("RAY_gcs_rpc_server_connect_timeout_s", "2")
    os.environ.setdefault("RAY_py_gcs_connect_timeout_s", str(_CONNECT_SECONDS))
    try:
        import ray
    except ImportError as error:
        raise ClusterError(
            "Ray is not installed here: pip install -r requirements-cluster.txt"
        ) from error
    if ray.is_initialized():
        return
    _check_reachable(address)
    try:
        ray.init(address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
    except (RuntimeError, ConnectionError, TimeoutError, ValueError) as error:
        raise ClusterError(_problem(address, str(error))) from error


def _check_reachable(address: str) -> None:
    place = _PLACE.fullmatch(address)
    if place is None:
        raise ClusterError(
            f"{address} is no address of a cluster: name it as `ray start --head` prints it, such "
            "as 192.168.1.5:6379."
        )
    try:
        socket.create_connection(
            (place["host"].strip("[]"), int(place["port"])), _CONNECT_SECONDS
        ).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"No cluster answers at {address}. Check the address, or start one there: "
            "ray start --head"
        ) from error


def _problem(address: str, reason: str) -> str:
    import ray

    if "Version mismatch" in reason:
        versions = re.findall(r"(Ray|Python): ([\w.+-]+)", reason)
        theirs, ours = (
            " and ".join(" ".join(pair) for pair in found)
            for found in (versions[: len(versions) // 2], versions[len(versions) // 2 :])
        )
        return (
            f"The cluster at {address} runs {theirs}, this machine {ours}: install the same "
            "versions on both."
        )
    return (
        f"What answers at {address} is no cluster of Ray {ray.__version__} that this machine "
        f"belongs to. Run here: ray start --address={address}"
    )


def check_nodes(places: Sequence[str] = ()) -> None:
    """Check that every node with cores has this version of cxrlib and sees what it is to read.

    Args:
        places: paths and URLs.

    Raises:
        ClusterError: a node has not, or does not; or there is no node with cores.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as OnNode

    answers = {
        node["NodeManagerAddress"]: ray.remote(_look)
        .options(num_cpus=0, scheduling_strategy=OnNode(node["NodeID"], soft=False))
        .remote(places)
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU")
    }
    if not answers:
        raise ClusterError(
            "No machine of the cluster has cores to work with. Add one, there: ray start --address "
            "HOST:PORT"
        )
    for name, answer in answers.items():
        try:
            version, problems = ray.get(answer, timeout=_CHECK_SECONDS)
        except ray.exceptions.RayError as error:
            raise ClusterError(f"The node {name} cannot run cxrlib. {_SAME}") from error
        if version != cxrlib.__version__:
            raise ClusterError(f"The node {name} has cxrlib {version}. {_SAME}")
        if problems:
            raise ClusterError(f"The node {name} {problems[0]}")


def _look(places: Sequence[str]) -> tuple[str, list[str]]:
    """The version of cxrlib here, and what is wrong with places, as predicates of sentences."""
    return cxrlib.__version__, list(filter(None, map(_problem_of, places)))


def _problem_of(place: str) -> str:
    if urls.is_url(place):
        problem = urls.problem(place)
        return f"cannot read the data: {problem}" if problem else ""
    if Path(place).exists():
        return ""
    return (
        f"has no {place}. Name a folder that every node sees under the same path, such as one on a "
        "shared disk, or a URL."
    )

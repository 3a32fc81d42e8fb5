"""Commands that train runs and write what they read with."""

import argparse
import json
import sys
from contextlib import suppress
from pathlib import Path

from cxrlib import cluster, runs, urls
from cxrlib.commands.data import folder_of, place_of
from cxrlib.data import dataset
from cxrlib.runs import config, ensembles, sweeps
from cxrlib.runs.folder import StoppedError
from cxrlib.runs.legacy import RENAMED
from cxrlib.training import devices


def train(options: argparse.Namespace) -> int:
    from cxrlib.training import jobs

    given = {
        name: value
        for name, value in vars(options).items()
        if name in config.TrainingConfig.model_fields or name in RENAMED
    }
    on = [devices.on_cluster(options.cluster)] if options.cluster else None
    on = [options.device] if options.device else on
    if options.resume:
        if given or options.config:
            print(
                "--resume keeps the run's configuration: of the options only --data, "
                "--meaning, --models, --device and --cluster go with it.",
                file=sys.stderr,
            )
            return 2
        run = runs.find_unfinished(options.resume, models=options.models)
        task = run.task
        if options.data or options.meaning:
            options.data = options.data or task["data"]
            task["data"] = _place_of_data(options, devices.cluster_address(on or task["devices"]))
        if on and on != task["devices"]:
            if jobs.has_job(run):
                try:
                    jobs.cancel_job(run)
                except runs.RunError as error:
                    print(error, file=sys.stderr)  # that cluster may be gone for good
            task |= {"devices": on, "job": ""}
        run.save_task(task)
        return _work(run)
    if options.config:
        try:
            recorded = json.loads(options.config.read_text(encoding="utf-8"))
            if not isinstance(recorded, dict):
                raise ValueError("it holds no settings")
            given = config.repeat_settings(recorded, options.models) | given
        except (OSError, ValueError) as error:
            print(f"{options.config} is not a run's config.json: {error}", file=sys.stderr)
            return 2
    network = given.pop("network", config.TrainingConfig.model_fields["network"].default)
    wanted = config.TrainingConfig(**config.for_network(network, **given))
    data = _place_of_data(options, options.cluster)
    run = jobs.create(wanted, data, on=on, models=options.models)
    keeps_reason = False
    try:
        return _work(run)
    except OSError:
        keeps_reason = True  # and is resumed when the disk has room
        raise
    finally:
        if not (run.finished or run.has_checkpoint or keeps_reason or jobs.has_job(run)):
            runs.delete(run)  # it never got to learn anything


def _place_of_data(options: argparse.Namespace, cluster_address: str | None) -> str:
    """The data set to train on, which this machine need not see where a cluster does."""
    place = urls.absolute(place_of(options))
    if urls.is_url(place) or (cluster_address and not Path(place).is_dir()):
        return place
    return str(dataset.find_root(Path(place)))


def _work(run: runs.Run) -> int:
    from cxrlib.training import jobs

    try:
        jobs.work(run)
    except StoppedError:
        command = f"python -m cxrlib train --resume {run.name}"
        how = f" Resume with: {command}" if run.has_checkpoint else ""
        print(f"Stopped.{how}", file=sys.stderr)
        return 1
    except ValueError as error:
        # cxrlib's errors say what to do; of others, the way to them is needed.
        if not type(error).__module__.startswith("cxrlib."):
            raise
        print(error, file=sys.stderr)
        return 2
    print(f"\nThe run is in {run.folder}\n\n{run.card}")
    return 0


def delete(options: argparse.Namespace) -> int:
    from cxrlib.training import jobs

    run = runs.Run((options.models / runs.check_name(options.run)).resolve())
    if not run.exists:
        raise runs.RunError(f"There is no run called {options.run} in {options.models}.")
    jobs.delete(run, leave_job=options.leave_job)
    print(f"The run {run.name} is deleted.")
    return 0


def sweep(options: argparse.Namespace) -> int:
    from cxrlib.training import sweep

    asked = sweeps.read(options.file)
    options.data = options.data or asked.data
    options.cluster = options.cluster or asked.cluster
    data = _place_of_data(options, options.cluster)
    asked = asked.model_copy(update={"data": data, "cluster": options.cluster})
    known = sweeps.trials(asked, options.models)
    with sweep.held(asked, options.models), suppress(StoppedError, KeyboardInterrupt):
        if options.cluster:
            cluster.connect(options.cluster)
            from cxrlib.training.cluster_sweep import train_there

            train_there(asked, known, data, options.models, options.cluster)
        else:
            sweep.train_here(known, data, options.models)
    print(sweep.report(asked, known))
    if all(trial.over for trial in known):
        return 0
    print("Not all trials are done: run the same command again to resume.", file=sys.stderr)
    return 1


def train_lungs(options: argparse.Namespace) -> int:
    from cxrlib.training import lungs

    run = lungs.train(
        folder_of(options),
        options.lung_masks,
        name=runs.check_name(options.name),
        epochs=options.epochs,
        seed=options.seed,
        models=options.models,
    )
    print(f"\nThe run is in {run.folder}\n\n{run.card}")
    return 0


def export_run(options: argparse.Namespace) -> int:
    run = runs.find(options.run)
    if options.out and options.out.suffix not in (".keras", ".h5"):
        print(f"{options.out} must end in .keras or .h5.", file=sys.stderr)
        return 2
    if members := ensembles.member_names(run):
        raise runs.RunError(
            f"{run.name} is the mean of several networks: export {' and '.join(members)}, each for "
            "itself."
        )
    if options.out is None:
        from cxrlib.training.export import export

        export(run)
        print(f"{run.onnx_file} is what the run reads with.")
        return 0
    from cxrlib.networks.loading import load_network

    load_network(run).save(options.out)  # in the format of the file's ending
    return 0

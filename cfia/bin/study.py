"""A study: its plan, its folds, its list of missing runs, its tables."""

from __future__ import annotations

import argparse
import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from cfia.bin import train
from cfia.bin.names import OPTIONS
from cfia.cli import parser, run
from cfia.study.study_plan import Plan, Setting, describe
from cfia.study.tasks import (
    WORTH,
    Checker,
    looks_done,
    n_jobs,
    outlook,
    tasks,
    usual_seconds,
    write_list,
)
from cfia.training.training import Job

EXAMPLE = "cfia study plan --study paper ...   (run.sh --study paper gives the rest)"
ALSO = ("ngpu", "num_threads", "force")

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Do one step of a study; ser.sh calls them in order.

    plan: say what there is to do; print the dumps that it needs, as shell arrays.
    folds: write the fold lists of its schemes.
    tasks: write the list of missing runs, of one for each job where none is there to tell how long
    they take; print the number of jobs for it.
    tables: write the tables and print them.
    """
    args = arguments().parse_args(argv)
    steps = {"plan": _plan, "folds": _folds, "tasks": _tasks, "tables": _tables}
    steps[args.step](make_plan(args), args)


def arguments() -> argparse.ArgumentParser:
    """The program's options."""
    p = parser("study", __doc__ or "", EXAMPLE)
    p.add_argument("step", choices=("plan", "folds", "tasks", "tables"))
    for name in (*OPTIONS, *ALSO, "seeds"):
        p.add_argument(f"--{name}", default="", help=f"the value of run.sh's --{name}")
    p.add_argument("--study", required=True, help="a file of conf/study, without its ending")
    p.add_argument("--study_seeds", default="1", help="seeds of rows that name none")
    for name in ("recipe", "root", "caller", "datadir", "dumpdir", "expdir"):
        p.add_argument(f"--{name}", type=Path, required=True, help="a directory")
    p.add_argument("--nj", type=int, default=1, help="jobs at a time")
    return p


def make_plan(args: argparse.Namespace) -> Plan:
    """The plan that the options ask for."""
    setting = Setting(
        options={name: getattr(args, name) for name in (*OPTIONS, *ALSO)},
        recipe=args.recipe,
        root=args.root,
        caller=args.caller,
        datadir=args.datadir,
        dumpdir=args.dumpdir,
        expdir=args.expdir,
        seeds=tuple(map(int, (args.seeds or args.study_seeds).split())),
        given=bool(args.seeds),
    )
    return Plan(setting.study(args.study), setting)


def _plan(plan: Plan, args: argparse.Namespace) -> None:
    done = [task.directory for task in tasks(plan) if looks_done(task.directory)]
    for line in describe(plan, done):
        log.info("%s", line)
    arrays = {
        "dump_modalities": [dump.modality for dump in plan.dumps],
        "dump_upstreams": [dump.upstream for dump in plan.dumps],
        "dump_models": [dump.model for dump in plan.dumps],
        "dump_layers": [dump.layer for dump in plan.dumps],
        "dump_dirs": [str(dump.directory) for dump in plan.dumps],
    }
    for name, values in arrays.items():
        print(f"{name}=({shlex.join(values)})")
    print(f"study_dir={shlex.quote(str(plan.directory))}")


def _folds(plan: Plan, args: argparse.Namespace) -> None:
    from cfia.kaldi.data_dir import DataDir
    from cfia.training.folds import ImpossibleError, MissingClassError, make_scheme

    force = args.force == "true"
    for (cv, validation), (data, directory) in plan.schemes.items():
        try:
            make_scheme(DataDir.load(data, needed=()), directory, cv, validation, force=force)
        except (ImpossibleError, MissingClassError) as error:
            log.warning("no folds by %s, validation %s: %s", cv, validation, error)


def _tasks(plan: Plan, args: argparse.Namespace) -> None:
    checker = Checker(_job, force=args.force == "true")
    found = {task: checker.missing(task) for task in tasks(plan)}
    missing = [task for task, is_missing in found.items() if is_missing]
    done = [task for task, is_missing in found.items() if not is_missing]
    seconds = usual_seconds(done)
    log.info("%s", outlook(len(missing), len(done), args.nj, seconds))
    if seconds is None:
        missing = missing[: args.nj]
    write_list(plan.directory / "tasks", missing)
    print(n_jobs(len(missing), args.nj, seconds or WORTH))


def _job(arguments: Sequence[str]) -> Job:
    return train.make_job(train.arguments().parse_args(arguments))


def _tables(plan: Plan, args: argparse.Namespace) -> None:
    from cfia.study.write import write_tables

    print(write_tables(plan), end="")


if __name__ == "__main__":
    run(main)

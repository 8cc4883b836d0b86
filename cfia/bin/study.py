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
from cfia.study.plan import Plan, Setting, describe
from cfia.study.tasks import WORTH, Checker, expect, looks_done, n_jobs, tasks, write_list
from cfia.training.job import Job

EXAMPLE = "cfia study plan --study paper ...   (run.sh --study paper gives the rest)"
ALSO = ("ngpu", "num_threads", "force")

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Do one step of a study; ser.sh calls them in order.

    plan: say what there is to do; print the dumps that it needs, as shell arrays.
    folds: write the fold lists of its schemes.
    tasks: write the list of missing runs; print the number of jobs for it.
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
    p.add_argument("--first", type=int, default=0, help="list so many runs and no more")
    p.add_argument("--took", type=int, default=0, help="the seconds that the first ones took")
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
    everything = tasks(plan)
    missing = [task for task in everything if checker.missing(task)]
    if args.first:
        log.info("%d runs are to be made, %d are there", len(missing),
                 len(everything) - len(missing))  # fmt: skip
    elif args.took and missing:
        log.info("%s", expect(args.nj, args.took, len(missing)))
    missing = missing[: args.first or None]
    write_list(plan.directory / "tasks", missing)
    print(n_jobs(len(missing), args.nj, args.took or WORTH))


def _job(arguments: list[str]) -> Job:
    return train.make_job(train.arguments().parse_args(arguments))


def _tables(plan: Plan, args: argparse.Namespace) -> None:
    from cfia.study.write import write_tables

    print(write_tables(plan), end="")


if __name__ == "__main__":
    run(main)

"""Check the options of run.sh, name its directories, list the work of its stages."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cfia import lock, options
from cfia.cli import parser, run
from cfia.directories import reading
from cfia.errors import UserError
from cfia.study.request import legal_values, read_request

if TYPE_CHECKING:
    from cfia.study.study_plan import StudyPlan

EXAMPLE = "corpus_dir=none cv=speaker cfia plan describe   (in the recipe's directory)"
STEPS = (
    "help", "check", "names", "describe", "data", "folds", "audio", "text", "train", "posteriors",
    "tables", "final",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Do one step for ser.sh, which gives the options by its environment.

    help: print the usage of run.sh. check: check all options; the standard library is enough.
    names: print the names of directories and lists, as assignments of the shell, after a line
    `# names`: whatever Python itself prints as it starts stands before it.
    describe: say what would be trained, what not, and why.
    data, folds, audio, text: do stages 1 to 4 of --corpora, which link to what there is.
    train: write the experiments and the list of trainings to be done; print the number of jobs.
    final: the same for the final networks, which stage 9 packs.
    posteriors: the same for posteriors. tables: write and print the tables of a study.
    """
    p = parser("plan", __doc__, EXAMPLE)
    p.add_argument("step", choices=STEPS)
    p.add_argument("--recipe", type=Path, default=Path.cwd(), help="the recipe's directory [.]")
    p.add_argument("--caller", type=Path, default=Path.cwd(), help="what paths start from [.]")
    args = p.parse_args(argv)
    if args.step == "help":
        values = {o.name: os.environ.get(o.name, o.default) for o in options.EVERY}
        dumps = args.recipe / values["dumpdir"] / values["corpus"]
        print(options.usage(values, legal_values(dumps)))
        return
    try:
        request = read_request(os.environ, args.recipe.absolute(), args.caller)
        if args.step == "check":
            return
        from cfia.study.study_plan import StudyPlan

        plan = StudyPlan(request)
    except UserError as error:  # here a mistake is one of usage
        print(f"run.sh: {error}", file=sys.stderr)
        sys.exit(2)
    _plan(args.step, plan)


def _plan(step: str, plan: StudyPlan) -> None:
    from cfia.study import tasks

    if step == "names":
        print("\n# names")
        for name, value in tasks.variables(plan).items():
            print(f"{name}={value if isinstance(value, str) else f'({shlex.join(value)})'}")
    elif step == "describe":
        tasks.describe(plan)
    elif step in ("data", "folds", "audio", "text"):
        from cfia.study import cross

        if step == "data":
            cross.make_data(plan)
        elif step == "folds":
            cross.make_lists(plan)
        else:
            cross.link_features(plan, step)
    elif step == "tables":
        if plan.study.name:
            from cfia.experiment import results_held
            from cfia.study.write import write_tables

            with results_held(plan.request.expdir):
                print(write_tables(plan), end="")
    else:
        with lock.making(plan.directory), reading(*plan.read_by_trainings()):
            print(_list(step, plan))


def _list(step: str, plan: StudyPlan) -> int:
    from cfia.study import tasks
    from cfia.study.packs import list_final

    if step == "train":
        tasks.write_experiments(plan)
        return tasks.list_trainings(plan)
    return tasks.list_posteriors(plan) if step == "posteriors" else list_final(plan)


if __name__ == "__main__":
    run(main)

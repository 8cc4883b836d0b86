"""What ser.sh is told of a plan: variables of the shell, and lines for the screen."""

from __future__ import annotations

import logging
import shlex

from cfia.study.study_plan import StudyPlan, describe_plan
from cfia.study.tasks import trained

log = logging.getLogger(__name__)


def variables(plan: StudyPlan) -> dict[str, str | list[str]]:
    """The variables of ser.sh that a plan decides, as words of the shell or lists of words."""
    request, names = plan.request, plan.request.names()
    words = {
        "nj": request.nj,
        "corpus_dir": request.options["corpus_dir"],
        "text_file": request.options["text_file"],
        "data": request.datadir / names.data,
        "label_suffix": names.label_suffix,
        "needed_scheme": "" if plan.study.name else plan.schemes[0],
        "work": plan.directory,
    }
    dumps = plan.dumps
    return {
        **{name: shlex.quote(str(value)) for name, value in words.items()},
        "schemes": plan.schemes,
        "dump_modalities": [dump.modality for dump in dumps],
        "dump_upstreams": [dump.upstream for dump in dumps],
        "dump_models": [dump.model for dump in dumps],
        "dump_layers": [dump.layer for dump in dumps],
        "dump_dirs": [str(dump.directory) for dump in dumps],
    }


def describe(plan: StudyPlan) -> None:
    """Say what a plan trains, what of it is there, and what is not run and why."""
    for line in describe_plan(plan, [training.directory for training in trained(plan)]):
        log.info("%s", line)

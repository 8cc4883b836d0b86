"""The step `final` of `cfia plan`: which final networks stage 9 trains before it packs them."""

from __future__ import annotations

import logging

from cfia import directories, experiment
from cfia.inference.packable import check_packable
from cfia.options import PACK_ALL
from cfia.study.study_plan import StudyPlan
from cfia.study.tasks import take_run_options
from cfia.training.inputs import check_unchanged
from cfia.training.task_list import Task, write_list
from cfia.training.training import Training, is_trained

log = logging.getLogger(__name__)


def list_final(plan: StudyPlan) -> int:
    """Write the list of final networks to be trained, for `--pack all`; return how many there are.

    Those that the request forces are removed, once all that can be checked has been checked.

    Raises:
        UserError: an experiment cannot be packed, or what it was made from has changed; or a final
            network was made differently, and the request does not force it.
    """
    finals = []
    for planned in plan.experiments:
        take_run_options(planned)
        recorded = experiment.read(planned.directory)
        seed = recorded.own_seed(plan.request.first_seed)
        check_packable(recorded, seed)
        check_unchanged(recorded, archives=True)
        finals.append(Training(recorded, None, seed))
    if plan.request.options["pack"] != PACK_ALL:
        finals = []
    for final in finals:
        final.config  # noqa: B018 - some schedules have none
        if plan.request.force and final.directory in final.experiment.final_trainings():
            directories.remove(final.directory)
    missing = [final for final in finals if not is_trained(final)]
    for final in missing:
        log.info("the final network is to be trained; its log is %s/train.log", final.directory)
    tasks = [Task(t.experiment.directory, t.fold, t.seed) for t in missing]
    write_list(plan.directory / "final.list", tasks)
    return len(tasks)

"""Whether an experiment can be packed: asked before stage 9 trains anything, without torch."""

from __future__ import annotations

from cfia.errors import UserError
from cfia.experiment import SCORES, Experiment
from cfia.inference import encoders
from cfia.training.training import is_trained, not_trained, of_folds


def check_packable(experiment: Experiment, seed: int) -> None:
    """Refuse an experiment that cannot be packed.

    Raises:
        UserError: its networks are another's, which it tests with other text; features were
            imported, or their encoder's model is gone; a fold is not trained; or stage 7 has not
            scored it.
    """
    if experiment.trained_in is not None:
        raise UserError(
            f"{experiment.directory} tests the networks of {experiment.trained_in} with other "
            "text; pack that experiment"
        )
    for dump in experiment.dumps().values():
        encoders.settings(dump).checkpoint()
    for training in of_folds(experiment, seed):
        if not is_trained(training):
            raise not_trained(training)
    if not (experiment.directory / SCORES).exists():
        raise UserError(
            f"{experiment.directory} has no {SCORES}, which the model card shows; run stages 6 and "
            "7 (posteriors, scores) first"
        )

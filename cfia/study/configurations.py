"""The configurations of systems as stage 5 trains them, checked before any stage begins."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from cfia import config
from cfia.errors import UserError
from cfia.study.tune_file import trials


def read_config(
    files: Iterable[Path],
    overrides: Iterable[str],
    values: Mapping[str, str],
    modalities: Collection[str],
    tune_file: Path | None = None,
) -> config.Config:
    """Read a configuration, and check that it goes with what it is trained on, and how.

    Args:
        tune_file: says what --tune tries, which is checked too.

    Raises:
        UserError: as `cfia.config.load`, `cfia.config.check_modalities` and `trials`; or a schedule
            needs a validation part, and there is none.
    """
    loaded = config.load(files, overrides)
    _check(loaded, values, modalities)
    tried = trials(tune_file, int(values["tune"]), loaded) if tune_file else ()
    for settings in tried:
        source = f"{tune_file}, with {config.in_words(settings)}"
        try:
            _check(loaded.changed(settings, source), values, modalities)
        except UserError as error:
            raise UserError(f"{source}: {error}") from None
    return loaded


def _check(loaded: config.Config, values: Mapping[str, str], modalities: Collection[str]) -> None:
    config.check_modalities(loaded, modalities)
    without = "with --validation none there are none"
    if values.get("refit") == "true":
        without = "the second training of --refit true has none"
    elif values["validation"] != "none" or values["selection"] == "test":
        without = ""
    if loaded.train.schedule == "plateau" and without:
        raise UserError(
            f"`schedule: plateau` needs validation scores, and {without}; choose another schedule"
        )

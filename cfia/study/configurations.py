"""The configurations of systems as stage 5 trains them, checked before any stage begins."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from cfia import config
from cfia.errors import UserError


def read_config(
    files: Iterable[Path],
    overrides: Iterable[str],
    values: Mapping[str, str],
    modalities: Collection[str],
) -> config.Config:
    """Read a configuration, and check that it goes with what it is trained on, and how.

    Raises:
        UserError: as `cfia.config.load` and `cfia.config.check_modalities`; or its schedule needs a
            validation part, and there is none.
    """
    loaded = config.load(files, overrides)
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
    return loaded

"""Print the names of a run's directories as shell assignments, for ser.sh to evaluate."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cfia.cli import parser, run
from cfia.errors import UserError
from cfia.naming import Names, names
from cfia.upstream.choice import ALL
from cfia.upstream.registry import FAMILIES, MODALITIES
from cfia.upstream.registry import names as upstreams

OPTIONS = (
    "cv", "validation", "selection", "labels", "default_labels", "text_tags", "text_file",
    "audio_upstream", "audio_model", "audio_layer", "text_upstream", "text_model", "text_layer",
    "hub", "feature_cache", "train_config", "systems", "tag", "train_args",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the options of a run, print the names that they give."""
    p = parser("names", __doc__, "python -m cfia.bin.names --recipe egs/emodb --cv speaker ...")
    for name in OPTIONS:
        p.add_argument(f"--{name}", default="", help=f"the value of run.sh's --{name}")
    p.add_argument("--recipe", type=Path, required=True, help="the recipe's directory")
    p.add_argument("--root", type=Path, required=True, help="the repository's root")
    args = vars(p.parse_args(argv))
    try:
        for modality in MODALITIES:
            _check_upstream(modality, args)
        found = names(args, args["recipe"], args["root"])
    except UserError as error:  # here a mistake is one of usage
        print(f"run.sh: {error}", file=sys.stderr)
        sys.exit(2)
    print("\n".join(assignments(found)))


def _check_upstream(modality: str, args: Mapping[str, str]) -> None:
    """Refuse an encoder that there is not, here rather than when its stage comes."""
    name, layer = args[f"{modality}_upstream"], args[f"{modality}_layer"]
    if name not in upstreams(modality):
        raise UserError(
            f"--{modality}_upstream is {name!r}; legal values are {', '.join(upstreams(modality))}"
        )
    if layer and not FAMILIES[name].layers:
        raise UserError(f"--{modality}_layer is {layer!r}, but {name} has no layers to choose from")
    if layer and layer != ALL and not layer.isdecimal():
        raise UserError(f"--{modality}_layer is {layer!r}; expected a number from 0, or {ALL}")


def assignments(found: Names) -> list[str]:
    """Lines of shell: five variables, and an array for each property of the systems."""
    lines = [
        f"{key}={shlex.quote(value)}"
        for key, value in {
            "data_name": found.data,
            "audio_name": found.audio,
            "text_name": found.text,
            "folds_scheme": found.folds_scheme,
            "scheme": found.scheme,
        }.items()
    ]
    arrays = {
        "system_names": [system.name for system in found.systems],
        "system_configs": [str(system.config) for system in found.systems],
        "system_modalities": [",".join(system.modalities) for system in found.systems],
    }
    return lines + [f"{key}=({shlex.join(values)})" for key, values in arrays.items()]


if __name__ == "__main__":
    run(main)

"""The names of a run's directories, so that runs which differ never share a path (cfia/README.md).

Standard library alone: the shell asks for these names before any environment is looked for.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cfia import config
from cfia.errors import UserError

VALIDATIONS = ("random20", "partner", "next_speaker", "next_session")
SELECTIONS = ("valid", "last", "test")
HUBS = ("hf", "ms")  # Hugging Face, ModelScope
CACHES = ("auto", "ram", "mmap", "none")  # where training keeps features


def model_name(model: str) -> str:
    """The last part of a model's id or path; of a hub's cache, that of the id."""
    parts = Path(model.rstrip("/")).parts
    # models--<owner>--<name>/snapshots/<revision>
    if len(parts) >= 3 and parts[-2] == "snapshots" and parts[-3].startswith("models--"):
        return parts[-3].split("--")[-1]
    return parts[-1]


def upstream_name(name: str, model: str, layer: str) -> str:
    """`wavlm`, or the name of the model where one was named, and the layer."""
    base = model_name(model) if model else name
    return f"{base}_l{layer}" if layer else base


@dataclass(frozen=True)
class System:
    """One system to train: `name` is `<config>_<audio>[_<text>]` and suffixes."""

    name: str
    config: Path
    modalities: tuple[str, ...]


@dataclass(frozen=True)
class Names:
    """The names that the options of a run give to its directories."""

    data: str
    audio: str
    text: str
    folds_scheme: str
    scheme: str
    systems: tuple[System, ...]


def names(options: Mapping[str, str], recipe: Path, root: Path) -> Names:
    """Names from the shell's options (all as strings, `""` where not given).

    Args:
        options: the values of ser.sh's flags, and `default_labels`.
        recipe: the recipe's directory, for its conf/.
        root: the repository's root, for the shared conf/.

    Raises:
        UserError: a value that is not one of the legal ones, or a system that cannot be resolved.
    """
    _check_choices(options)
    labels = options["labels"]
    label_suffix = "" if labels == options["default_labels"] else f"_{labels}"
    text_suffix = "_keep" if options["text_tags"] == "keep" else ""
    if options["text_file"]:
        text_suffix += f"_{Path(options['text_file']).stem}"
    audio = upstream_name(options["audio_upstream"], options["audio_model"], options["audio_layer"])
    text = upstream_name(options["text_upstream"], options["text_model"], options["text_layer"])
    cv, validation, selection = options["cv"], options["validation"], options["selection"]
    folds = cv if validation == "random20" else f"{cv}-{validation}"
    scheme = folds if selection == "valid" else f"{folds}-{selection}"
    suffix = label_suffix + text_suffix + (f"_{options['tag']}" if options["tag"] else "")
    resolver = _Resolver(recipe, root, options["train_config"], audio, text, suffix)
    tokens = options["systems"].replace(",", " ").split()
    return Names(
        data=f"all{label_suffix}{text_suffix}",
        audio=audio + label_suffix,
        text=text + label_suffix + text_suffix,
        folds_scheme=folds + label_suffix,
        scheme=scheme + label_suffix,
        systems=tuple(dict.fromkeys(resolver.resolve(token) for token in tokens)),
    )


def _check_choices(options: Mapping[str, str]) -> None:
    legal = {
        "cv": ("session", "speaker"),
        "validation": VALIDATIONS,
        "selection": SELECTIONS,
        "text_tags": ("strip", "keep"),
        "hub": HUBS,
        "feature_cache": CACHES,
    }
    for name, values in legal.items():
        if options[name] not in values:
            raise UserError(f"--{name} is {options[name]!r}; legal values are {', '.join(values)}")
    for text in shlex.split(options["train_args"]):
        config.check_override(text)
    if options["cv"] == "session" and options["validation"] == "partner":
        raise UserError(
            "--validation partner needs --cv speaker: with --cv session both speakers are tested"
        )
    for name in ("tag", "labels"):
        if "/" in options[name] or options[name].startswith("."):
            raise UserError(f"--{name} is {options[name]!r}; it becomes part of a directory's name")
    if not options["systems"].replace(",", " ").split():
        raise UserError("--systems names no system; try --systems 'audio_text audio text'")


@dataclass(frozen=True)
class _Resolver:
    recipe: Path
    root: Path
    train_config: str
    audio: str
    text: str
    suffix: str

    def resolve(self, token: str) -> System:
        """A name of `--systems` to a system.

        A name is `[<config>_]<modalities>`, where the modalities are `audio_text`, `audio`,
        `text`, or the upstreams' own names; a configuration alone is bimodal.
        """
        modalities = {
            "audio_text": ("audio", "text"),
            f"{self.audio}_{self.text}": ("audio", "text"),
            "audio": ("audio",),
            self.audio: ("audio",),
            "text": ("text",),
            self.text: ("text",),
        }
        if self.suffix and token.endswith(self.suffix):
            token = token[: -len(self.suffix)]
        if token in modalities:
            return self._system(self.train_config, modalities[token])
        for ending, found in modalities.items():
            if token.endswith(f"_{ending}"):
                return self._system(token[: -len(ending) - 1], found)
        return self._system(token, ("audio", "text"))

    def _system(self, config: str, modalities: tuple[str, ...]) -> System:
        path = self._find(config)
        upstreams = [{"audio": self.audio, "text": self.text}[name] for name in modalities]
        return System("_".join([path.stem, *upstreams]) + self.suffix, path, modalities)

    def _find(self, config: str) -> Path:
        if config.endswith((".yaml", ".yml")):
            path = Path(config)
            if not path.is_file():
                raise UserError(f"--train_config: no such file {config}")
            return path.resolve()
        places = [self.recipe / "conf", self.root / "conf"]
        for place in places:
            path = place / f"{config}.yaml"
            if path.is_file() and config not in NOT_SYSTEMS:
                return path
        raise UserError(
            f"no system {config!r}: there is no {config}.yaml in "
            f"{' or '.join(str(place) for place in places)} (a system of --systems is "
            f"[<config>_]audio_text, [<config>_]audio or [<config>_]text; the configurations "
            f"here are {', '.join(sorted(_configs(places)))})"
        )


# Files of a conf/ directory that configure something else.
NOT_SYSTEMS = ("train", "corpus", "exposure", "published", "models", "texts")


def _configs(places: list[Path]) -> set[str]:
    return {path.stem for place in places for path in place.glob("*.yaml")} - {*NOT_SYSTEMS}

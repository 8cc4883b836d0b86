"""Names of directories, so that experiments which differ never share a path (cfia/README.md).

Standard library alone: the shell asks for these names before any environment is looked for.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cfia.errors import UserError
from cfia.installation import CONF

JOB = "CFIA_JOB"  # in what ser.sh calls by run.py: each job has its number there instead
LETTERS = "A-Z a-z 0-9 _ . = , : + -"  # of all names
_LEGAL = re.compile(r"[A-Za-z0-9_.=,:+-]*")
_LONGEST = 100  # characters: a name is made of several parts, and file systems allow 255

MODALITIES = ("audio", "text")
ASR = "asr"  # recognised transcripts: in a data directory, and in names
PACKAGED = "pocketsphinx"  # the recogniser whose package has its model
DEFAULT_VALIDATION = "random20"  # leaves no trace in a scheme's name
DEFAULT_SELECTION = "valid"

EVERY_FOLD = "all"  # in place of a fold: the final network
ONLY_SEED = 1  # in the names of trainings of which nothing is drawn, whatever --seeds says
ONLY_FOLDS = "only_folds"  # an option that rows of a study have: the folds that are trained
_TRAIN = "train-"
_TRAINING = re.compile(r"fold([1-9][0-9]*)_seed([0-9]+)")


def model_name(model: str) -> str:
    """Take the last part of a model's id or path; of a path in a hub's cache, that of the id."""
    parts = Path(model).parts
    # models--<owner>--<name>/snapshots/<revision>
    if len(parts) >= 3 and parts[-2] == "snapshots" and parts[-3].startswith("models--"):
        return parts[-3].split("--")[-1]
    return parts[-1] if parts else ""


def upstream_name(name: str, model: str, layer: str) -> str:
    """Name an encoder: `wavlm`, or by the model where one was named, and the layer.

    Raises:
        UserError: the name of the model cannot be that of a directory.
    """
    base = checked(model_name(model), f"the model {model}") if model else name
    return f"{base}_l{layer}" if layer else base


def recogniser_name(model: str) -> str:
    """Name the recogniser of --asr_model by its model, or by itself where it has its own.

    Raises:
        UserError: the name of the model cannot be that of a directory.
    """
    return checked(model_name(model), f"the model {model}")


def with_errors(model: str, percent: int) -> str:
    """Name gold text with word errors as a recogniser's: `pocketsphinx-errors10`."""
    return f"{recogniser_name(model)}-errors{percent}"


def checked(name: str, what: str) -> str:
    """Check what a directory's name is made of: it must neither hide it nor lead elsewhere.

    Raises:
        UserError: it is empty, begins with a dot, or is not as `mistake` wants it.
    """
    leads = not name or name.startswith(".") or "/" in name
    wrong = "which hides it or leads elsewhere" if leads else mistake(name)
    if wrong:
        raise UserError(
            f"{what} would give a directory the name {name!r}, {wrong}; rename it or give a "
            "symbolic link to it, by another name"
        )
    return name


def path_part(text: str) -> str:
    """Read a name that becomes part of a path, as a type of argparse."""
    try:
        return checked(text, "this")
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def mistake(name: str) -> str:
    """Say what is wrong with a name that becomes part of a path; "" if nothing is.

    Paths reach shells by way of a site's own run.pl or queue.pl, which quote none; so they hold
    nothing that a shell takes for more than itself, and not the word that stands for a job.
    """
    if not _LEGAL.fullmatch(name):
        return f"but such a name may have the characters {LETTERS} and no other"
    if JOB in name:
        return f"but {JOB} stands for the number of a job"
    return f"of more than {_LONGEST} characters" if len(name) > _LONGEST else ""


def folds_scheme(cv: str, validation: str) -> str:
    """Name the fold lists of a scheme: `session`, `speaker-partner`."""
    return cv if validation == DEFAULT_VALIDATION else f"{cv}-{validation}"


def across(corpus: str) -> str:
    """Name how folds are made that train on a corpus and test on others: `train-emodb`."""
    return f"{_TRAIN}{corpus}"


def trained_corpus(cv: str) -> str:
    """Undo `across`; "" of folds that are made otherwise."""
    return cv.removeprefix(_TRAIN) if cv.startswith(_TRAIN) else ""


def split_folds_scheme(scheme: str) -> tuple[str, str]:
    """Undo `folds_scheme`: give cv and validation."""
    cv, _, validation = scheme.partition("-")
    return cv, validation or DEFAULT_VALIDATION


def training_name(fold: int | None, seed: int) -> str:
    """Name the directory of a training in its experiment: `fold1_seed2`.

    Without a fold it is that of the final network, on all utterances: `all_seed2`.
    """
    return f"{EVERY_FOLD if fold is None else f'fold{fold}'}_seed{seed}"


def fold_word(fold: int | None) -> str:
    """Name a fold, or the final network's place among them, on command lines."""
    return EVERY_FOLD if fold is None else str(fold)


def fold_of(word: str) -> int | None:
    """Undo `fold_word`."""
    return None if word == EVERY_FOLD else int(word)


def fold_and_seed(name: str) -> tuple[int, int] | None:
    """Undo `training_name` of a fold; None for the name of something else."""
    match = _TRAINING.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def with_tags(data: Path, text_tags: str) -> Path:
    """Name the variant of a data directory whose transcripts have their tags."""
    return data if text_tags == "keep" else data.with_name(f"{data.name}{_KEEP}")


_KEEP = "_keep"


@dataclass(frozen=True)
class System:
    """A system: a configuration and the modalities that it takes.

    Attributes:
        name: `<config>_<audio>[_<text>]` and suffixes, such as `cfia_net_emotion2vec_bert_try`.
        config: its YAML file.
        modalities: of MODALITIES.
    """

    name: str
    config: Path
    modalities: tuple[str, ...]


@dataclass(frozen=True)
class Names:
    """The names of the directories that options of run.sh lead to.

    Attributes:
        data: the data directory, `all` or `all_6_keep`.
        dumps: by modality, `wavlm-large_l12` or `bert_6_keep`.
        label_suffix: what another label set than the recipe's adds to names, `_6`; else "".
        folds: the fold lists, `speaker-partner_6`.
        scheme: the directory of experiments, `speaker-partner-test_6`, `session-refit`,
            `session-tune6`, and where not all folds are trained, `utterance10-fold1`.
        upstreams: by modality, what an encoder is called in a system's name.
        suffix: what ends the name of a system without text, `_6_keep_try`.
        text_suffix: what ends that of one with text, `_6_keep_asr-whisper-tiny_try`.
        recogniser: whose transcripts systems with text read, `whisper-tiny`; "" for gold ones.
    """

    data: str
    dumps: Mapping[str, str]
    label_suffix: str
    folds: str
    scheme: str
    upstreams: Mapping[str, str]
    suffix: str
    text_suffix: str
    recogniser: str

    @property
    def text(self) -> Path | None:
        """The recogniser's transcripts, in the data directory; None for gold ones."""
        return Path(ASR) / self.recogniser / "text" if self.recogniser else None

    def system(self, config: Path, modalities: tuple[str, ...]) -> System:
        """Name the system of a configuration on some modalities."""
        upstreams = [self.upstreams[modality] for modality in modalities]
        first = checked(config.stem, f"the configuration {config}")
        suffix = self.text_suffix if "text" in modalities else self.suffix
        return System("_".join([first, *upstreams]) + suffix, config, modalities)


def without_choices(experiment: Path) -> Path:
    """Name the directory of an experiment as it is without --refit and --tune."""
    return experiment.with_name(re.sub(r"-refit|-tune\d+", "", experiment.name))


def names(options: Mapping[str, str]) -> Names:
    """Name the directories that options of run.sh ask for.

    Args:
        options: the values of run.sh's flags, `""` where not given, and `default_labels`; and
            ONLY_FOLDS, where a row of a study has it.
    """
    labels = options["labels"]
    label_suffix = "" if labels == options["default_labels"] else f"_{labels}"
    text_suffix = _KEEP if options["text_tags"] == "keep" else ""
    if text_file := options["text_file"]:
        text_suffix += f"_{checked(Path(text_file).stem, f'--text_file {text_file}')}"
    recogniser, asr_suffix = "", ""
    if options["text_source"] == ASR:
        recogniser = recogniser_name(options["asr_model"])
        asr_suffix = f"_{ASR}-{recogniser}"
    upstreams = {
        m: upstream_name(*(options[f"{m}_{key}"] for key in ("upstream", "model", "layer")))
        for m in MODALITIES
    }
    folds, selection = folds_scheme(options["cv"], options["validation"]), options["selection"]
    scheme = folds if selection == DEFAULT_SELECTION else f"{folds}-{selection}"
    scheme += "-refit" if options["refit"] == "true" else ""
    scheme += f"-tune{options['tune']}" if options["tune"] != "0" else ""
    scheme += "".join(f"-fold{number}" for number in options.get(ONLY_FOLDS, "").split())
    tag = f"_{options['tag']}" if options["tag"] else ""
    return Names(
        data=f"all{label_suffix}{text_suffix}",
        dumps={
            "audio": upstreams["audio"] + label_suffix,
            "text": upstreams["text"] + label_suffix + text_suffix + asr_suffix,
        },
        label_suffix=label_suffix,
        folds=folds + label_suffix,
        scheme=scheme + label_suffix,
        upstreams=upstreams,
        suffix=label_suffix + text_suffix + tag,
        text_suffix=label_suffix + text_suffix + asr_suffix + tag,
        recogniser=recogniser,
    )


def of_corpora(names: Names, corpora: Iterable[str]) -> Names:
    """Name data and dumps of some corpora in a recipe of several: `emodb`, `crema_d+ravdess`."""
    joined = "+".join(sorted(corpora))
    return replace(
        names,
        data=f"{joined}{names.data.removeprefix('all')}",
        dumps={modality: f"{joined}_{dump}" for modality, dump in names.dumps.items()},
    )


def find_config(name: str, recipe: Path) -> Path:
    """Find the YAML file of a configuration, in the recipe's or the shared conf/systems.

    Args:
        name: without the ending; or the path of a YAML file.

    Raises:
        UserError: there is none; the message lists those that there are.
    """
    if name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise UserError(f"--train_config: no such file {name}")
        return Path(name).absolute()  # a link keeps its own name, which the user chose
    places = [recipe / "conf" / "systems", CONF / "systems"]
    for place in places:
        if (place / f"{name}.yaml").is_file():
            return place / f"{name}.yaml"
    known = sorted({path.stem for place in places for path in place.glob("*.yaml")})
    raise UserError(
        f"no system {name!r}: there is no {name}.yaml in {' or '.join(map(str, places))} (a system "
        "of --systems is [<config>_]audio_text, [<config>_]audio or [<config>_]text; the "
        f"configurations here are {', '.join(known)})"
    )


def split_system(token: str, names: Names, default: str) -> tuple[str, tuple[str, ...]]:
    """Split a name of `--systems` into the name of its configuration and its modalities.

    A name is `[<config>_]<modalities>`, where the modalities are `audio_text`, `audio`, `text`, or
    the encoders' own names; a configuration alone takes both.

    Args:
        default: the configuration of a name that has none.
    """
    audio, text = (names.upstreams[modality] for modality in MODALITIES)
    endings = {
        "audio_text": MODALITIES,
        f"{audio}_{text}": MODALITIES,
        "audio": ("audio",),
        audio: ("audio",),
        "text": ("text",),
        text: ("text",),
    }
    suffix = names.text_suffix if token.endswith(names.text_suffix) else names.suffix
    token = token.removesuffix(suffix)
    if token in endings:
        return default, endings[token]
    for ending, modalities in endings.items():
        if token.endswith(f"_{ending}"):
            return token.removesuffix(f"_{ending}"), modalities
    return token, MODALITIES

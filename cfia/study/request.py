"""The options that run.sh was called with, checked, and the directories that paths start from.

Standard library alone until a study is read, since the command line is checked before any
environment exists.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from cfia import marker, options
from cfia.checks import unreadable
from cfia.errors import UserError
from cfia.installation import CONF
from cfia.naming import (
    ASR,
    MODALITIES,
    PACKAGED,
    Names,
    System,
    checked,
    find_config,
    names,
    split_system,
)
from cfia.study.configurations import read_config
from cfia.study.models import named
from cfia.study.option_checks import check
from cfia.upstream import imported, registry
from cfia.upstream.choice import ALL

TUNE = "tune.yaml"
DUMPS = "dump"  # of the recipes of --corpora, as ser.sh has it
PATHS = (
    "corpus_dir",
    "audio_dir",
    "text_file",
    "pack_dir",
)  # relative to the directory that a user calls from

SET_BY_RECIPES = {"default_labels": "4", "corpus_lists": ""}
"""What a recipe's run.sh may export besides the options, and its default; see ser.sh."""


@dataclass(frozen=True)
class Request:
    """The options of run.sh.

    Attributes:
        options: their values as strings, and what the recipe sets besides (`SET_BY_RECIPES`); paths
            of the user are absolute.
        recipe: the recipe's directory.
        caller: the directory that the user called run.sh from.
    """

    options: Mapping[str, str]
    recipe: Path
    caller: Path

    @property
    def corpus(self) -> str:
        """The name of the corpus: the recipe's, unless --corpus gives one."""
        return self.options["corpus"] or self.recipe.name

    @property
    def datadir(self) -> Path:
        """Where data directories and fold lists go."""
        return self._place("datadir")

    @property
    def dumpdir(self) -> Path:
        """Where features go."""
        return self._place("dumpdir")

    @property
    def expdir(self) -> Path:
        """Where experiments go."""
        return self._place("expdir")

    def _place(self, option: str) -> Path:
        """Give each corpus of --corpus a directory of its own."""
        return Path(self.options[option]) / self.options["corpus"]

    @property
    def corpora(self) -> tuple[Path, ...]:
        """The recipes of --corpora, by their names; none for a recipe of one corpus."""
        return tuple(map(Path, shlex.split(self.options["corpora"])))

    @property
    def nj(self) -> int:
        """The number of jobs at a time."""
        return int(self.options["nj"] or options.processors())

    @property
    def force(self) -> bool:
        """Whether to make again what was made differently."""
        return self.options["force"] == "true"

    @property
    def study(self) -> Path | None:
        """The YAML file of the study, of the recipe or shared; None for a plain run."""
        places = [self.recipe / "conf", CONF]
        paths = [place / "study" / f"{self.options['study']}.yaml" for place in places]
        return next((path for path in paths if path.is_file()), None)

    @property
    def tune_file(self) -> Path:
        """The file that says what --tune tries, of the recipe or shared."""
        own = self.recipe / "conf" / TUNE
        return own if own.exists() else CONF / TUNE

    def seeds(self) -> tuple[int, ...]:
        """List the seeds that the user gave, or the default ones."""
        text = self.options["seeds"] or (self.options["study_seeds"] if self.study else "1")
        return numbers(text)

    @property
    def first_seed(self) -> int:
        """The seed of the networks that are packed."""
        return next(iter(self.seeds()), 1)

    def folds(self, directory: Path, number: int) -> list[int]:
        """List the folds that the user wants, of those from 1 to `number`.

        Args:
            directory: of the fold lists, for the message.

        Raises:
            UserError: one of them is not there.
        """
        every = range(1, number + 1)
        wanted = {int(word) for word in self.options["folds"].replace(",", " ").split()}
        if wanted - set(every):
            raise UserError(
                f"--folds names {min(wanted - set(every))}, and {directory} has 1 to {number}"
            )
        return sorted(wanted) or [*every]

    def names(self) -> Names:
        """Name the directories that the options ask for; in a study, its rows name the models."""
        models = {f"{modality}_model": "" for modality in MODALITIES} if self.study else {}
        return names({**self.options, **models})

    def config(self, name: str) -> Path:
        """Find the YAML file of a configuration."""
        return find_config(name, self.recipe)

    def config_files(self, config: Path) -> tuple[Path, ...]:
        """List the files that a configuration is made of: the recipe's own, then its YAML file."""
        recipe = self.recipe / "conf" / "train.yaml"
        return (recipe, config) if recipe.exists() else (config,)

    def overrides(self) -> list[str]:
        """List the words of `--train_args`."""
        return shlex.split(self.options["train_args"])

    def why_no_text(self, data: Path, upstream: str, text_source: str) -> str:
        """Say why there are no transcripts to encode; "" where there are, or nobody knows yet.

        Args:
            data: the data directory, whether or not it has been made.
            upstream: the encoder of text; features that were imported need no transcripts.
            text_source: as of --text_source; a recogniser needs none either.
        """
        can_read = importlib.util.find_spec("yaml") is not None
        if upstream not in registry.FAMILIES or self.options["text_file"] or not can_read:
            return ""
        if text_source == ASR:  # made from the audio
            return ""
        if self.corpora:  # which have been encoded, or stage 4 says so
            return ""
        from cfia.corpus.corpus_conf import has_text, read_corpus_conf

        place = self.recipe / data
        made_again = self.force and int(self.options["stage"]) <= 1
        if (place / "utt2spk").exists() and not made_again:
            lost = (place / marker.NAME).exists() and "text" in _files_of(place)
            return "" if lost or (place / "text").exists() else f"{data} has no text"
        page = read_corpus_conf(self.recipe / "conf" / "corpus.yaml")
        return "" if has_text(page) else "the corpus has no transcripts (conf/corpus.yaml)"

    def system_names(self) -> list[tuple[str, tuple[str, ...]]]:
        """Split `--systems` into pairs of a configuration and its modalities, each once."""
        directories, default = self.names(), self.options["train_config"]
        tokens = self.options["systems"].replace(",", " ").split()
        return list(dict.fromkeys(split_system(token, directories, default) for token in tokens))

    def systems(self) -> list[System]:
        """Find the systems of `--systems`, each once."""
        systems = [
            self.names().system(self.config(name), modalities)
            for name, modalities in self.system_names()
        ]
        return list(dict.fromkeys(systems))


def numbers(text: str) -> tuple[int, ...]:
    """Read whole numbers that are separated by blanks or commas."""
    return tuple(map(int, text.replace(",", " ").split()))


def _files_of(directory: Path) -> Collection[str]:
    """List the files that a stage made; who reads the directory names one that is gone."""
    try:
        recorded = marker.read(directory)
    except UserError:  # a broken marker, which the stages name
        return ("text",)
    return recorded.files if recorded else ()


def legal_values(*dumpdirs: Path) -> dict[str, list[str]]:
    """List the legal values of the options whose values are the rows of another table.

    Of an encoder that is the names of our own, and those of features that were imported.
    """
    own = {modality: registry.names(modality) for modality in MODALITIES}
    others = {m: [name for d in dumpdirs for name in imported.names(d, m)] for m in MODALITIES}
    return {f"{m}_upstream": [*dict.fromkeys([*own[m], *others[m]])] for m in MODALITIES}


def read_request(values: Mapping[str, str], recipe: Path, caller: Path) -> Request:
    """Read the options of run.sh, and check them.

    Args:
        values: the value of every option by its name, and `SET_BY_RECIPES`; others are ignored.
        recipe, caller: as in `Request`.

    Raises:
        UserError: an option has a value that is not legal.
    """
    if wrong := unreadable(f"{recipe}"):
        raise UserError(f"this recipe lies in {f'{recipe}'!r}; {wrong}")
    taken = {option.name: values.get(option.name, option.default) for option in options.EVERY}
    taken |= {name: values.get(name) or default for name, default in SET_BY_RECIPES.items()}
    taken["tune"] = taken["tune"].lstrip("0") or "0"  # it is part of directories' names
    for name in PATHS:
        taken[name] = _from_caller(taken[name], caller)
    if taken["train_config"].endswith((".yaml", ".yml")):
        taken["train_config"] = _from_caller(taken["train_config"], caller)
    for modality in MODALITIES:
        name = f"{modality}_model"
        taken[name] = _model(name, taken[name], caller)
    if taken["asr_model"] != PACKAGED:
        taken["asr_model"] = _model("asr_model", taken["asr_model"], caller)
    taken["corpora"] = _corpora(taken["corpora"], caller, recipe)
    request = Request(taken, recipe, caller)
    dumps = [corpus / DUMPS for corpus in request.corpora]
    check(taken, legal_values(request.dumpdir, *dumps))
    _check_corpus(request)
    _check_recipe(request)
    for modality in MODALITIES:
        _check_encoder(modality, taken)
        if request.study:
            named(modality, taken, caller)
    _check_configurations(request)
    _check_text(request)
    return request


def _check_configurations(request: Request) -> None:
    """Read the configurations as stage 5 will; those of a study are read with its rows.

    A bare Python, which cannot read YAML, leaves that to the first step that has an environment.
    """
    systems = request.systems()
    if request.study is None and importlib.util.find_spec("yaml") is not None:
        for system in systems:
            files = request.config_files(system.config)
            read_config(
                files, request.overrides(), request.options, system.modalities, request.tune_file
            )


def _check_text(request: Request) -> None:
    """Refuse systems that take text where there is none; a study leaves its rows out."""
    textual = [system.name for system in request.systems() if "text" in system.modalities]
    if request.study is not None or not textual:
        return
    data, upstream = request.datadir / request.names().data, request.options["text_upstream"]
    source = request.options["text_source"]
    if source == ASR and upstream not in registry.FAMILIES:
        raise UserError(
            f"--text_source is {ASR}, but the features of {upstream} were imported: they are of "
            "other transcripts; give an encoder as --text_upstream"
        )
    if why := request.why_no_text(data, upstream, source):
        raise UserError(
            f"--systems names {textual[0]}, which takes text, but {why}; give --systems audio, "
            f"transcripts by --text_file, or a recogniser by --text_source {ASR} --asr_model"
        )


def _corpora(value: str, caller: Path, recipe: Path) -> str:
    """Make the paths of --corpora absolute, sorted by their names; words of the shell again.

    A relative one starts from where the user is, or from the recipe.

    Raises:
        UserError: one is no directory or the recipe itself, two have one name, or there is one.
    """
    try:
        words = shlex.split(value)
    except ValueError:
        raise UserError("--corpora has a quotation mark that is not closed") from None
    found: dict[str, Path] = {}
    for word in words:
        places = [place for place in (caller / word, recipe / word) if place.is_dir()]
        if not places or places[0].resolve() == recipe.resolve():
            raise UserError(f"--corpora names {word}, which is no recipe of a corpus")
        place = places[0]  # a link keeps its own name
        path = place.resolve() if place.name == ".." else place.parent.resolve() / place.name
        name = checked(path.name, f"--corpora {word}")
        if found.setdefault(name, path) != path:
            raise UserError(f"--corpora names two recipes {name}; give one a link of another name")
    if len(found) == 1:
        raise UserError(f"--corpora names {words[0]} alone; it takes two recipes or more")
    return shlex.join(str(found[name]) for name in sorted(found))


def _from_caller(path: str, caller: Path) -> str:
    return str(caller / path) if path else ""


def _model(option: str, value: str, caller: Path) -> str:
    """Make a directory absolute; leave the id of a hub, or a study's list of models, as it is.

    Its name becomes part of others, so `..` is replaced by what it leads to.
    """
    path = caller / value
    if value and path.is_dir():
        if path.name == "..":
            return str(path.resolve())
        # A link keeps its own name, which the user chose.
        return str(path.parent.resolve() / path.name if ".." in path.parts else path)
    if value.startswith(("/", ".")):
        raise UserError(f"--{option}: no such directory {value}")
    return value


def _check_corpus(request: Request) -> None:
    """Require --corpus of a recipe of several corpora, and that --corpus_dir has it."""
    corpus, lists = request.options["corpus"], request.options["corpus_lists"]
    if not lists:
        if request.options["audio_dir"]:
            raise UserError(
                "--audio_dir is for a recipe of several corpora; give --corpus_dir alone"
            )
        return
    place = request.options["corpus_dir"]
    known = sorted({path.parent.name for path in Path(place).glob(lists)}) if place else []
    there = f"{place} has {' '.join(known)}" if known else "this recipe is of several corpora"
    if not corpus:
        raise UserError(f"--corpus must name one corpus; {there}")
    if known and corpus not in known:
        raise UserError(f"--corpus is {corpus!r}; {there}")


def _check_recipe(request: Request) -> None:
    """Check that conf/ of the recipe, or the shared one, has the label set and the study."""
    labels, study = request.options["labels"], request.options["study"]
    label_sets = request.recipe / "conf" / "labels"
    if not (label_sets / f"{labels}.yaml").is_file():
        known = " ".join(sorted(path.stem for path in label_sets.glob("*.yaml")))
        raise UserError(f"--labels is {labels!r}; this recipe has {known}")
    if study and request.study is None:
        shared = sorted((CONF / "study").glob("*.yaml"))
        known = " ".join(path.stem for path in shared)
        raise UserError(f"--study is {study!r}; there is {known}")


def _check_encoder(modality: str, values: Mapping[str, str]) -> None:
    """Refuse a model or a layer that the encoder does not have, before any stage begins."""
    name, layer = values[f"{modality}_upstream"], values[f"{modality}_layer"]
    family, model = registry.FAMILIES.get(name), values[f"{modality}_model"]
    if family is None and model and not values["study"]:
        raise UserError(f"--{modality}_model is {model!r}, but {name} was imported: it has none")
    if layer and not (family and family.layers):
        raise UserError(f"--{modality}_layer is {layer!r}, but {name} has no layers to choose from")
    if layer and layer != ALL and not re.fullmatch("[0-9]{1,3}", layer):
        raise UserError(f"--{modality}_layer is {layer!r}; expected a number from 0, or {ALL}")

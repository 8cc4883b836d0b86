"""Find what a system scores within a corpus, in the corpus's own recipe, beside a cross table."""

from __future__ import annotations

import contextlib
import logging
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cfia.config import as_override, load
from cfia.corpus.corpus_conf import Standard, is_standard, read_corpus_conf
from cfia.errors import UserError
from cfia.experiment import NAME, Experiment, read
from cfia.frontend import Frontend
from cfia.installation import CONF
from cfia.kaldi.table import read_table
from cfia.naming import DEFAULT_SELECTION, DEFAULT_VALIDATION
from cfia.scoring.scores_file import Scored, check_scores, score
from cfia.scoring.trained import read_trained
from cfia.upstream.link import same_encoder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Within:
    """A corpus's own experiment with a system that was trained on it in a recipe of several.

    Attributes:
        across: the experiment that trains on all of the corpus.
        source: the data directory of the corpus's own recipe.
    """

    across: Experiment
    source: Path

    @property
    def recipe(self) -> Path:
        """The corpus's own recipe."""
        return self.source.parent.parent

    @property
    def standard(self) -> Standard:
        """The corpus's standard protocol; empty where its page names none."""
        return read_corpus_conf(self.recipe / "conf" / "corpus.yaml").get("standard", {})

    def find(self) -> Scored | None:
        """Score the finished experiment of the same configuration, encoders and classes, if any."""
        for path in sorted(self.recipe.glob(f"exp/[!.]*/[!.]*/{NAME}")):
            try:
                if self._is_same(read(path.parent)):
                    return self._score(path.parent)
            except UserError as error:
                log.warning("%s is not taken for the diagonal: %s", path.parent, error)
        return None

    def _is_same(self, other: Experiment) -> bool:
        """Whether an experiment of the recipe differs in its folds alone."""
        own = self.across
        asked = ("selection", "text_tags")
        return (
            other.trained_with == own.trained_with
            and is_standard(self.standard, other.protocol)
            and all(other.protocol[key] == own.protocol[key] for key in asked)
            and (other.refit, other.recogniser) == (own.refit, own.recogniser)
            and other.trials == own.trials
            and other.modalities == own.modalities
            and all(
                same_encoder(self.recipe / dump, own.dumps()[name])
                for name, dump in other.dumps().items()
            )
            and self.same_classes(self.recipe / other.parts["train"].data)
        )

    def same_classes(self, data: Path) -> bool:
        """Whether a data directory of the recipe has the same utterances in the same classes."""
        here = read_table(self.across.parts["train"].data / "utt2emo")
        there = read_table(data / "utt2emo")
        prefix = f"{self.recipe.name}-"
        named = {utt.removeprefix(prefix): label for utt, label in here.items()}
        both = {(named[utt], there[utt]) for utt in named.keys() & there.keys()}
        return named.keys() == there.keys() and len(both) == len(set(there.values()))

    def _score(self, directory: Path) -> Scored | None:
        with contextlib.chdir(self.recipe):  # its paths start from there
            trained = read_trained(directory.relative_to(self.recipe))
            if not trained.finished:
                return None
            scored = score(trained)
            check_scores(scored)
            return scored

    def how(self, seeds: Mapping[int, object]) -> str:
        """Say in words what makes it."""
        if not self.standard:
            return f"{self.recipe}/conf/corpus.yaml names no `standard` protocol"
        words = [f"{self.recipe}/run.sh", "--stage", "2", *self._options()]
        if len(seeds) > 1 or 1 not in seeds:
            words += ["--seeds", " ".join(map(str, sorted(seeds)))]
        command = f"`{shlex.join(words)}` makes it"
        if self.same_classes(self.source):
            return command
        return f"{command}, with --labels NAME of a label set that has these classes alone"

    def _options(self) -> Iterator[str]:
        protocol, experiment = self.standard, self.across
        yield from ("--cv", str(protocol["cv"]))
        if (validation := protocol.get("validation", DEFAULT_VALIDATION)) != DEFAULT_VALIDATION:
            yield from ("--validation", validation)
        if (selection := experiment.protocol["selection"]) != DEFAULT_SELECTION:
            yield from ("--selection", str(selection))
        if experiment.refit:
            yield from ("--refit", "true")
        if experiment.best_of:
            yield from ("--tune", str(experiment.best_of))
        for modality, dump in experiment.dumps().items():
            made = Frontend.read(dump)
            for key, value in (("upstream", made.name), ("model", made.model)):
                if value:
                    yield from (f"--{modality}_{key}", value)
            if made.layers > 1 or (made.layer is not None and f"_l{made.layer}" in dump.name):
                yield from (f"--{modality}_layer", str(made.layer))
        config = self._configuration()
        yield from ("--systems", "_".join([config, *experiment.modalities]))
        if changed := self._train_args(config):
            yield from ("--train_args", " ".join(changed), "--tag", Path.cwd().name)

    def _configuration(self) -> str:
        """Name the configuration: the longest name of one that begins the system's."""
        places = (self.recipe / "conf", CONF)
        files = [path for place in places for path in place.glob("systems/*.yaml")]
        known = [p.stem for p in files if self.across.system.startswith(f"{p.stem}_")]
        return max(known, key=len, default=self.across.system.partition("_")[0])

    def _train_args(self, config: str) -> list[str]:
        """List what the recipe's own configuration has otherwise."""
        own, system = self.recipe / "conf", f"systems/{config}.yaml"
        files = [own / "train.yaml", CONF / system, own / system]
        usual = load([path for path in files if path.exists()]).flat()
        wanted = self.across.config.flat()
        return [as_override(key, value) for key, value in wanted.items() if usual[key] != value]

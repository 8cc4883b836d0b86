"""What the stages are to make: dumps, parts and experiments, whether or not they exist yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cfia import options
from cfia.config import load
from cfia.experiment import PARTS, Experiment, Part
from cfia.naming import ASR, ONLY_FOLDS, recogniser_name
from cfia.training.inputs import (
    check_encoder,
    classes,
    measure_folds,
    measure_part,
    speakers_shared,
)


@dataclass(frozen=True)
class PlannedDump:
    """Features that an experiment needs, and the options that stages 3 and 4 make them with.

    Attributes:
        text: the recogniser's transcripts that are encoded; None: those of the data directory.
    """

    modality: str
    upstream: str
    model: str
    layer: str
    directory: Path
    text: Path | None = None


@dataclass(frozen=True)
class PlannedPart:
    """Data and features of one part of the folds."""

    data: Path
    dumps: tuple[PlannedDump, ...]

    def measure(self) -> Part:
        """Measure them, as experiment.yaml has them.

        Raises:
            UserError: data or dumps are not there, not as they were made, or do not go together.
        """
        dumps = {dump.modality: dump.directory for dump in self.dumps}
        part = measure_part(self.data, dumps, archives=True)
        for dump in self.dumps:
            check_encoder(dump.directory, dump.modality, dump.upstream)
        return part


@dataclass(frozen=True)
class PlannedExperiment:
    """One system under one scheme, whether or not its data, dumps and folds exist yet.

    Attributes:
        directory: exp/<system>/<scheme>.
        files, overrides: the sources of its configuration; later ones win.
        options: the options of run.sh that would make it.
        seeds: each with one training for each fold.
        seeded: whether they change anything, as they do not of a probe.
        tested: data and dumps of the test part, where they are others.
        tested_text: the name of the transcripts of the test part, where they are others.
        trials: the settings of its configuration that --tune tries in each fold; none: as it is.
        trained_in: the one whose networks it tests with other text; None: it trains its own.
    """

    directory: Path
    files: tuple[Path, ...]
    overrides: tuple[str, ...]
    options: Mapping[str, str]
    data: Path
    folds: Path
    dumps: tuple[PlannedDump, ...]
    seeds: tuple[int, ...]
    tested: PlannedPart | None = None
    tested_text: str = ""
    trials: tuple[Mapping[str, Any], ...] = ()
    trained_in: PlannedExperiment | None = None
    seeded: bool = True

    @property
    def system(self) -> str:
        """Name of the system."""
        return self.directory.parent.name

    @property
    def scheme(self) -> str:
        """Name of the scheme."""
        return self.directory.name

    @property
    def only_folds(self) -> str:
        """The numbers of the folds that are trained, `1 2`; "" for all of them."""
        return self.options.get(ONLY_FOLDS, "")

    def run_options(self) -> dict[str, int | str]:
        """Give the options that say how it is computed, as experiment.yaml has them."""
        run = options.recorded(options.RUN, self.options)
        return {k: int(v) if isinstance(v, str) and v.isdecimal() else v for k, v in run.items()}

    def resolve(self, corpus: str) -> Experiment:
        """Resolve it into the contents of experiment.yaml.

        Raises:
            UserError: data, dumps or fold lists are not there, not as they were made, or do not
                go together; or a mistake in the configuration.
        """
        folds = measure_folds(self.folds, self.data, self.tested.data if self.tested else None)
        part = PlannedPart(self.data, self.dumps).measure()
        test = self.tested.measure() if self.tested else part
        return Experiment(
            directory=self.directory,
            system=self.system,
            scheme=self.scheme,
            corpus=corpus,
            protocol={
                **options.recorded(options.PROTOCOL, self.options),
                **_recogniser(self.options),
                **({"tested_text": self.tested_text} if self.tested_text else {}),
                **({ONLY_FOLDS: self.only_folds} if self.only_folds else {}),
                **speakers_shared(self.options["cv"], self.data, self.folds),
            },
            run=self.run_options(),
            classes=classes(self.data),
            folds=folds,
            parts={**dict.fromkeys(PARTS, part), "test": test},
            trained_with=load(self.files, self.overrides),
            trials=self.trials,
            trained_in=self.trained_in.directory if self.trained_in else None,
        )


def _recogniser(values: Mapping[str, str]) -> dict[str, str]:
    """Give what the protocol says of the recogniser, by its name: its directory may move."""
    if values["text_source"] != ASR:
        return {}
    return {"asr_model": recogniser_name(values["asr_model"])}

"""How good a packed model is, for its card: whose scores they are, and how they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cfia.corpus.corpus_conf import CorpusConf
from cfia.experiment import ORACLE, SPEAKERS_SHARED
from cfia.inference.pack_file import PackFile
from cfia.metrics import METRICS
from cfia.naming import trained_corpus
from cfia.options import PACK_ALL, scheme_kind
from cfia.report.part_tables import class_table
from cfia.report.score_tables import counted
from cfia.report.sections import Heading, Items, Section, Text
from cfia.report.table import Column, Table
from cfia.scoring.cells import Cell, Estimate, Spread

_TESTED = {  # by the kind of --cv
    "session": "one session of the corpus", "speaker": "one speaker",
    "kfold": "a group of speakers", "given": "the corpus's official test part",
    "utterance": "utterances drawn at random",
}  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """What a card is about.

    Attributes:
        pack: the config.json of the pack.
        scores: the scores.json of its experiment.
        tested_by: commit and command of the networks that were scored.
        corpus: what the recipe's page says of the corpus.
        labels: class -> the labels of the corpus that it is made of, where the recipe says it.
    """

    pack: PackFile
    scores: Mapping[str, Any]
    tested_by: Mapping[str, str]
    corpus: CorpusConf
    labels: Mapping[str, Sequence[str]]

    @property
    def title(self) -> str:
        """The name of the corpus."""
        return self.corpus.get("title") or self.pack.corpus

    @property
    def final(self) -> bool:
        """Whether it is one network of all utterances, and not those of the folds."""
        return bool(self.pack.trained_on["pack"] == PACK_ALL)


def scores(subject: Subject) -> list[Section]:
    """Write the section on scores."""
    scores, protocol = subject.scores, subject.scores["protocol"]
    pooled, folds = scores["pooled"], scores["protocol"]["folds"]
    several = len(protocol["seeds"]) > 1
    columns = [Column("score", "score"), Column("pooled", "all test utterances"),
               Column("mean", "mean and deviation over the folds")]  # fmt: skip
    rows: list[dict[str, Cell]] = [
        {
            "score": metric.title,
            "pooled": Estimate.of(pooled, name),
            "mean": Spread(scores["fold_mean"][name], scores["fold_std"][name]),
        }
        for name, metric in METRICS.items()
    ]
    notes = [
        f"In percent, in brackets the interval ({protocol['interval']}).",
        "WA is the share of utterances that are right; UA is the mean recall of the classes, "
        f"{100 / len(subject.pack.classes):.1f} for who guesses; F1 is weighted by the classes' "
        "frequency, or not (macro).",
    ]
    return [
        Heading("How good it is"),
        *_whose_scores(subject),
        Text(
            f"{pooled['n']} utterances were tested in {counted(len(folds), 'fold')}. "
            + _protocol(protocol)
            + f" Scores are means over {len(protocol['seeds'])} seeds." * several
        ),
        *_warnings(subject),
        Table("", columns, rows, notes),
        class_table("By class: references down, recognised as across", pooled),
    ]


def _protocol(protocol: Mapping[str, Any]) -> str:
    """Say in words how the folds were made and the epochs selected, and by which options."""
    tested = _TESTED.get(scheme_kind(protocol["cv"]), "the utterances of another corpus")
    validation, selection = protocol["validation"], protocol["selection"]
    percent = validation.removeprefix("random")
    rest = (
        f"{percent} % of the others"
        if percent.isdigit()
        else f"a part of the others ({validation})"
    )
    seeded = protocol.get("seeded", True)
    last = "the last" if seeded else "that of the configuration"
    taken = {"last": last, "test": "the best on the test utterances"}.get(
        selection, f"the best on {rest}, which did not train"
    )
    what = "its epoch" if seeded else "its C"
    options = f"--cv {protocol['cv']} --validation {validation} --selection {selection}"
    if seeded and protocol.get("tune"):  # a probe is not tuned
        taken += f", and so are its settings, of {protocol['tune']} that were tried in each fold"
        options += f" --tune {protocol['tune']}"
    if protocol.get("refit"):
        again = "for as many epochs" if seeded else "with this C"
        taken += f" at first; then it was trained again, on these too, {again}"
        options += " --refit true"
    return (
        f"Each fold tests {tested}, with a network that trained on others; {what} is {taken} "
        f"(`{options}`)."
    )


def _whose_scores(subject: Subject) -> list[Section]:
    scores, made = subject.scores, subject.pack.trained_on
    folds = len(scores["protocol"]["folds"])
    trained = "for as many epochs as" if "epochs" in made else "with the C of"
    trained += " theirs in the median"
    if "tuned" in made:
        trained = (
            "with the settings that most of theirs have chosen, for as many epochs as these took "
            "there in the median"
        )
    if trained_corpus(scores["protocol"]["cv"]):
        return [
            Text(
                f"It was trained on {subject.title} alone, and the scores are those of another "
                "corpus, which nothing trained on"
                + ("; **of a network that saw less data: this one itself was never tested**."
                   if subject.final else ".")
            )
        ]  # fmt: skip
    if subject.final:
        return [
            Text(
                "**The scores are those of the cross-validation, whose networks saw less data; "
                "this network itself was never tested.** Each of those was tested on a part of the "
                "corpus that it was not trained on. This one was trained on all "
                f"{sum(made['utterances'].values())} utterances, {trained}, so that "
                "nothing is left to test it: on recordings of the corpus it looks better than it "
                "is."
            )
        ]
    return [
        Text(
            f"**The scores are those of single networks; the mean of all {folds}, which this model "
            "gives, was never tested.** Each network was tested on a part of the corpus that it "
            "was not trained on, but the others were: on recordings of the corpus this model looks "
            "better than it is."
        )
    ]


def _warnings(subject: Subject) -> list[Section]:
    protocol, said = subject.scores["protocol"], []
    if protocol["oracle"]:
        said.append(
            f"**{ORACLE.capitalize()}**: the epochs were selected on the test utterances, so the "
            "scores are better than an honest choice would give."
        )
    if protocol.get("speakers_shared"):
        said.append(
            f"**{SPEAKERS_SHARED.capitalize()}**: the scores say nothing of speakers that the "
            "model never heard, and with these it is worse."
        )
    return [Items(said)] if said else []

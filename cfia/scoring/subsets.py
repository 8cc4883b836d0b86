"""Subsets of the test utterances that are scored apart (conf/README.md, section 5)."""

from __future__ import annotations

from pathlib import Path

from cfia.corpus.transcripts import has_tag
from cfia.errors import UserError
from cfia.kaldi.table import read_table
from cfia.naming import with_tags
from cfia.scoring.columns import column_groups
from cfia.scoring.outputs import Outputs
from cfia.scoring.trained import TrainedExperiment
from cfia.training.folds import read_folds

# The names of the subsets of utt2type's values; another value is its own name.
_TYPES = {"impro": "improvised", "script": "scripted"}
UNSEEN, TAGGED = "unseen_text", "tagged"
TITLES = {UNSEEN: "text not seen in training", TAGGED: "with a tag"}


def subsets(trained: TrainedExperiment, outputs: Outputs) -> dict[str, list[str]]:
    """List the utterances, sorted, of each subset that the data can tell and that has any.

    The types of utt2type (improvised, scripted); groups of speakers and utterances by what else
    the corpus says of them (`cfia.scoring.columns`), such as `gender f`; `unseen_text`, whose
    transcript no training utterance of their fold has, word for word; `tagged`, with a tag such as
    [LAUGHTER] in the transcript with tags, where the data directory of `--text_tags keep` is there.

    Raises:
        UserError: a table lacks an utterance, or the fold lists are not those of the posteriors.
    """
    utts = outputs.utts
    by_type: dict[str, list[str]] = {}
    types = _table(trained.data / "utt2type", utts)
    for utt in utts if types else []:
        by_type.setdefault(_TYPES.get(types[utt], types[utt]), []).append(utt)
    subsets = dict(sorted(by_type.items()))
    subsets |= column_groups(trained.data, utts)[0]
    subsets[UNSEEN] = _unseen(trained, outputs)
    raw = _table(with_tags(trained.data, trained.protocol["text_tags"]) / "text", utts)
    subsets[TAGGED] = [utt for utt in utts if raw and has_tag(raw[utt])]
    return {name: subset for name, subset in subsets.items() if subset}


def _table(path: Path, utts: list[str]) -> dict[str, str]:
    """Read a table, which must hold all utterances; {} where there is none."""
    table = read_table(path, allow_empty=True) if path.exists() else {}
    for utt in utts if table else []:
        if utt not in table:
            raise UserError(f"{path} lacks {utt}, which was tested; run stage 1 again")
    return table


def _unseen(trained: TrainedExperiment, outputs: Outputs) -> list[str]:
    """List tested utterances whose transcript no training utterance of their fold has."""
    text = _table(trained.data / "text", outputs.utts)
    if text and trained.experiment.parts["train"].data != trained.data:
        text = _table(trained.experiment.parts["train"].data / "text", []) | text
    unseen: list[str] = []
    lists = trained.experiment.folds.directory
    folds = read_folds(lists) if text else {}
    for fold, utts in outputs.folds.items() if text else ():
        train = set(folds[fold].train)
        for utt in utts:
            if utt in train:
                raise UserError(
                    f"{lists / str(fold) / 'train'} names {utt}, which fold {fold} of "
                    f"{trained.directory} tests; the folds were made again since, so train again "
                    "(stage 5 with --force true)"
                )
        seen = {text.get(utt) for utt in train}
        unseen += [utt for utt in utts if text[utt] not in seen]
    return sorted(unseen)

"""The options of run.sh: name, default, help and legal values, each once.

The block of defaults in egs/TEMPLATE/ser.sh is what users read and edit; a test holds it against
this list. Standard library alone, since options are checked before any environment exists.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cfia.checks import (
    Check,
    directory,
    name_part,
    not_empty,
    number,
    numbers,
    one_line,
    optional,
    overrides,
)
from cfia.naming import ASR, DEFAULT_VALIDATION

BOOLEAN = ("false", "true")
SCHEMES = ("session", "speaker")  # those whose fold lists stage 2 makes for every corpus
CROSS = "cross"  # each of --corpora trains, and the others are tested
_CV = re.compile(f"session|speaker|given|{CROSS}|(kfold|utterance)(?P<k>[1-9][0-9]{{0,3}})")
_VALIDATION = re.compile(
    "random(?P<percent>[1-9][0-9]?)|partner|next_speaker|next_session|given|none"
)
LARGEST_PERCENT = 50  # of the utterances outside the test part that validation may draw
# What validates beside `random<percent>` and `none`, by the kind of scheme.
_VALIDATIONS = {
    "session": ("next_speaker", "next_session"),
    "speaker": ("partner", "next_speaker", "next_session"),
    "kfold": ("next_speaker", "next_session"),
    "given": ("given",),
    "utterance": (),
    CROSS: (),
    "train": (),
}

PROTOCOL, RUN = "protocol", "run"  # sections of experiment.yaml
PACK_ALL, PACK_FOLDS = "all", "folds"  # of --pack
GOLD = "gold"  # of --text_source, beside ASR
GPU = "gpu"  # of --feature_cache

MOST_TUNED = 1000  # settings that --tune tries
LARGEST_SEED = 2**32 - 1  # of NumPy's generators


def cv(value: str) -> str:
    """Check how folds are made."""
    match = _CV.fullmatch(value)
    if match and match["k"] != "1":
        return ""
    return "expected session, speaker, kfold<k>, given or utterance<k>, k from 2 on: kfold5"


def validation(value: str) -> str:
    """Check what validates."""
    match = _VALIDATION.fullmatch(value)
    if match and int(match["percent"] or 1) <= LARGEST_PERCENT:
        return ""
    return (
        f"expected random<percent>, from random1 to random{LARGEST_PERCENT}, partner, "
        "next_speaker, next_session, given or none"
    )


def scheme_kind(cv: str) -> str:
    """Name the kind of a scheme: `kfold` of `kfold5`, `train` of `train-emodb`."""
    return cv.partition("-")[0].rstrip("0123456789")


def not_together(cv: str, validation: str) -> str:
    """Say why a validation does not go with a scheme; "" if it does. Both are legal."""
    kind = scheme_kind(cv)
    if validation in ("none", *_VALIDATIONS[kind]) or validation.startswith("random"):
        return ""
    if validation == "partner" and kind == "session":
        return "--validation partner needs --cv speaker: with --cv session both speakers are tested"
    may_be = ", ".join(("random<percent>", *_VALIDATIONS[kind]))
    return f"--validation {validation} does not go with --cv {cv}; there it is {may_be} or none"


@dataclass(frozen=True)
class Option:
    """One option of run.sh.

    Attributes:
        name: of the variable in ser.sh, and of the flag.
        default: as ser.sh has it.
        help: one line; the comment beside the default in ser.sh.
        legal: the legal values, where they can be listed.
        check: what else a value must satisfy.
        recorded: the section of experiment.yaml that it goes to: PROTOCOL, RUN, or none.
        neutral: a recorded option that changes no result.
        default_unsaid: a recorded option that is left out where it is the default, as earlier
            versions did, which had no such option.
    """

    name: str
    default: str
    help: str
    legal: Sequence[str] = ()
    check: Check | None = None
    recorded: str = ""
    neutral: bool = False
    default_unsaid: bool = False


_o = Option
# fmt: off
OPTIONS: dict[str, tuple[Option, ...]] = {
    "General": (
        _o("stage", "0", "first stage to run", check=number(0, 9)),
        _o("stop_stage", "8", "last stage to run", check=number(0, 9)),
        _o("skip_stages", "", 'stages to leave out, such as "3 4"', check=numbers("3 4", 9)),
        _o("nj", "", "jobs at a time; changes no result (default: one per processor)",
           check=optional(number(1))),
        _o("ngpu", "0", "GPUs per job: 0 or 1", ("0", "1"), recorded=RUN),
        _o("jobs_per_gpu", "1", "jobs that share a GPU, with --ngpu 1", check=number(1),
           recorded=RUN, neutral=True, default_unsaid=True),
        _o("num_threads", "1", "threads per job; results depend on it", check=number(1, 1024),
           recorded=RUN),
        _o("force", "false", "make again what is there, and what follows", BOOLEAN),
        _o("dry_run", "false", "say what would be trained, and do nothing", BOOLEAN),
        _o("verbose", "false", "write more into the logs", BOOLEAN),
    ),
    "Corpus": (
        _o("corpus_dir", "", "the corpus, as it is distributed", check=one_line),
        _o("corpus", "", "its name, where that is not the recipe's; part of directories' names",
           check=name_part),
        _o("audio_dir", "", "its audio, where a recipe of several corpora has it apart",
           check=one_line),
        _o("corpora", "", "with --cv cross (egs/cross): recipes that are trained and tested on",
           check=one_line),
        _o("labels", "4", "label set: a file of conf/labels, without .yaml", check=name_part,
           recorded=PROTOCOL),
        _o("skip_bad", "false", "leave out unreadable audio and list it", BOOLEAN),
        _o("allow_partial", "false", "go on although parts of the corpus are missing", BOOLEAN),
        _o("text_tags", "strip", "strip or keep annotators' tags such as [LAUGHTER] in transcripts",
           ("strip", "keep"), recorded=PROTOCOL),
        _o("text_file", "", "a Kaldi text (of a recogniser, say) to use as transcripts"),
        _o("text_source", GOLD, "transcripts that systems read: gold, or asr, recognised ones",
           (GOLD, ASR), recorded=PROTOCOL, default_unsaid=True),
        _o("asr_model", "", "with asr, the recogniser: pocketsphinx, a hub id or a directory"),
    ),
    "Folds": (
        _o("cv", "session", "what is tested: session, speaker, kfold<k>, given or utterance<k>",
           check=cv, recorded=PROTOCOL),
        _o("validation", DEFAULT_VALIDATION,
           "random<percent>, partner, next_speaker, next_session, given or none",
           check=validation, recorded=PROTOCOL),
        _o("folds", "", 'train and score these alone, such as "1 2", and make no tables',
           check=numbers("1 2", 9999)),
    ),
    "Features": (
        _o("audio_upstream", "emotion2vec", "audio encoder, such as emotion2vec or wavlm"),
        _o("audio_model", "", "its model: hub id or directory (default: its own, if any)"),
        _o("audio_layer", "", "its layer, or all for a learnt sum (default: the last)"),
        _o("text_upstream", "bert", "text encoder, such as bert or minilm"),
        _o("text_model", "", "its model: hub id or directory (default: its own, if any)"),
        _o("text_layer", "", "its layer, or all for a learnt sum (default: the last)"),
        _o("hub", "hf", "where ids are looked up: hf (Hugging Face) or ms (ModelScope)",
           ("hf", "ms")),
        _o("allow_contaminated", "false",
           "accept an encoder that was trained on the corpus's labels", BOOLEAN),
        _o("compression_method", "0",
           "of the archives: 0 float32; 2 a byte, 3 two bytes per value", ("0", "2", "3")),
        _o("feature_cache", "auto",
           "where training keeps features: gpu, ram, mmap, none; auto goes by free memory",
           ("auto", GPU, "ram", "mmap", "none"), recorded=RUN, neutral=True),
    ),
    "Training": (
        _o("systems", "audio_text audio text probe_audio_text probe_audio probe_text",
           "to train: [<configuration>_]audio_text, [<configuration>_]audio, ...",
           check=not_empty),
        _o("train_config", "cfia_net",
           "configuration of systems that name none, or a YAML file"),
        _o("train_args", "", '"key=value ..." that win over the configuration', check=overrides),
        _o("seeds", "", 'one training per fold and seed, such as "1 2 3" (default: 1)',
           check=numbers("1 2 3", LARGEST_SEED)),
        _o("selection", "valid",
           "which epoch is taken: valid, last, or test (an oracle, and labelled so)",
           ("valid", "last", "test"), recorded=PROTOCOL),
        _o("refit", "false", "train again, on training and validation part, for that many epochs",
           BOOLEAN, recorded=PROTOCOL, default_unsaid=True),
        _o("tune", "0", "in each fold, the best on validation of the first N of conf/tune.yaml",
           check=number(0, MOST_TUNED), recorded=PROTOCOL, default_unsaid=True),
        _o("tag", "", "suffix of the systems' names, to keep variants apart", check=name_part),
    ),
    "Studies, which say themselves what is trained under which --cv and --validation": (
        _o("study", "", "make the tables of conf/study/<study>.yaml: paper, peers, protocol, smoke",
           check=name_part),
        _o("study_seeds", "1", "seeds of a study's rows without --seeds",
           check=numbers("1 2 3", LARGEST_SEED)),
    ),
    "Packs": (
        _o("pack", PACK_ALL, "what is packed: all, a network of all utterances; or folds, theirs",
           (PACK_ALL, PACK_FOLDS)),
        _o("pack_dir", "", "where it goes (default: exp/<system>/<scheme>/pack, or pack_folds)",
           check=one_line),
    ),
    "Directories, relative to the recipe's": (
        _o("datadir", "data", "data directories and fold lists", check=directory),
        _o("dumpdir", "dump", "features", check=directory),
        _o("expdir", "exp", "models, scores, tables", check=directory),
    ),
}
# fmt: on

EVERY = tuple(option for group in OPTIONS.values() for option in group)
LEGAL = {option.name: tuple(option.legal) for option in EVERY}
NEUTRAL = tuple(option.name for option in EVERY if option.neutral)


def recorded(section: str, values: Mapping[str, str]) -> dict[str, str | bool]:
    """Select the values that a section of experiment.yaml records."""
    said = {
        option: values[option.name]
        for option in EVERY
        if option.recorded == section
        and not (option.default_unsaid and values[option.name] == option.default)
    }
    return {o.name: v == "true" if o.legal == BOOLEAN else v for o, v in said.items()}


PACK = ("pack", "a model to use and to share; made where --stage or --stop_stage is 9")
STAGES = (
    ("corpus", "make or fetch the corpus, where the recipe can"),
    ("data", "the corpus to a Kaldi data directory, validated"),
    ("folds", "train, validation and test lists of every scheme"),
    ("audio features", "dumped as Kaldi archives"),
    ("text features", "dumped as Kaldi archives"),
    ("training", "one network per system, fold and seed"),
    ("posteriors", "of the test utterances"),
    ("scores", "WA, UA, WF1, macro F1 with intervals"),
    ("tables, plots", "exp/RESULTS.md, exp/report.html, exp/tables, figures"),
    PACK,
)

USAGE = """\
Usage: ./run.sh [options]
Speech emotion recognition from audio and text, from a corpus to a table of scores.

  ./run.sh --stage 5 --stop_stage 8 --cv speaker --seeds "1 2 3"

Stages:
{stages}

Options (value here: as this recipe and this command line set it; --config FILE is sourced first):
{options}

Single programs, as cfia compare: `. ./path.sh` puts them on the path; cfia --help lists them."""


def usage(values: Mapping[str, str], legal: Mapping[str, Sequence[str]]) -> str:
    """Describe all stages and options, each with its present value.

    Args:
        legal: the legal values of options for which `Option.legal` does not list them.
    """
    lines = []
    for group, options in OPTIONS.items():
        lines.append(f"{group}:")
        for option in options:
            choices = f" ({', '.join(legal[option.name])})" if option.name in legal else ""
            lines.append(f"  --{option.name:<20} {option.help}{choices} [{values[option.name]}]")
    stages = [f"  {i} {name:<16} {makes}" for i, (name, makes) in enumerate(STAGES)]
    return USAGE.format(stages="\n".join(stages), options="\n".join(lines))


def processors() -> int:
    """Count the processors that this process may use: the default of `--nj`."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

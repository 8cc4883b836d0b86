"""Whether the options of run.sh are legal, each by itself and all together (`cfia.options`).

Standard library alone, since options are checked before any environment exists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cfia.checks import unreadable
from cfia.errors import UserError
from cfia.naming import ASR, DEFAULT_SELECTION
from cfia.options import CROSS, EVERY, GPU, PACK, PROTOCOL, STAGES, Option, not_together


def check(values: Mapping[str, str], legal: Mapping[str, Sequence[str]]) -> None:
    """Check the values of all options, each by itself and against the others.

    Args:
        values: as the shell has them.
        legal: as for `usage`.

    Raises:
        UserError: a value is not legal; the message names the option and what is legal.
    """
    for option in EVERY:
        _check_value(option, values[option.name], option.legal or legal.get(option.name, ()))
    stage, stop_stage = int(values["stage"]), int(values["stop_stage"])
    if stage > stop_stage:
        raise UserError(f"--stage {stage} is after --stop_stage {stop_stage}: nothing to run")
    wrong = not_together(values["cv"], values["validation"])
    if wrong:
        raise UserError(wrong)
    _check_selection(values)
    if values["feature_cache"] == GPU and values["ngpu"] == "0":
        raise UserError(f"--feature_cache {GPU} needs --ngpu 1: features are kept on the GPU")
    if values["folds"] and values["study"]:
        raise UserError("--folds is for a plain run; the tables of a study need all folds")
    if stop_stage == STAGES.index(PACK):
        _check_pack(values)
    skipped = values["skip_stages"].replace(",", " ").split()
    prepares = stage <= 1 <= stop_stage and "1" not in skipped and values["dry_run"] == "false"
    _check_corpora(values)
    if prepares and not values["corpus_dir"] and not values["corpora"]:
        raise UserError(
            "stage 1 needs --corpus_dir DIR, the corpus as it is distributed; --stop_stage 0 says "
            "where to get it"
        )
    text_file = values["text_file"]
    if text_file and not Path(text_file).is_file():
        raise UserError(f"--text_file: no such file {text_file}")
    if values["asr_model"] and values["text_source"] != ASR and not values["study"]:
        raise UserError(f"--asr_model goes with --text_source {ASR}")
    _check_text_source(values)


def _check_pack(values: Mapping[str, str]) -> None:
    for other in ("study", "folds"):
        if values[other]:
            raise UserError(
                f"stage 9 (pack) does not go with --{other}: it packs whole experiments of a plain "
                "run, which --systems, --cv and --tag name"
            )
    systems = values["systems"].replace(",", " ").split()
    if values["pack_dir"] and (systems[1:] or values["corpora"]):
        raise UserError(
            "--pack_dir is the place of one pack, and there is one for each of --systems and each "
            "of --corpora; name one, or leave it out, and move the packs"
        )


def check_protocol(values: Mapping[str, str]) -> None:
    """Check the options that say how a system is trained and tested, which a study's row may set.

    Raises:
        UserError: as `check`.
    """
    for option in EVERY:
        if option.recorded == PROTOCOL:
            _check_value(option, values[option.name], option.legal)
    _check_selection(values)
    _check_corpora(values)
    _check_text_source(values)


def _check_corpora(values: Mapping[str, str]) -> None:
    if values["corpora"] and values["study"]:
        raise UserError("--study is of one corpus; it does not go with --corpora")
    if values["corpora"] and values["cv"] != CROSS:
        raise UserError(f"--corpora goes with --cv {CROSS}, as in egs/cross")
    if values["cv"] == CROSS and not values["corpora"]:
        raise UserError(
            f'--cv {CROSS} needs --corpora "../emodb ../iemocap", recipes whose stages 1 to 4 are '
            "done, in egs/cross"
        )


def _check_selection(values: Mapping[str, str]) -> None:
    if values["validation"] == "none" and values["selection"] not in ("last", "test"):
        raise UserError(
            "--validation none needs --selection last or test: without a validation part no epoch "
            "can be selected on it"
        )
    if values["refit"] == "true" and values["selection"] != DEFAULT_SELECTION:
        raise UserError(
            f"--refit true goes with --selection valid alone, not {values['selection']}: the epoch "
            "is selected on the validation part, which then trains too"
        )
    if values["tune"] != "0" and values["selection"] != DEFAULT_SELECTION:
        raise UserError(
            f"--tune {values['tune']} goes with --selection valid alone, not "
            f"{values['selection']}: the settings are chosen on the validation part"
        )


def _check_text_source(values: Mapping[str, str]) -> None:
    if values["text_source"] != ASR:
        return
    if not values["asr_model"]:
        raise UserError(
            f"--text_source {ASR} needs --asr_model: pocketsphinx, or the hub id or directory of a "
            "recogniser"
        )
    for other in ("text_file", "corpora"):
        if values[other]:
            raise UserError(
                f"--text_source {ASR} does not go with --{other}, whose transcripts are there "
                "already; leave one of them out"
            )


def _check_value(option: Option, value: str, legal: Sequence[str]) -> None:
    if legal and value not in legal:
        raise UserError(f"--{option.name} is {value!r}; legal values are {', '.join(legal)}")
    wrong = (option.check(value) if option.check else "") or unreadable(value)
    if wrong:
        raise UserError(f"--{option.name} is {value!r}; {wrong}")

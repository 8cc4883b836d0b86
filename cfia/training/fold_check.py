"""Check the fold lists on disk, by rules of its own.

Nothing is shared with `cfia.training.folds`, which writes them: a mistake there, or in a list
that somebody edited, must show here.
"""

from __future__ import annotations

from pathlib import Path

from cfia.errors import UserError
from cfia.kaldi.table import read_lines, read_table, split_row


def check(
    data: Path, folds: Path, cv: str, validation: str, *, shown: Path | None = None
) -> list[str]:
    """Check all folds of a scheme, and describe each in a line.

    Args:
        data: the data directory; folds: the scheme's directory, with 1/, 2/, ... in it.
        cv: `session` or `speaker`; validation: `random20`, `partner`, `next_speaker` or
            `next_session`; shown: what messages call `folds`.

    Raises:
        UserError: a fold shares an utterance, a speaker, a session or (with `partner`) a dialogue
            that it must not share, or a list is missing, unsorted or incomplete.
    """
    tables = {
        name: read_table(data / name)
        for name in ("utt2spk", "utt2session", "utt2dialogue", "text")
        if (data / name).exists()
    }
    n_folds = sum(1 for path in folds.glob("[0-9]*") if path.is_dir())
    if n_folds == 0:
        raise UserError(f"{folds} holds no folds; run stage 2 (folds)")
    shown = shown or folds
    tested: dict[str, int] = {}
    reports = []
    for number in range(1, n_folds + 1):
        parts = {part: _read(folds / str(number) / part) for part in ("train", "valid", "test")}
        where = f"fold {number} of {shown}"
        _check_utterances(parts, set(tables["utt2spk"]), where)
        _check_disjoint(parts, tables, cv, validation, where)
        for utterance in parts["test"]:
            if utterance in tested:
                raise _wrong(shown, f"folds {tested[utterance]} and {number} both test {utterance}")
            tested[utterance] = number
        reports.append(_report(number, parts, tables, cv))
    untested = tables["utt2spk"].keys() - tested.keys()
    if untested:
        raise _wrong(shown, f"no fold tests {min(untested)}")
    return reports


def _read(path: Path) -> list[str]:
    utterances = [split_row(line)[0] for line in read_lines(path)]
    if utterances != sorted(set(utterances)):
        raise _wrong(path, "it is not sorted or has duplicates")
    return utterances


def _check_utterances(parts: dict[str, list[str]], known: set[str], where: str) -> None:
    """Refuse parts that are not a partition of the data directory's utterances."""
    seen: dict[str, str] = {}
    for part, utterances in parts.items():
        for utterance in utterances:
            if utterance not in known:
                raise _wrong(where, f"{part} names {utterance}, which the data directory lacks")
            if utterance in seen:
                raise _wrong(where, f"{utterance} stands in {seen[utterance]} and in {part}")
            seen[utterance] = part
    if known - seen.keys():
        raise _wrong(where, f"no part has {min(known - seen.keys())}")


def _check_disjoint(
    parts: dict[str, list[str]],
    tables: dict[str, dict[str, str]],
    cv: str,
    validation: str,
    where: str,
) -> None:
    """Refuse a speaker or session in two parts that the scheme keeps apart."""
    rules = [("utt2spk", "test", "train"), ("utt2spk", "test", "valid")]
    if cv == "session":
        rules += [("utt2session", "test", "train"), ("utt2session", "test", "valid")]
    if validation != "random20":
        rules.append(("utt2spk", "valid", "train"))
    if validation == "next_session":
        rules += [("utt2session", "valid", "train"), ("utt2session", "test", "valid")]
    if validation == "partner":
        rules.append(("utt2session", "test", "train"))
        if "utt2dialogue" in tables:
            rules.append(("utt2dialogue", "test", "train"))
    nouns = {"utt2spk": "speaker", "utt2session": "session", "utt2dialogue": "dialogue"}
    for table, first, second in rules:
        common = _values(parts[first], tables[table]) & _values(parts[second], tables[table])
        if common:
            raise _wrong(where, f"{first} and {second} share the {nouns[table]} {min(common)}")


def _values(utterances: list[str], table: dict[str, str]) -> set[str]:
    return {table[utterance] for utterance in utterances}


def _report(
    number: int, parts: dict[str, list[str]], tables: dict[str, dict[str, str]], cv: str
) -> str:
    """Describe a sound fold in a line: who is tested, and what the test shares with other parts."""
    tested = sorted(_values(parts["test"], tables["utt2session" if cv == "session" else "utt2spk"]))
    sizes = ", ".join(f"{part} {len(utterances)}" for part, utterances in parts.items())
    shared = []
    for part in ("train", "valid"):
        counts = [
            f"{len(_values(parts[part], tables[table]) & _values(parts['test'], tables[table]))} "
            f"{values}"
            for table, values in (("utt2dialogue", "dialogues"), ("text", "transcripts"))
            if table in tables
        ]
        shared += [f"{part} and test share {', '.join(counts)}"] if counts else []
    return "; ".join([f"fold {number} (tests {', '.join(tested)}): {sizes}", *shared])


def _wrong(where: str | Path, what: str) -> UserError:
    return UserError(f"{where}: {what}; delete the scheme's directory and run stage 2 (folds)")

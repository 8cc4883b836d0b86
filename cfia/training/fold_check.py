"""Check fold lists as they stand on disk, by rules of their own.

Nothing is shared with `cfia.training.folds`, which writes them: a mistake there, or in a list
that somebody edited, must show here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cfia.errors import UserError
from cfia.kaldi.table import read_lines, read_table


@dataclass(frozen=True)
class Shared:
    """What the test part has in common with another part: distinct dialogues and transcripts."""

    dialogues: int | None  # None where the corpus has no utt2dialogue
    transcripts: int


@dataclass(frozen=True)
class Report:
    """What was found in one fold that is sound."""

    fold: int
    tested: list[str]  # speakers or sessions
    sizes: dict[str, int]  # part -> utterances
    shared: dict[str, Shared]  # train and valid, each against test

    def line(self) -> str:
        """The report in one line."""
        sizes = ", ".join(f"{part} {n}" for part, n in self.sizes.items())
        shared = "; ".join(f"{part} and test share {_say(s)}" for part, s in self.shared.items())
        return f"fold {self.fold} (tests {', '.join(self.tested)}): {sizes}; {shared}"


def check(
    data: Path, folds: Path, cv: str, validation: str, *, shown: Path | None = None
) -> list[Report]:
    """Check all folds of a scheme.

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
    utterances = [line.split(" ")[0] for line in read_lines(path)]
    if utterances != sorted(set(utterances)):
        raise _wrong(path, "it is not sorted or has duplicates")
    return utterances


def _check_utterances(parts: dict[str, list[str]], known: set[str], where: str) -> None:
    """Each utterance of the data directory stands in one part, and no other does."""
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
    """No speaker or session on two sides where the scheme keeps them apart."""
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
    for table, one, other in rules:
        common = _values(parts[one], tables[table]) & _values(parts[other], tables[table])
        if common:
            what = {"utt2spk": "speaker", "utt2session": "session", "utt2dialogue": "dialogue"}
            raise _wrong(where, f"{one} and {other} share the {what[table]} {min(common)}")


def _values(utterances: list[str], table: dict[str, str]) -> set[str]:
    return {table[utterance] for utterance in utterances}


def _report(
    number: int, parts: dict[str, list[str]], tables: dict[str, dict[str, str]], cv: str
) -> Report:
    held_out = tables["utt2session" if cv == "session" else "utt2spk"]

    def shared(part: str, name: str) -> int:
        return len(_values(parts[part], tables[name]) & _values(parts["test"], tables[name]))

    return Report(
        fold=number,
        tested=sorted(_values(parts["test"], held_out)),
        sizes={part: len(utterances) for part, utterances in parts.items()},
        shared={
            part: Shared(
                dialogues=shared(part, "utt2dialogue") if "utt2dialogue" in tables else None,
                transcripts=shared(part, "text"),
            )
            for part in ("train", "valid")
        },
    )


def _say(shared: Shared) -> str:
    transcripts = f"{shared.transcripts} transcripts"
    return (
        transcripts if shared.dialogues is None else f"{shared.dialogues} dialogues, {transcripts}"
    )


def _wrong(where: str | Path, what: str) -> UserError:
    return UserError(f"{where}: {what}; delete the scheme's directory and run stage 2 (folds)")

"""Read IEMOCAP: labels of EmoEvaluation, gold transcripts, one WAV per utterance.

    SessionN/sentences/wav/<dialogue>/<utterance>.wav
    SessionN/dialog/EmoEvaluation/<dialogue>.txt      [6.29 - 8.23] <utterance> neu [2.5, 2.5, 2.5]
    SessionN/dialog/transcriptions/<dialogue>.txt     <utterance> [006.29-008.23]: Excuse me.

Both kinds of text files hold lines of other forms, which are passed over.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cfia.cli import run
from cfia.corpus.prepare import Corpus, main
from cfia.corpus.utterances import NO_AUDIO, Utterance
from cfia.errors import UserError

log = logging.getLogger(__name__)

_LABEL = re.compile(r"\[[\d.]+ - [\d.]+\]\s+(\S+)\s+(\S+)\s+\[[^\]]*\]\s*")
_TRANSCRIPT = re.compile(r"(\S+)\s+\[[\d.\s-]+\]:(.*)")
# Turns such as Ses01F_impro01_MXX0 have no speaker who can be told; they carry no label.
_NOBODY = re.compile(r"[FM]XX\d*")
_SESSION = re.compile(r"(Ses\d+)[FM]")
_TURN = re.compile(r"([FM])\d+")
_TYPES = ("impro", "script")


@dataclass(frozen=True)
class Name:
    """The parts of the name of an utterance, such as `Ses01F_impro01_M005`.

    The speaker is the letter of the last token: the one in front wore the motion capture markers.
    """

    session: str
    gender: str
    dialogue: str
    type: str

    @property
    def speaker(self) -> str:
        """The speaker's id, such as `Ses01M`."""
        return self.session + self.gender

    @classmethod
    def parse(cls, name: str, where: str) -> Name:
        """Take a name apart, whatever suffixes its dialogue has.

        Raises:
            UserError: it is not of this form.
        """
        first, *middle, last = name.split("_")
        session, turn = _SESSION.fullmatch(first), _TURN.fullmatch(last)
        kinds = [kind for kind in _TYPES if middle and middle[0].startswith(kind)]
        if session is None or turn is None or not kinds:
            raise UserError(
                f"{where}: {name!r} is not the name of an utterance of IEMOCAP, such as "
                "Ses01F_impro01_M005; correct the line"
            )
        return cls(session.group(1), turn.group(1), name.rpartition("_")[0], kinds[0])


def read(corpus_dir: Path, conf: Path) -> Corpus:
    """Read the labels and transcripts of all sessions.

    Raises:
        UserError: `corpus_dir` is not IEMOCAP, or a file is not as it should be.
    """
    del conf  # nothing of the recipe is needed to read this corpus
    utterances: list[Utterance] = []
    files: list[Path] = []
    missing: list[str] = []
    for session in sorted(path for path in corpus_dir.glob("Session*") if path.is_dir()):
        labels = _files(session / "dialog" / "EmoEvaluation")
        transcripts = _files(session / "dialog" / "transcriptions")
        if not labels:
            missing.append(f"{session.name}/dialog/EmoEvaluation/*.txt")
        texts = _transcripts(transcripts)
        for path in labels:
            utterances.extend(_utterances(session, path, texts))
        files.extend([*labels, *transcripts])
    if not utterances:
        raise UserError(
            f"{corpus_dir} is not IEMOCAP, as it has no Session*/dialog/EmoEvaluation with "
            "labels; give the directory IEMOCAP_full_release"
        )
    return Corpus(
        utterances,
        {"spk2gender": {u.speaker: u.speaker[-1].lower() for u in utterances}},
        files=files,
        missing=missing,
    )


def describe(turn: str, label: str, source: Path, line: int) -> Utterance:
    """Describe an utterance by its name alone, without audio and transcript.

    Args:
        source: the file that labels it, in this line.

    Raises:
        UserError: it is not the name of an utterance.
    """
    name = Name.parse(turn, f"{source}, line {line}")
    return Utterance(
        id=f"{name.speaker}-{turn}",
        name=turn,
        speaker=name.speaker,
        label=label,
        source=source,
        audio=NO_AUDIO,
        transcript=None,
        session=name.session,
        type=name.type,
        dialogue=name.dialogue,
    )


def _files(directory: Path) -> list[Path]:
    """List the text files at this level, without those of macOS (`._x.txt`)."""
    return sorted(directory.glob("[!.]*.txt"))


def _utterances(session: Path, path: Path, texts: dict[str, str]) -> Iterator[Utterance]:
    """Read the utterances that one EmoEvaluation file labels."""
    wavs = session / "sentences" / "wav"
    for number, line in enumerate(_lines(path), start=1):
        if not line.startswith("["):
            continue
        match = _LABEL.fullmatch(line)
        if match is None:
            raise UserError(
                f"{path}, line {number}: {line!r} is not `[start - end] utterance label "
                "[v, a, d]`; correct it"
            )
        turn, label = match.groups()
        if _NOBODY.fullmatch(turn.rpartition("_")[2]):
            continue
        utterance = describe(turn, label, path, number)
        audio = wavs / utterance.dialogue / f"{turn}.wav"
        yield replace(utterance, audio=audio, transcript=texts.get(turn))


def _transcripts(paths: list[Path]) -> dict[str, str]:
    """Map utterances to transcripts with their tags; also turns that have no label."""
    texts: dict[str, str] = {}
    for path in paths:
        for line in _lines(path):
            match = _TRANSCRIPT.fullmatch(line)
            if match is None or _NOBODY.fullmatch(match[1].rpartition("_")[2]):
                continue
            turn, text = match[1], match[2].strip()
            if texts.setdefault(turn, text) != text:
                log.warning("%s: %s has two transcripts; the first is taken", path, turn)
    return texts


def _lines(path: Path) -> Iterator[str]:
    """Decode the lines of a file, each as UTF-8, or else Windows-1252, or else Latin-1."""
    for line in path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        for encoding in ("utf-8", "cp1252", "latin-1"):
            with contextlib.suppress(UnicodeDecodeError):
                yield line.decode(encoding).strip()
                break


if __name__ == "__main__":
    run(lambda argv: main("IEMOCAP", read, argv))

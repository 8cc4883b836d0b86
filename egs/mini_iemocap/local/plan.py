"""Plan the whole corpus as a list of turns: who says which words, where and with which emotion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from egs.mini_iemocap.local import sentences

SESSIONS = range(1, 6)

# The dialogues of each session, with the letter of the speaker who wore the markers; turns are
# dealt out so that both speak in each. A few names have suffixes, as in the real corpus.
DIALOGUES: dict[int, tuple[str, ...]] = {
    1: ("F_impro01", "M_impro02", "F_impro05", "M_script01_1", "F_script02_2", "M_script03_1"),
    2: ("F_impro01", "M_impro03", "F_impro04", "M_script01_1", "F_script02_2", "M_script03_2"),
    3: ("F_impro02", "M_impro05a", "M_impro05b", "F_script01_1", "M_script02_2", "F_script03_1"),
    4: ("M_impro01", "F_impro04", "M_impro07", "F_script01_1", "M_script02_2", "F_script03_2"),
    5: ("F_impro01", "M_impro03", "F_impro08", "M_script01_1", "M_script01_1b", "F_script03_1"),
}

# Utterances of each label for a speaker who has STANDARD of them; exc and hap end up as one
# class. The labels of the second line are left out by the recipe; `rare` is one of _RARE, another
# for the next speaker.
STANDARD = 44
_QUOTA = {
    "neu": 12, "ang": 9, "sad": 9, "exc": 6, "hap": 4,
    "fru": 2, "xxx": 1, "rare": 1,
}  # fmt: skip
_RARE = ("sur", "fea", "oth", "dis")

# Tags that annotators wrote, as likely in one class as in another.
_TAGS = ("[LAUGHTER]", "[BREATHING]", "[GARBAGE]")
_SHARE_TAGGED = 0.05
# Sessions in which one turn of the four classes holds nothing but a tag.
_TAG_ONLY = {2: "[BREATHING]", 5: "[LAUGHTER]"}


@dataclass(frozen=True)
class Turn:
    """One utterance."""

    session: int
    dialogue: str  # such as Ses03M_impro05a
    speaker: str  # F or M, of this session
    number: int  # among this speaker's turns in the dialogue
    label: str  # what most raters heard
    spoken: str  # the words
    transcript: str  # the words with the annotators' tags

    @property
    def name(self) -> str:
        """The utterance's name, such as Ses03M_impro05a_F012."""
        return f"{self.dialogue}_{self.speaker}{self.number:03d}"

    @property
    def voice(self) -> str:
        """The key of the speaker's voice, such as Ses03F."""
        return f"Ses{self.session:02d}{self.speaker}"


def plan(utterances_per_speaker: int, seed: int) -> list[Turn]:
    """Plan all turns, session by session and dialogue by dialogue, in the order of speaking."""
    rng = np.random.default_rng([seed, 0])
    turns: list[Turn] = []
    for session in SESSIONS:
        rare = {letter: _RARE[(2 * session + i) % len(_RARE)] for i, letter in enumerate("FM")}
        labels = {letter: _labels(utterances_per_speaker, rare[letter], rng) for letter in rare}
        texts = sentences.Session(rng)
        spoken = list(_session(session, labels, texts, rng))
        turns += _with_tag_only(spoken, session, rng)
    return turns


def _labels(total: int, rare: str, rng: np.random.Generator) -> list[str]:
    """Draw a speaker's labels in random order. Counts vary a little, as nobody is balanced."""
    labels: list[str] = []
    for label, quota in _QUOTA.items():
        count = max(1, round(quota * total / STANDARD))
        if count > 5:
            count += int(rng.integers(-1, 2))
        labels += [rare if label == "rare" else label] * count
    return [labels[int(i)] for i in rng.permutation(len(labels))]


def _session(
    session: int,
    labels: dict[str, list[str]],
    texts: sentences.Session,
    rng: np.random.Generator,
) -> Iterator[Turn]:
    names = DIALOGUES[session]
    for index, name in enumerate(names):
        dealt = {letter: labels[letter][index :: len(names)] for letter in "FM"}
        order = [letter for letter in "FM" for _ in dealt[letter]]
        counts = {"F": 0, "M": 0}
        for position in rng.permutation(len(order)):
            letter = order[int(position)]
            label = dealt[letter][counts[letter]]
            words = texts.draw(label, "script" in name)
            yield Turn(
                session=session,
                dialogue=f"Ses{session:02d}{name}",
                speaker=letter,
                number=counts[letter],
                label=label,
                spoken=words,
                transcript=_tagged(words, rng),
            )
            counts[letter] += 1


def _tagged(words: str, rng: np.random.Generator) -> str:
    if rng.random() >= _SHARE_TAGGED:
        return words
    tag = str(rng.choice(_TAGS))
    return f"{tag} {words}" if rng.random() < 0.5 else f"{words} {tag}"


def _with_tag_only(turns: list[Turn], session: int, rng: np.random.Generator) -> list[Turn]:
    """Replace one turn's words by a murmur that the transcript shows as a tag alone."""
    if session not in _TAG_ONLY:
        return turns
    candidates = [i for i, turn in enumerate(turns) if turn.label in ("ang", "hap", "sad", "neu")]
    chosen = int(rng.choice(candidates))
    murmur = replace(turns[chosen], spoken="Hmm, mhm.", transcript=_TAG_ONLY[session])
    return [*turns[:chosen], murmur, *turns[chosen + 1 :]]

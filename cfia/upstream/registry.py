"""The table of upstreams; find, identify and build them by name."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cfia import naming
from cfia.errors import UserError
from cfia.upstream.choice import Choice

if TYPE_CHECKING:  # base imports numpy, which `--help` should not wait for
    from cfia.upstream.base import Loader, Upstream
    from cfia.upstream.checkpoint import Checkpoint


@dataclass(frozen=True)
class Family:
    """A name of `--audio_upstream` or `--text_upstream`.

    Attributes:
        modality: "audio" or "text".
        module: is imported only when it is used; its `LOADER` is a `base.Loader`.
        models: the id, by hub, of the model that is meant where none is named.
        published: SHA-256 of the weights of published models, and what these are called.
        layers: whether one of them can be asked for.
        complete: whether it can be used without naming a model.
        model_class: the class of transformers, in a module that loads several.
    """

    modality: str
    module: str
    models: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[str, str] = field(default_factory=dict)
    layers: bool = True
    complete: bool = True
    model_class: str = ""


# The one table of encoders. The digests are those of the hubs' own listings (Git LFS), each seen
# in at least two public places; conf/exposure.yaml says what the models of these names saw.
FAMILIES = {
    "fbank": Family("audio", "cfia.upstream.fbank", layers=False),
    "whisper": Family(
        "audio",
        "cfia.upstream.whisper",
        published={
            "7ebd0e69e78190ffe1438491fa05cc1f5c1aa3a4c4db3bc1723adbb551ea2395": "whisper-tiny",
            "07cadb9f25677c8d50df603e66a98fbd842cce45047139baeb16e6219a1e807b": "whisper-base",
        },
        complete=False,
    ),
    "emotion2vec": Family(
        "audio",
        "cfia.upstream.emotion2vec",
        {"hf": "emotion2vec/emotion2vec_base", "ms": "iic/emotion2vec_base"},
        {
            "4f14ddf7ba394bcafdd4bff6ae0f24ab2e4134260d4dd42c58ea791a201b02dd": "emotion2vec_base",
            "be501a01f26fcdc7663a062dff86af839afbaef7c4de32f5e42d7e1ad2784da4": (
                "emotion2vec_plus_large"
            ),
        },
        layers=False,
    ),
    "wav2vec2": Family(
        "audio",
        "cfia.upstream.speech",
        {"hf": "facebook/wav2vec2-base"},
        {"3249fe98bfc62fcbc26067f724716a6ec49d12c4728a2af1df659013905dff21": "wav2vec2-base"},
        model_class="Wav2Vec2Model",
    ),
    "hubert": Family(
        "audio",
        "cfia.upstream.speech",
        {"hf": "facebook/hubert-base-ls960"},
        {"062249fffb353eab67547a2fbc129f7c31a2f459faf641b19e8fb007cc5c48ad": "hubert-base-ls960"},
        model_class="HubertModel",
    ),
    "wavlm": Family(
        "audio",
        "cfia.upstream.speech",
        {"hf": "microsoft/wavlm-large"},
        {"fdee460e529396ddb2f8c8e8ce0ad74cfb747b726bc6f612e666c7c1e1963c9d": "wavlm-large"},
        model_class="WavLMModel",
    ),
    "bert": Family(
        "text",
        "cfia.upstream.text",
        {"hf": "bert-base-uncased", "ms": "AI-ModelScope/bert-base-uncased"},
        {
            "68d45e234eb4a928074dfd868cead0219ab85354cc53d20e772753c6bb9169d3": "bert-base-uncased",
            "097417381d6c7230bd9e3557456d726de6e83245ec8b24f529f60198a67b203a": "bert-base-uncased",
        },
    ),
    "minilm": Family(
        "text",
        "cfia.upstream.text",
        published={
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db": "all-MiniLM-L6-v2"
        },
    ),
}


@dataclass(frozen=True)
class Identity:
    """The identity of an encoder's weights.

    Attributes:
        published: the name of the published model that has these weights; None: of none whose
            digest is known here.
        claimed: the name of a published model that the model bears, though its weights are others.
        label_head: whether they have a classifier's head, and so were trained on labels.
    """

    published: str | None = None
    claimed: str | None = None
    label_head: bool = False

    def __str__(self) -> str:
        """Word it for frontend.yaml."""
        if self.published:
            return f"the published {self.published}"
        head = ", with a classifier's head" if self.label_head else ""
        if self.claimed:
            return f"not the file published as {self.claimed}, whose name it has{head}"
        return f"weights that are not known here{head}"


def names(modality: str) -> list[str]:
    """List the upstreams of a modality."""
    return [name for name, family in FAMILIES.items() if family.modality == modality]


def default_model(choice: Choice) -> str:
    """Give the model that a choice names, or the hub's id of the encoder's own.

    Raises:
        UserError: none is named, and no id is known there.
    """
    if choice.model is not None:
        return choice.model
    models, flag = FAMILIES[choice.name].models, f"--{choice.modality}_model"
    if choice.hub not in models:
        where = f"; no id of it is known for --hub {choice.hub}" if models else ""
        raise UserError(
            f"{choice.name} needs a model{where}: name one with {flag}, an id of the hub or a "
            "directory"
        )
    return models[choice.hub]


def find(choice: Choice, revision: str | None = None) -> Checkpoint | None:
    """Find the files of a choice's model, on the hub if need be; None if it has none.

    Args:
        choice: its `name` is one of `names(choice.modality)`.
        revision: the commit on the hub; None is the newest.

    Raises:
        UserError: no such upstream, or its model cannot be found or fetched whole.
    """
    return _loader(choice).find(choice, revision)


def build(
    choice: Choice, num_threads: int = 1, device: str = "cpu", files: Checkpoint | None = None
) -> Upstream:
    """Load a frozen encoder.

    Args:
        choice: its `name` is one of `names(choice.modality)`.
        num_threads: CPU threads that this process may use.
        device: where a network runs: "cpu", or "cuda" for the GPU that the process may use.
        files: what `find` gave for the choice (default: it is asked).

    Raises:
        UserError: no such upstream, or its model cannot be found or loaded whole.
    """
    return _loader(choice).build(choice, files or find(choice), num_threads, device)


def model_digest(choice: Choice, files: Checkpoint | None = None) -> str | None:
    """Digest a model's files (None: it has none), without loading the model.

    Raises:
        UserError: no such upstream, model or layer.
    """
    files = files or find(choice)
    _loader(choice).check(choice, files)
    return files.digest() if files else None


def survey(choice: Choice, files: Checkpoint | None, texts: Iterable[str]) -> str | None:
    """Say what is remarkable in how an encoder's tokenizer takes transcripts, if anything.

    Raises:
        UserError: it has no tokenizer that belongs to its weights, or one for other words.
    """
    look = _loader(choice).survey
    return look(files, texts) if look else None


def identify(choice: Choice, files: Checkpoint | None) -> Identity | None:
    """Identify the weights of a model; None for an encoder without weights.

    Raises:
        UserError: the files cannot be read.
    """
    if files is None:
        return None
    known, name = FAMILIES[choice.name].published, naming.model_name(files.model)
    published = known.get(files.weights_digest())
    claimed = name if published is None and name in known.values() else None
    return Identity(published, claimed, files.has_label_head())


def from_record(choice: Choice, record: Mapping[str, Any]) -> Checkpoint:
    """Restore the result of `find` from its `Checkpoint.record`.

    Raises:
        UserError: the directory is gone.
    """
    return _loader(choice).files.from_record(record, "the dump was")


def upstream_name(choice: Choice) -> str:
    """Name a dump: by encoder, or the last part of the model's id; and `_l<layer>` if given."""
    layer = "" if choice.layer is None else str(choice.layer)
    return naming.upstream_name(choice.name, choice.model or "", layer)


def _loader(choice: Choice) -> Loader[Checkpoint | None]:
    modality, name = choice.modality, choice.name
    family = FAMILIES.get(name)
    if family is None or family.modality != modality:
        legal = ", ".join(names(modality))
        raise UserError(f"there is no {modality} upstream {name!r}; choose from {legal}")
    loader: Loader[Checkpoint | None] = importlib.import_module(family.module).LOADER
    return loader

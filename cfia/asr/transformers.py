"""Recognisers of transformers: Whisper and other models that write, and CTC models."""

from __future__ import annotations

from typing import Any

import numpy as np

from cfia.asr.recogniser import Kind, Recogniser, Samples
from cfia.errors import UserError
from cfia.upstream import checkpoint
from cfia.upstream.checkpoint import Checkpoint
from cfia.upstream.hub import first_line

WINDOW = 30.0  # seconds that are read at once: Whisper takes no more, others need memory for it
# Seconds on either side of a window of a CTC model that its neighbour reads, too; and the end of a
# window of another model in which the quietest moment is looked for, to part words there.
OVERLAP = 5.0
QUIET = 0.1  # seconds of a moment

# How the names of architectures end, and the class of transformers that loads such a model.
CTC = "ForCTC"
WRITERS = ("ForConditionalGeneration", "ForSpeechSeq2Seq")
_CLASSES = {CTC: "AutoModelForCTC", **dict.fromkeys(WRITERS, "AutoModelForSpeechSeq2Seq")}


class Transformers(Recogniser):
    """A model of transformers, run by its own pipeline for recognition.

    The most likely token is taken at each step: no beams, no sampling. A model of many languages
    writes in that of its generation_config.json, or in the one that it detects.
    """

    def __init__(self, model: str, pipeline: Any, *, ctc: bool) -> None:
        self._model, self._pipeline, self._ctc = model, pipeline, ctc
        self.sample_rate = pipeline.feature_extractor.sampling_rate

    def transcribe(self, samples: Samples) -> str:
        """Recognise a waveform, in windows where it is longer than one."""
        if not self._ctc:
            options: dict[str, Any] = {"generate_kwargs": {"num_beams": 1, "do_sample": False}}
            return " ".join(self._run(w, options) for w in windows(samples, self.sample_rate))
        long = len(samples) > WINDOW * self.sample_rate
        options = {"chunk_length_s": WINDOW, "stride_length_s": OVERLAP} if long else {}
        no_letter = self._pipeline.tokenizer.unk_token or "<unk>"  # which it writes out
        return self._run(samples, options).replace(no_letter, " ")

    def _run(self, samples: Samples, options: dict[str, Any]) -> str:
        import torch

        torch.manual_seed(0)  # nothing draws from it, but in a model that we do not know
        given = {"raw": samples.copy(), "sampling_rate": self.sample_rate}
        try:
            text: str = self._pipeline(given, **options)["text"]
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise UserError(
                f"{self._model} cannot be run ({first_line(error)}); see that its "
                "generation_config.json and tokenizer are those of its weights"
            ) from None
        return text


def windows(samples: Samples, rate: int) -> list[Samples]:
    """Divide a waveform (samples,) into windows of 30 s at most, parted where it is quiet."""
    longest, moment, parts = int(WINDOW * rate), int(QUIET * rate), []
    while len(samples) > longest:
        end = samples[longest - int(OVERLAP * rate) : longest]
        loudness = [np.square(end[i : i + moment]).mean() for i in range(0, len(end), moment)]
        cut = longest - len(end) + int(np.argmin(loudness)) * moment + moment // 2
        parts.append(samples[:cut])
        samples = samples[cut:]
    return [*parts, samples]


def build(files: Checkpoint, num_threads: int, device: str) -> Recogniser:
    """Load a model, its tokenizer and its feature extractor.

    Raises:
        UserError: it is not a whole model with both; there is no such device.
    """
    import torch
    import transformers
    from transformers import AutoFeatureExtractor, AutoTokenizer

    ending = check(files)
    torch.set_num_threads(num_threads)
    model = checkpoint.load(getattr(transformers, _CLASSES[ending]), files, unused="")
    parts = [checkpoint.load_part(part, files, trust_remote_code=False)
             for part in (AutoTokenizer, AutoFeatureExtractor)]  # fmt: skip
    pipeline = transformers.AutomaticSpeechRecognitionPipeline(
        model=checkpoint.place(model, device),
        tokenizer=parts[0],
        feature_extractor=parts[1],
        device=device,
    )
    return Transformers(files.model, pipeline, ctc=ending == CTC)


def check(files: Checkpoint) -> str:
    """Tell how the name of a model's architecture ends.

    Raises:
        UserError: it is none that writes text.
    """
    config = files.config()
    names = [str(name) for name in config.get("architectures") or []]
    endings = [ending for ending in _CLASSES if any(name.endswith(ending) for name in names)]
    if not endings:
        raise UserError(
            f"{files.model} is {' '.join(names) or 'a model'} of the type "
            f"{config.get('model_type')}, which writes no text; give a recogniser as --asr_model, "
            "such as a Whisper or a CTC model"
        )
    return endings[0]


KIND = Kind(check, build)

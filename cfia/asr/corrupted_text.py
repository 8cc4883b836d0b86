"""Make the text that a study tests with: data/all/asr/<recogniser>-errors<percent>/text."""

from __future__ import annotations

import logging
from pathlib import Path

from cfia import marker
from cfia.asr.confusions import Confusions
from cfia.asr.corrupt import corrupt
from cfia.asr.word_errors import update
from cfia.directories import atomic_directory
from cfia.errors import UserError
from cfia.files import sha256
from cfia.kaldi.data_dir import DataDir
from cfia.kaldi.table import read_table, write_table

log = logging.getLogger(__name__)

TEXT = "text"
SEED = 1  # of the one draw of errors, which all networks are tested with


def make(
    directory: Path, data_directory: Path, recognised: Path, percent: int, *, force: bool
) -> None:
    """Make a text with word errors, or skip one that is there.

    Args:
        directory: where it goes.
        data_directory: with the gold text.
        recognised: the directory of the recogniser's text, whose errors are drawn from.
        percent: the word error rate.
        force: make it again.

    Raises:
        UserError: one of the texts is missing; or it was made from others, and `force` is false.
    """
    marker.output_digest(recognised, "stage 4 (recognised text)")
    data = DataDir.load(data_directory, [TEXT])
    options = {"percent": percent, "seed": SEED}
    inputs = {"gold text": sha256(data.path / TEXT), "recognised text": sha256(recognised / TEXT)}
    if marker.check(directory, options, inputs, force=force) is marker.State.DONE:
        log.info("%s: already made, skipping", directory)
        update(directory, data)
        return
    heard = read_table(recognised / TEXT, allow_empty=True)
    if not data.text.keys() & heard.keys():
        raise UserError(
            f"{recognised} has no utterance of {data.path}; run stage 4 with --force true"
        )
    texts = corrupt(data.text, Confusions.of(data.text, heard), percent, SEED)
    with atomic_directory(directory) as new:
        write_table(new / TEXT, texts, allow_empty=True)
        marker.finish(new, options, inputs)
    update(directory, data)

"""Find the classes of a labelled corpus."""

from __future__ import annotations

from cfia.errors import UserError
from cfia.kaldi.data_dir import DataDir


def classes(data: DataDir) -> list[str]:
    """Give the distinct labels of utt2emo in C-locale order, that of the network's outputs.

    Raises:
        UserError: the data directory has no utt2emo.
    """
    labels = data.table("utt2emo")
    if not labels:
        raise UserError(f"no such file {data.path}/utt2emo; run stage 1 on a labelled corpus")
    return sorted(set(labels.values()))

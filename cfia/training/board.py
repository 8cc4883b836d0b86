"""What TensorBoard shows of a training."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from cfia.files import naming

DIRECTORY = "tensorboard"  # in that of a training


class Board:
    """The files of one training, written by a thread of TensorBoard's.

    Args:
        directory: where they go.
        first: the epoch that comes next; rows of it and of later ones are purged, which a killed
            job has written.

    Raises:
        OSError: they cannot be written; it names the directory. So does what adds to them.
    """

    def __init__(self, directory: Path, first: int):
        from torch.utils.tensorboard import SummaryWriter

        threading.excepthook = _say_others
        self.directory = directory
        with naming(directory):
            self._writer = SummaryWriter(str(directory), purge_step=first)

    def add(self, row: Mapping[str, float], epoch: int) -> None:
        """Add the numbers of an epoch; the part of a name before its first "_" is its group."""
        with naming(self.directory):
            for name, value in row.items():
                self._writer.add_scalar(name.replace("_", "/", 1), value, epoch)

    def close(self) -> None:
        """Write all that is left."""
        with naming(self.directory):
            self._writer.close()


def _say_others(arguments: threading.ExceptHookArgs) -> None:
    """Leave out the traceback of an error that TensorBoard raises again, to whoever adds next."""
    in_tensorboard = type(arguments.thread).__module__.startswith("tensorboard.")
    if not (in_tensorboard and isinstance(arguments.exc_value, OSError)):
        threading.__excepthook__(arguments)

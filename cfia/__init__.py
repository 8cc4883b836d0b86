"""CFIA-Net: speech emotion recognition from audio and text, as a recipe."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cfia.inference.model import load as load

__version__ = "0.1.0"

# The python3 on the path checks the command line, before an environment is made or found.
if sys.version_info < (3, 9):  # noqa: UP036
    sys.exit("cfia: python3 on the path is too old; put Python 3.11 or newer first on the path")


def __getattr__(name: str) -> object:
    """Give `load` when it is asked for, so that `import cfia` loads nothing."""
    if name == "load":
        from cfia.inference.model import load

        return load
    raise AttributeError(f"module 'cfia' has no attribute {name!r}")

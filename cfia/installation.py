"""Where this package stands: in a checkout of the repository, or installed without one."""

from __future__ import annotations

import re
from pathlib import Path

_HERE = Path(__file__).resolve().parent
ROOT = _HERE.parent
"""The directory that the package is in: the repository's root, in a checkout."""

# A wheel has conf/ inside the package (setup.py), where no other distribution has a `conf`.
CONF = _HERE / "conf" if (_HERE / "conf").is_dir() else ROOT / "conf"
"""What the recipes share: configurations of systems, studies, published numbers, exposure."""


def in_checkout() -> bool:
    """Tell whether the recipes are here, too."""
    return (ROOT / "egs" / "TEMPLATE" / "ser.sh").is_file()


def install_command(package: str) -> str:
    """Give the command that installs a package which an extra of this one brings; "" if none does.

    Args:
        package: its name, as Python imports it or as pip installs it.
    """
    from importlib.metadata import PackageNotFoundError, requires  # takes as long as the rest

    try:
        needs = requires("cfia") or []
    except PackageNotFoundError:  # on PYTHONPATH alone
        needs = []
    for need in needs:
        name = re.match(r"[\w.-]+", need)
        extra = re.search(r"""extra == ["'](\w+)["']""", need)
        if name and extra and _normal(name[0]) == _normal(package):
            return f'pip install "cfia[{extra[1]}]"'
    return ""


def _normal(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def what_to_install(error: ImportError) -> str:
    """Say what to do about a package that cannot be imported."""
    if in_checkout():
        return "delete .venv, and run.sh makes it again"
    command = install_command((error.name or "").partition(".")[0])
    return f"install it with `{command}`" if command else "install cfia in a new environment"

"""The studies under an experiment directory: what they leave for RESULTS.md.

In exp/study/<study>/ are `results.md`, the study's tables, and `experiments.list`, the directories
<system>/<scheme> of its experiments. A plain run leaves such a list in exp/log/<digest>/.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cfia.files import write_if_changed
from cfia.report.sections import StudySection

RESULTS = "results.md"
_LIST = "experiments.list"


def write_list(directory: Path, experiments: Iterable[Path]) -> None:
    """List the experiments of a study, or of a plain run, in its directory."""
    directory.mkdir(parents=True, exist_ok=True)
    names = sorted(f"{path.parent.name}/{path.name}\n" for path in experiments)
    write_if_changed(directory / _LIST, "".join(names))


def of_studies_alone(expdir: Path) -> set[Path]:
    """Find the experiments that a study has and no plain run: their place is in its tables."""
    return _listed(expdir / "study") - _listed(expdir / "log")


def _listed(directory: Path) -> set[Path]:
    expdir, lists = directory.parent, directory.glob(f"*/{_LIST}")
    return {expdir / name for path in lists for name in path.read_text("utf-8").splitlines()}


def study_sections(expdir: Path) -> list[StudySection]:
    """Read the tables of all studies that have been written."""
    found = sorted((expdir / "study").glob(f"*/{RESULTS}"))
    return [
        StudySection(
            path.parent.name,
            path.read_text("utf-8"),
            (path.with_name("report.html")).relative_to(expdir).as_posix(),
        )
        for path in found
    ]

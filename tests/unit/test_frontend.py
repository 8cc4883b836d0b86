"""frontend.yaml: one record writes and reads it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cfia.errors import UserError
from cfia.frontend import Frontend

BERT = Frontend("text", "bert", "a/b", "c0ffee", 12, 768, None, None, "5ha")


@pytest.mark.parametrize("frontend", [BERT, replace(BERT, identity="new", exposure="audio")])
def test_what_was_written_is_read(tmp_path: Path, frontend: Frontend) -> None:
    frontend.write(tmp_path)
    assert Frontend.read(tmp_path) == frontend
    assert yaml.safe_load((tmp_path / "frontend.yaml").read_text()) == frontend.values()


def test_what_is_not_known_of_the_weights_is_left_out() -> None:
    assert list(BERT.values())[-2:] == ["weights", "layers"]
    known = replace(BERT, identity="new", exposure="audio")
    assert list(known.values())[-2:] == ["identity", "exposure"]


def test_a_dump_of_before_is_read(tmp_path: Path) -> None:
    """Layers, identity and exposure came later; a key that is not known is no fault."""
    old = {key: value for key, value in BERT.values().items() if key != "layers"}
    (tmp_path / "frontend.yaml").write_text(yaml.safe_dump({**old, "more": 1}))
    assert Frontend.read(tmp_path) == BERT


def test_the_file_and_the_key_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file .*frontend\.yaml; run the stage"):
        Frontend.read(tmp_path)
    BERT.write(tmp_path)
    path = tmp_path / "frontend.yaml"
    path.write_text(path.read_text().replace("frame_shift: null\n", ""))
    with pytest.raises(UserError, match=r"frontend\.yaml: it lacks frame_shift; run the stage"):
        Frontend.read(tmp_path)

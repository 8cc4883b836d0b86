"""Studies that start from others: their schemes, and what they leave out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfia.errors import UserError
from cfia.study.study_file import ROW_OPTIONS, Study, read_study
from tests.support.data_files import ROOT

SHARED = """\
note: of the base
seeds: [1, 2]
schemes: [{cv: session}, {cv: speaker, validation: partner}]
tables:
  t:
    rows:
      - {systems: [cfia_net, mult, mult_own]}
      - {systems: [cfia_net, dst], input: audio}
  other:
    schemes: [{cv: kfold5, refit: true}, {cv: kfold5, refit: false, tune: 6}]
    rows: [{systems: [linear], input: text, cv: session}]
"""


def study(directory: Path, **files: str) -> Study:
    """The last of some studies, by their names without .yaml."""
    for name, text in files.items():
        (directory / f"{name}.yaml").write_text(text)
    return read_study(directory / f"{[*files][-1]}.yaml")


def places(study: Study) -> list[tuple[str, str, Mapping[str, str]]]:
    return [(row.table, row.system, row.protocol) for row in study.rows]


def test_a_table_for_each_scheme(tmp_path: Path) -> None:
    found = places(study(tmp_path, shared=SHARED))
    assert list(dict.fromkeys(table for table, _, _ in found)) == [
        "t_session", "t_speaker_partner", "other_kfold5_refit", "other_kfold5_tune6"
    ]  # fmt: skip
    of_session = [(system, protocol) for table, system, protocol in found if table == "t_session"]
    systems = ["cfia_net", "mult", "mult_own", "cfia_net", "dst"]
    assert of_session == [(system, {"cv": "session"}) for system in systems]
    assert ("t_speaker_partner", "mult", {"cv": "speaker", "validation": "partner"}) in found
    # A row's own key wins.
    assert ("other_kfold5_refit", "linear", {"cv": "session", "refit": "true"}) in found


def test_a_study_that_starts_from_another(tmp_path: Path) -> None:
    text = "base: shared\nschemes: [{cv: speaker}]\nleave_out: ['mult*', linear]\nseeds: [3]\n"
    found = study(tmp_path, shared=SHARED, mine=text)
    assert places(found)[:3] == [
        ("t_speaker", "cfia_net", {"cv": "speaker"}),
        ("t_speaker", "cfia_net", {"cv": "speaker"}),
        ("t_speaker", "dst", {"cv": "speaker"}),
    ]
    assert len(found.rows) == 3
    assert (found.name, found.note, found.rows[0].seeds) == ("mine", "of the base", (3,))
    assert found.left_out == "all of text, mult, mult_own"
    audio = study(tmp_path, shared=SHARED, mine="base: shared\ninputs: [audio]\nschemes: []\n")
    assert [(table, system) for table, system, _ in places(audio)] == [
        ("t", "cfia_net"), ("t", "dst")
    ]  # fmt: skip
    assert audio.left_out == "all of audio and text, all of text"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("base: none_such\n", "there is no base 'none_such'; give the name, without .yaml, of an"),
        ("base: shared\nleave_out: [mulT]\n", "leave_out has 'mulT', but the rows are of cfia_net"),
        ("base: shared\nleave_out: mult\n", "leave_out is 'mult', not a list; see conf/study/pap"),
        ("base: shared\ninputs: [video]\n", "inputs has 'video'; they are of audio_text, audio, "),
        ("base: shared\nschemes: [{epochs: 3}]\n", "schemes: unknown key 'epochs'; the keys are c"),
        ("base: shared\nschemes: [session]\n", "schemes[0] is 'session', not a mapping"),
        ("base: shared\nschemes: [{cv: a}, {cv: a}]\n", "t: schemes has a twice; remove one"),
        ("base: shared\nscheme: []\n", "mine.yaml: unknown key 'scheme'; the keys are tag, note"),
    ],
)
def test_mistakes_are_named(text: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        study(tmp_path, shared=SHARED, mine=text)
    assert expected in str(error.value)
    assert "mine.yaml" in str(error.value)


def test_a_mistake_in_a_base_and_a_circle(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"shared\.yaml: unknown key 'table'"):
        study(tmp_path, shared="table: {}\n", mine="base: shared\n")
    with pytest.raises(UserError, match=r"mine\.yaml is its own base, by way of .*shared\.yaml"):
        study(tmp_path, shared="base: mine\n", mine="base: shared\n")


SCHEMES = st.lists(
    st.fixed_dictionaries(
        {"cv": st.sampled_from(["session", "speaker", "kfold3"])},
        optional={"validation": st.sampled_from(["partner", "none"]), "refit": st.booleans()},
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40)
@given(SCHEMES)
def test_every_scheme_has_all_rows_or_its_name_is_there_twice(
    tmp_path_factory: pytest.TempPathFactory, schemes: Sequence[Mapping[str, Any]]
) -> None:
    directory = tmp_path_factory.getbasetemp()
    text = f"base: shared\nschemes: {[*map(dict, schemes)]}\nleave_out: [linear]\n"
    text = text.replace("True", "true").replace("False", "false")
    plain = [{k: v for k, v in scheme.items() if v is not False} for scheme in schemes]
    if any(one in plain[:i] for i, one in enumerate(plain)):
        with pytest.raises(UserError, match="twice; remove one"):
            study(directory, shared=SHARED, mine=text)
        return
    rows = study(directory, shared=SHARED, mine=text).rows
    found = {row.table: row.protocol for row in rows}
    assert len(rows) == 5 * len(schemes)
    assert len(found) == len(schemes)
    words = [{k: str(v).lower() if k == "refit" else v for k, v in one.items()} for one in schemes]
    assert [*found.values()] == words
    assert {key for one in words for key in one} <= {*ROW_OPTIONS}


@pytest.mark.parametrize("recipe", ["mini_iemocap", "emodb"])
def test_the_recipes_own_peers_are_rows_of_the_shared_study(recipe: str) -> None:
    shared = read_study(ROOT / "conf" / "study" / "peers.yaml")
    own = read_study(ROOT / "egs" / recipe / "conf" / "study" / "peers.yaml")
    known = {(row.system, row.modalities, row.name, row.published) for row in shared.rows}
    found = [(row.system, row.modalities, row.name, row.published) for row in own.rows]
    assert set(found) < known
    assert len(found) == len(set(found)), "one scheme"
    assert own.left_out
    assert not shared.left_out

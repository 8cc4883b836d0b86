"""Names of directories, as in cfia/README.md: never the same for two different runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfia.errors import UserError
from cfia.naming import Names, names, upstream_name

ROOT = Path(__file__).resolve().parents[2]
DEFAULTS = {
    "cv": "session", "validation": "random20", "selection": "valid", "labels": "4",
    "default_labels": "4", "text_tags": "strip", "text_file": "", "audio_upstream": "emotion2vec",
    "audio_model": "", "audio_layer": "", "text_upstream": "bert", "text_model": "",
    "text_layer": "", "hub": "hf", "feature_cache": "auto",
    "train_config": "cfia_net", "systems": "audio_text audio text", "tag": "",
    "train_args": "",
}  # fmt: skip


def make(**options: str) -> Names:
    return names({**DEFAULTS, **options}, ROOT / "egs" / "iemocap", ROOT)


def systems(**options: str) -> list[str]:
    return [system.name for system in make(**options).systems]


def test_default_names() -> None:
    found = make()
    assert (found.data, found.audio, found.text) == ("all", "emotion2vec", "bert")
    assert (found.folds_scheme, found.scheme) == ("session", "session")
    assert systems() == ["cfia_net_emotion2vec_bert", "cfia_net_emotion2vec", "cfia_net_bert"]
    assert [s.modalities for s in found.systems] == [("audio", "text"), ("audio",), ("text",)]


def test_suffixes() -> None:
    found = make(labels="6", cv="speaker", validation="partner", selection="test", text_tags="keep")
    assert (found.data, found.audio, found.text) == ("all_6_keep", "emotion2vec_6", "bert_6_keep")
    assert (found.folds_scheme, found.scheme) == ("speaker-partner_6", "speaker-partner-test_6")
    assert systems(tag="try", labels="6")[0] == "cfia_net_emotion2vec_bert_6_try"
    assert make(text_file="/x/asr.txt").text == "bert_asr"


def test_upstream_names() -> None:
    assert upstream_name("wavlm", "", "") == "wavlm"
    assert upstream_name("wavlm", "microsoft/wavlm-large", "") == "wavlm-large"
    assert (
        upstream_name("whisper", "/m/whisper-tiny.en-encoder/", "2") == "whisper-tiny.en-encoder_l2"
    )


def test_systems_by_any_of_their_names() -> None:
    both = ["cfia_net_emotion2vec_bert"]
    for token in ("cfia_net", "audio_text", "cfia_net_audio_text", "emotion2vec_bert", *both):
        assert systems(systems=token) == both
    assert systems(systems="concat,concat_text concat_bert") == [
        "concat_emotion2vec_bert",
        "concat_bert",
    ]
    assert systems(systems="cfia_net_emotion2vec_try", tag="try") == ["cfia_net_emotion2vec_try"]
    assert systems(systems="cfia_net_paper_audio") == ["cfia_net_paper_emotion2vec"]


def test_a_users_own_file_gives_its_name(tmp_path: Path) -> None:
    path = tmp_path / "wide.yaml"
    path.write_text("channels: 64\n")
    assert systems(systems="audio", train_config=str(path)) == ["wide_emotion2vec"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"cv": "dialogue"}, "--cv is 'dialogue'; legal values are session, speaker"),
        ({"validation": "partner"}, "--validation partner needs --cv speaker"),
        ({"systems": "cfia_nets"}, "no system 'cfia_nets'"),
        ({"systems": " "}, "--systems names no system"),
        ({"systems": "train_audio"}, "no system 'train'"),
        ({"tag": "a/b"}, "--tag is 'a/b'; it becomes part of a directory's name"),
        ({"train_config": "/no/such.yaml"}, "no such file /no/such.yaml"),
    ],
)
def test_mistakes_are_named(options: dict[str, str], expected: str) -> None:
    with pytest.raises(UserError) as error:
        make(**options)
    assert expected in str(error.value)


choices = st.fixed_dictionaries(
    {
        "cv": st.sampled_from(["session", "speaker"]),
        "validation": st.sampled_from(["random20", "next_speaker", "next_session"]),
        "selection": st.sampled_from(["valid", "last", "test"]),
        "labels": st.sampled_from(["4", "6"]),
        "text_tags": st.sampled_from(["strip", "keep"]),
        "audio_model": st.sampled_from(["", "a/b-large"]),
        "audio_layer": st.sampled_from(["", "3"]),
        "tag": st.sampled_from(["", "x"]),
    }
)


@given(choices, choices)
def test_different_runs_never_share_a_training_directory(
    one: dict[str, str], two: dict[str, str]
) -> None:
    paths = [
        (system.name, found.scheme)
        for options in (one, two)
        for found in [make(**options)]
        for system in found.systems[:1]
    ]
    assert (paths[0] == paths[1]) == (one == two)

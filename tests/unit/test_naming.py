"""Options and names of directories: never the same for two different experiments."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfia.errors import UserError
from cfia.naming import (
    Names,
    across,
    fold_and_seed,
    folds_scheme,
    of_corpora,
    split_folds_scheme,
    trained_corpus,
    training_name,
    upstream_name,
)
from cfia.options import BOOLEAN, EVERY, OPTIONS, PROTOCOL, recorded, scheme_kind
from cfia.study.request import Request, read_request

ROOT = Path(__file__).resolve().parents[2]


def request(**options: str) -> Request:
    """The request of a run of egs/iemocap."""
    defaults = {option.name: option.default for option in EVERY} | {"default_labels": "4"}
    recipe = ROOT / "egs" / "iemocap"
    return read_request({**defaults, "corpus_dir": "/x", **options}, recipe, recipe)


def make(**options: str) -> Names:
    return request(**options).names()


def systems(**options: str) -> list[str]:
    return [system.name for system in request(**options).systems()]


def test_default_names() -> None:
    names = make()
    assert (names.data, names.dumps) == ("all", {"audio": "emotion2vec", "text": "bert"})
    assert (names.folds, names.scheme) == ("session", "session")
    inputs = ["emotion2vec_bert", "emotion2vec", "bert"]
    assert systems() == [f"{name}_{of}" for name in ("cfia_net", "probe") for of in inputs]
    modalities = [("audio", "text"), ("audio",), ("text",)]
    assert [s.modalities for s in request().systems()] == 2 * modalities


def test_suffixes(tmp_path: Path) -> None:
    names = make(labels="6", cv="speaker", validation="partner", selection="test", text_tags="keep")
    assert (names.data, names.label_suffix) == ("all_6_keep", "_6")
    assert names.dumps == {"audio": "emotion2vec_6", "text": "bert_6_keep"}
    assert (names.folds, names.scheme) == ("speaker-partner_6", "speaker-partner-test_6")
    again = make(labels="6", validation="random10", refit="true")
    assert (again.folds, again.scheme) == ("session-random10_6", "session-random10-refit_6")
    assert make(labels="6", tune="6").scheme == "session-tune6_6"
    assert make(refit="true", tune="06").scheme == "session-refit-tune6"
    assert systems(tag="try", labels="6")[0] == "cfia_net_emotion2vec_bert_6_try"
    (tmp_path / "asr.txt").touch()
    assert make(text_file=str(tmp_path / "asr.txt")).dumps["text"] == "bert_asr"


def test_recognised_text_is_in_the_names_of_what_reads_it_and_no_other() -> None:
    asr = {"text_source": "asr", "asr_model": "openai/whisper-tiny"}
    names = make(**asr, labels="6")
    assert (names.data, names.text) == ("all_6", Path("asr/whisper-tiny/text"))
    assert names.dumps == {"audio": "emotion2vec_6", "text": "bert_6_asr-whisper-tiny"}
    assert (names.folds, names.scheme) == ("session_6", "session_6")
    both, audio, text = systems(**asr, tag="try", systems="audio_text audio text")
    assert both == "cfia_net_emotion2vec_bert_asr-whisper-tiny_try"
    assert (audio, text) == ("cfia_net_emotion2vec_try", "cfia_net_bert_asr-whisper-tiny_try")
    assert systems(**asr, tag="try", systems=f"{both} {audio} {text}") == [both, audio, text]
    assert make(text_source="asr", asr_model="pocketsphinx").text == Path("asr/pocketsphinx/text")


def test_recognised_text_does_not_go_with_other_text(tmp_path: Path) -> None:
    asr = {"text_source": "asr", "asr_model": "pocketsphinx"}
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UserError, match="does not go with --text_file, whose transcripts are"):
        request(**asr, text_file=str(tmp_path / "mine.txt"))
    with pytest.raises(UserError, match=r"--asr_model: no such directory \./none"):
        request(text_source="asr", asr_model="./none")
    with pytest.raises(UserError, match=r"the model owner/\.\. would give a directory the name"):
        request(text_source="asr", asr_model="owner/..")


def test_experiments_without_later_options_are_recorded_as_before() -> None:
    values = {option.name: option.default for option in EVERY}
    before = {"labels", "text_tags", "cv", "validation", "selection"}
    assert recorded(PROTOCOL, values).keys() == before
    assert recorded(PROTOCOL, {**values, "text_source": "asr"})["text_source"] == "asr"
    assert recorded(PROTOCOL, {**values, "refit": "true"})["refit"] is True
    assert recorded(PROTOCOL, {**values, "tune": "6"})["tune"] == "6"


@given(st.from_regex(r"[A-Za-z0-9_.=,:+-]{1,20}", fullmatch=True))
def test_folds_across_corpora_tell_which_is_trained_on(corpus: str) -> None:
    assert trained_corpus(across(corpus)) == corpus
    assert scheme_kind(across(corpus)) == "train"
    assert not any(map(trained_corpus, ("session", "given", "kfold5", "utterance10", "cross")))


def test_corpora_stand_in_place_of_all() -> None:
    named = of_corpora(make(labels="6", text_tags="keep"), ["ravdess", "emodb"])
    assert named.data == "emodb+ravdess_6_keep"
    assert named.dumps["text"] == "emodb+ravdess_bert_6_keep"


def test_a_name_does_not_lead_out_of_its_place(tmp_path: Path) -> None:
    inside = tmp_path / "model" / "layers"
    inside.mkdir(parents=True)
    defaults = {option.name: option.default for option in EVERY} | {"default_labels": "4"}

    def named(caller: Path, **options: str) -> Names:
        values = {**defaults, "corpus_dir": "/x", **options}
        return read_request(values, ROOT / "egs" / "iemocap", caller).names()

    for flag, modality in (("audio_model", "audio"), ("text_model", "text")):
        assert named(inside, **{flag: ".."}).dumps[modality] == "model"
        assert named(inside, **{flag: "."}).dumps[modality] == "layers"
        assert named(inside, **{flag: "../layers/"}).dumps[modality] == "layers"
        for model in ("/", "owner/..", "owner/.hidden"):
            with pytest.raises(UserError, match="hides it or leads elsewhere"):
                named(inside, **{flag: model})
    hidden = tmp_path / ".yaml.yaml"
    hidden.touch()
    with pytest.raises(UserError, match="hides it or leads elsewhere"):
        make(train_config=str(hidden)).system(hidden, ("audio",))
    for option in ("tag", "labels", "study"):
        for value in ("..", ".", "/", "a/../..", ".hidden"):
            with pytest.raises(UserError, match=f"--{option} is '.*'; it becomes part of a"):
                request(**{option: value})
    for option in ("datadir", "dumpdir", "expdir"):
        for value in ("", "/", "//", "/x/.."):
            with pytest.raises(UserError, match=f"--{option} is '.*'; expected a directory"):
                request(**{option: value})


@pytest.mark.parametrize(
    "name", ["v1>v2", "größe", "a b", "$HOME", "it's", "x;y", "a\nb", "wavlm(1)"]
)
def test_a_name_that_a_shell_takes_for_more_is_refused_and_a_link_to_it_is_not(
    name: str, tmp_path: Path
) -> None:
    alphabet = "may have the characters A-Z a-z 0-9 _ . = , : [+] - and no other"
    for option in ("tag", "labels", "study"):
        with pytest.raises(UserError, match=f"(?s)--{option} is .*{alphabet}"):
            request(**{option: name})
    for option in ("datadir", "dumpdir", "expdir"):
        with pytest.raises(UserError, match=f"(?s)--{option} is .*{alphabet}; make a sym"):
            request(**{option: f"/scratch/{name}/x"})
    # The advice, followed.
    (tmp_path / "here").mkdir()
    (tmp_path / f"{name}.txt").touch()
    (tmp_path / f"{name}.yaml").touch()
    model = tmp_path / name
    model.mkdir()
    for option, kind in (("text_file", ".txt"), ("train_config", ".yaml"), ("audio_model", "")):
        with pytest.raises(UserError, match=f"(?s){alphabet}; rename it or give a symbolic link"):
            request(**{option: f"{model}{kind}"})
        link = tmp_path / f"mine{kind}"
        link.symlink_to(f"{model}{kind}")
        for path in (link, tmp_path / "here" / ".." / link.name):
            names = request(**{option: str(path)})
            assert any("mine" in name for name in (*names.names().dumps.values(),
                                                   names.systems()[0].name))  # fmt: skip


def test_a_name_holds_no_word_that_jobs_replace_and_is_not_too_long() -> None:
    assert make(tag="JOB").suffix == "_JOB"
    for value, wrong in (("xCFIA_JOBx", "stands for the number of a job"), ("a" * 101, "of more")):
        with pytest.raises(UserError, match=wrong):
            request(tag=value)
        with pytest.raises(UserError, match=wrong):
            request(expdir=f"exp/{value}")
    with pytest.raises(UserError, match="looks like an option"):
        request(expdir="-exp")


@pytest.mark.parametrize("option", ["datadir", "dumpdir", "expdir"])
def test_a_directory_that_is_a_file_or_a_link_to_nothing(option: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "gone").symlink_to(tmp_path / "scratch")
    for inside in ("", "/x", "/x/y"):
        with pytest.raises(UserError, match=f"--{option} .*/file is a file; move it away"):
            request(**{option: f"{tmp_path}/file{inside}"})
        with pytest.raises(UserError, match=r"/gone is a link to .*, which is not there"):
            request(**{option: f"{tmp_path}/gone{inside}"})
    (tmp_path / "scratch").mkdir()
    request(**{option: f"{tmp_path}/gone/x"})


def test_upstream_names() -> None:
    assert upstream_name("wavlm", "", "") == "wavlm"
    assert upstream_name("wavlm", "microsoft/wavlm-large", "") == "wavlm-large"
    assert (
        upstream_name("whisper", "/m/whisper-tiny.en-encoder/", "2") == "whisper-tiny.en-encoder_l2"
    )


CVS = ["session", "speaker", "kfold5", "kfold10", "given", "utterance5", "utterance10"]
VALIDATIONS = ["random1", "random20", "random50", "partner", "next_speaker", "given", "none"]


@given(st.sampled_from(CVS), st.sampled_from(VALIDATIONS))
def test_names_of_schemes_can_be_read_back(cv: str, validation: str) -> None:
    assert split_folds_scheme(folds_scheme(cv, validation)) == (cv, validation)


@given(st.integers(1, 99), st.integers(0, 999))
def test_names_of_trainings_can_be_read_back(fold: int, seed: int) -> None:
    assert fold_and_seed(training_name(fold, seed)) == (fold, seed)
    assert fold_and_seed(f"{training_name(fold, seed)}_old") is None


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
        ({"cv": "dialogue"}, "--cv is 'dialogue'; expected session, speaker, kfold<k>, given or"),
        ({"cv": "kfold"}, "--cv is 'kfold'; expected"),
        ({"cv": "kfold1"}, "k from 2 on: kfold5"),
        ({"cv": "utterance٣"}, "--cv is 'utterance٣'; expected"),
        ({"validation": "random"}, "--validation is 'random'; expected random<percent>"),
        ({"validation": "random0"}, "from random1 to random50"),
        ({"validation": "random51"}, "from random1 to random50"),
        ({"validation": "random020"}, "from random1 to random50"),
        ({"validation": "partner"}, "--validation partner needs --cv speaker"),
        (
            {"cv": "kfold5", "validation": "partner"},
            "--validation partner does not go with --cv kfold5; there it is random<percent>, next_",
        ),
        ({"cv": "speaker", "validation": "given"}, "given does not go with --cv speaker"),
        ({"cv": "given", "validation": "next_speaker"}, "there it is random<percent>, given or"),
        ({"cv": "utterance5", "validation": "given"}, "there it is random<percent> or none"),
        ({"validation": "none"}, "--validation none needs --selection last or test"),
        (
            {"validation": "none", "selection": "last", "refit": "true"},
            "--refit true goes with --selection valid alone, not last",
        ),
        ({"selection": "test", "refit": "true"}, "--selection valid alone, not test"),
        ({"refit": "yes"}, "--refit is 'yes'; legal values are false, true"),
        (
            {"selection": "test", "tune": "2"},
            "--tune 2 goes with --selection valid alone, not test",
        ),
        ({"tune": "13"}, "conf/tune.yaml has 12 combinations; give 12 at most"),
        ({"tune": "-1"}, "--tune is '-1'; expected a whole number from 0 to 1000"),
        ({"systems": "cfia_nets"}, "no system 'cfia_nets'"),
        ({"systems": " "}, "--systems is ' '; expected a name such as audio_text"),
        ({"systems": "train_audio"}, "no system 'train'"),
        ({"tag": "a/b"}, "--tag is 'a/b'; it becomes part of a directory's name"),
        ({"train_config": "/no/such.yaml"}, "no such file /no/such.yaml"),
        ({"corpus_dir": ""}, "stage 1 needs --corpus_dir DIR"),
        ({"seeds": f"{'1' * 60}x"}, "expected numbers such as"),
        ({"train_args": "lr='1"}, "expected words such as lr=5e-4, every quotation mark closed"),
        ({"seeds": "1 2,x"}, "--seeds is '1 2,x'; expected numbers such as"),
        ({"skip_stages": "3-4"}, "--skip_stages is '3-4'; expected numbers such as"),
        ({"skip_stages": "10"}, "each 9 at most"),
        ({"seeds": "1 99999999999999999999"}, "each 4294967295 at most"),
        ({"seeds": "9" * 5000}, "each 4294967295 at most"),
        ({"study_seeds": "4294967296"}, "each 4294967295 at most"),
        ({"seeds": "١"}, "--seeds is '١'; expected numbers such as"),
        (
            {"audio_upstream": "wavlm", "audio_layer": "３"},
            "--audio_layer is '３'; expected a number",
        ),
        ({"stage": "99999999999999999999"}, "expected a whole number from 0 to 9"),
        ({"stop_stage": "9", "folds": "1"}, "stage 9 (pack) does not go with --folds"),
        ({"stop_stage": "9", "study": "smoke"}, "stage 9 (pack) does not go with --study"),
        ({"pack": "both"}, "--pack is 'both'; legal values are all, folds"),
        ({"nj": "9" * 5000}, "expected a whole number from 1 to 1000000"),
        ({"jobs_per_gpu": "99999999999999999999"}, "expected a whole number from 1 to 1000000"),
        ({"num_threads": "1025"}, "expected a whole number from 1 to 1024"),
    ],
)
def test_mistakes_are_named(options: dict[str, str], expected: str) -> None:
    with pytest.raises(UserError) as error:
        request(**options)
    assert expected in str(error.value)


def test_options_are_those_of_the_block_in_ser_sh_and_of_nothing_else() -> None:
    """Name, default, help and group, in the same order."""
    text = (ROOT / "egs" / "TEMPLATE" / "ser.sh").read_text()
    block = text.split("# Options. ")[1].split("\n", 1)[1].split("\n# End of options")[0]
    lines: list[tuple[str, ...]] = []
    for line in block.splitlines():
        option = re.fullmatch(r'([a-z_]+)=("?)(.*?)\2 *# (.*)', line)
        lines.append((option[1], option[3], option[4]) if option else (line.removeprefix("# "),))
    expected: list[tuple[str, ...]] = []
    for group, options in OPTIONS.items():
        expected += [(group,), *((o.name, o.default, o.help) for o in options)]
    assert lines == expected


def test_the_help_of_an_option_names_all_its_legal_values() -> None:
    for option in EVERY:
        for value in () if option.legal == BOOLEAN else option.legal:
            assert re.search(rf"\b{value}\b", option.help), f"{option.name} lacks {value}"


choices = st.fixed_dictionaries(
    {
        "corpus": st.sampled_from(["", "ravdess", "esd"]),
        "cv": st.sampled_from(["session", "speaker", "kfold5", "kfold6"]),
        "validation": st.sampled_from(["random20", "random2", "next_speaker", "next_session"]),
        "selection": st.sampled_from(["valid", "last", "test"]),
        "refit": st.sampled_from(["false", "true"]),
        "tune": st.sampled_from(["0", "1", "2"]),
        "labels": st.sampled_from(["4", "6"]),
        "text_tags": st.sampled_from(["strip", "keep"]),
        "audio_upstream": st.just("wavlm"),
        "audio_model": st.sampled_from(["", "a/b-large"]),
        "audio_layer": st.sampled_from(["", "3"]),
        "text_source": st.just("asr"),
        "asr_model": st.sampled_from(["pocketsphinx", "a/b-ctc"]),
        "tag": st.sampled_from(["", "x"]),
    }
).filter(
    lambda values: (
        (values["refit"], values["tune"]) == ("false", "0") or values["selection"] == "valid"
    )
)


@given(choices, choices)
def test_different_runs_never_share_a_training_directory(
    one: dict[str, str], two: dict[str, str]
) -> None:
    paths = [
        asked.expdir / system.name / asked.names().scheme
        for options in (one, two)
        for asked in [request(**options)]
        for system in asked.systems()[:1]
    ]
    assert (paths[0] == paths[1]) == (one == two)

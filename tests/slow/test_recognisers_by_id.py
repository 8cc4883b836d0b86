"""Recognisers as users have them: by an id of a hub, of FunASR, and through run.sh."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cfia.asr import load
from cfia.errors import UserError
from cfia.kaldi.table import read_table
from tests.hub.server import Hub
from tests.shell.recipes import Recipe
from tests.support.data_files import ROOT
from tests.support.dump_data import noise, write_data
from tests.support.tiny_recognisers import save_ctc, save_sense_voice

pytestmark = pytest.mark.slow


def test_sense_voice_says_words_and_no_emotions(tmp_path: Path) -> None:
    place = save_sense_voice(tmp_path / "sense-voice")
    recogniser = load(str(place))
    texts = [recogniser.recognise(noise(seconds, seed=3), 16000) for seconds in (0.5, 2.0, 0.5)]
    assert all(texts)
    assert texts[0] == texts[2]
    assert not any("|" in text or "HAPPY" in text for text in texts)
    weights = torch.load(place / "model.pt")
    torch.save({k: v for k, v in weights.items() if k != "embed.weight"}, place / "model.pt")
    with pytest.raises(UserError, match=r"sense-voice lack embed\.weight, so they do not fit"):
        load(str(place))
    torch.save({**weights, "more": print}, place / "model.pt")
    with pytest.raises(UserError, match="a pickle that is cut or holds more than tensors"):
        load(str(place))


def test_an_id_is_asked_for_once_and_its_text_stays_with_its_commit(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", {f"s0-{i}": noise(0.5, seed=i) for i in range(2)})
    directory = data / "asr" / "ctc"
    with Hub() as hub:
        hub.add("someone/ctc", save_ctc(tmp_path / "first"))
        environment = os.environ | hub.environment(tmp_path / "cache")

        def program(name: str, *arguments: str) -> str:
            command = [sys.executable, "-m", f"cfia.bin.{name}", "--data", str(data), *arguments]
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True,
                                  text=True)  # fmt: skip
            assert done.returncode == 0, done.stderr
            return done.stdout.strip()

        assert program("asr_plan", "--model", "someone/ctc") == "1"
        asked = [path for _, path in hub.requests]
        assert not any("tf_model" in path or path.endswith(".md") for path in asked)
        hub.add("someone/ctc", save_ctc(tmp_path / "second", seed=1))  # a newer commit
        program("asr", "--dir", str(directory), "--job", "1")
        program("asr_merge", "--dir", str(directory))
        assert program("asr_plan", "--model", "someone/ctc") == "0"
        found = json.loads((directory / "plan.json").read_text())["settings"]["recogniser"]
        assert len(found["revision"]) == 40
    own = load(str(tmp_path / "first"))
    text = read_table(directory / "text", allow_empty=True)
    assert text["s0-1"] == own.recognise(noise(0.5, seed=1), 16000)


def test_run_sh_recognises_in_stage_4(tmp_path: Path) -> None:
    small = ["--stage", "1", "--stop_stage", "4", "--nj", "2", "--systems", "audio_text audio"]
    recipe = Recipe(tmp_path / "it's", "mini_iemocap", small)
    script = '. ./path.sh && local/corpus.sh --utterances_per_speaker 8 "$1"'
    script += ' && rm -r "$1"/Session[345]'
    subprocess.run(
        ["bash", "-c", script, "-", str(recipe.corpus)], check=True, cwd=recipe.directory
    )
    model = save_ctc(tmp_path / "somebody's models" / "ctc")
    asr = ["--text_source", "asr", "--asr_model", str(model)]
    said = recipe.run(*asr)
    made = recipe.directory / "data" / "all" / "asr" / "ctc"
    assert "data/all/asr/ctc: word error rate " in said
    gold = read_table(recipe.directory / "data" / "all" / "text")
    assert list(read_table(made / "text", allow_empty=True)) == list(gold)
    assert sorted(path.name for path in (recipe.directory / "dump").iterdir()) == [
        "fbank", "minilm_asr-ctc"
    ]  # fmt: skip
    assert (made / "log" / "asr.2.log").exists()
    again = recipe.run(*asr, "--stage", "4")
    assert "data/all/asr/ctc: already made, skipping" in again
    described = recipe.run(*asr, "--dry_run", "true")
    assert "cfia_net_fbank_minilm_asr-ctc, session" in described
    assert "  cfia_net_fbank, session" in described

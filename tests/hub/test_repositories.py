"""The stand-ins of published repositories load as what they are made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hub.repositories import BUILDERS

CLASSES = {
    "bert-base-uncased": "BertModel",
    "microsoft/wavlm-large": "WavLMModel",
    "facebook/hubert-base-ls960": "HubertModel",
    "facebook/wav2vec2-base": "Wav2Vec2Model",
    "openai/whisper-tiny": "WhisperModel",
}


@pytest.mark.parametrize("repo_id", CLASSES)
def test_the_weights_are_those_of_the_model(repo_id: str, tmp_path: Path) -> None:
    import torch
    import transformers

    model = BUILDERS[repo_id](tmp_path)
    pickled = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    for alone in (False, True):
        if alone:
            (tmp_path / "model.safetensors").unlink(missing_ok=True)
        loaded, info = getattr(transformers, CLASSES[repo_id]).from_pretrained(
            str(tmp_path), output_loading_info=True, local_files_only=True, dtype=torch.float32
        )
        assert not info["missing_keys"]
        assert not info["mismatched_keys"]
        for name, value in model.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], value), name
    old = [key for key in pickled if key.endswith(("weight_g", "weight_v", "gamma", "beta"))]
    assert old or repo_id == "openai/whisper-tiny"

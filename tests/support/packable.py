"""A small experiment on features of real encoders, trained and scored, as stage 9 finds it."""

from __future__ import annotations

from pathlib import Path

from cfia.bin import posteriors, score, train
from cfia.kaldi.data_dir import DataDir
from cfia.kaldi.table import write_table
from cfia.training.folds import make_scheme
from tests.support import dump_data
from tests.support.dump_data import noise
from tests.support.experiment import CLASSES, command, plan
from tests.support.tiny_models import save_bert

ARGS = "hidden=4 channels=4 features=3 batch_size=8 frame_rate=25 lr=1 epochs=2 dropout=0"
ENCODER = "a_text_encoder"  # the directory of its model
SYSTEM = f"cfia_net_fbank_{ENCODER}"
UTTERANCES = [f"Ses{i // 2 % 2}{'FM'[i % 2]}-{i:02d}" for i in range(32)]


def make(root: Path) -> Path:
    """The experiment: two folds, fbank and a tiny BERT; the final network is trained, too."""
    data = dump_data.write_data(
        root / "data" / "all", {u: noise(0.2 + i / 50, seed=i) for i, u in enumerate(UTTERANCES)}
    )
    write_table(data / "utt2session", {u: u[:4] for u in sorted(UTTERANCES)})
    emotions = {u: CLASSES[i // 4 % 4] for i, u in enumerate(UTTERANCES)}
    write_table(data / "utt2emo", dict(sorted(emotions.items())))
    make_scheme(DataDir.load(data), root / "data/folds/session", "session", "random20")
    save_bert(root / ENCODER)
    for name, upstream, *flags in (
        ("audio", "fbank"),
        ("text", "bert", f"--model={root / ENCODER}"),
    ):
        jobs = dump_data.plan(root / "dump" / name, data, *flags, upstream=upstream)
        dump_data.run_dump(root / "dump" / name, data, jobs)
    experiment = plan(root, root / "exp" / SYSTEM / "session", ARGS).parent
    for fold in (1, 2):
        training = command(experiment / f"fold{fold}_seed1")
        train.main(training)
        posteriors.main(training)
    train.main([str(experiment), "--fold", "all", "--seed", "1"])
    score.main(["--expdir", str(root / "exp")])
    return experiment

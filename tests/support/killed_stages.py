"""Stages of a toy recipe that die just before one of the operations by which they change files."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

from tests.support.file_changes import watched
from tests.support.outputs import NOT_PROMISED, matches
from tests.support.stages import Outcome, Toy

KILLED = 137  # the exit code of a process under SIGKILL, as a shell gives it

# What the stages import when they run; an optimiser imports torch's compiler.
PRELOADED = [
    "cfia.training.trainer", "cfia.provenance", "torch._dynamo", "torch.utils.tensorboard",
    "cfia.scoring.scores_file", "cfia.upstream.fbank", "cfia.upstream.text",
    "transformers.models.bert.modeling_bert", "transformers.models.bert.tokenization_bert_fast",
]  # fmt: skip

Work = Callable[[Toy], Outcome]
"""Runs something of a recipe; a function of a module, or a partial of one."""


def killed_at(
    number: int, root: Path, under: Path, work: Work, recipe: Callable[[Path], Toy] = Toy
) -> int:
    """Run some work on the recipe under `root` in a process of its own; return its exit code.

    The process dies before the operation with this number, from 1, under a directory: KILLED. Where
    there are not so many, it ends as the work does. `recipe` makes it of its root.
    """
    # A server that has the imports behind it starts a process in milliseconds.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__, *PRELOADED])
    process = processes.Process(target=_work, args=(number, root, under, work, recipe))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _work(number: int, root: Path, under: Path, work: Work, make: Callable[[Path], Toy]) -> None:
    left, toy = number, make(root)
    recipe = toy.directory

    def count(_: str, path: Path) -> None:
        nonlocal left
        if not path.is_relative_to(under):
            return
        if not matches(path.relative_to(recipe), NOT_PROMISED):
            left -= 1
            if left == 0:
                os._exit(KILLED)

    with watched(count):
        outcome = work(toy)
    os._exit(outcome.code)

"""Set threads, device and random states: the same command gives the same bytes on a machine."""

from __future__ import annotations

import os

import torch

from cfia.errors import UserError


def set_up(num_threads: int, ngpu: int) -> torch.device:
    """Set the threads and the device; call it before anything is computed.

    Raises:
        UserError: a GPU was asked for and torch sees none.
    """
    # cuBLAS is repeatable only with a fixed workspace, set before its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(num_threads)
    # The same as use_deterministic_algorithms(True), which imports the compiler too: 2 s a job.
    torch.set_deterministic_debug_mode("error")
    # It fills memory that is not written yet, which is for those who read it: none of ours does.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # By default cuDNN's GRU rounds what it multiplies to ten bits, on GPUs that can.
    torch.backends.cudnn.allow_tf32 = False
    if ngpu == 0:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError("--ngpu 1 was asked for, but torch sees no GPU here; use --ngpu 0")
    return torch.device("cuda")


def seed_epoch(seed: int, epoch: int) -> None:
    """Seed every generator from the training's seed and the epoch.

    So an epoch's dropout does not depend on the epochs before it, and a resumed training
    draws what an undisturbed one draws. Epoch 0 is the drawing of the weights.
    """
    torch.manual_seed(seed * 1_000_003 + epoch)


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Get the states of the generators that a training on `device` draws from."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Set the generators to the states that `random_state` has given."""
    torch.set_rng_state(state["cpu"].cpu())
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)

"""Kernels that compute the networks' equations in less time and memory, with gradients by hand.

    kernel            computes                               plain form               held to it by
    fused.FusedStack  the stack of CFIA modules, its mean    equations.EquationStack  test_fused.py
                      over time and consistency terms
    gru.bigru         a bidirectional GRU over utterances    torch.nn.GRU             test_gru.py
                      of any lengths, on a CPU

The tests, in tests/unit, compare values and gradients. `FusedStack` consists of `closed_form` (the
forward pass), `closed_form_gradient` (the backward pass) and `gate_weights` (the part of both that
depends on the parameters alone). How much faster they are depends on the machine, and is measured
by tests/bench/bench_stack.py (the stack) and tests/bench/bench_step.py (a training step).
"""

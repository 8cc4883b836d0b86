"""The heads of other published systems, rebuilt on frozen features, in "-style".

None is the system by whose name it goes: most originals fine-tune their encoders, split otherwise,
or choose the epoch on the test fold. They are for comparison under one protocol. Each docstring
says what was rebuilt from where, what was inferred where the source is silent, and a grade:

    A  the head, exact, from public code
    B  the same with masks, or a modality, changed
    C  put together from a figure, an abstract and code that disagree

Positions beyond an utterance's length count nowhere, also where the original has no masks, so that
neither padding nor the other utterances of a batch change an output.
"""

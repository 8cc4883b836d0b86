"""The journal of a job of a dump."""

from __future__ import annotations

from pathlib import Path

from cfia.upstream import journal


def test_a_killed_job_goes_on_with_a_model_that_has_moved(tmp_path: Path) -> None:
    files = journal.JobFiles(tmp_path, "bert", 1)
    first, second = (journal.Batch(i, 3 * (i + 1), {}, {}, {}) for i in range(2))
    for model, batch in (("here", first), ("much/further/away", second)):
        with journal.opened(files, "plan", {"model": model, "weights": "w"}) as begun:
            assert begun is not None
            begun.append([b"a", b"bc"], batch)
    header, batches = journal.read(files)
    assert header["frontend"]["model"] == "here"
    assert batches == [first, second]
    assert files.unfinished.read_bytes() == b"abcabc"

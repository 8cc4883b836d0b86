"""Group the utterances of a dump into batches, and deal these out to jobs."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from cfia.errors import UserError
from cfia.kaldi import audio
from cfia.kaldi.data_dir import DataDir


def make_batches(lengths: Mapping[str, float], budget: float) -> list[list[str]]:
    """Group utterances of similar length so that (count x longest) stays within the budget.

    The longest come first, so that a job that needs too much memory fails at once. Ties are in
    C-locale order. An utterance over the budget is a batch of its own.
    """
    batches: list[list[str]] = []
    for utterance in sorted(lengths, key=lambda u: (-lengths[u], u)):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= budget:
            batches[-1].append(utterance)
        else:
            batches.append([utterance])
    return batches


def split_jobs(weights: list[float], nj: int) -> list[list[int]]:
    """Deal batches out to at most `nj` jobs of about equal weight, none of them empty.

    The heaviest batch that is left goes to the lightest job.
    """
    jobs: list[list[int]] = [[] for _ in range(min(nj, len(weights)))]
    loads = [(0.0, job) for job in range(len(jobs))]  # a heap: the lightest job is its first
    for batch in sorted(range(len(weights)), key=lambda b: (-weights[b], b)):
        load, lightest = loads[0]
        jobs[lightest].append(batch)
        heapq.heapreplace(loads, (load + weights[batch], lightest))
    return [sorted(job) for job in jobs]


def durations(data: DataDir, *, skip_bad: bool) -> dict[str, float]:
    """Give the seconds of each utterance, from utt2dur, or else from segments or the audio.

    The header of a file tells its duration; a pipe is run once.

    Raises:
        UserError: audio cannot be read and bad audio is not skipped; if it is, it counts 0 s.
    """
    if data.utt2dur:
        return dict(data.utt2dur)

    def seconds(recording: str) -> float:
        try:
            return audio.duration(data.wav_scp[recording])
        except UserError as error:
            if not skip_bad:
                raise UserError(f"recording {recording}: {error}") from None
            return 0.0

    if not data.segments:
        return {utterance: seconds(utterance) for utterance in data.utterances}
    open_ended = {s.recording for s in data.segments.values() if s.end == -1}
    ends = {recording: seconds(recording) for recording in sorted(open_ended)}
    return {
        utterance: max(0.0, (ends[s.recording] if s.end == -1 else s.end) - s.start)
        for utterance, s in data.segments.items()
    }

"""Prepare corpora: labels, transcripts, checks and data directories, the same for all corpora."""

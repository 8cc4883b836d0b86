"""What the preparations of all corpora share: labels, transcripts, checks, a data directory."""

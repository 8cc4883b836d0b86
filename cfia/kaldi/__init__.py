"""Kaldi data directories, tables and archives. Knows nothing of emotions or of torch."""

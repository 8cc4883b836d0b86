"""Read, check and edit Kaldi data directories, tables and archives, without torch."""

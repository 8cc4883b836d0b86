"""One program per stage: `python -m cfia.bin.<verb>`, argument parsing and nothing more."""

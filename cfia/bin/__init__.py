"""Programs, one per stage and per verb of a user; each parses arguments and calls one module."""

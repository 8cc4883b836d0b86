"""One program per stage and per verb of a user: it parses arguments and calls one module."""

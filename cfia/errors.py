"""The one exception for mistakes that a user can mend."""


class UserError(Exception):
    """One sentence: which file or utterance, what is wrong, and what to do.

    Programs print it without a traceback and exit with 1 (`cfia.cli.run`).
    """


def fault(error: UserError) -> str:
    """Say what is wrong, without the way out behind the last semicolon."""
    return str(error).rpartition("; ")[0] or str(error)

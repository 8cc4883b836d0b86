"""Pictures: how each is drawn, and which files they go to."""

import os

# No window is opened, and matplotlib refuses to be imported with a backend that is not installed,
# such as that of a notebook whose shell started us.
os.environ["MPLBACKEND"] = "agg"

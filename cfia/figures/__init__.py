"""Pictures: how each is drawn, and which files they go to."""

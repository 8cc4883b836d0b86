"""The networks, and the self-consistency loss."""

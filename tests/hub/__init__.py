"""A model hub on the loopback, with repositories as they are published."""

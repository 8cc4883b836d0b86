"""A packed model in use: packs, and what is predicted by them."""

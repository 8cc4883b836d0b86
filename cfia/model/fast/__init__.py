"""Hand-written kernels that compute what the networks' equations say, faster."""

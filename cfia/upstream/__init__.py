"""The frozen encoders: a waveform or a transcript becomes a float32 matrix (frames, dim)."""

from cfia.upstream.registry import build, upstream_name

__all__ = ["build", "upstream_name"]

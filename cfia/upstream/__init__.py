"""The frozen encoders: a waveform or a transcript becomes a float32 matrix (frames, dim)."""

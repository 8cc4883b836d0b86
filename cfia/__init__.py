"""CFIA-Net: speech emotion recognition from audio and text, as a recipe."""

__version__ = "0.1.0"

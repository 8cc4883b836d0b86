"""Scores, their intervals and tests, tables and plots."""

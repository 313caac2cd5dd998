"""Probabilities to what an analyst opens."""

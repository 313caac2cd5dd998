"""A scene to probabilities, block by block."""

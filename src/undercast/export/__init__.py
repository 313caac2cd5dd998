"""A trained network to a model folder that proves it agrees, or is not written."""

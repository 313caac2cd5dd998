"""The four systems, each a recipe that reads like its paper."""

"""The one training loop and what it is asked to minimise."""

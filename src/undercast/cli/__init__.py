"""The command line: one thin file a verb; heavy imports stay inside the functions."""

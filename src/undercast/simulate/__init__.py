"""Paired scenes of radar and optical images whose truth is known exactly."""

"""undercast: maps of the ground through cloud, when labels are scarce."""

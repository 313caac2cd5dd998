"""The only code that opens rasters: scenes by role, read by window."""

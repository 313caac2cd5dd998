"""Losses: functions of tensors that honour NODATA and return a sum and a count."""

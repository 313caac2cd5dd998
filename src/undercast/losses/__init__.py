"""Losses: functions of tensors that honour NODATA and return a sum and a count."""

from undercast.losses.segmentation import Total

__all__ = ["Total"]

"""Predictor and chips → one row a chip → a report; needs no torch."""

from undercast.evaluate.baselines import BASELINES, FixedThreshold, OtsuThreshold, baseline
from undercast.evaluate.report import Report, report
from undercast.evaluate.scoring import score
from undercast.evaluate.table import Row, Table

__all__ = ["BASELINES", "FixedThreshold", "OtsuThreshold", "Report", "Row", "Table", "baseline", "report", "score"]

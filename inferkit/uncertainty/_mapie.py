"""MAPIE computes the conformity scores of the calibration rows.

Its scores are taken, and not its conformalizers, because these fix the coverage when they are made, and refuse a group
of rows in which only two labels occur. A test holds the sets and intervals that are cut from the scores equal to those
of the conformalizers.
"""

from typing import Any

import numpy as np

from .._base import require
from ._checks import Floats, Integers, normalised

_CLASSES = {"lac": "LACConformityScore", "aps": "APSConformityScore", "absolute": "AbsoluteConformityScore"}


def _make(score: str) -> Any:
    return getattr(require("mapie.conformity_scores", extra="conformal"), _CLASSES[score])()


def classification_scores(p: Floats, codes: Integers, score: str, random_state: int) -> Floats:
    """Return the scores of calibration rows in ascending order: small where the true label is likely."""
    rule, rows = _make(score), normalised(p)
    if rows.shape[1] == 2:  # MAPIE's APS needs three labels: one that never comes changes no score
        rows = np.column_stack([rows, np.zeros(len(rows))])
    rule.set_external_attributes(classes=np.arange(rows.shape[1]), random_state=random_state)
    return _ordered(rule.get_conformity_scores(codes, rows, y_enc=codes))


def regression_scores(answers: Floats, y: Floats, sd: Floats | None) -> Floats:
    """Return the scores of calibration rows in ascending order: distances, or distances in standard deviations."""
    rule, unit = _make("absolute"), 1.0 if sd is None else sd
    return _ordered(rule.get_conformity_scores(y / unit, answers / unit))


def _ordered(scores: Any) -> Floats:
    return np.sort(np.asarray(scores, dtype=np.float64).ravel())

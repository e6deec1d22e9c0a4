"""Handwritten digits and tumours: two data sets of UCI, as scikit-learn carries them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._bunch import NOT_STATED, as_asked, make_bunch

if TYPE_CHECKING:
    from sklearn.utils import Bunch

_DIGITS_LICENCE = (
    "CC BY 4.0. Cite: E. Alpaydin and C. Kaynak (1998), Optical Recognition of Handwritten Digits, "
    "UCI Machine Learning Repository, doi:10.24432/C50P49."
)
_DIGITS_SOURCE = "https://archive.ics.uci.edu/dataset/80 (the test part of 1,797 pictures, as scikit-learn carries it)"
_TUMOURS_LICENCE = (
    "CC BY 4.0. Cite: W. Wolberg, O. Mangasarian, N. Street and W. Street (1993), Breast Cancer Wisconsin "
    "(Diagnostic), UCI Machine Learning Repository, doi:10.24432/C5DW2B."
)
_TUMOURS_SOURCE = "https://archive.ics.uci.edu/dataset/17 (as scikit-learn carries it)"

# The one unit the source's own words settle: a standard deviation of grey values, and ratios without a unit.
_TUMOUR_UNITS = {"texture": "grey levels", "compactness": "1", "fractal dimension": "1"}

_FORM_BOUNDARY = 1415  # a form starts here; see split_digits


def load_digits(*, return_X_y: bool = False, as_frame: bool = False) -> Bunch | tuple[Any, Any]:
    """Load 1,797 handwritten digits of 8×8 pixels, by 13 people.

    Each pixel counts the inked points, 0 to 16, in a block of 4×4 of the scanned bitmap of 32×32.

    Parameters
    ----------
    return_X_y : bool, default False
        Return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default False
        Give ``data`` as a data frame and ``target`` as a series (needs pandas).

    Returns
    -------
    Bunch or tuple
        The keys stand in the module's description. ``data`` is (1797, 64) float32 in 0..16, ``images`` is the same
        as (1797, 8, 8), ``target`` is (1797,) int64 in 0..9.

    Raises
    ------
    MissingExtraError
        If ``as_frame=True`` and pandas is not installed.

    References
    ----------
    E. Alpaydin and C. Kaynak, "Cascading Classifiers", Kybernetika 34(4), 1998.

    Examples
    --------
    >>> digits = load_digits()
    >>> digits.images.shape, digits.images.max()
    ((1797, 8, 8), np.float32(16.0))
    >>> digits.target[:5]
    array([0, 1, 2, 3, 4])
    """
    from sklearn.datasets import load_digits as sklearn_digits

    raw = sklearn_digits()
    names = [str(name) for name in raw.feature_names]
    data = raw.data.astype(np.float32)
    bunch = make_bunch(
        data,
        raw.target,
        feature_names=names,
        target_names=[str(name) for name in raw.target_names],
        units=dict.fromkeys(names, "inked points of 16"),
        DESCR=raw.DESCR,
        licence=_DIGITS_LICENCE,
        source=_DIGITS_SOURCE,
        images=data.reshape(-1, 8, 8),
    )
    return as_asked(bunch, return_X_y=return_X_y, as_frame=as_frame)


def load_tumours(*, return_X_y: bool = False, as_frame: bool = False) -> Bunch | tuple[Any, Any]:
    """Load 569 breast tumours, malignant or benign, measured on a picture of their cells.

    Parameters
    ----------
    return_X_y : bool, default False
        Return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default False
        Give ``data`` as a data frame and ``target`` as a series (needs pandas).

    Returns
    -------
    Bunch or tuple
        The keys stand in the module's description. ``data`` is (569, 30) float64: ten measures of the cell nuclei,
        each as mean, standard error ("error") and mean of the three largest ("worst"). ``target`` is (569,) int64:
        0 malignant, 1 benign. The source gives no unit of length; ``units`` says so.

    Raises
    ------
    MissingExtraError
        If ``as_frame=True`` and pandas is not installed.

    References
    ----------
    W. N. Street, W. H. Wolberg and O. L. Mangasarian, "Nuclear feature extraction for breast tumor diagnosis",
    SPIE 1905, 1993.

    Examples
    --------
    >>> tumours = load_tumours()
    >>> tumours.data.shape, tumours.target_names
    ((569, 30), ['malignant', 'benign'])
    >>> tumours.units["mean texture"], tumours.units["mean radius"]
    ('grey levels', 'not stated by the source')
    """
    from sklearn.datasets import load_breast_cancer

    raw = load_breast_cancer()
    names = [str(name) for name in raw.feature_names]
    bunch = make_bunch(
        raw.data,
        raw.target,
        feature_names=names,
        target_names=[str(name) for name in raw.target_names],
        units={name: _tumour_unit(name) for name in names},
        DESCR=raw.DESCR,
        licence=_TUMOURS_LICENCE,
        source=_TUMOURS_SOURCE,
    )
    return as_asked(bunch, return_X_y=return_X_y, as_frame=as_frame)


def split_digits() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Split the digits into the part to learn from and the part no shipped model has seen.

    The pictures lie form by form, some 130 to a form. The split falls between two forms: the first eleven are for
    training, the last three for the test. So the test asks about sheets of paper, and most likely hands, that are new
    to the model. That is harder than a shuffled split, and nearer to what it will meet.

    Returns
    -------
    X_train : (1415, 8, 8) float32 array
        Pictures, 0..16.
    X_test : (382, 8, 8) float32 array
        Pictures, 0..16.
    y_train : (1415,) int64 array
        Digits, 0..9.
    y_test : (382,) int64 array
        Digits, 0..9.

    Examples
    --------
    >>> X_train, X_test, y_train, y_test = split_digits()
    >>> X_train.shape, X_test.shape
    ((1415, 8, 8), (382, 8, 8))
    """
    X, y = load_digits(return_X_y=True)
    images = X.reshape(-1, 8, 8)
    return images[:_FORM_BOUNDARY], images[_FORM_BOUNDARY:], y[:_FORM_BOUNDARY], y[_FORM_BOUNDARY:]


def _tumour_unit(name: str) -> str:
    """Return the unit of one column, by the measure that its name holds."""
    return next((unit for measure, unit in _TUMOUR_UNITS.items() if measure in name), NOT_STATED)

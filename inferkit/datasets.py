"""Real data in one contract, the split all lessons share, and the way from a drawing to a picture.

Every loader gives a :class:`sklearn.utils.Bunch`, a dict whose keys are attributes as well. All have these keys:

====================  ============================================================================
``data``              (n_rows, n_features) array; a data frame if ``as_frame=True``
``target``            (n_rows,) array, int64 for classes; a series if ``as_frame=True``
``frame``             the data frame of both if ``as_frame=True``, else None
``feature_names``     list of str, one for each column
``target_names``      list of str; the name of class ``k`` stands at ``k``
``units``             dict from feature name to unit: ``"1"`` is a plain ratio or count, and
                      :data:`NOT_STATED` says that the source gives none (we don't invent one)
``DESCR``             str, what the data are, as the source tells it
``licence``           str, the terms, and whom to cite
``source``            str, where the original lies
====================  ============================================================================

A loader of pictures adds ``images``, (n_rows, height, width), which shares its memory with ``data``.
``load_*`` never touches the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._base import InputError, require

if TYPE_CHECKING:
    from sklearn.utils import Bunch

__all__ = ["NOT_STATED", "load_digits", "load_tumours", "picture_from_drawing", "split_digits"]

NOT_STATED = "not stated by the source"

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
    bunch = _bunch(
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
    return _as_asked(bunch, return_X_y=return_X_y, as_frame=as_frame)


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
    bunch = _bunch(
        raw.data,
        raw.target,
        feature_names=names,
        target_names=[str(name) for name in raw.target_names],
        units={name: _tumour_unit(name) for name in names},
        DESCR=raw.DESCR,
        licence=_TUMOURS_LICENCE,
        source=_TUMOURS_SOURCE,
    )
    return _as_asked(bunch, return_X_y=return_X_y, as_frame=as_frame)


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


def picture_from_drawing(drawing: ArrayLike) -> NDArray[np.float32]:
    """Turn a drawing into a picture like those of :func:`load_digits`.

    The drawing is cropped to its ink, scaled to fill a field of 32×32 with its proportions kept, put in the middle,
    and averaged in blocks of 4×4. That is how the 8×8 pictures came about, so a model that has learned from them can
    read it, wherever and however large it was drawn.

    Parameters
    ----------
    drawing : (height, width) array of uint8 (0..255), float (0..1) or bool
        Ink is high, paper is 0. Both sides have at least 8 pixels. What is fainter than a tenth of full ink does not
        count as ink when the edges are sought.

    Returns
    -------
    (8, 8) float32 array
        0..16; all zeros if there is no ink.

    Raises
    ------
    InputError
        If it has another shape, dtype or range, or holds NaN or infinity.

    Notes
    -----
    The field of 32×32 is never made: each of the 8×8 cells takes the mean of the ink above it, weighted by overlap,
    which is the same and costs two small matrix products.

    Examples
    --------
    >>> drawing = np.zeros((32, 32), dtype=np.uint8)
    >>> drawing[4:20, 9:11] = 255
    >>> picture_from_drawing(drawing)[0]
    array([0., 0., 0., 8., 8., 0., 0., 0.], dtype=float32)
    """
    ink = _checked_ink(np.asarray(drawing))
    inked = ink > _FAINT
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    if rows.size == 0:
        return np.zeros((8, 8), dtype=np.float32)
    crop = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = max(crop.shape)
    picture = _cell_weights(crop.shape[0], side) @ crop @ _cell_weights(crop.shape[1], side).T
    return (16 * picture).astype(np.float32)  # float64 until here: rounding can't lift a cell above 16


_FAINT = 0.1  # of full ink: an anti-aliased edge, not a stroke
_EXPECTED = "a 2-D array, at least 8×8, of uint8 (0..255), float (0..1) or bool, with ink high"


def _checked_ink(drawing: NDArray[Any]) -> NDArray[np.float64]:
    """Return the drawing as float64 in 0..1, or say at the door what is wrong with it."""
    if drawing.ndim != 2:
        raise InputError(f"drawing: expected {_EXPECTED}; got {drawing.ndim}-D, shape {drawing.shape}")
    if min(drawing.shape) < 8:
        raise InputError(f"drawing: expected {_EXPECTED}; got shape {drawing.shape}: draw on a larger field")
    if drawing.dtype == np.uint8:
        return drawing / 255.0
    if drawing.dtype == np.bool_:
        return drawing.astype(np.float64)
    if drawing.dtype.kind != "f":
        raise InputError(
            f"drawing: expected {_EXPECTED}; got dtype {drawing.dtype}: for 0..255 use drawing.astype(np.uint8)"
        )
    return _checked_range(drawing.astype(np.float64))


def _checked_range(ink: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a drawing of floats that are finite and lie in 0..1."""
    if not np.isfinite(ink).all():
        raise InputError(
            "drawing: expected finite values, got NaN or infinity: replace them, by np.nan_to_num(drawing)"
        )
    low, high = ink.min(), ink.max()
    if low < 0 or high > 1:
        raise InputError(f"drawing: expected floats in 0..1, got {low:g}..{high:g}: divide by the largest value")
    return ink


def _cell_weights(length: int, side: int) -> NDArray[np.float64]:
    """Return (8, length) weights: the share of each of 8 cells that each of `length` pixels covers.

    `side` pixels span all 8 cells; fewer lie in the middle.
    """
    pixel_edges = 4 + (np.arange(length + 1) - length / 2) * (8 / side)
    return np.diff(np.clip(pixel_edges - np.arange(8)[:, None], 0, 1), axis=1)


def _tumour_unit(name: str) -> str:
    """Return the unit of one column, by the measure that its name holds."""
    return next((unit for measure, unit in _TUMOUR_UNITS.items() if measure in name), NOT_STATED)


def _bunch(data: NDArray[Any], target: NDArray[Any], **more: Any) -> Bunch:
    """Return a Bunch that meets the contract of this module."""
    from sklearn.utils import Bunch

    return Bunch(data=data, target=target.astype(np.int64), frame=None, **more)


def _as_asked(bunch: Bunch, *, return_X_y: bool, as_frame: bool) -> Bunch | tuple[Any, Any]:
    """Give the Bunch in the form that the caller asked for."""
    if as_frame:
        pandas = require("pandas", extra="pandas")
        bunch.data = pandas.DataFrame(bunch.data, columns=bunch.feature_names)
        bunch.target = pandas.Series(bunch.target, name="target")
        bunch.frame = bunch.data.assign(target=bunch.target)
    return (bunch.data, bunch.target) if return_X_y else bunch

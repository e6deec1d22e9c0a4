"""Data in one contract, the split all lessons share, and the way from a drawing to a picture.

Every loader gives a :class:`sklearn.utils.Bunch`, a dict whose keys are attributes as well. All have these keys:

====================  ============================================================================
``data``              (n_rows, n_features) array; a data frame if ``as_frame=True``
``target``            (n_rows,) array, int64 for classes, float64 for amounts; a series if ``as_frame=True``
``frame``             the data frame of both if ``as_frame=True``, else None
``feature_names``     list of str, one for each column
``target_names``      list of str; the name of class ``k`` stands at ``k``; of an amount, its name alone
``units``             dict from feature name to unit: ``"1"`` is a plain ratio or count, and
                      :data:`NOT_STATED` says that the source gives none (we don't invent one)
``DESCR``             str, what the data are, as the source tells it
``licence``           str, the terms, and whom to cite
``source``            str, where the original lies
====================  ============================================================================

A loader of pictures adds ``images``, (n_rows, height, width) or, in colour, (n_rows, height, width, 3), which shares
its memory with ``data``. ``load_*`` never touches the network. ``make_*`` draws as many rows as one likes.
"""

from ._bunch import NOT_STATED
from ._clinics import DoseResponse, load_clinics, make_clinics
from ._drawing import picture_from_drawing
from ._signs import load_signs, make_signs
from ._uci import load_digits, load_tumours, split_digits

__all__ = [
    "NOT_STATED",
    "DoseResponse",
    "load_clinics",
    "load_digits",
    "load_signs",
    "load_tumours",
    "make_clinics",
    "make_signs",
    "picture_from_drawing",
    "split_digits",
]

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
its memory with ``data``. A table with words (customers, transactions) has a structured array (n_rows,) as ``data``: a
column by its name, rows by number or slice, words as str; and it adds ``categories``, the words of each such column.
``load_*`` never touches the network, ``fetch_*`` does. ``make_*`` draws as many rows as one likes, ``iter_*`` gives the
same in batches.
"""

from ._bunch import NOT_STATED
from ._clinics import DoseResponse, load_clinics, make_clinics
from ._customers import churn_probability, iter_customers, load_customers, make_customers
from ._drawing import picture_from_drawing
from ._fashion import fetch_fashion_mnist
from ._signs import load_signs, make_signs
from ._telco import fetch_telco
from ._transactions import fraud_probability, iter_transactions, load_transactions, make_transactions
from ._uci import load_digits, load_tumours, split_digits

__all__ = [
    "NOT_STATED",
    "DoseResponse",
    "churn_probability",
    "fetch_fashion_mnist",
    "fetch_telco",
    "fraud_probability",
    "iter_customers",
    "iter_transactions",
    "load_clinics",
    "load_customers",
    "load_digits",
    "load_signs",
    "load_transactions",
    "load_tumours",
    "make_clinics",
    "make_customers",
    "make_signs",
    "make_transactions",
    "picture_from_drawing",
    "split_digits",
]

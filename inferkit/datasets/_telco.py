"""Telephone customers as IBM published them: real in shape, and with a trap that real files have."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _tables as tables
from ._bunch import NOT_STATED
from ._fetch import Remote, fetched

if TYPE_CHECKING:
    from sklearn.utils import Bunch

TELCO = Remote(
    path="telco_churn/Telco-Customer-Churn.csv",
    size_bytes=970_457,
    sha256="16320c9c1ec72448db59aa0a26a0b95401046bef5d02fd3aeb906448e3055e91",
    url="https://raw.githubusercontent.com/IBM/telco-customer-churn-on-icp4d/"
    "d5371f5d83a446ad5673cbcca3b814b926491f8a/data/Telco-Customer-Churn.csv",
)
_NUMBERS = {"SeniorCitizen": "1", "tenure": "months", "MonthlyCharges": NOT_STATED, "TotalCharges": NOT_STATED}


def fetch_telco(*, return_X_y: bool = False, as_frame: bool = False, progress: bool = True) -> Bunch | tuple[Any, Any]:
    """Fetch 7,043 customers of a telephone company, 1,869 of whom left within the last month.

    The file comes from the folder or address that the environment variable ``INFERKIT_MIRROR`` names, else from the
    cache (``INFERKIT_CACHE``), else from the net. Its hash is compared with the registered one each time.

    Parameters
    ----------
    return_X_y : bool, default False
        Return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default False
        Give ``data`` as a data frame and ``target`` as a series (needs pandas).
    progress : bool, default True
        Show how far a download has come.

    Returns
    -------
    Bunch or tuple
        The keys stand in the module's description. ``data`` is a structured array (7043,) of 19 columns under the
        source's names, four of numbers and fifteen of words; ``target`` is (7043,) int64: 0 stayed, 1 left;
        ``customer`` (7043,) of str: who. In 11 rows the source leaves ``TotalCharges`` blank: customers who have not
        had a bill yet. Here it is NaN.

    Raises
    ------
    ModelFileError
        If what came is not the registered file.
    OSError
        If it cannot be had: no network, a server that fails or takes too long, a mirror without the file.
    MissingExtraError
        If ``as_frame=True`` and pandas is not installed.
    """
    bunch = telco_bunch(fetched(TELCO, progress=progress), as_frame=as_frame)
    return (bunch.data, bunch.target) if return_X_y else bunch


def telco_bunch(content: bytes, *, as_frame: bool = False) -> Bunch:
    """Return the contract of this module from the file's bytes.

    Parameters
    ----------
    content : bytes
        CSV in UTF-8, its first line the names.
    as_frame : bool, default False

    Returns
    -------
    Bunch
        As `fetch_telco` gives it.
    """
    header, *lines = csv.reader(content.decode("utf-8-sig").splitlines())
    given = {
        name: np.array(column, dtype=object) for name, column in zip(header, zip(*lines, strict=True), strict=True)
    }
    customer, churn = given.pop("customerID"), given.pop("Churn")
    columns: tables.Columns = {n: _numbers(v) if n in _NUMBERS else v for n, v in given.items()}
    about = {
        n: {"unit": _NUMBERS[n]} if n in _NUMBERS else {"categories": tuple(sorted(set(columns[n])))} for n in given
    }
    target = (churn == "Yes").astype(np.int64)
    return tables.table_bunch(
        columns | {"customer": customer, "target": target},
        about,
        identity="customer",
        as_frame=as_frame,
        target_names=["stayed", "left"],
        DESCR=_DESCR,
        licence="Apache-2.0, IBM.",
        source=TELCO.url,
    )


def _numbers(column: Any) -> Any:
    """Return a column of numbers; a blank, which `float` refuses, is NaN."""
    values = [float(text) if text.strip() else np.nan for text in column]
    array = np.array(values)
    return array.astype(np.int64) if np.isfinite(array).all() and (array == np.round(array)).all() else array


_DESCR = """Telephone customers, published by IBM
-------------------------------------

7,043 customers of a telephone company in California, with their services, contract, way of paying and charges, and
whether they left within the last month (1,869 did). IBM published the table as a sample to learn with; the company is
not a real one. Which currency the charges are in is not stated.

The trap: in 11 rows TotalCharges is a blank. They are customers of tenure 0, who have not had a bill yet. A program
that reads the file may take the whole column for words because of them. In this package's tables they are NaN, and a
predictor's contract refuses a NaN by its row.

Limits: one company, one moment, no time; nobody knows how likely each customer was to leave, so a model can be compared
with what happened, and not with the truth. load_customers has a truth.
"""

"""Which columns of a table a predictor is given, and under what names."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .._base import InputError
from ..predictor import ArraySpec, TableSpec
from ._convert import InputSpec

Columns = Sequence[str] | Mapping[str, str] | None


def choose(available: Sequence[Any], columns: Columns, id_column: str | None, spec: InputSpec) -> dict[str, str]:
    """Return what to take: the source's name of each column, and the contract's.

    Parameters
    ----------
    available : sequence of str
        The columns that the source has, in its order.
    columns : sequence or dict of str, optional
        Those to take, or new names for some: ``{"Monthly Charges": "monthly_charge"}``.
    id_column : str, optional
    spec : ArraySpec, TableSpec or TextSpec

    Returns
    -------
    dict of str to str

    Raises
    ------
    InputError
        If a column is missing, occurs twice, or their number does not fit the contract.

    Examples
    --------
    >>> from inferkit.predictor import TextSpec
    >>> choose(["id", "text", "day"], ["text"], "id", TextSpec())
    {'text': 'text'}
    """
    names = [str(name) for name in available]
    if columns is not None and (isinstance(columns, str) or not isinstance(columns, Sequence | Mapping)):
        raise InputError(
            f"columns: expected a list of names, or a dict from old names to new ones, got {columns!r:.80}"
        )
    taken = _of_table(columns, spec) if isinstance(spec, TableSpec) else _in_order(names, columns, id_column, spec)
    wanted = [*taken, *([] if id_column is None else [id_column])]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise InputError(
            f"the source lacks the columns {missing}; it has {names}. "
            'Say which are meant: columns={"name in the source": "name in the contract"}'
        )
    twice = sorted({name for name in wanted if names.count(name) > 1})
    if twice:
        raise InputError(f"the source has more than one column {twice[0]!r}; give each a name of its own")
    return taken


def _of_table(columns: Columns, spec: TableSpec) -> dict[str, str]:
    wanted = [column.name for column in spec.columns]
    old = {name: name for name in wanted}
    if isinstance(columns, Mapping):
        unknown = [new for new in columns.values() if new not in old]
        if unknown or len(set(columns.values())) != len(columns):
            raise InputError(f"columns: expected new names among {wanted}, each once, got {list(columns.values())}")
        old |= {new: name for name, new in columns.items()}
    elif columns is not None and (set(columns) != set(wanted) or len(columns) != len(wanted)):
        raise InputError(
            f"columns: the predictor takes {wanted}, got {list(columns)}; "
            'where the source has other names, give a dict: columns={"name in the source": "name in the contract"}'
        )
    if len(set(old.values())) != len(old):
        raise InputError(f"columns: one column of the source cannot be given twice, got {old}")
    return {old[name]: name for name in wanted}


def _in_order(names: Sequence[str], columns: Columns, id_column: str | None, spec: InputSpec) -> dict[str, str]:
    """Return the columns that make an array, or the one that holds the texts."""
    if isinstance(columns, Mapping):
        raise InputError("columns: this predictor knows no names of columns; give a list of the source's, in order")
    listed = [name for name in names if name != id_column] if columns is None else list(columns)
    many = _values_in(spec) if isinstance(spec, ArraySpec) else 1
    what = "one column of texts" if many == 1 and not isinstance(spec, ArraySpec) else f"{many} columns of numbers"
    if len(listed) != many or len(set(listed)) != many:
        raise InputError(
            f"this predictor takes {what}, got {len(listed)}: {_short(listed)}. "
            "Say which: columns=[...]; a column that names the rows goes into id_column"
        )
    return {name: name for name in listed}


def _values_in(spec: ArraySpec) -> int:
    if None in spec.shape:
        raise InputError(
            f"this predictor takes rows of any length {spec.shape}, which columns cannot give; hand over arrays"
        )
    return math.prod(n for n in spec.shape if n is not None)


def _short(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:8]))
    return f"{shown}, ..." if len(names) > 8 else shown or "none"

"""The groups of a hierarchical posterior: which column names them, and which row belongs to which."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError
from ._compiled_check import Floats, Label, checked_labels

NEW_GROUP = "new group"
NEW_GROUP_SEED = 0


class Groups:
    """Known groups by their labels; any other label is a new group, with the number −1.

    Parameters
    ----------
    labels : tuple of str, or of numbers
    column : int
        Which column of X holds them.
    """

    def __init__(self, labels: tuple[Label, ...], column: int) -> None:
        self.labels, self.column = labels, column
        self.are_words = isinstance(labels[0], str)
        self._numbers = {label: number for number, label in enumerate(labels)}

    def split(self, X: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], tuple[Any, ...], npt.NDArray[np.intp]]:
        """Return the features, each row's label, and each row's number."""
        column = self._words(X) if self.are_words else self._values(X)
        numbers = np.array([self._numbers.get(label, -1) for label in column], dtype=np.intp)
        return np.delete(X, self.column, axis=1), column, numbers

    def _words(self, X: npt.NDArray[Any]) -> tuple[Any, ...]:
        column = tuple(X[:, self.column].tolist())
        for row, label in enumerate(column):
            if not isinstance(label, str):
                raise InputError(f"the group, column {self.column}: expected a word, got {label!r:.60} in row {row}")
        return column

    def _values(self, X: npt.NDArray[Any]) -> tuple[Any, ...]:
        try:
            column = X[:, self.column].astype(np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"the group, column {self.column}: expected a number such as 3: {error}") from error
        row = int(np.isfinite(column).argmin())
        if not np.isfinite(column[row]):
            raise InputError(
                f"the group, column {self.column}: expected finite numbers, got {column[row]} in row {row}"
            )
        return tuple(column.tolist())


def checked_groups(
    family: str,
    labels: Iterable[Any] | None,
    column: Any,
    names: Sequence[str] | None,
    sizes: Mapping[str, int],
) -> Groups | None:
    """Return the groups of a hierarchical family, None for another, or raise `InputError`."""
    if "G" not in sizes:
        if labels is not None or column is not None:
            raise InputError(f"groups: the family {family!r} has none; leave groups and group_column out")
        return None
    plain = checked_labels("groups", () if labels is None else labels, sizes["G"])
    if NEW_GROUP in plain:
        raise InputError(f"groups: {NEW_GROUP!r} is the word for any group that is not known; rename yours")
    return Groups(plain, _column_number(column, names or (), sizes["p"]))


def _column_number(column: Any, names: Sequence[str], last: int) -> int:
    if isinstance(column, str) and column in names:
        return names.index(column)
    if isinstance(column, bool) or not isinstance(column, int | np.integer) or not 0 <= column <= last:
        known = f" or one of {list(names)}" if names else ""
        raise InputError(f"group_column: expected a column from 0 to {last}{known}, got {column!r}")
    return int(column)


def new_effects(mean: Floats, sd: Floats, rng: np.random.Generator) -> Floats:
    """Return one group's intercept and slopes (S, 1 + p) for each posterior draw, from the groups' distribution."""
    effects: Floats = mean + sd * rng.standard_normal(mean.shape)
    return effects

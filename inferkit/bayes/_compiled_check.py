"""What a compiled posterior is made of: which draws each family needs, in which shapes, checked at the door."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError

Floats = npt.NDArray[np.float64]
Label = str | int | float | bool

# S draws, p features, K classes, G groups, q = 1 + p (an intercept and the slopes)
_LINE = {"intercept": "S", "coef": "Sp"}
_GROUPS = {"intercept": "SG", "coef": "SGp", "sigma": "S", "group_mean": "Sq", "group_sd": "Sq"}
PARTS: dict[str, dict[str, str]] = {
    "bernoulli": _LINE,
    "categorical": {"intercept": "SK", "coef": "SpK"},
    "normal": _LINE | {"sigma": "S"},
    "student": _LINE | {"sigma": "S", "nu": "S"},
    "hierarchical-normal": _GROUPS,
    "hierarchical-student": _GROUPS | {"nu": "S"},
}
CLASSIFIERS = ("bernoulli", "categorical")
_LEAST = {"sigma": (np.nextafter(0, 1), "> 0"), "nu": (np.nextafter(0, 1), "> 0"), "group_sd": (0.0, "≥ 0")}
_LETTERS = {"S": "draws", "p": "features", "K": "classes", "G": "groups", "q": "1 + features"}


def checked_draws(family: str, draws: Mapping[str, Any]) -> tuple[dict[str, Floats], dict[str, int]]:
    """Return the draws as float64 arrays, and the lengths S, p, K, G that they have, or raise `InputError`."""
    if family not in PARTS:
        raise InputError(f"family: expected one of {', '.join(map(repr, PARTS))}, got {family!r}")
    wanted = PARTS[family]
    if not isinstance(draws, Mapping) or set(draws) != set(wanted):
        came = sorted(map(str, draws)) if isinstance(draws, Mapping) else type(draws).__name__
        raise InputError(f"draws: the family {family!r} needs {', '.join(wanted)}, got {came}")
    sizes: dict[str, int] = {}
    arrays = {name: _part(name, draws[name], letters, sizes) for name, letters in wanted.items()}
    if sizes["S"] < 1 or sizes.get("K", 2) < 2 or sizes.get("G", 1) < 1 or (sizes["p"] < 1 and "G" not in sizes):
        raise InputError(
            f"draws: expected at least one draw, one feature, two classes or one group, got {_words(sizes)}"
        )
    return arrays, sizes


def _part(name: str, values: Any, letters: str, sizes: dict[str, int]) -> Floats:
    """Return one array of draws; learn the lengths that were not known before it."""
    array = as_floats(f"draws[{name!r}]", values)
    if array.ndim == len(letters):
        for letter, length in zip(letters, array.shape, strict=True):
            sizes.setdefault(letter, length)
            if letter == "p":
                sizes.setdefault("q", 1 + length)
    if array.shape != tuple(sizes.get(letter) for letter in letters):
        shape = ", ".join(_LETTERS[letter] for letter in letters)
        raise InputError(f"draws[{name!r}]: expected shape ({shape}) with {_words(sizes)}, got {array.shape}")
    if name in _LEAST and array.size and array.min() < _LEAST[name][0]:
        raise InputError(f"draws[{name!r}]: expected values {_LEAST[name][1]}, got {array.min():g}")
    return array


def _words(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{length} {_LETTERS[letter]}" for letter, length in sizes.items() if letter != "q") or "no draws"


def as_floats(what: str, values: Any) -> Floats:
    """Return `values` as a float64 array of finite numbers that nobody can write to, or raise `InputError`."""
    try:
        given = np.asarray(values)
    except ValueError as error:
        raise InputError(f"{what}: expected an array of numbers, got rows of unequal length") from error
    if given.dtype.kind not in "fiub":
        raise InputError(f"{what}: expected an array of numbers, got {given.dtype}")
    array = np.array(given, dtype=np.float64, order="C")
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(f"{what}: expected finite numbers, got {array[where]} at index {where}")
    array.setflags(write=False)
    return array


def checked_table(X: Any, width: int, names: tuple[str, ...] | None, keep_words: bool) -> npt.NDArray[Any]:
    """Return the rows as an array (n, width), of objects where words may stand beside numbers."""
    columns = getattr(X, "columns", None)
    if columns is not None and names is not None and tuple(map(str, columns)) != names:
        raise InputError(f"expected the columns {list(names)} in this order, got {list(map(str, columns))}")
    try:
        array = np.asarray(X, dtype=object) if keep_words and not isinstance(X, np.ndarray) else np.asarray(X)
    except ValueError as error:
        raise InputError(f"expected one or more rows (n, {width}), got rows of unequal length") from error
    if array.ndim != 2 or array.shape[1] != width or not len(array):
        hint = "; for one row give X[None]" if array.shape == (width,) else ""
        raise InputError(f"expected one or more rows (n, {width}), got shape {array.shape}{hint}")
    return array


def as_numbers(features: npt.NDArray[Any]) -> Floats:
    """Return features as float64, or raise `InputError` if they are no finite numbers."""
    try:
        if features.dtype.kind in "cmM":
            raise TypeError
        z = features.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"expected numbers, got {features.dtype} {str(features.ravel()[:3])[:80]}") from error
    if not np.isfinite(z).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(z))[0])
        raise InputError(f"expected finite numbers, got {z[where]} in row {where[0]}, feature {where[1]}")
    return z


def checked_scaling(mean: Any, scale: Any, p: int) -> tuple[Floats, Floats]:
    """Return the mean and the scale of the features; 0 and 1 for features that stay as they are."""
    centre = as_floats("mean", np.zeros(p) if mean is None else mean)
    width = as_floats("scale", np.ones(p) if scale is None else scale)
    for what, array in (("mean", centre), ("scale", width)):
        if array.shape != (p,):
            raise InputError(f"{what}: expected one value for each of the {p} features, got shape {array.shape}")
    if p and width.min() <= 0:
        raise InputError(f"scale: expected values > 0, got {width.min():g}; a constant column has scale 1")
    return centre, width


def checked_classes(family: str, classes: Iterable[Any] | None, n: int) -> tuple[Label, ...] | None:
    """Return the labels of a classifier's `n` classes, or None for a regression."""
    if family in CLASSIFIERS:
        return checked_labels("classes", range(n) if classes is None else classes, n)
    if classes is not None:
        raise InputError(f"classes: the family {family!r} has none; leave them out")
    return None


def checked_labels(what: str, labels: Iterable[Any], n: int) -> tuple[Label, ...]:
    """Return `n` labels of one kind, each once, as plain words or numbers, or raise `InputError`."""
    if isinstance(labels, str) or not isinstance(labels, Iterable):
        raise InputError(f"{what}: expected a sequence of {n} labels, got {labels!r:.60}")
    plain = tuple(label.item() if isinstance(label, np.generic) else label for label in labels)
    kinds = {str if isinstance(label, str) else float if isinstance(label, int | float) else None for label in plain}
    if None in kinds or len(kinds) > 1:
        raise InputError(f"{what}: expected words alone or numbers alone, got {plain!r:.120}")
    if kinds == {float} and not np.isfinite(np.array(plain, dtype=np.float64)).all():
        raise InputError(f"{what}: expected finite numbers, got {plain!r:.120}")
    if len(plain) != n or len(set(plain)) != n:
        raise InputError(f"{what}: expected {n} labels, each once, got {plain!r:.120}")
    return plain


def checked_names(names: Iterable[Any] | None, width: int) -> tuple[str, ...] | None:
    """Return the names of the columns of X, or None if they have none."""
    if names is None:
        return None
    plain = tuple(str(name) for name in names)
    if isinstance(names, str) or len(plain) != width or len(set(plain)) != width:
        raise InputError(f"feature_names: expected a name for each of the {width} columns of X, got {plain!r:.120}")
    return plain


def checked_coverage(coverage: Any) -> float:
    """Return the share that an interval holds, or raise `InputError`."""
    if isinstance(coverage, bool) or not isinstance(coverage, int | float | np.number) or not 0 < coverage < 1:
        raise InputError(f"coverage: expected a share above 0 and below 1 such as 0.9, got {coverage!r}")
    return float(coverage)

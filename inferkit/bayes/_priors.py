"""Priors: a number is a spread, a PyMC distribution is used as it is."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._base import InputError
from ._pymc import import_pymc

# What a prior may be given as: a positive number, or `pm.Normal.dist(0, 1)` and its kin.
Prior = Any


def add_prior(name: str, value: Prior, family: str, *, dims: Sequence[str] = (), parameter: str) -> Any:
    """Put a variable with a prior into the PyMC model whose block this is called in.

    Parameters
    ----------
    name : str
        The variable's name in the model.
    value : float or PyMC distribution
        A positive number is the one free number of `family`. A distribution made with ``.dist``,
        such as ``pm.StudentT.dist(nu=4)``, stands in the family's place: one for each entry.
    family : {"normal", "zero-sum", "half-normal", "gamma"}
        Normal around 0 with sd `value`; the same with entries that sum to zero over the last of `dims`;
        the upper half of it; gamma with shape 2 and mean `value`.
    dims : sequence of str
        The model's dimensions that the variable runs over.
    parameter : str
        What the reader calls it, for messages.

    Returns
    -------
    pytensor.tensor.TensorVariable

    Raises
    ------
    InputError
        If `value` is neither a positive number nor a distribution of one number, or if a distribution
        has a shape that does not fit.
    """
    if _is_distribution(value):
        return _registered(name, value, dims, parameter)
    return _FAMILIES[family](import_pymc(), name, _positive(value, parameter), tuple(dims) or None)


def _normal(pm: Any, name: str, scale: float, dims: tuple[str, ...] | None) -> Any:
    return pm.Normal(name, 0, scale, dims=dims)


def _zero_sum(pm: Any, name: str, scale: float, dims: tuple[str, ...] | None) -> Any:
    return pm.ZeroSumNormal(name, scale, dims=dims)


def _half_normal(pm: Any, name: str, scale: float, dims: tuple[str, ...] | None) -> Any:
    return pm.HalfNormal(name, scale, dims=dims)


def _gamma(pm: Any, name: str, mean: float, dims: tuple[str, ...] | None) -> Any:
    return pm.Gamma(name, 2, 2 / mean, dims=dims)


_FAMILIES: dict[str, Callable[..., Any]] = {
    "normal": _normal,
    "zero-sum": _zero_sum,
    "half-normal": _half_normal,
    "gamma": _gamma,
}


def _is_distribution(value: Any) -> bool:
    """Tell whether `value` was made with ``.dist``: only such nodes know the length of one draw."""
    return hasattr(getattr(getattr(value, "owner", None), "op", None), "ndim_supp")


def _positive(value: Any, parameter: str) -> float:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:
        raise InputError(
            f"{parameter}: expected a number > 0 or a PyMC distribution such as pm.Normal.dist(0, 1), got {value!r}"
        )
    return float(value)


def _registered(name: str, value: Any, dims: Sequence[str], parameter: str) -> Any:
    """Put a distribution into the model, once for each entry of `dims`."""
    pm = import_pymc()
    from pymc.distributions.shape_utils import change_dist_size

    model = pm.modelcontext(None)
    sizes = [len(model.coords[dim]) for dim in dims]
    given = list(value.type.shape)
    fits = len(given) <= len(sizes) and all(
        have in (None, 1, want) for have, want in zip(reversed(given), reversed(sizes), strict=False)
    )
    if value.owner.op.ndim_supp != 0 or not fits:
        raise InputError(
            f"{parameter}: expected a distribution of one number, or of shape {tuple(sizes)}, got one of shape "
            f"{tuple(given)}; make it like pm.Normal.dist(0, 1)"
        )
    size = tuple(model.dim_lengths[dim] for dim in dims)
    size = tuple(model.dim_lengths[dim] for dim in dims)
    return model.register_rv(change_dist_size(value, size), name, dims=tuple(dims) or None)

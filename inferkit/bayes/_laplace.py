"""The Laplace approximation: the highest point of the posterior, and a normal distribution as curved as it is there."""

from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError
from ._sample_space import Space, Vector

_NEWTON_STEPS = 50
_CLOSE = 1e-10  # squared distance to the mode, in posterior standard deviations
_FLAT = 1e-9  # the least curvature of a peak, where every parameter has a curvature of one
_HUGE = 1e100  # stands for an impossible point, since the search can't take infinity


def find_mode(space: Space) -> tuple[Vector, npt.NDArray[np.float64]]:
    """Return the mode of the density in the unconstrained space, and the precision matrix there.

    Parameters
    ----------
    space : Space
        The model.

    Returns
    -------
    mode : numpy.ndarray of float64, shape (parameters,)
    precision : numpy.ndarray of float64, shape (parameters, parameters)
        The negative matrix of second derivatives; positive definite.

    Raises
    ------
    InputError
        If the density has no peak: it is flat in some direction, or rises without end.

    References
    ----------
    Tierney and Kadane (1986), "Accurate approximations for posterior moments and marginal
    densities", JASA 81.
    """
    x = _climb(space)
    for _ in range(_NEWTON_STEPS):
        precision = -space.hessian(x)
        step, distance = _newton_step(space, x, precision)
        if distance < _CLOSE:
            return x, _checked(space, precision)
        x = _advance(space, x, step)
    raise InputError(
        f"no peak of the posterior was found: after {_NEWTON_STEPS} steps {_parameter(space, step)} still moves. "
        "Give it a narrower prior, or use method='nuts'"
    )


def _climb(space: Space) -> Vector:
    """Climb from the model's starting point to the neighbourhood of the mode."""
    from scipy.optimize import minimize

    def cost(x: Vector) -> tuple[float, Vector]:
        logp, gradient = space.logp_and_gradient(x)
        fine = np.isfinite(logp) and np.isfinite(gradient).all()
        return (-logp, -gradient) if fine else (_HUGE, np.zeros_like(x))

    options = {"maxiter": 2000, "maxcor": 30, "ftol": 1e-13, "gtol": 1e-6}
    found = minimize(cost, space.start, jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x, dtype=np.float64)


def _newton_step(space: Space, x: Vector, precision: npt.NDArray[np.float64]) -> tuple[Vector, float]:
    """Return a step uphill to where the local parabola has its peak, and its squared length in standard deviations."""
    if not np.isfinite(precision).all():
        raise InputError(_no_peak(space, np.diag(~np.isfinite(precision))))
    values, vectors = np.linalg.eigh(precision)
    curvature = np.maximum(np.abs(values), 1e-8 * np.abs(values).max(initial=1e-8))
    along = vectors.T @ space.logp_and_gradient(x)[1]
    return vectors @ (along / curvature), float(along @ (along / curvature))


def _checked(space: Space, precision: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the precision matrix, or raise where it isn't that of a peak."""
    diagonal = np.diag(precision)
    if diagonal.min() <= 0:
        raise InputError(_no_peak(space, diagonal == diagonal.min()))
    scale = np.sqrt(diagonal)
    values, vectors = np.linalg.eigh(precision / np.outer(scale, scale))  # free of the parameters' units
    if values[0] <= _FLAT:
        raise InputError(_no_peak(space, vectors[:, 0]))
    return precision


def _no_peak(space: Space, direction: npt.NDArray[Any]) -> str:
    """Return what is wrong with a point that should be a peak."""
    return (
        "at its highest point the posterior isn't curved as a peak is (its Hessian isn't negative definite): "
        f"{_parameter(space, direction)} isn't held by data and prior, or the peak lies at an edge. "
        "Give it a narrower prior, or use method='nuts'"
    )


def _advance(space: Space, x: Vector, step: Vector) -> Vector:
    """Take the step, or the part of it that goes uphill."""
    here = space.logp_and_gradient(x)[0]
    for _ in range(30):
        there = space.logp_and_gradient(x + step)[0]
        if there >= here - 1e-9 * max(1.0, abs(here)):
            break
        step = step / 2
    return x + step


def _parameter(space: Space, direction: npt.NDArray[Any]) -> str:
    """Return the parameter that a direction is mostly about."""
    return space.names[int(np.argmax(np.abs(direction)))]


def laplace_points(space: Space, draws: int, rng: np.random.Generator) -> tuple[Vector, Vector]:
    """Draw from the Laplace approximation.

    Parameters
    ----------
    space : Space
        The model.
    draws : int
        How many.
    rng : numpy.random.Generator
        Gives the draws.

    Returns
    -------
    points : numpy.ndarray of float64, shape (draws, parameters)
        In the unconstrained space.
    logq : numpy.ndarray of float64, shape (draws,)
        Their log density under the approximation, up to a constant.
    """
    mode, precision = find_mode(space)
    noise = rng.standard_normal((draws, mode.size))
    upper = np.linalg.cholesky(precision).T
    return mode + np.linalg.solve(upper, noise.T).T, -0.5 * (noise**2).sum(axis=1)

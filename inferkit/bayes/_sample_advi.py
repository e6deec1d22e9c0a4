"""ADVI: among the normal distributions over the unconstrained space, the one closest to the posterior."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError, ProgressLine
from ._pymc import compiled, import_pymc, quiet
from ._sample_space import Space, Vector

_EVERY_S = 0.1
_STEPS = 30_000
_LEARNING_RATE = 0.01


class _Watch:
    """Tells how far the optimisation is, notes when its first step was done, and averages the second half.

    A step of constant length never comes to rest; the average of where it was does.
    """

    def __init__(self, line: ProgressLine, steps: int) -> None:
        self.line, self.steps = line, steps
        self.begun = self.shown = time.monotonic()
        self.first: float | None = None
        self.sums: list[Any] = []
        self.summed = 0

    def __call__(self, approximation: Any, losses: Any, step: int) -> None:
        now = time.monotonic()
        self.first = self.first or now
        if step > self.steps / 2:
            values = [parameter.get_value() for parameter in approximation.params]
            self.sums = [a + b for a, b in zip(self.sums, values, strict=True)] if self.sums else values
            self.summed += 1
        if now - self.shown >= _EVERY_S:
            self.shown = now
            left = (now - self.first) / step * (self.steps - step)
            self.line.show(f"step {step:,} of {self.steps:,}, about {left:,.0f} s left")

    def settle(self, approximation: Any) -> None:
        """Set the approximation to the average of its second half, if it came so far."""
        for parameter, total in zip(approximation.params, self.sums, strict=False):
            parameter.set_value(total / self.summed)


def advi_points(
    pm_model: Any,
    space: Space,
    draws: int,
    rng: np.random.Generator,
    *,
    seed: int,
    progress: bool,
    steps: int = _STEPS,
    full_rank: bool = False,
    optimizer: Any = None,
    **options: Any,
) -> tuple[Vector, Vector, dict[str, Any]]:
    """Fit the approximation and draw from it.

    Parameters
    ----------
    pm_model : pymc.Model
        Its parameters are all continuous.
    space : Space
        The same model.
    draws : int
        How many.
    rng : numpy.random.Generator
        Gives the draws.
    seed : int
        For the optimisation.
    progress : bool
        Whether to show a line.
    steps : int, default=30_000
        Of the optimiser.
    full_rank : bool, default=False
        Whether parameters may be correlated.
    optimizer : callable, optional
        One of PyMC's; Adam with a learning rate of 0.01 by default.
    **options
        Go to PyMC's ``fit``.

    Returns
    -------
    points : numpy.ndarray of float64, shape (draws, parameters)
        In the unconstrained space.
    logq : numpy.ndarray of float64, shape (draws,)
        Their log density under the approximation, up to a constant.
    notes : dict
        Times, the gain of the last steps, and whether it was interrupted.

    References
    ----------
    Kucukelbir, Tran, Ranganath, Gelman, Blei (2017), "Automatic differentiation variational
    inference", JMLR 18.
    """
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise InputError(f"steps: expected a whole number of at least 1, got {steps!r}; 30,000 is usual")
    pm = import_pymc()
    with compiled(), quiet(), ProgressLine(progress) as line:
        line.show("compiling the model")
        watch = _Watch(line, steps)
        method = pm.FullRankADVI if full_rank else pm.ADVI
        with pm_model:
            inference = method(model=pm_model, random_seed=seed)
            fitted = _fit(inference, steps, watch, optimizer or pm.adam(learning_rate=_LEARNING_RATE), options)
        watch.settle(fitted)
        mean, root = _normal(fitted, space)
    ended = time.monotonic()
    noise = rng.standard_normal((draws, mean.size))
    first = watch.first or ended
    notes = {
        "sampling_time_s": ended - first,
        "compile_time_s": first - watch.begun,
        "interrupted": int(len(inference.hist) < steps),
        "steps": len(inference.hist),
        **last_gain(np.asarray(inference.hist, dtype=np.float64)),
    }
    return mean + noise @ root.T, -0.5 * (noise**2).sum(axis=1), notes


def _fit(inference: Any, steps: int, watch: _Watch, optimizer: Any, options: Mapping[str, Any]) -> Any:
    """Optimise; an interrupt ends it and keeps the fit so far."""
    try:
        return inference.fit(steps, callbacks=[watch], progressbar=False, obj_optimizer=optimizer, **options)
    except FloatingPointError as error:
        raise InputError(
            "ADVI met NaN on its way: standardize the data, give parameters narrower priors, or take smaller steps, "
            "with optimizer=pymc.adam(learning_rate=0.001)"
        ) from error


def _normal(fitted: Any, space: Space) -> tuple[Vector, npt.NDArray[np.float64]]:
    """Return the mean and a root of the covariance, in the order of the space."""
    import pytensor

    mean, covariance = pytensor.function([], [fitted.mean, fitted.cov], mode="FAST_COMPILE")()
    places = np.arange(len(mean))
    order = np.concatenate([places[fitted.ordering[name][1]] for name in space.value_names])
    return mean[order], np.linalg.cholesky(covariance[np.ix_(order, order)])


def last_gain(losses: Vector) -> dict[str, float]:
    """Return by how much the bound still rises, in nats, between the last two tenths of the steps.

    Parameters
    ----------
    losses : numpy.ndarray of float64, shape (steps,)
        The negative evidence lower bound of each step; noisy.

    Returns
    -------
    dict
        ``elbo_gain`` and ``elbo_gain_se``, its standard error.
    """
    tenth = max(1, len(losses) // 10)
    before, last = losses[-2 * tenth : -tenth], losses[-tenth:]
    if before.size < 2:
        return {"elbo_gain": float("inf"), "elbo_gain_se": 0.0}
    error = np.sqrt(before.var(ddof=1) / before.size + last.var(ddof=1) / last.size)
    return {"elbo_gain": float(before.mean() - last.mean()), "elbo_gain_se": float(error)}

"""NUTS on an accelerator and on the processor: a Bayesian logistic regression by NumPyro, checked by NumPy."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._accelerator_record import NutsRow

Doubles = NDArray[np.float64]
Clock = Callable[[], float]

N_ROWS, N_COLUMNS = 2000, 8
CHAINS, WARMUP, DRAWS = 4, 300, 500
PRIOR_SD = 2.5
_SEED = 2


def missing() -> str | None:
    """Return in one line why NUTS cannot run here; None if it can."""
    lacking = [name for name in ("jax", "numpyro") if find_spec(name) is None]
    return f"NUTS needs {' and '.join(lacking)}, not installed here: pip install numpyro" if lacking else None


def sees(kind: str) -> bool:
    """Tell whether JAX sees a device of a kind."""
    try:
        return bool(import_module("jax").devices(kind))
    except RuntimeError:
        return False


def patients(random_state: int = _SEED) -> tuple[NDArray[np.float32], NDArray[np.int32], Doubles]:
    """Return data with a known truth: standard normal columns, and yes or no by a logistic law.

    Parameters
    ----------
    random_state : int, default 2

    Returns
    -------
    X : numpy.ndarray of float32, shape (2000, 9)
        The first column is 1.
    y : numpy.ndarray of int32, shape (2000,)
        0 or 1.
    truth : numpy.ndarray of float64, shape (9,)
        Intercept and slopes.
    """
    rng = np.random.default_rng(random_state)
    truth = np.concatenate([[0.3], np.linspace(-1, 1, N_COLUMNS)])
    X = np.column_stack([np.ones(N_ROWS), rng.standard_normal((N_ROWS, N_COLUMNS))]).astype(np.float32)
    chance = 1 / (1 + np.exp(-X @ truth))
    return X, (rng.random(N_ROWS) < chance).astype(np.int32), truth


def laplace(X: NDArray[Any], y: NDArray[Any], prior_sd: float = PRIOR_SD) -> tuple[Doubles, Doubles]:
    """Return the posterior's peak, found by Newton's method, and the standard deviations of its curvature there.

    Parameters
    ----------
    X : array, shape (n, k)
    y : array of 0 and 1, shape (n,)
    prior_sd : float, default 2.5
        Of the normal prior of each coefficient.

    Returns
    -------
    mean, sd : numpy.ndarray of float64, shape (k,)

    Examples
    --------
    >>> mean, sd = laplace(np.ones((40, 1)), np.repeat([0, 1], 20))
    >>> [round(float(v), 3) for v in (mean[0], sd[0])]
    [0.0, 0.314]
    """
    X, b = np.asarray(X, dtype=np.float64), np.zeros(np.shape(X)[1])
    precision = np.eye(len(b)) / prior_sd**2
    for _ in range(25):
        p = 1 / (1 + np.exp(-X @ b))
        curvature = X.T @ (X * (p * (1 - p))[:, None]) + precision
        b = b + np.linalg.solve(curvature, X.T @ (y - p) - precision @ b)
    return b, np.sqrt(np.diag(np.linalg.inv(curvature)))


def sample(kind: str, clock: Clock = time.perf_counter, draws: int = DRAWS) -> NutsRow:
    """Sample on the first device of a kind, twice: the first run compiles too.

    Parameters
    ----------
    kind : str
        As JAX calls it, such as ``"gpu"``.
    clock : callable, optional
        Returns seconds.
    draws : int, default 500
        Of each chain, after 300 steps in which it adapts.

    Returns
    -------
    NutsRow
    """
    jax = import_module("jax")
    device = jax.devices(kind)[0]
    X, y, _ = patients()
    with jax.default_device(device), jax.default_matmul_precision("highest"):
        draw = jax.jit(lambda key: _draws(key, X, y, draws))
        first_s, _ = _timed(draw, 0, clock)
        seconds, b = _timed(draw, 1, clock)
    mean, sd = laplace(X, y)
    return NutsRow(
        device_kind=device.platform,
        device_name=str(device.device_kind),
        n_rows=N_ROWS,
        n_columns=N_COLUMNS,
        chains=CHAINS,
        warmup=WARMUP,
        draws=draws,
        first_run_s=first_s,
        seconds=seconds,
        ess=float(np.min(import_module("numpyro.diagnostics").effective_sample_size(b))),
        deviation_sd=float(np.max(np.abs(b.mean((0, 1)) - mean) / sd)),
    )


def _draws(key: Any, X: Any, y: Any, draws: int) -> Any:
    """Return the draws: (chains, draws, coefficients). Compiled as a whole, for `MCMC.run` compiles at each call."""
    numpyro, infer = import_module("numpyro"), import_module("numpyro.infer")
    normal, bernoulli = numpyro.distributions.Normal, numpyro.distributions.Bernoulli

    def model() -> None:
        b = numpyro.sample("b", normal(0, PRIOR_SD).expand([X.shape[1]]).to_event(1))
        numpyro.sample("y", bernoulli(logits=X @ b), obs=y)

    mcmc = infer.MCMC(
        infer.NUTS(model),
        num_warmup=WARMUP,
        num_samples=draws,
        num_chains=CHAINS,
        chain_method="vectorized",  # all chains in one program: what an accelerator is good at
        progress_bar=False,
    )
    mcmc.run(key)
    return mcmc.get_samples(group_by_chain=True)["b"]


def _timed(draw: Callable[[Any], Any], seed: int, clock: Clock) -> tuple[float, Doubles]:
    """Return the seconds of one run, and its draws."""
    start = clock()
    b = np.asarray(draw(import_module("jax").random.PRNGKey(seed)), dtype=np.float64)
    return clock() - start, b

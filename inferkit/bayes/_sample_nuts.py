"""The samplers that PyMC brings: NUTS, with a progress line and an interrupt that keeps what was drawn, and SMC."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._base import InputError, ProgressLine
from ._pymc import attributes, compiled, dataset, import_pymc, make_idata, model_labels, posterior_arrays, quiet
from ._sample_space import bad_start, impossible_terms

_EVERY_S = 0.1  # how often the line is written anew


class _Watch:
    """Sees every step of every chain; tells how far they are, and stops the rest after an interrupt.

    Where one chain comes after the other, PyMC ends only the one that is interrupted, and goes on with the next.
    """

    def __init__(self, line: ProgressLine, draws: int, tune: int, chains: int, *, in_turn: bool) -> None:
        self.line, self.draws, self.tune, self.chains, self.in_turn = line, draws, tune, chains, in_turn
        self.done = [0] * chains
        self.divergences = 0
        self.begun: float | None = None
        self.shown = 0.0

    def __call__(self, trace: Any, draw: Any) -> None:
        if self.begun is None:  # the model is compiled now
            self.begun = time.monotonic()
        self.done[draw.chain] = draw.draw_idx + 1
        if not draw.tuning:
            self.divergences += any(bool(s.get("diverging")) for s in draw.stats)
        if self.in_turn and any(n < self.draws + self.tune for n in self.done[: draw.chain]):
            raise KeyboardInterrupt
        now = time.monotonic()
        if now - self.shown >= _EVERY_S:
            self.shown = now
            self.line.show(self.words(draw.chain, now - self.begun))

    def words(self, chain: int, spent_s: float) -> str:
        """Return the line: where it is, divergences so far, and the time left."""
        total, done = (self.draws + self.tune) * self.chains, sum(self.done)
        step = self.done[chain]
        where = (
            f"tuning {step:,} of {self.tune:,}" if step <= self.tune else f"draw {step - self.tune:,} of {self.draws:,}"
        )
        left = spent_s / done * (total - done)
        faults = f"{self.divergences:,} divergence{'' if self.divergences == 1 else 's'}"
        return f"chain {chain + 1} of {self.chains}: {where}, {faults}, about {left:,.0f} s left"


def nuts(
    pm_model: Any,
    *,
    draws: int,
    tune: int,
    chains: int,
    cores: int,
    target_accept: float,
    seed: int,
    progress: bool,
    **options: Any,
) -> Any:
    """Sample by PyMC's NUTS; PyMC adds its own steps for discrete parameters.

    Raises
    ------
    InputError
        If the model has no finite log density where the chains start.
    KeyboardInterrupt
        If it is interrupted before the first chain is tuned.
    """
    pm = import_pymc()
    start = time.perf_counter()
    with compiled(), quiet(), ProgressLine(progress) as line:
        line.show("compiling the model")
        # a step method of the caller's own may move all chains at once
        watch = _Watch(line, draws, tune, chains, in_turn=min(cores, chains) == 1 and "step" not in options)
        try:
            idata = pm.sample(
                draws, tune=tune, chains=chains, cores=cores, random_seed=seed, model=pm_model,
                nuts_sampler="pymc", callback=watch, progressbar=False, quiet=True,
                compute_convergence_checks=False, **_target(pm_model, target_accept, options), **options,
            )  # fmt: skip
        except pm.exceptions.SamplingError as error:
            raise InputError(bad_start(pm_model)) from error
        except ValueError as error:
            if "Not enough samples to build a trace" not in str(error):
                raise
            raise KeyboardInterrupt("interrupted while the chains were being tuned: nothing was kept") from None
    _note_time(idata, time.perf_counter() - start)
    return idata


def _target(pm_model: Any, target_accept: float, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the acceptance rate for NUTS, where PyMC will choose NUTS for a parameter."""
    return {"target_accept": target_accept} if pm_model.continuous_value_vars and "step" not in options else {}


def _note_time(idata: Any, whole_s: float) -> None:
    """Note the time of the sampling, and what was spent before it: above all on compiling."""
    attrs = attributes(idata)
    attrs["sampling_time_s"] = float(attrs.pop("sampling_time"))
    attrs["compile_time_s"] = max(0.0, whole_s - attrs["sampling_time_s"])


def smc(pm_model: Any, *, draws: int, chains: int, cores: int, seed: int, progress: bool, **options: Any) -> Any:
    """Sample by PyMC's sequential Monte Carlo: a cloud of draws that moves from the prior to the posterior."""
    pm = import_pymc()
    with compiled(), quiet(), ProgressLine(progress) as line:
        line.show(f"{chains} clouds of {draws:,} draws move from the prior to the posterior")
        start = time.perf_counter()
        try:
            idata = pm.sample_smc(
                draws, chains=chains, cores=cores, random_seed=seed, model=pm_model, progressbar=False,
                compute_convergence_checks=False, **options,
            )  # fmt: skip
        except Exception as error:
            if impossible_terms(pm_model):  # PyMC says nothing of it
                raise InputError(bad_start(pm_model)) from error
            raise
        whole_s = time.perf_counter() - start
    stats = dataset(idata, "sample_stats")
    notes = {
        "sampling_time_s": float(stats.attrs.get("_t_sampling", whole_s)),
        "log_marginal_likelihood": [_last(values) for values in _per_chain(stats, chains)],
    }
    # built anew: PyMC's statistics have as many entries as a chain has stages, which no file format takes
    return make_idata(posterior_arrays(idata), **model_labels(pm_model), attrs=notes)


def _per_chain(stats: Any, chains: int) -> list[Any]:
    """Return the log marginal likelihood at each stage of each chain."""
    values = stats["log_marginal_likelihood"].values
    return list(values) if chains > 1 else [values]


def _last(stages: Any) -> float:
    return float(np.ravel(np.asarray(stages, dtype=np.float64))[-1])

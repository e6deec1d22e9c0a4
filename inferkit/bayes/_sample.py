"""One call for four ways to a posterior; whatever comes back has been looked at first."""

import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError, generator
from ..devices import describe
from ._diagnose import Diagnosis, InferenceWarning, diagnose
from ._diagnose_pareto import efficiency, pareto_k
from ._laplace import laplace_points
from ._pymc import attributes, import_pymc, make_idata, model_labels, observed_data, sizes
from ._sample_advi import advi_points
from ._sample_nuts import nuts, smc
from ._sample_space import Space, Vector, bad_start, check_continuous

METHODS = ("nuts", "advi", "laplace", "smc")


def sample(
    pm_model: Any,
    *,
    method: str = "nuts",
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    cores: int | None = None,
    target_accept: float = 0.8,
    random_state: int | np.random.Generator | None = None,
    progress: bool = True,
    **options: Any,
) -> Any:
    """Draw from the posterior of a PyMC model, and warn if the draws can't be trusted.

    Parameters
    ----------
    pm_model : pymc.Model
        Any model.
    method : {"nuts", "advi", "laplace", "smc"}, default="nuts"
        ``"nuts"``: a chain that walks through the posterior; the standard. ``"advi"``: the normal
        distribution, found by optimisation, that is closest to the posterior. ``"laplace"``: a normal
        distribution around the highest point. ``"smc"``: a cloud of draws that moves from the prior to
        the posterior; for posteriors with several peaks. ADVI and Laplace work where every
        parameter is made unconstrained, need continuous parameters, and are approximations.
    draws : int, default=1000
        Of each chain, after tuning. With ``"advi"`` and ``"laplace"``: independent draws, in one chain.
    tune : int, default=1000
        Steps of each chain of NUTS that are thrown away.
    chains : int, default=4
        Of NUTS and SMC.
    cores : int, optional
        How many chains at a time; as many as this process may use by default. The draws of a
        seed are the same for any number.
    target_accept : float, default=0.8
        Of NUTS; nearer to 1 means shorter steps.
    random_state : int, numpy.random.Generator or None, optional
        A seed gives the same draws every time.
    progress : bool, default=True
        Show a line while it works.
    **options
        For NUTS and SMC they go to ``pymc.sample`` and ``pymc.sample_smc``. For ADVI: ``steps=30_000``,
        ``full_rank=False``, ``optimizer=pymc.adam(learning_rate=0.01)`` and what ``pymc.fit`` takes; its
        answer is the average over the second half of the steps.

    Returns
    -------
    arviz.InferenceData or xarray.DataTree
        The second with ArviZ 1, so from Python 3.12 on. The attributes of its posterior say
        ``inference_method``, ``sampling_time_s``, ``compile_time_s`` where it is known, ``parameters``
        and ``interrupted`` (0 or 1). An interrupt of NUTS keeps the draws so far, of as many chains
        as makes the most of them; an interrupt of ADVI keeps the fit so far.

    Raises
    ------
    InputError
        If the model is none of PyMC's or has no parameters, its data hold NaN, it has no finite
        log density where it starts, or the method can't deal with it; or for a bad number.
    KeyboardInterrupt
        If it is interrupted before there is anything to keep.
    MissingExtraError
        If PyMC is not installed.

    Warns
    -----
    InferenceWarning
        If `diagnose` finds a problem; it says what to do.

    Notes
    -----
    What PyMC imputes (missing data given as NaN when the model was made) are parameters like others.

    References
    ----------
    Hoffman and Gelman (2014), "The No-U-Turn sampler", JMLR 15. Kucukelbir et al. (2017),
    "Automatic differentiation variational inference", JMLR 18. Tierney and Kadane (1986), JASA 81.
    Minson, Simons and Beck (2013), "Bayesian inversion for finite fault earthquake source models", GJI 194.

    Examples
    --------
    >>> import pymc as pm
    >>> from inferkit.bayes import sample
    >>> with pm.Model() as coin:
    ...     p = pm.Beta("p", 2, 2)
    ...     _ = pm.Binomial("heads", n=100, p=p, observed=61)
    >>> idata = sample(coin, method="laplace", draws=4000, random_state=0)
    >>> print(f"{idata.posterior['p'].values.mean():.2f}")
    0.60
    """
    run = _RUN.get(method) if isinstance(method, str) else None
    if run is None:
        raise InputError(f"method: expected one of {', '.join(map(repr, METHODS))}, got {method!r}")
    if not isinstance(target_accept, int | float) or not 0 < target_accept < 1:
        raise InputError(f"target_accept: expected a number between 0 and 1, got {target_accept!r}; 0.8 is usual")
    plan = _Plan(
        _count("draws", draws), _count("tune", tune, least=0), _count("chains", chains), _cores(cores, chains),
        target_accept, generator(random_state), progress,
    )  # fmt: skip
    check_model(pm_model)
    idata = run(pm_model, plan, options)
    _note(pm_model, idata, method, plan)
    _warn(diagnose(idata))
    return idata


@dataclass(frozen=True)
class _Plan:
    """What every method is told."""

    draws: int
    tune: int
    chains: int
    cores: int
    target_accept: float
    rng: np.random.Generator
    progress: bool

    def seed(self) -> int:
        """Draw a seed for PyMC."""
        return int(self.rng.integers(2**30))


def _count(name: str, value: Any, *, least: int = 1) -> int:
    """Return a whole number that is large enough, or raise."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise InputError(f"{name}: expected a whole number of at least {least}, got {value!r}")
    return int(value)


def _cores(cores: int | None, chains: Any) -> int:
    """Return how many chains to run at a time."""
    most = _count("chains", chains)
    return min(most, max(1, int(describe().cores_granted)) if cores is None else _count("cores", cores))


def check_model(pm_model: Any) -> None:
    """Raise an InputError unless this is a PyMC model with parameters, whose data hold no NaN.

    Parameters
    ----------
    pm_model : pymc.Model
        The model to look at.
    """
    pm = import_pymc()
    kind = getattr(pm.model.core, "BaseModel", pm.Model)
    if not isinstance(pm_model, kind):
        raise InputError(
            f"pm_model: expected a pymc.Model, got {type(pm_model).__name__}; "
            "write it as: with pymc.Model() as model: ... and pass model"
        )
    if not pm_model.free_RVs:
        raise InputError("pm_model: there is nothing to infer, the model has no random variable without data")
    for name, values in observed_data(pm_model).items():
        _check_observed(name, np.asarray(values))


def _check_observed(name: str, values: npt.NDArray[Any]) -> None:
    """Raise if data hold NaN."""
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(0, dtype=bool)
    if missing.any():
        raise InputError(
            f"pm_model: the data of {name!r} hold NaN in {missing.sum():,} of {missing.size:,} places "
            f"(the first at {tuple(map(int, np.argwhere(missing)[0]))}). Leave these rows out, or build the model with "
            "the NaN in it, so that PyMC makes each a parameter"
        )


def _nuts(pm_model: Any, plan: _Plan, options: dict[str, Any]) -> Any:
    return nuts(
        pm_model, draws=plan.draws, tune=plan.tune, chains=plan.chains, cores=plan.cores,
        target_accept=plan.target_accept, seed=plan.seed(), progress=plan.progress, **options,
    )  # fmt: skip


def _smc(pm_model: Any, plan: _Plan, options: dict[str, Any]) -> Any:
    return smc(
        pm_model, draws=plan.draws, chains=plan.chains, cores=plan.cores, seed=plan.seed(), progress=plan.progress,
        **options,
    )  # fmt: skip


def _laplace(pm_model: Any, plan: _Plan, options: dict[str, Any]) -> Any:
    if options:
        raise InputError(f"method='laplace' takes no options, got {', '.join(options)}")
    space, begun = _space(pm_model, "laplace"), time.perf_counter()
    points, logq = laplace_points(space, plan.draws, plan.rng)
    return _from_normal(space, points, logq, {"sampling_time_s": time.perf_counter() - begun})


def _advi(pm_model: Any, plan: _Plan, options: dict[str, Any]) -> Any:
    space = _space(pm_model, "advi")
    points, logq, notes = advi_points(
        pm_model, space, plan.draws, plan.rng, seed=plan.seed(), progress=plan.progress, **options
    )
    return _from_normal(space, points, logq, notes)


def _space(pm_model: Any, method: str) -> Space:
    """Return the model's unconstrained space, or raise if it has none or starts at an impossible point."""
    check_continuous(pm_model, method)
    space = Space(pm_model)
    logp, gradient = space.logp_and_gradient(space.start)
    if not (np.isfinite(logp) and np.isfinite(gradient).all()):
        raise InputError(bad_start(pm_model))
    return space


def _from_normal(space: Space, points: Vector, logq: Vector, notes: dict[str, Any]) -> Any:
    """Return draws from an approximation, mapped back, with how well it covers the posterior."""
    values, logp = space.back(points)
    notes = {**notes, "pareto_k": pareto_k(logp - logq), "ratio_efficiency": efficiency(logp - logq)}
    one_chain = {name: a[np.newaxis] for name, a in values.items()}
    return make_idata(one_chain, **model_labels(space.model), attrs=notes)


_RUN: dict[str, Callable[[Any, _Plan, dict[str, Any]], Any]] = {
    "nuts": _nuts,
    "advi": _advi,
    "laplace": _laplace,
    "smc": _smc,
}


def _note(pm_model: Any, idata: Any, method: str, plan: _Plan) -> None:
    """Write down how the draws were made; say so if there are fewer than were asked for."""
    attrs = attributes(idata)
    attrs["inference_method"] = method
    attrs["parameters"] = [rv.name for rv in pm_model.free_RVs]
    if method in ("nuts", "smc"):
        chains, draws = sizes(idata)
        kept, asked = chains * draws, plan.chains * plan.draws
        attrs["interrupted"] = int(kept < asked)
        if kept < asked:
            print(f"Interrupted: {kept:,} of {asked:,} draws were kept ({chains} of {plan.chains} chains).")
    else:
        if attrs.setdefault("interrupted", 0):
            print(f"Interrupted: the fit is that of the first {attrs['steps']:,} steps.")


def _warn(diagnosis: Diagnosis) -> None:
    """Warn of a failed diagnosis at the line that called this package."""
    if diagnosis.ok:
        return
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("inferkit."):
        level, frame = level + 1, frame.f_back
    warnings.warn(str(diagnosis), InferenceWarning, stacklevel=level)

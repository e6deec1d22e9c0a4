"""What is wrong with the draws of a posterior, in words, and what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from .._base import InputError, require
from ._diagnose_checks import INDEPENDENT, Problem, Seen, find_problems
from ._pymc import attributes, dataset, ess, has_group, rhat, sizes


class InferenceWarning(UserWarning):
    """Draws that should not be trusted; the message says why, and what to do."""


@dataclass(frozen=True)
class ParameterRow:
    """One number of the model.

    Attributes
    ----------
    name : str
        With its label: ``"theta[Choate]"``.
    mean, sd : float
        Of all draws.
    rhat, ess_bulk, ess_tail : float
        NaN where they say nothing.
    """

    name: str
    mean: float
    sd: float
    rhat: float
    ess_bulk: float
    ess_tail: float


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What was found when the draws were looked at.

    Attributes
    ----------
    method : str
        How they were made.
    chains, draws : int
        How many chains, and draws in each.
    problems : tuple of Problem
        Nothing, if all is well.
    parameters : tuple of ParameterRow
        Every number that was looked at.
    note : str
        What these checks can say about this method.
    """

    method: str
    chains: int
    draws: int
    problems: tuple[Problem, ...]
    parameters: tuple[ParameterRow, ...]
    note: str

    @property
    def ok(self) -> bool:
        """Whether no problem was found."""
        return not self.problems

    def to_frame(self) -> Any:
        """Return the parameters as a pandas DataFrame (extra ``pandas``)."""
        return require("pandas", extra="pandas").DataFrame([vars(row) for row in self.parameters])

    @property
    def _headline(self) -> str:
        found = len(self.problems)
        verdict = "no problem found" if not found else f"{found} problem{'s' if found > 1 else ''}"
        chains = f"{self.chains} chain{'s' if self.chains > 1 else ''} of {self.draws:,} draws"
        return f"{self.method}, {chains}: {verdict}. {self.note}"

    def __str__(self) -> str:
        return "\n".join([self._headline, *(f"- {problem}" for problem in self.problems)])

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        head = "| parameter | mean | sd | R-hat | ESS bulk | ESS tail |\n|---|--:|--:|--:|--:|--:|"
        rows = [
            f"| {_escaped(r.name)} | {' | '.join(_with_spread(r.mean, r.sd))} | {_number(r.rhat, '.3f')} | "
            f"{_number(r.ess_bulk, ',.0f')} | {_number(r.ess_tail, ',.0f')} |"
            for r in self.parameters[:_ROWS_SHOWN]
        ]
        more = len(self.parameters) - _ROWS_SHOWN
        rest = [f"\n{more:,} more, not shown."] if more > 0 else []
        problems = [f"- **{_escaped(p.words)}** {_escaped(p.advice)}" for p in self.problems]
        return "\n".join([f"{_escaped(self._headline)}\n", *problems, "", head, *rows, *rest])


_ROWS_SHOWN = 30


def _escaped(text: str) -> str:
    return text.replace("_", r"\_").replace("|", r"\|").replace("*", r"\*")


def _with_spread(mean: float, sd: float) -> tuple[str, str]:
    """Return a mean with as many digits as its standard deviation, at two digits, allows."""
    if not (np.isfinite(mean) and np.isfinite(sd) and sd > 0):
        return _number(mean, ".3g"), _number(sd, ".2g")
    digits = 1 - int(np.floor(np.log10(sd)))
    shown = max(0, digits)
    return tuple(f"{round(value, digits) + 0.0:,.{shown}f}" for value in (mean, sd))  # type: ignore[return-value]


def _number(value: float, spec: str) -> str:
    return format(value, spec) if np.isfinite(value) else ("∞" if value == np.inf else "–")


def diagnose(idata: Any, *, var_names: Sequence[str] | None = None) -> Diagnosis:
    """Say whether draws from a posterior can be trusted, and if not, what to do.

    Parameters
    ----------
    idata : arviz.InferenceData or xarray.DataTree
        What `sample` or ``pymc.sample`` returned.
    var_names : sequence of str, optional
        What to look at; the model's parameters by default, or every variable where `idata` doesn't
        say which are parameters.

    Returns
    -------
    Diagnosis
        Its `ok` tells whether all is well; `problems` say in words what isn't.

    Raises
    ------
    InputError
        If there is no posterior, or no such variable.

    Notes
    -----
    Chains have a problem if they are single; if R-hat is above 1.01, or the effective sample size below
    100 a chain, for bulk or tails; if a trajectory diverged; if the energy's Bayesian fraction of missing
    information is below 0.3, or more than 5 % of the trajectories were cut off; if a chain stands still or
    a draw isn't finite. The draws of ADVI and Laplace are independent, so that these checks
    are blind to their faults: there, the Pareto k of the importance ratios tells
    how well the approximation covers the posterior (0.7 at most, less for few draws; where the ratios are
    so alike that weighing by them costs less than 5 % of the draws, their tail doesn't count), and ADVI's
    bound must have settled (a gain of at most 0.1 nats in the last tenth of the steps).

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter, Bürkner (2021), "Rank-normalization, folding, and
    localization: an improved R-hat", Bayesian Analysis 16. Betancourt (2017), "A conceptual introduction to
    Hamiltonian Monte Carlo", arXiv:1701.02434. Yao, Vehtari, Simpson, Gelman (2018), "Yes, but did it work?
    Evaluating variational inference", ICML.

    Examples
    --------
    >>> import numpy as np
    >>> from inferkit.bayes._pymc import make_idata
    >>> draws = np.random.default_rng(0).normal(size=(4, 1000))
    >>> diagnose(make_idata({"mu": draws})).ok
    True
    >>> print(diagnose(make_idata({"mu": draws + np.arange(4)[:, None]})).problems[0].words)
    The chains disagree about mu: R-hat is 1.56, above 1.01.
    """
    seen = _look(idata, var_names)
    rows = [
        ParameterRow(label, *map(float, numbers))
        for label, *numbers in zip(seen.labels, seen.mean, seen.sd, seen.rhat, seen.bulk, seen.tail, strict=True)
    ]
    problems = tuple(find_problems(seen))
    return Diagnosis(seen.method, seen.chains, seen.draws, problems, tuple(rows), _note(seen))


def _look(idata: Any, var_names: Sequence[str] | None) -> Seen:
    """Gather what the checks look at."""
    data, attrs = dataset(idata, "posterior"), attributes(idata)
    wanted = data[_names(data, attrs, var_names)]
    chains, draws = sizes(idata)
    method = str(attrs.get("inference_method", "draws"))
    enough = draws >= 4 and method not in INDEPENDENT  # below, ArviZ has nothing to say
    nothing = np.full(sum(a[0, 0].size for a in _arrays(wanted)), np.nan)
    return Seen(
        method=method,
        labels=[label for name in wanted.data_vars for label in _labels(wanted[name])],
        values=np.concatenate([a.reshape(chains, draws, -1) for a in _arrays(wanted)], axis=2),
        real=np.concatenate([np.full(a[0, 0].size, a.dtype.kind == "f") for a in _arrays(wanted)]),
        rhat=_flat(rhat(wanted)) if enough and chains > 1 else nothing,
        bulk=_flat(ess(wanted, "bulk")) if enough else nothing,
        tail=_flat(ess(wanted, "tail")) if enough else nothing,
        attrs=attrs,
        stats=dataset(idata, "sample_stats") if has_group(idata, "sample_stats") else {},
    )


def _names(data: Any, attrs: Any, var_names: Sequence[str] | None) -> list[str]:
    """Return the variables to look at."""
    there = [str(name) for name in data.data_vars if data[name].dtype.kind in "fiub" and data[name].size]
    noted = attrs.get("parameters", there)
    chosen = list(var_names) if var_names is not None else [noted] if isinstance(noted, str) else list(noted)
    missing = [name for name in chosen if name not in there]
    if missing or not chosen:
        raise InputError(f"expected variables of the posterior ({', '.join(there)}), got {missing or chosen}")
    return chosen


def _arrays(data: Any) -> list[Any]:
    return [np.asarray(data[name].transpose("chain", "draw", ...).values) for name in data.data_vars]


def _flat(data: Any) -> Any:
    """Return one number for each element, in the order of the labels."""
    return np.concatenate([np.ravel(data[name].values) for name in data.data_vars]).astype(np.float64)


def _labels(variable: Any) -> list[str]:
    """Return a name for each element: ``theta[Choate]``."""
    rest = [d for d in variable.dims if d not in ("chain", "draw")]
    if not rest:
        return [str(variable.name)]
    axes = [variable[d].values if d in variable.coords else np.arange(variable.sizes[d]) for d in rest]
    return [f"{variable.name}[{', '.join(map(str, place))}]" for place in product(*axes)]


def _note(seen: Seen) -> str:
    """Return what the checks found where all is well, or can't see."""
    if seen.method in INDEPENDENT:
        k, share = seen.attrs.get("pareto_k", np.nan), seen.attrs.get("ratio_efficiency", np.nan)
        return (
            "An approximation, so its draws are independent; weighed to be the posterior's, they keep "
            f"{share:.0%} of their worth (Pareto k {_number(k, '.2f')})."
        )
    worst, least = np.fmax.reduce(seen.rhat), np.fmin.reduce([*seen.bulk, *seen.tail])  # NaN only if all are
    return f"R-hat is at most {_number(worst, '.3f')}, the effective sample size at least {_number(least, ',.0f')}."

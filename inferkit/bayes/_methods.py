"""Ways to one posterior side by side: what each costs, and how far it is from the truth."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError, generator, require
from ._diagnose import Diagnosis, InferenceWarning, diagnose
from ._diagnose_checks import INDEPENDENT
from ._pymc import Arrays, attributes, flat_draws, posterior_arrays
from ._sample import METHODS, sample

Moments = dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]  # mean and sd of every number
Exact = Mapping[str, Any] | Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class MethodRow:
    """One method.

    Attributes
    ----------
    method : str
        Its name, or ``"exact"``.
    seconds : float
        From call to draws, compiling included.
    compile_seconds : float
        Of these, spent before the first draw; NaN if unknown.
    ess : float
        The effective sample size of the worst parameter; for independent draws their number.
    error_mean : float
        The largest distance of a mean from the standard, in posterior standard deviations.
    error_sd : float
        The largest error of a standard deviation, as a share of it.
    standard : bool
        Whether the others are held against this one.
    ok : bool
        Whether `diagnose` found no problem.
    """

    method: str
    seconds: float
    compile_seconds: float
    ess: float
    error_mean: float
    error_sd: float
    standard: bool = False
    ok: bool = True

    @property
    def ess_per_s(self) -> float:
        """Effective draws for each second after compiling."""
        spent = self.seconds - np.nan_to_num(self.compile_seconds)
        return self.ess / spent if spent > 0 else float("nan")

    def _cells(self) -> tuple[str, ...]:
        errors = ("standard", "standard") if self.standard else (f"{self.error_mean:.2f} sd", f"{self.error_sd:.0%}")
        times = (f"{self.seconds:.3g}", _or_dash(self.compile_seconds, ".3g"))
        rate = (_or_dash(self.ess, ",.0f"), _or_dash(self.ess_per_s, ",.0f"))
        return (self.method, *times, *rate, *errors, "yes" if self.ok else "no")


_HEADS = ("method", "seconds", "of these compiling", "ESS", "ESS/s", "error of mean", "error of sd", "diagnosis ok")


def _or_dash(value: float, spec: str) -> str:
    return format(value, spec) if np.isfinite(value) else "–"


@dataclass(frozen=True, repr=False)
class MethodComparison:
    """What `compare_methods` found.

    Attributes
    ----------
    rows : tuple of MethodRow
        In the order asked for; the exact answer first.
    standard : str
        What the errors are measured against.
    idatas : dict of str to InferenceData or DataTree
        The draws of each method.
    diagnoses : dict of str to Diagnosis
        What `diagnose` says of each.
    """

    rows: tuple[MethodRow, ...]
    standard: str
    idatas: dict[str, Any] = field(default_factory=dict)
    diagnoses: dict[str, Diagnosis] = field(default_factory=dict)

    def __getitem__(self, method: str) -> MethodRow:
        for row in self.rows:
            if row.method == method:
                return row
        raise InputError(f"expected one of {', '.join(row.method for row in self.rows)}, got {method!r}")

    def to_frame(self) -> Any:
        """Return the rows as a pandas DataFrame (extra ``pandas``)."""
        records = [vars(row) | {"ess_per_s": row.ess_per_s} for row in self.rows]
        return require("pandas", extra="pandas").DataFrame(records)

    @property
    def _foot(self) -> str:
        return f"Errors against {self.standard}; each is that of the worst parameter."

    def __str__(self) -> str:
        table = [_HEADS, *(row._cells() for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(_aligned(cells, widths)).rstrip() for cells in table]
        return "\n".join([*lines, self._foot])

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        rows = [_HEADS, ("---", *["--:"] * (len(_HEADS) - 1)), *(row._cells() for row in self.rows)]
        return "\n".join("| " + " | ".join(row) + " |" for row in rows) + f"\n\n{self._foot}"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Return the cells filled up: the first to the left, numbers to the right."""
    return [cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]


def compare_methods(
    pm_model: Any,
    *,
    methods: Sequence[str] = ("nuts", "advi", "laplace"),
    exact: Exact | None = None,
    reference: Any = None,
    var_names: Sequence[str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    random_state: int | np.random.Generator | None = None,
    progress: bool = True,
    **common: Any,
) -> MethodComparison:
    """Infer the same posterior by several methods: time, effective draws a second, and error.

    Parameters
    ----------
    pm_model : pymc.Model
        Any model that the methods can deal with.
    methods : sequence of str, default=("nuts", "advi", "laplace")
        Of those `sample` knows, each once.
    exact : dict or callable, optional
        The true posterior, from a closed form or a grid: parameter to draws, shape (draws, ...), or to a
        pair (mean, standard deviation). A callable that returns one is timed, and has a row of its own.
    reference : InferenceData or DataTree, optional
        A long run to measure errors against, if there is nothing exact.
    var_names : sequence of str, optional
        What to compare; all parameters that the standard has by default.
    options : dict of str to dict, optional
        For each method what `sample` takes, for example ``{"nuts": {"draws": 4000}}``.
    random_state : int, numpy.random.Generator or None, optional
        A seed gives the same draws every time.
    progress : bool, default=True
        Show a line while it works.
    **common
        For `sample`, with all methods: ``draws``, ``tune``, ``chains``, ``cores``, ``target_accept``.

    Returns
    -------
    MethodComparison
        Errors are measured against `exact`, else `reference`, else the method with the most effective draws among
        NUTS and SMC. A failed diagnosis is noted in the row, not warned of.

    Raises
    ------
    InputError
        If a method is unknown or named twice, or there is nothing to measure errors against, or its parameters aren't
        the model's.

    Notes
    -----
    The errors contain the Monte Carlo error of the draws: with n effective draws about 1/√n standard deviations for a
    mean, so 0.03 for a thousand. A smaller error says nothing about a method.
    """
    _check(methods, options or {})
    rng = generator(random_state)
    runs = [_run(pm_model, m, rng, progress, {**common, **(options or {}).get(m, {})}) for m in methods]
    standard = _standard(exact, reference, runs)
    names = _names(var_names, standard, runs)
    rows = [*standard.rows(), *(_row(run, standard, names) for run in runs)]
    return MethodComparison(
        tuple(rows), standard.words, {r.method: r.idata for r in runs}, {r.method: r.diagnosis for r in runs}
    )


@dataclass(frozen=True)
class _Run:
    """The draws of one method."""

    method: str
    seconds: float
    idata: Any
    diagnosis: Diagnosis

    @property
    def ess(self) -> float:
        """The effective sample size of the worst parameter."""
        if self.method in INDEPENDENT:
            return float(self.diagnosis.draws)
        return float(np.nanmin([row.ess_bulk for row in self.diagnosis.parameters]))


@dataclass(frozen=True)
class _Standard:
    """What errors are measured against."""

    name: str
    words: str
    moments: Moments
    seconds: float = float("nan")

    def rows(self) -> list[MethodRow]:
        """Return the row of an exact answer that was timed."""
        if np.isnan(self.seconds):
            return []
        nan = float("nan")
        return [MethodRow("exact", self.seconds, nan, nan, 0.0, 0.0, standard=True)]


def _check(methods: Sequence[str], options: Mapping[str, Any]) -> None:
    """Raise unless the methods are known, each named once."""
    listed = [methods] if isinstance(methods, str) else list(methods)
    if not listed or len(set(listed)) != len(listed) or not set(listed) <= set(METHODS):
        raise InputError(f"methods: expected some of {METHODS}, each once, got {methods!r}")
    if not set(options) <= set(listed):
        raise InputError(f"options: expected keys among the methods {tuple(listed)}, got {tuple(options)}")


def _run(pm_model: Any, method: str, rng: np.random.Generator, progress: bool, own: Mapping[str, Any]) -> _Run:
    """Sample by one method; what it warns of is noted in its row."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InferenceWarning)
        idata = sample(pm_model, method=method, random_state=rng, progress=progress, **own)
    return _Run(method, time.perf_counter() - start, idata, diagnose(idata))


def _standard(exact: Exact | None, reference: Any, runs: Sequence[_Run]) -> _Standard:
    """Return what to measure against: the exact answer, else the reference, else the longest chain."""
    if callable(exact):
        start = time.perf_counter()
        answer = exact()
        return _Standard("exact", "the exact posterior", _given(answer), time.perf_counter() - start)
    if exact is not None:
        return _Standard("exact", "the exact posterior", _given(exact))
    if reference is not None:
        return _Standard("reference", "the run that was given", _moments(flat_draws(reference)))
    chains = [run for run in runs if run.method not in INDEPENDENT]
    if not chains:
        raise InputError(
            "there is nothing to measure errors against: add 'nuts' to methods, or give exact= or reference="
        )
    longest = max(chains, key=lambda run: run.ess)
    return _Standard(longest.method, f"the run of {longest.method}", _moments(flat_draws(longest.idata)))


def _given(answer: Mapping[str, Any]) -> Moments:
    """Return mean and standard deviation of what was given: a pair of them, or draws."""
    found = {}
    for name, value in answer.items():
        if isinstance(value, tuple) and len(value) == 2:
            found[name] = (np.asarray(value[0], dtype=np.float64), np.asarray(value[1], dtype=np.float64))
        else:
            found.update(_moments({name: np.asarray(value)}))
    return found


def _moments(draws: Arrays) -> Moments:
    """Return mean and standard deviation of every variable."""
    return {name: (a.mean(axis=0), a.std(axis=0)) for name, a in draws.items()}


def _names(var_names: Sequence[str] | None, standard: _Standard, runs: Sequence[_Run]) -> list[str]:
    """Return the variables to compare, which the standard and every method know in the same shape."""
    shapes = {name: a.shape[2:] for name, a in posterior_arrays(runs[0].idata).items()}
    noted = attributes(runs[0].idata)["parameters"]
    default = [n for n in standard.moments if n in noted] or list(standard.moments)
    names = default if var_names is None else list(var_names)
    for name in names:
        there = standard.moments[name][0].shape if name in standard.moments else None
        if not names or there is None or shapes.get(name) != there:
            raise InputError(
                f"{name!r}: expected a variable that the standard and the model have in the same shape; "
                f"the model has {shapes}, the standard has it {'not' if there is None else f'as {there}'}"
            )
    return names


def _row(run: _Run, standard: _Standard, names: Sequence[str]) -> MethodRow:
    """Return what one method costs, and its largest errors."""
    own = _moments(flat_draws(run.idata))
    mean, sd = (
        np.concatenate([np.ravel(e) for e in part]) for part in zip(*_errors(own, standard, names), strict=True)
    )
    return MethodRow(
        run.method, run.seconds, float(attributes(run.idata).get("compile_time_s", np.nan)), run.ess,
        float(mean.max()), float(sd.max()), run.method == standard.name, run.diagnosis.ok,
    )  # fmt: skip


def _errors(own: Moments, standard: _Standard, names: Sequence[str]) -> list[tuple[Any, Any]]:
    """Return for each variable the errors of mean and standard deviation, in standard deviations of the standard."""
    found = []
    for name in names:
        (mean, sd), (true_mean, true_sd) = own[name], standard.moments[name]
        moving = np.where(true_sd > 0, true_sd, 1.0)  # a number that never moves is off by its own units
        found.append((np.abs(mean - true_mean) / moving, np.abs(sd - true_sd) / moving))
    return found

"""A PyMC model seen as one density over unconstrained numbers, and the way back to its parameters."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError
from ._pymc import Arrays, quiet

Vector = npt.NDArray[np.float64]
_AT_ONCE = 100  # draws mapped back in one call: what they need of memory grows with the data


class Space:
    """The unconstrained space of a model with continuous parameters.

    Everything is compiled in PyTensor's quick mode, which starts in a fraction of a second and
    runs in NumPy: for a few hundred calls that is the faster way.

    Parameters
    ----------
    pm_model : pymc.Model
        Its parameters are all continuous.
    """

    def __init__(self, pm_model: Any) -> None:
        self.model = pm_model
        point = pm_model.initial_point()
        self._start = {v.name: np.asarray(point[v.name], dtype=np.float64) for v in pm_model.value_vars}
        self._sizes = [a.size for a in self._start.values()]

    @property
    def start(self) -> Vector:
        """Where the model starts: shape (parameters,)."""
        start: Vector = np.concatenate([a.ravel() for a in self._start.values()])
        return start

    @property
    def value_names(self) -> list[str]:
        """The names of the unconstrained variables, in order."""
        return list(self._start)

    @property
    def names(self) -> list[str]:
        """The parameter that each number belongs to."""
        owner = {value.name: rv.name for rv, value in self.model.rvs_to_values.items()}
        return [owner[name] for name, size in zip(self._start, self._sizes, strict=True) for _ in range(size)]

    @cached_property
    def _logp_dlogp(self) -> Any:
        function = self.model.logp_dlogp_function(ravel_inputs=True, mode="FAST_COMPILE")
        function.set_extra_values({})
        return function

    def logp_and_gradient(self, x: Vector) -> tuple[float, Vector]:
        """Return the log density (Jacobian included, up to a constant) at one point, and its gradient."""
        with quiet(), np.errstate(all="ignore"):
            logp, gradient = self._logp_dlogp(x)
        return float(logp), np.asarray(gradient, dtype=np.float64)

    def hessian(self, x: Vector) -> npt.NDArray[np.float64]:
        """Return the matrix of second derivatives of the log density, by central differences of the gradient."""
        step = np.cbrt(np.finfo(np.float64).eps) * np.maximum(1.0, np.abs(x))
        rows = [
            (self.logp_and_gradient(x + h)[1] - self.logp_and_gradient(x - h)[1]) / (2 * s)
            for h, s in zip(np.diag(step), step, strict=True)
        ]
        matrix = np.array(rows).reshape(x.size, x.size)
        symmetric: npt.NDArray[np.float64] = (matrix + matrix.T) / 2
        return symmetric

    @cached_property
    def _back(self) -> Any:
        """Compile the map from many points to every parameter, every deterministic and the log density."""
        import pytensor
        import pytensor.tensor as pt
        from pytensor.graph.replace import vectorize_graph

        values = self.model.value_vars
        many = {v: pt.tensor(f"many_{v.name}", shape=(None, *v.type.shape), dtype=v.dtype) for v in values}
        wanted = [*self.model.replace_rvs_by_values(self.model.unobserved_RVs), self.model.logp()]
        return pytensor.function(
            list(many.values()), vectorize_graph(wanted, replace=many), mode="FAST_COMPILE", on_unused_input="ignore"
        )

    def back(self, points: npt.NDArray[np.float64]) -> tuple[Arrays, Vector]:
        """Map unconstrained points back.

        Parameters
        ----------
        points : numpy.ndarray of float64, shape (draws, parameters)
            In the order of `names`.

        Returns
        -------
        dict of str to numpy.ndarray, shape (draws, ...)
            Parameters and deterministics.
        numpy.ndarray of float64, shape (draws,)
            The log density in the unconstrained space, up to a constant.
        """
        with quiet(), np.errstate(all="ignore"):
            parts = [self._map(points[i : i + _AT_ONCE]) for i in range(0, len(points), _AT_ONCE)]
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        names = [rv.name for rv in self.model.unobserved_RVs]
        return dict(zip(names, columns[:-1], strict=True)), columns[-1]

    def _map(self, points: npt.NDArray[np.float64]) -> Sequence[npt.NDArray[Any]]:
        """Map at most some hundred points; what depends on no parameter is the same for all."""
        cuts = np.cumsum(self._sizes)[:-1]
        parts = np.split(points, cuts, axis=1)
        shaped = [part.reshape(-1, *a.shape) for part, a in zip(parts, self._start.values(), strict=True)]
        wanted = [*self.model.unobserved_RVs, None]
        return [
            out if rv is None or np.ndim(out) > rv.ndim else np.broadcast_to(out, (len(points), *np.shape(out)))
            for rv, out in zip(wanted, self._back(*shaped), strict=True)
        ]


def check_continuous(pm_model: Any, method: str) -> None:
    """Refuse a model with discrete parameters."""
    discrete = [rv.name for rv in pm_model.free_RVs if rv.dtype.startswith(("int", "uint", "bool"))]
    if discrete:
        raise InputError(
            f"method={method!r} needs continuous parameters; these are discrete: {', '.join(discrete)}. "
            "Use method='nuts' (PyMC adds a step for discrete ones) or 'smc', or sum them out of the model"
        )


def impossible_terms(pm_model: Any) -> list[str]:
    """Return the parts of a model that have no finite log density where it starts, with what they have."""
    with quiet(), np.errstate(all="ignore"):
        terms = pm_model.point_logps(pm_model.initial_point(), round_vals=3, mode="FAST_COMPILE")
    return [f"{name} has {float(np.asarray(value)):g}" for name, value in terms.items() if not np.isfinite(value)]


def bad_start(pm_model: Any) -> str:
    """Return which parts of a model have no finite log density where it starts, and what to look for."""
    wrong = impossible_terms(pm_model)
    return (
        f"the model has no finite log density where it starts: {'; '.join(wrong) or 'the gradient is not finite'}. "
        "Look for data outside what the likelihood allows, NaN in the data, or an initial value outside its prior; "
        "model.debug() shows the terms"
    )

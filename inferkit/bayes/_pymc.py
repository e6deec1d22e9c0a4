"""The one adapter: PyMC 5 with ArviZ 0 and PyMC 6 with ArviZ 1 look alike from here on."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError, MissingExtraError, require

Arrays = dict[str, npt.NDArray[Any]]

_THEIR_NEWS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, RuntimeWarning)


def import_pymc() -> Any:
    """Import PyMC without the notes that it and PyTensor write about this machine.

    Returns
    -------
    module
        ``pymc``.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    _quiet_pytensor()
    return require("pymc", extra="bayes")


@cache
def _quiet_pytensor() -> None:
    """Import PyTensor with its note on a missing compiler, and its warning about BLAS, kept quiet."""
    log = logging.getLogger("pytensor.configdefaults")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        config = require("pytensor", extra="bayes").config
    finally:
        log.setLevel(level)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        _ = config.blas__ldflags  # looked for once; the warning comes with the looking


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what PyMC, PyTensor and ArviZ log, and warn of their own future, from the caller."""
    # the second logs, as an error, that it leaves out a fusion in ADVI; nothing else comes of it
    logs = [logging.getLogger(name) for name in ("pymc", "pytensor.graph.rewriting.basic", "pytensor.tensor.blas")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            for category in _THEIR_NEWS:
                warnings.simplefilter("ignore", category)
            warnings.filterwarnings("ignore", category=UserWarning, module=r"(pytensor|numba|arviz|xarray)")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def compile_mode() -> str | None:
    """Return the compile mode to give to PyTensor, so that nothing runs in plain Python.

    Returns
    -------
    str or None
        None where PyTensor's own default is compiled: a C++ compiler is found, or Numba is the
        default. Else ``"NUMBA"``; the first time, one printed line says so.

    Raises
    ------
    MissingExtraError
        If there is neither a C++ compiler nor Numba.
    """
    import_pymc()
    config = require("pytensor", extra="bayes").config
    if not _runs_python(config):
        return None
    _say_numba()
    return "NUMBA"


def _runs_python(config: Any) -> bool:
    """Tell whether what PyTensor compiles by default would run in plain Python for want of a compiler."""
    from pytensor.compile.mode import get_default_mode

    linker = type(get_default_mode().linker).__name__
    return (
        not config.cxx and config.linker not in ("py", "vm_nogc") and linker in ("VMLinker", "CLinker", "OpWiseCLinker")
    )


@cache
def _say_numba() -> None:
    """Say once that Numba takes the place of the compiler that is missing."""
    try:
        require("numba", extra="bayes")
    except MissingExtraError as error:
        raise MissingExtraError(
            "PyTensor finds no C++ compiler and no Numba, so it would run in plain Python, many times slower. "
            "Install one of them, for example with: pip install numba"
        ) from error
    print("No C++ compiler was found, so the model is compiled with Numba.")


@contextmanager
def compiled() -> Iterator[None]:
    """Let what PyTensor compiles inside the block be compiled by what this machine has."""
    mode = compile_mode()
    if mode is None:
        yield
        return
    with require("pytensor", extra="bayes").config.change_flags(mode=mode):
        yield


def has_group(idata: Any, name: str) -> bool:
    """Tell whether `idata` (InferenceData or DataTree) has the group `name`."""
    return name in _groups(idata)


def _groups(idata: Any) -> list[str]:
    """Return the names of the groups."""
    return list(idata.children) if hasattr(idata, "children") else list(idata.groups())


def dataset(idata: Any, name: str) -> Any:
    """Return a group as an ``xarray.Dataset``.

    Raises
    ------
    InputError
        If `idata` is neither an InferenceData nor a DataTree, or has no such group.
    """
    if not hasattr(idata, "groups"):
        raise InputError(
            f"idata: expected an InferenceData or DataTree, as sample(...) returns, got {type(idata).__name__}"
        )
    if not has_group(idata, name):
        raise InputError(f"idata: expected a group {name!r}, but it has: {', '.join(_groups(idata)) or 'none'}")
    found = idata[name]
    return getattr(found, "dataset", found)


def attributes(idata: Any) -> dict[str, Any]:
    """Return the attributes of the posterior group: a dictionary that can be written to."""
    dataset(idata, "posterior")  # raises if there is none
    attrs: dict[str, Any] = idata["posterior"].attrs
    return attrs


def sizes(idata: Any) -> tuple[int, int]:
    """Return how many chains the posterior has, and how many draws in each."""
    found = dataset(idata, "posterior").sizes
    return int(found["chain"]), int(found["draw"])


def posterior_arrays(idata: Any, group: str = "posterior") -> Arrays:
    """Return a group's variables as arrays.

    Parameters
    ----------
    idata : InferenceData or DataTree
        What `sample` returns.
    group : str, default="posterior"
        Which group.

    Returns
    -------
    dict of str to numpy.ndarray, shape (chains, draws, ...)

    Raises
    ------
    InputError
        If there is no such group.
    """
    data = dataset(idata, group)
    return {str(name): np.asarray(data[name].transpose("chain", "draw", ...).values) for name in data.data_vars}


def flat_draws(idata: Any, group: str = "posterior") -> Arrays:
    """Return a group's variables with all chains in one row of draws.

    Returns
    -------
    dict of str to numpy.ndarray, shape (chains * draws, ...)
        Chain after chain.
    """
    return {name: a.reshape(-1, *a.shape[2:]) for name, a in posterior_arrays(idata, group).items()}


def make_idata(
    posterior: Mapping[str, npt.ArrayLike],
    *,
    sample_stats: Mapping[str, npt.ArrayLike] | None = None,
    observed_data: Mapping[str, npt.ArrayLike] | None = None,
    coords: Mapping[str, Any] | None = None,
    dims: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> Any:
    """Return draws as what this machine's ArviZ works with.

    Parameters
    ----------
    posterior, sample_stats : dict of str to array, shape (chains, draws, ...)
        The draws, and what the sampler says of each.
    observed_data : dict of str to array, optional
        The data, as they are.
    coords, dims : dict, optional
        Labels of the axes, as PyMC has them.
    attrs : dict, optional
        Attributes of the posterior group.

    Returns
    -------
    arviz.InferenceData or xarray.DataTree
    """
    groups = {"posterior": posterior, "sample_stats": sample_stats, "observed_data": observed_data}
    given = {name: {k: np.asarray(v) for k, v in values.items()} for name, values in groups.items() if values}
    labels = {"coords": dict(coords or {}), "dims": {k: list(v) for k, v in (dims or {}).items()}}
    arviz = require("arviz", extra="bayes")
    with quiet():
        idata = arviz.from_dict(**given, **labels) if _is_old(arviz) else arviz.from_dict(given, **labels)
    attributes(idata).update(attrs or {})
    return idata


def model_labels(pm_model: Any) -> dict[str, Any]:
    """Return the coordinates, dimensions and observed data of a PyMC model, as `make_idata` takes them."""
    from pymc.backends.arviz import coords_and_dims_for_inferencedata

    coords, dims = coords_and_dims_for_inferencedata(pm_model)
    return {"coords": coords, "dims": dims, "observed_data": observed_data(pm_model)}


def observed_data(pm_model: Any) -> Arrays:
    """Return the data of a PyMC model, as far as they are plain arrays."""
    from pymc.backends.arviz import find_observations

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about data that are computed in the model
        return {name: np.asarray(values) for name, values in find_observations(pm_model).items()}


def _is_old(arviz: Any) -> bool:
    return int(arviz.__version__.partition(".")[0]) < 1


def rhat(data: Any) -> Any:
    """Return the rank-normalised split R-hat of every element of a dataset of draws."""
    with quiet():
        return require("arviz", extra="bayes").rhat(data)


def ess(data: Any, kind: str = "bulk") -> Any:
    """Return the effective sample size, ``"bulk"`` or ``"tail"``, of every element of a dataset of draws."""
    with quiet():
        return require("arviz", extra="bayes").ess(data, method=kind)

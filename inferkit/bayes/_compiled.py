"""A fitted posterior as plain arrays: it answers in NumPy, in microseconds, and knows no PyMC."""

import copy
import os
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .._base import InputError, ModelFileError, generator, whole_file
from .._base import sha256 as hash_of
from ._compiled_answers import ClassAnswers, LineAnswers, Rows, chosen_draws
from ._compiled_check import (
    CLASSIFIERS,
    Floats,
    Label,
    as_numbers,
    checked_classes,
    checked_coverage,
    checked_draws,
    checked_names,
    checked_scaling,
    checked_table,
)
from ._compiled_file import pack, unpack
from ._compiled_groups import checked_groups

Array = npt.NDArray[Any]
Family = Literal["bernoulli", "categorical", "normal", "student", "hierarchical-normal", "hierarchical-student"]
_FACTS = ("family", "name", "classes", "groups", "group_column", "feature_names", "coverage")
_VALUES_AT_ONCE = 1 << 16  # rows × draws × classes: 512 kB, which a processor's cache holds


class CompiledPosterior:
    """A posterior that answers without PyMC: probabilities or means, intervals and draws from plain NumPy.

    Every answer is that of the posterior predictive distribution: each draw of the parameters predicts, and the
    predictions are pooled. A `Predictor` takes it as any other model.

    Parameters
    ----------
    family : str
        ``"bernoulli"`` (two classes by one logit), ``"categorical"`` (softmax over K logits), ``"normal"``,
        ``"student"``, ``"hierarchical-normal"`` or ``"hierarchical-student"`` (a line of its own for each group).
    draws : dict of str to array-like of float64
        The draws of the parameters, S of them along the first axis, for standardized features and for targets on
        their own scale. With p features, K classes and G groups:

        - ``"intercept"`` (S,), categorical (S, K), hierarchical (S, G);
        - ``"coef"`` (S, p), categorical (S, p, K), hierarchical (S, G, p);
        - ``"sigma"`` (S,), the noise's scale, for regressions; ``"nu"`` (S,), its degrees of freedom, for Student's t;
        - ``"group_mean"`` and ``"group_sd"`` (S, 1 + p), the distribution that groups come from, intercept first,
          for hierarchical families.
    mean, scale : array-like of shape (p,), optional
        A feature x enters as (x − mean) / scale. Left out, it enters as it is.
    classes : sequence of str or of numbers, optional
        The labels of a classifier, in the order of its probabilities; 0, 1, ... if not given.
    groups : sequence of str or of numbers
        The labels of the G groups, for hierarchical families.
    group_column : int or str
        Which column of X holds the group's label, by position or by its name in `feature_names`.
    feature_names : sequence of str, optional
        The names of all columns of X, the group's among them.
    name : str, default="posterior"
        For tables and figures.
    coverage : float, optional
        With it, a call gives the mean and the interval of this coverage; see `with_interval`.

    Attributes
    ----------
    draws : dict of str to numpy.ndarray
    n_draws : int
        S.
    n_features : int
        Columns of X.
    content : bytes
        What `save` writes.
    sha256 : str
    size_bytes : int

    Raises
    ------
    InputError
        If the draws are not those that the family needs, hold NaN or infinity, or a label does not fit.

    Notes
    -----
    The group of a row may be one that the model never saw. Its intercept and slopes then come from the distribution
    of the groups, one set for each posterior draw. Means and standard deviations are exact; so are intervals with
    normal noise. With Student's t the intervals rest on normal scores, shuffled by seed 0. `predict_draws` draws the
    sets anew, and the same set for all rows with that label.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> draws = {"intercept": rng.normal(0, 0.1, 1000), "coef": rng.normal(2, 0.1, (1000, 1)), "sigma": np.ones(1000)}
    >>> line = CompiledPosterior("normal", draws)
    >>> line([[1.0], [2.0]]).round(1)
    array([2., 4.])
    >>> line.predict_interval([[1.0]], coverage=0.9).round(1)  # 2 ± 1.645 × the root of 1² + 0.1² + 0.1²
    array([[0.3, 3.7]])
    """

    def __init__(
        self,
        family: Family,
        draws: Mapping[str, Any],
        *,
        mean: Any = None,
        scale: Any = None,
        classes: Iterable[Any] | None = None,
        groups: Iterable[Any] | None = None,
        group_column: int | str | None = None,
        feature_names: Iterable[Any] | None = None,
        name: str = "posterior",
        coverage: float | None = None,
    ) -> None:
        self.family, self.name = family, name
        self.draws, sizes = checked_draws(family, draws)
        self.n_draws, self._p = sizes["S"], sizes["p"]
        self.n_features = sizes["p"] + ("G" in sizes)
        self.mean, self.scale = checked_scaling(mean, scale, self._p)
        self.feature_names = checked_names(feature_names, self.n_features)
        self.coverage = None if coverage is None else checked_coverage(coverage)
        self.classes = checked_classes(family, classes, sizes.get("K", 2))
        self._groups = checked_groups(family, groups, group_column, self.feature_names, sizes)
        answers = ClassAnswers if self.is_classifier else LineAnswers
        self._answers: ClassAnswers | LineAnswers = answers(self.draws)
        self._rows_at_once = max(1, _VALUES_AT_ONCE // (self.n_draws * len(self.classes or "y")))

    # -- what it is --------------------------------------------------------------------------

    @property
    def is_classifier(self) -> bool:
        """Whether it gives probabilities of classes, rather than values."""
        return self.family in CLASSIFIERS

    @property
    def groups(self) -> tuple[Label, ...] | None:
        """The labels of the known groups; None where there are no groups."""
        return None if self._groups is None else self._groups.labels

    @property
    def group_column(self) -> int | None:
        """Which column of X holds the group's label; None where there are no groups."""
        return None if self._groups is None else self._groups.column

    def with_interval(self, coverage: float = 0.9) -> "CompiledPosterior":
        """Return the same posterior, whose call gives mean, lower and upper end in place of the mean alone.

        Parameters
        ----------
        coverage : float, default=0.9

        Returns
        -------
        CompiledPosterior
            A `Predictor` made of it answers with the outputs ``mean``, ``lower`` and ``upper``.
        """
        twin = copy.copy(self)
        twin.coverage = checked_coverage(coverage)
        twin.__dict__.pop("_file", None)  # it has a hash of its own
        return twin

    def __repr__(self) -> str:
        columns = "1 column" if self.n_features == 1 else f"{self.n_features} columns"
        return f"CompiledPosterior({self.name!r}: {self.family}, {self.n_draws:,} draws, {columns})"

    # -- asking ------------------------------------------------------------------------------

    def __call__(self, X: Any) -> Array | dict[str, Array]:
        """Return what a `Predictor` asks for: probabilities (n, K), or the predictive means (n,).

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        numpy.ndarray or dict of str to numpy.ndarray
            With `coverage` a dict: ``mean`` as above, ``lower`` and ``upper`` of the same shape.

        Raises
        ------
        InputError
            If X has another shape, or holds NaN, infinity or a label of the wrong kind.
        """
        rows = self._read(X)
        mean = self._in_parts(self._answers.mean, rows)
        if self.coverage is None:
            return mean
        interval = self._in_parts(self._answers.interval, rows, self.coverage)
        return {"mean": mean, "lower": interval[..., 0], "upper": interval[..., 1]}

    def predict(self, X: Any, *, return_std: bool = False) -> Any:
        """Return the likeliest class, or the mean of the posterior predictive distribution.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
        return_std : bool, default=False
            For regressions: also return the predictive standard deviation, noise included. It is infinite where
            Student's t has a draw of ``nu`` ≤ 2.

        Returns
        -------
        numpy.ndarray of shape (n,), or two of them
            With Student's t: the mean of the draws' locations. It is the predictive mean if all ``nu`` > 1; else
            there is none.

        Raises
        ------
        InputError
            As calling does, or if a classifier is asked for a standard deviation.
        """
        rows = self._read(X)
        mean = self._in_parts(self._answers.mean, rows)
        if isinstance(self._answers, LineAnswers):
            return (mean, self._in_parts(self._answers.std, rows)) if return_std else mean
        if return_std:
            raise InputError("return_std: classes have no standard deviation; predict_interval gives their doubt")
        return np.asarray(self.classes)[mean.argmax(axis=1)]

    def predict_proba(self, X: Any) -> Floats:
        """Return the probability of each class, averaged over the posterior.

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        numpy.ndarray of shape (n, K)

        Raises
        ------
        InputError
            As calling does, or if this is a regression.
        """
        if not self.is_classifier:
            raise InputError(f"the family {self.family!r} gives values and no probabilities; call predict")
        return self._in_parts(self._answers.mean, self._read(X))

    def predict_interval(self, X: Any, coverage: float = 0.9) -> Floats:
        """Return the central interval that holds a new observation (regression) or the probability (classifier).

        Parameters
        ----------
        X : array-like of shape (n, n_features)
        coverage : float, default=0.9
            The share of the posterior predictive distribution between the ends, as much left below as above.

        Returns
        -------
        numpy.ndarray of shape (n, 2), or (n, K, 2) for classifiers
            For regressions the ends solve the mixture's distribution function, doubt and noise together, to 1e-9
            (normal) or 1e-6 (Student's t, ``nu`` ≥ 0.5) in probability; no random numbers are drawn.

        Raises
        ------
        InputError
            As calling does, or if `coverage` is not between 0 and 1.
        """
        return self._in_parts(self._answers.interval, self._read(X), checked_coverage(coverage))

    def predict_draws(
        self, X: Any, n: int | None = None, random_state: int | np.random.Generator | None = None
    ) -> Floats:  # fmt: skip
        """Return draws from the posterior predictive distribution: new observations, or probabilities.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
        n : int, optional
            How many; one for each posterior draw if not given. Fewer are chosen without repetition.
        random_state : int, numpy.random.Generator or None
            A seed gives the same draws every time.

        Returns
        -------
        numpy.ndarray of shape (n, n_rows), or (n, n_rows, K) for classifiers
            What one line holds was predicted by one draw of the parameters.

        Raises
        ------
        InputError
            As calling does, or if `n` is not 1 or more.
        """
        rows, rng = self._read(X), generator(random_state)
        return self._answers.predictions(rows, chosen_draws(n, self.n_draws, rng), rng)

    # -- inside ------------------------------------------------------------------------------

    def _read(self, X: Any) -> Rows:
        array = checked_table(X, self.n_features, self.feature_names, self._groups is not None)
        features, labels, numbers = (array, (), None) if self._groups is None else self._groups.split(array)
        return Rows((as_numbers(features) - self.mean) / self.scale, numbers, labels)

    def _in_parts(self, answer: Callable[..., Floats], rows: Rows, *more: Any) -> Floats:
        """Return the answers for all rows, of which few are worked on at once: memory is for one part."""
        n, at_once = len(rows.z), self._rows_at_once
        if n <= at_once:
            return answer(rows, *more)
        return np.concatenate([answer(rows.part(i, i + at_once), *more) for i in range(0, n, at_once)])

    # -- keeping -----------------------------------------------------------------------------

    @property
    def content(self) -> bytes:
        """What `save` writes: the same bytes every time."""
        facts = {name: getattr(self, name) for name in _FACTS}
        return pack(facts, self.draws | {"mean": self.mean, "scale": self.scale})

    @cached_property
    def _file(self) -> tuple[str, int]:
        content = self.content
        return hash_of(content), len(content)

    @property
    def sha256(self) -> str:
        """The hash of `content`."""
        return self._file[0]

    @property
    def size_bytes(self) -> int:
        """The length of `content`."""
        return self._file[1]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the posterior into one file, with a hash of each part.

        Parameters
        ----------
        path : path-like
            By custom it ends in ``.posterior``. An existing file is replaced when the new one is whole.

        Raises
        ------
        OSError
            If the folder cannot be written to.
        """
        with whole_file(path) as temporary:
            temporary.write_bytes(self.content)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, sha256: str | None = None) -> "CompiledPosterior":
        """Open a file that `save` wrote.

        Parameters
        ----------
        path : path-like
        sha256 : str, optional
            Hash that the whole file must have, for a file that came over a network. The hashes inside the file find
            damage, not a forger.

        Returns
        -------
        CompiledPosterior

        Raises
        ------
        ModelFileError
            If the file is damaged, of another kind or version, or has another hash.
        """
        return cls.from_bytes(Path(path).read_bytes(), name=Path(path).name, sha256=sha256)

    @classmethod
    def from_bytes(cls, content: bytes, *, name: str = "the file", sha256: str | None = None) -> "CompiledPosterior":
        """Make the posterior whose `content` this is.

        Parameters
        ----------
        content : bytes
        name : str
            What errors call it.
        sha256 : str, optional
            Hash that the content must have.

        Returns
        -------
        CompiledPosterior

        Raises
        ------
        ModelFileError
            As `load` does.
        """
        if sha256 is not None and hash_of(content) != sha256.lower():
            raise ModelFileError(
                f"{name}: expected SHA-256 {sha256[:12]}…, got {hash_of(content)[:12]}…; fetch it again"
            )
        facts, arrays = unpack(content, name)
        mean, scale = arrays.pop("mean", None), arrays.pop("scale", None)
        try:
            return cls(facts.pop("family"), arrays, mean=mean, scale=scale, **facts)
        except (KeyError, TypeError, InputError) as error:
            raise ModelFileError(f"{name} holds no posterior that this version can use: {error}") from error

"""The arithmetic of a compiled posterior: from rows that were read to means, intervals and draws."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .._base import InputError
from ._compiled_check import Floats
from ._compiled_groups import NEW_GROUP_SEED, new_effects
from ._compiled_mixture import NormalNoise, StudentNoise, central_interval, mixture_interval


class Rows(NamedTuple):
    """Rows of X, read: standardized features, and of which group each is (−1: a new one)."""

    z: Floats
    numbers: npt.NDArray[np.intp] | None = None
    labels: tuple[Any, ...] = ()

    def part(self, start: int, stop: int) -> "Rows":
        """Return some of the rows; their labels are not asked for."""
        return Rows(self.z[start:stop], None if self.numbers is None else self.numbers[start:stop])


def chosen_draws(n: int | None, among: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Return which posterior draws predict: all, or `n` of them at random, none twice as long as there are enough."""
    if n is None:
        return np.arange(among)
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise InputError(f"n: expected a number of draws ≥ 1, got {n!r}")
    return rng.choice(among, int(n), replace=bool(n > among))


class ClassAnswers:
    """Probabilities of classes: one logit (two classes) or one for each class.

    Parameters
    ----------
    draws : dict of str to numpy.ndarray
        As `CompiledPosterior` has them.
    """

    def __init__(self, draws: dict[str, Floats]) -> None:
        intercept, coef = draws["intercept"], draws["coef"]
        self._binary = intercept.ndim == 1
        blocks = (intercept[None], coef[None]) if self._binary else (intercept.T, np.moveaxis(coef, 2, 0))
        self._intercept, self._coef = np.ascontiguousarray(blocks[0])[:, None], np.ascontiguousarray(blocks[1])
        self._coef = self._coef.transpose(0, 2, 1)

    def probabilities(self, rows: Rows) -> Floats:
        """Return the probability of each class by each draw, (K, n, S)."""
        if self._binary:
            return self._no_and_yes(rows.z)
        odds: Floats = rows.z @ self._coef
        odds += self._intercept
        odds -= odds.max(axis=0)
        np.exp(odds, out=odds)
        odds /= odds.sum(axis=0)
        return odds

    def _no_and_yes(self, z: Floats) -> Floats:
        """Return what the logistic function makes of the logits, in place: fresh memory costs more than the sums."""
        both = np.empty((2, len(z), self._coef.shape[2]))
        no, yes = both
        np.matmul(z, self._coef[0], out=yes)
        yes += self._intercept[0]
        yes *= 0.5
        np.tanh(yes, out=yes)  # the logistic function of z is (1 + tanh(z / 2)) / 2, and this way never overflows
        yes *= 0.5
        yes += 0.5
        np.subtract(1, yes, out=no)
        return both

    def mean(self, rows: Rows) -> Floats:
        """Return the probabilities (n, K), averaged over the draws."""
        return np.ascontiguousarray(self.probabilities(rows).mean(axis=2).T)

    def interval(self, rows: Rows, coverage: float) -> Floats:
        """Return the central intervals (n, K, 2) of the draws' probabilities."""
        return central_interval(self.probabilities(rows), coverage).transpose(1, 0, 2)

    def predictions(self, rows: Rows, chosen: npt.NDArray[np.intp], _: np.random.Generator) -> Floats:
        """Return the probabilities by some draws, (chosen, n, K)."""
        return np.ascontiguousarray(self.probabilities(rows)[:, :, chosen].transpose(2, 1, 0))


class LineAnswers:
    """Values around a line; with groups, around the line of each row's group.

    Parameters
    ----------
    draws : dict of str to numpy.ndarray
        As `CompiledPosterior` has them.
    """

    def __init__(self, draws: dict[str, Floats]) -> None:
        nu = draws.get("nu")
        self._noise = NormalNoise(draws["sigma"]) if nu is None else StudentNoise(draws["sigma"], nu)
        self._mean_of_groups, self._sd_of_groups = draws.get("group_mean"), draws.get("group_sd")
        intercept, coef = draws["intercept"][:, None], draws["coef"][:, None]
        if self._mean_of_groups is not None:  # the last line is the groups' mean: the number of a new one is −1
            intercept = np.column_stack([draws["intercept"], self._mean_of_groups[:, 0]])
            coef = np.concatenate([draws["coef"], self._mean_of_groups[:, None, 1:]], axis=1)
        self._intercept, self._coef = np.ascontiguousarray(intercept.T), np.ascontiguousarray(coef.swapaxes(0, 1))
        self._mean_intercept, self._mean_coef = self._intercept.mean(axis=1), self._coef.mean(axis=1)
        self._scores = None if nu is None else normal_scores(len(nu))

    def mean(self, rows: Rows) -> Floats:
        """Return the predictive means (n,)."""
        if rows.numbers is None:
            one: Floats = rows.z @ self._mean_coef[0] + self._mean_intercept[0]
            return one
        mean: Floats = (rows.z * self._mean_coef[rows.numbers]).sum(axis=1) + self._mean_intercept[rows.numbers]
        return mean

    def std(self, rows: Rows) -> Floats:
        """Return the predictive standard deviations (n,), noise included."""
        new = self._doubt_of_new(rows)
        variance = self._noise.variance if new is None else self._noise.variance + new
        std: Floats = np.sqrt(self._locations(rows).var(axis=1) + variance.mean(axis=-1))
        return std

    def interval(self, rows: Rows, coverage: float) -> Floats:
        """Return the central predictive intervals (n, 2).

        Where a normal bell stands for a new group, it is wider by the doubt about the group, and still a normal bell.
        Of Student's t that is not true: there, each draw's bell stands where a group of its own has it.
        """
        location, scale, new = self._locations(rows), self._noise.sigma, self._doubt_of_new(rows)
        if new is not None and self._scores is not None:
            location += np.sqrt(new) * self._scores
        elif new is not None:
            scale = np.sqrt(scale**2 + new)
        return mixture_interval(location, scale, self._noise, coverage)

    def predictions(self, rows: Rows, chosen: npt.NDArray[np.intp], rng: np.random.Generator) -> Floats:
        """Return new observations by some draws, (chosen, n); rows of one new group share its line."""
        location = self._locations(rows)[:, chosen]
        if self._mean_of_groups is not None and self._sd_of_groups is not None and rows.numbers is not None:
            labels = np.array(rows.labels, dtype=object)
            for label in dict.fromkeys(labels[rows.numbers < 0].tolist()):
                effects = new_effects(self._mean_of_groups[chosen], self._sd_of_groups[chosen], rng)
                here = labels == label
                location[here] = rows.z[here] @ effects[:, 1:].T + effects[:, 0]
        return np.ascontiguousarray((location + self._noise.draw(rng, len(location), chosen)).T)

    def _locations(self, rows: Rows) -> Floats:
        """Return where each draw's bell stands for each row, (n, S)."""
        if rows.numbers is None:
            one: Floats = rows.z @ self._coef[0].T + self._intercept[0]
            return one
        location = np.empty((len(rows.z), self._intercept.shape[1]))
        for number in np.unique(rows.numbers):
            here = rows.numbers == number
            location[here] = rows.z[here] @ self._coef[number].T + self._intercept[number]
        return location

    def _doubt_of_new(self, rows: Rows) -> Floats | None:
        """Return by how much (a variance) each draw leaves open where a row's line is, (n, S): 0 for known groups.

        None if all groups are known.
        """
        if self._sd_of_groups is None or rows.numbers is None or (rows.numbers >= 0).all():
            return None
        variance = self._sd_of_groups**2
        doubt: Floats = (rows.z**2 @ variance[:, 1:].T + variance[:, 0]) * (rows.numbers < 0)[:, None]
        return doubt


def normal_scores(n: int) -> Floats:
    """Return n numbers that lie as the normal distribution does, evenly, in an order that a fixed seed shuffles."""
    from scipy.special import ndtri

    scores: Floats = ndtri((np.random.default_rng(NEW_GROUP_SEED).permutation(n) + 0.5) / n)
    return scores

"""What became of every query of a load: when it came, when it left, when its end came, and which end."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .._base import InputError

OUTCOMES = {
    "answered": "answered in time",
    "late": "answered after the deadline",
    "refused": "refused (503)",
    "expired": "expired before the model ran (504)",
    "timeout": "no answer in the time allowed",
    "unreachable": "connection refused",
    "closed": "connection closed",
    "failed": "another status, or an error",
}
"""Every end that a query can come to; only the first is a good one."""

Times = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)
class Queries:
    """Every query of a load, in the order in which they came.

    Attributes
    ----------
    due_ns : numpy.ndarray of int64, shape (n,)
        When each was to come, in nanoseconds after the start.
    sent_ns : numpy.ndarray of int64, shape (n,)
        When whoever asks set about it. What lies between the two is the asker's own lateness.
    done_ns : numpy.ndarray of int64, shape (n,)
        When its end came.
    outcome : numpy.ndarray of str, shape (n,)
        One of `OUTCOMES` each.

    Raises
    ------
    InputError
        If the arrays differ in length, or an outcome is none.

    Examples
    --------
    >>> seen = Queries(np.array([0, 5]), np.array([0, 6]), np.array([3, 9]), np.array(["answered", "refused"]))
    >>> seen.counts(), seen.times_ns("refused").tolist(), seen.lateness_ns.tolist()
    ({'answered': 1, 'refused': 1}, [4], [0, 1])
    """

    due_ns: Times
    sent_ns: Times
    done_ns: Times
    outcome: npt.NDArray[np.str_]

    def __post_init__(self) -> None:
        lengths = [len(column) for column in (self.due_ns, self.sent_ns, self.done_ns, self.outcome)]
        if len(set(lengths)) != 1:
            raise InputError(f"queries: expected columns of one length, got lengths {lengths}")
        if unknown := sorted(set(self.outcome.tolist()) - set(OUTCOMES)):
            raise InputError(f"outcome: expected one of {', '.join(OUTCOMES)}, got {unknown}")

    def __len__(self) -> int:
        return len(self.due_ns)

    @property
    def lateness_ns(self) -> Times:
        """How much later than its instant each was set about."""
        late: Times = self.sent_ns - self.due_ns
        return late

    @property
    def has_answer(self) -> npt.NDArray[np.bool_]:
        """Which were answered, in time or late."""
        return np.isin(self.outcome, ("answered", "late"))

    @property
    def answered_ns(self) -> Times:
        """Times of the queries that were answered, in time or late."""
        times: Times = (self.done_ns - self.due_ns)[self.has_answer]
        return times

    def times_ns(self, outcome: str) -> Times:
        """Return the times of the queries that came to one end, each from the instant at which it was to come."""
        if outcome not in OUTCOMES:
            raise InputError(f"outcome: expected one of {', '.join(OUTCOMES)}, got {outcome!r}")
        chosen = self.outcome == outcome
        times: Times = self.done_ns[chosen] - self.due_ns[chosen]
        return times

    def counts(self) -> dict[str, int]:
        """Return how many came to each end that occurred, the good one first."""
        found = {outcome: int((self.outcome == outcome).sum()) for outcome in OUTCOMES}
        return {outcome: n for outcome, n in found.items() if n}

    def words(self) -> str:
        """Say in one line what became of all of them."""
        total = len(self) or 1
        return ", ".join(f"{share_words(n / total)} {OUTCOMES[outcome]}" for outcome, n in self.counts().items())

    def __repr__(self) -> str:
        return f"Queries({len(self):,}: {self.words()})"


def share_words(share: float) -> str:
    """Write a share in percent, and never as 0 or 100 where it is not.

    Examples
    --------
    >>> share_words(0.25), share_words(1), share_words(0.99999), share_words(1e-6)
    ('25 %', '100 %', 'over 99.9 %', 'under 0.1 %')
    """
    if 0 < share < 0.001:
        return "under 0.1 %"
    if 0.999 < share < 1:
        return "over 99.9 %"
    return f"{100 * share:.3g} %"

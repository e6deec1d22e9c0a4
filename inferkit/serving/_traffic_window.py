"""What became of the queries of the last seconds: rates, percentiles, and how both have moved."""

import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain

STEP_S = 0.25
HISTORY_S = 30.0
FAILED = ("timeout", "unreachable", "closed", "failed")
RATES = ("offered", "answered", "late", "refused", "expired", "failed", "unsent")


@dataclass
class _Slice:
    """What happened in a quarter of a second."""

    counts: Counter[str] = field(default_factory=Counter)
    times_s: list[float] = field(default_factory=list)  # of the queries answered in it, in time or late
    lateness_s: float = 0.0


class Window:
    """Count queries over the last seconds.

    It moves in steps of a quarter of a second, and holds the times of its own seconds alone: its size depends on the
    rate, and not on how long it has counted.

    Parameters
    ----------
    window_s : float
        Its length; rounded to steps.
    needed : mapping of int to int
        Percentiles to state, and how many answers it takes to state each.
    now : float
        Seconds, of any clock.

    Examples
    --------
    >>> window = Window(5.0, {50: 3}, now=100.0)
    >>> for second in range(3):
    ...     window.came(100.0 + second, lateness_s=0.0)
    ...     window.ended(100.0 + second, "answered", time_s=0.002 + second / 1000)
    >>> found = window.stats(102.0)
    >>> found["offered_per_s"], found["p50_ms"], found["in_flight"]
    (1.5, 3.0, 0)
    """

    def __init__(self, window_s: float, needed: Mapping[int, int], now: float) -> None:
        self._needed = dict(needed)
        self._slices = deque([_Slice()], maxlen=round(window_s / STEP_S) + 1)  # the last one still fills
        self._begun = now  # the last one's start
        self._in_flight = 0
        steps = round(HISTORY_S / STEP_S)
        self._history = deque([self.stats(now)] * steps, maxlen=steps)  # before the start nothing was asked

    def came(self, now: float, *, lateness_s: float) -> None:
        """Count a query that has left, so much later than it should have."""
        last = self._last(now)
        last.counts["offered"] += 1
        last.lateness_s = max(last.lateness_s, lateness_s)
        self._in_flight += 1

    def unsent(self, now: float) -> None:
        """Count a query that came and did not leave."""
        self._last(now).counts.update(("offered", "unsent"))

    def ended(self, now: float, outcome: str, *, time_s: float) -> None:
        """Count the end of one, by its outcome; its time runs from the instant at which it came."""
        last = self._last(now)
        last.counts["failed" if outcome in FAILED else outcome] += 1
        if outcome in ("answered", "late"):
            last.times_s.append(time_s)
        self._in_flight -= 1

    def stats(self, now: float) -> dict[str, float | None]:
        """Return rates over the window, percentiles where its answers support them, and what is under way."""
        self._last(now)
        covered = (len(self._slices) - 1) * STEP_S + (now - self._begun)
        counts = sum((each.counts for each in self._slices), Counter[str]())
        times = sorted(chain.from_iterable(each.times_s for each in self._slices))
        return {
            "seconds": covered,
            **{f"{name}_per_s": counts[name] / covered if covered else 0.0 for name in RATES},
            **{f"p{q}_ms": _percentile_ms(times, q) if len(times) >= n else None for q, n in self._needed.items()},
            "n": len(times),
            "in_flight": self._in_flight,
            "lateness_ms": 1000 * max(each.lateness_s for each in self._slices),
        }

    def history(self, now: float) -> dict[str, list[float | None]]:
        """Return what `stats` would have said at the end of each step of the last half minute."""
        self._last(now)
        names = [f"{name}_per_s" for name in RATES] + [f"p{q}_ms" for q in self._needed] + ["in_flight"]
        begun = self._begun - now
        ago = [begun - STEP_S * back for back in reversed(range(len(self._history)))]
        return {"ago_s": [*ago], **{name: [past[name] for past in self._history] for name in names}}

    def _last(self, now: float) -> _Slice:
        """Return the slice of this instant; close those before it."""
        while now >= self._begun + STEP_S:
            self._begun += STEP_S
            self._slices.append(_Slice())
            self._history.append(self.stats(self._begun))
        return self._slices[-1]


def _percentile_ms(ordered: list[float], q: float) -> float:
    """Return the smallest time that `q` percent do not exceed, as `benchmark.percentile` does."""
    return 1000 * ordered[math.ceil(round(len(ordered) * q / 100, 9)) - 1]

"""What a live figure does beside following its controls: it ticks while somebody looks, and has buttons."""

from collections.abc import Callable, Mapping
from math import inf
from threading import Lock
from time import monotonic
from typing import Any

from inferkit._base import InputError

from ._answers import in_words
from ._latest import Latest

Action = Callable[[], object]

SHORTEST_S, LONGEST_S = 0.1, 60.0
AT_MOST_S = 1800.0  # a figure that was forgotten in a lecture hall comes to rest
AWAY_S = 10.0  # no beat for this long, and for two ticks: no page shows the figure
MOST_BUTTONS = 4
LONGEST_NAME = 40


class Pulse:
    """Judge the beats that pages send: whether the function is to be called now.

    A page sends a beat when a tick is due, and the next one once that tick is drawn. So ticks never pile up,
    and where no page shows the figure there are none: no thread of the kernel waits for anything.

    Parameters
    ----------
    every : float or None
        Seconds from tick to tick, from 0.1 to 60; None for a figure that does not tick.
    clock : callable, optional
        Returns seconds.

    Raises
    ------
    InputError
        If `every` is anything else.

    Examples
    --------
    >>> pulse = Pulse(0.5)
    >>> pulse.start()
    >>> pulse.beat("a page"), pulse.beat("another page")
    ('tick', 'early')
    """

    def __init__(self, every: Any, *, clock: Callable[[], float] = monotonic) -> None:
        number = isinstance(every, int | float) and not isinstance(every, bool)
        if every is not None and not (number and SHORTEST_S <= every <= LONGEST_S):
            raise InputError(f"every: expected {SHORTEST_S} to {LONGEST_S:g} seconds, or None, got {every!r:.60}")
        self.every = float(every or 0)
        self._clock = clock
        self._pages: set[str] = set()
        self._began = self._beaten = clock()
        self._ticker, self._ticked = "", -inf  # whose beat was a tick, and when

    def start(self) -> None:
        """Begin a run: the next beat is a tick."""
        self._pages.clear()
        self._began = self._beaten = self._clock()
        self._ticker, self._ticked = "", -inf

    def beat(self, page: str) -> str:
        """Say what a page's beat is.

        Parameters
        ----------
        page : str
            Any name, the same for each beat of a page.

        Returns
        -------
        {"tick", "early", "over"}
            ``"early"`` is less than half a tick after another page's: that one's tick is for both. A page's own beats
            may come as close as they like, for each has waited for the tick before. ``"over"`` ends the run: it has
            lasted half an hour, or a page comes to it that has no part in it, after a time in which none showed the
            figure. A page that was hidden meanwhile goes on.
        """
        now = self._clock()
        stranger = page not in self._pages and not self.is_watched()
        if stranger or now - self._began > AT_MOST_S:
            return "over"
        self._pages.add(page)
        self._beaten = now
        if page != self._ticker and now - self._ticked < self.every / 2:
            return "early"
        self._ticker, self._ticked = page, now
        return "tick"

    def is_watched(self) -> bool:
        """Tell whether there was a beat, or the start, within ten seconds or two ticks."""
        return self._clock() - self._beaten <= max(AWAY_S, 2 * self.every)


class Buttons:
    """Call a function for each press, one at a time, on a thread that lives while it does.

    Parameters
    ----------
    given : mapping of str to callable, or None
        Up to 4 functions without arguments, by what stands on their buttons.
    tell : callable
        Is told ``tell(busy, error)`` at each change: the name of the button at work and what the last one raised, in
        words. Empty for none.

    Raises
    ------
    InputError
        If there are more, a name is no text of up to 40 characters, or what it names cannot be called.

    Examples
    --------
    >>> told = []
    >>> buttons = Buttons({"Ring": lambda: None}, lambda busy, error: told.append(busy))
    >>> buttons.press("Ring")
    True
    >>> buttons.wait()
    True
    >>> told
    ['Ring', '']
    """

    def __init__(self, given: Mapping[str, Action] | None, tell: Callable[[str, str], None]) -> None:
        self._actions = _checked(given)
        self._tell = tell
        self._lock = Lock()
        self._busy = False
        self._ticket = 0
        self._lane: Latest[str] = Latest(self._work, name="inferkit-figure-button")

    @property
    def names(self) -> list[str]:
        """What stands on the buttons."""
        return list(self._actions)

    def press(self, name: str) -> bool:
        """Press a button; False if there is none of that name or one is at work. Returns at once."""
        with self._lock:
            if self._busy or name not in self._actions:
                return False
            self._busy = True
        self._tell(name, "")  # without the lock, for it takes others; before its end is told, in any case
        self._ticket = self._lane.put(name)
        return True

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the last press has been worked on. False if the time is up, or all was stopped."""
        return self._lane.wait(self._ticket, timeout_s)

    def stop(self) -> None:
        """Take no press any more. A function under way ends in its own time, and the thread with it."""
        self._lane.stop()

    def _work(self, name: str) -> None:
        error = ""
        try:
            self._actions[name]()
        except (Exception, SystemExit) as failure:  # whatever it is, the reader wants to see it and go on
            error = f"{name}: {in_words(failure)}"
        try:
            self._tell("", error)
        finally:
            self._busy = False


def _checked(given: Any) -> dict[str, Action]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or len(given) > MOST_BUTTONS:
        raise InputError(
            f'buttons: expected up to {MOST_BUTTONS} functions by name, as in {{"Start afresh": function}}, '
            f"got {given!r:.80}"
        )
    for name, action in given.items():
        if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME:
            raise InputError(f"buttons: expected names of up to {LONGEST_NAME} characters, got {name!r:.80}")
        if not callable(action):
            raise InputError(f"buttons: expected a function for {name!r}, got {type(action).__name__}")
    return dict(given)

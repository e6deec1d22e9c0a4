"""A figure that follows sliders: the reader's own function says what is drawn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any

import anywidget
import traitlets

from inferkit._base import InputError, answer_while_busy

from ._answers import in_words
from ._controls import Values
from ._figure_axes import make_axis
from ._figure_controls import check_arguments, controls_of, starting
from ._figure_parts import Part, parts_of
from ._figure_pulse import Action, Buttons, Pulse
from ._figure_scene import WIDTH, Frame, Hold, Scene, elements, scene_of
from ._figure_words import check_rest, filled
from ._files import joined
from ._latest import Latest
from ._reading import number_in_words


@dataclass(frozen=True)
class _Question:
    asked: int  # the browser's count, which the figure carries back
    resets: int  # how often the figure was to start afresh
    ticks: int  # how many ticks it answers
    values: Values


@dataclass(frozen=True, eq=False)
class _Shown:
    """What the function made of some values."""

    values: Values
    parts: tuple[Part, ...]
    alt: str

    @property
    def texts(self) -> list[tuple[str, str]]:
        return [(part.label, part.words) for part in self.parts if part.kind == "text"]


class LiveFigure(anywidget.AnyWidget):  # type: ignore[misc]  # anywidget's base is untyped
    """Move a slider, and see what your own function draws.

    The function takes the controls' values by name and returns a list of parts: `curve`, `band`,
    `points`, `bars`, `line`, and `text` for a number to read. It is called anew whenever a control
    moves, on a thread of the widget's own. However slow it is, at most one value waits, and that is
    the newest. If it fails, the message is shown and the figure before stays, marked as old.

    Limits that are not given follow the first figure and then only widen, so that what moves is the
    data and not the axes; Reset starts afresh. Where no kernel runs, the output is a picture.

    With `every` the figure shows what changes by itself: a button Start has the function called anew every so many
    seconds, until Stop. The function is told nothing more; it keeps its own state, or asks for it. If it is slow, the
    next tick waits. A control that moves meanwhile is answered at once. Ticks come from the page that shows the
    figure: there are none while it is out of sight, and no more after half an hour, or once it is gone. A screen reader
    hears of controls, failures and the end, and not of every tick.

    Parameters
    ----------
    function : callable
        ``function(**values)`` returns a list of parts.
    controls : mapping of str to specification
        Up to 8, by the name of the argument. ``(low, high)`` is a slider of floats, ``(low, high, "log")``
        one whose steps multiply, ``range(low, high, step)`` one of whole numbers, a list of rising
        numbers one with these stops, a list of texts a picker, True or False a checkbox.
    alt : str or callable
        What the figure shows, for who does not see it. A text may name controls and texts as fields, as in
        ``"The interval is {width of the interval} wide at {patients} patients."``. A callable is
        given the parts, and the controls' values by name, and returns the text.
    xlabel, ylabel : str
        What the axes show, with their units.
    title : str, optional
    start : mapping of str to object, optional
        What the controls show first. Without it: the middle of a range, the first of a list.
    labels : mapping of str to str, optional
        What stands beside the controls. Without it: their names, with spaces for underscores.
    xlim, ylim : (float or None, float or None), optional
        Fixed limits; None leaves an end to the data.
    xscale, yscale : {"linear", "log"}, default="linear"
    xnames, ynames : sequence of str, optional
        Names for the places 0, 1, 2, ... in place of numbers.
    height : int, default=360
        Pixels, from 200 to 800. The width is the page's, up to 860.
    every : float, optional
        Seconds from tick to tick, from 0.1 to 60, while it runs. It is made at rest.
    buttons : mapping of str to callable, optional
        Up to 4 functions without arguments, by what stands on their buttons. A press calls one, on a thread of its own,
        while the figure goes on; then the figure's function is called anew. The buttons rest while one is at work. If
        it fails, the message is shown.

    Raises
    ------
    InputError
        If a specification cannot be used, the function takes other arguments, or what it returns
        for the first values cannot be drawn. What the function itself raises for these is passed on.

    Examples
    --------
    >>> import numpy as np
    >>> from inferkit.widgets import curve, text
    >>> t = np.linspace(0, 10, 50)
    >>> def cooling(rate):
    ...     return [curve(t, 80 * np.exp(-rate * t), label="coffee"), text("half-life", f"{np.log(2) / rate:.1f} min")]
    >>> figure = LiveFigure(
    ...     cooling, {"rate": (0.05, 2, "log")}, start={"rate": 0.1},
    ...     alt="Coffee cools to half in {half-life}.", xlabel="time, min", ylabel="above the room, °C",
    ... )
    >>> figure.alt
    'Coffee cools to half in 6.9 min.'
    >>> figure.set(rate=0.2)
    >>> figure.alt, figure.value
    ('Coffee cools to half in 3.5 min.', {'rate': 0.2})
    >>> figure.close()

    One that ticks, and what a press of its button does:

    >>> walk = [0.0]
    >>> def step(width):
    ...     walk.append(walk[-1] + width)
    ...     return [curve(range(len(walk)), walk), text("now at", walk[-1])]
    >>> figure = LiveFigure(
    ...     step, {"width": range(1, 10)}, every=0.5, buttons={"Back": lambda: walk.append(0.0)}, start={"width": 2},
    ...     alt="A walk, now at {now at}.", xlabel="step", ylabel="place, m",
    ... )
    >>> figure.running
    False
    >>> figure.set()  # as a tick does
    >>> figure.alt
    'A walk, now at 4.'
    >>> figure.close()
    """

    _esm = joined("parts.js", "controls.js", "figure.js")
    _css = joined("colours.css", "parts.css", "live.css", "figure.css")
    _title = traitlets.Unicode().tag(sync=True)
    _controls = traitlets.List().tag(sync=True)
    _start = traitlets.Dict().tag(sync=True)
    # Nothing is echoed: the browser knows what it sent, and has moved on since.
    _values = traitlets.Dict().tag(sync=True, echo_update=False)
    _asked = traitlets.Int(0).tag(sync=True, echo_update=False)  # the browser's count of its questions
    _resets = traitlets.Int(0).tag(sync=True, echo_update=False)
    _width = traitlets.Int(WIDTH).tag(sync=True, echo_update=False)  # pixels that the page has for the drawing
    _reply = traitlets.Dict().tag(sync=True)
    _every = traitlets.Float(0.0).tag(sync=True)
    _running = traitlets.Bool(False).tag(sync=True)
    _buttons = traitlets.List().tag(sync=True)
    _pressed = traitlets.Dict().tag(sync=True)  # which button is at work, and what the last one raised

    def __init__(
        self,
        function: Callable[..., Any],
        controls: Mapping[str, Any],
        *,
        alt: str | Callable[..., str],
        xlabel: str,
        ylabel: str,
        title: str = "",
        start: Mapping[str, Any] | None = None,
        labels: Mapping[str, str] | None = None,
        xlim: tuple[float | None, float | None] | None = None,
        ylim: tuple[float | None, float | None] | None = None,
        xscale: str = "linear",
        yscale: str = "linear",
        xnames: Sequence[str] = (),
        ynames: Sequence[str] = (),
        height: int = 360,
        every: float | None = None,
        buttons: Mapping[str, Action] | None = None,
    ) -> None:
        self._lock = RLock()
        self._made = controls_of(controls, labels=labels, start=start)
        check_arguments(function, list(controls))
        check_rest(alt, title, height)
        x, y = make_axis("x", xlabel, xlim, xscale, xnames), make_axis("y", ylabel, ylim, yscale, ynames)
        self._frame = Frame(x, y, height)
        self._pulse, self._pushed = Pulse(every), Buttons(buttons, self._on_button)
        self._function, self._alt = function, alt
        self._error: str | None = None
        self._serial = self._answered = self._fresh = self._ticks = self._ticked = 0
        first = starting(self._made)
        self._shown = self._call(first)
        self._scene = scene_of(self._shown.parts, self._frame)
        self._worker: Latest[_Question] = Latest(self._work, name="inferkit-figure")
        self._ticket = 0
        super().__init__(
            _title=title, _controls=[control.plain for control in self._made], _start=first, _values=first,
            _reply=self._told(), _every=self._pulse.every, _buttons=self._pushed.names,
            _pressed={"busy": "", "error": ""},
        )  # fmt: skip
        answer_while_busy(self)
        self.observe(self._on_asked, "_asked")
        self.observe(self._on_width, "_width")
        self.observe(self._on_running, "_running")
        self.on_msg(self._on_message)

    @property
    def value(self) -> Values:
        """What the controls show, as the function gets it."""
        return self._checked(self._values)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is drawn; waits until it is to `value`. After a failure: what was drawn before."""
        self._worker.wait(self._ticket)
        return self._shown.parts

    @property
    def alt(self) -> str:
        """What is drawn, in words; waits as `parts` does."""
        self._worker.wait(self._ticket)
        return self._shown.alt

    @property
    def error(self) -> str | None:
        """What the function raised for `value`, in words; None if it did not. Waits as `parts` does."""
        self._worker.wait(self._ticket)
        return self._error

    def set(self, /, **values: Any) -> None:
        """Change some of the controls, as a person would. With none, the function is called anew.

        Raises
        ------
        InputError
            If there is no such control, or it cannot take the value.
        """
        with self._lock:
            self._values = self._checked({**self._values, **values})
            self._ticket = self._ask()

    def reset(self) -> None:
        """Return to the start, limits of the axes included."""
        with self._lock:
            self._resets += 1
            self._values = starting(self._made)
            self._ticket = self._ask()

    @property
    def running(self) -> bool:
        """Whether it ticks: Start was pressed, and no Stop, and a page has shown it in the last seconds."""
        return self._running and self._pulse.is_watched()

    def stop(self) -> None:
        """Stop ticking, as the button does."""
        self._running = False

    def press(self, name: str) -> None:
        """Press a button, as a person would. Returns at once; while a button is at work, nothing happens.

        Raises
        ------
        InputError
            If there is no such button.
        """
        if name not in self._pushed.names:
            raise InputError(f"press: expected one of {self._pushed.names}, got {name!r:.60}")
        self._pushed.press(name)

    def close(self) -> None:
        """Close the widget. What waits is dropped; a call under way ends in its own time and shows nothing."""
        if hasattr(self, "_worker"):  # ipywidgets closes also what was refused at the door
            self._worker.stop()
            self._pushed.stop()
        super().close()

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the browser sends: one message at a time, whichever thread brings it."""
        with self._lock:
            super().set_state(sync_data)

    @traitlets.validate("_values")  # type: ignore[untyped-decorator]  # traitlets' own
    def _check_values(self, proposal: Any) -> Any:
        try:
            return self._checked(proposal.value)
        except InputError as error:
            raise traitlets.TraitError(str(error)) from error

    def _checked(self, values: Mapping[str, Any]) -> Values:
        names = [control.name for control in self._made]
        if set(values) != set(names):
            raise InputError(f"expected values for {', '.join(names)}, got {', '.join(map(str, values))}")
        return {control.name: control.value(values[control.name]) for control in self._made}

    def _on_asked(self, _: Any) -> None:
        self._ticket = self._ask()

    def _on_width(self, _: Any) -> None:
        """Lay out anew what is drawn: the function has no part in it."""
        with self._lock:
            rests = self._scene.hold
            self._scene = scene_of(
                self._shown.parts, self._frame, width=self._width, hold=Hold(rests.x, rests.y, places=rests.places)
            )
            self._tell()

    def _on_running(self, change: Any) -> None:
        if change["new"]:
            self._pulse.start()

    def _on_message(self, _: Any, content: Any, __: Any) -> None:
        """Take a press, a start or stop, or a beat: of states only the newest need arrive, of these each, in order."""
        if "press" in content:
            self._pushed.press(content["press"])
        with self._lock:
            if "run" in content:
                self._running = bool(content["run"] and self._every)
            if "beat" in content:
                self._on_beat(content["beat"])

    def _on_beat(self, page: str) -> None:
        verdict = self._pulse.beat(page) if self._running else "early"
        if verdict == "over":
            self._running = False
        elif verdict == "tick":
            self._ticks += 1
            self._ticket = self._ask()

    def _on_button(self, busy: str, error: str) -> None:
        with self._lock:
            self._pressed = {"busy": busy, "error": error}
            if not busy:  # it may have changed what the figure shows
                self._ticket = self._ask()

    def _ask(self) -> int:
        return self._worker.put(_Question(self._asked, self._resets, self._ticks, self.value))

    def _work(self, question: _Question) -> None:
        """On the worker's thread: the function is called outside of the lock, so that values can arrive meanwhile."""
        error = None
        try:
            shown = self._call(question.values)
            with self._lock:
                hold = self._scene.hold if question.resets == self._fresh else None
                self._scene = scene_of(shown.parts, self._frame, width=self._width, hold=hold)
                self._shown, self._fresh = shown, question.resets
        except (Exception, SystemExit) as failure:  # whatever it is, the reader wants to see it and go on
            error = in_words(failure)
        with self._lock:
            self._error, self._answered, self._ticked = error, question.asked, question.ticks
            self._tell()

    def _call(self, values: Values) -> _Shown:
        parts = parts_of(self._function(**values))
        texts = {part.label: part.words for part in parts if part.kind == "text"}
        words = {name: number_in_words(value) for name, value in values.items()}
        alt = self._alt(parts, **values) if callable(self._alt) else filled(self._alt, {**words, **texts})
        if not isinstance(alt, str) or not alt.strip():
            raise InputError(f"alt: expected a text that says what the figure shows, got {alt!r:.60}")
        return _Shown(values, parts, alt)

    def _tell(self) -> None:
        self._serial += 1
        self._reply = self._told()

    def _told(self) -> dict[str, Any]:
        """Return what is shown as what JSON can carry."""
        scene: Scene = self._scene
        return {
            "serial": self._serial, "asked": self._answered, "ticks": self._ticked,
            "error": self._error, "old": self._in_words(self._shown.values) if self._error else "",
            "alt": self._shown.alt, "texts": self._shown.texts,
            "size": [scene.width, scene.height], "box": [round(side, 1) for side in scene.box],
            "back": elements(scene.back), "inside": elements(scene.inside), "front": elements(scene.front),
        }  # fmt: skip

    def _in_words(self, values: Values) -> str:
        return ", ".join(f"{control.label} {number_in_words(values[control.name])}" for control in self._made)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        from ._figure_still import still

        data, metadata = bundle
        said = [f"{label}: {words}" for label, words in self._shown.texts]
        scene = scene_of(self._shown.parts, self._frame, hold=Hold(self._scene.hold.x, self._scene.hold.y))
        html = still(scene, self._shown.alt, self._title, [self._in_words(self._shown.values)], said)
        return {**data, "text/html": html}, metadata

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r:.40}" for name, value in self._values.items())
        return f"LiveFigure({values})"

"""The widget behind `sampler`: traits here, what is seen in the JavaScript beside. Imported only inside calls."""

from pathlib import Path

import anywidget
import traitlets

_HERE = Path(__file__).parent


class SamplerView(anywidget.AnyWidget):  # type: ignore[misc]  # anywidget's base is untyped
    """A slider for the size of a sample, a button, and a drawing of what the sample says."""

    _esm = _HERE / "sampler.js"
    _css = _HERE / "sampler.css"
    unit = traitlets.Unicode().tag(sync=True)
    sizes = traitlets.List(traitlets.Int()).tag(sync=True)
    ends = traitlets.List(traitlets.Float()).tag(sync=True)  # the smallest and the largest of all values
    # The page sets these two. Nothing is echoed: it has moved on since.
    chosen = traitlets.Int(0).tag(sync=True, echo_update=False)
    draws = traitlets.Int(0).tag(sync=True, echo_update=False)
    reply = traitlets.Dict().tag(sync=True)

"""The widget behind `fault_picker`: traits here, what is seen in the JavaScript beside.

Imported only inside calls, as it needs anywidget.
"""

from pathlib import Path

import anywidget
import traitlets

_HERE = Path(__file__).parent


class PickerView(anywidget.AnyWidget):  # type: ignore[misc]  # anywidget's base is untyped
    """A box to tick for each fault, and the pictures as the model sees them."""

    _esm = _HERE / "picker.js"
    _css = _HERE / "picker.css"
    faults = traitlets.List(traitlets.Unicode()).tag(sync=True)
    chosen = traitlets.List(traitlets.Unicode()).tag(sync=True)  # the page sets it
    shown = traitlets.Dict().tag(sync=True)  # the kernel sets it: pictures, answers, figures

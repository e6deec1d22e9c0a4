"""One request at a time: a model behind HTTP, under a deadline, measured honestly.

>>> from inferkit.datasets import load_digits
>>> from inferkit.predictor import Predictor, digit_reader
>>> from inferkit.serving import serve
>>> with serve(digit_reader()) as server:
...     Predictor(server.url).predict(load_digits().images[:3]).tolist()
[0, 1, 2]
"""

from ._app import make_app
from ._loadtest import loadtest
from ._run import run
from ._server import Server, serve
from ._settings import Settings
from ._traffic import Snapshot, Traffic

__all__ = ["Server", "Settings", "Snapshot", "Traffic", "loadtest", "make_app", "run", "serve"]

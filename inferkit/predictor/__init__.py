"""One `Predictor` over any model: preprocess → predict → postprocess, with a contract at the door.

>>> from inferkit.predictor import digit_reader
>>> from inferkit.datasets import load_digits
>>> reader = digit_reader()
>>> reader.predict(load_digits().images[:3]).tolist()
[0, 1, 2]
"""

from ._http import HTTPBackend
from ._predictor import Predictor
from ._remote_error import RemoteError, RemoteUnavailableError
from ._scorers import churn_scorer, fraud_scorer
from ._signature import ArraySpec, Column, OutputSpec, Signature, TableSpec, TextSpec
from ._steps import (
    Cast,
    Clip,
    Log1p,
    Lowercase,
    OneHot,
    Reshape,
    Scale,
    Sigmoid,
    Softmax,
    Standardize,
    Temper,
    ToFrame,
)
from ._trace import Stage, Trace

__all__ = [
    "ArraySpec",
    "Cast",
    "Clip",
    "Column",
    "Log1p",
    "Lowercase",
    "OneHot",
    "OutputSpec",
    "Predictor",
    "RemoteError",
    "RemoteUnavailableError",
    "Reshape",
    "Scale",
    "Sigmoid",
    "Signature",
    "Softmax",
    "Stage",
    "Standardize",
    "TableSpec",
    "Temper",
    "TextSpec",
    "ToFrame",
    "Trace",
    "churn_scorer",
    "digit_reader",
    "fraud_scorer",
    "remote",
    "sign_reader",
]


def digit_reader(name: str = "digits-cnn", *, num_threads: int = 1) -> Predictor:
    """Return a reader of handwritten digits from a model that this package carries.

    Parameters
    ----------
    name : str, default="digits-cnn"
        One of the digit models that `inferkit.models.list_reference` lists.
    num_threads : int, default=1
        Threads that one call may use.

    Returns
    -------
    Predictor
        Takes pictures of 8×8 points with ink from 0 to 16, as `inferkit.datasets.load_digits` has
        them and `picture_from_drawing` makes them; answers 0 to 9.
    """
    from ..models import load_reference

    return Predictor(
        load_reference(name, num_threads=num_threads),
        preprocess=Scale(16),
        signature=ArraySpec((8, 8), low=0, high=16, unit="ink"),
        labels=range(10),
        name=name,
    )


def sign_reader(name: str = "signs-cnn", *, num_threads: int = 1) -> Predictor:
    """Return a reader of street signs from a model that this package carries.

    Parameters
    ----------
    name : str, default="signs-cnn"
        One of the sign models that `inferkit.models.list_reference` lists.
    num_threads : int, default=1
        Threads that one call may use.

    Returns
    -------
    Predictor
        Takes pictures (32, 32, 3) of uint8, 0 to 255, red before green before blue, as `inferkit.datasets.load_signs`
        has them and `make_signs` draws them; answers with the name of the sign.

    Examples
    --------
    >>> from inferkit.datasets import load_signs
    >>> sign_reader().predict(load_signs().images[:3]).tolist()
    ['danger', 'give way', 'stop']
    """
    from ..datasets._signs import SIGN_NAMES
    from ..models import load_reference

    return Predictor(
        load_reference(name, num_threads=num_threads),
        preprocess=Scale(255),
        signature=ArraySpec((32, 32, 3), dtype="uint8", low=0, high=255, unit="light"),
        labels=SIGN_NAMES,
        name=name,
    )


def remote(
    url: str, *, token: str | None = None, timeout_s: float = 30.0, connect_timeout_s: float = 5.0, retries: int = 2
) -> Predictor:
    """Return a predictor over a model that a server holds; ``Predictor(url)`` with a say in how it is reached.

    Parameters
    ----------
    url : str
        The model's, such as ``"http://127.0.0.1:8000/v2/models/digits"``, or that of a server of one model.
    token : str, optional
        Sent as ``Authorization: Bearer <token>``.
    timeout_s : float, default=30
        From asking to having the whole answer. Of many rows each 1,024 are a request with a time of its own.
    connect_timeout_s : float, default=5
        Until the server takes the connection.
    retries : int, default=2
        How often a request is sent again where that is safe: nobody took the connection, or the server says that it
        is busy and when to come back. A request whose answer got lost is never sent again.

    Returns
    -------
    Predictor
        With the server's contract. Rows are checked here, before they are sent.

    Raises
    ------
    InputError
        If the URL is none, or the server refuses: its words are in the message. Later calls raise it as well.
    RemoteError
        If no server answers there, or none that speaks the Open Inference Protocol. Later calls raise it as well.
        Where the server may answer later (it is gone, too slow, busy) it is a `RemoteUnavailableError`, which is a
        ``ConnectionError`` too: `predict_batch` ends its run then, and goes on from there when called again.

    Examples
    --------
    >>> from inferkit.datasets import load_digits
    >>> from inferkit.serving import serve
    >>> with serve(digit_reader()) as server:
    ...     remote(server.url, timeout_s=20).predict(load_digits().images[:3]).tolist()
    [0, 1, 2]
    """
    return Predictor(
        HTTPBackend(
            url, token=token, timeout_s=timeout_s, connect_timeout_s=connect_timeout_s, retries=retries
        )
    )  # fmt: skip

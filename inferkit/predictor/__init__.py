"""One `Predictor` over any model: preprocess → predict → postprocess, with a contract at the door.

>>> from inferkit.predictor import digit_reader
>>> from inferkit.datasets import load_digits
>>> reader = digit_reader()
>>> reader.predict(load_digits().images[:3]).tolist()
[0, 1, 2]
"""

from ._predictor import Predictor
from ._signature import ArraySpec, Column, OutputSpec, Signature, TableSpec, TextSpec
from ._steps import (
    Cast,
    Clip,
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
    "Lowercase",
    "OneHot",
    "OutputSpec",
    "Predictor",
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
    "digit_reader",
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

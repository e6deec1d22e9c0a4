"""A whole table at once: in constant memory, each row exactly once, and on after a crash.

>>> from inferkit.batch import predict_batch
>>> from inferkit.datasets import load_digits
>>> from inferkit.predictor import digit_reader
>>> predict_batch(digit_reader(), load_digits().images, progress=False).n_answered
1797
"""

from ._predict import predict_batch
from ._result import BatchResult, Rejected
from ._size import batch_size_curve

__all__ = ["BatchResult", "Rejected", "batch_size_curve", "predict_batch"]

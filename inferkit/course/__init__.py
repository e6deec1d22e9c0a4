"""What a lesson needs and an importer does not: guesses, quizzes, checks, faults, child processes.

Importing this module sets what keeps a lesson's kernel quiet and its numbers the same on every run.
It does so only where nothing is set yet, so your own environment wins. TensorFlow reads these
once, when it is imported: import this module before it.
"""

import os

for _name, _value in {
    "TF_CPP_MIN_LOG_LEVEL": "3",  # TensorFlow's C++ log goes to stderr, which a lesson keeps empty
    "TF_ENABLE_ONEDNN_OPTS": "0",  # oneDNN orders its sums by the processor at hand: other last digits elsewhere
    "TF_NUM_INTRAOP_THREADS": "1",  # so do several threads; and training on one core compares
    "TF_NUM_INTEROP_THREADS": "1",  # fairly with an answer, which also takes one
    "KERAS_BACKEND": "tensorflow",  # a reader's ~/.keras/keras.json may name another
}.items():
    os.environ.setdefault(_name, _value)

from ..benchmark import ChildError, ChildResult, run_in_child  # noqa: E402
from ._check import Verdict, check, checks  # noqa: E402
from ._faults import break_it, name_the_fault, pictures_of_nothing  # noqa: E402
from ._guess import Beside, Guess, guess, plain_number  # noqa: E402
from ._picker import FaultPicker, Outcome, fault_picker  # noqa: E402
from ._quiz import Quiz, quiz  # noqa: E402
from ._sampler import Sampler, sampler  # noqa: E402

__all__ = [
    "Beside",
    "ChildError",
    "ChildResult",
    "FaultPicker",
    "Guess",
    "Outcome",
    "Quiz",
    "Sampler",
    "Verdict",
    "break_it",
    "check",
    "checks",
    "fault_picker",
    "guess",
    "name_the_fault",
    "pictures_of_nothing",
    "plain_number",
    "quiz",
    "run_in_child",
    "sampler",
]

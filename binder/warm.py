"""Do once, while Binder makes its image, what would else make each visitor wait; see ``postBuild``.

The lessons are copied to ``work/``, as `make lab` does, so that both ways lead to the same place. A word on the command
line takes those steps alone that have it in their name.
"""

import compileall
import subprocess
import sys
import time

import bootstrap

STEPS = {
    "copies of the lessons": "from notebooks import lab; lab.sync()",
    "matplotlib and its list of fonts": "import matplotlib.pyplot",
    "the library, its widgets and its models": "from inferkit import course, predictor, widgets",
    "TensorFlow and Keras": "import keras, tensorflow",
    "PyMC and ArviZ": "import pymc, arviz",
    # PyMC 6 compiles with Numba, which keeps what it compiled: the first model of all takes a minute.
    "what PyMC compiles": """
import warnings
import numpy as np
import pymc
from inferkit.bayes import BayesianClassifier, HierarchicalRegressor, sample

warnings.simplefilter("ignore")  # so few draws say nothing
X = np.random.default_rng(0).normal(size=(40, 2))
short = {"draws": 20, "tune": 20, "chains": 2, "cores": 1, "progress": False, "random_state": 0}
model = BayesianClassifier(**short).fit(X, X[:, 0] > 0)
HierarchicalRegressor(group=0, **short).fit(np.column_stack([np.arange(40) % 4, X]), X[:, 0])
sample(model.model_, method="advi", steps=50, optimizer=pymc.adam(learning_rate=0.02), progress=False)
""",
}


def main() -> None:
    """Write the settings, copy the lessons, and do what is slow at first; print the seconds of each."""
    word = " ".join(sys.argv[1:])
    if not word:
        bootstrap.write_lab_settings(sys.prefix)
        for folder in ("inferkit", "notebooks"):
            compileall.compile_dir(f"{bootstrap.ROOT}/{folder}", quiet=1)
    for what, code in STEPS.items():
        if word not in what:
            continue
        start = time.monotonic()
        subprocess.run([sys.executable, "-c", code], check=True, cwd=bootstrap.ROOT)  # one at a time: memory is short
        print(f"{what}: {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    main()

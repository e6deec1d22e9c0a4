"""Do once, while Binder makes its image, what would else make each visitor wait; see ``postBuild``.

The lessons are copied to ``work/``, as `make lab` does, so that both ways lead to the same place.
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
}


def main() -> None:
    """Write the settings, copy the lessons, and import what is slow at first; print the seconds of each."""
    bootstrap.write_lab_settings(sys.prefix)
    for folder in ("inferkit", "notebooks"):
        compileall.compile_dir(f"{bootstrap.ROOT}/{folder}", quiet=1)
    for what, code in STEPS.items():
        start = time.monotonic()
        subprocess.run([sys.executable, "-c", code], check=True, cwd=bootstrap.ROOT)  # one at a time: memory is short
        print(f"{what}: {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    main()

"""Run the course's models on an accelerator and keep what was measured, as one JSON file.

Run it from the repository's root, on a machine with a GPU::

    python -m datasets.record_accelerator

A machine that is lent for an hour needs neither TensorFlow nor LiteRT. This makes an environment of a few packages,
tries the script on the processor, and records; Keras finds JAX by itself::

    python3 -m venv /tmp/gpu
    /tmp/gpu/bin/pip install "jax[cuda12]" numpyro keras numpy scipy platformdirs
    /tmp/gpu/bin/python -c "import jax; print(jax.devices())"      # must name the GPU
    /tmp/gpu/bin/python -m datasets.record_accelerator --device cpu --quick --out /tmp/rehearsal.json
    /tmp/gpu/bin/python -m datasets.record_accelerator --precisions float32 tensorfloat32 bfloat16 float16

Where the machine cannot reach a package index, download the wheels on one that can (``pip download``) and install them
with ``--no-index --find-links``. With ``make lab GPU=1`` TensorFlow is there instead, and ``KERAS_BACKEND=tensorflow``
takes it even where JAX is installed too. JAX takes three quarters of a GPU's memory when it starts; where others use
the GPU as well, set ``XLA_PYTHON_CLIENT_PREALLOCATE=false``. The record keeps the settings that matter.

A second run with ``--device cpu`` on the same machine gives what the crossover is reckoned from::

    AcceleratorRun.from_json("datasets/accelerator.json").crossover(
        AcceleratorRun.from_json("datasets/accelerator-cpu.json"), "mobilenet-100")

It ends with 0 if all answers hold, 1 if one does not (the file says which) and 2 if there is no such device.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from inferkit.roofline import AcceleratorRun, NoAcceleratorError, accelerator_run

FOLDER = Path(__file__).parent
_QUICK = {"networks": ("digits-cnn", "mobilenet-25"), "batch_sizes": (1, 8), "rounds": 6, "max_seconds": 30.0}


def record(device: str = "gpu", out: Path | None = None, *, quick: bool = False, precisions: tuple[str, ...]) -> int:
    """Measure on a device and write the record.

    Parameters
    ----------
    device : {"gpu", "tpu", "cpu"}
    out : pathlib.Path, optional
        Where to write; a file beside this script, by default.
    quick : bool, default False
        Two networks and two batch sizes, without sampling.
    precisions : tuple of str
        As of `inferkit.roofline.accelerator_run`.

    Returns
    -------
    int
        0 if all answers hold, 1 if one does not, 2 if there is no such device and so nothing was written.
    """
    options = _QUICK if quick else {"max_seconds": 480.0}
    try:
        run = accelerator_run(device=device, precisions=precisions, nuts=not quick, **options)
    except NoAcceleratorError as error:
        print(error, file=sys.stderr)
        return 2
    print(run)
    if run.device_kind != device:
        print(f"this ran on a {run.device_kind}, not on a {device}: nothing is written", file=sys.stderr)
        return 2
    run.to_json(out or default_path(run))
    return 1 if run.failures else 0


def default_path(run: AcceleratorRun) -> Path:
    """Return where a run is kept unless another path is given: one of the processor is not called an accelerator's."""
    return FOLDER / ("accelerator-cpu.json" if run.device_kind == "cpu" else "accelerator.json")


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and record."""
    parser = argparse.ArgumentParser(description="Run the course's models on an accelerator and keep the figures.")
    parser.add_argument("--device", choices=("gpu", "tpu", "cpu"), default="gpu", help="cpu: a rehearsal")
    parser.add_argument("--out", type=Path, help="default: accelerator.json beside this script, accelerator-cpu.json")
    parser.add_argument("--precisions", nargs="+", default=("float32", "bfloat16"), help="default: float32 bfloat16")
    parser.add_argument("--quick", action="store_true", help="two networks in half a minute, to try the script")
    options = parser.parse_args(arguments)
    return record(options.device, options.out, quick=options.quick, precisions=tuple(options.precisions))


if __name__ == "__main__":
    raise SystemExit(main())

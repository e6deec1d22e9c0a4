"""Train the digit models that ship with inferkit, and write them with their hashes to ``inferkit/bundled``.

Run it from the repository's root::

    python -m datasets.make_digit_models

It takes minutes on one core, and on the same machine with the same versions gives the same bytes every time: one
thread, seeds for everything, no dates in the files.
"""

from __future__ import annotations

import os

os.environ.update(TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1", TF_ENABLE_ONEDNN_OPTS="0")

import argparse
import io
import json
import platform
import tempfile
import zipfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.augment import variants
from datasets.strokes import synthetic
from inferkit._base import sha256, whole_file
from inferkit.datasets import split_digits
from inferkit.models import LiteRTModel, cnn, import_keras, mlp, mobilenet, save_keras, to_litert, train

BUNDLED = Path(__file__).parent.parent / "inferkit" / "bundled"
MADE_WITH = ("tensorflow-cpu", "keras", "numpy", "scikit-learn", "scipy", "ai-edge-litert")

Rows = tuple[NDArray[np.float32], NDArray[np.int64]]
Files = dict[str, bytes]
Registry = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Recipe:
    """How one model is built and trained."""

    name: str
    description: str
    build: Callable[[], Any]
    epochs: int
    random_state: int
    also_int8: bool = False


RECIPES = (
    Recipe("digits-mlp", "Multilayer perceptron with one hidden layer of 64.", lambda: mlp(random_state=1), 20, 1),
    Recipe(
        "digits-cnn",
        "Convolutional network, three layers of 3×3.",
        lambda: cnn(dropout=0.3, random_state=2),
        24,
        2,
        also_int8=True,
    ),
    Recipe(
        "digits-mobilenet",
        "Depthwise-separable convolutions, a MobileNet in miniature at half width.",
        lambda: mobilenet(width=0.5, random_state=3),
        8,
        3,
    ),
)


def training_rows(copies: int, n_synthetic: int) -> Rows:
    """Return what the models learn from: scans, changed scans and drawn digits, all scaled to 0..1.

    Parameters
    ----------
    copies : int
        Changed copies of each scan; the scan itself comes along once for every three of them.
    n_synthetic : int
        Pictures drawn by :mod:`datasets.strokes`.

    Returns
    -------
    tuple
        Pictures (n, 8, 8) float32 and digits (n,) int64.
    """
    X, _, y, _ = split_digits()
    rng = np.random.default_rng(0)
    changed = variants(X, copies, rng)
    plain = max(copies // 3, 1)
    drawn, digits = synthetic(n_synthetic, rng)
    pictures = np.concatenate([*[X] * plain, changed, drawn])
    return pictures / np.float32(16), np.concatenate([np.tile(y, plain + copies), digits])


def make(
    folder: Path,
    *,
    only: Collection[str] = (),
    copies: int = 60,
    n_synthetic: int = 100_000,
    epochs_scale: float = 1.0,
) -> None:
    """Train models and write them and ``registry.json`` to a folder.

    Parameters
    ----------
    folder : pathlib.Path
        Where to write. Nothing is written before the last model is trained.
    only : collection of str
        Names of recipes to train; the folder's other models stay. All of them if it is empty.
    copies, n_synthetic : int
        As in :func:`training_rows`.
    epochs_scale : float, default 1.0
        Below 1: a quick and worse model, to try the script.
    """
    rows = training_rows(copies, n_synthetic)
    print(f"{len(rows[0]):,} pictures to learn from")
    files: Files = {}
    known = folder / "registry.json"
    registry: Registry = json.loads(known.read_bytes()) if known.exists() else {}  # other programs' entries stay
    for recipe in RECIPES:
        if not only or recipe.name in only:
            new_files, entries = made(recipe, rows, epochs_scale)
            files |= new_files
            registry |= entries
    files["registry.json"] = (json.dumps(registry, indent=2, ensure_ascii=False) + "\n").encode()
    for name, content in files.items():  # the registry comes last
        with whole_file(folder / name) as temporary:
            temporary.write_bytes(content)


def made(recipe: Recipe, rows: Rows, epochs_scale: float) -> tuple[Files, Registry]:
    """Train one model and return its files and what to register."""
    model = trained(recipe, rows, epochs_scale)
    flat, kept = to_litert(model), keras_bytes(model)
    files = {f"{recipe.name}.tflite": flat, f"{recipe.name}.keras": kept}
    about = {"n_parameters": model.count_params(), "random_state": recipe.random_state}
    entry = judged(recipe.name, recipe.description, flat, about)
    entry["keras"] = {"file": f"{recipe.name}.keras", **fingerprint(kept)}
    entries = {recipe.name: entry}
    if recipe.also_int8:
        name = f"{recipe.name}-int8"
        small = to_litert(model, calibration=rows[0][:: len(rows[0]) // 500])
        files[f"{name}.tflite"] = small
        entries[name] = judged(name, f"{recipe.name} in int8, float in and out.", small, about)
    return files, entries


def trained(recipe: Recipe, rows: Rows, epochs_scale: float) -> Any:
    """Build and train the model of a recipe; the step size falls to zero along a cosine."""
    import_keras().utils.clear_session()  # layers are numbered anew: the order of training leaves no trace in the files
    model, batch_size = recipe.build(), 256
    epochs = max(round(recipe.epochs * epochs_scale), 1)
    steps = epochs * -(-len(rows[0]) // batch_size)
    rate = import_keras().optimizers.schedules.CosineDecay(2e-3, steps)
    result = train(
        model, *rows, epochs=epochs, batch_size=batch_size, learning_rate=rate, random_state=recipe.random_state
    )
    print(f"{recipe.name}: {result}")
    return model


def judged(name: str, description: str, content: bytes, about: dict[str, int]) -> dict[str, Any]:
    """Judge a ``.tflite`` file on the pictures it never saw, and return what to register."""
    _, X, _, y = split_digits()
    right = LiteRTModel(content)(X / np.float32(16)).argmax(axis=1) == y
    print(f"{name}: {right.mean():.4f} of {len(y)} unseen scans, {len(content):,} bytes")
    return {
        "description": description,
        "file": f"{name}.tflite",
        **fingerprint(content),
        **about,
        "accuracy": round(float(right.mean()), 4),
        "made_with": {"python": platform.python_version(), **{name: version(name) for name in MADE_WITH}},
    }


def fingerprint(content: bytes) -> dict[str, Any]:
    """Return what identifies a file's content."""
    return {"bytes": len(content), "sha256": sha256(content)}


def keras_bytes(model: Any) -> bytes:
    """Return a ``.keras`` file without dates and optimizer, so that the same model gives the same bytes."""
    bare = import_keras().models.clone_model(model)
    bare.set_weights(model.get_weights())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        save_keras(bare, path)
        out = io.BytesIO()
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
            for name in sorted(old.namelist()):
                new.writestr(zipfile.ZipInfo(name), _dateless(name, old.read(name)), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _dateless(name: str, content: bytes) -> bytes:
    """Take the date out of the metadata; leave other members as they are."""
    if name != "metadata.json":
        return content
    return json.dumps({**json.loads(content), "date_saved": ""}).encode()


def main() -> None:
    """Read the command line and make the models."""
    parser = argparse.ArgumentParser(description="Train the digit models that ship with inferkit.")
    parser.add_argument("--folder", type=Path, default=BUNDLED, help="where to write (default: inferkit/bundled)")
    parser.add_argument("--quick", action="store_true", help="a worse model in a minute, to try the script")
    names = [recipe.name for recipe in RECIPES]
    parser.add_argument("--only", nargs="+", default=(), choices=names, help="train these, keep the folder's others")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"copies": 4, "n_synthetic": 6_000, "epochs_scale": 0.3} if arguments.quick else {}
    make(arguments.folder, only=arguments.only, **options)


if __name__ == "__main__":
    main()

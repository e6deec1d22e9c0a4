"""Train the five small models that read street signs and are too sure of themselves, and register them.

Run it from the repository's root::

    python -m datasets.make_sign_ensemble

It takes three to five minutes on one core. On the same machine with the same versions it gives the same bytes every
time.

The five have the same layout and the same 1,500 pictures to learn from; first weights, order and dropout differ. Few
pictures and many passes make them what a lesson on uncertainty needs: right in 17 of 20 cases, and surer than that.
"""

from __future__ import annotations

# The first import also sets one thread and no oneDNN, which must be done before TensorFlow is imported.
from datasets.make_digit_models import BUNDLED, MADE_WITH, Files, Registry, fingerprint, keras_bytes

# isort: split
import argparse
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from datasets.make_sign_models import Signs
from inferkit._base import whole_file
from inferkit.datasets import load_signs, make_signs
from inferkit.models import LiteRTModel, import_keras, to_litert, train

NAMES = tuple(f"signs-small-{k}" for k in range(1, 6))
TRAINING_SEED, DROPOUT = 50, 0.1
DESCRIPTION = "Small convolutional network for street signs, trained on 1,500 pictures; one of an ensemble of five."


def network(random_state: int) -> Any:
    """Build the network: one 5×5 and three 3×3 convolutions, the map halved after each, two dense layers.

    Parameters
    ----------
    random_state : int
        Seed of the first weights and of the dropout.

    Returns
    -------
    keras.Model
        From (n, 32, 32, 3) float32 in 0..1 to (n, 12) probabilities. The layer ``features`` gives 24 numbers. Not
        trained.
    """
    keras = import_keras()
    keras.utils.clear_session()  # layers are numbered anew: what was trained before leaves no trace in the files
    keras.utils.set_random_seed(random_state)
    layers = keras.layers
    inputs = x = layers.Input((32, 32, 3))
    for filters, size, stride in ((8, 5, 2), (12, 3, 1), (16, 3, 1), (16, 3, 1)):
        x = layers.Conv2D(filters, size, stride, "same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.MaxPooling2D(2)(x) if stride == 1 else x
    x = layers.Dropout(DROPOUT)(layers.Flatten()(x))
    x = layers.Dropout(DROPOUT)(layers.Dense(24, activation="relu", name="features")(x))
    return keras.Model(inputs, layers.Dense(12, activation="softmax")(x), name="signs_small")


def make(folder: Path, *, n_training: int = 1500, epochs: int = 80, members: int = len(NAMES)) -> None:
    """Train the members, and write them and their entries in ``registry.json``; what else it holds stays.

    Parameters
    ----------
    folder : pathlib.Path
        Where to write. Nothing is written before all are trained.
    n_training : int, default 1500
        Pictures to learn from.
    epochs : int, default 80
        Passes over them.
    members : int, default 5
        How many to train.
    """
    school, test = make_signs(n_training, TRAINING_SEED), load_signs(return_X_y=True)
    known = folder / "registry.json"
    registry: Registry = json.loads(known.read_bytes()) if known.exists() else {}
    files: Files = {}
    for seed, name in enumerate(NAMES[:members], start=1):
        model = trained(school, epochs, seed)
        files[f"{name}.tflite"] = flat = to_litert(model)
        registry[name] = judged(name, flat, test, n_parameters=model.count_params(), random_state=seed)
        if name == NAMES[0]:  # with its dropout, to be asked many times
            files[f"{name}.keras"] = kept = keras_bytes(model)
            registry[name]["keras"] = {"file": f"{name}.keras", **fingerprint(kept)}
    files["registry.json"] = (json.dumps(registry, indent=2, ensure_ascii=False) + "\n").encode()
    for file, content in files.items():  # the registry comes last
        with whole_file(folder / file) as temporary:
            temporary.write_bytes(content)


def trained(rows: Signs, epochs: int, seed: int) -> Any:
    """Train one network on pictures; the step size falls to zero along a cosine."""
    model, batch_size = network(seed), 64
    rate = import_keras().optimizers.schedules.CosineDecay(3e-3, epochs * -(-len(rows[0]) // batch_size))
    scaled = rows[0] / np.float32(255)
    train(model, scaled, rows[1], epochs=epochs, batch_size=batch_size, learning_rate=rate, random_state=seed)
    return model


def judged(name: str, content: bytes, test: Signs, *, n_parameters: int, random_state: int) -> dict[str, Any]:
    """Judge a ``.tflite`` file on the bundled pictures, and return what to register."""
    p = LiteRTModel(content)(test[0].reshape(-1, 32, 32, 3) / np.float32(255))
    right = p.argmax(axis=1) == test[1]
    print(f"{name}: {right.mean():.4f} right, {p.max(axis=1).mean():.4f} sure, {len(content):,} bytes")
    return {
        "description": DESCRIPTION,
        "file": f"{name}.tflite",
        **fingerprint(content),
        "n_parameters": n_parameters,
        "random_state": random_state,
        "accuracy": round(float(right.mean()), 4),
        "made_with": {"python": platform.python_version(), **{name: version(name) for name in MADE_WITH}},
    }


def main() -> None:
    """Read the command line and train the five."""
    parser = argparse.ArgumentParser(description="Train the ensemble of small models that read street signs.")
    parser.add_argument("--folder", type=Path, default=BUNDLED, help="where to write (default: inferkit/bundled)")
    parser.add_argument("--quick", action="store_true", help="worse models in a quarter of a minute, to try the script")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    make(options.folder, **({"n_training": 240, "epochs": 1} if options.quick else {}))


if __name__ == "__main__":
    main()

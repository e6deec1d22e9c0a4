"""Draw the street signs that ship with inferkit, train the model that reads them, and register both.

Run it from the repository's root::

    python -m datasets.make_sign_models

It takes minutes on one core. On the same machine with the same versions it gives the same bytes every time: one
thread, seeds for everything, no dates in the files.
"""

from __future__ import annotations

# The first import also sets one thread and no oneDNN, which must be done before TensorFlow is imported.
from datasets.make_digit_models import BUNDLED, MADE_WITH, Files, Registry, fingerprint, keras_bytes

# isort: split
import argparse
import io
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inferkit._base import whole_file
from inferkit.datasets import make_signs
from inferkit.datasets._signs import sheet_of
from inferkit.models import LiteRTModel, import_keras, to_litert, train

NAME, SHEET = "signs-cnn", "signs.png"
N_TEST, TEST_SEED, TRAINING_SEED, MODEL_SEED = 1152, 2, 1, 7
DESCRIPTION = "Convolutional network for street signs, four layers, batch normalisation."

Signs = tuple[NDArray[np.uint8], NDArray[np.int64]]


def network(random_state: int) -> Any:
    """Build the network: one 5×5 and three 3×3 convolutions, the map halved after each, two dense layers.

    Parameters
    ----------
    random_state : int
        Seed of the first weights and of the dropout.

    Returns
    -------
    keras.Model
        From (n, 32, 32, 3) float32 in 0..1 to (n, 12) probabilities. Not trained.
    """
    keras = import_keras()
    keras.utils.clear_session()  # layers are numbered anew: what was trained before leaves no trace in the files
    keras.utils.set_random_seed(random_state)
    layers = keras.layers
    inputs = x = layers.Input((32, 32, 3))
    for filters, size, stride in ((16, 5, 2), (24, 3, 1), (32, 3, 1), (48, 3, 1)):
        x = layers.Conv2D(filters, size, stride, "same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.MaxPooling2D(2)(x) if stride == 1 else x
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    x = layers.Dense(24, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(12, activation="softmax")(x), name=NAME.replace("-", "_"))


def make(folder: Path, *, n_training: int = 40_000, epochs: int = 20) -> None:
    """Draw the test pictures, train the model, and write both and their entries in ``registry.json``.

    Parameters
    ----------
    folder : pathlib.Path
        Where to write. What else its registry holds stays. Nothing is written before the model is trained.
    n_training : int, default 40000
        Pictures to learn from.
    epochs : int, default 20
        Passes over them.
    """
    test = make_signs(N_TEST, TEST_SEED)
    sheet = png(sheet_of(*test))
    model = trained(make_signs(n_training, TRAINING_SEED), epochs)
    flat, kept = to_litert(model), keras_bytes(model)
    known = folder / "registry.json"
    registry: Registry = json.loads(known.read_bytes()) if known.exists() else {}
    entry = judged(flat, test, n_parameters=model.count_params())
    registry[NAME] = entry | {"keras": {"file": f"{NAME}.keras", **fingerprint(kept)}}
    registry["signs"] = {
        "kind": "data",
        "description": f"{N_TEST:,} street signs to test with, class by class.",
        "file": SHEET,
        **fingerprint(sheet),
        "random_state": TEST_SEED,
    }
    files: Files = {SHEET: sheet, f"{NAME}.tflite": flat, f"{NAME}.keras": kept}
    files["registry.json"] = (json.dumps(registry, indent=2, ensure_ascii=False) + "\n").encode()
    for name, content in files.items():  # the registry comes last
        with whole_file(folder / name) as temporary:
            temporary.write_bytes(content)


def trained(rows: Signs, epochs: int) -> Any:
    """Train the network on pictures; the step size falls to zero along a cosine."""
    model, batch_size = network(MODEL_SEED), 128
    rate = import_keras().optimizers.schedules.CosineDecay(3e-3, epochs * -(-len(rows[0]) // batch_size))
    scaled = rows[0] / np.float32(255)
    result = train(
        model, scaled, rows[1], epochs=epochs, batch_size=batch_size, learning_rate=rate, random_state=MODEL_SEED
    )
    print(f"{NAME}: {result}")
    return model


def judged(content: bytes, test: Signs, *, n_parameters: int) -> dict[str, Any]:
    """Judge a ``.tflite`` file on the pictures that it never saw, and return what to register."""
    right = LiteRTModel(content)(test[0] / np.float32(255)).argmax(axis=1) == test[1]
    print(f"{NAME}: {right.mean():.4f} of {len(right):,} unseen pictures, {len(content):,} bytes")
    return {
        "description": DESCRIPTION,
        "file": f"{NAME}.tflite",
        **fingerprint(content),
        "n_parameters": n_parameters,
        "random_state": MODEL_SEED,
        "accuracy": round(float(right.mean()), 4),
        "made_with": {"python": platform.python_version(), **{name: version(name) for name in MADE_WITH}},
    }


def png(picture: NDArray[np.uint8]) -> bytes:
    """Return a picture as the bytes of a PNG file, with no date inside."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, format="PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    """Read the command line and make pictures and model."""
    parser = argparse.ArgumentParser(description="Draw the street signs and train the model that reads them.")
    parser.add_argument("--folder", type=Path, default=BUNDLED, help="where to write (default: inferkit/bundled)")
    parser.add_argument("--quick", action="store_true", help="a worse model in half a minute, to try the script")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"n_training": 4_000, "epochs": 3} if arguments.quick else {}
    make(arguments.folder, **options)


if __name__ == "__main__":
    main()

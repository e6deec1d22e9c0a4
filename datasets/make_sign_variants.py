"""Train the networks that trade accuracy for speed on the street signs, and register them with their variants.

Run it from the repository's root::

    python -m datasets.make_sign_variants

It takes some forty minutes on one core. On the same machine with the same versions it gives the same bytes every time.
What is trained is kept in ``build/variants`` and used again after an interrupt; ``--fresh`` trains all of it anew.

Three MobileNets of one recipe at three widths; a small network taught by the largest of them, and the same one without
a teacher; an exit halfway through the largest; ``signs-cnn`` in four schemes of quantization and with half its filters.
"""

from __future__ import annotations

# The first import also sets one thread and no oneDNN, which must be done before TensorFlow is imported.
from datasets.make_digit_models import BUNDLED, MADE_WITH, Files, Registry, fingerprint, keras_bytes

# isort: split
import argparse
import json
import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.make_sign_ensemble import network as small_network
from inferkit._base import whole_file
from inferkit.datasets import load_signs, make_signs
from inferkit.models import LiteRTModel, import_keras, load_keras, load_reference, mobilenet, to_litert, train
from inferkit.optimize import distill, early_exit, prune_filters, quantize
from inferkit.optimize._early_exit import FEATURES, PROBABILITIES

TRAINING_SEED, MODEL_SEED = 70, 11
WIDTHS = {"signs-mobilenet-25": 0.25, "signs-mobilenet-50": 0.5, "signs-mobilenet-100": 1.0}
TEACHER = "signs-mobilenet-100"
EXIT_PLACE, EXIT_HIDDEN = 8, 64  # the end of the fourth block of seven; units of the exit's own layer
SCHEMES = ("float16", "dynamic", "int8", "int16x8")
KEPT = Path(__file__).parent.parent / "build" / "variants"


@dataclass(frozen=True)
class School:
    """What all of them learn from, and for how long."""

    X: NDArray[np.float32]
    y: NDArray[np.int64]
    epochs: int


def school(n_training: int, epochs: int) -> School:
    """Draw the pictures to learn from, light scaled to 0..1."""
    pictures, y = make_signs(n_training, TRAINING_SEED)
    return School(pictures / np.float32(255), y, epochs)


def falling(lessons: School, epochs: int, batch_size: int, rate: float = 3e-3) -> Any:
    """Return a step size that falls to zero along a cosine."""
    return import_keras().optimizers.schedules.CosineDecay(rate, epochs * -(-len(lessons.X) // batch_size))


def trained(name: str, lessons: School) -> Any:
    """Train a MobileNet of a width."""
    start_afresh()
    model = mobilenet((32, 32, 3), 12, width=WIDTHS[name], random_state=MODEL_SEED)
    rate = falling(lessons, lessons.epochs, 128)
    options: dict[str, Any] = {"epochs": lessons.epochs, "batch_size": 128, "learning_rate": rate}
    print(f"{name}: {train(model, lessons.X, lessons.y, random_state=MODEL_SEED, **options)}", flush=True)
    return model


def pupil(name: str, lessons: School, teacher: Any) -> Any:
    """Train the small network, with a teacher or without."""
    start_afresh()
    model, epochs = small_network(MODEL_SEED), 2 * lessons.epochs
    rate = falling(lessons, epochs, 64)
    options: dict[str, Any] = {"epochs": epochs, "batch_size": 64, "learning_rate": rate, "random_state": MODEL_SEED}
    if teacher is None:
        print(f"{name}: {train(model, lessons.X, lessons.y, **options)}", flush=True)
        return model
    return distill(teacher, model, lessons.X, lessons.y, **options).keras_model


def halved(lessons: School) -> Any:
    """Take half of the filters of ``signs-cnn``, and train on."""
    start_afresh()
    whole, epochs = load_reference("signs-cnn", "keras"), max(lessons.epochs // 2, 1)
    rate = falling(lessons, epochs, 128)
    options: dict[str, Any] = {"epochs": epochs, "batch_size": 128, "learning_rate": rate, "random_state": MODEL_SEED}
    return prune_filters(whole, lessons.X, lessons.y, share=0.5, **options).keras_model


def start_afresh() -> None:
    """Give layers new numbers, and a seed to what has none: the order of training leaves no trace."""
    import_keras().utils.clear_session()
    import_keras().utils.set_random_seed(MODEL_SEED)


def kept(folder: Path, name: str, make: Callable[[], Any]) -> Any:
    """Return a network that was trained before, or train it and keep it."""
    path = folder / f"{name}.keras"
    if not path.exists():
        content = keras_bytes(make())
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            temporary.write_bytes(content)
    return load_keras(path)


def networks(folder: Path, lessons: School, names: tuple[str, ...] = ()) -> dict[str, Any]:
    """Train what needs training, or what of it is named."""
    recipes: dict[str, Callable[[], Any]] = {name: lambda name=name: trained(name, lessons) for name in WIDTHS}
    recipes["signs-student"] = lambda: pupil(
        "signs-student", lessons, LiteRTModel(to_litert(kept(folder, TEACHER, recipes[TEACHER])))
    )
    recipes["signs-student-alone"] = lambda: pupil("signs-student-alone", lessons, None)
    recipes["signs-cnn-half"] = lambda: halved(lessons)
    return {name: kept(folder, name, recipe) for name, recipe in recipes.items() if not names or name in names}


def make(folder: Path, *, kept_in: Path = KEPT, n_training: int = 20_000, epochs: int = 15) -> None:
    """Train, convert, judge, and write all files and their entries in ``registry.json``; what else it holds stays.

    Parameters
    ----------
    folder : pathlib.Path
        Where to write. Nothing is written before the last network is trained.
    kept_in : pathlib.Path
        Where trained networks lie, and are used again.
    n_training : int, default 20000
        Pictures to learn from.
    epochs : int, default 15
        Passes over them of the MobileNets; twice as many of the small network, half as many after pruning.
    """
    lessons = school(n_training, epochs)
    found = networks(kept_in, lessons)
    files = {name: Made(to_litert(model), model.count_params(), *ABOUT[name]) for name, model in found.items()}
    files |= quantized(found[TEACHER], lessons)
    files |= exits(found[TEACHER], lessons)
    write(folder, files)


@dataclass(frozen=True)
class Made:
    """A file, and what to say of it."""

    content: bytes
    n_parameters: int
    description: str
    random_state: int = MODEL_SEED


ABOUT: dict[str, tuple[str, ...]] = {
    "signs-mobilenet-25": ("MobileNet in miniature for street signs, a quarter of the channels.",),
    "signs-mobilenet-50": ("MobileNet in miniature for street signs, half of the channels.",),
    "signs-mobilenet-100": ("MobileNet in miniature for street signs, all of its channels.",),
    "signs-student": ("Small convolutional network for street signs, taught by signs-mobilenet-100.",),
    "signs-student-alone": ("The network of signs-student, trained on the same pictures without a teacher.",),
    "signs-cnn-half": ("signs-cnn with half of its filters, trained on.",),
}


def quantized(teacher: Any, lessons: School) -> dict[str, Made]:
    """Return ``signs-cnn`` in every scheme, and the largest MobileNet in int8."""
    network, rows = load_reference("signs-cnn", "keras"), lessons.X[:500]
    found = {}
    for scheme in SCHEMES:
        content = quantize(network, scheme, **({"calibration": rows} if scheme.startswith("int") else {})).content
        found[f"signs-cnn-{scheme}"] = Made(content, network.count_params(), f"signs-cnn, quantized: {scheme}.", 7)
    small = quantize(teacher, "int8", calibration=rows).content
    found[f"{TEACHER}-int8"] = Made(small, teacher.count_params(), f"{TEACHER}, quantized: int8.")
    return found


def exits(teacher: Any, lessons: School) -> dict[str, Made]:
    """Return the largest MobileNet cut in two, with an exit where it is cut."""
    start_afresh()
    options: dict[str, Any] = {"hidden": EXIT_HIDDEN, "epochs": 2 * lessons.epochs, "batch_size": 128}
    both = early_exit(teacher, exit_layer(teacher), lessons.X, lessons.y, random_state=MODEL_SEED, **options)
    files = {"stem": both.stem, "rest": both.rest}
    return {
        f"signs-exit-{part}": Made(model.content, model.keras_model.count_params(), ABOUT_EXIT[part])
        for part, model in files.items()
    }


ABOUT_EXIT = {
    "stem": "The first part of signs-mobilenet-100 with an exit: features, and probabilities.",
    "rest": "The second part of signs-mobilenet-100: from the features of signs-exit-stem to probabilities.",
}


def exit_layer(model: Any) -> str:
    """Return the name of the layer where the network is cut: the end of a block, by its place."""
    ends = [layer.name for layer in model.layers if type(layer).__name__ == "ReLU"]
    return str(ends[EXIT_PLACE])


def write(folder: Path, files: dict[str, Made]) -> None:
    """Judge the files on the bundled pictures, and write them; the registry comes last."""
    known = folder / "registry.json"
    registry: Registry = json.loads(known.read_bytes()) if known.exists() else {}
    registry |= {name: judged(name, files) for name in files}
    contents: Files = {f"{name}.tflite": made.content for name, made in files.items()}
    contents["registry.json"] = (json.dumps(registry, indent=2, ensure_ascii=False) + "\n").encode()
    for file, content in contents.items():
        with whole_file(folder / file) as temporary:
            temporary.write_bytes(content)


def judged(name: str, files: dict[str, Made]) -> dict[str, Any]:
    """Return what to register of a file."""
    made = files[name]
    right = float((answers(name, files).argmax(axis=1) == load_signs().target).mean())
    print(f"{name}: {right:.4f} right, {len(made.content):,} bytes", flush=True)
    return {
        "description": made.description,
        "file": f"{name}.tflite",
        **fingerprint(made.content),
        "n_parameters": made.n_parameters,
        "random_state": made.random_state,
        "accuracy": round(right, 4),
        "made_with": {"python": platform.python_version(), **{name: version(name) for name in MADE_WITH}},
    }


def answers(name: str, files: dict[str, Made]) -> NDArray[Any]:
    """Return a file's probabilities for the bundled pictures; the second part gets what the first one makes of them."""
    X, model = load_signs().images / np.float32(255), LiteRTModel(files[name].content)
    if name == "signs-exit-rest":
        stem = LiteRTModel(files["signs-exit-stem"].content)
        return in_parts(lambda rows: model(stem(rows)[FEATURES]), X)
    if name == "signs-exit-stem":
        return in_parts(lambda rows: model(rows)[PROBABILITIES], X)
    return in_parts(model, X)


def in_parts(model: Callable[[Any], Any], X: NDArray[Any]) -> NDArray[Any]:
    """Ask a few rows at a time."""
    return np.concatenate([model(X[i : i + 96]) for i in range(0, len(X), 96)])


def main() -> None:
    """Read the command line and make the variants."""
    parser = argparse.ArgumentParser(description="Train the networks that trade accuracy for speed on street signs.")
    parser.add_argument("--folder", type=Path, default=BUNDLED, help="where to write (default: inferkit/bundled)")
    parser.add_argument("--quick", action="store_true", help="worse models in a minute or two, to try the script")
    parser.add_argument("--fresh", action="store_true", help="train anew what was trained before")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as nowhere:
        kept_in = Path(nowhere) if options.quick or options.fresh else KEPT
        make(options.folder, kept_in=kept_in, **({"n_training": 240, "epochs": 1} if options.quick else {}))


if __name__ == "__main__":
    main()

"""The four networks of MLPerf Tiny, in Keras, and tasks of their shapes: what somebody from outside will try first.

C. Banbury et al., "MLPerf Tiny Benchmark", NeurIPS Datasets and Benchmarks, 2021. The weights are trained here.
"""

import wave
from pathlib import Path
from typing import Any

import numpy as np
from scipy.fft import dct

from inferkit.datasets import make_signs
from inferkit.models import import_keras

Task = tuple[Any, Any, Any, Any]


def _normalised(layer: Any, x: Any, *, relu: bool = True) -> Any:
    layers = import_keras().layers
    x = layers.BatchNormalization(momentum=0.9)(layer(x))
    return layers.ReLU()(x) if relu else x


def resnet8(n_classes: int = 12) -> Any:
    """Build ResNet-8 for 32×32 pictures: three stages of two convolutions around a bypass (16, 32, 64 filters)."""
    keras = import_keras()
    conv, layers = keras.layers.Conv2D, keras.layers
    inputs = layers.Input((32, 32, 3))
    x = _normalised(conv(16, 3, padding="same"), inputs)
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        y = _normalised(conv(filters, 3, stride, "same"), x)
        y = _normalised(conv(filters, 3, padding="same"), y, relu=False)
        bypass = x if stride == 1 else conv(filters, 1, stride, "same")(x)
        x = layers.ReLU()(layers.Add()([y, bypass]))
    x = layers.Flatten()(layers.AveragePooling2D(8)(x))
    return keras.Model(inputs, layers.Dense(n_classes, activation="softmax")(x), name="resnet8")


def ds_cnn(n_classes: int = 10) -> Any:
    """Build the keyword spotter: a 10×4 convolution and four depthwise-separable blocks of 64 filters."""
    keras = import_keras()
    layers = keras.layers
    inputs = layers.Input((49, 10, 1))
    x = _normalised(layers.Conv2D(64, (10, 4), 2, "same"), inputs)
    for _ in range(4):
        x = _normalised(layers.DepthwiseConv2D(3, padding="same"), x)
        x = _normalised(layers.Conv2D(64, 1), x)
    x = layers.GlobalAveragePooling2D()(layers.Dropout(0.2)(x))
    return keras.Model(inputs, layers.Dense(n_classes, activation="softmax")(x), name="ds_cnn")


def mobilenet_v1(n_classes: int = 2, side: int = 96) -> Any:
    """Build MobileNetV1 with a quarter of its filters: 13 depthwise-separable blocks."""
    keras = import_keras()
    layers = keras.layers
    inputs = layers.Input((side, side, 3))
    x = _normalised(layers.Conv2D(8, 3, 2, "same", use_bias=False), inputs)
    blocks = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1)]
    for filters, stride in blocks:
        x = _normalised(layers.DepthwiseConv2D(3, stride, "same", use_bias=False), x)
        x = _normalised(layers.Conv2D(filters, 1, use_bias=False), x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(n_classes, activation="softmax")(x), name="mobilenet_v1")


def anomaly_autoencoder() -> Any:
    """Build the autoencoder for machine sounds: 640 numbers through eight, dense layers of 128."""
    keras = import_keras()
    layers = keras.layers
    inputs = x = layers.Input((640,))
    for width in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = _normalised(layers.Dense(width), x)
    return keras.Model(inputs, layers.Dense(640)(x), name="anomaly_autoencoder")


def signs(n: int) -> Task:
    """Draw street signs: training rows and classes, 1,800 unseen rows and classes."""
    (X, y), (unseen, truth) = make_signs(n, 11), make_signs(1800, 12)
    return (X / 255).astype(np.float32), y, (unseen / 255).astype(np.float32), truth


def forbids_or_obliges(n: int) -> Task:
    """Draw signs of 96×96 points of two kinds, red and blue: like the benchmark's, a question with two answers."""
    sets = []
    for some, seed in ((n, 11), (1800, 12)):
        pictures, kind = make_signs(some, seed)
        pictures, kind = pictures[kind >= 4], kind[kind >= 4]  # five that forbid, three that oblige
        sets += [(pictures.repeat(3, axis=1).repeat(3, axis=2) / 255).astype(np.float32), (kind >= 9).astype(int)]
    X, y, unseen, truth = sets
    return X, y, unseen, truth


def spoken_digits(folder: Path, seed: int = 0) -> Task:
    """Read real spoken digits (fsdd): of each recording in the test four versions, shifted and with noise.

    Every fourth recording is for the test; the coefficients are 49 frames of 40 ms, ten cepstral numbers each.
    """
    rng = np.random.default_rng(seed)
    paths = sorted((folder / "recordings").glob("*.wav"))
    split: dict[bool, list[Any]] = {True: [], False: []}
    for number, path in enumerate(paths):
        with wave.open(str(path)) as file:
            sound = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2") / 32768
        for _ in range(5):
            split[number % 4 == 0].append((_cepstrum(_placed(sound, rng)), int(path.name[0])))
    (X, y), (unseen, truth) = (tuple(map(np.array, zip(*split[test], strict=True))) for test in (False, True))
    return X.astype(np.float32), y, unseen.astype(np.float32), truth


def _placed(sound: Any, rng: Any, n: int = 8000) -> Any:
    """Put a sound somewhere into a second of faint noise."""
    second = 0.002 * rng.normal(size=n)
    start = int(rng.integers(0, max(n - len(sound), 0) + 1))
    second[start : start + len(sound)] += sound[: n - start]
    return second


def _cepstrum(second: Any) -> Any:
    """Return 49 frames of ten cepstral coefficients, roughly from −1 to 1."""
    frames = np.stack([second[i * 160 : i * 160 + 320] for i in range(49)]) * np.hanning(320)
    power = np.abs(np.fft.rfft(frames, 512)) ** 2
    mel = np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 42)
    edges = np.floor(513 * 700 * (10 ** (mel / 2595) - 1) / 8000).astype(int)
    bands = np.stack([power[:, a : max(b, a + 1)].mean(axis=1) for a, b in zip(edges[:-2], edges[2:], strict=True)], 1)
    return dct(np.log(bands + 1e-6), axis=1, norm="ortho")[:, :10, None] / 30


def machine_sounds(n: int, seed: int = 0) -> Task:
    """Draw log spectra of a machine (five frames of 128 bands); of the 2,000 unseen ones half run a little off."""
    rng = np.random.default_rng(seed)
    shapes = rng.normal(size=(6, 128)).cumsum(axis=1) / 10

    def sounds(n: int, fault: float) -> Any:
        load = rng.random((n, 5, 6)).mean(axis=1, keepdims=True) + 0.05 * rng.normal(size=(n, 5, 6))
        hum = load @ shapes
        rattle = fault * np.exp(-(((np.arange(128) - rng.integers(10, 118, (n, 1, 1))) / 3) ** 2))
        return (hum + rattle + 0.2 * rng.normal(size=hum.shape)).reshape(n, 640).astype(np.float32)

    X = sounds(n, 0.0)
    unseen, faulty = np.concatenate([sounds(1000, 0.0), sounds(1000, 0.5)]), np.arange(2000) >= 1000
    return X, X, unseen, faulty

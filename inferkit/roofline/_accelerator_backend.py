"""Keras on JAX or on TensorFlow: which devices each sees, and how rows get there, are answered and come back."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._base import InputError
from ..devices import describe
from ..models import import_keras, import_tensorflow

DEVICES = ("gpu", "tpu", "cpu")
_GPUS = ("gpu", "cuda", "rocm", "metal")


class NoAcceleratorError(RuntimeError):
    """No accelerator, or none that computes. The message says what was looked for and what was found."""


@dataclass(frozen=True)
class Device:
    """A device as a backend sees it.

    Attributes
    ----------
    kind : {"cpu", "gpu", "tpu"} or str
        Other accelerators keep the name that the backend gives them.
    name : str
    handle : object
        What the backend itself calls it.
    """

    kind: str
    name: str
    handle: Any = None


class Backend(ABC):
    """What a run asks of a backend. Every call returns when its work is done, not when it has been handed over.

    Parameters
    ----------
    device : Device
        Where everything runs.
    """

    name = ""

    def __init__(self, device: Device) -> None:
        self.device = device

    @classmethod
    @abstractmethod
    def devices(cls) -> list[Device]:
        """Return the devices that this backend sees."""

    @property
    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Return the versions of what takes part."""

    @abstractmethod
    def place(self, rows: NDArray[np.float32]) -> Any:
        """Copy rows to the device."""

    @abstractmethod
    def ready(self, model: Any) -> Callable[[Any], Any]:
        """Put a model's weights on the device; return a function of rows that are there."""

    @abstractmethod
    def fetch(self, answers: Any) -> Any:
        """Copy answers back, as a NumPy array of any type."""

    @abstractmethod
    def holds(self, answers: Any) -> bool:
        """Tell whether answers lie on the device."""

    @contextmanager
    def precision(self, name: str) -> Iterator[None]:
        """Multiply as a precision says inside the block."""
        yield

    @contextmanager
    def building(self) -> Iterator[None]:
        """Make what is made inside the block on the processor."""
        with import_keras().device("cpu:0"):
            yield


class Jax(Backend):
    """Keras on JAX: each model compiled by XLA."""

    name = "jax"

    @classmethod
    def devices(cls) -> list[Device]:
        """Return the devices of JAX's default platform, then the processor."""
        jax = import_module("jax")
        seen = [*jax.devices(), *(one for one in jax.devices("cpu") if one not in jax.devices())]
        return [Device(_kind(one.platform), _jax_name(one), one) for one in seen]

    @property
    def versions(self) -> dict[str, str]:
        """Return the versions of JAX, its compiler and Keras."""
        return _versions("jax", "jaxlib", "keras")

    def place(self, rows: NDArray[np.float32]) -> Any:
        """Copy rows to the device."""
        return import_module("jax").device_put(rows, self.device.handle).block_until_ready()

    def ready(self, model: Any) -> Callable[[Any], Any]:
        """Put a model's weights on the device; return a function of rows that are there."""
        jax = import_module("jax")
        own, other = (
            [jax.device_put(v.value, self.device.handle) for v in variables]
            for variables in (model.trainable_variables, model.non_trainable_variables)
        )
        # The weights are arguments: as constants they would be folded, and compiled anew for each batch size.
        answer = jax.jit(lambda own, other, x: model.stateless_call(own, other, x, training=False)[0])
        return lambda x: answer(own, other, x).block_until_ready()

    def fetch(self, answers: Any) -> Any:
        """Copy answers back."""
        return np.asarray(answers)

    def holds(self, answers: Any) -> bool:
        """Tell whether answers lie on the device."""
        return bool(answers.devices() == {self.device.handle})

    @contextmanager
    def precision(self, name: str) -> Iterator[None]:
        """Multiply float32 in full, unless TF32 is asked for."""
        with import_module("jax").default_matmul_precision("tensorfloat32" if name == "tensorfloat32" else "highest"):
            yield


class TensorFlow(Backend):
    """Keras on TensorFlow: each model traced as a graph, without XLA, as `tf.function` does it."""

    name = "tensorflow"

    @classmethod
    def devices(cls) -> list[Device]:
        """Return the physical devices that TensorFlow sees, accelerators first."""
        tf = import_tensorflow()
        seen = [Device(_kind(one.device_type), _tf_name(tf, one), _tf_handle(one)) for one in _physical(tf)]
        return sorted(seen, key=lambda one: one.kind == "cpu")

    @property
    def versions(self) -> dict[str, str]:
        """Return the versions of TensorFlow and Keras."""
        return _versions("tensorflow", "keras")

    def place(self, rows: NDArray[np.float32]) -> Any:
        """Copy rows to the device."""
        tf = import_tensorflow()
        with tf.device(self.device.handle):
            placed = tf.constant(rows)
        tf.test.experimental.sync_devices()
        return placed

    def ready(self, model: Any) -> Callable[[Any], Any]:
        """Put a model's weights on the device; return a function of rows that are there."""
        tf = import_tensorflow()
        graphs: dict[tuple[int, ...], Any] = {}  # one for each batch size, as JAX makes them

        def call(x: Any) -> Any:
            with tf.device(self.device.handle):
                graph = graphs.get(tuple(x.shape))
                if graph is None:
                    traced = tf.function(lambda x: model(x, training=False))
                    graph = graphs[tuple(x.shape)] = traced.get_concrete_function(tf.TensorSpec.from_tensor(x))
                y = graph(x)
            tf.test.experimental.sync_devices()  # a GPU is handed its work, and the call returns before it is done
            return y

        return call

    def fetch(self, answers: Any) -> Any:
        """Copy answers back."""
        return answers.numpy()

    def holds(self, answers: Any) -> bool:
        """Tell whether answers lie on the device."""
        return str(answers.device).upper().endswith(self.device.handle.upper().lstrip("/"))

    @contextmanager
    def precision(self, name: str) -> Iterator[None]:
        """Multiply float32 in full, unless TF32 is asked for."""
        config = import_tensorflow().config.experimental
        before = config.tensor_float_32_execution_enabled()
        config.enable_tensor_float_32_execution(name == "tensorfloat32")
        try:
            yield
        finally:
            config.enable_tensor_float_32_execution(before)

    @contextmanager
    def building(self) -> Iterator[None]:
        """Make variables on the device itself: TensorFlow does not move them later."""
        with import_tensorflow().device(self.device.handle):
            yield


BACKENDS: tuple[type[Backend], ...] = (Jax, TensorFlow)


def _physical(tf: Any) -> Sequence[Any]:
    return [one for one in tf.config.list_physical_devices() if not one.device_type.startswith("XLA")]


def _tf_handle(one: Any) -> str:
    return "/" + str(one.name).rpartition("physical_device:")[2]


def _tf_name(tf: Any, one: Any) -> str:
    if _kind(one.device_type) == "cpu":
        return describe().name
    return str(tf.config.experimental.get_device_details(one).get("device_name", one.name))


def _jax_name(one: Any) -> str:
    return describe().name if one.platform == "cpu" else str(one.device_kind)


def _kind(platform: str) -> str:
    return "gpu" if platform.lower() in _GPUS else platform.lower()


def _versions(*modules: str) -> dict[str, str]:
    return {name: str(import_module(name).__version__) for name in modules}


# -- the choice --------------------------------------------------------------------------------


def open_backend(device: str | None = None) -> Backend:
    """Return the backend that sees a device, after a first computation there came out right.

    Keras takes its backend when it is imported, and keeps it. So if Keras is loaded its backend is asked alone; else
    the one that ``KERAS_BACKEND`` names; else JAX and TensorFlow, as far as they are installed.

    Parameters
    ----------
    device : {None, "gpu", "tpu", "cpu"}
        None takes an accelerator if a backend sees one, else the processor.

    Returns
    -------
    Backend

    Raises
    ------
    NoAcceleratorError
        If there is none, or the first computation on it fails.
    InputError
        If `device` is none of these.
    """
    if device is not None and device not in DEVICES:
        raise InputError(f"device: expected None or one of {', '.join(DEVICES)}, got {device!r}")
    candidates = _candidates(device)
    seen, broken = _look(candidates)
    for backend, found in seen:
        for one in found:
            if one.kind == device or (device is None and one.kind != "cpu"):
                return _probed(backend, one)
    if device is not None or broken or not seen:
        raise NoAcceleratorError(_nothing(device, candidates, seen, broken))
    backend, found = seen[-1]  # TensorFlow where there are both: the course runs on it
    return _probed(backend, next(one for one in found if one.kind == "cpu"))


def _candidates(device: str | None) -> list[type[Backend]]:
    """Return the backends that can be asked; for the processor the course's own first."""
    keras = sys.modules.get("keras")
    name = keras.config.backend() if keras is not None else os.environ.get("KERAS_BACKEND")
    if name:
        return [one for one in BACKENDS if one.name == name]
    there = [one for one in BACKENDS if find_spec(one.name) is not None]
    return there[::-1] if device == "cpu" else there


def _look(candidates: Sequence[type[Backend]]) -> tuple[list[tuple[type[Backend], list[Device]]], dict[str, str]]:
    """Return what each backend sees, and in one line why another sees nothing."""
    seen, broken = [], {}
    for backend in candidates:
        try:
            seen.append((backend, backend.devices()))
        except Exception as error:  # each backend, plugin and driver has its own
            broken[backend.name] = one_line(error)
    return seen, broken


def _probed(backend: type[Backend], device: Device) -> Backend:
    """Compute something small on a device, or say that it is there and does not work."""
    os.environ["KERAS_BACKEND"] = backend.name  # what Keras, if it is not loaded yet, will take
    opened = backend(device)
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    try:
        came = opened.fetch(opened.place(rows) * 2)
    except Exception as error:
        raise NoAcceleratorError(
            f"{backend.name} sees {device.kind} {device.name!r}, and the first computation on it fails: "
            f'{one_line(error)}. {_driver()} Mend the driver or its libraries, or measure the processor: device="cpu"'
        ) from error
    if not np.array_equal(came, rows * 2):
        raise NoAcceleratorError(f"{backend.name} on {device.name!r} computes 2 × {rows.tolist()} as {came.tolist()}")
    return opened


def _nothing(
    device: str | None,
    candidates: Sequence[type[Backend]],
    seen: Sequence[tuple[type[Backend], list[Device]]],
    broken: dict[str, str],
) -> str:
    """Return what was looked for, and what was found."""
    words = [
        f"{backend.name} sees {', '.join(f'{d.kind} {d.name!r}' for d in ds) or 'nothing'}" for backend, ds in seen
    ]
    words += [f"{name} fails: {why}" for name, why in broken.items()]
    if not candidates:
        chosen = os.environ.get("KERAS_BACKEND")
        words = [
            f"Keras runs on {chosen}, which is not measured here" if chosen else "neither JAX nor TensorFlow is here"
        ]
    wanted = f"a {device}" if device else "a device"
    fix = (
        "Set KERAS_BACKEND to jax or tensorflow before Keras is imported, install one that knows the device "
        '(such as pip install "jax[cuda12]" or "tensorflow[and-cuda]"), or measure the processor: device="cpu"'
    )
    return f"looked for {wanted}; {'; '.join(words)}. {_driver()} {fix}"


def _driver() -> str:
    """Return what the driver's own tools tell."""
    gpus = [f"{gpu.name} (driver {gpu.driver or 'unknown'})" for gpu in describe().gpus]
    return f"The driver's own tools tell of {', '.join(gpus) or 'no GPU'}."


def one_line(error: BaseException) -> str:
    """Return an error's kind and message in one line of at most 200 characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]

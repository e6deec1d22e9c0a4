"""Layers that round while they train: made once Keras is there."""

from __future__ import annotations

from functools import cache
from typing import Any

from ..models import import_keras, import_tensorflow

BITS = 8
_MOMENTUM = 0.99  # an end moves outward at once, and back by a hundredth a batch


def fake_quantized(x: Any) -> Any:
    """Round what a layer gives out to the 256 values between the ends that were seen."""
    return _activation_layer()()(x)


@cache
def weighted_kinds() -> dict[str, type]:
    """Return, by the name of the plain layer, layers that round their kernel before use."""
    keras = import_keras()
    ops, layers = keras.ops, keras.layers

    class RoundedConv2D(layers.Conv2D):  # type: ignore[misc, name-defined]
        """A convolution with a scale for each filter."""

        def convolution_op(self, inputs: Any, kernel: Any) -> Any:
            return super().convolution_op(inputs, _by_channel(kernel))

    class RoundedDepthwiseConv2D(layers.DepthwiseConv2D):  # type: ignore[misc, name-defined]
        """A depthwise convolution with a scale for each channel."""

        def call(self, inputs: Any) -> Any:
            shape = self.kernel.shape
            flat = _by_channel(ops.reshape(self.kernel, (*shape[:2], 1, shape[2] * shape[3])))
            out = ops.depthwise_conv(
                inputs, ops.reshape(flat, shape),
                strides=self.strides, padding=self.padding, dilation_rate=self.dilation_rate,
            )  # fmt: skip
            return self.activation(out + self.bias if self.use_bias else out)

    class RoundedDense(layers.Dense):  # type: ignore[misc, name-defined]
        """A dense layer with one scale."""

        def call(self, inputs: Any, training: Any = None) -> Any:
            out = ops.matmul(inputs, _as_one(self.kernel))
            return self.activation(out + self.bias if self.bias is not None else out)

    return {"Conv2D": RoundedConv2D, "DepthwiseConv2D": RoundedDepthwiseConv2D, "Dense": RoundedDense}


@cache
def _activation_layer() -> type:
    """Make the class of the layer that rounds activations."""
    keras = import_keras()
    ops, fake = keras.ops, import_tensorflow().quantization.fake_quant_with_min_max_vars

    class Rounding(keras.layers.Layer):  # type: ignore[misc, name-defined]
        """Round to the 256 values between two ends, which follow what is seen in training."""

        def build(self, shape: Any) -> None:
            self.low = self._end("low")
            self.high = self._end("high")

        def _end(self, name: str) -> Any:
            return self.add_weight(shape=(), initializer="zeros", trainable=False, name=name)

        def call(self, x: Any, training: bool = False) -> Any:
            if training:
                low, high = ops.minimum(ops.min(x), 0.0), ops.maximum(ops.max(x), 1e-6)
                self.low.assign(ops.minimum(low, _MOMENTUM * self.low))
                self.high.assign(ops.maximum(high, _MOMENTUM * self.high))
            return fake(x, self.low, self.high, num_bits=BITS)

    return Rounding


def _by_channel(kernel: Any) -> Any:
    """Round a kernel with a scale for each of its last axis, as far below zero as above."""
    ops, tf = import_keras().ops, import_tensorflow()
    reach = ops.maximum(ops.max(ops.abs(kernel), axis=list(range(len(kernel.shape) - 1))), 1e-8)
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(
        kernel, -reach, reach, num_bits=BITS, narrow_range=True
    )


def _as_one(kernel: Any) -> Any:
    """Round a kernel with one scale, as far below zero as above."""
    ops, tf = import_keras().ops, import_tensorflow()
    reach = ops.maximum(ops.max(ops.abs(kernel)), 1e-8)
    return tf.quantization.fake_quant_with_min_max_vars(kernel, -reach, reach, num_bits=BITS, narrow_range=True)

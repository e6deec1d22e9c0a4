# %% [markdown]
# # Exercises 09: quantization
#
# Three exercises, 30 minutes. Write where it says "Your code here", run the cell, and read what the checks below say. They are plain code: look into them.

# %%
import numpy as np

from inferkit.course import check
from inferkit.datasets import split_digits
from inferkit.models import LiteRTModel, load_reference
from inferkit.optimize import fake_quantize, read_layers

_, X, _, y = split_digits()
X = X / np.float32(16)
digits = load_reference("digits-cnn")
print("right in 32 bits:", round((digits(X).argmax(axis=1) == y).mean(), 2))

# %% [markdown] tags=["core"]
# ## 1. The fewest bits
#
# Round an array of weights to `bits` bits, as numbers that stay real: symmetric (zero point 0, as many marks above as below), with a scale for each filter. Filters lie along the first axis.


# %%
def rounded(w, bits):
    rest = tuple(range(1, w.ndim))
    # >>> solution: the highest mark, a scale for each filter, and the nearest marks, as real numbers
    top = 2 ** (bits - 1) - 1
    scale = np.abs(w).max(axis=rest, keepdims=True) / top
    result = scale * np.round(w / scale)
    # <<< solution
    return result


some = np.random.default_rng(1).normal(size=(6, 3, 3, 2))
print(np.shape(rounded(some, 8)))

# %%
check(
    "two bits leave three numbers in each filter",
    lambda: [len(np.unique(one)) for one in rounded(some, 2)] == [3] * 6,
    hint="with 2 bits the highest mark is 1",
)
largest = np.abs(some).max(axis=(1, 2, 3))
check(
    "the largest weight of each filter stays",
    lambda: np.allclose(np.abs(rounded(some, 4)).max(axis=(1, 2, 3)), largest),
    hint="scale = largest of the filter / highest mark; keepdims=True",
)

# %%
by_library = {bits: fake_quantize(some, bits=bits, axis=0) for bits in range(2, 9)}
check(
    "as the library does it",
    lambda: all(np.allclose(rounded(some, b), by_library[b], atol=1e-6) for b in by_library),
    hint="scale * np.round(w / scale)",
)

# %% [markdown]
# Now put rounded weights into the file of the digit reader. Its weights stand in it as bytes, so exchanging bytes will do. How many bits does it need to get 95 of 100 digits right?


# %%
def in_bits(bits):
    content = digits.content
    for layer in read_layers(digits):
        if layer.weights:
            old = layer.weights.data
            # >>> solution: content, with the bytes of old replaced by those of the rounded weights (float32)
            content = content.replace(old.tobytes(), rounded(old, bits).astype("float32").tobytes())
            # <<< solution
    return LiteRTModel(content)


# %%
check(
    "each number of bits makes another file",
    lambda: len({in_bits(b).sha256 for b in range(2, 9)}) == 7,
    hint="bytes.replace returns new bytes; keep them",
)

# %%
# >>> solution: a dict, from bits (2 to 8) to the share of right answers; and the fewest bits
right = {bits: (in_bits(bits)(X).argmax(axis=1) == y).mean() for bits in range(2, 9)}
fewest = min(bits for bits, share in right.items() if share >= 0.95)
# <<< solution
print("fewest bits:", fewest)


def enough(bits):
    return (in_bits(bits)(X).argmax(axis=1) == y).mean() >= 0.95


# %%
check(
    "so many bits are enough, and one less is not",
    lambda: enough(fewest) and not enough(fewest - 1),
    hint="ask in_bits(bits)(X) for every number of bits",
)

# %% [markdown] tags=["solution"]
# The digit reader stands more rounding than one would think: many weights, each a little wrong, with both signs, and a large margin between the classes. Between the last bits that work and the first that do not lies a cliff: look at `right`.

# %% [markdown] tags=["stretch"]
# ## 2. A convolution in integers
#
# The int8 file of the digit reader begins with a convolution: 16 filters of 3 × 3. Compute it in integers, and hold it against the runtime. A picture's edge is padded with numbers that stand for 0.

# %%
import warnings

from ai_edge_litert.interpreter import Interpreter, OpResolverType

warnings.simplefilter("ignore", UserWarning)  # that keeping every tensor takes memory
small = load_reference("digits-cnn-int8")
layer = next(one for one in read_layers(small) if one.op == "CONV_2D")
plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
options = {"experimental_preserve_all_tensors": True, "experimental_op_resolver_type": plain}
runtime = Interpreter(model_content=small.content, **options)
runtime.allocate_tensors()

# %%
runtime.set_tensor(runtime.get_input_details()[0]["index"], X[:1])
runtime.invoke()
q_x = runtime.get_tensor(layer.inputs[0].index).reshape(8, 8)
q_y = runtime.get_tensor(layer.output.index)[0]  # 8 × 8 × 16
print(q_x.dtype, q_x.shape, "to", q_y.shape)

# %%
W, bias = layer.weights.data.reshape(16, 3, 3).astype(np.int32), layer.bias.data
(z_x,), (z_y,) = layer.inputs[0].zero_point.tolist(), layer.output.zero_point.tolist()
steps = layer.inputs[0].scale * layer.weights.scale / layer.output.scale
# >>> solution: q_x with a border of one, of the integer that stands for 0; as int32
padded = np.pad(q_x.astype(np.int32), 1, constant_values=z_x)
# <<< solution
# >>> solution: the integer sums of all 8 × 8 places and 16 filters, bias included: shape (8, 8, 16)
windows = np.lib.stride_tricks.sliding_window_view(padded - z_x, (3, 3))
sums = np.einsum("ijkl,fkl->ijf", windows, W) + bias
# <<< solution
# >>> solution: from sums to what the layer gives out: scaled, rounded, moved to its zero point, clipped (with ReLU)
ours = np.clip(np.round(steps * sums) + z_y, z_y, 127)
# <<< solution

# %%
check(
    "the border stands for 0",
    lambda: padded.shape == (10, 10) and set(padded[0]) == {z_x},
    hint="np.pad(..., 1, constant_values=...): which integer is 0?",
)
check(
    "sums of 32 bits",
    lambda: sums.shape == (8, 8, 16) and sums.dtype == np.int32,
    hint="take z_x away first; sliding_window_view and einsum, or three loops",
)

# %%
check(
    "within one step of the runtime everywhere",
    lambda: np.abs(ours - q_y.astype(int)).max() <= 1 and np.ptp(ours) > 50,
    hint="steps * sums, np.round, + z_y, np.clip(…, z_y, 127)",
)

# %% [markdown] tags=["solution"]
# Padding with the integer 0 is a favourite mistake: where the zero point is −128, it draws a grey frame around each picture. And the ReLU costs nothing: the lowest mark of the output is 0 anyway.

# %% [markdown] tags=["diagnose"]
# ## 3. The device adds wrongly
#
# A device computes the last layer of a network. Weights, inputs and biases are right: they were compared byte by byte. What it gives out is right for most pictures, and absurd for some. `told` are its sums before scaling, for 200 pictures and 10 classes.

# %% tags=["hide-input"]
rng = np.random.default_rng(9)
weights = rng.integers(-127, 128, (10, 40))
inputs = np.clip(rng.exponential(22, (200, 40)).astype(int), 0, 255)
exact = inputs @ weights.T
told = exact.astype(np.int16).astype(int)
del exact

# %%
print("inputs", inputs.shape, "weights", weights.shape)
print("the first picture's sums, as the device tells them:", told[0].tolist())

# %%
# >>> solution: the sums as they should be, and which of the device's differ from them: (200, 10), True or False
right_sums = inputs @ weights.T
wrong = told != right_sums
# <<< solution
check(
    "which sums are wrong",
    lambda: np.array_equal(wrong, told != inputs @ weights.T),
    hint="inputs @ weights.T",
)

# %%
# >>> solution: by how much are the wrong ones off? all values that occur
off_by = np.unique((told - right_sums)[wrong])
# <<< solution
# >>> solution: "rounded too early", "saturated", "too few bits for the sum" or "zero point forgotten"
suspicion = "too few bits for the sum"
# <<< solution
print("off by:", off_by)

# %%
check(
    "by how much they are off",
    lambda: set(np.ravel(off_by)) == {-65536, 65536},
    hint="(told - right_sums)[wrong]",
)
check(
    "what happened",
    lambda: suspicion == "too few bits for the sum",
    hint="2 to the 16th is 65,536",
)

# %% [markdown]
# How many bits does a sum of these 40 products need, whatever the inputs (0 to 255) and weights (−127 to 127) are? A signed integer of b bits reaches from $-2^{b-1}$ to $2^{b-1}-1$.

# %%
# >>> solution: the least number of bits that holds the largest sum
needed = next(b for b in range(8, 64) if 2 ** (b - 1) > 40 * 255 * 127)
# <<< solution
print("bits needed:", needed)
check(
    "bits that are always enough, and not one more",
    lambda: 2 ** (needed - 2) - 1 < 40 * 255 * 127 <= 2 ** (needed - 1) - 1,
    hint="40 · 255 · 127 in the worst case",
)

# %% [markdown] tags=["solution"]
# The sums ran over: what is beyond 32,767 comes back from the other end, off by exactly 65,536. Saturating would have been kinder: then the largest class would have stayed the largest. A test with a few quiet pictures passes; so test with the worst case, and not with the usual one.

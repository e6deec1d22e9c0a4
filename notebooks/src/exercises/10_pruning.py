# %% [markdown]
# # Exercises 10: pruning
#
# Three exercises, 30 minutes. Write where it says "Your code here", run the cell, and read what the checks below say. They are plain code: look into them.

# %%
import gzip

import numpy as np

from inferkit.course import check
from inferkit.datasets import load_signs
from inferkit.models import LiteRTModel, load_reference
from inferkit.optimize import read_layers

signs, dense = load_signs(), load_reference("signs-cnn")
X, y = signs.images / np.float32(255), signs.target
weights = [layer.weights.data for layer in read_layers(dense) if layer.weights is not None]

# %% [markdown] tags=["core"]
# ## 1. A format that leaves zeros out
#
# Write a kernel as a **bitmap** and the numbers that are not zero: one bit for every place (1 where a number stands), then these numbers in order, as float32. And read it back. `np.packbits` and `np.unpackbits` turn bits into bytes and bytes into bits.


# %%
def pack(w):
    # >>> solution: the bitmap as bytes, followed by the numbers that are not zero as bytes
    w = np.asarray(w, np.float32)
    packed = np.packbits(w.ravel() != 0).tobytes() + w[w != 0].tobytes()
    # <<< solution
    return packed


def unpack(packed, shape):
    # >>> solution: a float32 array of this shape, made of what `pack` wrote
    n = int(np.prod(shape))
    n_bytes = (n + 7) // 8
    stands = np.unpackbits(np.frombuffer(packed[:n_bytes], np.uint8))[:n].astype(bool)
    w = np.zeros(n, np.float32)
    w[stands] = np.frombuffer(packed[n_bytes:], np.float32)
    w = w.reshape(shape)
    # <<< solution
    return w


# %%
few = np.array([[0, 1.5, 0], [0, 0, -2]], np.float32)
check(
    "six places and two numbers are nine bytes",
    lambda: len(pack(few)) == 1 + 2 * 4,
    hint="six bits fill one byte",
)
check(
    "they come back",
    lambda: np.array_equal(unpack(pack(few), few.shape), few),
    hint="unpackbits gives eight bits for a byte: cut off what is too much",
)

# %%
check(
    "so does each kernel of the network",
    lambda: all(np.array_equal(unpack(pack(w), w.shape), w) for w in weights),
    hint="frombuffer(..., np.float32) begins after the bitmap",
)

# %% [markdown]
# Now cut: set the smallest weights of the largest kernel to zero. From which whole percentage of zeros on is your format smaller than the same kernel in int8, one byte a weight?


# %%
def to_zero(w, share):
    pruned, order = w.copy(), np.argsort(np.abs(w), axis=None, kind="stable")
    pruned.flat[order[: round(share * w.size)]] = 0
    return pruned


largest = max(weights, key=np.size)
# >>> solution: the smallest whole percentage for which len(pack(...)) is below largest.size
percent = next(p for p in range(100) if len(pack(to_zero(largest, p / 100))) < largest.size)
# <<< solution
print("smaller than int8 from", percent, "% zeros on")
check(
    "the break-even with int8",
    lambda: percent == 79,
    hint="1 + 32 (1 - s) bits against 8",
)

# %% [markdown] tags=["solution"]
# The formula says 78.1 %, and whole percentages make it 79. Packed as tightly as that, nobody can multiply it: a product needs the numbers where they belong, so they are unpacked first, and the time is that of a dense product again, and of the unpacking.

# %% [markdown] tags=["stretch"]
# ## 2. One threshold for all
#
# The lesson took the same share from each kernel. But a weight of 0.02 may be small in one kernel and large in the next. Take instead one **threshold** for all kernels, so that in all the same number of weights goes. Which cut leaves more answers right, with no training?


# %%
def written(new):  # a network with these weights
    content = dense.content
    for w, w_new in zip(weights, new):
        content = content.replace(w.tobytes(), w_new.astype(np.float32).tobytes())
    return LiteRTModel(content)


def right(model):  # in parts: a model keeps the memory of its largest batch
    answers = [model(X[i : i + 96]) for i in range(0, len(X), 96)]
    return float((np.concatenate(answers).argmax(axis=1) == y).mean())


def cut_each(share):
    return [to_zero(w, share) for w in weights]


# %%
def cut_all(share):
    # >>> solution: the weights, with zero where the magnitude is below one threshold, that share of all
    magnitudes = np.sort(np.concatenate([np.abs(w).ravel() for w in weights]))
    threshold = magnitudes[round(share * len(magnitudes))]
    cut = [np.where(np.abs(w) < threshold, 0, w) for w in weights]
    # <<< solution
    return cut


# %%
def zeros(cut):
    return sum(int((w == 0).sum()) for w in cut) / sum(w.size for w in cut)


check(
    "seven in ten weights are zero, in all",
    lambda: abs(zeros(cut_all(0.7)) - 0.7) < 0.001,
    hint="sort the magnitudes of all weights together; which stands at seven tenths?",
)

# %%
check(
    "the kernels differ in their share of zeros",
    lambda: np.ptp([float((w == 0).mean()) for w in cut_all(0.7)]) > 0.3,
    hint="one threshold, and not one for each kernel",
)
check(
    "what is not zero is as it was",
    lambda: all(np.array_equal(w[c != 0], c[c != 0]) for w, c in zip(weights, cut_all(0.7))),
    hint="np.where(np.abs(w) < threshold, 0, w)",
)

# %%
# >>> solution: the share of right answers at 60 % zeros, cut by kernel and with one threshold
by_kernel, by_threshold = right(written(cut_each(0.6))), right(written(cut_all(0.6)))
# <<< solution
print("right at 60 % zeros, by kernel and by one threshold:", by_kernel, by_threshold)
check(
    "one threshold leaves more right",
    lambda: by_threshold > by_kernel + 0.05,
    hint="written(cut_all(0.6)) is a network; right() asks it",
)

# %% [markdown] tags=["solution"]
# The first and the last layer are small, and each of their weights is used often: one threshold spares them, and takes more from the large kernels in the middle. So the share of zeros alone says little about a pruned network. Where they are says more.

# %% [markdown] tags=["diagnose"]
# ## 3. A file that gzip cannot shrink
#
# A colleague has pruned the network to 50 % zeros, and sends the file. "It reads as well as yours. But gzip makes it no smaller than the dense one. Is my gzip broken?"

# %% tags=["hide-input"]
rng = np.random.default_rng(10)
cut = cut_each(0.5)
sent = written([np.where(c == 0, rng.normal(0, 1e-7, c.shape), c) for c in cut])

# %%
for name, model in {"dense": dense, "by the lesson": written(cut), "sent": sent}.items():
    size = len(gzip.compress(model.content, 9))
    print(f"{name}: {size / 1000:.1f} kB after gzip, {right(model):.1%} right")
received = [layer.weights.data for layer in read_layers(sent) if layer.weights is not None]

# %%
# >>> solution: the share of weights that are zero, and of those whose magnitude is below 1e-5
share_zero = zeros(received)
share_tiny = np.mean(np.abs(np.concatenate([w.ravel() for w in received])) < 1e-5)
# <<< solution
check("how many are zero", lambda: share_zero < 0.01, hint="zeros(received)")
check(
    "how many are below 0.00001",
    lambda: abs(share_tiny - 0.5) < 0.01,
    hint="np.concatenate([w.ravel() for w in received]), np.abs, a mean",
)

# %%
# >>> solution: "gzip is broken", "nothing was pruned", "nearly zero is not zero" or "the large ones went"
suspicion = "nearly zero is not zero"
# <<< solution
check(
    "what happened",
    lambda: suspicion == "nearly zero is not zero",
    hint="half of them are tiny, and none is zero",
)

# %% [markdown]
# Repair it, from `sent` alone: `repaired` is a network whose file gzip can shrink, and that answers as `sent` does.

# %%
# >>> solution: write zero over whatever is below 1e-5 in `received`, into the content of `sent`
content = sent.content
for w in received:
    content = content.replace(
        w.tobytes(), np.where(np.abs(w) < 1e-5, 0, w).astype(np.float32).tobytes()
    )
repaired = LiteRTModel(content)
# <<< solution

# %%
check(
    "gzip shrinks it to less than two thirds",
    lambda: len(gzip.compress(repaired.content, 9)) < len(gzip.compress(sent.content, 9)) * 2 / 3,
    hint="content.replace(w.tobytes(), ...), for each kernel of received",
)
check(
    "the answers are those of the file that was sent",
    lambda: np.allclose(repaired(X[:96]), sent(X[:96]), atol=1e-4),
    hint="only what is below 0.00001 may change",
)

# %% [markdown] tags=["solution"]
# The mask was multiplied before the last step of the optimizer, not after it, so the last step moved every zero a little. No accuracy can show it. A picture of the weights does not show it either: at 0 stands a tall bar. Count what is exactly zero.

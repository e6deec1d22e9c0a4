# %% [markdown]
# # Exercises 11: hardware acceleration
#
# Three exercises, 30 minutes. Write where it says "Your code here", run the cell, and read what the checks below say. They are plain code: look into them.

# %%
import numpy as np

from inferkit.course import check
from inferkit.models import load_reference
from inferkit.optimize import read_layers

dense = next(layer for layer in read_layers(load_reference("signs-cnn")) if "FULLY" in layer.op)

# %% [markdown] tags=["core"]
# ## 1. From which batch on?
#
# A dense layer takes k numbers and gives n. For m rows at once: two operations for each of m · k · n products. Bytes: the rows that come in (m · k numbers), those that go out (m · n) and the weights (k · n), once. Leave the biases out. How many operations a byte?


# %%
def intensity(m, k, n, n_bytes=4):
    # >>> solution: operations a byte of a dense layer, with n_bytes for each number
    ratio = 2 * m * k * n / (n_bytes * (m * k + m * n + k * n))
    # <<< solution
    return ratio


# %%
check(
    "one row of 192 numbers, 24 come out: about a half",
    lambda: abs(intensity(1, 192, 24) - 0.478) < 0.001,
    hint="2 · 192 · 24 operations; 4 · (192 + 24 + 192 · 24) bytes",
)
check(
    "a quarter of the bytes, four times the intensity",
    lambda: intensity(7, 30, 50, 1) == 4 * intensity(7, 30, 50, 4),
    hint="n_bytes counts for rows and weights alike",
)

# %%
check(
    "the operations are the library's",
    lambda: np.isclose(
        intensity(1, *dense.weights.shape) * 4 * (192 + 24 + 192 * 24), 2 * dense.macs
    ),
    hint="a product and a sum are two operations",
)

# %% [markdown]
# The ridge of a machine lies at some operations a byte: below it a layer waits for bytes. Which is the smallest batch that is not below? None if no batch is.


# %%
def first_batch(ridge, k, n, n_bytes=4):
    # >>> solution: the smallest whole m with intensity(m, k, n, n_bytes) at least ridge, or None
    most = 2 * k * n / (n_bytes * (k + n))  # where it goes for ever larger batches
    m = None if most <= ridge else 1
    while m is not None and intensity(m, k, n, n_bytes) < ridge:
        m += 1
    # <<< solution
    return m


# %%
check(
    "1,024 to 1,024, ridge 5: 11 rows",
    lambda: first_batch(5, 1024, 1024) == 11,
    hint="try m = 1, 2, 3, ... until intensity(m, ...) reaches the ridge",
)
check(
    "in int8: 3 rows",
    lambda: first_batch(5, 1024, 1024, 1) == 3,
    hint="pass n_bytes on",
)

# %%
check(
    "24 to 12: no batch is enough",
    lambda: first_batch(5, 24, 12) is None and first_batch(5, 1024, 1024) is not None,
    hint="for ever more rows it goes to 2 k n / (n_bytes (k + n)): here 4",
)

# %% [markdown] tags=["solution"]
# A language model that writes for one person has m = 1 and waits for memory at every word. Eleven people at once cost hardly more time than one. That is why such services wait a moment and batch; and why a small layer never gets there: its rows weigh as much as its weights.

# %% [markdown] tags=["stretch"]
# ## 2. A matrix larger than the array
#
# A systolic array of n × n cells holds n × n weights. A larger matrix is cut into **tiles**: for each tile all rows of A pass once, and what comes out is added up. A tile of m rows takes m + 2n − 2 ticks; tiles at the edge are filled up with zeros. Count the ticks of all tiles, one after another.


# %%
def tiled(A, W, n):
    (m, k), width = A.shape, W.shape[1]
    down, across = -(-k // n), -(-width // n)  # how many tiles, rounded up
    # >>> solution: the product A @ W, added up tile by tile (out), and the ticks (ticks)
    A_full, W_full = np.zeros((m, down * n)), np.zeros((down * n, across * n))
    A_full[:, :k], W_full[:k, :width] = A, W
    out, ticks = np.zeros((m, across * n)), 0
    for i in range(0, down * n, n):
        for j in range(0, across * n, n):
            out[:, j : j + n] += A_full[:, i : i + n] @ W_full[i : i + n, j : j + n]
            ticks += m + 2 * n - 2
    out = out[:, :width]
    # <<< solution
    return out, ticks


# %%
rng = np.random.default_rng(11)
A, W = rng.integers(-9, 10, (10, 50)), rng.integers(-9, 10, (50, 30))
check(
    "the product is right, whatever the array",
    lambda: all(np.array_equal(tiled(A, W, n)[0], A @ W) for n in (1, 7, 16, 64)),
    hint="cut the columns of A and the rows of W in the same places; add up over them",
)
check(
    "four times two tiles of 16, 10 + 30 ticks each",
    lambda: tiled(A, W, 16)[1] == 8 * 40,
    hint="50 numbers are four tiles of 16, and 30 are two",
)

# %% [markdown]
# Of all the products that the cells could do in that time, how many did they do, zeros at the edges not counted? For 200 rows of 96 numbers and 96 × 96 weights: which of the sides 16, 32, 96 and 128 uses its cells best?


# %%
def used(m, k, width, n):
    _, ticks = tiled(np.zeros((m, k)), np.zeros((k, width)), n)
    # >>> solution: products needed, divided by cells times ticks
    share = m * k * width / (n * n * ticks)
    # <<< solution
    return share


# >>> solution: one of 16, 32, 96, 128
best = max((16, 32, 96, 128), key=lambda n: used(200, 96, 96, n))
# <<< solution

# %%
check(
    "one tile, no edge: m / (m + 2n - 2)",
    lambda: np.isclose(used(200, 96, 96, 96), 200 / 390),
    hint="m · k · width products; n · n cells in each tick",
)
check(
    "the best of the four",
    lambda: best == 16,
    hint="max(..., key=lambda n: used(200, 96, 96, n))",
)

# %%
check(
    "but it takes most ticks",
    lambda: tiled(np.zeros((200, 96)), np.zeros((96, 96)), best)[1] == 36 * 230,
    hint="36 tiles, 200 + 30 ticks each",
)

# %% [markdown] tags=["solution"]
# The small array is busy and slow; the large one is quick and idle. A share of use says nothing about time. The real TPU fills the next tile's weights in while rows still pass, so 2n − 2 is paid once and not for each tile.

# %% [markdown] tags=["diagnose"]
# ## 3. Points above the roof
#
# Three colleagues have drawn rooflines of one machine: on one core 100 GFLOP/s; 20 GB/s from memory, 130 GB/s from its first cache of 32 kB. Each has a point above the roof. That cannot be. What did each do?

# %%
PEAK, MEMORY, CACHE = 100, 20, 130  # GFLOP/s, GB/s, GB/s
reports = {  # multiplications, operations and bytes as counted, µs, threads while it was timed
    "ash": {"macs": 268_435_456, "operations": 1_073_741_824, "bytes": 6_291_456, "us": 6200},
    "beech": {"macs": 268_435_456, "operations": 536_870_912, "bytes": 6_291_456, "us": 3000},
    "cherry": {"macs": 4608, "operations": 9216, "bytes": 19_392, "us": 0.5},
}
for name, threads in zip(reports, (1, 2, 1)):
    reports[name]["threads"] = threads
    print(name, reports[name])


# %%
def above(report):  # times above the roof, as the colleague drew it
    # >>> solution: what is reached in GFLOP/s, divided by min(PEAK, operations a byte · MEMORY)
    reached = report["operations"] / report["us"] / 1000
    times = reached / min(PEAK, report["operations"] / report["bytes"] * MEMORY)
    # <<< solution
    return times


# %%
check(
    "all three are above the roof",
    lambda: min(above(report) for report in reports.values()) > 1,
    hint="operations / µs / 1000 are GFLOP/s",
)
check(
    "the first 1.73 times",
    lambda: abs(above(reports["ash"]) - 1.732) < 0.001,
    hint="171 operations a byte: the peak is the roof there",
)

# %%
# >>> solution: for each "operations counted twice", "two threads, one core's roof" or "cache, roof of memory"
suspicion = {
    "ash": "operations counted twice",
    "beech": "two threads, one core's roof",
    "cherry": "cache, roof of memory",
}
# <<< solution

# %%
named = suspicion if isinstance(suspicion, dict) else {}
check(
    "the mistake of ash",
    lambda: named["ash"] == "operations counted twice",
    hint="operations, compared with multiplications",
)
check(
    "the mistake of beech",
    lambda: named["beech"] == "two threads, one core's roof",
    hint="for how many cores is the peak?",
)

# %%
check(
    "the mistake of cherry",
    lambda: named["cherry"] == "cache, roof of memory",
    hint="how many bytes are there to fetch, and where are they?",
)

# %% [markdown]
# Repair it: the share of the right roof that each reaches.

# %%
# >>> solution: a dict by name; two operations a multiplication, a roof for the threads, the right bytes a second
right = {"ash": (PEAK, MEMORY), "beech": (2 * PEAK, 2 * MEMORY), "cherry": (PEAK, CACHE)}
shares = {}
for name, (peak, speed) in right.items():
    work = 2 * reports[name]["macs"]
    roof = min(peak, work / reports[name]["bytes"] * speed)
    shares[name] = work / reports[name]["us"] / 1000 / roof
# <<< solution

# %%
check(
    "ash reaches 87 %",
    lambda: abs(shares["ash"] - 0.866) < 0.001,
    hint="2 · macs / µs / 1000, of the peak",
)
check(
    "beech reaches 89 %",
    lambda: abs(shares["beech"] - 0.895) < 0.001,
    hint="two cores have twice the peak",
)

# %%
check(
    "cherry reaches 30 %",
    lambda: abs(shares["cherry"] - 0.298) < 0.001,
    hint="operations a byte, times the speed of the cache",
)

# %% [markdown] tags=["solution"]
# A point above a roof is a gift: something was counted wrongly, and one can see it. The same mistakes below the roof look like fine results. So count what you can count in two ways, and write down threads, types and where the bytes were.

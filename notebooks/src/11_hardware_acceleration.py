# %% [markdown] tags=["slide", "title"]
# # Hardware acceleration
#
# **What is the fastest that this machine could answer, and what holds it back?**

# %%
import numpy as np
from threadpoolctl import threadpool_limits

one_core = threadpool_limits(1)  # NumPy keeps to one core, until we say otherwise


def by_loop(A, B):
    columns = list(zip(*B))
    return [[sum(a * b for a, b in zip(row, column)) for column in columns] for row in A]


rng = np.random.default_rng(11)
A, B = rng.random((2, 128, 128))
same = np.allclose(by_loop(A.tolist(), B.tolist()), A @ B)
print(f"{128**3:,} multiplications, as many additions; loop and NumPy agree: {same}")

# %% tags=["skip"]
from time import perf_counter

from inferkit.models import LiteRTModel
from inferkit.roofline import litert_matmul, measure_peaks


def in_turns(work, rounds=15, take=np.median):  # µs of each
    taken = {name: [] for name in work}
    for _ in range(rounds):
        for name, call in work.items():
            call()  # brings its numbers back into the caches
            start = perf_counter()
            call()
            taken[name].append(1e6 * (perf_counter() - start))
    return {name: float(take(us)) for name, us in taken.items()}


# %% tags=["skip"]
import matplotlib.pyplot as plt

from inferkit.plots import COLOURS, show, slide_size, use_style

NEAR = {"textcoords": "offset points", "size": 14}
BOX = {"facecolor": "white", "edgecolor": "none", "pad": 1}


# %% tags=["skip"]
def opening_figure(rates, roofs):
    fig, ax = plt.subplots(figsize=slide_size(height=0.72))
    ax.barh(list(rates), list(rates.values()), 0.6, color=COLOURS["blue"])
    for place, rate in enumerate(rates.values()):
        ax.annotate(f"{rate:,.3g}", (rate, place), (8, -6), **NEAR, bbox=BOX, zorder=3)
    for name, rate in roofs.items():
        ax.axvline(rate, color=COLOURS["orange"], ls="--")
        ax.annotate(name, (rate, -0.75), (4, 0), **NEAR)
    ax.set(xscale="log", xlabel="operations a second, billions", ylim=(3.5, -1))
    return fig


# %% tags=["skip"]
use_style()
peaks = measure_peaks(progress=False)  # what this core can at most; later we find it by hand
a, b = A.astype(np.float32), B.astype(np.float32)
rows, columns = A.tolist(), B.tolist()
whole = LiteRTModel(litert_matmul(128, 128, 128, "int8").content, dequantize=False)
bytes_of_a = np.round(100 * A).astype(np.int8)
products = {
    "Python loop": lambda: by_loop(rows, columns),
    "NumPy, float64": lambda: A @ B,
    "NumPy, float32": lambda: a @ b,
    "LiteRT, int8": lambda: whole(bytes_of_a),
}

# %% tags=["measured", "subslide"]
rates = {name: 2 * 128**3 / us / 1000 for name, us in in_turns(products, rounds=3).items()}
roofs = {"peak": peaks.gflops("float32"), "peak, int8": peaks.gflops("int8")}
fig = opening_figure(rates, roofs)
fig.axes[0].set_title("One product, one core, four ways")
show(fig, alt="A Python loop does a thousandth of what the same core does in float32 and int8.")

# %%
print("float32 is over 100 times the loop:", rates["NumPy, float32"] > 100 * rates["Python loop"])

# %% [markdown] tags=["skip"]
# One core, one product, and a factor of thousands between the first bar and the last. Nothing was bought in between. The dashed lines are this core's **peaks**: what it can do at most, measured a moment ago. How near to them
# does a network come? What stands in its way? And when does other hardware (a GPU, a TPU, an FPGA) help?

# %% [markdown] tags=["notes"]
# Two minutes. Cover the axis and ask for the factor between top and bottom. Then ask who would have bought a GPU first. An addition and a multiplication count as two operations, as in every data sheet.

# %% [markdown] tags=["slide", "objectives"]
# ## You will be able to
#
# - count the operations and the bytes of a layer, and say which of them holds it back;
# - draw the roofline of a machine, and place a network on it;
# - predict what more threads can win, and check it;
# - compute from which batch on a GPU pays, its transfers included;
# - say what a TPU and an FPGA do differently, in cycles.
#
# 30 minutes to teach, 30 minutes to practise.
#
# **Needs** lesson 03: medians, measuring in turns. Lessons 07 and 09 help: batches, int8.

# %% [markdown] tags=["slide", "predict"]
# ## What do you expect?
#
# LiteRT runs the network that reads signs: float32, one core, one picture at a time. Experts wrote its loops.

# %%
from inferkit import course

share = course.guess(
    "What share of this core's peak does the network reach?", low=1, high=100, unit="%", log=False
)
share

# %% [markdown] tags=["notes"]
# One minute. Let the room vote: 90, 50, 10, 1? Who says 100 has never measured; who says 1 has never used LiteRT. Write the spread on the board.

# %% [markdown] tags=["slide", "by-hand"]
# ## By hand: the work of a layer
#
# A layer computes, and it fetches: the numbers that come in, its weights, and it writes what comes out. Each number that comes out is a sum of products: two operations for each weight of its filter.

# %%
from inferkit.datasets import load_signs
from inferkit.models import load_reference
from inferkit.optimize import read_layers

signs, network = load_signs(), load_reference("signs-cnn")
X, y = signs.images / np.float32(255), signs.target
layers = [layer for layer in read_layers(network) if layer.weights]


def work_of(layer, n=1):  # operations and bytes for n pictures
    operations = 2 * n * layer.output.size * layer.weights.size // len(layer.weights.data)
    through = n * (layer.inputs[0].size + layer.output.size)
    return operations, 4 * (through + layer.weights.size + layer.bias.size)


# %% tags=["skip"]
from IPython.display import Markdown


def in_rows(heads, lines):
    table = [heads, ["---"] * len(heads), *lines]
    return Markdown("\n".join("| " + " | ".join(map(str, line)) + " |" for line in table))


# %% tags=["subslide"]
lines = []
for layer in layers:
    (ops, moved), (ops_64, moved_64) = work_of(layer), work_of(layer, 64)
    shape, each = "×".join(map(str, layer.weights.shape)), ops / moved
    lines.append([shape, f"{ops:,}", f"{moved:,}", f"{each:.1f}", f"{ops_64 / moved_64:.1f}"])
in_rows(["weights", "operations", "bytes", "operations a byte", "64 pictures at once"], lines)

# %%
same = [work_of(layer)[0] == 2 * layer.macs for layer in layers]
print("the library counts the same:", same)

# %% [markdown] tags=["skip"]
# Operations a byte: the **arithmetic intensity**. A dense layer uses each weight once for a picture: two operations for four bytes, so 0.5, whatever its size. With 64 pictures at once it uses each weight 64 times. A convolution uses
# its weights again at every place of one picture; that is why its numbers are larger from the start.

# %% [markdown] tags=["notes"]
# Four minutes. Do one row on the board: 24 × 192 weights, 9,216 operations, some 19,000 bytes. Where do the bytes come from: from a cache or from memory? The table does not say; the next slides do.

# %% [markdown] tags=["slide"]
# ## By hand: how fast do bytes come?
#
# Read arrays of rising size, again and again. A dot product reads two arrays and writes one number. Small arrays stay in a **cache** from one reading to the next.


# %%
def reading(n_bytes):  # GB/s
    times = max(1, 2**23 // n_bytes)
    one, other = (np.ones(n_bytes // 8, np.float32) for _ in range(2))
    again = [np.broadcast_to(a, (times, a.size)) for a in (one, other)]  # no copies
    us = in_turns({"read": lambda: np.vecdot(*again)}, take=min)["read"]
    return times * n_bytes / us / 1000


# %% tags=["skip"]
def stairs_figure(sizes, speeds, caches):
    fig, ax = plt.subplots(figsize=slide_size(height=0.62))
    ax.plot(sizes, speeds, "o-")
    for name, size in caches.items():
        ax.axvline(size, color="0.5", ls=":")
        at = (size, 1.08 * max(speeds))
        ax.annotate(f"{name} ends", at, (-6, 0), textcoords="offset points", ha="right", size=12)
    ax.set(xlabel="bytes in use", ylabel="GB a second", ylim=(0, 1.2 * max(speeds)))
    ax.set_xscale("log", base=2)
    ticks = {2**15: "32 kB", 2**18: "256 kB", 2**21: "2 MB", 2**24: "16 MB", 2**27: "128 MB"}
    ax.set_xticks(list(ticks), list(ticks.values()))
    return fig


# %% tags=["measured", "subslide"]
from inferkit import devices

machine = devices.describe()
sizes = [2**k for k in range(14, 29)]
speeds = [reading(size) for size in sizes]
caches = {name: size for name, size in machine.caches.items() if name != "L1i"}
fig = stairs_figure(sizes, speeds, caches)
fig.axes[0].set_title("Stairs: each cache that is full costs speed")
show(fig, alt="Small arrays are read fast; past the last cache the speed falls to a fraction.")

# %%
print("in the caches over twice as fast as in memory:", max(speeds[:7]) > 2 * speeds[-1])

# %% [markdown] tags=["notes"]
# Four minutes. Ask before it runs: what will the picture look like? (Many say: a line.) If a virtual machine hides its caches, the dotted lines are missing; the stairs are not.

# %% [markdown] tags=["subslide"]
# And operations? The best case: a large product of matrices, the fastest of many calls.

# %%
squares = {d: rng.random((512, 512)).astype(d) for d in ("float64", "float32")}
times = in_turns({d: lambda s=s: s @ s for d, s in squares.items()}, rounds=40, take=min)
rates_of = {d: 2 * 512**3 / us / 1000 for d, us in times.items()}

# %% tags=["measured", "fragment"]
print("by hand, billion operations a second:", {d: round(r) for d, r in rates_of.items()})
peaks

# %%
found = [rate.value for rate in peaks.rates if rate.what == "float32"]
print("of two programs' float32 the faster is the peak:", peaks.gflops("float32") == max(found))

# %% [markdown] tags=["skip"]
# The library measures as we did, in turns, and asks LiteRT too. The larger of two peaks counts: a peak is what somebody's code has reached here, not what a brochure says.

# %% [markdown] tags=["slide"]
# ## By hand: two walls
#
# A layer can not be faster than its operations at the peak, nor than its bytes at the speed of memory. The lower wall counts: the **roofline** (Williams, Waterman and Patterson, 2009).


# %%
def roof(intensity, peak, bytes_per_s):
    return np.minimum(peak, intensity * bytes_per_s)


peak, memory = peaks.gflops("float32"), peaks.gb_per_s("DRAM")
tried = np.geomspace(0.1, 1000, 9)
same = np.allclose(roof(tried, peak, memory), [peaks.roof(i) for i in tried])
print("by hand as by library:", same)

# %% tags=["measured", "fragment"]
ridge = peak / memory
print(f"from {ridge:.1f} operations a byte on, operations are the limit; below, memory is")
dense_layer = work_of(layers[-2])[0] / work_of(layers[-2])[1]
print(
    f"a dense layer has {dense_layer:.2f}: {roof(dense_layer, peak, memory) / peak:.0%} of the peak"
)

# %%
ops_64, moved_64 = work_of(layers[-2], 64)
print("64 pictures: over ten times the operations a byte:", ops_64 / moved_64 > 10 * dense_layer)

# %% [markdown] tags=["notes"]
# Three minutes. Draw it: a slope and a ceiling. Where they meet is the **ridge**. Left of it more operations are free; right of it more bytes are. Ask where batches move a dense layer. (To the right, until it meets the ceiling.)

# %% [markdown] tags=["slide", "measure"]
# ## Measure: every layer under the roof
#
# LiteRT does not tell what a layer takes. So the library cuts each out of the file, makes it a model of its own, and times them in turns: with one picture, and with 64.

# %%
from inferkit.roofline import roofline

one = roofline(network, X[:1], peaks=peaks, max_seconds=5, progress=False)
many = roofline(network, X[:64], peaks=peaks, n=60, max_seconds=5, progress=False)
found = [layer for layer in one.layers if layer.macs]
counted = [work_of(layer) for layer in layers]
same = [(one.operations, one.n_bytes) for one in found] == counted
print("operations and bytes, by hand and by library the same:", same)

# %% tags=["measured", "subslide"]
rows_of = [
    [a.name, f"{a.time_us:.1f}", f"{a.gflops:.0f}", f"{b.gflops:.0f}", a.level, f"{a.share:.0%}"]
    for a, b in zip(found, [layer for layer in many.layers if layer.macs])
]
heads = ["layer", "µs", "GFLOP/s", "with 64 pictures", "its bytes fit into", "of its roof"]
print(f"the whole: {one.whole_us:.0f} µs; layers alone, together: {one.sum_us:.0f} µs")
in_rows(heads, rows_of)

# %%
convolutions, dense_ones = found[:4], found[4:]
slow, quick = dense_ones[-1].gflops, max(layer.gflops for layer in convolutions)
print("the quickest convolution does over twice the last layer's operations:", quick > 2 * slow)
apart = one.sum_us / one.whole_us
print("layers alone and the whole agree within a factor of four:", 0.25 < apart < 4)

# %% tags=["measured", "subslide"]
reached = 100 * one.peak_share
share.beside(reached)

# %%
by_hand = 100 * one.operations / one.whole_us / 1000 / peak
print("by hand as by library:", abs(reached / by_hand - 1) < 1e-6)

# %% [markdown] tags=["notes"]
# Four minutes. Which layer would you speed up first? (The one with the most microseconds, whatever its share.) A call that does nothing takes a part of a microsecond; of a small dense layer that is most of its time, and its roof has no part in it.

# %% [markdown] tags=["slide", "figure"]
# ## The roofline of this machine


# %% tags=["skip"]
def draw_slopes(ax, peaks, x):
    top = peaks.gflops("float32")
    for k, level in enumerate(peaks.levels):
        roof = [peaks.roof(i, "float32", level) for i in x]
        ax.plot(x, roof, color=str(0.7 - 0.15 * k), lw=2)
        y = (0.55, 0.3)[k % 2] * top  # where its name stands
        ax.annotate(level, (y / peaks.gb_per_s(level), y), (0, 0), **NEAR, ha="center", bbox=BOX)


# %% tags=["skip"]
def draw_peaks(ax, peaks, x):
    for dtype, dashes in (("float32", "-"), ("int8", "--")):
        top = peaks.gflops(dtype)
        ax.plot(x, [top] * len(x), dashes, color=COLOURS["orange"], lw=2)
        ax.annotate(f"peak, {dtype}", (x[0], top), (8, 6), **NEAR, color=COLOURS["orange"])


# %% tags=["skip"]
NAMES = {"FULLY_CONNECTED": "dense", "SOFTMAX": "softmax", "MAX_POOL_2D": "pooling"}


def draw_layers(ax, roofs, colour, hollow):
    points = [layer for layer in roofs.layers if layer.operations]
    x, y = [p.intensity for p in points], [p.gflops for p in points]
    inside = "white" if hollow else colour
    ax.plot(x, y, "o", color=colour, mfc=inside, mew=2.5, ms=11)
    last = {p.op: p for p in points if p.op in NAMES}  # one of each kind has its name
    for op, p in last.items() if hollow else ():
        ax.annotate(NAMES[op], (p.intensity, p.gflops), (11, -5), **NEAR, color=colour)


# %% tags=["skip"]
def draw_whole(ax, one, guessed):
    top, x = one.peaks.gflops("float32"), one.operations / sum(p.n_bytes for p in one.layers)
    marks = {"the network": (one.peak_share * top, "D", "black")}
    marks |= {} if guessed is None else {"your guess": (guessed / 100 * top, "*", "pink")}
    for name, (y, mark, colour) in marks.items():
        ax.plot(x, y, mark, ms=17, color=COLOURS[colour], zorder=5)
        below = mark == "D"  # the guess has its name to the left: the two may lie close together
        style = {"ha": "center" if below else "right", "color": COLOURS[colour], "bbox": BOX}
        ax.annotate(name, (x, y), (0, -28) if below else (-14, -6), **NEAR, **style)


# %% tags=["skip"]
def poster(one, many, guessed=None):
    fig, ax = plt.subplots(figsize=slide_size(height=0.95))
    x = np.geomspace(0.1, 200, 60)
    draw_slopes(ax, one.peaks, x)
    draw_peaks(ax, one.peaks, x)
    for roofs, colour, hollow in ((one, "blue", True), (many, "green", False)):
        draw_layers(ax, roofs, COLOURS[colour], hollow)
        words = f"{'rings' if hollow else 'dots'}: {roofs.batch_size} at once"
        place, look = (0.98, 0.2 - 0.07 * hollow), {"ha": "right", "color": COLOURS[colour]}
        ax.annotate(words, place, xycoords="axes fraction", **look)
    draw_whole(ax, one, guessed)
    return fig


# %% tags=["skip"]
def name_axes(ax):
    ax.set(xscale="log", yscale="log", xlim=(0.1, 200), xlabel="operations a byte")
    ax.set_ylabel("billion operations a second")
    ax.set_ylim(ax.get_ylim()[0] / 2, None)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:g}")


# %% tags=["measured", "fragment"]
fig = poster(one, many, share.value)
name_axes(fig.axes[0])
show(fig, alt="Convolutions lie close to the peak, dense layers far below; 64 pictures lift them.")

# %% tags=["skip"]
last_alone, last_many = dense_ones[0], [layer for layer in many.layers if layer.macs][4]
grown = last_many.intensity / last_alone.intensity
print(f"64 pictures: the first dense layer does {grown:.0f} times as many operations a byte")
print("and over twice as many a second:", last_many.gflops > 2 * last_alone.gflops)

# %% [markdown] tags=["skip"]
# Rings are layers with one picture, dots with 64. Everything in this network fits into caches, so the slope that counts is theirs and not that of memory. A network a thousand times as large meets the lowest slope: a language model that writes one word reads all of its weights
# once, with two operations for each.

# %% [markdown] tags=["notes"]
# Four minutes. The poster. First the roofs, then one ring: which wall is above it? Then the dots: same layers, moved to the right and up. Points slightly above a roof are no miracle: a peak is measured, and clocks move. Where a point lies far above one, somebody has counted wrong (exercise 3).

# %% [markdown] tags=["slide", "why"]
# ## Why float32 is faster than float64, and int8 than both
#
# A register of this processor holds 128, 256 or 512 bits: so many numbers side by side, computed by one instruction (**SIMD**). Halve the bits of a number, and twice as many fit in.

# %%
WIDTHS = {"AVX-512": 512, "AVX2": 256, "NEON": 128}  # bits; of others we say 128
DOTS = {"VNNI", "AVX-VNNI", "DOTPROD", "I8MM"}  # instructions that add up products of bytes


def lanes(flags):  # products that one instruction can do
    bits = next((WIDTHS[flag] for flag in WIDTHS if flag in flags), 128)
    return {
        "float64": bits // 64,
        "float32": bits // 32,
        "int8": bits // (8 if DOTS & {*flags} else 16),
    }


for flags in (["AVX2"], ["AVX2", "AVX-512"], ["AVX2", "AVX-512", "VNNI"], ["NEON", "DOTPROD"]):
    print(f"{' '.join(flags):20}", lanes(flags))

# %% tags=["measured", "subslide"]
can = lanes(machine.flags)
best = {"float64": rates_of["float64"]} | {d: peaks.gflops(d) for d in ("float32", "int8")}
lines = []
for d, n in can.items():
    width, speed = n / can["float64"], best[d] / best["float64"]
    lines.append([d, n, f"{width:.0f} ×", f"{best[d]:.0f}", f"{speed:.1f} ×"])
print("this processor:", ", ".join(machine.flags) or "says nothing of what it can")
in_rows(["", "products an instruction", "computed", "measured, GFLOP/s", "measured"], lines)

# %%
print("an instruction holds over twice as many int8 as float64:", can["int8"] > 2 * can["float64"])

# %% [markdown] tags=["skip"]
# The table computes a ratio from widths alone, and your machine measures one. Where int8 stays behind, the bytes have to be spread out first and packed again afterwards. Python cannot choose the lanes; the type of the numbers chooses them. So does whoever wrote the kernel.

# %% [markdown] tags=["notes"]
# Three minutes. The measured float32 rate divided by twice the lanes is the number of such instructions in a nanosecond: with two units and 3 GHz it would be 6. Let somebody compute it for the room's machine.

# %% [markdown] tags=["slide"]
# ## Threads
#
# A second core, a second worker. What can it win? By hand, after Gene Amdahl (1967): the share that one must do alone stays; only the rest is divided.


# %%
def amdahl(n, alone):  # times as fast as one
    return 1 / (alone + (1 - alone) / n)


numbers = (2, 4, 64, np.inf)
heads = ["one must do alone", "2 threads", "4", "64", "without end"]
in_rows(
    heads, [[f"{s:.0%}", *(f"{amdahl(n, s):.2f}" for n in numbers)] for s in (0.02, 0.1, 0.3, 0.5)]
)

# %% tags=["subslide"]
from inferkit.roofline import thread_sweep

options = {"threads": (1, 2, 4), "max_seconds": 3, "progress": False}
sweeps = {n: thread_sweep(network, X[:n], **options) for n in (1, 64)}


def alone(sweep):  # time = what one must do + the rest, divided: a line over 1/n
    n = [n for n in sweep.threads if n <= sweep.cores]
    if len(n) < 2:
        return None  # one core: nothing to fit
    rest, fixed = np.polyfit(1 / np.array(n), [sweep.times_ms[k] for k in n], 1)
    return float(np.clip(fixed / (fixed + rest), 0, 1))


# %% tags=["skip"]
def draw_sweep(ax, sweep, words, colour, up):
    gain, last = sweep.speedup, sweep.threads[-1]
    ax.plot(sweep.threads, [gain[k].value for k in sweep.threads], "o-", color=colour)
    for k, one in gain.items():
        ax.plot([k, k], [one.low, one.high], color=colour, lw=9, alpha=0.3)
    ax.annotate(f"{words}: {gain[last].value:.2f} ×", (last, gain[last].value), (12, up), **NEAR)
    ax.texts[-1].set_color(colour)


# %% tags=["skip"]
def threads_figure(sweeps):
    fig, ax = plt.subplots(figsize=slide_size(height=0.62))
    for (n, sweep), colour, up in zip(sweeps.items(), ("blue", "green"), (-18, 8)):
        draw_sweep(ax, sweep, f"{n} picture{'s' * (n > 1)}", COLOURS[colour], up)
    ax.plot(sweep.threads, sweep.threads, "--", color="0.5")
    ax.annotate(
        "twice the threads, twice as fast", (3, 3), (-8, 8), **NEAR, ha="right", color="0.35"
    )
    ax.axvspan(sweep.cores + 0.05, 5, color="0.93", zorder=0)
    return fig


# %% tags=["measured", "subslide"]
fig = threads_figure(sweeps)
fig.axes[0].set(xlabel="threads (grey: more than there are cores)", xticks=sweeps[1].threads)
fig.axes[0].set(ylabel="times as fast as one", xlim=(0.8, 5.6), ylim=(0, 4.3))
told = [f"{n} at once run {sweep.speedup[2].value:.1f} times" for n, sweep in sweeps.items()]
show(fig, alt=f"On two threads {' and '.join(told)} as fast as on one.")

# %%
fits = [(sweep.serial_share, alone(sweep)) for sweep in sweeps.values()]
print("by hand as by library:", [a is b is None or bool(np.isclose(a, b)) for a, b in fits])

# %% tags=["measured", "skip"]
told = [f"{n} at once {'–' if s is None else f'{s:.0%}'}" for n, (s, _) in zip(sweeps, fits)]
print("one must do alone:", ", ".join(told), "| cores granted:", f"{sweeps[1].cores:g}")

# %% tags=["skip"]
print("Amdahl, half alone: never over twice as fast:", amdahl(1e9, 0.5) < 2)

# %% [markdown] tags=["skip"]
# One picture is a short job: a layer takes some microseconds, and waking a second thread takes one, too. That waiting counts as "alone". With 64 pictures there is more to divide. Where this process has one core (as on Binder), threads take turns on it, and win nothing. A core that other programs keep busy is none, either. Beyond the cores they only
# get in each other's way.

# %% [markdown] tags=["notes"]
# Four minutes. Before the picture: who expects twice as fast on two cores? If your machine has eight, add 8 to `threads`. If the gain of 64 pictures stays low: other programs keep the second core busy, or two "cores" share one's units.

# %% [markdown] tags=["slide"]
# ## A compiler
#
# **XLA** melts neighbouring layers into one, so that numbers need not travel to memory and back. It compiles for one batch size, when that comes first. Does it help? Two networks, in turns. TensorFlow is loaded here, and kept to one core.

# %%
import os

os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
from inferkit.models import MissingRuntimeError, compile_for, import_keras, import_tensorflow

keras = import_keras()
import_tensorflow().get_logger().setLevel("ERROR")  # it counts graphs, and warns of many
from inferkit.datasets import load_digits

digits = load_digits().images.astype(np.float32) / 16
pairs = {
    "signs-cnn, 1 row": ("signs-cnn", X[:1]),
    "digits-mobilenet, 1 row": ("digits-mobilenet", digits[:1]),
    "digits-mobilenet, 64 rows": ("digits-mobilenet", digits[:64]),
}

# %% tags=["skip"]
from inferkit.benchmark import Ledger, compare, measure_latency

nets = {name: load_reference(name, "keras") for name in ("signs-cnn", "digits-mobilenet")}
ways = {(n, r): compile_for(nets[n], r) for n in nets for r in ("tf.function", "xla")}
ratios, agree = {}, []
for title, (name, some) in pairs.items():
    both = {r: ways[name, r] for r in ("tf.function", "xla")}
    agree.append(np.allclose(both["xla"](some), both["tf.function"](some), atol=1e-4))
    timed = compare(both, some, n=60 if len(some) == 1 else 20, rounds=10, batch_size=len(some))
    ratios[title] = timed.ratio("xla", "tf.function")


# %% tags=["measured", "subslide"]
def verdict(ratio, better="helps", worse="hurts"):  # time against time
    sure = better if ratio.high < 1 else worse if ratio.low > 1 else "no clear difference"
    return f"{sure}: {ratio.value:.2f} × the time ({ratio.low:.2f} to {ratio.high:.2f})"


in_rows(["network", "XLA, here"], [[name, verdict(ratio)] for name, ratio in ratios.items()])

# %%
print("with XLA and without it, the same answers:", agree)
print("compiled, it takes less than 100 times as long:", [r.low < 100 for r in ratios.values()])

# %% [markdown] tags=["skip"]
# A compiler wins where layers are many and small, and calls between them take the time. It loses where its own loops are worse than the hand-written ones that it replaces: **depthwise** convolutions are such a case on processors. "Compile it" is a thing to try, and to measure for each network and batch.

# %% [markdown] tags=["notes"]
# Three minutes; loading and compiling take some ten seconds. Let the room bet first: does it help both, one, none? The table follows your machine. Which row would you have promised to a customer?

# %% [markdown] tags=["subslide"]
# **Other runtimes** read the same network: ONNX Runtime, OpenVINO, TensorRT for NVIDIA's GPUs, and mixed precision. Each runs here, or says what it lacks.

# %%
from inferkit.models import RUNTIMES

here, lacking = {}, []
for runtime in [r for r in RUNTIMES if r != "keras"]:
    try:
        here[runtime] = ways.get(("signs-cnn", runtime)) or compile_for(nets["signs-cnn"], runtime)
    except MissingRuntimeError as missing:
        lacking.append(str(missing))


def share_right(truth, p):
    return np.mean(np.argmax(p, axis=1) == truth)


named = {f"signs, {runtime}": ready for runtime, ready in here.items()}
options = {"n": 200, "rounds": 10, "metric": share_right, "ledger": Ledger.open()}
by_runtime = compare(named, X[:64], y[:64], **options)

# %% tags=["measured", "subslide"]
lines = [[row.name.partition(", ")[2], f"{1000 * row.p50_ms:,.0f}"] for row in by_runtime]
print("not here:", *(lacking or ["none is missing"]), sep="\n")
in_rows(
    ["signs-cnn, one picture", "p50, µs"],
    sorted(lines, key=lambda line: float(line[1].replace(",", ""))),
)

# %%
right = [row.accuracy > 0.9 for row in by_runtime]
print("all read over nine signs in ten:", all(right))
graph = by_runtime.ratio("signs, tf.function", "signs, litert")
del named, here, ways, nets, both  # they give their memory back
keras.backend.clear_session()
print("LiteRT is over twice as fast as TensorFlow's graph, for one picture:", graph.value > 2)

# %% [markdown] tags=["notes"]
# Two minutes. "It makes models faster" is said of each of them. Faster than what? Than the row at the bottom all are. The rows are in the ledger. On a machine with an NVIDIA card `make lab GPU=1` brings what is missing.

# %% [markdown] tags=["slide"]
# ## From which batch on does a GPU pay?
#
# A GPU computes a hundred times as much a second. But each kernel has to be **started**, rows have to travel to it, and the answers back: time = starts + transfer + operations. Two cards by their data sheets; peak and link as if both were always reached, which flatters them.

# %%
cards = {  # float32 operations a second, bytes a second one way over its link
    "NVIDIA T4": (8.1e12, 15.75e9),  # PCIe 3.0 × 16
    "NVIDIA H200": (67e12, 63e9),  # PCIe 5.0 × 16
}
start_s, kernels = 10e-6, len([layer for layer in one.layers if layer.operations])
row_bytes, row_operations = X[0].nbytes + 4 * 12, one.operations


def on_card(n, card):  # seconds for n pictures
    peak, link = cards[card]
    return kernels * start_s, n * row_bytes / link, n * row_operations / peak


# %% tags=["subslide"]
lines = []
for card in cards:
    for n in (1, 64, 4096):
        lines.append([card, n, *(f"{1e6 * s:,.2f}" for s in on_card(n, card))])
in_rows(["card", "pictures", "starts, µs", "transfer, µs", "operations, µs"], lines)

# %% [markdown] tags=["subslide"]
# Computed, not measured: 10 µs for a start is a round figure. And this core? Measured, with 1, 8, 64 and 512 pictures. A line through it gives a + b · n, as in lesson 07; where two lines meet, the card overtakes.

# %%
batches = (1, 8, 64, 512)
cpu = {  # µs a call
    n: 1000 * measure_latency(network, X[:512], n=max(15, 600 // n), batch_size=n, warmup=3).p50_ms
    for n in batches
}
slope = (cpu[512] - cpu[1]) / 511  # µs a picture


def crossover(card):  # the first batch at which the card is ahead
    starts, transfer, operations = (1e6 * s for s in on_card(1, card))
    gap = starts - (cpu[1] - slope)  # how far behind it begins
    gain = slope - transfer - operations  # what it wins with each picture
    return max(1, int(np.floor(gap / gain)) + 1) if gain > 0 else None


ahead = {card: crossover(card) for card in cards}


# %% tags=["skip"]
def draw_card(ax, card, at, colour):
    n = np.unique(np.geomspace(1, 512, 40).round())
    us = [1e6 * sum(on_card(k, card)) for k in n]
    ax.plot(n, us, "--", color=colour)
    ax.annotate(f"{card}, computed", (n[-1], us[-1]), (8, -5), **NEAR, color=colour)
    if at:
        ax.plot(at, 1e6 * sum(on_card(at, card)), "o", ms=14, mfc="none", color=colour)


# %% tags=["skip"]
def crossover_figure(cpu, ahead):
    fig, ax = plt.subplots(figsize=slide_size(height=0.7))
    for (card, at), colour in zip(ahead.items(), ("orange", "green")):
        draw_card(ax, card, at, COLOURS[colour])
    ax.plot(list(cpu), list(cpu.values()), "o-", color=COLOURS["blue"])
    style = {"ha": "right", "color": COLOURS["blue"]}
    ax.annotate("this core, measured", (64, cpu[64]), (-10, 4), **NEAR, **style)
    ax.set(xscale="log", yscale="log", xlabel="pictures in a call", ylabel="µs a call")
    ax.set_xlim(0.9, 6000)
    ax.set_xticks(batches, list(map(str, batches)))
    return fig


# %% tags=["measured", "subslide"]
fig = crossover_figure(cpu, ahead)
said = ", ".join(f"{card} from {at or 'no batch'}" for card, at in ahead.items())
fig.axes[0].set_title(f"Ahead of this core: {said}")
show(
    fig,
    alt=f"The cards' lines are flat at first. Ahead of this core: {said} pictures in a call.",
)

# %% tags=["subslide"]
t4 = on_card(1, "NVIDIA T4")
print(f"one picture on the T4: {t4[0] / sum(t4):.0%} of the time are starts")
print(
    "a picture travels longer than it is computed:",
    [t > c for _, t, c in (on_card(1, card) for card in cards)],
)
print(
    "512 pictures: over twice as fast as this core:",
    cpu[512] > 2e6 * sum(on_card(512, "NVIDIA T4")),
)

# %% [markdown] tags=["skip"]
# The network is small, so the card is not limited by what it can compute: it waits for starts, and then for its link. What helps there is fewer kernels (a compiler), fewer bytes (send 8-bit pictures, a quarter), and rows that are already there. A larger network shifts the balance: operations grow, the bytes of
# a picture do not.

# %% [markdown] tags=["notes"]
# Four minutes. Ask: why are the first parts of the dashed lines flat? (Starts.) Which of the three numbers of a card is on its box? (The one that does not matter here.) A T4 is what Colab lends.

# %% [markdown] tags=["subslide"]
# ### And your own device
#
# `accelerator_run` measures it: first call, transfer and computing apart, each answer checked against float64. It takes an accelerator if there is one; else this is a **rehearsal** on the processor, and says so.

# %%
from inferkit.roofline import AcceleratorRun, accelerator_run

settings = {"networks": ["mobilenet-25"], "batch_sizes": (1, 64), "precisions": ("float32",)}
run = accelerator_run(**settings, nuts=False, rounds=6, max_seconds=15, progress=False)

# %% tags=["measured", "fragment"]
run

# %%
print("answers further from float64 than the precision explains:", len(run.failures))
first, later = run.rows[0].first_call_s, float(np.median(run.rows[0].compute_s))
print("the first call takes over twice as long as a later one:", first > 2 * later)

# %% tags=["subslide"]
from pathlib import Path

import inferkit

home = Path(inferkit.__file__).parent
places = (home.parent / "datasets" / "accelerator.json", home / "bundled" / "accelerator.json")
recorded = [AcceleratorRun.from_json(place) for place in places if place.exists()]
if recorded:
    print(recorded[0])
else:
    print("no run of an accelerator is recorded here")

# %% [markdown] tags=["notes"]
# Two minutes. `make lab GPU=1` takes the lock for a GPU; then the table is your card's. On a processor "transfer" is a copy, and says nothing about a link. Where a run of an accelerator was recorded, its table stands below; else nothing is claimed.

# %% [markdown] tags=["slide"]
# ## A TPU, by hand
#
# A **systolic array** (Kung, 1982; Google's TPU, 2017) is a square of multipliers. Each keeps one weight. At each tick numbers move one cell to the right, sums one cell down. Nobody fetches anything in between.


# %%
def skewed(A, n):  # column k is k ticks late
    queue = np.zeros((len(A) + 2 * n, n))
    for k in range(n):
        queue[k : k + len(A), k] = A[:, k]
    return queue


# %% tags=["subslide"]
def systolic(A, W):  # A (m, n) comes in from the left; W (n, n) stays
    (m, n), k, t = A.shape, np.arange(len(W)), 0
    (x, sums), out = np.zeros((2, n, n)), np.full((m, n), np.nan)
    queue = skewed(A, n)
    while np.isnan(out).any():
        x = np.column_stack([queue[t], x[:, :-1]])  # to the right
        sums = np.vstack([np.zeros(n), sums[:-1]]) + W * x  # down, and one product more
        row = t - (n - 1) - k  # whose sum is complete, at the foot of each column
        done = (row >= 0) & (row < m)
        out[row[done], k[done]] = sums[-1, done]
        t += 1
    return out, t


# %%
tried = [(1, 4), (4, 4), (9, 4), (128, 16), (5, 32)]
for m, n in tried:
    rows_in, kept = rng.integers(-9, 10, (m, n)), rng.integers(-9, 10, (n, n))
    out, ticks = systolic(rows_in, kept)
    same = np.array_equal(out, rows_in @ kept)
    print(f"{m} rows through {n} × {n}: {ticks} ticks; m + 2n - 2 = {m + 2 * n - 2}; equal: {same}")


# %% tags=["skip"]
def wave_figure(m, n, ticks):
    fig, axes = plt.subplots(1, len(ticks), figsize=slide_size(height=0.5))
    late = np.add.outer(np.arange(n), np.arange(n))  # a cell is so many ticks behind the first
    for ax, t in zip(axes, ticks):
        busy = (t - late >= 0) & (t - late < m)
        ax.imshow(busy, cmap="Blues", vmin=0, vmax=1.4)
        ax.set_title(f"tick {t + 1}: {busy.sum()}", loc="center", size=15)
        ax.set(xticks=[], yticks=[])
    return fig


# %% tags=["subslide"]
fig = wave_figure(m=6, n=8, ticks=(0, 3, 7, 10, 13, 17))
fig.suptitle("Six rows pass through 8 × 8 cells: which are at work")
show(fig, alt="A band of busy cells crosses the square from one corner to the other.")

# %% tags=["subslide"]
lines = []
for m, n in ((1, 128), (8, 128), (128, 128), (8192, 128), (8192, 16)):
    ticks = m + 2 * n - 2
    use = m * n * n / (n * n * ticks)  # products done, of those that all cells could do
    lines.append([f"{m:,}", f"{n} × {n}", f"{ticks:,}", f"{use:.1%}", f"{1000 / n:.1f}"])
print(f"a TPU of 2017: 256 × 256 cells at 700 MHz: {2 * 256**2 * 700e6 / 1e12:.0f} TOP/s in int8")
heads = ["rows", "cells", "ticks", "multipliers at work", "numbers fetched for 1,000 products"]
in_rows(heads, lines)

# %% [markdown] tags=["skip"]
# A number that has come in is used by all n columns before it leaves: one fetch for n products, so memory has an easy life. The price: the array takes 2n − 2 ticks to fill and to drain, whatever it is given. One row uses 0.4 % of it. That is why such hardware loves batches, and why its brochures do.

# %% [markdown] tags=["notes"]
# Five minutes. Play it with nine students on a 3 × 3 floor: each knows one weight, passes the number right and the sum down at a clap. Ask for the ticks before you run: everybody forgets the draining.

# %% [markdown] tags=["slide"]
# ## An FPGA, in computed numbers
#
# On an FPGA the network becomes a circuit: no instructions, no fetching of them; each layer is a station of a **pipeline**. A picture leaves the pipeline each **interval** of ticks, and takes as many intervals as there are stations. How many multipliers does it need?

# %%
clock, stations = 200e6, len(layers)  # 200 MHz
weights_of = np.array([layer.weights.size for layer in layers])
macs_of = np.array([layer.macs for layer in layers])


def shared(budget):  # multipliers for each layer, so that all take about as long
    for interval in range(1, macs_of.sum() + 1):
        given = np.ceil(macs_of / interval).astype(int)
        if given.sum() <= budget:
            return given


designs = {"one for each weight": weights_of, "a ZU9EG: 2,520 DSPs": shared(2 * 2520)}
designs["a sixteenth of that"] = shared(2 * 2520 // 16)

# %% tags=["subslide"]
lines = []
for name, multipliers in designs.items():
    interval = int(np.ceil(macs_of / multipliers).max())  # the slowest station sets the pace
    at_work = macs_of.sum() / (multipliers.sum() * interval)
    rate, wait_us = clock / interval, 1e6 * stations * interval / clock
    dsps = int(np.ceil(multipliers.sum() / 2))  # one DSP does two int8 products (Xilinx, WP486)
    lines.append(
        [name, f"{dsps:,}", f"{interval:,}", f"{at_work:.0%}", f"{rate:,.0f}", f"{wait_us:.1f}"]
    )
heads = ["multipliers", "DSPs", "interval, ticks", "at work", "pictures a second", "µs a picture"]
in_rows(heads, lines)

# %% [markdown] tags=["skip"]
# One multiplier for each weight sounds like the fastest that can be. It takes six such chips, and three quarters of it idle: the first layers use a weight at 256 places, the dense ones once. A sixth of the multipliers, shared out by work, keeps two thirds of the speed. What such a chip is loved for: the time is the same for each picture, to
# the tick. There is no p99. Its price is months of work, and a new circuit for a new network.

# %% [markdown] tags=["notes"]
# Three minutes. Throughput = clock / interval; latency = stations × interval / clock. Compare with this core's microseconds above. Ask what changes if the network grows tenfold. (Weights no longer fit on the chip, and it waits for memory like everybody.)

# %% [markdown] tags=["slide"]
# ## What an operation costs, in energy
#
# Mark Horowitz's figures (ISSCC 2014, for chips of 45 nm). Newer chips need less for all; that a number from memory costs a hundred products has stayed.

# %%
pJ = {  # of an operation; of reading 32 bits (his are for 64; halved)
    "int8": {"multiply": 0.2, "add": 0.1},  # the sums have 32 bits; in 8 bits it is 0.03
    "float32": {"multiply": 3.7, "add": 0.9},
    "read": {"8 kB of cache": 5, "memory": 640},
}
macs, numbers = macs_of.sum(), weights_of.sum()
uJ = {f"products and sums, {d}": macs * sum(pJ[d].values()) / 1e6 for d in ("int8", "float32")}
uJ["weights once from memory, int8"] = numbers / 4 * pJ["read"]["memory"] / 1e6
uJ["weights once from memory, float32"] = numbers * pJ["read"]["memory"] / 1e6
uJ["two numbers a product, 8 kB of cache"] = 2 * macs * pJ["read"]["8 kB of cache"] / 1e6
in_rows(["one answer of signs-cnn", "microjoules"], [[k, f"{v:.2f}"] for k, v in uJ.items()])

# %% tags=["subslide"]
fetched, computed = uJ["weights once from memory, float32"], uJ["products and sums, float32"]
print("fetching the weights costs over twice the operations on them:", fetched > 2 * computed)
each = sum(pJ["float32"].values())
print(f"a float32 from memory costs as much as {pJ['read']['memory'] / each:.0f} products and sums")

# %% [markdown] tags=["fragment"]
# And what does **this** machine use for an answer? Some processors count their energy. Read the counter, answer for two seconds, read it again.


# %%
def energy_of_an_answer(counter, seconds=2):
    if not counter.available:
        return f"not known: {counter}"
    start, t, answers = counter.read(), perf_counter(), 0
    while perf_counter() - t < seconds:
        network(X[:1])
        answers += 1
    joules = counter.joules(start, counter.read())
    return f"{1e6 * joules / answers:,.0f} µJ, of all that the processor did meanwhile"


# %% tags=["measured"]
print("one answer, here:", energy_of_an_answer(devices.energy_counter()))

# %% tags=["skip"]
print(
    "the operations alone, int8 against float32, over ten times less:",
    computed > 10 * uJ["products and sums, int8"],
)

# %% [markdown] tags=["skip"]
# Operations are cheap, moving is dear. A systolic array, a cache, a batch, int8: all of them are ways to fetch less. And a processor spends most on what is in no row of this table: fetching and sorting the instructions themselves.

# %% [markdown] tags=["notes"]
# Three minutes. The sum of a row is microjoules; a processor of 20 W uses as much in a microsecond or so. So the operations are a small part of what one answer costs: ask where the rest goes. In most virtual machines there is no counter: then nothing is claimed.

# %% [markdown] tags=["slide"]
# ## Sixteen bits
#
# float16 and **bfloat16** both have half the bits of float32. By hand: cut the last 16 bits off, and what is left is a bfloat16.


# %%
def keep(x, mantissa):  # float32 with so many bits of mantissa, rounded
    bits = np.asarray(x, np.float32).view(np.uint32)
    half = np.uint32(1 << (22 - mantissa))
    mask = np.uint32((0xFFFFFFFF << (23 - mantissa)) & 0xFFFFFFFF)
    return ((bits + half) & mask).view(np.float32).astype(np.float64)


formats = {  # bits of exponent, of mantissa, and how a number is rounded to it
    "float32": (8, 23, lambda x: x.astype(np.float32).astype(np.float64)),
    "tensorfloat32": (8, 10, lambda x: keep(x, 10)),
    "float16": (5, 10, lambda x: x.astype(np.float16).astype(np.float64)),
    "bfloat16": (8, 7, lambda x: keep(x, 7)),
}

# %% tags=["subslide"]
tenth, lines = np.array([0.1]), []
for name, (exponent, mantissa, rounded) in formats.items():
    largest = 2.0 ** (2 ** (exponent - 1) - 1) * (2 - 2.0**-mantissa)
    lines.append([name, exponent, mantissa, f"{largest:.2g}", f"{rounded(tenth)[0]:.7f}"])
in_rows(["format", "exponent", "mantissa", "largest number", "0.1 becomes"], lines)

# %% [markdown] tags=["subslide"]
# What does it do to answers? The whole network in NumPy. All that flows is rounded to the format; products are added up in float64, as hardware adds in a wider format (**mixed precision**).

# %%
from numpy.lib.stride_tricks import sliding_window_view


def convolve(x, layer, w):
    k, step = w.shape[1], layer.options["strideW"]
    missing = (layer.output.shape[1] - 1) * step + k - x.shape[1]  # zeros around the picture
    edge = (missing // 2, missing - missing // 2)
    x = np.pad(x, [(0, 0), edge, edge, (0, 0)])
    windows = sliding_window_view(x, (k, k), axis=(1, 2))[:, ::step, ::step]
    return np.tensordot(windows, w, axes=([3, 4, 5], [3, 1, 2]))


# %%
def after(layer, x, rounded):
    if layer.weights:
        w, b = (rounded(part.data.astype(np.float64)) for part in (layer.weights, layer.bias))
        dense = layer.op == "FULLY_CONNECTED"
        x = (x.reshape(len(x), -1) @ w.T if dense else convolve(x, layer, w)) + b
        return rounded(np.maximum(x, 0) if layer.options["fusedActivationFunction"] else x)
    if layer.op == "MAX_POOL_2D":
        x = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).max(axis=(2, 4))
    return x


# %% tags=["subslide"]
def answer(x, rounded):
    x = rounded(x.astype(np.float64))
    for layer in read_layers(network):
        x = after(layer, x, rounded)
    powers = np.exp(x - x.max(axis=1, keepdims=True))  # the softmax
    return powers / powers.sum(axis=1, keepdims=True)


some = X[:256]
exact = answer(some, lambda x: x)
print("LiteRT is off by less than 0.00001:", np.abs(network(some) - exact).max() < 1e-5)


# %% tags=["subslide"]
off, lines = {}, []
for name, (_, _, rounded) in formats.items():
    p = answer(some, rounded)
    off[name], read = np.abs(p - exact).max(), p.argmax(axis=1)
    same, right = (read == exact.argmax(axis=1)).mean(), (read == y[:256]).mean()
    lines.append([name, f"{off[name]:.1e}", f"{same:.1%}", f"{right:.1%}"])
in_rows(["format", "largest difference", "same answer as float64", "right"], lines)

# %%
print("bfloat16 is off by over twice as much as float16:", off["bfloat16"] > 2 * off["float16"])
print("float16 by over a hundred times as much as float32:", off["float16"] > 100 * off["float32"])

# %% [markdown] tags=["subslide"]
# Half the bits, half the bytes: twice as fast? The same product of matrices, in NumPy.

# %%
short = {d: s[:256, :256].copy() for d, s in squares.items()}
short["float16"] = short["float32"].astype(np.float16)
time_of = in_turns({d: lambda s=s: s @ s for d, s in short.items()}, rounds=3)

# %% tags=["measured", "fragment"]
print("256 × 256:", ", ".join(f"{d} {us:,.0f} µs" for d, us in time_of.items()))

# %%
print("float16 takes over twice as long as float32:", time_of["float16"] > 2 * time_of["float32"])

# %% [markdown] tags=["skip"]
# Where nobody has written a loop with instructions for 16 bits, each number is made a float32 first, and the sum is made a float16 again. A short format needs hardware (BF16, AMX, tensor cores) **and** code that uses it. Then it doubles the peak, and halves the bytes; bfloat16 has the range of float32, so nothing
# overflows, and float16 three more bits.

# %% [markdown] tags=["notes"]
# Four minutes. Let somebody say the largest number of float16 (65,504) and a loss or a picture that is larger. Who trains needs the range; who answers with known ranges can use the bits. int8 (lesson 09) goes further down the same road.

# %% [markdown] tags=["slide", "textbook"]
# ## When the textbook is wrong here
#
# Three sentences of brochures. What your machine measured, and what was computed for hardware that is not here:

# %% tags=["skip"]
no = {True: "holds", False: "no"}
batch_1 = {card: 1e6 * sum(on_card(1, card)) < cpu[1] for card in cards}
batch_512 = {card: 1e6 * sum(on_card(512, card)) < cpu[512] for card in cards}
helps = [name for name, ratio in ratios.items() if ratio.high < 1]
hurts = [name for name, ratio in ratios.items() if ratio.low > 1]
per_second = 1e6 / cpu[1]
use = 1 / (1 + 2 * 128 - 2)
blinks = 100_000 / cpu[1]  # answers in a blink of 100 ms

# %% tags=["measured", "fragment"]
said = {
    "A GPU accelerates: one picture": f"{no[batch_1['NVIDIA T4']]}: a T4, computed, has to start",
    "... 512 at once": f"{no[batch_512['NVIDIA T4']]}: ahead from {ahead['NVIDIA T4']}, computed",
    "A TPU accelerates": f"in batches: one row uses {use:.1%} of 128 × 128, computed",
    "Compilers make it faster still": f"of {len(ratios)}: {len(helps)} faster, {len(hurts)} slower",
    "Answers need no accelerator": f"{no[per_second > 100]}: {per_second:,.0f} a second, one core",
    "Inference needs much energy": f"operations {computed:.0f} µJ, weights {fetched:.0f} µJ",
}
in_rows(["they say", "here"], list(said.items()))

# %%
print("one core answers over a hundred pictures a second:", per_second > 100)

# %% [markdown] tags=["skip"]
# Hardware accelerates work that fits it: enough operations a byte, enough rows at once, few starts. A network of 30,000 weights is none such; one of 30 billion, asked by a thousand people at once, is. Then the energy of one answer is a million times as large, too. So ask of any "40 times faster": for which network, which batch, from where to
# where, against whose code?

# %% [markdown] tags=["notes"]
# Three minutes. Read the right column aloud; it follows your machine. "Computed" is said wherever nothing was measured. Who has a card: the table of `accelerator_run` is the answer, and it may differ.

# %% [markdown] tags=["slide", "play"]
# ## Play
#
# A product of two n × n matrices. Where does it sit under its roof? Take more threads; take int8; take a card, computed from its data sheet. From which size on is it worth the trip?


# %% tags=["skip"]
def raw(side, threads, dtype):  # takes and gives what it computes in
    made = litert_matmul(side, side, side, dtype)
    return LiteRTModel(made.content, num_threads=threads, dequantize=False)


sides, counts, measured = [32, 64, 128, 256, 512, 1024], [1, 2, 4], {}
for side in sides:
    block = rng.uniform(-1, 1, (side, side)).astype(np.float32)
    blocks = {"float32": block, "int8": np.round(100 * block).astype(np.int8)}
    for d, x in blocks.items():
        made = {(side, n, d): raw(side, n, d) for n in counts}
        measured |= in_turns({k: lambda m=m, x=x: m(x) for k, m in made.items()}, rounds=7)
del made  # they give their memory back


# %% tags=["skip"]
from inferkit.widgets import LiveFigure, curve, points, text

board = {"NVIDIA T4": 320e9, "NVIDIA H200": 4.8e12}  # bytes a second, of the card's own memory
devices_of = ["this CPU, float32", "this CPU, int8", *(f"{card}, computed" for card in cards)]


def product(side, threads, device):  # µs, peak in GFLOP/s, GB/s, bytes of a number
    kind = device.rpartition(", ")[2]
    if kind != "computed":
        return measured[side, threads, kind], peaks.gflops(kind), peaks.gb_per_s("DRAM")
    card = device.removesuffix(", computed")
    peak, link = cards[card]
    there = 8 * side**2 / link  # rows over, answers back; the weights are there
    on_it = max(2 * side**3 / peak, 12 * side**2 / board[card])
    return 1e6 * (start_s + there + on_it), peak / 1e9, board[card] / 1e9


# %% tags=["skip"]
def place(side, threads, device):  # operations a byte, billions a second
    us, *_ = product(side, threads, device)
    each = 1 if device.endswith("int8") else 4
    return 2 * side**3 / (3 * each * side**2), 2 * side**3 / us / 1000


def numbers_of(us, reached, peak, how):
    return [
        text("a product", f"{us:,.0f} µs" if us >= 10 else f"{us:.1f} µs"),
        text("GFLOP/s", f"{reached:,.1f}"),
        text("of its peak", f"{reached / peak:.1%}"),
        text("this is", how),
    ]


# %% tags=["skip"]
def under_the_roof(side, threads, device):
    us, peak, memory = product(side, threads, device)
    x = np.geomspace(1, 1000, 80)
    others = np.array([place(s, threads, device) for s in sides]).T
    at, reached = place(side, threads, device)
    how = "computed" if device.endswith("computed") else "measured"
    parts = [curve(x, np.minimum(peak, memory * x), colour="black", label="roof", at="end")]
    parts += [points(*others, colour="green", hollow=True), points(at, reached, colour="orange")]
    return parts + numbers_of(us, reached, peak, how)


# %% tags=["skip"]
looks = {
    "start": {"side": 256, "threads": 1},
    "labels": {"side": "n"},
    "alt": "n = {side}, {device}: {a product} a product, {of its peak} of the peak, {this is}.",
    "xlabel": "operations a byte (roof: of one core, and of memory)",
    "ylabel": "billion operations a second",
    "xscale": "log",
    "yscale": "log",
    "xlim": (1, 1000),
    "ylim": (0.5, 1e5),
    "height": 300,
}

# %% tags=["measured", "fragment"]
LiveFigure(under_the_roof, {"side": sides, "threads": counts, "device": devices_of}, **looks)

# %% tags=["skip"]
small, large = (place(side, 1, "this CPU, float32")[0] for side in (32, 1024))
print("32 times the side, 32 times the operations a byte:", np.isclose(large, 32 * small))
card_small, card_large = (place(side, 1, "NVIDIA T4, computed")[1] for side in (32, 1024))
print(
    "the T4, computed: over a hundred times the rate for n = 1,024:", card_large > 100 * card_small
)

# %% [markdown] tags=["notes"]
# Three minutes. First: the CPU, n rising: ring by ring towards the peak. Then the T4: at n = 32 it is slower than this core, and nothing but the start is to blame. Threads: compare 32 with 1,024. The threads do nothing to a computed card.

# %% [markdown] tags=["slide", "break-it"]
# ## Break it
#
# Five colleagues have measured a T4 with 200 calls each, and compared it with a CPU that takes 60 µs a picture: "so many times as fast". One is honest. Each of the others has made one mistake. The numbers are computed, with noise added.

# %% tags=["hide-input"]
noise = np.random.default_rng(1982).lognormal(0, 0.04, (5, 200))
cold_ms, asked_ms = 1900, 0.012  # the first call compiles; a call not awaited returns at once
ms = {n: 1e3 * sum(on_card(n, "NVIDIA T4")) for n in (64, 512)}
sent_ms = 1e3 * on_card(64, "NVIDIA T4")[1]
reports = {  # ms a call, first call in the mean, run in s, rows on card and CPU, times sent
    "honest": (ms[64] * noise[0], False, None, (64, 64), 200),
    "ash": (asked_ms * noise[1], False, 200 * ms[64] / 1000, (64, 64), 200),
    "beech": (ms[64] * noise[2], True, None, (64, 64), 200),
    "cherry": ((ms[64] - sent_ms) * noise[3], False, None, (64, 64), 1),
    "hazel": (ms[512] * noise[4], False, None, (512, 1), 200),
}


# %% tags=["hide-input"]
def row_of(name, calls, with_first, run_s, rows, sent):
    told = (calls.sum() + cold_ms) / 201 if with_first else calls.mean()
    run = run_s or (calls.sum() / 1000 + cold_ms / 1000 * with_first)
    card_us, cpu_us = 1000 * told / rows[0], 60
    mb = sent * rows[0] * X[0].nbytes / 1e6
    cells = [f"{told:.3f}", f"{np.median(calls):.3f}", f"{run:.3f}", *map(str, rows), f"{mb:,.0f}"]
    return [name, *cells, f"{cpu_us / card_us:,.1f}"]


heads = ["", "says, ms", "median, ms", "run, s", "rows, card", "rows, CPU", "MB sent", "times"]
symptoms = [row_of(name, *report) for name, report in reports.items()]

# %% tags=["fragment"]
in_rows(heads, symptoms)

# %% [markdown] tags=["subslide"]
# "Says": milliseconds a call in the report. "Run": by the clock on the wall, all 200 calls. Name the mistake of each: `"did not wait"` (the call returns before the answer is there), `"compiled in the mean"`, `"sent the rows once"` or `"batches not alike"`.

# %%
suspicion = {"ash": ..., "beech": ..., "cherry": ..., "hazel": ...}

# %% tags=["hide-input"]
mistakes = {
    "ash": ("did not wait", "calls times what it says, against the run"),
    "beech": ("compiled in the mean", "who takes as long as what it says?"),
    "cherry": ("sent the rows once", "200 calls; how often did the pictures travel?"),
    "hazel": ("batches not alike", "what was compared with what?"),
}
for name, (mistake, hint) in mistakes.items():
    told = suspicion[name]
    course.check(f"the mistake of {name}", told if told is ... else told == mistake, hint)

# %% [markdown] tags=["notes"]
# Four minutes. Ash is the classic: the call hands over the work and returns. What finds all four? The wall clock over the whole run, rows and bytes counted, and the same batch on both sides.

# %% [markdown] tags=["slide", "summary"]
# ## Summary
#
# - A layer has operations and bytes. The roofline says which of them is the limit, and how much there is left to win on this machine.
# - Threads, short numbers, compilers and cards speed up what fits them: enough work at once, few starts, few bytes. Batches make work fit; a single picture mostly doesn't.
# - A speed-up is two numbers. Ask for both: batch, transfer, first call, threads, whose code.
#
# [Three exercises](exercises/11_hardware_acceleration.ipynb) wait: from which batch on a layer is limited by operations, a matrix larger than the array, and points above the roof. The ledger keeps your rows. Lesson 12: accuracy against speed.

# %% [markdown] tags=["slide", "quiz"]
# ## Quiz

# %% tags=["hide-input"]
course.quiz(
    {
        "question": "A dense layer, one row, weights in memory. What makes it faster?",
        "options": {
            "A processor with a higher peak": "It waits for bytes, and not for multipliers.",
            "Weights in int8": "A quarter of the bytes, and bytes are the limit.",
            "A second thread that multiplies": "Both would wait for the same memory.",
        },
        "answer": "Weights in int8",
    }
)

# %% tags=["fragment", "hide-input"]
course.quiz(
    {
        "question": "A tenth of the work must be done by one. What can 1,000 cores win at most?",
        "options": {
            "1,000 times": "The tenth takes as long as before.",
            "900 times": "Shares of time do not multiply in that way.",
            "Ten times": "When all the rest takes no time, the tenth is left.",
        },
        "answer": "Ten times",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "Why is a small network slower on a GPU, for one picture?",
        "options": {
            "Starting kernels takes longer than computing": "Some microseconds for each layer.",
            "Its clock is slower": "It is; ten thousand multipliers make up for that.",
            "float32 is too precise for it": "It has the same float32.",
        },
        "answer": "Starting kernels takes longer than computing",
    }
)

# %% tags=["fragment", "hide-input"]
course.quiz(
    {
        "question": "Four rows pass through a systolic array of 4 × 4. How many ticks?",
        "options": {
            "4": "So many until the last row has begun.",
            "10": "m + 2n − 2: the last must cross the array, and its sum must come down.",
            "16": "The products of one row are done side by side.",
        },
        "answer": "10",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "bfloat16 or float16: which keeps a number of 100,000?",
        "options": {
            "float16": "Its largest number is 65,504.",
            "bfloat16": "It has the exponent of float32, and few digits.",
            "Both": "Five bits of exponent end at 65,504.",
        },
        "answer": "bfloat16",
    }
)

# %% [markdown] tags=["skip", "sources"]
# ## Sources
#
# - Two walls: S. Williams, A. Waterman and D. Patterson, *Roofline: An Insightful Visual Performance Model for Multicore Architectures*, Communications of the ACM 52, 2009.
# - Threads: G. M. Amdahl, *Validity of the Single Processor Approach to Achieving Large Scale Computing Capabilities*, AFIPS 1967.
# - Systolic arrays: H. T. Kung, *Why Systolic Architectures?*, IEEE Computer 15, 1982; N. P. Jouppi et al., *In-Datacenter Performance Analysis of a Tensor Processing Unit*, ISCA 2017.
# - Energy: M. Horowitz, *Computing's Energy Problem (and What We Can Do About It)*, ISSCC 2014.
# - Cards: NVIDIA, *T4 Tensor Core GPU* (data sheet: 8.1 TFLOPS float32, 320 GB/s, PCIe 3.0 × 16) and *H200 Tensor Core GPU* (data sheet: 67 TFLOPS float32, 4.8 TB/s, PCIe 5.0). Links: PCI Express base specification, 0.985 GB/s a lane of version 3 and 3.938 of version 5, one way.
# - FPGAs: AMD, *Zynq UltraScale+ MPSoC Data Sheet: Overview*, DS891; Xilinx, *Deep Learning with INT8 Optimization on Xilinx Devices*, WP486, 2017.
# - Sixteen bits: P. Micikevicius et al., *Mixed Precision Training*, ICLR 2018; D. Kalamkar et al., *A Study of BFLOAT16 for Deep Learning Training*, 2019.

# %% [markdown] tags=["slide", "title"]
# # Quantization
#
# **Eight bits instead of thirty-two: what do you pay?**

# %%
import numpy as np

from inferkit.datasets import load_signs
from inferkit.models import LiteRTModel, load_reference

signs, network = load_signs(), load_reference("signs-cnn")
X, y = signs.images / np.float32(255), signs.target


def in_levels(x, bits):  # light from 0 to 1, in so many bits
    return np.round(x * (2**bits - 1)) / np.float32(2**bits - 1)


for bits in (8, 4, 3, 2, 1):
    right = (network(in_levels(X, bits)).argmax(axis=1) == y).mean()
    print(f"pictures of {bits} bits a colour: {right:.2f} of the answers are right")

# %% tags=["skip"]
import matplotlib.pyplot as plt

from inferkit.plots import COLOURS, label_lines, show, slide_size, use_style


# %% tags=["skip"]
def pictures_figure(picture, all_bits):
    fig, axes = plt.subplots(1, len(all_bits), figsize=slide_size(height=0.5))
    for ax, bits in zip(axes, all_bits):
        coarse = in_levels(picture, bits)
        p = network(coarse[None])[0]
        ax.imshow(coarse)
        words = f"{bits} bit{'s' * (bits > 1)}\n{signs.target_names[p.argmax()]}, {p.max():.0%}"
        ax.set_title(words, loc="center", fontsize=14)
        ax.set_axis_off()
    return fig


# %% tags=["subslide"]
use_style()
sign = X[23]
fig = pictures_figure(sign, (8, 4, 3, 2, 1))
show(
    fig, alt="A sign that says turn right is read down to 2 bits; in 1 bit it is read as turn left."
)

# %% [markdown] tags=["skip"]
# A picture can lose most of its bits, and the network reads it all the same. The network itself is 30,444 numbers of 32 bits. Must they be so exact? To round them to few bits is
# called **quantization**. It is sold with a promise: four times smaller, and faster. This lesson weighs the promise, on your machine.

# %% [markdown] tags=["notes"]
# Two minutes. Ask first: who would bet on 4 bits? On 1? Then run. The signs are drawn by a program, and the network has never seen these.

# %% [markdown] tags=["slide", "objectives"]
# ## You will be able to
#
# - turn numbers into 8-bit integers and back by hand: scale, zero point, rounding, saturation;
# - compute a layer in integers, and say why its sums need 32 bits;
# - choose between LiteRT's schemes by what you measured: accuracy, bytes, latency;
# - find out that a quantized model is bad, though nobody raised an error;
# - train a network that shall live with 2 bits.
#
# 30 minutes to teach, 30 minutes to practise.
#
# **Needs** lesson 02: silent faults. Lesson 03: medians, measuring in turns.

# %% [markdown] tags=["slide", "predict"]
# ## What do you expect?
#
# The same network, all its weights and all that flows between its layers in 8 bits.

# %%
from inferkit import course

smaller = course.guess("How many times smaller will its file be?", low=1, high=10, unit="times")
smaller

# %% tags=["subslide"]
faster = course.guess("And how many times as fast?", low=0.1, high=100, unit="times")
faster

# %% [markdown] tags=["notes"]
# One minute. Nearly everybody says four for the first: 32 / 8. For the second, hear both sides: "four, too" and "the same, a multiplication is a multiplication". Below 1 means slower.

# %% [markdown] tags=["slide", "by-hand"]
# ## By hand: a ruler with 256 marks
#
# Eight bits name 256 integers, from −128 to 127. Lay them like the marks of a ruler along the numbers in use. The distance of two marks is the **scale** $s$; the mark at 0 is the **zero point** $z$.


# %%
def ruler(low, high, bits=8):
    scale = (high - low) / (2**bits - 1)
    return scale, round(-(2 ** (bits - 1)) - low / scale)


def to_integers(x, scale, zero, bits=8):
    q = np.round(x / scale) + zero
    return np.clip(q, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1).astype(int)


def to_reals(q, scale, zero):
    return scale * (q - zero)


# %% tags=["subslide"]
from IPython.display import Markdown

scale, zero = ruler(-1, 3)
print(f"from -1 to 3: scale {scale:.5f}, zero point {zero}")
table = ["| number | integer | comes back as | off by |", "|---|---|---|---|"]
for x in (-1, -0.3, 0, 0.5, 2.718, 3, 9):
    q = to_integers(x, scale, zero)
    back = to_reals(q, scale, zero)
    table.append(f"| {x} | {q} | {back:.3f} | {back - x:.3f} |")
Markdown("\n".join(table))

# %% [markdown] tags=["skip"]
# Inside the range a number is off by half a scale at most. Zero is exact, whatever the range: it must be, for padding and ReLU are full of zeros. And 9 lies beyond the last mark: it becomes the last mark. That is
# **saturation**, and no error tells you of it.

# %% [markdown] tags=["subslide"]
# The library's calls do the same.

# %%
from inferkit.optimize import affine_parameters, dequantize, fake_quantize, quantize_affine

many = np.random.default_rng(9).normal(1, 1.5, 10_000)
same = [float(s) for s in affine_parameters(-1, 3)] == [scale, zero]
q = quantize_affine(many, scale, zero)
back = dequantize(q, scale, zero)
print("scale and zero point:", same)
print("integers:", np.array_equal(q, to_integers(many, scale, zero)))
print("and back:", np.allclose(back, to_reals(q.astype(int), scale, zero)))
print(f"of 10,000 normal numbers saturated: {np.isin(q, (-128, 127)).mean():.2f}")

# %% [markdown] tags=["notes"]
# Four minutes. Draw the ruler on the board: −1 and 3 at its ends, 256 marks. Where is 0? What does 9 become? Ask for the choice behind it: a wide range saturates nothing and has coarse marks; a narrow one has fine marks and
# cuts off. Every fault of this lesson is one of the two.

# %% [markdown] tags=["slide"]
# ## One ruler, or one for each filter?
#
# Weights lie around 0: zero point 0, as many marks above as below (**symmetric**). The first layer has 16 filters. Lay one ruler along all of them, or one along each?

# %%
from inferkit.optimize import read_layers

layers = [layer for layer in read_layers(network) if layer.weights]
filters = layers[0].weights.data  # 16 filters of 5 × 5 points in 3 colours
for_all = np.abs(filters).max() / 127
for_each = np.abs(filters).max(axis=(1, 2, 3), keepdims=True) / 127
used = np.abs(np.round(filters / for_all)).max(axis=(1, 2, 3))
print(f"of 127 marks the filters reach {used.min():.0f} to {used.max():.0f}, if they share a ruler")
each = fake_quantize(filters, axis=0)  # the library's call
print("by hand the same:", np.allclose(each, for_each * np.round(filters / for_each), atol=1e-7))

# %% [markdown] tags=["fragment"]
# **Per tensor** a small filter pays for a large one: it gets a quarter of the marks, so two of its eight bits are idle. **Per channel** each has its own scale. LiteRT does that for weights of convolutions and dense layers.

# %% [markdown] tags=["slide"]
# ## A sum of products, in integers
#
# $\sum w\,x \;\approx\; s_w s_x \sum q_w\,(q_x - z_x)$: all that is summed is integers; the two scales come once, at the end.

# %%
w, x = filters[3].ravel(), sign[14:19, 8:13].ravel()  # a filter, and what lies under it
s_w, (s_x, z_x) = np.abs(w).max() / 127, ruler(0, 1)
q_w, q_x = to_integers(w, s_w, 0), to_integers(x, s_x, z_x)
total = q_w @ (q_x - z_x)
print(f"in integers {total}, so {s_w * s_x * total:.4f}; in real numbers {w @ x:.4f}")
print(f"the same sum, kept in 16 bits: {np.array(total).astype(np.int16)}")

terms = max(layer.weights.size // len(layer.weights.data) for layer in layers)
print(f"the longest sum has {terms} products, each up to 127 · 255: {terms * 127 * 255:,} in all")
print(f"16 bits end at {2**15 - 1:,}, and 32 bits at {2**31 - 1:,}")

# %% [markdown] tags=["skip"]
# A product of two 8-bit integers fills 16 bits. A few of them overflow 16 bits and come out with the wrong sign, silently. In 32 bits, sums of 66,000 products are safe, whatever the numbers are. So quantized networks
# multiply in 8 bits and add in 32: that is what **int32 accumulator** means.

# %% [markdown] tags=["notes"]
# Three minutes. Ask: how many products fit into 16 bits if all are as large as can be? (One.) Who has seen an odometer run over? The dot product is off by less than one in a hundred, though each factor was rounded: errors with
# both signs cancel.

# %% [markdown] tags=["slide"]
# ## A whole layer, by hand
#
# Now the real thing. TensorFlow's converter makes the integer file; how it finds the ranges, the next sections say. What does the file hold for the first dense layer?

# %%
from inferkit.datasets import make_signs
from inferkit.optimize import quantize

known, known_y = make_signs(1200, random_state=9)  # other signs: none of them is in X
known = known / np.float32(255)
keras_network = load_reference("signs-cnn", "keras")  # TensorFlow comes with it
int8 = quantize(keras_network, "int8", calibration=known[:240])
dense = next(layer for layer in read_layers(int8) if layer.op == "FULLY_CONNECTED")
for part in (dense.inputs[0], dense.weights, dense.bias, dense.output):
    scales = f"{part.scale.size} scale{'s' * (part.scale.size > 1)}"
    print(f"{part.dtype:5} {part.shape}, {scales}, zero point {part.zero_point[0]}")

# %% [markdown] tags=["subslide"]
# The runtime can keep every tensor that it computes. Ask it for what goes into this layer and for what comes out, as stored.

# %%
import warnings

from ai_edge_litert.interpreter import Interpreter, OpResolverType

warnings.simplefilter("ignore", UserWarning)  # that keeping every tensor takes memory
plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # the others melt layers into one
options = {"experimental_preserve_all_tensors": True, "experimental_op_resolver_type": plain}
runtime = Interpreter(model_content=int8.content, **options)
runtime.allocate_tensors()


def seen_by_the_runtime(picture):
    runtime.set_tensor(runtime.get_input_details()[0]["index"], picture[None])
    runtime.invoke()
    return [runtime.get_tensor(one.index)[0] for one in (dense.inputs[0], dense.output)]


# %% tags=["subslide"]
def by_hand(q_x):
    (z_x,), (z_y,) = dense.inputs[0].zero_point, dense.output.zero_point
    total = dense.weights.data.astype(np.int32) @ (q_x.astype(np.int32) - z_x)
    total = total + dense.bias.data  # int32, in units of s_w · s_x
    steps = dense.inputs[0].scale * dense.weights.scale / dense.output.scale
    return np.clip(np.round(steps * total) + z_y, z_y, 127)  # from z_y on: that is the ReLU


differences = []
for picture in X[:200]:
    q_x, q_y = seen_by_the_runtime(picture)
    differences.append(np.abs(by_hand(q_x) - q_y))
print("200 pictures, 24 numbers each; the largest difference, in steps:", np.max(differences))

# %% [markdown] tags=["skip"]
# At most 1 step, where the runtime rounds a half the other way. There is no real number left but `steps`, and on a device without floats that becomes an integer and a shift, too. You have seen all there is in
# an int8 network: convolutions only sum over other places.

# %% [markdown] tags=["notes"]
# Five minutes; the first cell takes some seconds, for TensorFlow is loaded. Use them: who would have thought that ReLU costs nothing? Ask what `steps` is. (How many steps of the output are one step of the sum.) A difference of 0 or 1 are
# both right; 2 would be a fault in our code.

# %% [markdown] tags=["slide", "measure"]
# ## Measure: five ways to keep a network
#
# | scheme | weights | between the layers | sums |
# |---|---|---|---|
# | float32 | 32 bits | 32 bits | real |
# | float16 | 16 bits, real | 32 bits | real |
# | dynamic | 8 bits | rounded to 8 while it runs | integers |
# | int8 | 8 bits | 8 bits, ranges fixed beforehand | integers |
# | int16x8 | 8 bits | 16 bits, ranges fixed beforehand | integers |


# %% tags=["subslide"]
def ask(model, rows=X):  # 64 at a time, for a network keeps the memory of its largest batch
    return np.concatenate([model(rows[i : i + 64]) for i in range(0, len(rows), 64)])


schemes = {"float32": network}
for scheme in ("float16", "dynamic"):
    schemes[scheme] = quantize(keras_network, scheme)
schemes["int8"] = int8
schemes["int16x8"] = quantize(keras_network, "int16x8", calibration=known[:240])
for scheme, model in schemes.items():
    agree = (ask(model).argmax(axis=1) == ask(network).argmax(axis=1)).mean()
    print(f"{scheme} answers as float32 does for over 95 in 100:", agree > 0.95)

# %% tags=["subslide"]
from inferkit.benchmark import Ledger, compare
from inferkit.predictor import Predictor

names = np.array(signs.target_names)
readers = {f"signs, {s}": Predictor(m, labels=names.tolist()) for s, m in schemes.items()}
found = compare(readers, X, names[y], n=700, rounds=10, ledger=Ledger.open())
print("rows for the ledger:", len(found))

# %% tags=["measured", "skip"]
found

# %% tags=["skip"]
import gzip


def weigh(model):  # bytes: of the file, of its weights, and of the file after gzip
    held = [part for layer in read_layers(model) for part in (layer.weights, layer.bias) if part]
    return len(model.content), sum(p.n_bytes for p in held), len(gzip.compress(model.content, 9))


weights_of = {scheme: weigh(model) for scheme, model in schemes.items()}
report = int8.report  # the library's count
counted = report.file_bytes, report.weight_bytes, report.gzip_bytes
print("the library counts the same:", counted == weights_of["int8"])

# %% tags=["measured", "subslide"]
speed = {s: 1 / found.ratio(f"signs, {s}", "signs, float32").value for s in schemes}
kB = {s: [n / 1000 for n in sizes] for s, sizes in weights_of.items()}
table = ["| | file, kB | its weights | gzip | p50, µs | times as fast |", "|---" * 6 + "|"]
for s in schemes:
    cells = [f"{n:.1f}" for n in kB[s]]
    cells += [f"{1000 * found[f'signs, {s}'].p50_ms:,.1f}", f"{speed[s]:.2f}"]
    table.append(f"| {s} | " + " | ".join(cells) + " |")
Markdown("\n".join(table))

# %%
ratio = weights_of["float32"][0] / weights_of["int8"][0]
print("the int8 file is less than half of the float32 file:", ratio > 2)
weights_ratio = weights_of["float32"][1] / weights_of["int8"][1]
print(f"the file shrinks {ratio:.2f} times, the weights in it {weights_ratio:.2f} times")
print("int16x8 is less than half as fast as float32:", speed["int16x8"] < 0.5)
lost = found["signs, float32"].accuracy - found["signs, int8"].accuracy
print("int8 loses less than two answers of a hundred:", lost < 0.02)

# %% tags=["measured", "subslide"]
smaller.beside(ratio)

# %% tags=["measured", "fragment"]
faster.beside(speed["int8"])

# %% tags=["skip"]
print("the file has shrunk, and by less than four:", 2 < ratio < 4)

# %% [markdown] tags=["notes"]
# Four minutes. Let the room find the row that nobody would have guessed (int16x8), and the one that changed nothing but the file (float16). Ask why the file is not four times smaller although the weights are.

# %% [markdown] tags=["slide", "figure"]
# ## What each scheme costs


# %% tags=["skip"]
def panel(ax, title, **looks):
    ax.set(title=title, yticks=[], **looks)
    ax.title.set(fontsize=15)
    ax.spines["left"].set_visible(False)


def note(ax, words, place, offset, **style):
    ax.annotate(words, place, offset, textcoords="offset points", **style)


# %% tags=["skip"]
def add_scheme(axes, place, scheme, entry, sizes):
    wrong, size, time = axes
    share = 100 * (1 - np.array([entry.accuracy, entry.accuracy_high, entry.accuracy_low]))
    wrong.plot(share[1:], [place, place], color=COLOURS["green"], lw=9, alpha=0.35)
    wrong.plot(share[0], place, "o", ms=11, color=COLOURS["green"])
    note(wrong, scheme, (0, place), (-12, -6), ha="right", size=17)
    file, weights, us = sizes[0] / 1000, sizes[1] / 1000, 1000 * entry.p50_ms
    size.barh(place, file, 0.55, color=COLOURS["blue"], alpha=0.35)
    size.barh(place, weights, 0.55, color=COLOURS["blue"])
    note(size, f"{file:.0f}", (file, place), (6, -6))
    time.plot(us, place, "o", ms=14, color=COLOURS["orange"])
    note(time, f"{us:,.0f}", (us, place), (0, 12), ha="center")


# %% tags=["skip"]
def poster(entries, sizes):
    fig, axes = plt.subplots(1, 3, figsize=slide_size(), sharey=True)
    us, places = [1000 * entry.p50_ms for entry in entries.values()], (-0.6, len(entries) - 0.3)
    panel(axes[0], "wrong answers, %", ylim=places)
    panel(axes[1], "kB (dark: weights)", xticks=(0, 50, 100), xlim=(0, sizes["float32"][0] / 850))
    panel(axes[2], "one answer, µs", xlim=(min(us) / 2.5, max(us) * 2.5), xscale="log")
    for place, scheme in enumerate(reversed(entries)):
        add_scheme(axes, place, scheme, entries[scheme], sizes[scheme])
    axes[0].set_xlim(0, 1.15 * axes[0].get_xlim()[1])
    axes[2].xaxis.set_major_formatter("{x:,.0f}")
    return fig


# %% tags=["skip"]
def add_guess(ax, value, place):
    if value is not None:
        ax.plot(value, place, "*", ms=20, color=COLOURS["pink"], mec="black", zorder=9)
        note(ax, "your guess", (value, place), (0, -31), ha="center")


# %% tags=["skip"]
entries = {scheme: found[f"signs, {scheme}"] for scheme in schemes}
int8_at = list(reversed(schemes)).index("int8")


def add_guesses(fig):
    for ax, guess, now in (
        (fig.axes[1], smaller, kB["float32"][0]),
        (fig.axes[2], faster, 1000 * entries["float32"].p50_ms),
    ):
        add_guess(ax, guess.value and now / guess.value, int8_at)
    said = f"int8: {ratio:.1f} times smaller, {speed['int8']:.1f} times as fast"
    fig.suptitle(said, weight="bold")


# %% tags=["measured", "fragment"]
fig = poster(entries, weights_of)
add_guesses(fig)
show(
    fig,
    alt="All schemes err alike; files shrink to a third; int16x8 alone is far to the slow side.",
)

# %% tags=["skip"]
intervals = [(entry.accuracy_low, entry.accuracy_high) for entry in entries.values()]
overlap = max(low for low, _ in intervals) < min(high for _, high in intervals)
print("the intervals of all five accuracies overlap:", overlap)

# %% [markdown] tags=["notes"]
# Three minutes. Left: the bands overlap, so nobody has shown that any scheme is worse. Middle: dark is weights, pale is the description of the network. Right: a logarithmic axis; each mark is ten times the one before.

# %% [markdown] tags=["slide", "why"]
# ## Why: what the machine does
#
# 1.86 million multiplications for each answer, the same for all. What differs is how many numbers fit into one instruction.

# %% tags=["measured"]
work = report.macs
table = ["| | multiplications a ns | bytes of weights to fetch |", "|---|---|---|"]
for s, entry in entries.items():
    in_memory = 4 * report.n_parameters if s == "float16" else weights_of[s][1]
    table.append(f"| {s} | {work / entry.p50_ms / 1e6:.1f} | {in_memory:,} |")
print("this processor can do:", ", ".join(found.latencies["signs, int8"].stamp["flags"]))
Markdown("\n".join(table))

# %%
print(f"{work:,} multiplications an answer")
print("float32 does over twice those of int16x8 in a ns:", speed["int16x8"] < 0.5)

# %% [markdown] tags=["skip"]
# A register of 512 bits holds 16 floats, or 64 bytes; with VNNI (on ARM: DOTPROD) one instruction multiplies bytes and adds them up in 32 bits, four at a time. Where such instructions are missing, int8 gains little. `float16` is made float32
# again when the file is loaded: half the file, and the same work. And for int16x8 nobody has written fast code in this runtime: it takes a plain loop. A scheme is as fast as its **kernel**.

# %% [markdown] tags=["notes"]
# Three minutes. The number of multiplications did not change, and their size is not what counts: what counts is whether somebody wrote the loop. Ask who would use int16x8 (a microphone with a signal processor that has 16-bit units).

# %% [markdown] tags=["slide"]
# ## Six decibels a bit
#
# A number inside the range is off by anything between $-s/2$ and $s/2$. So the noise has the power $s^2/12$, and one bit more makes it four times smaller: 6 dB of **signal to quantization noise** (SQNR).

# %%
from inferkit.optimize import sqnr_db

all_weights = [layer.weights.data for layer in layers]
table = ["| bits | " + " | ".join(f"layer {i}" for i in range(1, 7)) + " |", "|---" * 7 + "|"]
for bits in (8, 7, 6, 5, 4, 3):
    dB = [sqnr_db(w, fake_quantize(w, bits=bits, axis=0)) for w in all_weights]
    table.append(f"| {bits} | " + " | ".join(f"{d:.1f}" for d in dB) + " |")
Markdown("\n".join(table))


# %% tags=["skip"]
def sqnr_figure(runs):
    fig, ax = plt.subplots(figsize=slide_size(height=0.75))
    for (scheme, told), colour in zip(runs.items(), ("orange", "blue", "green")):
        ax.plot(range(1, len(told) + 1), told, "o-", ms=10, color=COLOURS[colour], label=scheme)
    ax.set(xlabel="layer", ylabel="SQNR of its output, dB", ylim=(0, 55))
    ax.set(xlim=(0.8, len(told) + 0.9), xticks=range(1, len(told) + 1))
    label_lines(ax)
    return fig


def layers_dB(report):
    return [one.sqnr_db for one in report.layers if one.n_parameters]


# %% tags=["subslide"]
fig = sqnr_figure({s: layers_dB(schemes[s].report) for s in ("int8", "int16x8")})
fig.axes[0].set_title("16 bits between the layers, and hardly less noise")
show(fig, alt="In int8 all layers lie above 30 dB; int16x8 is better throughout, by a few dB.")

# %% [markdown] tags=["skip"]
# With 16 bits between the layers one might hope for 48 dB more. The weights still have 8, and theirs is the noise that is left. A `report` says this for each layer; the one furthest down is where to look first.

# %% [markdown] tags=["notes"]
# Three minutes. Check the table by subtracting neighbours: about 6 each, and a little more where few bits are left. Ask which layer they would give more bits, if they had some to give.

# %% [markdown] tags=["slide"]
# ## What the converter doesn't say
#
# It learns the range of each layer from some typical rows: **calibration**. Give it bad ones. (`export_litert` is Keras' own `model.export(..., format="litert")`, with the C++ chatter held back.)

# %%
from inferkit.models import export_litert, import_tensorflow

tf = import_tensorflow()


def converted(rows):
    def typical():
        for row in rows:
            yield [row[None]]

    options = {"optimizations": [tf.lite.Optimize.DEFAULT], "representative_dataset": typical}
    return LiteRTModel(export_litert(keras_network, **options))


# %% tags=["subslide"]
one_raw = known[:240].copy()
one_raw[99] *= 255  # somebody forgot to divide one picture by 255
rows = {"zeros": 0 * known[:240], "one of 240 not divided": one_raw, "too dark": known[:240] / 4}
bad = {name: converted(some) for name, some in rows.items()}
table = ["| calibrated on | right | sure of it |", "|---|---|---|"]
for name, model in {"240 pictures": int8, **bad}.items():
    p = ask(model)
    table.append(f"| {name} | {(p.argmax(axis=1) == y).mean():.2f} | {p.max(axis=1).mean():.2f} |")
Markdown("\n".join(table))

# %% [markdown] tags=["subslide"]
# No error, no warning. Zeros: all ranges are a point, and everything saturates. One raw picture: the ruler reaches to 255, and all other pictures lie between its first two marks. Too dark: what is bright is cut off. The library looks at the rows first:

# %%
for name in ("zeros", "one of 240 not divided"):
    try:
        quantize(network, "int8", calibration=rows[name], X=X, y=y)
    except ValueError as refused:
        print(f"{name}: {refused}")

# %% [markdown] tags=["notes"]
# Four minutes. Ask what else could be wrong with calibration rows. (Classes missing, another camera, too few.) Too dark is the nasty one: the model looks half alive.

# %% [markdown] tags=["slide"]
# ## One filter, fifty times as large
#
# ReLU lets a factor through: make one filter 50 times as large, and divide by 50 where it is read. The function stays what it was. A file is bytes, so exchange the bytes.


# %%
def with_weights(model, *pairs):  # the same file with other numbers in it
    content = model.content
    for old, new in pairs:
        content = content.replace(old.tobytes(), np.asarray(new, old.dtype).tobytes())
    return LiteRTModel(content)


first, second = layers[0], layers[1]
factor = np.ones(16, np.float32)
factor[12] = 50
large = first.weights.data * factor[:, None, None, None]
bias, divided = first.bias.data * factor, second.weights.data / factor
parts = first.weights.data, first.bias.data, second.weights.data

# %% tags=["subslide"]
ways = {
    "not rounded": lambda w: w,
    "8 bits, a ruler for each filter": lambda w: fake_quantize(w, axis=0),
    "8 bits, one ruler for all": lambda w: fake_quantize(w),
}
for way, rounded in ways.items():
    changed = with_weights(network, *zip(parts, (rounded(large), bias, rounded(divided))))
    right = (ask(changed).argmax(axis=1) == y).mean()
    print(f"{way}: {right:.2f} right")

# %% [markdown] tags=["skip"]
# With one ruler, the 15 other filters keep a handful of marks each. Training makes such networks by itself, most of all where batch normalisation divides by small spreads (MobileNets are known for it). A scale for each channel is the
# cure for weights. For what flows between layers there is one scale for all, so there an outlier hurts still.

# %% [markdown] tags=["notes"]
# Three minutes. First row: check that the function has not changed. Ask before the last row. log2 of 50 is 5.6: that many of 8 bits are lost to the others.

# %% [markdown] tags=["slide"]
# ## Fewer bits: round while it learns
#
# Two bits: each weight is −s, 0 or s. Only the first and the last layer keep eight, as is usual. Rounding has no slope, so nothing could be learned through it. The trick is to lie: round on the way forward, and pretend on the way back that
# nothing was rounded (the **straight-through estimator**).

# %%
from inferkit.models import import_keras

keras = import_keras()
learner = keras.models.clone_model(keras_network)
learner.set_weights(keras_network.get_weights())
weights = learner.trainable_variables
kernels = [w for w in weights if len(w.shape) > 1]
few = {id(w) for w in kernels[1:-1]}


# %% tags=["subslide"]
def rounded(w, top):  # −top to top, a scale for each filter
    scale = tf.reduce_max(tf.abs(w), axis=range(len(w.shape) - 1), keepdims=True) / top
    return w + tf.stop_gradient(scale * tf.round(w / scale) - w)  # the lie


def answer(x):
    now = [rounded(w, 1) if id(w) in few else w * 1 for w in weights]
    return learner.stateless_call(now, learner.non_trainable_variables, x, training=False)[0]


w = kernels[1]
theirs = fake_quantize(w.numpy(), bits=2, axis=3)
print("by hand as by library:", np.allclose(rounded(w, 1), theirs, atol=1e-6))
before = (ask(answer).argmax(axis=1) == y).mean()
print("rounded after training, less than three in four right:", before < 0.75)

# %% tags=["subslide"]
adam = keras.optimizers.Adam(1e-3)


@tf.function
def step(x, y):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, answer(x)))
    adam.apply_gradients(zip(tape.gradient(loss, weights), weights))


adam.build(weights)
for epoch in range(3):
    for batch in np.random.default_rng(epoch).permutation(1200).reshape(24, 50):
        step(known[batch], known_y[batch])

# %% tags=["measured", "fragment"]
after = (ask(answer).argmax(axis=1) == y).mean()
print(f"right with 2 bits: {before:.3f} rounded after training, {after:.3f} rounded while training")

# %%
print("of the wrong answers more than half are gone:", 1 - after < (1 - before) / 2)

# %% [markdown] tags=["subslide"]
# That is **quantization-aware training**. The library does it for 8 bits, activations and their ranges included. Does this network need it?

# %%
from inferkit.optimize import quantization_aware_training

aware = quantization_aware_training(
    keras_network, known[:600], known_y[:600], epochs=1, random_state=9, progress=False
)

# %% tags=["measured", "fragment"]
right = {m.report.method: (ask(m).argmax(axis=1) == y).mean() for m in (int8, aware)}
gain = right["int8-aware"] - right["int8"]
verdict = "helps" if gain > 0.01 else "harms" if gain < -0.01 else "changes little"
print(f"int8 {right['int8']:.3f}, trained for it {right['int8-aware']:.3f}: it {verdict} here")

# %%
print("trained for it, over 90 of 100 are right:", right["int8-aware"] > 0.9)

# %% [markdown] tags=["skip"]
# For real clothes instead of drawn signs: 2,000 pictures of Fashion-MNIST, 1 MB from the net, a small network trained on 1,500 of them and rounded.


# %% tags=["skip"]
def clothes_in_8_bits():
    from inferkit.datasets import fetch_fashion_mnist
    from inferkit.models import cnn, train

    try:
        clothes = fetch_fashion_mnist("sprite")
    except OSError as missing:
        return f"not to be had: {missing}"
    light, kind, tailor = clothes.images / np.float32(255), clothes.target, cnn((28, 28))
    train(tailor, light[:1500], kind[:1500], epochs=5, progress=False)
    held_out = {"X": light[1500:], "y": kind[1500:], "max_loss": 0.1}
    return quantize(tailor, "int8", calibration=light[:240], **held_out).report


# %% tags=["skip"]
get_public = False  # True: fetch them
print(clothes_in_8_bits() if get_public else "the clothes were not asked for")

# %% [markdown] tags=["notes"]
# Five minutes. The line with `stop_gradient` is the whole method: going forward the two w cancel, going back the bracket does not exist. Ask what the network does with 2 bits that it could not before: it moves those weights that sit between two
# marks. At 8 bits there was nothing to repair: try the cheap way first, and measure.

# %% [markdown] tags=["slide", "textbook"]
# ## When the textbook is wrong here
#
# "Going from 32-bit floats to 8-bit integers makes a model smaller and faster." One more experiment: two layers alone, an ordinary convolution and a **depthwise** one (each channel by itself, as in MobileNets).


# %%
def alone(layer):
    inputs = keras.Input((12, 12, 128))
    return keras.Model(inputs, layer(inputs))


keras.utils.set_random_seed(9)
kinds = {"convolution": keras.layers.Conv2D, "depthwise": keras.layers.DepthwiseConv2D}
pair = {}
for name, kind in kinds.items():
    layer = alone(kind(128, 3) if name == "convolution" else kind(3))
    pair[f"{name}, float32"] = LiteRTModel(export_litert(layer))
    pair[f"{name}, dynamic"] = quantize(layer, "dynamic")

# %% tags=["skip"]
noise = np.random.default_rng(9).random((20, 12, 12, 128), dtype=np.float32)
two_layers = compare(pair, noise, n=200, rounds=10)
shrunk = {n: pair[f"{n}, float32"].size_bytes / pair[f"{n}, dynamic"].size_bytes for n in kinds}
print({name: round(factor, 1) for name, factor in shrunk.items()}, "times smaller files")

# %% tags=["measured", "subslide"]
shrinks = f"weights {weights_ratio:.2f} times, the file {ratio:.2f} times"
said = [f"| it gets four times smaller | {shrinks} |"]
rates = {"int8": speed["int8"], "float16": speed["float16"], "int16x8": speed["int16x8"]}
for name in kinds:
    rates[f"a {name} alone, dynamic"] = (
        1 / two_layers.ratio(f"{name}, dynamic", f"{name}, float32").value
    )
for name, rate in rates.items():
    word = "holds" if rate > 1.1 else "does not hold" if rate < 0.9 else "no difference"
    said.append(f"| it gets faster: {name} | {word}: {rate:.2f} times as fast |")
Markdown("\n".join(["| they say | here |", "|---|---|", *said]))

# %%
print("ordinary convolution: the file is less than half:", shrunk["convolution"] > 2)
print("depthwise: it is not:", shrunk["depthwise"] < 2)

# %% [markdown] tags=["skip"]
# "Smaller" holds for weights, and less for files: names, shapes and ranges of a small network weigh as much as a third of its weights. "Faster" holds where three things come together: instructions for bytes, a kernel that uses them, and enough work for each
# number that is fetched. A depthwise layer does nine multiplications for a number. To round that number first, and the sum afterwards, can cost more than it saves.

# %% [markdown] tags=["notes"]
# Three minutes. Read the right column aloud; it follows your machine. On a processor without instructions for bytes more rows say "does not hold". Ask: which row would you have bet on? What would you measure before you promise a customer "four times faster"?

# %% [markdown] tags=["slide", "play"]
# ## Play
#
# One filter of the first layer, and the marks of its ruler. The picture and **all** weights get so many bits. At how many does the network fall over? And with a ruler for each filter?

# %% tags=["skip"]
rulers = {"one for all filters": None, "one for each filter": 0}


def with_bits(bits, axis):
    pairs = [(w, fake_quantize(w, bits=bits, axis=axis)) for w in all_weights]
    return with_weights(network, *pairs)


in_bits = {(b, r): with_bits(b, axis) for b in range(2, 9) for r, axis in rulers.items()}
hits = {key: (ask(model).argmax(axis=1) == y).mean() for key, model in in_bits.items()}
print("8 bits lose less than two of a hundred:", min(hits[8, r] for r in rulers) > 0.96)
print("with 2 bits most answers are wrong:", max(hits[2, r] for r in rulers) < 0.5)

# %% tags=["skip"]
import base64
import io

from IPython.display import HTML, display

STYLE = "image-rendering: pixelated; display: block; width: 104px; height: 104px"


def picture_in(bits):
    coarse, file = in_levels(sign, bits), io.BytesIO()
    plt.imsave(file, coarse)
    source = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    return coarse, HTML(f'<img alt="the sign in {bits} bits" style="{STYLE}" src="{source}">')


# %% tags=["skip"]
from inferkit.widgets import LiveFigure, bars, points, text

shown = filters[1].ravel()  # a filter of small weights
edges, screen = np.linspace(-0.5, 0.5, 41), None  # where the picture will be


def marks_of(bits, ruler):
    top = 2 ** (bits - 1) - 1
    distance = np.abs(shown if ruler == "one for each filter" else filters).max() / top
    return distance, distance * np.arange(-top, top + 1)


# %% tags=["skip"]
def rounding(bits, ruler):
    distance, marks = marks_of(bits, ruler)
    marks = marks[np.abs(marks) <= 0.5]
    coarse, picture = picture_in(bits)
    if screen:
        screen.update(picture)
    parts = [bars(edges, np.histogram(shown, edges)[0], label="weights", colour="blue")]
    parts += [points(marks, 0 * marks + 0.5, label="marks", colour="orange")]
    return parts + told_of(bits, ruler, distance, in_bits[bits, ruler](coarse[None])[0])


# %% tags=["skip"]
def told_of(bits, ruler, distance, p):
    noise = sqnr_db(shown, distance * np.round(shown / distance))
    return [
        text("right", f"{hits[bits, ruler]:.1%}"),
        text("this sign", signs.target_names[p.argmax()]),
        text("sure", f"{p.max():.0%}"),
        text("SQNR", f"{noise:.0f} dB"),
        text("weights", f"{sum(w.size for w in all_weights) * bits / 8000:.1f} kB"),
    ]


looks = {"start": {"bits": 4, "ruler": "one for all filters"}, "height": 200, "xlim": (-0.5, 0.5)}
looks |= {"xlabel": "weight", "ylabel": "how many", "labels": {"ruler": "ruler"}}
looks |= {"alt": "With {bits} bits, {ruler}: {right} of the answers are right; noise {SQNR}."}

# %% tags=["measured", "fragment"]
screen = display(picture_in(4)[1], display_id=True)
LiveFigure(rounding, {"bits": range(2, 9), "ruler": list(rulers)}, **looks)

# %% tags=["skip"]
gained = {b: bool(hits[b, "one for each filter"] > hits[b, "one for all filters"]) for b in (2, 3)}
print("at 2 and 3 bits it helps to have a ruler for each filter:", gained)

# %% [markdown] tags=["notes"]
# Three minutes. First: go down from 8 with one ruler for all; nothing happens for long, then everything does. Second: stay at 3, and change the ruler. Watch "sure": it hardly falls while the answers do (lesson 04 asked for that).

# %% [markdown] tags=["slide", "break-it"]
# ## Break it
#
# Four colleagues have brought the int8 network to small devices. Each device takes a picture as integers (−128 to 127), answers quickly, and reports no error. Each colleague has made one mistake.

# %% tags=["hide-input"]
stored = (signs.images.astype(int) - 128).astype(np.int8)  # what a device should be given
in_file = read_layers(int8)[0].weights.scale
order, exchanged = np.argsort(in_file), in_file.copy()
exchanged[order[[0, 1, -2, -1]]] = in_file[order[[-1, -2, 1, 0]]]
swapped = LiteRTModel(int8.content.replace(in_file.tobytes(), exchanged.tobytes()))
ports = {  # the file, and what goes in
    "honest": (int8, stored),
    "ash": (int8, np.clip(stored.astype(int) + 70, -128, 127)),
    "beech": (int8, signs.images.astype(np.int8)),
    "cherry": (swapped, stored),
    "hazel": (bad["one of 240 not divided"], stored),
}


# %% tags=["hide-input"]
def first_layer(model, rows):  # what it gives out, as stored
    runtime = Interpreter(model_content=model.content, **options)
    runtime.allocate_tensors()
    into, out = runtime.get_input_details()[0], read_layers(model)[0].output
    given = []
    for row in rows:
        runtime.set_tensor(into["index"], row[None])
        runtime.invoke()
        given.append(runtime.get_tensor(out.index)[0])
    return np.array(given), out


# %% tags=["hide-input"]
def symptoms(model, ints):
    light = (ints.astype(np.float32) + 128) / 255
    p, (q, out) = ask(model, light), first_layer(model, light[:60])
    real = out.scale * (q.astype(float) - out.zero_point)
    slope = (real * wanted).sum(axis=(0, 1, 2)) / (wanted**2).sum(axis=(0, 1, 2))
    off = np.abs(slope / np.median(slope) - 1) > 0.3
    r = np.corrcoef(ints[:60].ravel(), X[:60].ravel())[0, 1]
    cells = [(p.argmax(axis=1) == y).mean(), p.max(axis=1).mean(), r]
    cells = [f"{c:.2f}" for c in cells] + [f"{ints.mean():.0f}", off.sum(), len(np.unique(q))]
    return [str(cell) for cell in cells]


# %% tags=["hide-input", "fragment"]
wanted, _ = first_layer(network, X[:60])
heads = ["right", "sure", "r", "input, mean", "filters off", "marks in use"]
lines = ["| | " + " | ".join(heads) + " |", "|---" * 7 + "|"]
lines += [f"| {name} | " + " | ".join(symptoms(*port)) + " |" for name, port in ports.items()]
Markdown("\n".join(lines))

# %% [markdown] tags=["subslide"]
# "r": correlation of what goes in with the picture. "Filters off": of 16, those whose output is over 30 % larger or smaller than in float32, compared with the others. "Marks in use": of 256, by the first layer. Name each mistake:
# `"zero point off"`, `"integers wrapped"` (200 does not fit, and becomes −56), `"scales swapped"` or `"range too wide"`.

# %%
suspicion = {"ash": ..., "beech": ..., "cherry": ..., "hazel": ...}

# %% tags=["hide-input"]
mistakes = {
    "ash": ("zero point off", "the input is brighter than it should be; its order has survived"),
    "beech": ("integers wrapped", "does a brighter picture give larger integers?"),
    "cherry": ("scales swapped", "what goes in is right, and most filters are"),
    "hazel": ("range too wide", "what goes in is right; how fine is what comes out?"),
}
for name, (mistake, hint) in mistakes.items():
    said_so = suspicion[name]
    course.check(f"the mistake of {name}", said_so if said_so is ... else said_so == mistake, hint)

# %% [markdown] tags=["notes"]
# Five minutes. The order of the questions is the method: is the input right? Then the first layer: a few channels or all? A shift, a factor, coarse marks? Each has its symptom. What finds all four at once? A hundred known pictures, asked on the device and here, compared layer by layer.

# %% [markdown] tags=["slide", "summary"]
# ## Summary
#
# - A scale, a zero point, rounding, saturation: 8 bits give 256 marks, and each bit more 6 dB. Multiply in 8 bits, add in 32.
# - Weights shrink by four, files by less, and speed hangs on the kernel: measure each scheme on the machine that will run it.
# - Ranges come from rows that you choose. Bad ones raise no error; look at the accuracy, the confidence and each layer's noise. Where rounding hurts, round while training.
#
# [Three exercises](exercises/09_quantization.ipynb) wait: the fewest bits for a network that reads digits, a convolution in integers, and a device that adds wrongly. The ledger keeps your rows. Lesson 10: leave weights out.

# %% [markdown] tags=["slide", "quiz"]
# ## Quiz

# %% tags=["hide-input"]
course.quiz(
    {
        "question": "A range from 0 to 51 in 8 bits. What is the scale, what the zero point?",
        "options": {
            "0.2, and 0": "0 is the lowest number; it lies on the lowest mark.",
            "0.2, and −128": "51 / 255, and 0 lies on the lowest of the marks.",
            "0.4, and −128": "There are 255 steps, not 127, for nothing is below 0.",
        },
        "answer": "0.2, and −128",
    }
)

# %% tags=["fragment", "hide-input"]
course.quiz(
    {
        "question": "The weights shrink by four, the file by three. Why?",
        "options": {
            "gzip was forgotten": "It does not know what the bytes are for.",
            "Names, shapes and scales stay": "In a large network they count for little.",
            "Biases stay 32 bits wide": "They do, and they are few.",
        },
        "answer": "Names, shapes and scales stay",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "Why do the sums have 32 bits, if the factors have 8?",
        "options": {
            "So that they are rounded less": "Integers are not rounded at all; they overflow.",
            "One product fills 16 bits; sums of them more": "66,000 products are safe in 32.",
            "Processors have no smaller sums": "They have. The sum would run over.",
        },
        "answer": "One product fills 16 bits; sums of them more",
    }
)

# %% tags=["fragment", "hide-input"]
course.quiz(
    {
        "question": "An int8 model answers all pictures alike. What do you look at first?",
        "options": {
            "The rows that it was calibrated on": "Zeros give ranges that are a point.",
            "The number of epochs": "It was not trained again; only rounded.",
            "The converter's errors": "There were none. That is the trouble.",
        },
        "answer": "The rows that it was calibrated on",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "One filter has weights fifty times as large as the others. What helps?",
        "options": {
            "A wider range": "It is the wide range that makes the marks coarse.",
            "A zero point": "It moves the marks; their distance stays.",
            "A scale for each channel": "Then the large one is alone with its coarse marks.",
        },
        "answer": "A scale for each channel",
    }
)

# %% [markdown] tags=["skip", "sources"]
# ## Sources
#
# - Scale and zero point, integer sums, training through the rounding: B. Jacob et al., *Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference*, CVPR 2018; *LiteRT 8-bit quantization specification*.
# - Channels, outliers and their cure: R. Krishnamoorthi, *Quantizing Deep Convolutional Networks for Efficient Inference: A Whitepaper*, 2018; M. Nagel et al., *Data-Free Quantization Through Weight Equalization and Bias Correction*, ICCV 2019.
# - Noise of rounding: W. R. Bennett, *Spectra of Quantized Signals*, Bell System Technical Journal 27, 1948.
# - Straight through: Y. Bengio, N. Léonard and A. Courville, *Estimating or Propagating Gradients Through Stochastic Neurons for Conditional Computation*, 2013.
# - Two bits: F. Li, B. Zhang and B. Liu, *Ternary Weight Networks*, 2016.
# - Depthwise layers: A. G. Howard et al., *MobileNets*, 2017. What limits a layer: S. Williams, A. Waterman and D. Patterson, *Roofline*, Communications of the ACM 52, 2009.

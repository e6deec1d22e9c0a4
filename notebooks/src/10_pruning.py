# %% [markdown] tags=["slide", "title"]
# # Pruning
#
# **Throw away four weights in five. What do you get for it?**

# %%
import numpy as np

from inferkit.datasets import load_signs
from inferkit.models import LiteRTModel, load_reference

signs, dense = load_signs(), load_reference("signs-cnn")
X, y = signs.images / np.float32(255), signs.target  # pictures that the network has not seen
p = dense(X[2:3])[0]
print(f"it reads '{signs.target_names[p.argmax()]}', and is {p.max():.0%} sure")

# %% tags=["skip"]
import matplotlib.pyplot as plt

from inferkit.optimize import read_layers
from inferkit.plots import COLOURS, label_lines, show, slide_size, use_style


def to_zero(w, share):
    pruned, order = w.copy(), np.argsort(np.abs(w), axis=None, kind="stable")
    pruned.flat[order[: round(share * w.size)]] = 0  # the smallest
    return pruned


# %% tags=["skip"]
def with_zeros(content, share):  # write zeros over the numbers in a file
    for layer in read_layers(content):
        if layer.weights is not None:
            w = layer.weights.data
            content = content.replace(w.tobytes(), to_zero(w, share).tobytes())
    return content


def right(model):  # in parts: a model keeps the memory of its largest batch
    answers = [model(X[i : i + 96]) for i in range(0, len(X), 96)]
    return float((np.concatenate(answers).argmax(axis=1) == y).mean())


# %% tags=["skip"]
def opening_figure(picture, answers, scores, names):
    size, widths = slide_size(height=0.62), [1.3, 1, 1, 1, 1]
    fig, axes = plt.subplots(1, 5, figsize=size, width_ratios=widths)
    axes[0].imshow(picture)
    for ax, (share, p) in zip(axes[1:], answers.items()):
        ax.barh(range(len(p)), p, color=COLOURS["blue"])
        ax.text(0.04, 12.4, f"{names[p.argmax()]}\n{p.max():.0%}")
        ax.set(title=f"{share:.0%} zeros", xlabel=f"right: {scores[share]:.0%}")
    plt.setp(axes, xticks=[], yticks=[])
    plt.setp(axes[1:], xlim=(0, 1), ylim=(-1, 15.5))
    return fig


# %% tags=["subslide"]
use_style()
cut = {share: LiteRTModel(with_zeros(dense.content, share)) for share in (0, 0.5, 0.8, 0.95)}
answers = {share: model(X[2:3])[0] for share, model in cut.items()}
scores = {share: right(model) for share, model in cut.items()}
fig = opening_figure(signs.images[2], answers, scores, signs.target_names)
show(fig, alt="Stop is read with no zeros and with half of them; beyond that it is not.")

# %% [markdown] tags=["skip"]
# Nobody trained anything here. The file of the network is a list of numbers with a description around it, and we wrote zeros over the smallest of them: that is **pruning**. Half of the weights can go at once, and it still reads
# nine signs in ten. With four in five gone it guesses. This lesson trains it back, and then asks what was won.

# %% [markdown] tags=["notes"]
# Two minutes. Cover the last two panels and ask: how many of its 30,000 weights can this network lose? Then show them. The network is as sure of itself as before when it is wrong at 80 %: a bridge to lesson 04.

# %% [markdown] tags=["slide", "objectives"]
# ## You will be able to
#
# - prune a kernel by hand, and a network step by step while it learns;
# - say what zeros cost in a file, in a compressed file, and in time, and why;
# - compute from which share of zeros a sparse format pays;
# - take out whole filters, and check that what is left still fits together;
# - judge a claim about a pruned network by the control that belongs beside it.
#
# 30 minutes to teach, 30 minutes to practise.
#
# **Needs** lesson 03: medians, measuring in turns. Lesson 09 helps: int8.

# %% [markdown] tags=["slide", "predict"]
# ## What do you expect?
#
# Four weights in five are zero, and training has brought the answers back. A product with zero is zero: nobody needs to compute it.

# %%
from inferkit import course

times = course.guess(
    "How many times as fast is the network when 80 % of its weights are zero?",
    low=1,
    high=10,
    unit="times",
    log=False,
)
times

# %% [markdown] tags=["notes"]
# One minute. Five times, says arithmetic. Let the room vote by hands for 5, 3, 2, 1. Write the spread on the board; the answer comes with the first table.

# %% [markdown] tags=["slide", "by-hand"]
# ## By hand: one kernel
#
# The first layer looks at the picture through 16 filters of 5 × 5 points in three colours. Which of their numbers matter? A common guess: the large ones (**magnitude pruning**).

# %%
kernel = read_layers(dense)[0].weights.data
order = np.argsort(np.abs(kernel), axis=None, kind="stable")  # places, smallest weight first
pruned = kernel.copy()
pruned.flat[order[: round(0.8 * kernel.size)]] = 0
print(f"{kernel.size:,} weights, of which {np.count_nonzero(pruned)} are left")
print(f"they have {(pruned**2).sum() / (kernel**2).sum():.0%} of the sum of squares")
print("the opening did the same:", np.array_equal(pruned, to_zero(kernel, 0.8)))


# %% tags=["skip"]
def kernel_figure(rows, filters=8):
    fig, axes = plt.subplots(len(rows), filters, figsize=slide_size(height=0.68))
    for line, (name, w) in zip(axes, rows.items()):
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
        for ax, one in zip(line, w):
            ax.imshow(np.clip(0.5 + one, 0, 1))  # grey is zero
    plt.setp(axes, xticks=[], yticks=[])
    return fig


# %% tags=["subslide"]
shown = {"0%": kernel} | {f"{s:.0%}": to_zero(kernel, s) for s in (0.5, 0.8)}
fig = kernel_figure(shown)
fig.suptitle("Eight filters of the first layer, with so many zeros: they are grey")
show(
    fig,
    alt="Filters are stripes and blobs of colour; with 80 % zeros a few coloured points remain.",
)

# %% [markdown] tags=["subslide"]
# ## By hand: not all at once
#
# A network that loses a few weights can learn to do without them, before it loses more. Michael Zhu and Suyog Gupta (2017) let the share of zeros rise quickly at first, then ever more slowly: a **cubic schedule**.


# %%
def cubic(t, final):  # t: the part of the training that is done, 0 to 1
    return final * (1 - (1 - t) ** 3)


from inferkit.optimize import cubic_sparsity

t = np.linspace(0, 1, 101)
print("at a tenth, a half, all of it:", cubic(np.array([0.1, 0.5, 1]), 0.8).round(3))
print("by hand and by library the same:", np.allclose(cubic(t, 0.8), cubic_sparsity(t, 0.8)))

# %% tags=["subslide"]
fig, ax = plt.subplots(figsize=slide_size(height=0.5))
ax.plot(100 * t, 100 * cubic(t, 0.8))
ax.plot(100 * t, 80 * t, "--", color="0.45")
ax.annotate("cubic", (20, 39), (-8, 8), textcoords="offset points", ha="right", color="C0")
ax.annotate("even", (60, 48), (8, -16), textcoords="offset points", color="0.35")
ax.set(xlabel="training done, %", ylabel="zeros, %", xlim=(0, 100), ylim=(0, 100))
ax.set_title("Quick while much is superfluous, slow when it hurts")
show(fig, alt="The cubic schedule has reached 70 of its 80 % by half of the training.")

# %% [markdown] tags=["notes"]
# Four minutes. Why cubic? Early weights are cheap, late ones dear; any curve that bends this way would do. Ask what must happen after each step of training: the step moves all weights, the zeros too. So the **mask** (what stays) multiplies the
# kernel again. Remember that for the break-it section.

# %% [markdown] tags=["slide", "measure"]
# ## Train with fewer and fewer
#
# The network learned from 40,000 pictures. 1,200 new ones are enough to mend it: `make_signs` draws them.

# %%
from inferkit.datasets import make_signs
from inferkit.optimize import prune

pictures, y_train = make_signs(1200, random_state=10)
X_train = pictures / np.float32(255)
network = load_reference("signs-cnn", "keras")
training = {"epochs": 2, "learning_rate": 3e-3, "random_state": 0}
training["progress"] = False  # no line while it runs
zero_shares = (0.8,)  # put 0.5 before it, or 0.9 behind: some ten seconds each
gradual = {s: prune(network, X_train, y_train, sparsity=s, **training) for s in zero_shares}

# %% tags=["fragment"]
kernels = [w for w in gradual[0.8].keras_model.get_weights() if w.ndim > 1]
zeros = [f"{(w == 0).mean():.1%}" for w in kernels]
print("zeros in each kernel:", *zeros)

# %% tags=["measured", "subslide"]
from IPython.display import Markdown

table = ["| zeros | cut, not trained | cut while it trains |", "|---" * 3 + "|"]
for s, model in gradual.items():
    untrained = right(LiteRTModel(with_zeros(dense.content, s)))
    table.append(f"| {s:.0%} | {untrained:.1%} | {right(model):.1%} |")
print(f"the whole network: {right(dense):.1%} of {len(y):,} pictures")
Markdown("\n".join(table))

# %%
print("80 % zeros, cut while it trains, right in over 75 %:", right(gradual[0.8]) > 0.75)
print("cut and not trained, less than half of that:", 2 * scores[0.8] < right(gradual[0.8]))

# %% [markdown] tags=["notes"]
# Four minutes; the training takes some ten seconds. Ask meanwhile: will it come back? The textbook says that 80 % cost nothing. That holds for large networks on easy tasks; this one has 30,000 weights and was made for its task. Who doubts the schedule cuts all at once, and trains afterwards: `schedule=(0, 0.01)`, five seconds. With two epochs expect the two to come out close.

# %% [markdown] tags=["slide"]
# ## And what was won?
#
# In turns, as always: time, bytes of the file, and bytes after **gzip**, which writes repetitions in short.

# %%
import gzip

from inferkit.benchmark import Ledger, compare


def packed(model):
    return len(gzip.compress(model.content, 9))


# %% tags=["skip"]
def in_turns_of(models, **options):  # copies, which give their memory back
    copies = {name: LiteRTModel(model.content) for name, model in models.items()}
    return compare(copies, X[:576], y[:576], n=700, **options)


def table_of(models, found):
    rows = ["| signs | file, kB | gzip, kB | one answer, µs | right |", "|---" * 5 + "|"]
    for name, model in models.items():
        cells = f"{len(model.content) / 1000:.1f} | {packed(model) / 1000:.1f}"
        us = 1000 * found[name].p50_ms
        rows.append(f"| {name} | {cells} | {us:.1f} | {right(model):.1%} |")
    return Markdown("\n".join(rows))


# %% tags=["measured", "subslide"]
models = {"signs, dense": dense} | {f"signs, {s:.0%} zeros": m for s, m in gradual.items()}
found = in_turns_of(models, ledger=Ledger.open())
table_of(models, found)

# %% tags=["measured", "fragment"]
faster = found.ratio("signs, dense", "signs, 80% zeros")
times.beside(faster.value)

# %%
sizes = {len(model.content) for model in models.values()}
print("sizes of the files, in bytes:", *sizes)
print("80 % zeros: gzip halves it:", 2 * packed(gradual[0.8]) < packed(dense))
work = {name: sum(layer.macs for layer in read_layers(m)) for name, m in models.items()}
print("the same multiplications in each:", len(set(work.values())) == 1)

# %% [markdown] tags=["skip"]
# This is the **pruning illusion**. A zero is stored as four bytes like any other number, and multiplied like any other number. What has shrunk is what the file *says*, and only a program that looks for repetition can tell. That is worth having where a
# model travels: as a download, or in an update by radio. It is worth nothing to who waits for an answer.

# %% [markdown] tags=["notes"]
# Four minutes. Silence after the table: it deserves one. Who voted for one? Ask where the file would be smaller: in a zip, in an app store, over the air. The three rows are in the ledger now.

# %% [markdown] tags=["subslide"]
# ## A format that leaves zeros out
#
# LiteRT's converter has a switch for it. It is called experimental, and rightly.

# %%
from inferkit.models import export_litert, import_tensorflow

switch = import_tensorflow().lite.Optimize.EXPERIMENTAL_SPARSITY
sparse = LiteRTModel(export_litert(gradual[0.8].keras_model, optimizations=[switch]))
pair = compare({"zeros kept": gradual[0.8], "zeros left out": sparse}, X[:96], n=700)

# %% tags=["measured", "fragment"]
unpacked = pair.ratio("zeros left out", "zeros kept")
print(f"zeros kept: {len(gradual[0.8].content):,} bytes; left out: {len(sparse.content):,} bytes")
print(unpacked)

# %%
print("the file is less than half:", 2 * len(sparse.content) < len(gradual[0.8].content))
print("same answers:", np.allclose(sparse(X[:99]), gradual[0.8](X[:99]), atol=1e-5))

# %% [markdown] tags=["notes"]
# Two minutes. The file is read once, when the model is loaded; there the zeros are filled in again, and the same kernels run. Together with int8 this switch makes a file that does not load, or did when this was written: try it, and read the message.

# %% [markdown] tags=["slide"]
# ## Take out whole filters
#
# A filter that is gone leaves no zeros behind: its channel is gone, too, and with it the weights of the next layer that read it. **Structured pruning**, by hand: in each layer keep the half with the largest sums of absolute weights (Li and others, 2017), and of their inputs those that are still there.

# %%
from inferkit.optimize import prune_filters

half = prune_filters(network, share=0.5)  # nothing is trained yet
before, same = np.arange(3), []  # red, green and blue stay
for layer, smaller in list(zip(read_layers(dense), read_layers(half))):
    if layer.op == "CONV_2D":
        w = layer.weights.data  # (filters, height, width, channels)
        strength = np.abs(w).sum(axis=(1, 2, 3))
        kept = np.sort(np.argsort(-strength, kind="stable")[: len(w) // 2])
        by_hand, before = w[kept][..., before], kept
        same.append(np.allclose(by_hand, smaller.weights.data, atol=1e-6))
        print(w.shape, "becomes", by_hand.shape)

# %% tags=["subslide"]
print("by hand and by library the same:", same)
whole = gradual[0.8].report
print(f"multiplications: {whole.macs:,} become {half.report.macs:,}")
print(f"weights and biases: {whole.n_parameters:,} become {half.report.n_parameters:,}")

# %% [markdown] tags=["notes"]
# Four minutes. Draw two layers on the board, strike out a row of the first and a column of the second. Half the filters: a middle layer has a quarter of its weights. Ask why the first layer only halves. (Its input has three channels, and keeps them.)

# %% [markdown] tags=["subslide"]
# Half of the filters at once: it has forgotten nearly everything. Train it on, with the same pictures.

# %%
longer = training | {"epochs": 3}
gone_shares = (0.5,)  # put 0.25 before it, or 0.75 behind: some five seconds each
filters = {s: prune_filters(network, X_train, y_train, share=s, **longer) for s in gone_shares}
thinner = {"signs, dense": dense}
thinner |= {f"signs, {s:.0%} of the filters gone": model for s, model in filters.items()}

# %% tags=["measured", "fragment"]
by_filter = in_turns_of(thinner, ledger=Ledger.open())
quicker = by_filter.ratio("signs, dense", "signs, 50% of the filters gone")
print(f"half: before training {right(half):.1%} right; now {quicker.value:.2f} times as fast")
table_of(thinner, by_filter)

# %%
print(
    "half of the filters: the file is less than half:", 2 * len(half.content) < len(dense.content)
)
print("multiplications, less than a third:", 3 * half.report.macs < whole.macs)
print("trained on, right in over 75 %:", right(filters[0.5]) > 0.75)
print("before that, less than half of it:", 2 * right(half) < right(filters[0.5]))

# %% [markdown] tags=["notes"]
# Four minutes. Compare with the row of 80 % zeros above: about as many weights are left, no fewer answers are right, and here there is time to win. A processor can leave out a filter. It cannot leave out a number.

# %% [markdown] tags=["slide", "figure"]
# ## What a zero buys


# %% tags=["skip"]
LOOKS = {"file": ("black", "s"), "gzip": ("green", "^"), "time": ("blue", "o")}
LOOKS |= {"right": ("orange", "D")}


def relative(models, found):  # to the first, in percent
    files = np.array([len(model.content) for model in models.values()])
    zips = np.array([packed(model) for model in models.values()])
    ms = np.array([found[name].p50_ms for name in models])
    share = np.array([right(model) for model in models.values()])
    return {k: 100 * v / v[0] for k, v in zip(LOOKS, (files, zips, ms, share))}


# %% tags=["skip"]
def draw_levels(ax, gone, levels):
    for name, (colour, mark) in LOOKS.items():
        ax.plot(gone, levels[name], marker=mark, ms=9, color=COLOURS[colour], label=name)
    ax.set(xlim=(-3, 118), ylim=(0, 118), xticks=range(0, 101, 25))
    label_lines(ax)


# %% tags=["skip"]
def poster(zeros, filters, guessed=None):  # of each: the share that is gone, the levels
    fig, (left, beside) = plt.subplots(1, 2, figsize=slide_size(height=0.88), sharey=True)
    draw_levels(left, *zeros)
    draw_levels(beside, *filters)
    if guessed is not None:
        left.plot(80, 100 / guessed, "*", ms=22, color=COLOURS["pink"])
        left.annotate("your guess", (80, 100 / guessed), (-88, -6), textcoords="offset points")
    left.set(xlabel="weights set to zero, %", ylabel="of the dense network, %", title="Zeros")
    beside.set(xlabel="weights gone with their filters, %", title="Filters")
    return fig


# %% tags=["measured", "fragment"]
left_over = [whole.n_parameters, *(model.report.n_parameters for model in filters.values())]
gone = {"filters": 100 * (1 - np.array(left_over) / left_over[0])}
gone = {"zeros": [0, *(100 * s for s in gradual)]} | gone
levels = {"zeros": relative(models, found), "filters": relative(thinner, by_filter)}
fig = poster(*((gone[way], levels[way]) for way in gone), times.value)
show(fig, alt="Zeros: file and time stay level. Filters: file, gzip and time all fall.")

# %% tags=["skip"]
print("zeros: all files have the same size:", set(levels["zeros"]["file"]) == {100.0})
half_left = [bool(levels["filters"][what][-1] < 50) for what in ("file", "gzip")]
print("half of the filters, file and gzip are less than half:", half_left)

# %% [markdown] tags=["notes"]
# Three minutes. Read the left picture from the top: black and blue are flat. Green is the reward, orange the price. Then the right one: everything goes down together. Ask which picture a vendor would show, and which line would be left out.

# %% [markdown] tags=["slide", "why"]
# ## Why a zero takes as long as a number
#
# A processor multiplies 8 or 16 numbers in one instruction, fetched side by side from memory. It does not look at them: looking would take longer than multiplying. Try it, with a matrix of nothing at all.

# %%
from time import perf_counter


def in_turns(work, rounds=15):  # median µs of each
    taken = {name: [] for name in work}
    for _ in range(rounds):
        for name, call in work.items():
            start = perf_counter()
            call()
            taken[name].append(1e6 * (perf_counter() - start))
    return {name: float(np.median(us)) for name, us in taken.items()}


# %% tags=["measured", "fragment"]
rng = np.random.default_rng(10)
W = rng.standard_normal((1024, 1024), dtype=np.float32)
x, nothing = rng.standard_normal((1024, 64), dtype=np.float32), np.zeros_like(W)
us = in_turns({"numbers": lambda: W @ x, "zeros alone": lambda: nothing @ x})
print(", ".join(f"{name}: {t:.0f} µs" for name, t in us.items()))

# %%
print("zeros take over a quarter of the time of numbers:", us["zeros alone"] > us["numbers"] / 4)

# %% [markdown] tags=["subslide"]
# ## Then leave them out: what does an address cost?
#
# Who leaves zeros out must say where the others stand. **CSR** (compressed sparse rows) writes a column number beside each; a **bitmap** has one bit for every place.

# %%
formats = {  # bits a weight: (always, for each that is not zero)
    "float32, all of them": (32, 0),
    "CSR: float32, 32-bit column": (0, 64),
    "CSR: float32, 16-bit column": (0, 48),
    "bitmap and float32": (1, 32),
    "int8, all of them": (8, 0),
    "bitmap and int8": (1, 8),
}


# %% tags=["skip"]
def pays_from(always, each, bits):  # the share of zeros from which it needs fewer bits
    if each == 0:
        return "always" if always < bits else "–"
    share = 1 - (bits - always) / each
    return "always" if share < 0 else f"{share:.1%}"


# %% tags=["subslide"]
heads = "| bits a weight | 0 % | 50 % | 80 % | 95 % zeros | beats float32 from | beats int8 from |"
table = [heads, "|---" * 7 + "|"]
for name, (always, each) in formats.items():
    cells = [f"{always + each * (1 - s):.1f}" for s in (0, 0.5, 0.8, 0.95)]
    cells += [pays_from(always, each, bits) for bits in (32, 8)]
    table.append(f"| {name} | " + " | ".join(cells) + " |")
Markdown("\n".join(table))

# %% tags=["skip"]
import scipy.sparse as sp

csr = sp.csr_matrix(to_zero(W, 0.8))
bits = 8 * (csr.data.nbytes + csr.indices.nbytes) / W.size
print(f"SciPy's CSR of 1,024 × 1,024 weights, 80 % zeros: {bits:.1f} bits a weight, and", end=" ")
print(f"{csr.indptr.nbytes:,} bytes for where the rows begin")

# %% [markdown] tags=["skip"]
# Read the fourth row against the fifth: four zeros in five, packed as tightly as a bitmap can, are hardly smaller than plain int8, which lesson 09 gets with no training at all. Nvidia's **2:4 sparsity** is the compromise that hardware can use: of every four weights two are zero, and two bits say which of the others is
# which. That is 9 bits a weight in place of 16, and a unit that knows the pattern multiplies half as much. A free pattern has no such unit.

# %% [markdown] tags=["notes"]
# Four minutes. Let the room compute one cell: CSR with 32-bit columns, 50 % zeros, is as large as dense. In the last column "78.1 %" is the surprise. Row starts of CSR are left out; they are few.

# %% [markdown] tags=["subslide"]
# And the time? A sparse product follows addresses, one number at a time.

# %% tags=["skip"]
from threadpoolctl import threadpool_limits

shares = (0.25, 0.5, 0.8, 0.9, 0.95, 0.98)
cut_down = {s: sp.csr_matrix(np.where(rng.random(W.shape) < s, 0, W)) for s in shares}
columns = {"1 column": x[:, :1].copy(), "64 columns": x}


def products(x):
    calls = {"dense": lambda: W @ x}
    return in_turns(calls | {s: lambda C=C: C @ x for s, C in cut_down.items()})


with threadpool_limits(1):  # SciPy's product has one thread, so NumPy's gets one
    product_us = {name: products(x) for name, x in columns.items()}


# %% tags=["skip"]
def overtakes(us):  # the first share of zeros at which sparse is faster
    won = [s for s in shares if us[s] < us["dense"]]
    return f"from {won[0]:.0%} zeros" if won else "not here"


# %% tags=["measured", "fragment"]
heads = ["dense", *(f"{s:.0%}" for s in shares), "sparse is faster"]
table = ["| 1,024 × 1,024, µs | " + " | ".join(heads) + " |", "|---" * 9 + "|"]
for name, us in product_us.items():
    cells = [f"{t:,.0f}" for t in us.values()]
    table.append(f"| times {name} | " + " | ".join([*cells, overtakes(us)]) + " |")
Markdown("\n".join(table))

# %%
fetched = {s: C.data.nbytes + C.indices.nbytes for s, C in cut_down.items()}
print("a quarter zeros: CSR fetches more bytes than dense:", fetched[0.25] > W.nbytes)
print("four in five: less than half:", 2 * fetched[0.8] < W.nbytes)

# %% [markdown] tags=["skip"]
# With one column each weight is used once, and fetching it is what takes the time: fewer bytes, less time. With 64 columns a fetched weight is used 64 times, and dense code is at its best. A convolution is of the second kind. So zeros pay from some 90 % on, in large
# matrices, with code that was written for them; language models are pruned in this way. This network's largest kernel has 13,824 weights.

# %% [markdown] tags=["notes"]
# Three minutes. The share at which sparse wins is this machine's; ask the room for theirs. It moves with caches, instructions and threads.

# %% [markdown] tags=["slide"]
# ## Was it the weights, or the network?
#
# The network with half of the filters has learned again. From what it kept, or could the same small network have done it from nothing? The control that belongs here: the same shape, pictures and epochs, with first weights by chance. Each training is a **lottery**: more seeds tell more.

# %%
from inferkit.models import import_keras, train


def from_chance(shape, seed):
    model, rng = import_keras().models.clone_model(shape), np.random.default_rng(seed)
    for w in (layer.kernel for layer in model.layers if hasattr(layer, "kernel")):
        most = np.sqrt(6 / (np.prod(w.shape[:-2]) * sum(w.shape[-2:])))  # Glorot's rule
        w.assign(rng.uniform(-most, most, w.shape))
    train(model, X_train, y_train, **longer | {"random_state": seed})
    return right(lambda x: np.asarray(model(x)))


# %% tags=["measured", "subslide"]
seeds = (0,)  # put 1 and 2 behind it: some five seconds each
kept = [right(filters[0.5])]
fresh = [from_chance(half.keras_model, seed) for seed in seeds]
long = [right(load_reference(f"signs-small-{k}")) for k in range(1, 6)]
lots = {
    "half of the filters, trained on for 3 epochs": kept,
    "the same network from nothing, 3 epochs": fresh,
    "one of about its size, from nothing, for long": long,
}
table = ["| | right, for each seed |", "|---|---|"]
table += [f"| {name} | {', '.join(f'{r:.1%}' for r in all_of)} |" for name, all_of in lots.items()]
Markdown("\n".join(table))

# %%
print("seeds:", [len(all_of) for all_of in lots.values()])
wrong = [1 - np.mean(all_of) for all_of in (kept, fresh)]
print("from nothing, over twice as many are wrong:", wrong[1] > 2 * wrong[0])

# %% [markdown] tags=["skip"]
# What was kept carries what the large network learned from 40,000 pictures; the one from nothing has 1,200. Zhuang Liu and others (2019) gave both the whole training, and the one from nothing did as well: then pruning has found a shape, not weights. Jonathan Frankle and Michael
# Carbin (2019) found that some first weights are lucky **tickets**. So ask of any pruned network: against which control, with how much training?

# %% [markdown] tags=["notes"]
# Four minutes, five seconds of them training. The third row is another network of about this size that ships with the course, trained on 1,500 pictures. None of the three rows is the last word: that is the point. Who has an hour: raise the epochs to 40 and look at row two again.

# %% [markdown] tags=["slide"]
# ## Sixteen values
#
# Zeros are one way to say the same thing often. **Clustering** is another: give all weights of a kernel sixteen values to share. Then four bits say which. By hand, k-means on the largest kernel:

# %%
largest = max((layer.weights.data for layer in read_layers(dense) if layer.weights), key=np.size)
w = largest.ravel()
centres = np.linspace(w.min(), w.max(), 16)
for _ in range(300):
    codes = np.abs(w[:, None] - centres).argmin(axis=1)  # the nearest centre of each weight
    centres = np.array([w[codes == k].mean() for k in range(16)])
shared = centres[codes].astype(np.float32)
both = codes[::2] * 16 + codes[1::2]  # two codes in a byte
print(f"{w.size:,} weights, {len(np.unique(shared))} values")
print(f"off by {np.std(w - shared) / np.std(w):.0%} of their spread")


# %% tags=["subslide"]
def zipped(array):
    return len(gzip.compress(array.tobytes(), 9))


often = np.bincount(codes) / len(codes)
bytes_of = {
    "float32": (w.nbytes, zipped(w)),
    "16 values, as float32": (shared.nbytes, zipped(shared)),
    "codebook and 4-bit codes": (64 + len(both), 64 + zipped(both.astype(np.uint8))),
    "what the codes say (entropy)": (64 - round(len(w) * (often * np.log2(often)).sum() / 8),) * 2,
}
table = ["| | bytes | after gzip |", "|---|---|---|"]
table += [f"| {name} | {a:,} | {b:,} |" for name, (a, b) in bytes_of.items()]
Markdown("\n".join(table))

# %% tags=["subslide"]
from inferkit.optimize import cluster_weights

few = cluster_weights(network, 16)
theirs = max((layer.weights.data for layer in read_layers(few) if layer.weights), key=np.size)
ratio = np.std(largest - theirs) / np.std(w - shared)
print(f"values: {len(np.unique(theirs))}; off as by hand, within a tenth: {0.9 < ratio < 1.1}")
print("the file has lost less than 1 %:", len(few.content) > 0.99 * len(dense.content))
print("gzip: less than half:", 2 * packed(few) < packed(dense))
print("right in over 90 %, with no training:", right(few) > 0.9)

# %% [markdown] tags=["notes"]
# Four minutes. Codes and codebook need an eighth; gzip of the floats comes near, because it finds the repetitions itself. Entropy is the floor for any code that looks at one weight at a time. LiteRT has no kernel that reads a codebook, so this is for the way, and not for the run.

# %% [markdown] tags=["subslide"]
# ## All together
#
# Song Han and others (2016) called it *Deep Compression*: prune, share values, write what is left in short. We put int8 from lesson 09 in, which the runtime can use as it is.

# %% tags=["skip"]
from inferkit.optimize import quantize

grid = X_train[:100]
zeros_shared = cluster_weights(gradual[0.8], 16)
chain = {
    "dense": dense,
    "80% zeros": gradual[0.8],
    "80% zeros, 16 values": zeros_shared,
    "80% zeros, 16 values, int8": quantize(zeros_shared, "int8", calibration=grid),
    "half of the filters": filters[0.5],
    "half of the filters, int8": quantize(filters[0.5], "int8", calibration=grid),
}
in_chain = compare(chain, X[:96], n=700)

# %% tags=["measured", "fragment"]
table_of(chain, in_chain)

# %% tags=["skip"]
last, thin = chain["80% zeros, 16 values, int8"], chain["half of the filters, int8"]
print("all steps, gzip: less than a fifth:", 5 * packed(last) < packed(dense))
print("half of the filters, int8: less than a fifth:", 5 * packed(thin) < packed(dense))
print("both still right in over 70 %:", min(right(last), right(thin)) > 0.7)

# %% [markdown] tags=["notes"]
# Two minutes. Which row would the room ship, over the air, to a camera? And to a server with a deadline? There are two answers, and the table has both.

# %% [markdown] tags=["slide", "textbook"]
# ## When the textbook is wrong here
#
# "Removing redundant connections speeds inference up at little cost in accuracy." In parts:

# %% tags=["skip"]
cheap = [s for s, model in gradual.items() if right(dense) - right(model) <= 0.02]
little = f"up to {max(cheap):.0%} zeros" if cheap else f"not even at {min(gradual):.0%}"
lost = 100 * (right(dense) - right(gradual[0.8])), 100 * (right(dense) - right(filters[0.5]))
zeros_gain, filter_gain = faster.value, quicker.value
from_nothing = np.mean(kept) - np.mean(fresh)
shrunk = packed(dense) / packed(gradual[0.8])
holds = {True: "holds", False: "no"}

# %% tags=["measured", "fragment"]
said = {
    "Fewer connections are faster": f"{holds[zeros_gain > 1.2]}: 80 % zeros, {zeros_gain:.2f} ×",
    "Fewer filters are faster": f"{holds[filter_gain > 1.2]}: half of them, {filter_gain:.2f} ×",
    "... at little cost": f"within 2 points: {little}; 80 %: {lost[0]:.1f}, filters: {lost[1]:.1f}",
    "A pruned model is smaller": f"{holds[shrunk > 1.2]} after gzip: {shrunk:.1f} ×; before it, no",
    "The kept weights matter": f"{holds[from_nothing > 0.02]}: {100 * from_nothing:+.1f} points",
}
rows = [f"| {claim} | {verdict} |" for claim, verdict in said.items()]
Markdown("\n".join(["| they say | here |", "|---|---|", *rows]))

# %%
print("80 % zeros save no multiplication:", len(set(work.values())) == 1)
print("half of the filters save two in three:", 3 * half.report.macs < whole.macs)

# %% [markdown] tags=["skip"]
# The sentence is right of brains, of paper, and of processors that can skip. It is true here of filters, since a smaller matrix is a smaller matrix. "Redundant" is a guess about weights that training may confirm; "little" is a number that depends on the network, the task and the pictures that you can
# spend on mending.

# %% [markdown] tags=["notes"]
# Three minutes. Read the right column aloud. If the first row says "holds" on your machine, its runtime has sparse kernels: find out which, and for which layers.

# %% [markdown] tags=["slide", "play"]
# ## Play
#
# Cut deeper, with no training. Which filters of the first layer go empty first? Where does the number of right answers bend, and what does the time do meanwhile?

# %% tags=["skip"]
stops = [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95]
cut = {s: LiteRTModel(with_zeros(dense.content, s / 100)) for s in stops}
by_stop = compare({f"{s}% zeros": model for s, model in cut.items()}, X[:96], n=200, rounds=10)
played = {
    s: (right(model), packed(model) / 1000, 1000 * row.p50_ms)
    for (s, model), row in zip(cut.items(), by_stop)
}
from inferkit.widgets import LiveFigure, bars, points, text

weights = [layer.weights.data for layer in read_layers(dense) if layer.weights]
edges = np.linspace(-0.5, 0.5, 61)


def counts(arrays):
    return np.histogram(np.concatenate(arrays), edges)[0] / 1000


# %% tags=["skip"]
i, j = np.meshgrid(np.arange(5), np.arange(5), indexing="ij")
places = []  # of the points of 16 filters, eight on each side of the histogram
for k in range(16):
    row, column = divmod(k % 8, 3)
    left, top = (-0.49 if k < 8 else 0.275) + 0.076 * column, 2.85 - 0.82 * row
    places.append(np.stack([left + 0.0142 * j, top - 0.155 * i], axis=-1))
places = np.array(places)


# %% tags=["skip"]
def look(zeros):
    gone = [w[to_zero(w, zeros / 100) == 0] for w in weights]
    stays = to_zero(weights[0], zeros / 100)[..., 1] != 0  # the green of each filter
    parts = [bars(edges, counts([w.ravel() for w in weights]), colour="blue")]
    parts += [bars(edges, counts(gone), colour="orange")] if zeros else []
    for some, colour in ((stays, "blue"), (~stays, "orange")):
        if some.any():
            parts.append(points(*places[some].T, colour=colour, hollow=colour == "orange"))
    told = zip(("right", "gzip", "one answer"), played[zeros], ("{:.1%}", "{:.1f} kB", "{:.1f} µs"))
    return parts + [text(name, words.format(value)) for name, value, words in told]


# %% tags=["skip"]
looks = {
    "start": {"zeros": 50},
    "labels": {"zeros": "zeros, %"},
    "alt": "{zeros} % zeros: {right} right, {gzip} after gzip, {one answer} for an answer.",
    "xlabel": "weight (in the corners: the green of 16 filters, rings are zero)",
    "ylabel": "weights, thousands",
    "xlim": (-0.5, 0.5),
    "ylim": (0, 3),
    "height": 300,
}

# %% tags=["measured", "fragment"]
LiveFigure(look, {"zeros": stops}, **looks)

# %% tags=["skip"]
accuracies, gzips, _ = np.array(list(played.values())).T
print("gzip falls with every step:", np.all(np.diff(gzips) < 0))
print("from 0 to 95 %, right answers fall to less than half:", 2 * accuracies[-1] < accuracies[0])

# %% [markdown] tags=["notes"]
# Three minutes. Orange is what goes: the middle of the hill, where most weights are. That is why so many can go, and why each has so little to say. Let somebody name the first filter that is empty.

# %% [markdown] tags=["slide", "break-it"]
# ## Break it
#
# Three colleagues have pruned this network. Each made one mistake, and no line of code complained.

# %% tags=["hide-input"]
theirs = {"ash": gradual[0.8].content, "beech": dense.content, "cherry": filters[0.5].content}
for w in [layer.weights.data for layer in read_layers(gradual[0.8]) if layer.weights]:
    step = rng.normal(0, 1e-4, w.shape).astype(np.float32)  # as a last step of training moves all
    theirs["ash"] = theirs["ash"].replace(w.tobytes(), (w + step).tobytes())
for w in [layer.weights.data for layer in read_layers(dense) if layer.weights]:
    without = w - to_zero(w, 0.2)
    theirs["beech"] = theirs["beech"].replace(w.tobytes(), without.tobytes())
convolutions = [layer for layer in read_layers(filters[0.5]) if layer.op == "CONV_2D"]
w = convolutions[2].weights.data
theirs["cherry"] = theirs["cherry"].replace(w.tobytes(), np.roll(w, 1, axis=-1).tobytes())


# %% tags=["hide-input"]
def symptoms(model):
    layers = [layer for layer in read_layers(model) if layer.weights]
    everything = np.concatenate([layer.weights.data.ravel() for layer in layers])
    macs = sum(layer.macs for layer in layers)
    cells = f"{len(everything):,} | {(everything == 0).mean():.0%} | {np.abs(everything).max():.2f}"
    return f"{cells} | {macs:,} | {packed(model) / 1000:.0f} | {right(model):.0%} |"


# %% tags=["measured", "fragment"]
shown = {"dense": dense, "80% zeros": gradual[0.8], "half of the filters": filters[0.5]}
shown |= {name: LiteRTModel(content) for name, content in theirs.items()}
heads = "| | weights | zeros | largest | multiplications | gzip, kB | right |"
rows = [f"| {name} | {symptoms(model)}" for name, model in shown.items()]
Markdown("\n".join([heads, "|---" * 7 + "|", *rows]))

# %% [markdown] tags=["subslide"]
# Name the mistake of each: `"zeros filled up again"` (trained on, the mask forgotten), `"other channels kept"` (of the next layer, not those of the filters that stay) or `"the large ones went"`.

# %%
suspicion = {"ash": ..., "beech": ..., "cherry": ...}

# %% tags=["hide-input"]
mistakes = {
    "ash": ("zeros filled up again", "it answers well; what was pruning for?"),
    "beech": ("the large ones went", "compare the largest weight with that of 80 % zeros"),
    "cherry": ("other channels kept", "nothing is zero, the shapes fit, and it guesses"),
}
for name, (mistake, hint) in mistakes.items():
    told = suspicion[name]
    course.check(f"the mistake of {name}", told if told is ... else told == mistake, hint)

# %% [markdown] tags=["notes"]
# Four minutes. Ash is the one that is shipped: every test of accuracy passes. What would have found each on the same day? Counting zeros after the last step; one evaluation; comparing the layers' outputs before and after, which is what `report` does for int8.

# %% [markdown] tags=["slide", "summary"]
# ## Summary
#
# - A zero is a number. Setting weights to zero shrinks what a file says, so it shrinks under gzip, and neither in memory nor in time, unless format and kernel leave zeros out.
# - Taking out whole filters makes smaller matrices: less to store, less to multiply, less to wait for. Check that the next layer loses the same channels.
# - Every pruned network is trained back. Judge it by what it costs in accuracy, and beside the same network trained from nothing.
#
# [Three exercises](exercises/10_pruning.ipynb) wait: a format for zeros, one threshold for all layers, and a file that gzip cannot shrink. The ledger keeps your rows. Lesson 11: the processor itself.

# %% [markdown] tags=["slide", "quiz"]
# ## Quiz

# %% tags=["hide-input"]
course.quiz(
    {
        "question": "80 % of the weights are zero. Why is the network not faster?",
        "options": {
            "It is multiplied by zeros as by others": "No kernel looks at a number first.",
            "The zeros are in the wrong layers": "They are in all of them, 80 % in each.",
            "The file must be unpacked": "It was never packed: it has the same bytes.",
        },
        "answer": "It is multiplied by zeros as by others",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "Half of the filters of every layer go. A layer in the middle keeps ...",
        "options": {
            "half of its weights": "Half of its filters, and each reads half of the channels.",
            "a quarter of its weights": "Half of the filters times half of the channels.",
            "all of them": "Those of filters that are gone are gone.",
        },
        "answer": "a quarter of its weights",
    }
)

# %% tags=["fragment", "hide-input"]
course.quiz(
    {
        "question": "A bitmap and float32: from which share of zeros is it smaller than int8?",
        "options": {
            "From 50 %": "1 + 16 bits, against 8.",
            "From about 78 %": "1 + 0.22 · 32 bits are about 8.",
            "From 3 %": "From there it is smaller than float32.",
        },
        "answer": "From about 78 %",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "A pruned network is trained on. What must be done after each step?",
        "options": {
            "Multiply by the mask again": "Else each step moves the zeros, too.",
            "Choose a new threshold": "That would let others go; the first ones are back.",
            "Nothing, zeros stay zero": "A gradient does not know that a weight was cut.",
        },
        "answer": "Multiply by the mask again",
    }
)

# %% tags=["fragment", "hide-input"]
course.quiz(
    {
        "question": "A pruned network beats one of its size trained from nothing. What do you ask?",
        "options": {
            "How long each was trained, on what": "Few epochs favour the one that has learned.",
            "Which threshold was used": "It says how it was cut, not what it was compared with.",
            "How large the file is": "They are the same size.",
        },
        "answer": "How long each was trained, on what",
    }
)

# %% [markdown] tags=["skip", "sources"]
# ## Sources
#
# - First: Y. LeCun, J. Denker and S. Solla, *Optimal Brain Damage*, NeurIPS 1989.
# - The schedule: M. Zhu and S. Gupta, *To prune, or not to prune: exploring the efficacy of pruning for model compression*, 2017.
# - Filters: H. Li et al., *Pruning Filters for Efficient ConvNets*, ICLR 2017.
# - Prune, share, write in short: S. Han, H. Mao and W. J. Dally, *Deep Compression*, ICLR 2016.
# - Controls: Z. Liu et al., *Rethinking the Value of Network Pruning*, ICLR 2019; J. Frankle and M. Carbin, *The Lottery Ticket Hypothesis*, ICLR 2019; D. Blalock et al., *What is the State of Neural Network Pruning?*, MLSys 2020.
# - 2:4: A. Mishra et al., *Accelerating Sparse Deep Neural Networks*, 2021. Kernels that do skip: E. Elsen et al., *Fast Sparse ConvNets*, CVPR 2020.

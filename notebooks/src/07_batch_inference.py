# %% [markdown] tags=["slide", "title"]
# # Batch inference
#
# **A telephone company has a million customers and one night: who will leave, and what does the answer cost?**

# %%
from inferkit.datasets import load_customers
from inferkit.predictor import churn_scorer

known = load_customers()  # 4,000 of them, made by a program: the truth is known
scorer = churn_scorer()  # a small network that has learned from others
p = scorer.predict_proba(known.data)[:, 1]  # how likely is each to leave?
for i in p.argsort()[[0, -1]]:
    row = known.data[i]
    print(f"customer {known.customer[i]} leaves with a probability of {p[i]:.3f}:", end=" ")
    print(row["months"], "months, contract:", row["contract"])

# %% tags=["skip"]
import matplotlib.pyplot as plt
import numpy as np

from inferkit.plots import COLOURS, label_lines, show, slide_size, use_style


# %% tags=["skip"]
def churn_figure(known, p):
    fig, ax = plt.subplots(figsize=slide_size(height=0.85))
    contracts = zip(("monthly", "one year", "two years"), ("orange", "blue", "green"))
    for contract, colour in contracts:
        these, middle = known.data["contract"] == contract, 4.5 + 9 * np.arange(8)
        bins = [these & (known.data["months"] // 9 == k) for k in range(8)]
        truth = [known.probability[some].mean() for some in bins]
        ax.plot(middle, truth, color=COLOURS[colour], label=contract)
        ax.plot(middle, [p[some].mean() for some in bins], "o", color=COLOURS[colour])
    return fig


# %% tags=["subslide"]
use_style()
fig = churn_figure(known, p)
(ax,) = fig.axes
ax.set(xlabel="months with us", ylabel="leave within three months", xlim=(0, 82), ylim=(0, 0.5))
ax.set_title("4,000 customers, one call: the model (dots) lies on the truth (lines)")
label_lines(ax)
show(fig, alt="New customers on a monthly contract leave most; with two years hardly anybody does.")

# %% [markdown] tags=["skip"]
# Each customer is a row of eleven columns: months, charge, contract, calls to support and so on. The model is fine. This lesson is about the other 996,000 customers: about asking for
# many answers at once, which is called **batch inference**, and about what can happen to such a job between ten in the evening and six in the morning.

# %% [markdown] tags=["notes"]
# Two minutes. Let the room guess what a call centre would do with such a list. Somebody asks whether the dots are training rows: no, the model has not seen these 4,000. What it is worth to know
# them comes near the end, in euros.

# %% [markdown] tags=["slide", "objectives"]
# ## You will be able to
#
# - split the time of a call into a fixed part and a part for each row, and choose a batch size by it;
# - score a table of any length in the memory of one batch;
# - write a job that survives being killed, and a row that cannot be answered;
# - say when threads and a cluster pay, and when they cost;
# - find out from a finished file that the job went wrong.
#
# 30 minutes to teach, 30 minutes to practise.
#
# **Needs** lesson 03: medians, measuring in turns. Lesson 02 helps: a contract at the door.

# %% [markdown] tags=["slide", "predict"]
# ## What do you expect?
#
# A loop asks for one customer after the other. Or it hands over a thousand rows at a time. Same model, same answers, same core.

# %%
from inferkit import course

times = course.guess(
    "How many times as many rows a second, in batches of 1,000?",
    low=1,
    high=10_000,
    unit="times",
)
times

# %% [markdown] tags=["notes"]
# One minute. Hands: twice, ten times, a hundred times? Who says "the same, the multiplications are the same" has a point, and the lesson says where it goes.

# %% [markdown] tags=["slide", "by-hand"]
# ## By hand: one by one, or in batches

# %%
from time import perf_counter

from inferkit.datasets import make_customers

rows = make_customers(20_000, random_state=7).data


def one_by_one(rows):
    return np.array([scorer.predict_one(row) for row in rows])


def in_batches(rows, size):
    parts = [scorer.predict(rows[i : i + size]) for i in range(0, len(rows), size)]
    return np.concatenate(parts)


# %% tags=["measured", "subslide"]
start = perf_counter()
slow = one_by_one(rows)
between = perf_counter()
fast = in_batches(rows, 1000)
seconds = between - start, perf_counter() - between
for way, s in zip(("one by one", "in batches"), seconds):
    print(f"{way}: {s:.3f} s, so {len(rows) / s:,.0f} rows a second")

# %% tags=["measured"]
times.beside(seconds[0] / seconds[1])

# %%
print("the same answers:", np.array_equal(slow, fast))
print("batches are over five times as fast:", seconds[0] > 5 * seconds[1])

# %% [markdown] tags=["notes"]
# Two minutes. Keep the two numbers on the board. A million customers, one by one: divide. It would be done long before midnight, so the night is not the problem. It is the next model, ten times
# as large, and what happens when the job breaks.

# %% [markdown] tags=["slide", "measure"]
# ## Measure: one call, n rows
#
# How does the time of one call grow with its rows? By hand, for the whole scorer: table in, probabilities out.


# %%
def seconds_of_call(model, rows, n):
    batch, taken = rows[:n], []
    for _ in range(max(11, 2000 // n)):
        start = perf_counter()
        model(batch)
        taken.append(perf_counter() - start)
    return np.median(taken)


sizes = [1, 4, 16, 64, 256, 1024, 4096]
t = np.array([seconds_of_call(scorer.predict_proba, rows, n) for n in sizes])

# %% tags=["measured", "subslide"]
from IPython.display import Markdown

table = ["| rows in a call | the call, µs | a row, µs |", "|---|---|---|"]
table += [f"| {n:,} | {1e6 * s:,.0f} | {1e6 * s / n:,.2f} |" for n, s in zip(sizes, t)]
Markdown("\n".join(table))

# %%
print("16 rows take less than eight times as long as one:", t[2] < 8 * t[0])
print("4,096 rows take over eight times as long as 16:", t[6] > 8 * t[2])

# %% [markdown] tags=["subslide"]
# First nearly free, then in proportion: that is a straight line, $t(n) = a + b\,n$. A call costs $a$, each row $b$. Find both by least squares, each point weighed by its own time.


# %%
def line(n, t):
    n, t = np.array(n, float), np.array(t)
    (a, b), *_ = np.linalg.lstsq(np.column_stack([1 / t, n / t]), np.ones(len(n)))
    return max(float(a), 1e-9), float(b)


a, b = line(sizes, t)
knee = a / b

# %% tags=["measured", "fragment"]
print(f"a call costs {1e6 * a:.0f} µs, and each row {1e6 * b:.2f} µs more")
print(f"the line misses the points by {np.abs(1 - (a + b * np.array(sizes)) / t).mean():.0%}")
print(f"the rows double the cost of a call at n = a / b = {knee:.0f}")

# %%
print("a call costs more than ten rows:", knee > 10)

# %% [markdown] tags=["skip"]
# At $n = a/b$ the rows cost as much as the call: half of the highest speed, $1/b$ rows a second, is reached. Roger Hockney described the supercomputers of his time by these two
# numbers, and called the first one $n_{1/2}$. For 90 % of the speed it takes nine times as many rows. More than that buys almost nothing.

# %% [markdown] tags=["notes"]
# Five minutes. Draw the line on the board. Ask: where does it cut the axis? What is a in a restaurant? (The way of the waiter; b is the plate.) If a row of the table stands out, the machine
# was busy: run it again.

# %% [markdown] tags=["slide"]
# ## Three models
#
# The library measures in turns, all sizes in each round. Beside the scorer: its network alone, with a table that is already numbers, and the digit reader's network, which has more to do for a row.

# %% tags=["skip"]
from inferkit.datasets import load_digits
from inferkit.models import load_reference


def prepared(rows):  # the scorer's own steps before its network
    x = scorer.signature.input.check(rows)
    for step in scorer.preprocess:
        x = step(x)
    return x.astype(np.float32)


network, digits = load_reference("churn-mlp"), load_reference("digits-cnn")
pictures = np.tile(load_digits().images / np.float32(16), (2, 1, 1))

# %% tags=["skip"]
from inferkit.benchmark import measure_throughput

long_table = make_customers(65_536, random_state=8).data
numbers = prepared(long_table)
work = {
    "scorer": (scorer.predict_proba, long_table, [*sizes, 16_384, 65_536]),
    "its network": (network, numbers, [*sizes, 16_384, 65_536]),
    "digit network": (digits, pictures, sizes[:6]),
}
same = np.allclose(network(numbers[:9]), scorer.predict_proba(long_table[:9]), atol=1e-6)
print("table to numbers to network is the scorer:", same)

# %% tags=["measured", "fragment"]
curves, lines = {}, {}
table = ["| | a call, µs | a row, µs | a / b, rows | best, rows a second |", "|---" * 5 + "|"]
for name, (model, X, its_sizes) in work.items():
    rates = measure_throughput(model, X, batch_sizes=its_sizes, max_seconds=2, name=name)
    curves[name] = [rates.rows_per_s(n) for n in its_sizes]
    few = its_sizes[:7]  # before the caches are full
    a, b = lines[name] = line(few, np.array(few) / curves[name][:7])
    best = max(curves[name])
    table.append(f"| {name} | {1e6 * a:.1f} | {1e6 * b:.2f} | {a / b:.0f} | {best:,.0f} |")
Markdown("\n".join(table))

# %% tags=["skip"]
half = {name: a / b for name, (a, b) in lines.items()}
same = np.allclose(line(sizes, t), np.polyfit(sizes, t, 1, w=1 / t)[::-1])
print("our least squares are NumPy's, on the same points:", same)
ten = half["scorer"] > 10 * half["digit network"]
print("the scorer needs over ten times the batch of the digit network:", ten)

# %% [markdown] tags=["notes"]
# Two minutes; it takes six seconds. Use them for the question: which of the three gains least from batches? (The one with the most work in a row.)

# %% [markdown] tags=["slide", "figure"]
# ## The knee


# %% tags=["skip"]
LOOKS = {"scorer": "blue", "its network": "green", "digit network": "orange"}


def draw_curve(ax, name, sizes, rates, a, b):
    n, colour = np.geomspace(0.7, 100_000, 100), COLOURS[LOOKS[name]]
    ax.plot(n, np.minimum(n / a, 1 / b), "--", lw=1.2, color=colour)
    ax.plot(n, n / (a + b * n), color=colour)
    ax.plot(sizes, rates, "o", ms=8, color=colour)
    ax.annotate(name, (n[-1], 1.2 / b), ha="right", va="bottom", color=colour, weight="bold")
    if a > 4 * b:  # the knee
        words = f"half: {a / b:,.0f} rows"
        ax.plot(a / b, 0.5 / b, "D", ms=12, mfc="white", mew=2.5, color=colour)
        ax.annotate(words, (a / b, 0.5 / b), (11, -15), textcoords="offset points", color=colour)


# %% tags=["skip"]
def knee_figure(curves, lines, sizes, guessed_rate=None):
    fig, ax = plt.subplots(figsize=slide_size(height=0.95))
    for name, rates in curves.items():
        draw_curve(ax, name, sizes[name], rates, *lines[name])
    if guessed_rate is not None:
        ax.plot(1000, guessed_rate, "*", ms=22, color=COLOURS["pink"])
        ax.annotate("your guess", (1000, guessed_rate), (14, -5), textcoords="offset points")
    highest = 6 * max(max(rates) for rates in curves.values())
    ax.set(xscale="log", yscale="log", xlabel="rows in a call", ylim=(None, highest))
    ax.set(ylabel="rows a second", title="A batch shares the price of a call, up to the knee")
    ax.xaxis.set_major_formatter("{x:,.0f}")
    return fig


# %% tags=["measured", "fragment"]
guessed_rate = times.value and times.value * len(rows) / seconds[0]
fig = knee_figure(curves, lines, {name: its[2] for name, its in work.items()}, guessed_rate)
show(fig, alt="Rows a second rise with the batch, bend at a diamond, run level, and sink at last.")

# %% tags=["skip"]
helped = {name: max(rates) / rates[0] for name, rates in curves.items()}
print("batches help the scorer over ten times:", helped["scorer"] > 10)
little = 2 * helped["digit network"] < helped["scorer"]
print("and the digit network less than half as much:", little)

# %% [markdown] tags=["notes"]
# Three minutes. Dashed: the two roofs, calls a second times n, and 1/b. Diamonds: half speed. Let the room read off a batch size for each model. "A power of two" is a superstition here: anything right of
# the knee will do. Then point at the far right: why does it sink?

# %% [markdown] tags=["slide", "why"]
# ## Why it bends, and why it sinks
#
# What does a call do that does not depend on n? Ask for one row, step by step, and for 4,096.

# %% tags=["measured"]
one, many = scorer.trace(rows[:1], repeat=50), scorer.trace(rows[:4096], repeat=9)
table = ["| step | 1 row, µs | 4,096 rows, µs | share |", "|---|---|---|---|"]
in_all = sum(stage.time_us for stage in many.stages)
for a, b in zip(one.stages, many.stages):
    table.append(f"| {a.name} | {a.time_us:.0f} | {b.time_us:,.0f} | {b.time_us / in_all:.0%} |")
Markdown("\n".join(table))

# %%
network_us = many["litert"].time_us
longer = in_all - network_us > network_us
print("checking and preparing 4,096 rows takes longer than the network:", longer)

# %% [markdown] tags=["skip"]
# For one row, every step calls a handful of Python functions, and each of them asks NumPy a dozen questions (which type, which shape, how much memory?) before the first number moves. That is $a$, and it is
# the same for 4,096 rows. The network's own part of $b$ is small: whoever makes this network twice as fast saves little. Measure before you speed up.

# %% [markdown] tags=["subslide"]
# And the far right? A row on its way through the scorer takes memory: the table, zeros and ones for words, numbers around zero. While a batch fits into a **cache**, the next step finds it there.

# %%
import tracemalloc

from inferkit.devices import describe


def bytes_in_flight(n):
    tracemalloc.start()
    scorer.predict_proba(long_table[:n])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


# %% tags=["measured", "fragment"]
per_row = bytes_in_flight(65_536) / 65_536
print(f"a row in flight takes {per_row:.0f} bytes, 65,536 of them {per_row * 65_536 / 1e6:.0f} MB")
for cache, size in describe().caches.items():
    print(f"{cache}: {size / 2**10:,.0f} KiB hold {size / per_row:,.0f} rows")

# %%
print("a row takes over three times the bytes that the network is given:", per_row > 3 * 4 * 19)

# %% [markdown] tags=["notes"]
# Four minutes. The first table is the surprise of this lesson for many: the model is not what takes the time. The second explains the end of the figure. For the digit network a row in flight is
# larger (each layer keeps the picture in several channels), so its curve sinks earlier. Nobody has to know cache sizes: the measured curve knows them.

# %% [markdown] tags=["slide"]
# ## A million rows in the memory of a batch
#
# All at once: make the table, ask. Or a **stream**: a generator hands over a batch, its answers are used, and it is forgotten before the next one comes.


# %%
def at_once(n):
    from inferkit.datasets import make_customers
    from inferkit.predictor import churn_scorer

    p = churn_scorer().predict_proba(make_customers(n, random_state=7).data)
    return float(p[:, 1].sum())


def streamed(n):
    from inferkit.datasets import iter_customers
    from inferkit.predictor import churn_scorer

    scorer, parts = churn_scorer(), iter_customers(n, 4096, random_state=7)
    return sum(float(scorer.predict_proba(part.data)[:, 1].sum()) for part in parts)


# %% [markdown] tags=["fragment"]
# Each job runs in a process of its own, because a process never gives its peak back.

# %% tags=["skip"]
from inferkit.benchmark import run_in_child

lengths = [25_000, 100_000]
jobs = {"all at once": at_once, "streamed": streamed}
found = {way: [run_in_child(job, n) for n in lengths] for way, job in jobs.items()}
for way, results in found.items():
    print(f"{way:11}: {results[-1].value:,.0f} of 100,000 customers are expected to leave")


# %% tags=["skip"]
def memory_figure(lengths, peaks, million=1_000_000):
    fig, ax = plt.subplots(figsize=slide_size(height=0.8))
    for (way, mb), colour in zip(peaks.items(), ("orange", "blue")):
        slope, start = np.polyfit(lengths, mb, 1)
        carried_on = [start + slope * n for n in (lengths[-1], million)]
        ax.plot(lengths, mb, "o-", color=COLOURS[colour])
        ax.plot([lengths[-1], million], carried_on, "--", color=COLOURS[colour], label=way)
    ax.set(xlim=(0, 1.25 * million), ylim=(0, None), ylabel="most memory held, MB")
    ax.set_xticks([0, 100_000, 500_000, million], ["0", "100,000", "500,000", "a million"])
    ax.set_xlabel("rows (dots: measured; dashes carry it on)")
    return fig


# %% tags=["measured", "subslide"]
peaks = {way: [one.peak_mb for one in results] for way, results in found.items()}
fig = memory_figure(lengths, peaks)
fig.axes[0].set_title("A stream does not care how long it is")
label_lines(fig.axes[0])
show(fig, alt="All at once the memory rises in proportion to the rows; streamed it stays level.")

# %% tags=["measured", "skip"]
grown = {way: mb[-1] - mb[0] for way, mb in peaks.items()}
gb = grown["all at once"] / 75_000
print(f"at once, a million rows would take {1000 * gb:.1f} GB, ten million {10_000 * gb:.0f} GB")

# %% tags=["fragment"]
print("from 25,000 to 100,000 rows: at once over 25 MB more:", grown["all at once"] > 25)
print("streamed less than half of that:", grown["streamed"] < grown["all at once"] / 2)

# %% [markdown] tags=["notes"]
# Three minutes. The level part is Python with its libraries. Ask: which of your own scripts reads the whole table first? (All of them.) At which length does your laptop stop?

# %% [markdown] tags=["slide"]
# ## From file to file
#
# A real job reads a file and writes one. First the file, from a stream: 100,000 customers, a line each. All files of this lesson lie in the folder `night`, beside this notebook: look into them.

# %% tags=["skip"]
import csv
from pathlib import Path

from inferkit.datasets import iter_customers

night, n_customers = Path("night").absolute(), 100_000
night.mkdir(exist_ok=True)


# %% tags=["skip"]
def write_table(path, parts):
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["customer", *known.feature_names])
        for part in parts:
            pairs = zip(part.customer.tolist(), part.data.tolist())
            out.writerows((who, *row) for who, row in pairs)


write_table(night / "customers.csv", iter_customers(n_customers, 4096, random_state=7))

# %% tags=["measured", "fragment"]
from inferkit.batch import predict_batch

options = {"answer": "predict_proba", "id_column": "customer"}
local = predict_batch(scorer, night / "customers.csv", night / "scores.csv", **options)
local

# %% tags=["skip"]
with open(night / "scores.csv") as file:
    lines_written = list(csv.DictReader(file))
for line_written in lines_written[:3]:
    print(f"customer {line_written['customer']}: {float(line_written['p_leaves']):.3f}")
in_file = sum(float(line_written["p_leaves"]) for line_written in lines_written)
print(f"{len(lines_written):,} lines; {in_file:,.0f} of these customers are expected to leave")
same = np.isclose(in_file, found["streamed"][-1].value, rtol=1e-4)
print("as many as by hand, streamed:", same)
print("each customer once, in order:", local.n_answered == len(lines_written) == n_customers)
del lines_written

# %% tags=["measured", "skip"]
table_us, file_us = 1e6 * seconds[1] / len(rows), 1e6 * local.seconds / n_customers
print(f"a row costs {file_us:.1f} µs from file to file, {table_us:.1f} µs from table to answer")
print("reading and writing take more than the answers:", file_us > 2 * table_us)

# %% tags=["skip"]
fields = n_customers * len(known.feature_names)
print(f"{fields:,} fields were read from text:", fields > 10 * local.n_answered)

# %% [markdown] tags=["notes"]
# Four minutes. For a longer job `predict_batch` measures a curve such as ours and chooses the size by it (`local.curve` keeps it); for a job of a second it takes 256. Ask what the night is spent on: reading text and writing text. Which formats spare that? (Those made
# for columns, such as Parquet.)

# %% [markdown] tags=["slide"]
# ## Half past three, and the power goes
#
# A job that runs for hours is killed one day. Write its answers in **parts**, each under another name until it is whole. A rerun skips what is there. By hand:


# %%
def job(folder, customers, power_cut_at=None):
    for k, start in enumerate(range(0, len(customers.data), 500)):
        part = folder / f"part-{k:04}.csv"
        if not part.exists():  # else it was done before the power cut
            these = slice(start, start + 500)
            told = zip(customers.customer[these], scorer.predict_proba(customers.data[these])[:, 1])
            draft = part.with_suffix(".draft")
            draft.write_text("".join(f"{who},{p:.6f}\n" for who, p in told))
            if k == power_cut_at:
                raise SystemError("the power is gone")  # before the part has its name
            draft.rename(part)  # the name comes at once or not at all


# %% tags=["subslide"]
from hashlib import sha256
from tempfile import mkdtemp


def fingerprint(folder):
    content = b"".join(part.read_bytes() for part in sorted(folder.glob("part-*.csv")))
    return sha256(content).hexdigest()


# %%
broken, whole = (Path(mkdtemp(dir=night)) for _ in range(2))  # empty, however often this is run
try:
    job(broken, known, power_cut_at=5)
except SystemError as error:
    print(error, "| parts:", len(list(broken.glob("part-*.csv"))))
job(broken, known)  # the same call again
job(whole, known)  # and one that nobody disturbed
print("parts in the end:", len(list(broken.glob("part-*.csv"))))
print("the same bytes:", fingerprint(broken) == fingerprint(whole))

# %% [markdown] tags=["skip"]
# Three things make it right. A part has its name only when it is whole (a **rename** happens at once or not at all). Where a part begins is fixed by its number, not by what was left to do. And each row's answer hangs on
# that row alone. So each customer is answered **exactly once** in the file, although some were asked twice. (A real power cut asks for one thing more: that the bytes are on the disk before the name is. The library calls
# `fsync` for that.)

# %% [markdown] tags=["notes"]
# Four minutes. Ask before the second cell: what if the power goes between the last line of the draft and its renaming? (The part is done again: same bytes.) And with part-10 and part-9, what does sorted do? (The names have
# four digits for that reason; the break-it section comes back to it.)

# %% [markdown] tags=["slide"]
# ## Kill it
#
# Now in earnest, and from file to file: another process does the job, and is killed in the middle. Nothing can catch this signal.

# %%
import subprocess
import sys
import time

program = f"""
from inferkit.batch import predict_batch
from inferkit.predictor import churn_scorer
options = {options}
source, sink = {str(night / "customers.csv")!r}, {str(night / "again.csv")!r}
predict_batch(churn_scorer(), source, sink, checkpoint_rows=5_000, progress=False, **options)
"""
finished = night / ".again.csv.checkpoint"  # a folder with the parts that are whole

# %% tags=["fragment"]
(night / "again.csv").unlink(missing_ok=True)  # of an earlier run of this cell
child = subprocess.Popen([sys.executable, "-c", program])
while child.poll() is None and len(list(finished.glob("*.json"))) < 4:  # the plan, three parts
    time.sleep(0.002)
child.kill()
child.wait()
print("the output is there:", (night / "again.csv").exists())

# %% [markdown] tags=["subslide"]
# The same call goes on from there. But first somebody installs a new model, with other probabilities. Half the customers by one model, half by another?

# %%
from inferkit import InputError
from inferkit.predictor import Predictor, Temper

files = night / "customers.csv", night / "again.csv"
in_parts = options | {"checkpoint_rows": 5_000}
newer = Predictor(scorer.backend, preprocess=scorer.preprocess, postprocess=[Temper(2)],
                  signature=scorer.signature, labels=scorer.labels)  # fmt: skip
try:
    predict_batch(newer, *files, **in_parts)
except InputError as error:
    print("refused:", "the predictor has changed" in str(error))

# %% tags=["fragment"]
resumed = predict_batch(scorer, *files, **in_parts)
print("some rows were finished before:", resumed.n_resumed > 10_000)
digests = [sha256((night / name).read_bytes()).hexdigest() for name in ("scores.csv", "again.csv")]
print("the same bytes as undisturbed:", digests[0] == digests[1])

# %% tags=["measured", "skip"]
print(f"finished before the kill: {resumed.n_resumed:,} rows; SHA-256 of both {digests[1][:16]}…")

# %% tags=["skip"]
print("nothing is left behind:", [path.name for path in night.glob(".again*")] == [])

# %% [markdown] tags=["notes"]
# Four minutes. Run the kill again if somebody doubts: it lands elsewhere, and the bytes stay. The library's parts carry a hash each, and the folder says which file, which model and which cut they belong to. That is why the newer model is
# refused, and why the batch size is kept, too.

# %% [markdown] tags=["slide"]
# ## One bad row
#
# Somebody has typed `"weekly"` as a contract; somewhere a charge is missing. The contract at the door refuses both, and with them the whole batch: 3,998 innocent customers get no answer. By hand: cut the
# batch in two until the bad row stands alone.

# %%
typed = known.data.copy()
typed["contract"][1234] = "weekly"
typed["monthly_charge"][2718] = np.nan


def answers(rows, first=0):
    try:
        return list(scorer.predict_proba(rows)[:, 1]), [], 1
    except InputError as error:
        if len(rows) == 1:
            return [np.nan], [(first, str(error))], 1
    half = len(rows) // 2
    left, right = answers(rows[:half], first), answers(rows[half:], first + half)
    return left[0] + right[0], left[1] + right[1], left[2] + right[2] + 1


# %% tags=["subslide"]
told, rejected, calls = answers(typed)
for place, reason in rejected:
    print(f"row {place}: {reason}")
good = ~np.isnan(told)
print("all others have the answer that they had:", np.array_equal(np.array(told)[good], p[good]))
print(f"calls: {calls}; one by one it would have been {len(typed):,}")

# %% tags=["fragment"]
wrong = night / "typed.csv"
write_table(wrong, [type(known)(data=typed, customer=known.customer)])
result = predict_batch(scorer, wrong, night / "answers.csv", **options)
print(f"{result.n_rows:,} rows: {result.n_answered:,} answered, {result.n_rejected} rejected")
print((night / "answers.rejected.csv").read_text())

# %% [markdown] tags=["skip"]
# Real tables have such rows. In the public table of telephone customers that many courses use, eleven customers have no bill yet, and a blank in the column `TotalCharges`. The next cell shows it where the file can be had.

# %% tags=["skip"]
get_public = False  # True: fetch it from the net, 1 MB
if get_public:
    from inferkit.datasets import fetch_telco
    from inferkit.predictor import Column, TableSpec

    telco = fetch_telco().data
    columns = {name: telco[name] for name in ("tenure", "MonthlyCharges", "TotalCharges")}
    bills = TableSpec([Column(name) for name in columns])
    a_year = Predictor(lambda X: 12 * X[:, [1]], signature=bills)  # what they pay in a year
    print(predict_batch(a_year, columns))
else:
    print("the public table was not asked for")

# %% [markdown] tags=["notes"]
# Four minutes. Why so few calls? Each bad row sends a path of halves down: about 2 log₂ n calls. Who reads the file of rejected rows? If nobody does, two customers are lost as surely as before. Ask what to do if every second row is bad: the library stops
# when more than half are, for then the job is wrong, not the rows.

# %% [markdown] tags=["slide"]
# ## More cores: threads
#
# Python lets one thread at a time run Python (the **interpreter lock**). A runtime written in C++ gives the lock back while it computes. So what do two threads bring?

# %%
from concurrent.futures import ThreadPoolExecutor


def with_threads(model, batches, n):
    start = perf_counter()
    with ThreadPoolExecutor(n) as pool:
        answers = list(pool.map(model, batches))
    return perf_counter() - start, np.concatenate(answers)


# %% tags=["skip"]
queues = {
    "scorer": (scorer.predict_proba, np.split(long_table, 16)),
    "digit network": (digits, np.array_split(pictures, 16)),
}
cores = describe().cores_granted

# %% tags=["measured", "fragment"]
sped_up, same = {}, []
for name, (model, batches) in queues.items():
    runs = [[with_threads(model, batches, n) for n in (1, 2)] for _ in range(5)]
    same += [np.array_equal(one[1], two[1]) for one, two in runs]
    sped_up[name] = np.median([one[0] / two[0] for one, two in runs])
    print(f"{name:14}: two threads are {sped_up[name]:.2f} times as fast as one")
print(
    f"this process may use {cores:g} core{'s' * (cores > 1)}" + ": nothing to gain" * (cores == 1)
)

# %% tags=["skip"]
print("the same answers with two threads:", sum(same) == len(same) == 10)

# %% [markdown] tags=["skip"]
# Where there are two cores, the digit network gains and the scorer hardly does: its time is spent on Python's words ("monthly", "fibre"), one thread at a time. Threads help as far as the runtime is what takes the
# time. For the rest it takes processes, each with a lock of its own.

# %% [markdown] tags=["notes"]
# Three minutes. On one core (Binder) both stay near 1, and that is the honest answer there. Ask: which line of the trace table holds the lock? (All but the network.)

# %% [markdown] tags=["slide"]
# ## More machines: Dask
#
# **Dask** gives work to processes, here or on other machines. By hand: start two, hand each a part of the table, collect the answers. The library does the same with one word more, `engine="dask"`.

# %% tags=["measured"]
from distributed import Client, LocalCluster

quiet = {"dashboard_address": "127.0.0.1:0", "silence_logs": 50}
start = perf_counter()
with LocalCluster(2, threads_per_worker=1, **quiet) as cluster, Client(cluster) as client:
    start_s = perf_counter() - start
    futures = client.map(scorer.predict, np.split(rows, 4))
    by_dask = np.concatenate(client.gather(futures))
    options_far = options | {"engine": "dask", "address": cluster.scheduler_address}
    far = predict_batch(scorer, night / "customers.csv", night / "far.csv", **options_far)
print(f"the start took {start_s:.1f} s; then {n_customers:,} rows {far.seconds:.1f} s", end="")
print(f", here {local.seconds:.1f} s")

# %%
print("by hand, the same answers:", np.array_equal(by_dask, fast))
far_bytes, here_bytes = ((night / name).read_bytes() for name in ("far.csv", "scores.csv"))
print("from file to file, the same bytes:", far_bytes == here_bytes)
print(
    "starting takes longer than 100,000 answers in memory:", start_s > n_customers * table_us / 1e6
)

# %% [markdown] tags=["subslide"]
# When does it pay? Two workers would at best halve the time. So the start is won back at $n$ rows, if $n\,t\,(1 - 1/2)$ seconds are more than the start.

# %% tags=["measured"]
table = ["| a row takes | for example | two workers pay from |", "|---|---|---|"]
examples = {"network alone": lines["its network"][1], "scorer": lines["scorer"][1]}
examples |= {
    "file to file": local.seconds / n_customers,
    "digit network": lines["digit network"][1],
}
for what, t_row in (examples | {"a large network": 0.01}).items():
    table.append(f"| {1e6 * t_row:,.2f} µs | {what} | {2 * start_s / t_row:,.0f} rows |")
Markdown("\n".join(table))

# %%
print(
    "the scorer's million is answered before two workers have paid:",
    2 * start_s / lines["scorer"][1] > 1e6,
)

# %% [markdown] tags=["notes"]
# Four minutes; the start takes some seconds, use them to ask for a bet. The table is generous to Dask: reading and writing stay in one process, and every row travels to a worker and back. Say what a cluster is good for: models of milliseconds a
# row, memory that one machine has not, machines that fail (a worker that dies loses nothing: its part is done again).

# %% [markdown] tags=["slide"]
# ## What does the night cost?
#
# A core in a data centre is rented for a few cents an hour. Set the price that you know.

# %%
euros_per_hour = 0.05  # for one core

# %% tags=["measured", "fragment"]
per_million = {
    "one by one": 1e6 * seconds[0] / len(rows),
    "in batches of 1,000": 1e6 * seconds[1] / len(rows),
    "from file to file": 1e6 * local.seconds / n_customers,
    "the same on Dask, two cores": 2 * (start_s + 1e6 * far.seconds / n_customers),
}
table = ["| a million customers | core seconds | € |", "|---|---|---|"]
for way, s in per_million.items():
    table.append(f"| {way} | {s:,.1f} | {s * euros_per_hour / 3600:.5f} |")
Markdown("\n".join(table))

# %%
dearest = max(per_million.values()) * euros_per_hour / 3600
print("the dearest of them costs less than one phone call of 10 €:", dearest < 10)

# %% [markdown] tags=["subslide"]
# And what is the list worth? Say that a call costs 10 €, keeps four in ten of those who would leave, and a customer who stays brings 100 €. So call whoever leaves with more than
# $10 / (0.4 \cdot 100) = 0.25$. The truth of these 4,000 is known, so the gain can be computed.


# %% tags=["skip"]
def gain(order, call=10, kept=0.4, worth=100):  # after none, one, two, ... calls
    return np.append(0, np.cumsum(kept * worth * known.probability[order] - call))


orders = {"if one knew the truth": np.argsort(-known.probability, kind="stable")}
orders |= {"by the model's list": np.argsort(-p, kind="stable"), "as they come": np.arange(len(p))}
gains = {way: gain(order) for way, order in orders.items()}
called = int((p > 0.25).sum())

# %% tags=["fragment"]
fig, ax = plt.subplots(figsize=slide_size(height=0.6))
for (way, euros), colour, width in zip(gains.items(), ("pink", "blue", "orange"), (9, 3, 3)):
    ax.plot(np.arange(2001), euros[:2001], color=COLOURS[colour], lw=width, label=way)
at = (called, gains["by the model's list"][called])
ax.plot(*at, "D", ms=11, color=COLOURS["black"])
ax.annotate("0.25", at, (0, -24), textcoords="offset points", ha="center")
ax.set(xlabel="customers called, of 4,000", ylabel="gain, €", xlim=(0, 2600))
ax.set_title("The list is worth calling; calling everybody is not")
label_lines(ax)
show(
    fig, alt="By the model's list the gain rises to a top near the truth's; as they come it falls."
)

# %% tags=["skip"]
model, truth = gains["by the model's list"], gains["if one knew the truth"]
print(f"{called} calls: {model[called]:,.0f} €; with the truth at best {truth.max():,.0f} €")
print(f"for a million customers: {250 * model[called]:,.0f} €")
print(f"of what can be gained, the model finds {model[called] / truth.max():.0%}")

# %% [markdown] tags=["notes"]
# Four minutes. First the € column: the answers cost nothing that anybody would notice; the calls do. Then the figure: the diamond is the threshold 0.25. Ask: what changes if a call costs 2 €? (Lower threshold, longer
# list.) So the probability must be honest, which lesson 06 was about.

# %% tags=["skip"]
from inferkit.benchmark import Ledger, compare

truth_words = np.array(scorer.labels)[known.target]
ledger, asked = Ledger.open(), (known.data, truth_words)
single = compare({"churn, one by one": scorer}, *asked, n=700, ledger=ledger)
batch = compare({"churn, in batches": scorer}, *asked, n=100, batch_size=1000, ledger=ledger)
right = single["churn, one by one"].accuracy, batch["churn, in batches"].accuracy
print("right, one by one and in batches:", *(f"{share:.3f}" for share in right))

# %% tags=["measured", "skip"]
batch

# %% tags=["skip"]
waits = batch["churn, in batches"].p50_ms, single["churn, one by one"].p50_ms
print(
    "a batch of 1,000 keeps its first row waiting over five times as long:", waits[0] > 5 * waits[1]
)

# %% [markdown] tags=["slide", "textbook"]
# ## When the textbook is wrong here

# %% tags=["skip"]
a, b = lines["scorer"]
enough, wait_ms = 9 * a / b, 1000 * 10 * a  # 90 % of the speed: n = 9 a / b, and t = 10 a
of_best = curves["scorer"][-1] / max(curves["scorer"])
share = many["litert"].time_us / in_all
gained = ["no", "in part", "holds"][sum(ratio > 1.2 for ratio in sped_up.values())]
how = ", ".join(f"{name} {ratio:.2f} ×" for name, ratio in sped_up.items())
there, here = start_s + far.seconds, local.seconds
no = {True: "holds", False: "no"}

# %% tags=["measured", "fragment"]
how_long = f"{there:.1f} s on two workers, {here:.1f} s here"
in_time = f"{enough:,.0f} rows give 90 % of the speed, in {wait_ms:.1f} ms"
said = {
    "Batches are for large, offline tables": f"{no[wait_ms > 100]}: {in_time}",
    "The larger the batch, the faster": f"{no[of_best > 0.95]}: 65,536 rows run at {of_best:.0%}",
    "The model takes the time": f"{no[share > 0.5]}: {share:.0%} of it",
    "Inference scales by parallel work": f"{gained}: two threads, {how}",
    "... and by distributed computing": f"{no[there < here]}: {how_long}",
}
said_here = [f"| {claim} | {verdict} |" for claim, verdict in said.items()]
Markdown("\n".join(["| they say | here |", "|---|---|", *said_here]))

# %%
print("90 % of the speed is reached within a blink of 100 ms:", wait_ms < 100)

# %% [markdown] tags=["skip"]
# "Batch or real time" mixes two things: how rows are handed over, and who waits for them. A few hundred rows at once give nearly all the speed, within a time that nobody notices. So a server that answers single
# events may well collect some of them into a batch; lesson 08 does so, and finds out when it helps.

# %% [markdown] tags=["notes"]
# Three minutes. Read the right column aloud. With one core the fourth row must say no, and the fifth says no for small jobs on any machine. Ask: which of the five would change for a model a thousand times as
# large? (The last three.)

# %% [markdown] tags=["slide", "play"]
# ## Play
#
# Choose a batch. Where is half of the price of a row the call's? What does the last tenth of the speed cost in waiting? Then take the digit network.

# %% tags=["skip"]
from inferkit.widgets import LiveFigure, curve, points, text

in_flight = {"scorer": per_row, "its network": 4 * (19 + 2), "digit network": 4 * (64 + 10)}
grid = np.geomspace(1, 65_536, 60)


def price(rows, model):
    a, b = lines[model]
    sizes_of, rate = work[model][2], np.array(curves[model])
    each, share = 1e6 * (a / rows + b), a / (a + b * rows)
    parts = [curve(grid, 1e6 * (a / grid + b), label="a / n + b", colour="blue")]
    parts += [curve(grid, 0 * grid + 1e6 * b, label="b", colour="black", dashed=True)]
    parts += [points(sizes_of, 1e6 / rate, label="", colour="green", hollow=True)]
    parts += [points(rows, each, label="you", colour="orange")]
    return parts + said_of(model, rows, each, share)


# %% tags=["skip"]
def said_of(model, rows, each, share):
    return [
        text("a row", f"{each:.2f} µs"),
        text("of it for the call", f"{share:.0%}"),
        text("a million rows", f"{each:.1f} s"),
        text("the first row waits", f"{each * rows / 1000:.2f} ms"),
        text("a batch takes at least", f"{in_flight[model] * rows / 1e6:.2f} MB"),
    ]


# %% tags=["skip"]
looks = {
    "start": {"rows": 64},
    "labels": {"rows": "rows in a call"},
    "alt": "With {rows} rows in a call, a row takes {a row}, {of it for the call} for the call.",
    "xlabel": "rows in a call",
    "ylabel": "time of a row, µs",
    "xscale": "log",
    "yscale": "log",
    "height": 300,
}

# %% tags=["measured", "fragment"]
stops = [2**k for k in range(17)]
LiveFigure(price, {"rows": stops, "model": list(lines)}, **looks)

# %% tags=["skip"]
shares = [lines["scorer"][0] / (lines["scorer"][0] + lines["scorer"][1] * n) for n in stops]
print("the call's share falls with every doubling:", np.all(np.diff(shares) < 0))

# %% [markdown] tags=["notes"]
# Three minutes. Dots: measured; line: $a/n + b$. Where they part on the right, the caches are full. Let somebody find the smallest batch within a tenth of the best, and say what its first row waits.

# %% [markdown] tags=["slide", "break-it"]
# ## Break it
#
# Three colleagues have scored the 4,000 customers overnight. Every file looks tidy: a number from 0 to 1 in each line. Three months later it is known who left, and the lists were poor. Each made one
# mistake, and no line of code complained.

# %% tags=["hide-input"]
parts = np.split(p, 16)  # as 16 parts of 250 rows
by_name = sorted(range(16), key=str)
odds = p[2000:] / (1 - p[2000:]) * 4.4
overnight = {
    "ash": np.delete(p, 1000),
    "hazel": np.concatenate([parts[k] for k in by_name]),
    "rowan": np.append(p[:2000], odds / (1 + odds)),
}


def pairs_in_order(score, left):  # of a leaver and a stayer: how often has the leaver more?
    gone, here = score[left == 1], score[left == 0]
    return np.mean(gone[:, None] > here)


# %% tags=["hide-input", "fragment"]
heads = [
    f"{what}, {quarter}"
    for what in ("mean", "in order")
    for quarter in ("1st", "2nd", "3rd", "4th")
]
lines_of = ["| | rows | " + " | ".join(heads) + " |", "|---" * 10 + "|"]
for name, score in {"honest": p, **overnight}.items():
    left = known.target[: len(score)]
    quarters = list(zip(np.array_split(score, 4), np.array_split(left, 4)))
    cells = [q.mean() for q, _ in quarters] + [pairs_in_order(*q) for q in quarters]
    lines_of.append(f"| {name} | {len(score):,} | " + " | ".join(f"{c:.2f}" for c in cells) + " |")
Markdown("\n".join(lines_of))

# %% [markdown] tags=["subslide"]
# By quarters of the file: the mean probability, and of all pairs of one who left and one who stayed, how often the leaver has the larger number (a blind guess gets 0.50). Name the mistake of each:
# `"slipped by one"` (a bad row was dropped, and the rest moved up), `"parts in wrong order"`, `"two models in one file"` (resumed after a new one was installed) or `"a part written twice"`.

# %%
suspicion = {"ash": ..., "hazel": ..., "rowan": ...}

# %% tags=["hide-input"]
mistakes = {
    "ash": ("slipped by one", "count the rows; and from where on is the order lost?"),
    "hazel": (
        "parts in wrong order",
        "all rows are there, and half of the first quarter fits",
    ),
    "rowan": ("two models in one file", "the order is right throughout; what is not?"),
}
for name, (mistake, hint) in mistakes.items():
    said_so = suspicion[name]
    course.check(f"the mistake of {name}", said_so if said_so is ... else said_so == mistake, hint)

# %% [markdown] tags=["notes"]
# Five minutes. What would have found each on the same night? The count of rows finds the first. A hundred rows, drawn at random and asked once more one by one, find all three. An id in every line makes the first two impossible; a
# fingerprint of the model in the checkpoint the third.

# %% [markdown] tags=["slide", "summary"]
# ## Summary
#
# - A call costs $a$, a row $b$: from $n = a/b$ on a batch runs at half its speed, from nine times as many at 90 %. Beyond that it costs memory and waiting, and the caches make it slower.
# - Stream it, write whole parts, fix their boundaries once, keep the id with the answer: then neither length nor a power cut nor a bad row costs anybody an answer.
# - Threads help where the runtime takes the time, a cluster where the job lasts longer than its start. The answers are cheap; what is done with them is not.
#
# [Three exercises](exercises/07_batch_inference.ipynb) wait: a stream that is cut anew, how often to save, and a file whose count is right. The ledger keeps your rows. Lesson 08: one event at a time, over a network.

# %% [markdown] tags=["slide", "quiz"]
# ## Quiz

# %% tags=["hide-input"]
course.quiz(
    {
        "question": "A call costs 60 µs, a row 0.5 µs. Which batch gives 90 % of the speed?",
        "options": {
            "About 120 rows": "There the rows cost as much as the call: half the speed.",
            "About 1,080 rows": "Nine times a / b: then the call is a tenth of all.",
            "As large as fits": "Much more memory, for at most a tenth more speed.",
        },
        "answer": "About 1,080 rows",
    }
)

# %% tags=["fragment", "hide-input"]
course.quiz(
    {
        "question": "Why does a very large batch run slower again?",
        "options": {
            "It no longer fits into the caches": "Each step has to fetch it from main memory.",
            "Python counts large numbers slowly": "It counts calls, and there is only one.",
            "The fixed cost grows with it": "Then it would not be fixed.",
        },
        "answer": "It no longer fits into the caches",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "What makes a killed job end with the same bytes?",
        "options": {
            "It catches the signal and saves": "Nobody can catch a power cut.",
            "Whole parts with fixed boundaries": "What is there is right; the rest is done again.",
            "It begins anew": "That works too, if it is never killed twice.",
        },
        "answer": "Whole parts with fixed boundaries",
    }
)

# %% tags=["fragment", "hide-input"]
course.quiz(
    {
        "question": "Two threads did not make the scorer faster. Why?",
        "options": {
            "Its network is too small for two": "The network is a small part of its time.",
            "Preparing words holds Python's lock": "Only a runtime that lets go of it runs beside.",
            "Threads need a cluster": "A cluster has processes, with a lock each.",
        },
        "answer": "Preparing words holds Python's lock",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "As many lines of answers as customers: is the file complete?",
        "options": {
            "Yes": "One part twice and one missing give the same count.",
            "Compare the ids, and ask some again": "A count is one number; ids are all of them.",
            "If the job gave no error": "None of the three in this lesson did.",
        },
        "answer": "Compare the ids, and ask some again",
    }
)

# %% [markdown] tags=["skip", "sources"]
# ## Sources
#
# - The two numbers of a call: R. W. Hockney and C. R. Jesshope, *Parallel Computers*, Adam Hilger 1981; R. W. Hockney, *The Science of Computer Benchmarking*, SIAM 1996.
# - Roofs: S. Williams, A. Waterman and D. Patterson, *Roofline: An Insightful Visual Performance Model*, Communications of the ACM 52, 2009.
# - Crash and rename: T. S. Pillai et al., *All File Systems Are Not Created Equal*, OSDI 2014; how often to save: J. W. Young, *A First Order Approximation to the Optimum Checkpoint Interval*, Communications of the ACM 17, 1974.
# - Parts that are done again: J. Dean and S. Ghemawat, *MapReduce*, OSDI 2004. Dask: M. Rocklin, *Dask: Parallel Computation with Blocked Algorithms and Task Scheduling*, SciPy 2015.
# - Does the cluster pay: F. McSherry, M. Isard and D. G. Murray, *Scalability, but at what COST?*, HotOS 2015.

# %% [markdown] tags=["slide", "title"]
# # Measuring honestly
#
# **You measured 3 milliseconds. Would you bet your job on it?**

# %% tags=["measured"]
from time import perf_counter_ns

from inferkit.datasets import split_digits
from inferkit.models import load_reference

model = load_reference("digits-cnn")
X_train, X_test, y_train, y_test = split_digits()
x = X_test[5][None] / 16  # one picture, ink from 0 to 1
start = perf_counter_ns()
model(x)
print(f"one answer took {(perf_counter_ns() - start) / 1000:.1f} µs")

# %% tags=["measured"]
start = perf_counter_ns()
model(x)
print(f"the same answer took {(perf_counter_ns() - start) / 1000:.1f} µs")

# %%
print("the same ten probabilities:", (model(x) == model(x)).all())

# %% [markdown] tags=["skip"]
# Same network, same picture, same bits; another time. Run the second cell again, a few times. So which of these numbers is *the* **latency**, the time that an
# answer takes? None of them. A latency is a crowd of numbers, and this lesson is about saying something true about a crowd.

# %% [markdown] tags=["notes"]
# Two minutes. Run the first cell, write the number on the board, large, and ask who would put it into a contract. Run the second cell three times. Expect "take the
# mean" and "take the best": write both beside the number; they come back. If two runs print the same time, run it until they do not.

# %% [markdown] tags=["slide", "objectives"]
# ## You will be able to
#
# - time a call by hand: warm-up apart, the clock's own price known, every sample kept;
# - give a median or a p99 with an interval, and say how many samples it takes;
# - tell why a client that waits for its answers does not see what users feel;
# - say where the time goes between `predict()` and the multiplications;
# - find the lie in a latency report.
#
# 30 minutes to teach, 30 minutes to practise.
#
# **Needs** lesson 01: a model answers, and does not change.

# %% [markdown] tags=["slide", "predict"]
# ## What do you expect?
#
# The network behind this notebook comes in two files with the same weights: one for Keras, one for LiteRT. Both will answer about the same pictures.

# %%
from inferkit import course

times = course.guess(
    "How many times as long does Keras' predict() take for one picture, compared with LiteRT?",
    low=1,
    high=1e6,
    unit="times",
)
times

# %% [markdown] tags=["notes"]
# One minute. Same weights, same arithmetic, same answer: let the room vote by hands. Twice? Ten times? Write the spread down. It comes back on the last figure.

# %% [markdown] tags=["slide", "by-hand"]
# ## By hand: a thousand calls
#
# A model that has never answered, a clock that only goes forward, and a list that keeps every time.

# %% tags=["measured"]
import numpy as np

fresh = load_reference("digits-cnn")
times_us = []
for _ in range(1000):
    start = perf_counter_ns()
    fresh(x)
    times_us.append((perf_counter_ns() - start) / 1000)
first, later = times_us[:5], times_us[5:]
print("the first five:", *(f"{t:.1f}" for t in first), "µs")
print(f"the median of the rest: {np.median(later):.1f} µs")

# %%
print("the very first took over twice the median:", first[0] > 2 * np.median(later))

# %% [markdown] tags=["skip"]
# The first calls prepare what the later ones find ready, in memory and in caches. That is **warm-up**. It is real, and the first user feels it. But it answers another
# question than the calls after it, so the two never share an average.

# %% [markdown] tags=["subslide"]
# And the clock: what does it cost to look at it?

# %% tags=["measured"]
clock_ns = []
for _ in range(1000):
    start = perf_counter_ns()
    clock_ns.append(perf_counter_ns() - start)
print(f"two looks at the clock, with nothing in between: {np.median(clock_ns):.0f} ns")

# %%
share = np.median(clock_ns) / 1000 / np.median(later)
print("the clock is less than half of what we time:", share < 0.5)

# %% [markdown] tags=["notes"]
# Four minutes. Ask before the loop: which of the thousand will be the slowest? (Mostly the first.) Before the clock: what would we see if the call were faster than
# the clock? (The clock.) For such calls one times a hundred in a row, and loses the tail.

# %% [markdown] tags=["subslide"]
# Sorted, they show their shape.


# %% tags=["skip"]
def sorted_figure(values, unit):
    ordered, n = np.sort(values), len(values)
    fig, ax = plt.subplots(figsize=slide_size(height=0.75))
    ax.semilogy(100 * np.arange(1, n + 1) / n, ordered, ".", color="C0")
    marks = {"median": (50, np.median(ordered)), "p99": (99, ordered[int(np.ceil(0.99 * n)) - 1])}
    for name, (q, value) in marks.items():
        ax.plot(q, value, "o", ms=12, color="C1")
        note(ax, f"{name} {value:.3g} {unit}", (q, value))
    ax.axhline(np.mean(ordered), color="C2", lw=1.5)
    note(ax, f"mean {np.mean(ordered):.3g} {unit}", (25, np.mean(ordered)))
    return fig, ax


# %% tags=["skip"]
def note(ax, text, place, offset=(-10, 12), ha="right", **style):
    style = {"bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1}} | style
    ax.annotate(text, place, offset, textcoords="offset points", ha=ha, **style)


def plain_ticks(axis):
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")


# %% tags=["measured", "fragment"]
import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator

from inferkit.plots import show, slide_size, use_style

use_style()
fig, ax = sorted_figure(later, "µs")
plain_ticks(ax.yaxis)
ax.set(xlabel="share of calls, %", ylabel="time, µs", title="Your machine's calls, by size")
print(f"the slowest took {max(later) / np.median(later):.1f} times the median")
show(fig, alt="Calls sorted by time: flat for most of them, then a steep tail at the right end.")

# %% tags=["skip"]
by_median = np.array(later) / np.median(later)
halves = np.mean(by_median <= 1), np.mean(by_median >= 1)
print("half of the calls or more took no longer, half or more no less:", min(halves) >= 0.5)

# %% [markdown] tags=["slide"]
# ## A service whose truth we know
#
# To learn a tool, use it where you know the answer. This one takes some 3 ms; three calls in a hundred wait for something else.


# %%
def pretend(n, rng):  # times in ms
    waits = rng.random(n) < 0.03
    return rng.lognormal(np.log(3), 0.08, n) + waits * rng.exponential(20, n)


rng = np.random.default_rng(3)
everything = pretend(1_000_000, rng)  # as near to the truth as we need
sample = pretend(1000, rng)

# %% tags=["subslide"]
fig, ax = sorted_figure(sample, "ms")
plain_ticks(ax.yaxis)
ax.set(xlabel="share of calls, %", ylabel="time, ms", title="A thousand calls, sorted")
show(fig, alt="Most calls take 3 ms; the last three in a hundred climb steeply, beyond the mean.")

# %% [markdown] tags=["subslide"]
# A **percentile** is found by sorting and counting: at the **p99**, 99 in 100 calls are done.


# %%
def by_rank(values, q):
    return np.sort(values)[int(np.ceil(round(q / 100 * len(values), 9))) - 1]


from IPython.display import Markdown

figures = {"mean": sample.mean(), **{f"p{q}": by_rank(sample, q) for q in (50, 90, 99)}}
table = ["| | ms | calls that took less |", "|---|---|---|"]
rows = [f"| {name} | {v:.2f} | {(sample < v).mean():.1%} |" for name, v in figures.items()]
Markdown("\n".join(table + rows))

# %% [markdown] tags=["skip"]
# Look at the first row: nearly every call is faster than the average call. The mean adds up two crowds that have nothing to do with each other. It is right for a bill
# (calls times mean is the total), and wrong for a promise. The median tells what is usual; the p99 tells what your hundredth user tells their friends.

# %% [markdown] tags=["notes"]
# Four minutes. Ask: you answer a page by 100 such calls, and the page waits for all of them. How many pages meet a p99? (63 %: 1 − 0.99 to the 100th. Dean and
# Barroso's "tail at scale".) So the tail of a part is the everyday of the whole.

# %% [markdown] tags=["slide"]
# ## How many samples does a p99 need?
#
# Twenty people measure the same service. Each takes 100 calls, or 1,000, and reports a p99.

# %%
reports = {n: [by_rank(pretend(n, rng), 99) for _ in range(20)] for n in (100, 1000)}
truth = by_rank(everything, 99)
fig, ax = plt.subplots(figsize=slide_size(height=0.55))
for n, found in reports.items():
    ax.semilogx(found, [f"{n:,} calls"] * 20, "o", ms=10, alpha=0.6)
ax.axvline(truth, color="black", lw=2)
ax.annotate("the truth", (truth, 0.5), (8, 0), textcoords="offset points")
ax.set(xlabel="reported p99, ms", ylim=(-0.5, 1.5), title="Twenty people, twenty p99s")
ax.set_xticks([5, 10, 20, 50, 100], ["5", "10", "20", "50", "100"])
show(
    fig, alt="The p99s of 100 calls scatter over a factor of ten; those of 1,000 calls lie closer."
)

# %% [markdown] tags=["subslide"]
# In 100 calls there may be none beyond the true p99: the chance is $0.99^{100}$. Then even the slowest call does not reach it. How many calls until we can trust that
# one lies beyond it, with 99 % confidence? And two, so that nothing hangs on the worst call alone?

# %%
n = np.arange(1, 10_000)
table = ["| | one lies beyond | two lie beyond |", "|---|---|---|"]
for q in (0.5, 0.9, 0.99, 0.999):
    p = max(q, 1 - q)
    none, one = p**n, n * (1 - p) * p ** (n - 1)  # beyond it lies none, exactly one
    first_n, second_n = n[np.argmax(none <= 0.01)], n[np.argmax(none + one <= 0.01)]
    table.append(f"| p{100 * q:g} | {first_n:,} calls | {second_n:,} calls |")
print(f"no call of 100 beyond the p99: {0.99**100:.2f}")
Markdown("\n".join(table))

# %% [markdown] tags=["skip"]
# The right column is the rule by which LoadGen, the referee of the **MLPerf** benchmarks, ends a run early. Below it this course states no percentile. The
# library keeps the same rule:

# %% tags=["skip"]
from inferkit.benchmark import percentile, samples_needed

print({q: samples_needed(q) for q in (50, 90, 99, 99.9)})

# %% [markdown] tags=["notes"]
# Five minutes. Let somebody in the room compute 0.99 to the 459th. The figure: who of the twenty would get the contract? (The one on the left, who was lucky.)

# %% [markdown] tags=["slide"]
# ## An interval, by counting
#
# Each call lies below the true p99 or not: a coin that shows heads 99 times in 100. How many of n lie below is **binomial**, whatever the times look like. So two
# ranks enclose the truth, and the values at these ranks are the **interval**.


# %%
def ranks(n, q, confidence=0.95):
    k = np.arange(n + 1)
    log_n = np.append(0, np.cumsum(np.log(k[1:])))  # the logarithm of every factorial
    log_p = k * np.log(q) + (n - k) * np.log(1 - q)
    below = np.cumsum(np.exp(log_n[n] - log_n - log_n[::-1] + log_p))  # at most k lie below it
    beyond = (1 - confidence) / 2
    return int(np.argmax(below > beyond)), int(np.argmax(below >= 1 - beyond)) + 1


for n in (100, 1000, 10_000):
    print(f"{n:6,} calls: the p50 lies between ranks {ranks(n, 0.5)}, the p99 {ranks(n, 0.99)}")

# %% [markdown] tags=["skip"]
# Of 100 calls the upper rank of the p99 is 101. There is no such call: the interval is open at the top, and the sample says "at least". No bell curve was assumed.

# %% [markdown] tags=["subslide"]
# Does it keep its promise? A thousand people measure; whose interval holds the truth? And does the library agree?

# %%
low, high = ranks(1000, 0.99)
lots = np.sort(pretend(1000 * 1000, rng).reshape(1000, 1000))  # a row for each person
holds = (lots[:, low - 1] <= truth) & (truth <= lots[:, high - 1])
print(f"the interval of the p99 holds the truth in {holds.mean():.1%} of 1,000 samples")

ours = [by_rank(sample, 99), *np.sort(sample)[[low - 1, high - 1]]]
p99 = percentile(sample, 99)
print(f"p99 {p99.value:.2f} ms, between {p99.low:.2f} and {p99.high:.2f} ms")
print("by hand and by library the same:", ours == [p99.value, p99.low, p99.high])

# %% [markdown] tags=["skip"]
# It keeps a little more than its 95 %, for ranks are whole numbers. One thing is assumed: that calls do not depend on each other. Calls in a row do. A neighbour's job, a warm cache, a clock that the processor has turned down: they
# last for many calls. So an interval from one run is the least doubt that you should have. Repeat the run on another day.

# %% [markdown] tags=["notes"]
# Five minutes. The coin is the whole idea: say it twice. The table of ranks first for the median: of 100 calls, ranks 40 to 61. Ask why it is not symmetric for
# the p99, and what "101" means. The doubt that no formula gives (another day, another machine) is worth a minute.

# %% [markdown] tags=["slide", "measure"]
# ## Measure
#
# The library's call does all this: warm-up apart, garbage collection held back, every sample kept, and no percentile that the sample does not support.

# %% tags=["measured"]
from inferkit.benchmark import measure_latency

result = measure_latency(model, X_test / 16, n=1000)
result

# %% tags=["measured", "subslide"]
stamp = result.stamp
print(stamp["machine"], "|", stamp["system"], "| Python", stamp["python"])
print("can do:", ", ".join(stamp["flags"]), "| measured at", stamp["utc"])

# %%
few = measure_latency(model, X_test / 16, n=100)
print("100 calls, stated p99:", few.p99_ms, " stated p90:", few.p90_ms is not None)
print("the interval holds its own median:", result.percentile(50).low <= result.p50_ms)

# %% [markdown] tags=["skip"]
# A number without its machine is gossip: a **stamp** travels with every result (`inferkit.devices.describe()` shows the machine in full). If other programs kept the
# processor busy meanwhile, the last line under the table says so. Then close them and measure again, or say it in your report.

# %% [markdown] tags=["notes"]
# Three minutes. Start a video in another window and run it again: the note comes, and look at the p99 before you look at the median.

# %% [markdown] tags=["slide"]
# ## Who is waiting?
#
# A service on this machine: one answer takes a millisecond. Twice a second it stands still for 60 ms. We planted that pause; in yours it is a garbage collection, a
# log that is written, a neighbour. Everybody who comes during it waits.

# %%
import time


def service(X):
    time.sleep(0.001)  # fetching the picture, planted too
    since = time.perf_counter() % 0.5
    if since < 0.06:
        time.sleep(0.06 - since)
    return model(X)


# %% [markdown] tags=["fragment"]
# One client asks, waits, asks again: a **closed loop**. Many users come when they like, whether or not the last one has been served: an **open loop**.

# %% tags=["measured", "subslide"]
from inferkit.benchmark import run_scenario

X = X_test / 16
closed = run_scenario(service, X, "single_stream", n=10_000, max_seconds=3)
opened = run_scenario(service, X, "server", target_qps=250, n=750)
table = [
    "| three seconds | calls | p50, ms | p90, ms | p99, ms | slowest, ms |",
    "|---|---|---|---|---|---|",
]
for name, one in (("closed loop", closed.latency), ("open loop", opened.latency)):
    ms = [*(one.percentile(q).value for q in (50, 90, 99)), one.samples_ns.max() / 1e6]
    table.append(f"| {name} | {one.n:,} | " + " | ".join(f"{t:.1f}" for t in ms) + " |")
Markdown("\n".join(table))

# %% tags=["measured"]
wide = opened.latency.p99_ms > 2 * closed.latency.p99_ms
print("same service, same seconds; the open loop's p99 is over twice the closed loop's:", wide)

# %% [markdown] tags=["skip"]
# Whatever else runs on this machine makes either loop wait. So ask both once more on paper: with a clock that nothing but the service and the pauses between queries move on.

# %% tags=["skip"]
now_ns = [0]


def on_paper(X):
    now_ns[0] += 1_000_000
    now_ns[0] += max(0, 60_000_000 - now_ns[0] % 500_000_000)
    return X


def wait(seconds):
    now_ns[0] += round(1e9 * seconds)


told = {"clock": lambda: now_ns[0], "sleep": wait}
closed_told = run_scenario(on_paper, X, "single_stream", n=10_000, max_seconds=3, **told).latency
opened_told = run_scenario(on_paper, X, "server", target_qps=250, n=750, **told).latency
print(f"on paper, p99: closed loop {closed_told.p99_ms:.1f} ms, open {opened_told.p99_ms:.1f} ms")
print("over ten times as long:", opened_told.p99_ms > 10 * closed_told.p99_ms)


# %% tags=["skip"]
def tail_figure(loops):
    fig, ax = plt.subplots(figsize=slide_size(height=0.8))
    for number, (name, ms) in enumerate(loops.items()):
        ordered = np.sort(ms)
        beyond = 100 * (1 - (np.arange(len(ordered)) + 0.5) / len(ordered))
        ax.loglog(beyond, ordered, color=f"C{number}")
        label_at = (3, ordered[np.argmin(abs(beyond - 3))])  # where three in a hundred wait longer
        note(ax, name, label_at, (-4, 8), color=f"C{number}", weight="bold")
    ax.set(xlabel="share of queries that wait longer, %", ylabel="time, ms")
    ax.invert_xaxis()
    return fig


# %% tags=["measured", "subslide"]
loops = {"closed loop": closed.latency, "open loop": opened.latency}
fig = tail_figure({name: one.samples_ns / 1e6 for name, one in loops.items()})
(ax,) = fig.axes
plain_ticks(ax.yaxis)
ax.xaxis.set_major_formatter("{x:g}")
ax.set_title("One service, as its tester and as its users see it")
over_10 = (f"{np.mean(one.samples_ns > 10e6):.1%} in the {name}" for name, one in loops.items())
print("longer than 10 ms wait", ", ".join(over_10))
show(
    fig,
    alt="The open loop's times rise from the tenth of the queries on; the closed loop's stay low.",
)

# %% tags=["skip"]
slow_closed, slow_opened = (np.mean(one.samples_ns > 10e6) for one in (closed_told, opened_told))
print(f"on paper: {slow_closed:.1%} in the closed loop, {slow_opened:.1%} in the open one")
print("over ten times the share:", slow_opened > 10 * slow_closed)

# %% [markdown] tags=["subslide"]
# During a pause the closed loop waits too, and so it does not ask. One slow sample stands for all the questions that it left out. Gil Tene named this **coordinated
# omission**. The cure is one line: a query's time runs from the instant at which it was **due**, not from when somebody got round to sending it.

# %% [markdown] tags=["notes"]
# Five minutes. Draw a time line with a pause, and arrows for queries. Ask: how many arrows of the closed loop fall into the pause? (One.) If the machine is so busy
# that the closed loop shows a tail of its own, say so: the gap stays. MLPerf calls the two "single stream" and "server".

# %% [markdown] tags=["slide"]
# ## The ladder
#
# Now the bet. One network, one picture at a time, six ways to ask; and for contrast another model, scikit-learn's linear one. TensorFlow is imported only here.

# %%
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

network = load_reference("digits-cnn", format="keras")
linear = LogisticRegression(max_iter=1000).fit(X_train.reshape(-1, 64) / 16, y_train)

# %% tags=["fragment"]
ladder = {
    "Keras predict": lambda X: network.predict(X, verbose=0),
    "Keras model(x)": network,
    "predict_on_batch": network.predict_on_batch,
    "tf.function": tf.function(network),
    "XLA": tf.function(network, jit_compile=True),
    "LiteRT": model,
    "linear model": lambda X: linear.predict_proba(X.reshape(-1, 64)),
}

# %% [markdown] tags=["subslide"]
# In turns and in random order, so that a noisy minute is fair to all. The rows go into the **ledger**, which lives on your computer and grows through the course.

# %%
from inferkit.benchmark import Ledger, compare


def share_right(truth, p):
    return np.mean(np.argmax(p, axis=1) == truth)


ledger = Ledger.open()
options = {"n": 100, "rounds": 10, "max_seconds": 150, "metric": share_right}
found = compare(ladder, X, y_test, ledger=ledger, **options)
right = {f"{row.accuracy:.3f}" for row in found if row.name != "linear model"}
print("right about unseen pictures, all six ways:", right)

# %% tags=["measured", "subslide"]
ledger

# %%
ratio = found.ratio("Keras predict", "LiteRT")
print("predict takes over a hundred times as long as LiteRT:", ratio.value > 100)

# %% [markdown] tags=["notes"]
# Three minutes; `compare` takes ten seconds or so. Use them: what do all six have in common? (Every multiplication.) If `calls` is 100, there is no p99 in the
# table: ask why not.

# %% [markdown] tags=["slide", "figure"]
# ## Same network, same answer

# %% tags=["measured"]
times.beside(ratio.value)

# %% tags=["skip"]
quantiles = [(r.p50_ms, r.p50_low, r.p50_high, r.p90_ms or r.p50_high) for r in found]
rungs = [tuple(1000 * ms for ms in row) for row in quantiles]
rungs = [(row.name, *us) for row, us in zip(found, rungs)]
guess_us = times.value and times.value * found["LiteRT"].p50_ms * 1000
names = [name for name, *_ in sorted(rungs, key=lambda rung: -rung[1])]
print(f"predict is the slowest of {len(names)}:", names[0] == "Keras predict")

# %% tags=["skip"]
from inferkit.benchmark import time_words

TICKS = {1e1: "10 µs", 1e2: "100 µs", 1e3: "1 ms", 1e4: "10 ms", 1e5: "100 ms", 1e6: "1 s"}


def draw_rung(ax, place, name, p50, low, high, p90):
    colour = "C4" if name == "linear model" else "C0"
    ax.plot([p50, p90], [place, place], color=colour, lw=2)
    ax.plot([low, high], [place, place], color=colour, lw=16, alpha=0.4, solid_capstyle="butt")
    ax.plot(p50, place, "o", ms=9, color=colour)
    ends = "right" if p50 > 5e3 else "left"  # a label stays clear of the blink
    note(ax, f"{name}  {time_words(p50 / 1e6)}", (p50, place), (0, 11), ends, color=colour)


# %% tags=["skip"]
def ladder_figure(rungs, guess_us=None):
    fig, ax = plt.subplots(figsize=slide_size(height=0.9))
    for place, rung in enumerate(reversed(rungs)):
        draw_rung(ax, place, *rung)
    if guess_us is not None:
        ax.plot(guess_us, len(rungs) - 1, "D", ms=12, color="C1")
        note(ax, "your guess", (guess_us, len(rungs) - 1), (-12, -5), color="C1", bbox=None)
    ax.axvline(1e5, color="0.4", ls=":")
    ax.annotate("a blink", (9e4, -0.5), ha="right", color="0.3")
    ax.set(xlabel="one answer: p50 (dot), its interval (band), p90 (line)", yticks=[], xscale="log")
    ax.set_xticks(list(TICKS), list(TICKS.values()))
    return fig


# %% tags=["measured", "subslide"]
fig = ladder_figure(rungs, guess_us)
fastest = min(p50 for _, p50, *_ in rungs)
fig.axes[0].set(xlim=(fastest / 2, max(4e5, 2 * (guess_us or 0))), ylim=(-0.8, len(rungs) - 0.2))
fig.axes[0].set_title(f"From the top to LiteRT: {course.plain_number(ratio.value, 2)} times")
show(
    fig, alt=f"Ways to ask one network: {names[0]} is by far the slowest, {names[-1]} the fastest."
)

# %% tags=["skip"]
from itertools import pairwise

medians = {row.name: row.p50_ms for row in found}
steps = [medians[name] for name in ("Keras predict", "Keras model(x)", "tf.function", "LiteRT")]
print("each of these is over twice the next:", [a > 2 * b for a, b in pairwise(steps)])

# %% [markdown] tags=["notes"]
# Three minutes. Read it from the top. A blink takes 100 ms: hardly anybody would see the difference once, and every server bill sees it. If the marks for
# `tf.function`, `predict_on_batch` and XLA change places on your machine: they do, and their intervals say whether that means anything.

# %% [markdown] tags=["slide", "why"]
# ## Where does it go?
#
# The multiplications are the same on every rung. What differs is who arranges them. First count what Python does for one picture: every function that it calls.


# %%
import sys


def calls_of(function):
    count = 0

    def tally(frame, event, what):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(tally)
    function(x)
    sys.setprofile(None)
    return count


# %% tags=["measured", "subslide"]
work = {name: calls_of(one) for name, one in ladder.items() if name not in ("XLA", "linear model")}
table = ["| | functions called in Python | time |", "|---|---|---|"]
rows = [f"| {name} | {n:,} | {time_words(medians[name] / 1e3)} |" for name, n in work.items()]
Markdown("\n".join(table + rows))

# %%
print("predict calls over a hundred times as many:", work["Keras predict"] > 100 * work["LiteRT"])

# %% [markdown] tags=["subslide"]
# Then do a part of the work alone, and time it.

# %%
ready = tf.data.Dataset.from_tensors(x)  # a data pipeline that delivers one picture
row, hidden = tf.constant(x), tf.ones((1, 40))
empty, last = tf.function(lambda row: row), network.layers[-1]
parts = {
    "predict": lambda _: network.predict(x, verbose=0),
    "predict (pipeline ready)": lambda _: network.predict(ready, verbose=0),
    "pipeline": lambda _: list(ready),  # let it deliver
    "layer": lambda _: last(hidden),  # the last of the layers: 40 numbers in, 10 out
    "empty graph": lambda _: empty(row),  # a compiled function that does nothing
}

# %% tags=["measured", "fragment"]
alone = {name: measure_latency(part, x, n=30).p50_ms for name, part in parts.items()}
print("alone:", ", ".join(f"{name} {time_words(ms / 1e3)}" for name, ms in alone.items()))

# %%
LiteRT = medians["LiteRT"]
print("a pipeline for one picture, against ten answers:", alone["pipeline"] > 10 * LiteRT)
print("one layer, called from Python, against two:", alone["layer"] > 2 * LiteRT)
print("a graph with nothing in it, against two:", alone["empty graph"] > 2 * LiteRT)

# %% tags=["measured", "subslide"]
built = max(alone["predict"] - alone["predict (pipeline ready)"], 0)
predict, call, graph, _ = (time_words(ms / 1e3) for ms in steps)
account = [
    ("`predict`", "building a pipeline", time_words(built / 1e3), predict),
    ("`predict`", "running it for one picture", time_words(alone["pipeline"] / 1e3), predict),
    ("`model(x)`", "one layer of 11, called by Python", time_words(alone["layer"] / 1e3), call),
    ("`tf.function`", "entering TensorFlow", time_words(alone["empty graph"] / 1e3), graph),
]
rows = [f"| {rung} | {what} | {part} | {whole} |" for rung, what, part, whole in account]
Markdown("\n".join(["| rung | pays for | alone it takes | of |", "|---|---|---|---|", *rows]))

# %% tags=["subslide"]
import math

per_answer = sum(
    math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape)
    for layer in network.layers
    if hasattr(layer, "kernel")
)
print(f"{per_answer:,} multiplications an answer, in {len(network.layers)} layers")
print(
    "LiteRT does over ten for each of predict's:", medians["Keras predict"] > 10 * medians["LiteRT"]
)

# %% [markdown] tags=["skip"]
# `predict` is made for large arrays: at every call it builds a pipeline that cuts batches, starts it, and collects the parts. Give it ten thousand rows and you will
# not find that price again. `model(x)` walks through the layers in Python. `tf.function` walked once and kept the graph, and pays for entering TensorFlow. LiteRT planned
# its memory when it loaded the file; little is left but the multiplications.

# %% [markdown] tags=["notes"]
# Five minutes. The parts are small experiments, not a full account: they show the size of each step, and need not add up. Ask: for whom was `predict` written?
# (For those who evaluate.) Which rung would you take for a million rows? (Measure it: lesson 07 does.)

# %% [markdown] tags=["slide", "textbook"]
# ## When the textbook is wrong here
#
# Four sentences that are often read. The verdicts below follow what your machine has measured.

# %% tags=["measured"]
xla, users = found.ratio("XLA", "tf.function"), opened.latency.samples_ns / 1e6
mean = users.mean()
quicker = "slower here" if xla.low > 1 else "holds" if xla.high < 1 else "no clear difference here"
said = {
    "Inference is fast: one pass": "not through `predict()`" if ratio.value > 2 else "holds",
    f"The average latency is {mean:.1f} ms": f"{(users < mean).mean():.0%} of the calls took less",
    "It answers in a millisecond": f"to one in a hundred it took {opened.latency.p99_ms:.0f} ms",
    "XLA makes it faster": f"{quicker}: {xla.value:.2f} × ({xla.low:.2f} to {xla.high:.2f})",
}
rows = [f"| {claim} | {verdict} |" for claim, verdict in said.items()]
Markdown("\n".join(["| they say | here |", "|---|---|", *rows]))

# %%
wide = opened_told.p99_ms > 2 * opened_told.p50_ms
print("on paper, too, the users' p99 is over twice their median:", wide)

# %% [markdown] tags=["skip"]
# "Real-time applications need answers in milliseconds" leaves out the word that matters: which answers? Write a promise as a percentile under a load: "99 in 100
# answers within 50 ms at 250 questions a second". And a compiler such as XLA can only speed up what takes the time; here most of it is spent around the network.

# %% [markdown] tags=["notes"]
# Three minutes. Read the right column aloud. The last row may say "holds" on your machine: then it holds. Larger networks give a compiler more to do (lesson 11).

# %% [markdown] tags=["slide", "play"]
# ## Play
#
# Draw samples from the service whose truth we know. When does the p99 appear? At which size would you sign? Then put your own calls in: `later` for `everything`.

# %%
course.sampler(everything, unit="ms")

# %% [markdown] tags=["notes"]
# Four minutes. Set 500 and draw again, ten times: count how often a band misses its line (one in twenty, for each band). Then ten times as many calls: how much
# narrower does the band get? (About three times: the root of ten.)

# %% [markdown] tags=["slide", "break-it"]
# ## Break it
#
# Five reports on the service whose truth you know. It has a cold start, and one night it stood still for some seconds. All five lie, each in another way.

# %% tags=["hide-input"]
rng = np.random.default_rng(8)
warm, cut = pretend(1000, rng), pretend(1000, rng)
runs = {  # what the report says, its samples in order, and how long the run took if not their sum
    "ash": (np.mean, np.append(190, warm[:99]), None),
    "beech": (np.min, warm, None),
    "cherry": (np.median, np.full(1000, 0.02), cut.sum() / 1000),
    "hazel": (np.mean, np.where(np.arange(1000) % 2, cut, cut + 38), None),
    "rowan": (lambda t: by_rank(t, 99), np.insert(cut[:999], 600, 4000), None),
}


def row_of(name, say, t, run_s):
    cells = [say(t), len(t), t[0], *np.percentile(t, [25, 50, 75]), t.max(), run_s or t.sum() / 1e3]
    return " | ".join([f"| {name}", *(f"{cell:.4g}" for cell in cells)]) + " |"


# %% tags=["hide-input", "fragment"]
table = ["| | says, ms | calls | first | p25 | p50 | p75 | slowest | run, s |", "|---" * 9 + "|"]
Markdown("\n".join(table + [row_of(name, *run) for name, run in runs.items()]))

# %% [markdown] tags=["subslide"]
# Name the lie of each: `"no warm-up"`, `"best of N"`, `"mean of two kinds"`, `"answer not awaited"` or `"closed loop"`.

# %%
suspicion = {"ash": ..., "beech": ..., "cherry": ..., "hazel": ..., "rowan": ...}

# %% tags=["hide-input"]
lies = {
    "ash": ("no warm-up", "compare the first call with the slowest"),
    "beech": ("best of N", "who is quicker than what it says?"),
    "cherry": ("answer not awaited", "calls times what it says, against the run"),
    "hazel": ("mean of two kinds", "how many calls took about what it says?"),
    "rowan": ("closed loop", "four seconds, and a single call knows of it"),
}
for name, (lie, hint) in lies.items():
    said = suspicion[name]
    course.check(f"the lie of {name}", said if said is ... else said == lie, hint)

# %% [markdown] tags=["notes"]
# Four minutes. Let pairs of students defend a report each. "Answer not awaited" is easily told on an accelerator: the call returns at once, with a
# promise, and nobody waits for what it promised. If a pair is stuck, the checks have hints.

# %% [markdown] tags=["slide", "summary"]
# ## Summary
#
# - A latency is a sample. State the percentile, its interval, n, the load and the machine; below the samples that it needs, state none.
# - Who waits for answers does not see the queue. Users come when they like: measure from the instant at which a question was due.
# - One network, one picture, and the ladder spans orders of magnitude: most of the time was never spent on the network.
#
# [Three exercises](exercises/03_measuring_honestly.ipynb) wait: an interval for any percentile, a queue and the rate at which its tail doubles, and a report that is too good. The ledger keeps your rows for the lessons to come. Lesson 04: how sure is sure?

# %% [markdown] tags=["slide", "quiz"]
# ## Quiz

# %% tags=["hide-input"]
course.quiz(
    {
        "question": "The median is 3 ms and the mean is 9 ms. What is likely?",
        "options": {
            "A few calls are very slow": "They move the mean, and the median hardly at all.",
            "The clock is too coarse": "Then both would be off by about as much.",
            "Most calls take 9 ms": "Half of them take 3 ms or less.",
        },
        "answer": "A few calls are very slow",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "Why does this course state no p99 of 100 calls?",
        "options": {
            "It would be too high": "Or too low: often no call lies beyond the truth.",
            "It would hang on one call or none": "With two beyond it, nothing hangs on the worst.",
            "Sorting 100 numbers is not exact": "It is. The sample is what is small.",
        },
        "answer": "It would hang on one call or none",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "8 clients wait for each answer. The service stops for 10 s. Slow samples?",
        "options": {
            "8, or fewer": "Each client waits once, and asks nothing meanwhile.",
            "As many as users would have asked": "An open loop would see those.",
            "None": "Those who were asking when it began do wait.",
        },
        "answer": "8, or fewer",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "You want an interval half as wide. How many samples?",
        "options": {
            "Twice as many": "The width shrinks with the root of n.",
            "About four times as many": "The root of four is two. Certainty has its price.",
            "It depends on the shape": "The width does; the factor hardly.",
        },
        "answer": "About four times as many",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "predict() is slow for one picture. What for ten thousand at once?",
        "options": {
            "As slow for each": "Most of its price is for the call, not the picture.",
            "Its price is shared by all of them": "One pipeline for all rows: its purpose.",
            "It cannot take so many": "It cuts them into batches; that is its job.",
        },
        "answer": "Its price is shared by all of them",
    }
)

# %% [markdown] tags=["skip", "sources"]
# ## Sources
#
# - Intervals by rank: H. A. David and H. N. Nagaraja, *Order Statistics*, third edition, Wiley 2003.
# - Scenarios, and how many samples: V. J. Reddi et al., *MLPerf Inference Benchmark*, ISCA 2020; MLCommons, *MLPerf Inference Rules* and LoadGen's early stopping.
# - Coordinated omission: G. Tene, *How NOT to Measure Latency*, talk, 2013 and later.
# - Open and closed: B. Schroeder, A. Wierman and M. Harchol-Balter, *Open Versus Closed: A Cautionary Tale*, NSDI 2006.
# - Tails: J. Dean and L. A. Barroso, *The Tail at Scale*, Communications of the ACM 56, 2013.
# - Reporting: T. Hoefler and R. Belli, *Scientific Benchmarking of Parallel Computing Systems*, SC 2015.

# %% [markdown] tags=["slide", "title"]
# # Real-time inference
#
# **A card is swiped, and the shop waits: how many swipes a second can this machine judge before somebody waits too long?**

# %%
import json
from urllib.request import Request, urlopen

from inferkit.datasets import load_transactions
from inferkit.predictor import fraud_scorer
from inferkit.serving import serve

swipes, scorer = load_transactions(), fraud_scorer()
server = serve(scorer, name="fraud")  # in the background, for this machine alone
swipe = dict(zip(swipes.feature_names, swipes.data[447].tolist()))
kind = {"Content-Type": "application/json"}
ask = Request(server.url + "/predict", json.dumps({"rows": [swipe]}).encode(), kind)
print(f"{swipe['merchant']}, {swipe['amount']:.2f} €:", json.load(urlopen(ask))["answers"])

# %% tags=["skip"]
import matplotlib.pyplot as plt
import numpy as np

from inferkit.plots import COLOURS, label_lines, show, slide_size, use_style


# %% tags=["skip"]
def day_figure(time_s, is_fraud):
    fig, ax = plt.subplots(figsize=slide_size(height=0.75))
    hours, edges = time_s / 3600, np.arange(0, 24.01, 1 / 6)
    swipes_a_minute = np.histogram(hours, edges)[0] / 10
    ax.stairs(swipes_a_minute, edges, fill=True, color=COLOURS["blue"], alpha=0.35)
    ax.axhline(swipes_a_minute.mean(), color="0.3", lw=1.5)
    ax.annotate("the mean", (0.2, swipes_a_minute.mean()), (0, 5), textcoords="offset points")
    ax.plot(hours[is_fraud], np.full(is_fraud.sum(), 0.4), "|", ms=14, color=COLOURS["orange"])
    ax.annotate("fraud", (0.2, 1.1), color=COLOURS["orange"], weight="bold")
    ax.set(xlabel="hour of the day", ylabel="swipes a minute", xlim=(0, 24), xticks=range(0, 25, 6))
    ax.set_yticks(range(0, 20, 5))
    return fig


# %% tags=["subslide"]
use_style()
first_day = swipes.time_s < 86_400
fig = day_figure(swipes.time_s[first_day], swipes.target[first_day] == 1)
fig.axes[0].set_title("Swipes come one by one, and most of them at the same hours")
show(
    fig, alt="At night hardly a swipe; towards six in the evening over twice as many as on average."
)

# %% [markdown] tags=["skip"]
# The model behind `/predict` is small and good. Lesson 07 would ask it about all swipes of a night at once. Here each comes alone, somebody stands at a till, and an answer that comes too
# late is worth nothing. That is **real-time inference**. The swipes are made by a program, so the truth about each is known.

# %% [markdown] tags=["notes"]
# Two minutes. One bank in one town. Ask: for which minute of the day do you buy the machine? (The busiest; and the busiest second of it is busier still.) If somebody has a shell open, let them type
# `print(server)`: the last line is a call of curl that they can paste.

# %% [markdown] tags=["slide", "objectives"]
# ## You will be able to
#
# - put a model behind HTTP, ask it in the field's own protocol, and say where the time goes;
# - load a service as users do, and compare its p99 with what queueing theory says;
# - say for which models dynamic batching pays, and for which it costs;
# - keep an overloaded service useful, by a bounded line and a deadline together;
# - set an alarm's threshold by what each error costs.
#
# 35 minutes to teach, 30 minutes to practise.
#
# **Needs** lesson 03: p99, open loop. Lesson 07 helps: a call has a fixed price.

# %% [markdown] tags=["slide", "predict"]
# ## What do you expect?
#
# Same model, same row, same machine: no cable, no other city.

# %%
from inferkit import course

times = course.guess(
    "How many times as long as a function call does an answer over HTTP take?",
    low=1,
    high=10_000,
    unit="times",
)
times

# %% tags=["subslide"]
bend = course.guess(
    "From which share of its highest rate on does 1 in 100 take 10 times as long as the model?",
    low=10,
    high=120,
    unit="%",
    log=False,
)
bend

# %% [markdown] tags=["notes"]
# Two minutes. First question by hands: twice, ten times, a hundred times? For the second, say it as a shop: the till needs 3 seconds for each customer, so 20 a minute at most. At how many a minute is there a
# line of ten? Most rooms say 95 or 100.

# %% [markdown] tags=["slide", "by-hand"]
# ## By hand: what goes over the wire
#
# The **Open Inference Protocol** (KServe, Triton and others speak it) sends named **tensors**: name, shape, type, numbers. A table goes as one tensor for each column.

# %%
from http.client import HTTPConnection


def tensor(name, values):
    datatype = "BYTES" if isinstance(values[0], str) else "FP64"
    return {"name": name, "shape": [len(values)], "datatype": datatype, "data": values}


def by_hand(connection, rows):
    inputs = [tensor(name, rows[name].tolist()) for name in rows.dtype.names]
    connection.request("POST", "/v2/models/fraud/infer", json.dumps({"inputs": inputs}), kind)
    return json.loads(connection.getresponse().read())


# %% tags=["subslide"]
one = swipes.data[[447]]
connection = HTTPConnection(server.host, server.port)
told = by_hand(connection, one)
print("sent:", json.dumps(tensor("amount", one["amount"].tolist())), "and seven more")
for output in told["outputs"]:
    print("came:", output)

# %% [markdown] tags=["fragment"]
# The library does the same, in binary where the server can: a `Predictor` made from an address. It asks the server for the contract, and keeps it.

# %%
from inferkit.predictor import Predictor

far = Predictor(f"{server.url}/v2/models/fraud")
some = swipes.data[:200]
p_here, p_far = scorer.predict_proba(some), far.predict_proba(some)
same = np.allclose(told["outputs"][0]["data"], scorer.predict_proba(one))
print("by hand and by function the same:", same)
print("by address and by function the same:", np.array_equal(p_here, p_far))

# %% [markdown] tags=["notes"]
# Three minutes. The answer says nothing of euros or alarms: two numbers. Ask: who decides? (The last third of this lesson.) A wrong name, a missing column, a NaN: each gets a 400 with a sentence.
# Let somebody try `far.predict_one({"amount": -5})`: it is refused here, before it goes over the wire.

# %% [markdown] tags=["slide", "measure"]
# ## Measure: a call, and a call over HTTP
#
# In turns, as always. The rows go into the ledger.

# %%
from inferkit.benchmark import Ledger, compare


def json_by_hand(rows):
    (output,) = by_hand(connection, rows)["outputs"]
    return np.array(scorer.labels)[np.reshape(output["data"], (-1, 2)).argmax(axis=1)]


connection = HTTPConnection(server.host, server.port)  # the other may have gone stale
ways = {"fraud, call": scorer, "fraud, HTTP": far, "fraud, JSON by hand": json_by_hand}
labels = np.array(["fine", "fraud"])[swipes.target[:700]]
found = compare(ways, swipes.data[:700], labels, n=700, rounds=10, ledger=Ledger.open())
print("share of right answers, each way:", {f"{row.accuracy:.3f}" for row in found})

# %% tags=["measured", "skip"]
found

# %% tags=["measured", "fragment"]
over_http = found.ratio("fraud, HTTP", "fraud, call")
times.beside(over_http.value)

# %%
print("over HTTP it takes over five times as long:", over_http.value > 5)

# %% [markdown] tags=["subslide"]
# Where does it go? Do parts of the work alone: the same strings in and out of JSON, and an errand on which nothing is asked.

# %% tags=["skip"]
from time import perf_counter


def median_us(work, n=300):
    taken = []
    for _ in range(n):
        start = perf_counter()
        work()
        taken.append(perf_counter() - start)
    return 1e6 * np.median(taken)


def errand():
    connection.request("GET", "/v2/health/live")
    connection.getresponse().read()


# %% tags=["measured", "fragment"]
from IPython.display import Markdown

connection = HTTPConnection(server.host, server.port)
sent = [tensor(name, one[name].tolist()) for name in one.dtype.names]
parts = {
    "the answer itself": median_us(lambda: scorer.predict_one(swipes.data[447])),
    "JSON, both ways, both sides": 2 * median_us(lambda: json.loads(json.dumps([sent, told]))),
    "an errand: HTTP, and nothing asked": median_us(errand),
    "all of it, by hand": median_us(lambda: by_hand(connection, one)),
}
rows = [f"| {part} | {us:,.0f} |" for part, us in parts.items()]
Markdown("\n".join(["| | µs |", "|---|---|", *rows]))

# %%
answer_us, _, errand_us, _ = parts.values()
print("the way alone takes over twice as long as the answer:", errand_us > 2 * answer_us)

# %% [markdown] tags=["skip"]
# On the way two programs wait for each other to wake, headers are written and read, and Python walks through the functions of a web server. None of it knows how good the model is, and a faster model changes none of it. So
# before you shrink a model, look at what share of the answer's time it takes.

# %% [markdown] tags=["notes"]
# Four minutes. The parts need not add up: server and client share this kernel, and the interpreter's lock. Ask: what would a network between two cities add? (Tens of milliseconds: light in glass takes 5 µs a
# kilometre, each way.) Which part would a model ten times as slow change?

# %% [markdown] tags=["slide"]
# ## Swipes come when they like
#
# Independent customers make a **Poisson process**: gaps are exponential. One counter serves them in the order in which they come. Both by hand:


# %%
def poisson(rate, n, rng):
    return np.cumsum(rng.exponential(1 / rate, n))


def at_one_counter(due, service):  # from the instant at which each comes to its end
    work = np.cumsum(service)
    idle = np.maximum.accumulate(due - work + service)  # so far
    return work + idle - due


print(at_one_counter(np.array([0.0, 1, 5]), np.array([2.0, 2, 2])))

# %% [markdown] tags=["subslide"]
# The second came at 1, had to wait until 2, and was done at 4. How long is the wait on average? Félix **Pollaczek** and Aleksandr **Khinchine** knew it in 1930: with a service that always takes $S$, at a load ρ,
#
# $$W = \frac{\rho\,S}{2\,(1-\rho)} \qquad\text{and twice that, if the service is exponential.}$$

# %%
rng, n = np.random.default_rng(8), 200_000
table = ["| load | mean wait | formula | p99 | p99, service exponential |", "|---" * 5 + "|"]
for load in (0.3, 0.6, 0.8, 0.9):
    due = poisson(load, n, rng)  # the service is the unit of time
    fixed = at_one_counter(due, np.ones(n))
    random = at_one_counter(due, rng.exponential(1, n))
    p99s = [np.percentile(took, 99) for took in (fixed, random)]
    cells = [(fixed - 1).mean(), load / 2 / (1 - load), *p99s]
    table.append(f"| {load:.0%} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")
Markdown("\n".join(table))

# %% [markdown] tags=["skip"]
# Such lines have names: **M/D/1** means random arrivals (M, for Markov), a fixed service (D, deterministic) and one counter. With an exponential service it is **M/M/1**, and there the p99 has a formula as well:
# $S \ln(100) / (1-\rho)$. Nothing is wrong with the counter. At 90 % it is idle for a tenth of the time, and yet there is a line: customers come in clumps.

# %% [markdown] tags=["notes"]
# Four minutes. Draw the counter's day on the board: work, idle, work. Done = all work so far + all idle time so far; that is the whole function. Ask: where does 1 − ρ come from? (A slide comes to that.)
# If the room knows Little's law: waiting customers = rate × W.

# %% [markdown] tags=["subslide"]
# ## What theory expects

# %% tags=["skip"]
loads = np.arange(0.05, 0.96, 0.05)
drawn = [at_one_counter(poisson(load, n, rng), np.ones(n)) for load in loads]
md1 = {q: np.array([np.percentile(took, q) for took in drawn]) for q in (50, 99)}
del drawn


def theory_figure():
    fig, ax = plt.subplots(figsize=slide_size(height=0.75))
    ax.plot(100 * loads, np.log(100) / (1 - loads), "--", color="0.45", label="p99, M/M/1")
    ax.plot(100 * loads, md1[99], color=COLOURS["blue"], label="p99, M/D/1")
    ax.plot(100 * loads, md1[50], color=COLOURS["green"], label="p50, M/D/1")
    finish(ax)
    return fig


# %% tags=["skip"]
def finish(ax):
    ax.set(xlabel="load, % of the highest rate", ylabel="time, in services", yscale="log")
    ax.set(xlim=(0, 128), ylim=(0.8, 200), xticks=range(0, 121, 20), yticks=[1, 10, 100])
    ax.yaxis.set_major_formatter("{x:g}")


# %% tags=["fragment"]
fig = theory_figure()
fig.axes[0].set_title("A hockey stick: flat for long, then straight up")
label_lines(fig.axes[0])
show(fig, alt="Median and p99 stay low up to 60 %, and rise without end towards 100 %.")

# %% [markdown] tags=["slide"]
# ## A service whose truth we know
#
# A rented accelerator at the other end of a cable: each call takes 3 ms, whatever is in it, and this processor only waits. So we define it as a sleep. It stands behind the same real server.

# %%
import time

from inferkit.predictor import ArraySpec


def rented(ms, name="rented"):
    def model(X):
        time.sleep(ms / 1000)
        return X.sum(axis=1)

    return Predictor(model, signature=ArraySpec((4,), low=0, high=1), name=name)


# %% tags=["measured", "fragment"]
three = rented(3)
one_row = np.zeros(4)
S = median_us(lambda: three.predict_one(one_row), n=200) / 1e6
print(f"the model takes {1000 * S:.2f} ms, so {1 / S:.0f} answers a second at most")

# %% tags=["skip"]
from inferkit.benchmark import samples_needed

print("answers that a p99 needs:", samples_needed(99))
print("the model takes at least what we asked for:", S >= 0.003)

# %% [markdown] tags=["subslide"]
# `loadtest` is the open loop of lesson 03, over HTTP and from a process of its own: instants are fixed beforehand, and time runs from them. We offer shares of the highest rate; the share beyond 100 % is one of what
# 3 ms allow, so no machine can keep up. Then the same to the fraud scorer, after asking how much it can do.

# %%
from inferkit.serving import loadtest

shares, rented_at, fraud_at = (30, 60, 90, 120), {}, {}
options = {"random_state": 8, "progress": False}
with serve(three, name="rented", max_batch_size=1) as one_by_one:
    for share in shares:
        rate = share / 100 / (S if share < 100 else 0.003)
        run = loadtest(one_by_one.url, rate=rate, duration=700 / rate, **options)
        rented_at[share] = run
print("queries at each share:", {len(run.queries) for run in rented_at.values()})
print("at 120 % the run counts as valid:", run.is_valid)

# %% tags=["skip"]
seen = rented_at[30].queries
gaps, took_ms = np.diff(seen.due_ns), np.sort(seen.done_ns - seen.due_ns) / 1e6
print("their gaps are as irregular as ours:", abs(gaps.std() / gaps.mean() - 1) < 0.1)
ours = took_ms[int(np.ceil(0.99 * len(took_ms))) - 1]
print("p99 by hand is the library's:", ours == rented_at[30].latency.p99_ms)

# %% tags=["skip"]
X = swipes.data[:256]
most = loadtest(server.url, clients=8, duration=1, X=X, progress=False).samples_per_s
for share in shares[:-1]:
    rate = share / 100 * most
    fraud_at[share] = loadtest(server.url, rate=rate, duration=700 / rate, X=X, **options)

# %% tags=["measured", "skip"]
table = ["| load | rented: p50, ms | p99, ms | fraud: p50, ms | p99, ms |", "|---" * 5 + "|"]
for share, run in rented_at.items():
    runs = [run, fraud_at[share]] if share in fraud_at else [run]
    times_ms = [one_run.latency.samples_ns / 1e6 for one_run in runs]
    cells = [f"{np.percentile(ms, q):.1f}" for ms in times_ms for q in (50, 99)]
    table.append(f"| {share} % | " + " | ".join(cells + ["", ""][: 4 - len(cells)]) + " |")
print(f"the fraud scorer answers {most:,.0f} a second at most")
print("at 120 %:", *rented_at[120].reasons)
Markdown("\n".join(table))

# %% tags=["fragment"]
p50 = {share: run.latency.p50_ms for share, run in rented_at.items()}
print("at 120 % half of them take over twice what they take at 30 %:", p50[120] > 2 * p50[30])

# %% [markdown] tags=["notes"]
# Five minutes; it takes some twenty seconds. Use them: what will happen at 120 %? (The line grows as long as we offer: there is no p99 to state, only how long we looked.) The last line above the table says so in the
# library's words. On a machine where load and server share a core, the fraud scorer's "most" is that of both together.

# %% [markdown] tags=["slide", "figure"]
# ## The hockey stick


# %% tags=["skip"]
def in_services(runs, service_s, q):
    return [np.percentile(run.queries.answered_ns, q) / 1e9 / service_s for run in runs.values()]


def at_our_counter(run):  # the very swipes that the server got
    due = run.queries.due_ns / 1e9
    return at_one_counter(due, np.full(len(due), S)) / S


expected = {q: [np.percentile(at_our_counter(r), q) for r in rented_at.values()] for q in (50, 99)}


# %% tags=["skip"]
def add_measured(ax, rented_at, fraud_at, expected):
    for q, colour in ((50, "green"), (99, "blue")):
        style = {"color": COLOURS[colour], "ls": "none"}
        ax.plot(list(rented_at), in_services(rented_at, S, q), marker="o", ms=10, **style)
        ax.plot(list(rented_at), expected[q], marker="_", ms=30, mew=3, **style)
    p99_of_fraud = in_services(fraud_at, 1 / most, 99)
    ax.plot(list(fraud_at), p99_of_fraud, "s", ms=10, mfc="white", mew=2, color=COLOURS["blue"])


def add_guess(ax, guess):
    if guess is not None:
        ax.plot(guess, 10, "D", ms=13, color=COLOURS["pink"])
        ax.annotate("your guess", (guess, 10), (-105, -5), textcoords="offset points")


# %% tags=["skip"]
def stick_figure(guess):
    fig = theory_figure()
    (ax,) = fig.axes
    label_lines(ax)
    add_measured(ax, rented_at, fraud_at, expected)
    add_guess(ax, guess)
    highest = max(in_services(rented_at, S, 99) + in_services(fraud_at, 1 / most, 99))
    ax.set(ylim=(0.8, max(200, 2 * highest)))
    return fig


# %% tags=["measured", "fragment"]
fig = stick_figure(bend.value)
title = "Dots: measured. Bars: our counter, same swipes. Squares: the scorer's p99"
fig.axes[0].set_title(title)
show(
    fig, alt="Measured p50 and p99 rise with the load as theory's lines do, and beyond 100 % jump."
)

# %% tags=["measured", "fragment"]
p99s = np.maximum.accumulate(in_services(rented_at, S, 99))
bend.beside(round(float(np.interp(10, p99s, shares))))

# %% tags=["skip"]
print("theory: ten services at a load of", f"{np.interp(10, md1[99], 100 * loads):.0f} %")
steeper = expected[99][2] / expected[99][0]
print("our counter, same swipes: from 30 to 90 % the p99 grows over fourfold:", steeper > 4)

# %% [markdown] tags=["notes"]
# Three minutes. Read it from the left: there theory is a floor, for the way over HTTP comes on top. Who guessed above 90? Ask what a colleague means by "the server runs at only 80 %".

# %% [markdown] tags=["slide", "why"]
# ## Why one minus ρ
#
# Who comes finds the counter busy with probability ρ, on average half-way through a service: $\rho S/2$. And before them stand, by Little's law, $\lambda W$ others, at $S$ each: $\lambda W S = \rho W$. Together:
#
# $$W = \frac{\rho S}{2} + \rho W \quad\Rightarrow\quad W = \frac{\rho S}{2(1-\rho)}$$
#
# Each step towards full halves what is left: 80 % to 90 % doubles the wait, 90 % to 95 % doubles it again.

# %% tags=["measured", "skip"]
late_ms = np.percentile(rented_at[30].queries.lateness_ns, 99) / 1e6
account = {
    "theory's p50 at 30 %: the service itself": 1000 * S,
    "of it: what the sleep took beyond 3 ms": 1000 * S - 3,
    "measured p50 at 30 %": p50[30],
    "an errand over HTTP, as above": errand_us / 1000,
    "the load's own lateness, p99": late_ms,
}
Markdown(
    "\n".join(["| | ms |", "|---|---|", *(f"| {k} | {ms:.2f} |" for k, ms in account.items())])
)

# %% tags=["fragment"]
print("no answer took less than the model:", took_ms[0] >= 3)

# %% [markdown] tags=["skip"]
# Where does this machine leave the theory? The p50 is the service and the way. Beyond it three things pull the dots off the lines. Load, server and everything else share the cores, so a neighbour's burst is a stall for all. Timers wake late. And some 700 swipes are a short day:
# at 90 % the line needs long to come to rest, so a p99 from one run has luck in it. The squares differ in one thing more: the scorer's service is work in Python, on the core on which the load is made.

# %% [markdown] tags=["notes"]
# Three minutes. The derivation needs nothing but "who arrives at random sees the average". Ask: what if the service is exponential? (The rest of a service that has begun is a whole one: no one half.) That is the other formula.

# %% [markdown] tags=["slide"]
# ## One call for those who wait
#
# While the model is busy, others queue up. **Dynamic batching** hands them over together: take what waits, up to a limit. Some servers also hold back a call for a **window**, hoping for more. By hand:


# %%
def in_batches(due, call, row, most, window=0.0):
    took, i, free = np.empty(len(due)), 0, 0.0
    while i < len(due):
        full = due[i + most - 1] if i + most <= len(due) else np.inf
        start = max(free, due[i], min(due[i] + window, full))
        j = min(np.searchsorted(due, start, "right"), i + most)
        free = start + call + row * (j - i)
        took[i:j] = free - due[i:j]
        i = j
    return took


# %% tags=["subslide"]
ways = {"one at a time": (1, 0), "what waits": (64, 0), "within 20 ms": (64, 0.02)}
models = {"rented, 10 ms a call": (0.01, 0.0), "small, 0.1 ms a row": (0.0, 0.0001)}
heads = [f"{model}, {rate} a second" for model in models for rate in (50, 500)]
table = ["| p99, ms | " + " | ".join(heads) + " |", "|---" * 5 + "|"]
for way, (most_rows, window) in ways.items():
    cells = []
    for call, row in models.values():
        for rate in (50, 500):
            took = in_batches(poisson(rate, 5000, rng), call, row, most_rows, window)
            cells.append(f"{1000 * np.percentile(took, 99):,.1f}")
    table.append(f"| {way} | " + " | ".join(cells) + " |")
Markdown("\n".join(table))

# %% [markdown] tags=["notes"]
# Three minutes. Cover the second row and ask. 500 a second at 10 ms each cannot be done one at a time: the number there only says how long we looked. The window is a tax on the quiet hours: whom does it help? (A model that never
# catches up otherwise; with "what waits" there is none.)

# %% [markdown] tags=["subslide"]
# Now the real server. Alone: one caller, again and again. Crowd: 16 at a time.

# %% tags=["skip"]
settings = {"one at a time": {"max_batch_size": 1}, "what waits": {}}
settings |= {
    "within 20 ms": {"max_wait_ms": 20},
    "two workers": {"max_batch_size": 1, "workers": 2},
}


def alone_and_in_a_crowd(model, row, **settings):
    with serve(model, name="asked", **settings) as here:
        far_one = Predictor(here.url)
        alone_ms = median_us(lambda: far_one.predict_one(row), n=15) / 1000
        crowd = loadtest(here.url, X=row[None], clients=16, duration=0.6, progress=False)
        rows_a_call = np.mean(here.stats()["recent_batch_sizes"][-100:])
    return alone_ms, crowd.samples_per_s, rows_a_call


# %% tags=["measured", "fragment"]
asked = {"rented": (rented(10), one_row), "fraud": (scorer, swipes.data[447])}
batching = {
    (name, way): alone_and_in_a_crowd(*asked[name], **settings[way])
    for name in asked
    for way in settings
    if (name, way) != ("fraud", "two workers")
}
table = ["| | | alone, ms | crowd, a second | rows a call |", "|---" * 5 + "|"]
for (name, way), (ms, rate, size) in batching.items():
    table.append(f"| {name} | {way} | {ms:.1f} | {rate:,.0f} | {size:.1f} |")
Markdown("\n".join(table))

# %% tags=["measured", "skip"]
crowds = {pair: rate for pair, (_, rate, _) in batching.items()}
for name in asked:
    gain = crowds[name, "what waits"] / crowds[name, "one at a time"]
    said = "helps" if gain > 1.2 else "harms" if gain < 1 / 1.2 else "changes little"
    print(f"taking what waits, for the crowd at {name}: {said} ({gain:.2f} times)")

# %% tags=["skip"]
_, rate, size = batching["rented", "one at a time"]
print("one at a time: one row a call, and of 10 ms no more than 100 a second:", size, rate <= 100)
waited = batching["fraud", "within 20 ms"][0]
print("a window of 20 ms makes a lone caller of the scorer wait for 20 ms:", waited >= 20)

# %% [markdown] tags=["skip"]
# A batch shares the price of a call, and nothing else. The rented model's call costs 10 ms whatever is in it, so sixteen rows come at the price of one. The scorer's price is the way over HTTP, which each caller pays alone. A second
# worker doubles the counters, where the model leaves this processor free.

# %% [markdown] tags=["notes"]
# Four minutes. Which column would a vendor print? (The third, of the rented model.) Ask for a model in between: an image network on a GPU is like the rented one up to a batch of some size, and then like the small one.

# %% [markdown] tags=["slide"]
# ## Too many
#
# Twice as many swipes as the model can judge; who has waited 200 ms walks away. Two rules are common: a **bounded line** (no room: refused at once, with the status 503 and when to come again), and a
# **deadline** (who is too late when their turn comes is not judged any more).


# %%
def with_rules(due, service, room=np.inf, deadline=np.inf):
    begin, free, took = [], 0.0, np.full(len(due), np.nan)
    for i, t in enumerate(due):
        begin = [at for at in begin if at > t]  # those who wait, by when they leave the line
        start = max(t, free)
        if len(begin) < room:
            begin.append(min(start, t + deadline))
            if start < t + deadline:
                free = start + service
                took[i] = free - t
    return took


# %% tags=["subslide"]
late, room = {"deadline": 0.2}, {"room": 8}
rules = {"no rule": {}, "deadline": late, "room for 8": room, "both": late | room}
due = poisson(200, 1000, np.random.default_rng(4))
ends = {rule: with_rules(due, 0.01, **limits) for rule, limits in rules.items()}
table = ["| of 1,000 swipes | in time | judged, too late | not judged |", "|---" * 4 + "|"]
for rule, took in ends.items():
    good, judged = (took <= 0.2).sum(), np.isfinite(took).sum()
    table.append(f"| {rule} | {good} | {judged - good} | {len(took) - judged} |")
Markdown("\n".join(table))


# %% tags=["skip"]
def rush_figure(due, ends):
    fig, ax = plt.subplots(figsize=slide_size(height=0.7))
    looks = zip(ends.items(), ("black", "orange", "blue"), (-5, 5, -18))
    for (rule, took), colour, shift in looks:
        ax.plot(due, 1000 * took, "o", ms=4, color=COLOURS[colour])
        place = 4.02, 1000 * took[np.isfinite(took)][-1]
        style = {"color": COLOURS[colour], "weight": "bold"}
        ax.annotate(rule, place, (0, shift), textcoords="offset points", **style)
    ax.axhline(200, color="black", lw=1)
    ax.annotate("walks away", (4.02, 118))
    return fig


# %% tags=["subslide"]
fig = rush_figure(due[due < 4], {rule: took[due < 4] for rule, took in ends.items()})
(ax,) = fig.axes
ax.set(xlabel="seconds since the rush began", ylabel="time to the answer, ms")
ax.set(xlim=(0, 4.7), ylim=(5, 6000), yscale="log", yticks=[10, 100, 1000])
ax.yaxis.set_major_formatter("{x:,g}")
ax.set_title("A deadline alone: the model works all the time, and nearly in vain")
show(fig, alt="No rule: times climb. Deadline: they hover at 200 ms. A bounded line: far below.")

# %% [markdown] tags=["skip"]
# Look at the orange dots. Nobody who is too late is judged: the rule is kept. But the line is served from the front, and at the front stands who has waited longest, just short of the deadline. The model takes them on, and is done when
# they have left. A deadline saves work, and it takes a line that is shorter than the deadline to save customers: at 10 ms each, eight who wait are 80 ms.

# %% [markdown] tags=["notes"]
# Five minutes. Let the room bet before the table: which rule alone is better? Nearly everybody likes the deadline. The surprise is worth a minute of silence. Another cure is to serve the newest first; ask who would queue in such a shop.

# %% [markdown] tags=["subslide"]
# The same rush, at the real server. Each answer is timed from the instant at which the swipe came.

# %%
late, room = {"deadline_ms": 200}, {"max_queue": 8}  # without: room for 1,024, and 30 s
limits = {"no rule": {}, "deadline": late, "room for 8": room, "both": late | room}


def rush(**settings):
    with serve(rented(10), name="rush", max_batch_size=1, **settings) as here:
        load = {"rate": 200, "duration": 1.5, "warmup": 1}
        queries = loadtest(here.url, **load, **options).queries
        return queries, len(here.stats()["recent_batch_sizes"]) - 1  # but for the first query


# %% tags=["measured", "fragment"]
rushes = {rule: rush(**settings) for rule, settings in limits.items()}
table = ["| | swipes | in time | model runs | refused | a refusal takes, ms |", "|---" * 6 + "|"]
in_time = {}
for rule, (queries, runs) in rushes.items():
    refused_ms = queries.times_ns("refused") / 1e6
    in_time[rule] = (queries.times_ns("answered") <= 200e6).sum()
    told = f"{np.median(refused_ms):.1f}" if len(refused_ms) else ""
    cells = len(queries), in_time[rule], runs, len(refused_ms), told
    table.append(f"| {rule} | " + " | ".join(map(str, cells)) + " |")
Markdown("\n".join(table))

# %% tags=["measured", "skip"]
good = in_time
print("with both, over twice as many in time as with no rule:", good["both"] > 2 * good["no rule"])
print("with both, over twice as many as with a deadline:", good["both"] > 2 * good["deadline"])
no_ms, yes_ms = rushes["both"][0].times_ns("refused"), rushes["no rule"][0].answered_ns
quick = 2 * np.median(no_ms) < np.median(yes_ms)
print("a refusal takes less than half the time of an answer without rules:", quick)
dropped, runs = rushes["deadline"]
print("with a deadline the model ran for under 4 in 5:", runs < 0.8 * len(dropped))

# %% tags=["skip"]
instants = rushes["both"][0].due_ns / 1e9  # of the very swipes that the server got
ours = {rule: with_rules(instants, 0.01, **its) <= 0.2 for rule, its in rules.items()}
ours = {rule: int(good.sum()) for rule, good in ours.items()}
print("by our rules in time, the same swipes:", ours)
print("both: over three times as many as with no rule:", ours["both"] > 3 * ours["no rule"])
print("and over twice as many as with a deadline:", ours["both"] > 2 * ours["deadline"])

# %% [markdown] tags=["skip"]
# What is a refusal, on the wire? Twelve at once, and room for one:

# %% tags=["skip"]
from concurrent.futures import ThreadPoolExecutor
from urllib.error import HTTPError


def status_and_advice(url):
    try:
        with urlopen(Request(f"{url}/predict", b'{"rows": [[0, 0, 0, 0]]}', kind)) as answer:
            return answer.status, None
    except HTTPError as error:
        error.close()
        return error.status, error.headers["Retry-After"]


# %% tags=["skip"]
narrow = serve(rented(300), name="narrow", max_batch_size=1, max_queue=1)
with narrow, ThreadPoolExecutor(12) as pool:
    came = set(pool.map(status_and_advice, [narrow.url] * 12))
print("status, and seconds to wait:", sorted(came, key=str))

# %% [markdown] tags=["notes"]
# Four minutes. A quick no is an answer: the till can ask for the pin instead, or take the risk up to 50 €. Ask what the till must not do: ask again at once, from all tills (the break-it section).

# %% [markdown] tags=["slide"]
# ## Alarm, or not?
#
# The server sends a probability $p$; somebody must act. A false alarm costs a call, say 5 €. A missed fraud costs the amount. The truth of these swipes is known, so what a threshold costs is, too, with no luck in it. By hand:

# %%
p = scorer.predict_proba(swipes.data)[:, 1].astype(float)
truth, amount, call_eur = swipes.probability, swipes.data["amount"].astype(float), 5


def cost(alarm):  # euros for 1,000 swipes
    return 1000 * np.where(alarm, (1 - truth) * call_eur, truth * amount).mean()


thresholds = np.geomspace(0.001, 1, 200)
costs = np.array([cost(p > t) for t in thresholds])
best = thresholds[costs.argmin()]

# %% tags=["subslide"]
by_amount = p * amount > (1 - p) * call_eur
knowing = truth * amount > (1 - truth) * call_eur
alarms = {
    "never an alarm": p > 1,
    "over 0.5: the likelier answer": p > 0.5,
    f"over {best:.3f}: the best threshold": p > best,
    "where a miss would cost more than an alarm": by_amount,
    "the same, knowing the truth": knowing,
}
table = ["| alarm | of 1,000 swipes | cost, € |", "|---|---|---|"]
table += [f"| {rule} | {1000 * a.mean():.1f} | {cost(a):,.0f} |" for rule, a in alarms.items()]
Markdown("\n".join(table))


# %% tags=["skip"]
def cost_figure():
    fig, ax = plt.subplots(figsize=slide_size(height=0.7))
    ax.semilogx(thresholds, costs, color=COLOURS["blue"])
    for at in (0.5, best):
        ax.plot(at, cost(p > at), "o", ms=11, color=COLOURS["orange"])
        place = {"xytext": (0, 16), "textcoords": "offset points", "ha": "center"}
        ax.annotate(f"{at:.2g}", (at, cost(p > at)), **place)
    ax.axhline(cost(by_amount), color=COLOURS["green"], lw=2)
    ax.annotate("a threshold for each amount", (0.0011, 130), color=COLOURS["green"])
    return fig


# %% tags=["subslide"]
fig = cost_figure()
(ax,) = fig.axes
ax.set(xlabel="alarm if the probability is over", ylabel="cost of 1,000 swipes, €")
ax.set(ylim=(0, 2500), xlim=(0.001, 1.3), xticks=[0.001, 0.01, 0.1, 1])
ax.xaxis.set_major_formatter("{x:g}")
ax.set_title("What an error costs sets the threshold, and 0.5 is nobody's cost")
show(
    fig, alt="Cost falls to a valley near 0.02 and doubles by 0.5; a rule by amount lies below all."
)

# %% [markdown] tags=["skip"]
# An alarm is right where $p \cdot$ amount is more than $(1-p) \cdot 5$ €. So a coffee is let through at a probability at which a television is not. This rule needs no search, and no truth: only probabilities that can
# be taken at their word (lesson 06), and somebody who says what an error costs. The accuracy in the ledger hardly moves between these rules: 99 in 100 swipes are fine.

# %% [markdown] tags=["notes"]
# Four minutes. Ask who pays for each error: the missed fraud is the bank's, the false alarm is a customer's who stands there with a full trolley. Is 5 € the right price of that? Let the room change `call_eur` to 50 and run the
# three cells again: the valley moves right.

# %% [markdown] tags=["slide", "textbook"]
# ## When the textbook is wrong here
#
# Four sentences that are often read. The verdicts follow what your machine has measured.

# %% tags=["skip"]
row_us = median_us(lambda: scorer.predict(swipes.data[:4096]), n=9) / 4096
dearer = 1e6 / most / row_us
quiet, full = (rented_at[share].latency.p99_ms for share in (30, 90))
beside = crowds["rented", "two workers"] / crowds["rented", "one at a time"]
saved, size = 1 - cost(p > best) / cost(p > 0.5), batching["rented", "what waits"][2]

# %% tags=["measured", "fragment"]
apart = "holds" if dearer > 2 else "does not hold"
in_line, scales = "holds" if saved > 0 else "fails", "holds" if beside > 1.5 else "fails"
rows = [
    f"| Batch is for tables, real-time for events | {apart}: a swipe costs {dearer:,.0f} rows |",
    f"| | but a busy server makes batches: {size:.1f} rows a call |",
    f"| Inference scales by parallel work | {scales}: two workers, {beside:.2f} times as many |",
    f"| Real-time needs milliseconds | p99 at 30 %: {quiet:.0f} ms; at 90 %: {full:.0f} ms |",
    f"| Automation brings decisions in line | {in_line}: another threshold saves {saved:.0%} |",
]
Markdown("\n".join(["| they say | here |", "|---|---|", *rows]))

# %%
print("a swipe over HTTP costs more than two rows of a table:", dearer > 2)
print("a threshold of 0.5 costs over twice as much as the best:", cost(p > 0.5) > 2 * costs.min())

# %% [markdown] tags=["skip"]
# "In milliseconds" says nothing without a percentile and a load. And a decision is in line with something only if somebody has said with what: the likelier answer is a rule, too, and here it costs twice as much as another.
# Batch and real-time are not two kinds of model, and hardly two kinds of server. They are two answers to the question who waits.

# %% [markdown] tags=["notes"]
# Three minutes. The first row: batches come back through the back door. A service that is busy collects them by itself.

# %% [markdown] tags=["slide", "play"]
# ## Play
#
# A real server in this notebook, and **traffic** from another process. Press Start.

# %% tags=["skip"]
from inferkit.serving import Traffic
from inferkit.widgets import LiveFigure, curve, text

till = serve(rented(10), name="till", max_queue=32, max_batch_size=1, deadline_ms=1000)
traffic, rush_hour = Traffic(till, window_s=2, rest_after_s=3), [1]


def overload():
    rush_hour[0] = 20
    time.sleep(5)
    rush_hour[0] = 1


# %% tags=["skip"]
def dashboard(load, largest_batch, batch_window, workers):
    till.configure(max_batch_size=largest_batch, max_wait_ms=batch_window, workers=workers)
    now, waiting = traffic.snapshot(), till.stats()["queue_length"]
    traffic.rate = load * rush_hour[0]
    colours = {"offered": "black", "answered": "blue", "refused": "orange"}
    lines = [curve(*now.line(f"{name}_per_s"), label=name, colour=c) for name, c in colours.items()]
    ms = {name: getattr(now, f"{name}_ms") for name in ("p50", "p99")}
    told = {name: "too few" if t is None else f"{t:.0f} ms" for name, t in ms.items()}
    numbers = {"answered": f"{now.answered_per_s:,.0f}/s", **told, "waiting": waiting}
    return lines + [text(name, value) for name, value in numbers.items()]


# %% tags=["skip"]
controls = {
    "load": (20, 500, "log"),
    "largest_batch": [1, 4, 16],
    "batch_window": [0, 5, 20],
    "workers": range(1, 5),
}
looks = {"xlim": (-30, 0), "ylim": (0, None), "height": 200}
looks |= {"xlabel": "seconds ago", "ylabel": "swipes a second", "every": 0.5}
looks |= {"labels": {"load": "load, a second", "batch_window": "batch window, ms"}}
looks |= {"start": {"load": 50, "largest_batch": 1, "batch_window": 0, "workers": 1}}
looks |= {"alt": "{answered} answered; p50 {p50}, p99 {p99}; {waiting} wait."}

# %% tags=["measured", "fragment"]
live = LiveFigure(dashboard, controls, buttons={"Overload for 5 s": overload}, **looks)
live

# %% tags=["skip"]
stop = False  # True: end what was started here; else it ends with the notebook
if stop:
    live.close(), traffic.close(), till.stop(), server.stop()
print("it rests until you start it:", live.running is False)

# %% [markdown] tags=["notes"]
# Five minutes. First: raise the load from 50 slowly. At 90 the p99 leaves, before anything is refused. Second: at 300, which control saves you: workers, batch, or window? Third: overload, and watch how long it takes to recover
# (`max_queue` tells). It stops when nobody looks.

# %% [markdown] tags=["slide", "break-it"]
# ## Break it
#
# Four services; the model takes 10 ms (beech's 18), 60 customers a second come, and leave after 100 ms. No error was logged. Each has one fault. p50 and p99 are what their owners report.

# %% tags=["hide-input"]
from heapq import heapify, heappop, heappush

due = poisson(60, 6000, np.random.default_rng(88))


def ask_again(due, service, stall=0.0, again=0):
    events, free, asked, good = [(t, again) for t in due], stall, 0, 0
    heapify(events)
    while events:
        t, left = heappop(events)
        asked, free = asked + 1, max(t, free) + service
        good += free - t <= 0.1
        if free - t > 0.1 and left:
            heappush(events, (t + 0.1, left - 1))
    return asked, good, free


# %% tags=["hide-input"]
stood_still = np.full(6000, 0.01)
stood_still[1500] = 6.0
minute, busy_s = due[-1], stood_still.sum()
for_the_gone, storm = ask_again(due, 0.018), ask_again(due, 0.01, stall=1.5, again=5)
held, model_s = in_batches(due, 0.01, 0, 64, 0.08), np.full(6000, 0.01)
calls = len(np.unique(np.round(held + due, 9)))
reports = {  # asked, calls of the model, in time, each a second; the times that its owner has
    "ash": (6000 / busy_s, 6000 / busy_s, 5999 / busy_s, stood_still),
    "beech": (6000 / minute, 6000 / for_the_gone[2], for_the_gone[1] / minute, 1.8 * model_s),
    "cherry": (storm[0] / minute, storm[0] / storm[2], storm[1] / minute, model_s),
    "hazel": (6000 / minute, calls / minute, (held <= 0.1).sum() / minute, held),
}

# %% tags=["hide-input", "fragment"]
heads = "| | asked a second | model calls | in time | p50, ms | p99, ms | slowest, ms |"
rows = [heads, "|---" * 7 + "|"]
for name, (*rates, times_s) in reports.items():
    cells = [f"{rate:.1f}" for rate in rates]
    cells += [f"{1000 * np.percentile(times_s, q):.0f}" for q in (50, 99, 100)]
    rows.append(f"| {name} | " + " | ".join(cells) + " |")
Markdown("\n".join(rows))

# %% [markdown] tags=["subslide"]
# Name the fault of each: `"asks one by one"`, `"works for those who left"`, `"everybody asks again"` or `"waits for company"`.

# %%
suspicion = {"ash": ..., "beech": ..., "cherry": ..., "hazel": ...}

# %% tags=["hide-input"]
faults = {
    "ash": ("asks one by one", "how many customers would have come during the slowest?"),
    "beech": ("works for those who left", "the model is busy all the time; for whom?"),
    "cherry": ("everybody asks again", "how many customers come in a second?"),
    "hazel": ("waits for company", "few calls of the model, and a p50 of several services"),
}
for name, (fault, hint) in faults.items():
    said = suspicion[name]
    course.check(f"the fault of {name}", said if said is ... else said == fault, hint)

# %% [markdown] tags=["notes"]
# Four minutes. Beech's clock starts when the model does; its customers' clock starts earlier. Cherry stood still for a second and a half, once. Ask why it never recovered: each who leaves asks again, so the load stays above what the model can do,
# long after the cause has gone. Cures: a limit on retries, a growing pause with chance in it, and a line that refuses.

# %% [markdown] tags=["slide", "summary"]
# ## Summary
#
# - An answer over HTTP costs the way. A line costs 1 / (1 − ρ): promise a p99 at a load, and stay well below full.
# - Batches help where a call is dear and empty. Overload needs a line shorter than the deadline, and a quick no.
# - A probability becomes a decision by what each error costs. That is said by people, and measured in euros.
#
# [Three exercises](exercises/08_real_time_inference.ipynb) wait: two counters or a fast one, the largest batch that keeps a promise, and a service whose owner is content. The ledger keeps your rows. Lesson 09: smaller numbers.

# %% [markdown] tags=["slide", "quiz"]
# ## Quiz

# %% tags=["hide-input"]
course.quiz(
    {
        "question": "A server runs at 80 %. The load grows to 90 %. What happens to the wait?",
        "options": {
            "It grows by an eighth": "So does the load. The wait goes with 1 / (1 − ρ).",
            "It about doubles": "What is left halves: from 20 to 10 %.",
            "Nothing, until 100 %": "Customers come in clumps, and clumps make lines.",
        },
        "answer": "It about doubles",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "Why does a batch window of 20 ms harm a small model at night?",
        "options": {
            "Batches are slower": "A batch of one is a call as before.",
            "Each caller waits for others who do not come": "20 ms for nothing.",
            "The queue overflows": "At night it is empty.",
        },
        "answer": "Each caller waits for others who do not come",
    }
)

# %% tags=["fragment", "hide-input"]
course.quiz(
    {
        "question": "Overload, a deadline of 200 ms, no limit on the line. The model ...",
        "options": {
            "answers half of them in time": "It judges half of them. They have left by then.",
            "begins with those about to leave": "They stand at the front of the line.",
            "is idle": "It is busy all the time; that is what misleads.",
        },
        "answer": "begins with those about to leave",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "Your load test asks again when it has its answer. What can it not see?",
        "options": {
            "The mean time of an answer": "It sees that, of those that it asked.",
            "How long those wait whom it did not ask": "Users come during a stall; it does not.",
            "How many answers a second are possible": "With enough clients it sees just that.",
        },
        "answer": "How long those wait whom it did not ask",
    }
)

# %% tags=["fragment", "hide-input"]
course.quiz(
    {
        "question": "A false alarm costs 5 €, p is 2 %, the amount 400 €. Alarm?",
        "options": {
            "No, it is almost surely fine": "98 in 100 are. Count the euros, too.",
            "Yes": "A miss costs 0.02 · 400 = 8 €, an alarm 0.98 · 5 = 4.90 €.",
            "Only if accuracy gains": "It loses. Nobody is paid in accuracy.",
        },
        "answer": "Yes",
    }
)

# %% [markdown] tags=["skip", "sources"]
# ## Sources
#
# - The wait at one counter: F. Pollaczek, *Über eine Aufgabe der Wahrscheinlichkeitstheorie*, Mathematische Zeitschrift 32, 1930; A. Khinchine, *Matematicheskii Sbornik* 39, 1932; J. D. C. Little, *A Proof for the Queuing Formula L = λW*, Operations Research 9, 1961.
# - The recursion behind `at_one_counter`: D. V. Lindley, *The theory of queues with a single server*, 1952.
# - Dynamic batching: D. Crankshaw et al., *Clipper: A Low-Latency Online Prediction Serving System*, NSDI 2017.
# - Overload: B. Beyer et al. (eds.), *Site Reliability Engineering*, O'Reilly 2016, chapters 21 and 22; storms that outlive their cause: N. Bronson et al., *Metastable Failures in Distributed Systems*, HotOS 2021.
# - Tails: J. Dean and L. A. Barroso, *The Tail at Scale*, Communications of the ACM 56, 2013.
# - Thresholds by cost: C. Elkan, *The Foundations of Cost-Sensitive Learning*, IJCAI 2001.
# - The protocol: KServe, *Open Inference Protocol* (V2).

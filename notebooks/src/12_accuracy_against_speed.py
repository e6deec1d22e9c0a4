# %% [markdown] tags=["slide", "title"]
# # Accuracy against speed
#
# **What does one more right answer in a hundred cost, in time?**

# %%
import numpy as np

from inferkit.datasets import load_signs
from inferkit.predictor import sign_reader

signs = load_signs()  # 1,152 pictures that no network here has learned from
X, y, names = signs.images, signs.target, np.array(signs.target_names)
small, large = sign_reader("signs-student"), sign_reader("signs-mobilenet-100")


def ask(reader, pictures, n=24):  # in parts: a network keeps the memory of its largest batch
    parts = [reader.predict_proba(pictures[i : i + n]) for i in range(0, len(pictures), n)]
    return np.concatenate(parts)


p, q = ask(small, X), ask(large, X)
right_small, right_large = p.argmax(axis=1) == y, q.argmax(axis=1) == y
print("the large one is right more often:", right_large.mean() > right_small.mean())

# %% tags=["skip"]
import matplotlib.pyplot as plt

from inferkit.plots import COLOURS, show, slide_size, use_style

sure = p.max(axis=1)
kinds = {
    "easy": (sure > 0.99) & right_small & right_large & (q.max(axis=1) > 0.99),
    "a little doubt": (sure > 0.6) & (sure < 0.8) & right_small & right_large,
    "the large one reads it": right_large & ~right_small,
    "neither": ~right_large & ~right_small,
}


# %% tags=["skip"]
def opening_figure(pictures, kinds, answers):
    fig, axes = plt.subplots(1, len(kinds), figsize=slide_size(height=0.72))
    for ax, (kind, i) in zip(axes, kinds.items()):
        ax.imshow(pictures[i])
        said = [f"{who}: {names[a[i].argmax()]}, {a[i].max():.0%}" for who, a in answers.items()]
        ax.set_title(kind, loc="center", fontsize=15)
        ax.set_xlabel("\n".join(said), fontsize=13)
    plt.setp(axes, xticks=[], yticks=[])
    return fig


# %% tags=["subslide"]
use_style()
shown = {kind: np.flatnonzero(those)[0] for kind, those in kinds.items() if those.any()}
fig = opening_figure(X, shown, {"small": p, "large": q})
show(
    fig, alt="Of four street signs the small network reads the two clear ones, the large one three."
)

# %% tags=["measured", "fragment"]
from inferkit.benchmark import Ledger, compare

pair = compare({"small": small, "large": large}, X, n=700)
us = {row.name: 1000 * row.p50_ms for row in pair}
print(", ".join(f"{name}: {us[name]:.0f} µs for an answer" for name in us))

# %% tags=["skip"]
print("the large one takes over twice as long:", us["large"] > 2 * us["small"])

# %% [markdown] tags=["skip"]
# Every picture pays for the large network, and few of them need it. This lesson lines up fifteen ways to spend time on a picture, on your machine, and asks of each: is another one faster and right more often?

# %% [markdown] tags=["notes"]
# Two minutes. Let the room read the four pictures before the networks' answers are looked at. Ask: how would you know, without the truth, which of them needs the large network? (How sure the small one is.)

# %% [markdown] tags=["slide", "objectives"]
# ## You will be able to
#
# - count a network's multiplications as its width changes, and say why its time does not follow;
# - soften a teacher's answers, and judge a student against its twin, picture by picture;
# - build a cascade, and compute its time, and from which share of hard pictures on it loses;
# - draw a Pareto front with intervals, and choose from it under a deadline;
# - say how much of a winner is luck.
#
# 35 minutes to teach, 30 minutes to practise.
#
# **Needs** lesson 03: medians, tails, measuring in turns. Lessons 09 and 10 help: int8, filters.

# %% [markdown] tags=["slide", "predict"]
# ## What do you expect?
#
# Ask the small network first. Where it is in doubt, ask the large one as well. So that together they are right as often as the large one:

# %%
from inferkit import course

share_guess = course.guess(
    "What share of the pictures must go to the large one?", low=0, high=100, unit="%", log=False
)
share_guess

# %% tags=["subslide"]
times_guess = course.guess(
    "How many times as fast as the large one alone are the two together?",
    low=0.5,
    high=20,
    unit="times",
)
times_guess

# %% [markdown] tags=["notes"]
# One minute. The second follows from the first and from the two times above, and few will compute it. Below 1 means slower: the small one is asked for nothing each time that it is in doubt.

# %% [markdown] tags=["slide", "by-hand"]
# ## By hand: one dial for the width
#
# A MobileNet block filters each of $M$ channels by itself, then mixes them into $N$: $9MD^2 + MND^2$ multiplications for $D \times D$ places. A **width multiplier** α thins all channels: $9\alpha MD^2 + \alpha^2 MND^2$.

# %%
blocks = [(16, 32, 32), (32, 64, 16), (64, 64, 16), (64, 128, 8), (128, 128, 8)]
blocks += [(128, 256, 4), (256, 256, 4)]  # M, N, D: the seven blocks of this network


def thin(channels, width):
    return max(8, round(channels * width / 8) * 8)  # multiples of 8, as MobileNets have them


def by_hand(width):  # multiplications: channel by channel, and mixing; weights
    thinned = [(thin(m, width), thin(n, width), d) for m, n, d in blocks]
    each, mixed = (sum(k) for k in zip(*((9 * m * d**2, m * n * d**2) for m, n, d in thinned)))
    first, last = 27 * thin(16, width), 12 * thin(256, width)  # before and after the blocks
    weights = first + last + sum(9 * m + m * n for m, n, _ in thinned)
    return each, mixed + first * 32**2 + last, weights


# %% tags=["subslide"]
from IPython.display import Markdown

from inferkit.optimize import read_layers

widths = {width: f"signs-mobilenet-{100 * width:.0f}" for width in (0.25, 0.5, 1.0)}
layers = {w: read_layers(sign_reader(name).backend.model) for w, name in widths.items()}
macs = {width: sum(layer.macs for layer in found) for width, found in layers.items()}
table = ["| α | multiplications | channel by channel | of α = 1 | α² | weights |", "|---" * 6 + "|"]
for width in widths:
    each, mixed, weights = by_hand(width)
    cells = f"{each + mixed:,} | {each / (each + mixed):.0%} | {macs[width] / macs[1]:.3f}"
    table.append(f"| {width} | {cells} | {width**2:.3f} | {weights:,} |")
Markdown("\n".join(table))

# %% tags=["fragment"]
held = {w: sum(one.weights.size for one in found if one.weights) for w, found in layers.items()}
counted = {width: (sum(by_hand(width)[:2]), by_hand(width)[2]) for width in widths}
print("by hand as in the files:", counted == {w: (macs[w], held[w]) for w in widths})
ordinary = sum(9 * m * n * d**2 for m, n, d in blocks) / sum(
    (9 + n) * m * d**2 for m, n, d in blocks
)
print(f"ordinary 3 × 3 convolutions of these channels: {ordinary:.1f} times as many")

# %% [markdown] tags=["notes"]
# Four minutes. The mixing falls with α², the filters channel by channel with α, and what has 8 channels cannot get thinner. So a quarter of the width is more than a sixteenth of the work. Ask for the time before the next table: a sixteenth? A tenth?

# %% [markdown] tags=["slide", "measure"]
# ## Measure: three widths
#
# And beside them the plain network of lessons 09 and 10: ordinary convolutions, no trick.

# %%
layers["cnn"] = read_layers(sign_reader("signs-cnn").backend.model)
macs["cnn"] = sum(layer.macs for layer in layers["cnn"])
four = {f"width {width}": sign_reader(name) for width, name in widths.items()}
four["cnn"] = sign_reader("signs-cnn")
by_width = compare(four, X, n=700)
share_of = {name: (ask(reader, X).argmax(axis=1) == y).mean() for name, reader in four.items()}
print("more multiplications than the plain one has, in order of α:", end=" ")
print([macs[width] > macs["cnn"] for width in widths])

# %% tags=["measured", "subslide"]
table = ["| | multiplications | µs | a ns | right |", "|---" * 5 + "|"]
for work, row in zip(macs.values(), by_width):
    took = 1000 * row.p50_ms
    cells = f"{took:.1f} | {work / took / 1000:.1f} | {share_of[row.name]:.1%}"
    table.append(f"| {row.name} | {work:,} | {cells} |")
thinner = by_width.ratio("width 0.25", "width 1.0")
print(f"a quarter of the width: {thinner.value:.3f} of the time; α² says {0.25**2:.3f}")
Markdown("\n".join(table))

# %%
print("a quarter of the width takes more time than α² says:", thinner.value > 0.25**2)
print("and less than the whole:", thinner.value < 1)

# %% [markdown] tags=["skip"]
# Look down the column "a ns": how many multiplications are done in a nanosecond. It falls as the network gets thinner, and eats up much of what α² has saved. The section "Why" asks where the time goes.

# %% [markdown] tags=["notes"]
# Three minutes. Read two rows against each other: the plain network and α = 0.5. Which has less work, which is faster, which is more often right? The text does not know; the table on your machine does.

# %% [markdown] tags=["slide"]
# ## A teacher says more than the answer
#
# Of each picture the large network also says how much it looks like every other sign. As it is nearly always sure, that is hard to hear. A **temperature** T makes it audible: raise probabilities to the power 1/T, and share them out anew.


# %%
def soften(p, T):
    powers = np.maximum(p.astype(float), 1e-12) ** (1 / T)
    return powers / powers.sum(axis=-1, keepdims=True)


from inferkit.predictor import Temper

print("the library's step does the same:", np.allclose(soften(q, 4), Temper(4.0)(q), atol=1e-6))
i = np.flatnonzero(right_large & (q.max(axis=1) > 0.9) & (q.max(axis=1) < 0.99))[0]
print(f"one picture, {names[y[i]]}; the teacher is {q[i].max():.2f} sure")


# %% tags=["skip"]
def softened_figure(p, temperatures):
    fig, axes = plt.subplots(1, len(temperatures), figsize=slide_size(height=0.78), sharey=True)
    for ax, T in zip(axes, temperatures):
        ax.barh(names, soften(p, T), color=COLOURS["blue"])
        ax.set(title=f"T = {T}", xlim=(0, 1), xticks=(0, 0.5, 1))
    axes[0].invert_yaxis()
    axes[1].set_xlabel("probability")
    return fig


# %% tags=["subslide"]
fig = softened_figure(q[i], (1, 4, 10))
show(fig, alt="At T = 1 one bar; at T = 4 the similar signs show; at T = 10 all are nearly alike.")

# %% tags=["subslide"]
said = soften(q, 4)
table = ["| a picture of | which signs it says are next | |", "|---|---|---|"]
for sign in ("stop", "no entry", "turn left", "give way"):
    mean = said[names[y] == sign].mean(axis=0)
    second, third = names[np.argsort(-mean)[1:3]]
    table.append(f"| {sign} | {second} | {third} |")
Markdown("\n".join(table))

# %% [markdown] tags=["skip"]
# Nobody wrote that down for the network; the true labels say only "turn left". A student that learns these soft answers gets twelve numbers from each picture in place of one word. That is **distillation** (Hinton, Vinyals and Dean, 2015).

# %% [markdown] tags=["notes"]
# Four minutes. Let the room say, before the table, which sign a turn left is mistaken for. The student was trained with T = 4, and with the true labels for a tenth of its loss; its twin with the labels alone, as long and on the same pictures.

# %% [markdown] tags=["subslide"]
# ## Did the teacher help?
#
# Two small networks of one layout. Pictures that both read, or neither, say nothing about which is better. Count the others.


# %%
from math import comb


def paired(a, b, n=10_000):  # right or wrong, on the same pictures
    only = np.array([(a & ~b).sum(), (b & ~a).sum()])
    odd, k = int(only.sum()), int(only.min())
    chance = min(1, 2 * sum(comb(odd, j) for j in range(k + 1)) / 2**odd)  # of fair coins
    draws = np.random.default_rng(12).multinomial(len(a), [*only / len(a), 1 - odd / len(a)], n)
    ends = np.quantile((draws[:, 0] - draws[:, 1]) / len(a), [0.025, 0.975])
    return only, chance, 100 * (only[0] - only[1]) / len(a), 100 * ends


# %% tags=["fragment"]
from scipy.stats import binomtest

alone = sign_reader("signs-student-alone")
p_alone = ask(alone, X)
right_alone = p_alone.argmax(axis=1) == y
only, chance, gap, (low, high) = paired(right_small, right_alone)
print("chance as SciPy has it:", np.isclose(chance, binomtest(only[0], only.sum()).pvalue))

# %% tags=["measured", "subslide"]
word = "helped" if low > 0 else "harmed" if high < 0 else "made no difference that we can see"
print(
    f"only the student is right: {only[0]}; only its twin: {only[1]}; by fair coins: {chance:.2g}"
)
print(f"the teacher {word}: {gap:+.1f} points ({low:+.1f} to {high:+.1f})")

# %% tags=["skip"]
agree = {"student": soften(p, 4), "twin": soften(p_alone, 4)}
far = {who: (said * np.log(said / theirs)).sum(axis=1).mean() for who, theirs in agree.items()}
print("the student's soft answers are nearer to the teacher's:", far["student"] < far["twin"])
print("the interval holds the difference:", low <= gap <= high)

# %% [markdown] tags=["skip"]
# This is McNemar's test (1947) by exact coins, and a **bootstrap** of the difference. Both use that the two were asked the same pictures: what is hard for one is hard for the other, and cancels. Two intervals laid side by side would throw that away.

# %% [markdown] tags=["notes"]
# Three minutes. The verdict follows the files. If it says "no difference that we can see", that is a result too: with 20,000 labelled pictures a student has little to gain. Teachers pay where labels are few.

# %% [markdown] tags=["slide"]
# ## Ask the small one first
#
# A **cascade**, by hand. How sure must the small one be? The least with which they are right as often as the large one – on 2,400 other pictures, for those in `X` shall judge.

# %%
from inferkit.datasets import make_signs


def in_doubt(p, q, threshold):  # the answers, and who had to go up
    up = p.max(axis=1) < threshold
    return np.where(up, q.argmax(axis=1), p.argmax(axis=1)), up


levels = np.append(np.linspace(0.2, 0.995, 160), [0.999, 0.9999, 1])


def least(p, q, y):  # the lowest threshold with which they are right as often as q
    goal = (q.argmax(axis=1) == y).mean()
    return float(min(t for t in levels if (in_doubt(p, q, t)[0] == y).mean() >= goal or t == 1))


# %% tags=["subslide"]
from inferkit.optimize import cascade

known, known_y = make_signs(2400, random_state=12)
p_known, q_known = ask(small, known), ask(large, known)
threshold = least(p_known, q_known, known_y)
answers, up = in_doubt(p, q, threshold)
both = cascade([small, large], threshold, name="cascade")
print("by hand as by library:", np.array_equal(both.predict(X[:60]), names[answers[:60]]))
lost = right_large.mean() - (answers == y).mean()
print(f"in doubt means below {threshold:.3f}; within a point of the large one: {lost < 0.01}")

# %% tags=["fragment"]
share_guess.beside(round(100 * up.mean(), 1))

# %% [markdown] tags=["notes"]
# Four minutes. Paul Viola and Michael Jones (2001) found faces that way on a processor of 700 MHz: most of a picture is no face, and ten cheap tests say so. Ask what can go wrong: a small network that is wrong and sure never asks. (Lesson 06 had a temperature for that.) In the next figure look for a stretch where both together are right more often than the large one alone: two networks err on other pictures.


# %% tags=["skip"]
def dial_figure(levels, shares, rights, ends, chosen):
    fig, ax = plt.subplots(figsize=slide_size(height=0.72))
    ax.plot(shares, rights, color=COLOURS["blue"])
    for name, right in ends.items():
        ax.axhline(right, color="0.45", ls="--", lw=1.5)
        ax.annotate(name, (100, right), (0, 4), textcoords="offset points", ha="right")
    for t in (0.5, 0.9, 0.99):
        at = int(np.abs(levels - t).argmin())
        ax.plot(shares[at], rights[at], "o", ms=9, color=COLOURS["blue"])
        ax.annotate(f"{t}", (shares[at], rights[at]), (6, -16), textcoords="offset points")
    ax.plot(*chosen, "D", ms=12, color=COLOURS["orange"])
    return fig, ax


# %% tags=["skip"]
from inferkit.optimize import escalation_curve

told = [in_doubt(p, q, t) for t in levels]
shares = np.array([100 * sent.mean() for _, sent in told])
rights = np.array([100 * (said == y).mean() for said, _ in told])
fresh = [sign_reader(reader.name) for reader in (small, large)]
theirs = escalation_curve(fresh, X[:60], names[y[:60]], levels)
ours = np.array([(sent[:60].mean(), (said == y)[:60].mean()) for said, sent in told])
same = np.allclose(theirs.escalated, ours[:, 0]), np.allclose(theirs.accuracy, ours[:, 1])
print("60 pictures: the library counts who goes up, and who is right, as we do:", *same)

# %% tags=["subslide"]
ends = {"the small one alone": 100 * right_small.mean(), "the large one": 100 * right_large.mean()}
fig, ax = dial_figure(levels, shares, rights, ends, (100 * up.mean(), 100 * (answers == y).mean()))
ax.set(xlabel="pictures that go up, %", ylabel="right, %", xlim=(0, 100))
ax.set_title("The threshold is a dial (diamond: ours)")
show(
    fig,
    alt="The right answers rise steeply over the first few percent that go up, then stay level.",
)

# %% [markdown] tags=["subslide"]
# ## What does it take?
#
# All pictures pay for the small one, a share $s$ pays for the large one as well: $t = t_{small} + s\,t_{large}$. Against the clock:

# %% tags=["skip"]
timed = 256  # so many pictures take turns; ten rounds
rounds_of = {"n": 10 * timed, "rounds": 10, "progress": False}
trio = compare({"small": small, "large": large, "cascade": both}, X, **rounds_of)
right_of = {"small": right_small, "large": right_large, "cascade": answers == y}


def usual_us(latency, pictures=timed):  # each picture's median over the rounds; their mean
    return float(np.median(latency.samples_ns.reshape(-1, pictures), axis=0).mean() / 1000)


def expected(small, share, large):
    return small + share * large


# %% tags=["measured", "fragment"]
mean = {name: usual_us(latency) for name, latency in trio.latencies.items()}
table = ["| | mean, µs | p50 | p99 | right |", "|---" * 5 + "|"]
for row in trio:
    tail = f"{1000 * row.p50_ms:.0f} | {1000 * row.p99_ms:.0f}"
    table.append(
        f"| {row.name} | {mean[row.name]:.1f} | {tail} | {right_of[row.name].mean():.1%} |"
    )
share = up[:timed].mean()
computed = expected(mean["small"], share, mean["large"])
table.append(f"| small + {share:.3f} · large | {computed:.1f} | | | |")
Markdown("\n".join(table))

# %% tags=["measured", "subslide"]
times_guess.beside(round(mean["large"] / mean["cascade"], 2))

# %%
p50, p99 = ({row.name: getattr(row, field) for row in trio} for field in ("p50_ms", "p99_ms"))
print("the cascade's slow answers take over twice its median:", p99["cascade"] > 2 * p50["cascade"])
print("its median is less than half of the large one's:", 2 * p50["cascade"] < p50["large"])

# %% [markdown] tags=["skip"]
# A cascade has no typical time. Its median is that of the small network, since most pictures stop there. Its p99 is that of both. What you pay for is the mean, and what a deadline asks for is the p99. From here on a network counts with its median, and what takes two steps with its mean. (Each picture's median of ten rounds, averaged, so that a busy machine does not spoil it.)

# %% [markdown] tags=["notes"]
# Four minutes. Cover all but the p50 column: the cascade is as fast as the small network and as good as the large one. Who would publish that? Now uncover. What the last row lacks is what the cascade itself does: look at the largest probability, compare, call again.

# %% [markdown] tags=["slide"]
# ## When the street gets darker
#
# The share that goes up is no property of the cascade. It belongs to the pictures. Take light away, put the camera out of focus, add noise:

# %%
from scipy.ndimage import gaussian_filter


def at_dusk(pictures, light=0.25, noise=8, seed=12):
    soft = gaussian_filter(pictures.astype(np.float32), (0, 0.8, 0.8, 0))
    grain = np.random.default_rng(seed).standard_normal(soft.shape, dtype=np.float32)
    return np.clip(light * soft + noise * grain, 0, 255).astype(np.uint8)


dusk = at_dusk(X)
p_dusk, q_dusk = ask(small, dusk), ask(large, dusk)
answers_dusk, up_dusk = in_doubt(p_dusk, q_dusk, threshold)
print("over twice as many go up:", up_dusk.mean() > 2 * up.mean())

# %% [markdown] tags=["subslide"]
# A second cascade, to the plain network, which is right more often and takes less. Then both, by day and at dusk:

# %% tags=["skip"]
plain = sign_reader("signs-cnn")
plain_at = least(p_known, ask(plain, known), known_y)
to_cnn = cascade([small, plain], plain_at, name="cascade to cnn")
few_rounds, half = rounds_of | {"n": 5 * timed, "rounds": 5}, timed // 2
mixes = {"day": X[:timed], "half and half": np.concatenate([X[:half], dusk[half:timed]])}
mixes["dusk"] = dusk[:timed]
ends_of = {"large": (both, large), "cnn": (to_cnn, plain)}

# %% tags=["measured", "fragment"]
heads = "| 256 pictures | up to | go up | computed, µs | cascade | that one alone |"
table = [heads, "|---" * 6 + "|"]
for end, (steps, last) in ends_of.items():
    for name, pictures in mixes.items():
        share = (ask(small, pictures).max(axis=1) < steps.thresholds[0]).mean()
        found = compare({"steps": steps, "last": last}, pictures, **few_rounds).latencies
        two, alone_us = usual_us(found["steps"]), usual_us(found["last"])
        cells = [f"{t:.0f}" for t in (expected(mean["small"], share, alone_us), two, alone_us)]
        table.append(f"| {name} | {end} | {share:.0%} | " + " | ".join(cells) + " |")
Markdown("\n".join(table))

# %%
print("up to the large one half may go, and it still pays:", mean["small"] < 0.5 * mean["large"])

# %% [markdown] tags=["skip"]
# $t_{small} + s\,t_{large} > t_{large}$ where $s > 1 - t_{small}/t_{large}$: from there on the small network is in the way. The quicker the second network, the sooner. A service that was planned for a sunny day meets its longest queue in the evening, when every car asks twice. Watch $s$ where you run a cascade; it is the first to know.

# %% [markdown] tags=["notes"]
# Three minutes. Ask who has a system whose load depends on how hard the questions are. (Search, spam filters, any on-call team.) `both.counts` says how many each network has answered.

# %% [markdown] tags=["slide"]
# ## Leave early
#
# A cascade that goes up throws away all that the small network has seen, and starts from the picture. An **early exit** keeps it: twelve more outputs, halfway through the large network (BranchyNet, 2016). Who is sure there leaves.

# %%
from inferkit.models import load_reference

stem, rest = load_reference("signs-exit-stem"), load_reference("signs-exit-rest")
work = {part.name: sum(layer.macs for layer in read_layers(part)) for part in (stem, rest)}
print(f"multiplications: stem {work[stem.name]:,}, rest {work[rest.name]:,}")
print("the whole, but for the exit's:", 0 < sum(work.values()) - macs[1] < 10_000)


# %% tags=["subslide"]
def halfway(pictures):  # the probabilities at the exit, and at the end
    parts = []
    for i in range(0, len(pictures), 24):
        half = stem(pictures[i : i + 24] / np.float32(255))
        parts.append((half["probabilities"], rest(half["features"])))
    return [np.concatenate(part) for part in zip(*parts)]


p_exit, end = halfway(X)
print("it ends where the large network ends:", np.allclose(end, q, atol=1e-4))
exit_at = least(*halfway(known), known_y)
leaves, stayed = in_doubt(p_exit, end, exit_at)

# %% tags=["fragment"]
from inferkit.optimize import EarlyExit

early = EarlyExit(stem, rest, exit_at, name="early exit")
said_early = early(X[:60] / np.float32(255)).argmax(axis=1)
print("the library's answers are ours:", np.array_equal(said_early, leaves[:60]))
work["small"] = sum(layer.macs for layer in read_layers(small.backend.model))
before = {"the small one": (up, work["small"]), "the stem": (stayed, work[stem.name])}
for who, (goes_on, done) in before.items():
    print(f"{who}: {done / macs[1]:.0%} of the large one's work; {goes_on.mean():.0%} go on")

# %% [markdown] tags=["skip"]
# The exit cannot be cheaper than the stem, and its features serve two masters. A cascade may choose its small network freely, and trains it for nothing but the answer. What the exit never does is to pay twice: who goes on pays for the whole network and a dense layer.

# %% [markdown] tags=["notes"]
# Three minutes. Ask first: where would you cut? Early is cheap, and the features there know edges and colours, no signs. Late is sure, and little is saved. Here the network was trained first and the exit put in afterwards; BranchyNet trains both together.

# %% [markdown] tags=["slide"]
# ## Everything in one ledger
#
# Three widths, five schemes, half of the filters, two students, two cascades, one exit. What the ledger has of the networks, from this machine, stays; what is missing is measured, in turns.

# %%
files = {"width 0.25": "mobilenet-25", "width 0.5": "mobilenet-50", "width 1": "mobilenet-100"}
files |= {"width 1, int8": "mobilenet-100-int8", "student": "student", "twin": "student-alone"}
files |= {"cnn": "cnn", "cnn, half": "cnn-half"}
files |= {f"cnn, {s}": f"cnn-{s}" for s in ("float16", "dynamic", "int8", "int16x8")}


def reader_of(name):  # made when it is needed: each keeps the memory of its largest batch
    return sign_reader(f"signs-{files[name]}")


# %% tags=["fragment"]
from inferkit.predictor import Predictor

door = {"preprocess": small.preprocess, "signature": small.signature.input}
by_exit = Predictor(early, labels=names.tolist(), **door)
two_steps = {"cascade": both, "cascade to cnn": to_cnn, "early exit": by_exit}
print("ways to spend time on a picture:", len(files) + len(two_steps))

# %% tags=["skip"]
from inferkit import devices
from inferkit.models import list_reference

here = devices.describe().machine_id
hashes = {model.name: model.sha256 for model in list_reference()}


def mine(ledger):  # what it has of these networks, from this machine: the newest of each
    rows = [row for row in ledger if row.machine_id == here and row.n_test == len(y)]
    rows = {row.name: row for row in sorted(rows, key=lambda row: row.measured_us)}
    rows = {name: rows.get(f"signs, {name}") for name in files}
    is_ours = {
        n: row and row.model_sha256 == hashes[f"signs-{files[n]}"] for n, row in rows.items()
    }
    return {name: row for name, row in rows.items() if is_ours[name]}


# %% tags=["skip"]
from dataclasses import replace

from inferkit.benchmark import wilson_interval

hits = {}  # which pictures each of them reads
for name in [*files, *two_steps]:
    hits[name] = ask(two_steps.get(name) or reader_of(name), X).argmax(axis=1) == y


def judged_row(row):  # with its accuracy
    right = hits[row.name.removeprefix("signs, ")]
    low, high = wilson_interval(int(right.sum()), len(y))
    shares = {"accuracy": right.mean(), "accuracy_low": low, "accuracy_high": high}
    return replace(row, n_test=len(y), **shares)


# %% tags=["skip"]
ledger = Ledger.open()
missing = {f"signs, {name}": reader_of(name) for name in files if name not in mine(ledger)}
found = compare(missing, X, n=700, rounds=10, progress=False) if missing else []
stepped = compare({f"signs, {name}": way for name, way in two_steps.items()}, X, **rounds_of)
ledger.add(*map(judged_row, [*found, *stepped]))
del missing
rows = mine(ledger) | {row.name.removeprefix("signs, "): judged_row(row) for row in stepped}
print("rows of this machine:", len(rows))


# %% tags=["skip"]
def point_of(name):  # µs; of the right answers the share and its interval, in percent
    row = rows[name]
    took = usual_us(stepped.latencies[row.name]) if name in two_steps else 1000 * row.p50_ms
    return took, *(100 * part for part in (row.accuracy, row.accuracy_low, row.accuracy_high))


points = {name: point_of(name) for name in rows}
points = dict(sorted(points.items(), key=lambda item: item[1][0]))  # the quickest first
us = {name: point[0] for name, point in points.items()}
table = ["| | right, % | µs | p99 | kB |", "|---" * 5 + "|"]
for name, (took, right, _, _) in points.items():
    kB = f"{rows[name].size_bytes / 1000:.0f}" if rows[name].size_bytes else ""
    table.append(f"| {name} | {right:.1f} | {took:.0f} | {1000 * rows[name].p99_ms:.0f} | {kB} |")

# %% tags=["measured", "subslide"]
Markdown("\n".join(table))

# %% tags=["skip"]
print("from the quickest to the slowest, over ten times:", max(us.values()) > 10 * min(us.values()))

# %% [markdown] tags=["notes"]
# Three minutes. Rows of another day may have been measured while the machine was busier or cooler: `Ledger.open(":memory:")` measures all of them now. Ask for two rows where one is better in both columns.

# %% [markdown] tags=["subslide"]
# ## Who is beaten?
#
# By hand: one way **beats** another if it is no slower and no less often right, and better in one of the two. Who is not beaten stands on the **Pareto front**. With intervals a win must be sure: even at its worst.


# %%
def beats(a, b, surely=False):  # at their measured values, or at a's worst and b's best
    mine, theirs = (a[2], b[3]) if surely else (a[1], b[1])
    return a[0] <= b[0] and mine >= theirs and (a[0] < b[0] or mine > theirs)


def not_beaten(points, surely=False):
    everyone = points.values()
    return [name for name, b in points.items() if not any(beats(a, b, surely) for a in everyone)]


front, careful = not_beaten(points), not_beaten(points, surely=True)
in_float = {n: point for n, point in points.items() if "int" not in n and "dynamic" not in n}
float_front = not_beaten(in_float)  # where a machine has no quick integers

# %% tags=["subslide"]
from inferkit.benchmark import Entry

fields = ("accuracy", "accuracy_low", "accuracy_high")
entries = [
    Entry(name, p50_ms=took / 1000, **dict(zip(fields, np.array(parts) / 100)))
    for name, (took, *parts) in points.items()
]
print("with intervals, as by library:", careful == [e.name for e in Ledger(entries).pareto()])
print("the plain front is part of the careful one:", set(front) <= set(careful))

# %% tags=["measured", "fragment"]
print("the front:", ", ".join(front))
print("the front of what computes in float32:", ", ".join(float_front))
print(f"not beaten for certain: {len(careful)} of {len(points)}")

# %% tags=["skip"]
climb = [points[name][1] for name in front]
print("along the front each is right more often than all before it:", np.all(np.diff(climb) > 0))

# %% [markdown] tags=["notes"]
# Three minutes. Vilfredo Pareto asked it of wealth: can one be better off with nobody worse off? Let somebody find a row of the table that is beaten, and by which. `ledger.pareto()` takes the ledger's own p50, and so it believes the cascade: there we give it our times.

# %% [markdown] tags=["slide", "figure"]
# ## What a right answer costs


# %% tags=["skip"]
def corners(points, right_end):  # the line between what is to be had and what is not
    best = []
    for us, share in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or share > best[-1][1]:
            best += [(us, best[-1][1])] if best else []
            best.append((us, share))
    return [*best, (right_end, best[-1][1])]


def family(name):
    kinds = {"width": "blue", "cnn": "green", "student": "black", "twin": "black"}
    return COLOURS[next((hue for kind, hue in kinds.items() if name.startswith(kind)), "orange")]


# %% tags=["skip"]
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

PLACES = [(dx * d, dy * d) for d in (9, 20, 34, 50) for dy in (0, 1, -1) for dx in (1, -1, 0)]
HALO = [withStroke(linewidth=4, foreground="white")]


# %% tags=["skip"]
def label_points(ax, labels):  # each where it covers least of what is there
    ax.figure.draw_without_rendering()
    dots = ax.transData.transform([place for place, _ in labels.values()])
    taken = [Bbox([dot - 9, dot + 9]) for dot in dots]
    for name, (place, colour) in labels.items():
        note = ax.annotate(name, place, (0, 0), textcoords="offset points", color=colour, size=13)
        note.set_path_effects(HALO)
        boxes = [box_at(note, offset) for offset in PLACES]
        covered = [sum(common(box, other) for other in taken) for box in boxes]
        taken.append(box_at(note, PLACES[int(np.argmin(np.round(covered)))]))


# %% tags=["skip"]
def box_at(note, offset):
    note.set_position(offset)
    note.set(ha=("center", "left", "right")[int(np.sign(offset[0]))])
    note.set(va=("center", "bottom", "top")[int(np.sign(offset[1]))])
    return note.get_window_extent()


def common(a, b):
    both = Bbox.intersection(a, b)
    return 0 if both is None else both.width * both.height


# %% tags=["skip"]
def draw_way(ax, point, colour, is_kept, name):
    us, right, low, high = point
    ax.errorbar(us, right, [[right - low], [high - right]], color=colour, elinewidth=1)
    face = colour if is_kept else "white"
    ax.plot(us, right, "o", ms=10, color=colour, mfc=face, mew=2, label=f"_{name}")


# %% tags=["skip"]
def poster(points, kept, fronts, dial):  # of each: µs, right, low, high
    fig, ax = plt.subplots(figsize=slide_size(height=0.95))
    times = [point[0] for point in points.values()]
    ax.set(xscale="log", xlim=(min(times) / 2, 1.8 * max(times)))
    for names_of, style in zip(fronts, ("-", "--")):
        line = corners([points[name][:2] for name in names_of], ax.get_xlim()[1])
        ax.plot(*zip(*line), style, color="0.55", lw=2, zorder=1, label=f"_front {style}")
    ax.plot(*dial, color=COLOURS["orange"], lw=1, zorder=1, label="_dial")
    for name, point in points.items():
        draw_way(ax, point, family(name), name in kept, name)
    return fig


# %% tags=["skip"]
TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


def name_axes(ax):
    low, high = ax.get_xlim()
    ax.set_xticks([t for t in TICKS if low < t < high])
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.xaxis.set_minor_locator(plt.NullLocator())
    ax.set(xlabel="one answer, µs (log; the mean of what takes two steps)", ylabel="right, %")


# %% tags=["skip"]
def with_words(fig, points, guess=None):
    (ax,) = fig.axes
    name_axes(ax)
    words = {name: (point[:2], family(name)) for name, point in points.items()}
    if guess:
        ax.plot(*guess, "*", ms=20, color=COLOURS["pink"], mec="black", label="_guess")
        words["your guess"] = guess, "black"
    label_points(ax, words)
    return fig


# %% tags=["skip"]
dial = expected(us["student"], shares / 100, us["width 1"]), rights

# %% tags=["measured", "fragment"]
guess = times_guess.value and (us["width 1"] / times_guess.value, points["width 1"][1])
fig = with_words(poster(points, careful, (front, float_front), dial), points, guess)
show(
    fig, alt="The MobileNets lie to the right of and below the line; the plain network lies on it."
)

# %% [markdown] tags=["subslide"]
# ## So what does it cost?
#
# From one end of a front to the other: the time that is added, over the right answers that are added.


# %% tags=["measured", "fragment"]
def cost(front):
    (us_a, a, *_), (us_b, b, *_) = points[front[0]], points[front[-1]]
    return f"{(us_b - us_a) / (b - a):.1f} µs a point" if len(front) > 1 else "nothing to pay"


print("one more right answer in a hundred, in float32:", cost(float_front))
print("of all fifteen:", cost(front))
over = [name for name in front if beats(points[name], points[float_front[-1]])]
print(f"float32's most accurate, {float_front[-1]}, is beaten by:", ", ".join(over) or "nobody")

# %% [markdown] tags=["skip"]
# If one way stands alone on the solid line, the question has an odd answer: nothing. Where a processor has instructions for bytes, that may happen to the plain network in int8, which lesson 09 got with no training at all. Where it has none, the dashed line is yours.

# %% tags=["skip"]
spans = [point[3] - point[2] for point in points.values()]
print("no interval is shorter than half a point:", min(spans) > 0.5)

# %% [markdown] tags=["notes"]
# Four minutes. Filled: not beaten for certain; rings: beaten, even at the other's worst. The lines join the best values as measured: solid of all, dashed of what computes in float32. Thin orange: the cascade at every threshold. Where bytes are quick, rounding the plain network may beat all fourteen others at once; then the dashed line is what a machine without such instructions would see.

# %% [markdown] tags=["subslide"]
# ## Can 1,152 pictures tell them apart?
#
# Two intervals that overlap say little, for all networks were asked the same pictures. So count pair by pair, as with the twins: each on the front of float32 against the next slower one.

# %%
from itertools import pairwise

_, _, _, (low, high) = paired(hits["cnn"], hits["cnn, int8"])
both_alone = sum(points[name][3] - points[name][2] for name in ("cnn", "cnn, int8"))
print("float32 against int8: the pair's interval is less than half of the two together:", end=" ")
print(high - low < both_alone / 2)

# %% tags=["measured", "fragment"]
table = ["| | against | points | 95 % | told apart |", "|---" * 5 + "|"]
for quick, slow in pairwise(float_front):
    _, _, gap, (low, high) = paired(hits[slow], hits[quick])
    cells = f"{gap:+.1f} | {low:+.1f} to {high:+.1f} | {'yes' if low > 0 else 'no'}"
    table.append(f"| {slow} | {quick} | {cells} |")
Markdown("\n".join(table))

# %% tags=["skip"]
n_for = {gap: (1.96 + 0.84) ** 2 * 0.02 / gap**2 for gap in (0.02, 0.01, 0.005)}
told = ", ".join(f"{100 * gap:g}: {n:,.0f}" for gap, n in n_for.items())
print(f"pictures to tell two apart that differ on 2 in 100, by points: {told}")
print("half the difference takes over three times as many:", n_for[0.005] > 3 * n_for[0.01])

# %% [markdown] tags=["skip"]
# "No" does not mean equal. It means that whoever says which of the two is better has not looked at enough pictures. A step on the front that cannot be told apart is no reason to wait longer for each answer.

# %% [markdown] tags=["notes"]
# Three minutes. The last cell is the rule of thumb for pairs: the share on which they differ, over the square of the gap, times eight. Half a point takes thousands of pictures; ask who has ever seen that many in a comparison of models.

# %% [markdown] tags=["slide", "why"]
# ## Why: what is done for each byte
#
# A processor multiplies faster than it fetches. So ask of a layer how often it uses a number once it is there: multiplications for each byte that goes in, comes out, or is a weight.


# %%
def kind_of(layer):
    if layer.op == "DEPTHWISE_CONV_2D":
        return "channel by channel"
    return "mixing, 1 × 1" if layer.weights.shape[1:3] == (1, 1) else "ordinary"


def moved(layer):  # bytes
    tensors = [*layer.inputs, layer.output, layer.weights]
    return 4 * sum(int(np.prod(np.abs(one.shape))) for one in tensors)


# %% tags=["subslide"]
table = ["| | multiplications | bytes | for a byte |", "|---" * 4 + "|"]
for name, those_of in {"width 1": 1.0, "width 0.25": 0.25, "cnn": "cnn"}.items():
    found = [one for one in layers[those_of] if one.op.endswith("CONV_2D")]
    for kind in sorted({kind_of(one) for one in found}):
        those = [one for one in found if kind_of(one) == kind]
        macs_of, size = sum(one.macs for one in those), sum(map(moved, those))
        table.append(f"| {name}, {kind} | {macs_of:,} | {size:,} | {macs_of / size:.1f} |")
Markdown("\n".join(table))

# %% tags=["skip"]
counts = [len(layers[1.0]), len(layers[0.25]), len(layers["cnn"])]
print("layers of the three, each of them a call:", *counts)

# %% [markdown] tags=["skip"]
# Channel by channel, a number is used nine times and is gone. Mixing uses it once for each channel that comes out, so a thin network uses it seldom, too: a multiplication costs it more. Then each layer is a call with a price of its own, and α does not make them fewer. The plain network is no wonder of speed; it was made for 32 × 32 points, and has less to multiply than the wide MobileNet. With lesson 11 you can draw each of these layers under your machine's roof.

# %% [markdown] tags=["notes"]
# Three minutes. The last column is lesson 11's arithmetic intensity. Ask which row becomes worse as α falls (mixing: fewer channels to mix). A thin network has as many layers as a wide one, and each has its fixed price.

# %% [markdown] tags=["slide"]
# ## Choose under a budget
#
# A deadline is a matter of the p99, a bill of the mean. And of the accuracy count what is sure: the lower end.


# %%
def choose(rows, points, deadline_us, least_right):
    fit = [name for name in rows if rows[name].p99_ms and 1000 * rows[name].p99_ms <= deadline_us]
    fit = [name for name in fit if rows[name].accuracy_low >= least_right]
    return min(fit, key=lambda name: points[name][0], default="none")


print("with no time at all:", choose(rows, points, 0, 0))
print("anything goes, so the quickest:", choose(rows, points, 1e9, 0) == next(iter(points)))

# %% tags=["measured", "subslide"]
deadlines, floats = (50, 100, 200, 1000), {name: rows[name] for name in in_float}
table = ["| surely right | " + " | ".join(f"{d} µs" for d in deadlines) + " |", "|---" * 5 + "|"]
for wanted in (0.8, 0.9, 0.95, 0.97):
    chosen = [choose(floats, points, deadline, wanted) for deadline in deadlines]
    table.append(f"| {wanted:.0%} | " + " | ".join(chosen) + " |")
print("with integers, 97 % within 200 µs:", choose(rows, points, 200, 0.97), "| in float32:")
Markdown("\n".join(table))

# %% tags=["skip"]
in_time = [[r.accuracy_low for r in rows.values() if r.p99_ms <= d / 1000] for d in deadlines]
most = [max(lows, default=0) for lows in in_time]
print("a longer deadline never costs accuracy:", most == sorted(most))

# %% [markdown] tags=["notes"]
# Two minutes. On a busy machine the p99 is the scheduler's, not the network's: then the short deadlines say "none", and rightly. Ask what a deadline of 100 µs is worth where the way to the user takes 20 ms.

# %% [markdown] tags=["subslide"]
# ## What it costs in joules and in money
#
# Some machines count their energy, and some let you read it. The rate is yours: what does an hour of one core cost you?

# %%
from inferkit.benchmark import measure_energy, price_per_million

rate = 0.04  # for an hour of a core, in your currency: put in yours
used = 0.3  # the share of the hour in which somebody asks
print("a machine that is idle half of the time costs twice as much an answer:", end=" ")
print(price_per_million(100, rate, utilisation=0.5) == 2 * price_per_million(100, rate))

# %% tags=["measured", "subslide"]
print(measure_energy(small, X, seconds=0.5))
table = ["| a million answers | core-seconds | at your rate |", "|---|---|---|"]
for name in ("student", "cascade", "cnn", "width 1"):
    price = price_per_million(1e6 / us[name], rate, utilisation=used)
    table.append(f"| {name} | {us[name]:,.0f} | {price:.4f} |")
Markdown("\n".join(table))

# %% tags=["skip"]
print("the large one costs over twice as much as the student:", us["width 1"] > 2 * us["student"])

# %% [markdown] tags=["notes"]
# Three minutes. Ask before: what does a million answers cost, in the price of a cup of coffee? Then which column a phone cares about, and which a data centre. Prices move; the core-seconds are yours.

# %% [markdown] tags=["slide"]
# ## What the front has cost, and who won by luck
#
# The best of many looks better than it is. Fifteen networks, all of them right 98 times in 100, and each asked 1,152 pictures of its own:

# %%
rng = np.random.default_rng(12)
equals = 100 * rng.binomial(1152, 0.98, (10_000, 15)) / 1152
luck = {k: equals[:, :k].max(axis=1).mean() - 98 for k in (2, 5, 15)}
for k, points_more in luck.items():
    print(f"the best of {k} equals looks {points_more:.2f} points better than it is")

# %% [markdown] tags=["fragment"]
# And ours? Of 163 thresholds take the best on one half of the pictures, and let the other half judge it. A thousand times:

# %%
matrix = np.array([in_doubt(p, q, t)[0] == y for t in levels])  # thresholds × pictures
chosen, judged = [], []
for _ in range(1000):
    one, other = np.array_split(rng.permutation(len(y)), 2)
    winner = matrix[:, one].mean(axis=1).argmax()
    chosen.append(100 * matrix[winner, one].mean())
    judged.append(100 * matrix[winner, other].mean())
print(f"the winner: {np.mean(chosen):.1f} % where it was chosen", end=", ")
print(f"{np.mean(judged):.1f} % where it was judged")
print("it was chosen with luck:", np.mean(chosen) > np.mean(judged))

# %% tags=["measured", "skip"]
calls = sum(row.n for row in rows.values())
seconds = sum(row.n / row.throughput for row in rows.values())
print(f"timing {len(rows)} ways: {calls:,} calls, {seconds:.0f} seconds of this core")

# %% tags=["skip"]
curse = np.mean(chosen) - np.mean(judged)
print("the luck of 163 thresholds, less than that of fifteen strangers:", curse < luck[15])

# %% [markdown] tags=["skip"]
# Neighbouring thresholds answer nearly alike, so 163 of them have less luck than fifteen strangers would. Less is not none: as much as the teacher is worth. That is why the thresholds of both cascades and of the exit were set on other pictures.

# %% [markdown] tags=["notes"]
# Three minutes. This is the **winner's curse**. Ask who has picked the best of twenty trainings on the test set. The remedy costs pictures: choose on one set, state the accuracy on another. Each network had to be trained, too: `datasets/sign_variants.md` says on what, and how often it saw it.

# %% [markdown] tags=["slide"]
# ## Where small networks win
#
# One picture at a time, from a standing start, in little space. By how much, against the large one?

# %% tags=["skip"]
from time import perf_counter

from inferkit.models import LiteRTModel


def cold_ms(model, times=15):  # from the bytes of a file to the first answer
    taken = []
    for _ in range(times):
        start = perf_counter()
        LiteRTModel(model.content)(X[:1] / np.float32(255))
        taken.append(1000 * (perf_counter() - start))
    return float(np.median(taken))


many = compare({"small": small, "large": large}, X, n=40, rounds=10, batch_size=64, progress=False)

# %% tags=["measured", "fragment"]
models = small.backend.model, large.backend.model
times_as = {
    "one at a time": us["width 1"] / us["student"],
    "64 at a time": many.ratio("large", "small").value,
    "file to first answer": cold_ms(models[1]) / cold_ms(models[0]),
    "bytes of the file": models[1].size_bytes / models[0].size_bytes,
}
table = ["| | the large one takes, times |", "|---|---|"]
Markdown("\n".join(table + [f"| {what} | {times:.1f} |" for what, times in times_as.items()]))

# %%
print("one at a time, over twice:", times_as["one at a time"] > 2)
print("64 at a time, over twice:", times_as["64 at a time"] > 2)

# %% [markdown] tags=["notes"]
# Two minutes. A function in the cloud that starts for each request cares for the third row, an update by radio for the fourth. And a small network can be trained on the few pictures that one has.

# %% [markdown] tags=["slide", "textbook"]
# ## When the textbook is wrong here
#
# "Large models are accurate but slow; light ones such as MobileNet strike a balance." "Inference needs substantial resources and energy." In parts:


# %% tags=["skip"]
def verdicts(points, front, work):  # of each: µs and right; who is not beaten; multiplications
    holds = {True: "holds", False: "does not hold here"}
    most, right = max(work, key=work.get), max(points, key=lambda name: points[name][1])
    slower = points[most][0] / points["cnn"][0]
    thin = ", ".join(name for name in front if name in work and name != "cnn")
    day = 86_400 / points[right][0]  # millions
    return {
        "Large models are accurate": f"{holds[right == most]}: most often right is {right}",
        "... but slow": f"{holds[slower > 2]}: {slower:.1f} times the plain one's time",
        "MobileNets strike a balance": f"{holds[bool(thin)]}: on the front {thin or 'is none'}",
        "Inference needs much": f"{holds[day < 1]}: {right}, {day:,.0f} million a day",
    }


# %% tags=["measured", "fragment"]
multiplications = {f"width {w:g}": macs[w] for w in widths} | {"cnn": macs["cnn"]}
said = verdicts(points, front, multiplications)
table = ["| they say | here |", "|---|---|"]
Markdown("\n".join(table + [f"| {claim} | {verdict} |" for claim, verdict in said.items()]))

# %%
print(f"the large network has {macs[1] / macs['cnn']:.2f} times the plain one's multiplications")
print("over twice as many:", macs[1] > 2 * macs["cnn"])

# %% [markdown] tags=["skip"]
# The first sentence is about one family and one recipe: wider is better there, and slower. Between families it says nothing. A plain network that was made for 32 × 32 pictures has less to multiply than a design for photographs, and takes less time. That it is right more often is also a matter of school: it saw 40,000 pictures in 20 passes, the MobileNets 20,000 in 15.

# %% [markdown] tags=["notes"]
# Three minutes. Read the right column aloud; it follows your machine. Ask what would turn the third row round: larger pictures, more classes, a MobileNet that went to the longer school.

# %% [markdown] tags=["slide", "play"]
# ## Play
#
# Two dials: how sure is sure enough, and how many of the pictures are taken at dusk? First find the threshold from which nothing more is won by day. Leave it there, and let the evening come.

# %% tags=["skip"]
from inferkit.benchmark import measure_latency
from inferkit.widgets import LiveFigure, curve, text
from inferkit.widgets import points as dots

alone_as = {"small": ("p", "student", "black"), "large": ("q", "width 1", "blue")}
alone_as["cnn"] = ("cnn", "cnn", "green")
turn = rng.permutation(len(y)) / len(y)  # who comes home late
by_day = {"p": p, "q": q, "cnn": ask(plain, X)}
by_night = {"p": p_dusk, "q": q_dusk, "cnn": ask(plain, dusk)}


def evening(share):  # what the networks say of a mix
    late = (turn < share / 100)[:, None]
    return {name: np.where(late, by_night[name], by_day[name]) for name in by_day}


# %% tags=["skip"]
def measured_now(threshold, share, n=128):  # asks both, now, in three rounds
    those = np.where((turn[:n] < share / 100)[:, None, None, None], dusk[:n], X[:n])
    asked = both.with_threshold(threshold)
    return usual_us(measure_latency(asked, those, n=3 * n, progress=False), n)


def dial_of(said):
    told = [in_doubt(said["p"], said["q"], t) for t in levels]
    shares = np.array([up.mean() for _, up in told])
    return expected(us["student"], shares, us["width 1"]), [
        100 * (answers == y).mean() for answers, _ in told
    ]


# %% tags=["skip"]
def look(threshold, dusk_share):
    said = evening(dusk_share)
    answers, up = in_doubt(said["p"], said["q"], threshold)
    alone = {name: 100 * (a.argmax(axis=1) == y).mean() for name, a in said.items()}
    took, right = expected(us["student"], up.mean(), us["width 1"]), 100 * (answers == y).mean()
    parts = [curve(*dial_of(said), label="all thresholds", colour="orange", thin=True)]
    for name, (key, way, colour) in alone_as.items():
        parts.append(dots(us[way], alone[key], label=name, colour=colour, hollow=True))
    parts += [dots(took, right, label="cascade", colour="orange")]
    told = {"right": f"{right:.1f} %", "go up": f"{up.mean():.0%}", "computed": f"{took:.0f} µs"}
    told |= {"measured now": f"{measured_now(threshold, dusk_share):.0f} µs"}
    return parts + [text(name, words) for name, words in told.items()]


# %% tags=["skip"]
stops = [0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1]
dials = {"threshold": stops, "dusk_share": range(0, 101, 10)}
looks = {
    "start": {"threshold": 0.9, "dusk_share": 0},
    "labels": {"threshold": "sure enough from", "dusk_share": "at dusk, %"},
    "alt": "{go up} go up: {right} right, {computed} an answer, {measured now} by the clock.",
    "xlabel": "one answer, mean µs",
    "ylabel": "right, %",
    "xscale": "log",
    "height": 300,
}

# %% tags=["measured", "fragment"]
ends = (0.7 * us["student"], 1.7 * (us["student"] + us["width 1"]))
LiveFigure(look, dials, xlim=ends, **looks)

# %% tags=["skip"]
climbs = {
    s: [in_doubt(*list(evening(s).values())[:2], t)[1].mean() for t in stops] for s in (0, 100)
}
print("a higher threshold sends more up:", all(np.all(np.diff(c) >= 0) for c in climbs.values()))
print("dusk sends over twice as many up:", climbs[100][4] > 2 * climbs[0][4])

# %% [markdown] tags=["notes"]
# Three minutes. By day the orange line goes up steeply and then along. At dusk it sinks and leans to the right. Let somebody find a setting where the cascade stands to the right of the large network alone: there it loses. And one where it is right more often than the large one: two networks that err on other pictures.

# %% [markdown] tags=["slide", "break-it"]
# ## Break it
#
# Three colleagues have built the same cascade, with our threshold. Each made one mistake, and no line of code complained.

# %% tags=["hide-input"]
raw = np.concatenate(
    [large.backend.model(X[i : i + 24].astype(np.float32)) for i in range(0, len(X), 24)]
)
theirs = {
    "ours": (p, q),
    "ash": (p, np.roll(q, 1, axis=1)),
    "beech": (Temper(0.1)(p), q),
    "cherry": (p, raw),
}


# %% tags=["hide-input"]
def symptoms(p, q):
    answers, up = in_doubt(p, q, threshold)
    right, asked = answers == y, q[up].max(axis=1)
    cells = [up.mean(), right.mean(), right[~up].mean(), right[up].mean(), asked.mean()]
    return " | ".join(f"{cell:.2f}" for cell in cells)


heads = "| | go up | right | of those that stay | of those that go up | large one sure |"
lines = [heads, "|---" * 6 + "|"]
lines += [f"| {name} | {symptoms(*said)} |" for name, said in theirs.items()]

# %% tags=["hide-input", "fragment"]
Markdown("\n".join(lines))

# %% [markdown] tags=["subslide"]
# Name the mistake of each: `"labels shifted"` (the large one's list of names begins one later), `"too sure to ask"` (the small one's probabilities were sharpened) or `"not divided by 255"` (for the large one alone).

# %%
suspicion = {"ash": ..., "beech": ..., "cherry": ...}

# %% tags=["hide-input"]
mistakes = {
    "ash": ("labels shifted", "as sure as ours when it is asked, and hardly ever right"),
    "beech": ("too sure to ask", "the large one is fine; how often is it asked?"),
    "cherry": ("not divided by 255", "how sure is the large one of pictures that are hard?"),
}
for name, (mistake, hint) in mistakes.items():
    told = suspicion[name]
    course.check(f"the mistake of {name}", told if told is ... else told == mistake, hint)

# %% [markdown] tags=["notes"]
# Four minutes. All three look well in the mean, for most pictures never go up: that is what makes a cascade hard to watch. What finds each on the first day? Judge the two parts by themselves: the share right of those that stay, and of those that go up.

# %% [markdown] tags=["slide", "summary"]
# ## Summary
#
# - Multiplications are not time. Draw accuracy against measured time, with intervals, and drop only what is beaten for certain; pair by pair tells more than bars side by side.
# - A cascade or an exit spends time where it is needed: small plus share times large. The share belongs to the pictures, and the deadline to the p99.
# - The best of many is partly lucky. Choose on some pictures, and judge on others.
#
# [Three exercises](exercises/12_accuracy_against_speed.ipynb) wait: a cascade of three, how many pictures it takes to tell two networks apart, and a cascade that is too good to be true. The ledger keeps your rows; lesson 22 ships from it. Lesson 13: pictures as they come.

# %% [markdown] tags=["slide", "quiz"]
# ## Quiz

# %% tags=["hide-input"]
course.quiz(
    {
        "question": "α = 0.5 halves all channels. What becomes of the mixing layers' work?",
        "options": {
            "Half": "That is what becomes of the filters channel by channel.",
            "A quarter": "Half of the channels go in, and half come out.",
            "An eighth": "The places of the map stay as they are.",
        },
        "answer": "A quarter",
    }
)

# %% tags=["fragment", "hide-input"]
course.quiz(
    {
        "question": "Small takes 20 µs, large 100. A cascade sends a tenth up. Its mean, its p99?",
        "options": {
            "28 and 100 µs": "Who goes up has paid for the small one, too.",
            "30 and 120 µs": "20 + 0.1 · 100; and the slow ones take both.",
            "20 and 120 µs": "20 µs is its median. The bill is the mean.",
        },
        "answer": "30 and 120 µs",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "With those two: from which share on is the large one alone better?",
        "options": {
            "80 %": "20 + 0.8 · 100 is 100.",
            "50 %": "Then the cascade takes 70 µs.",
            "Never, a cascade saves work": "Above 80 % it does all the work, and more.",
        },
        "answer": "80 %",
    }
)

# %% tags=["fragment", "hide-input"]
course.quiz(
    {
        "question": "97.9 and 98.5 %, on the same pictures; the intervals overlap. So?",
        "options": {
            "They are equal": "Nobody has shown that.",
            "Count the pictures on which they differ": "Pairs cancel what is hard for both.",
            "The second is better": "By seven pictures. Would a coin do that?",
        },
        "answer": "Count the pictures on which they differ",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "Of 15 networks you keep the best on the test pictures. Its accuracy ...",
        "options": {
            "is what the test says": "It was chosen because the test flattered it.",
            "is lower than the test says": "In the mean. Other pictures would tell.",
            "cannot be known": "It can: ask it pictures that chose nothing.",
        },
        "answer": "is lower than the test says",
    }
)

# %% [markdown] tags=["skip", "sources"]
# ## Sources
#
# - Width: A. G. Howard et al., *MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications*, 2017.
# - Teacher and student: G. Hinton, O. Vinyals and J. Dean, *Distilling the Knowledge in a Neural Network*, 2015.
# - Cascade: P. Viola and M. Jones, *Rapid Object Detection using a Boosted Cascade of Simple Features*, CVPR 2001.
# - Early exit: S. Teerapittayanon, B. McDanel and H. T. Kung, *BranchyNet: Fast Inference via Early Exiting from Deep Neural Networks*, ICPR 2016.
# - The front: V. Pareto, *Manuale di economia politica*, 1906.
# - Pairs: Q. McNemar, *Note on the Sampling Error of the Difference between Correlated Proportions or Percentages*, Psychometrika 12, 1947; B. Efron, *Bootstrap Methods: Another Look at the Jackknife*, Annals of Statistics 7, 1979.
# - Operations for each byte: S. Williams, A. Waterman and D. Patterson, *Roofline*, Communications of the ACM 52, 2009.

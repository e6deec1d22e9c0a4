# %% [markdown] tags=["slide", "title"]
# # Uncertainty at serving speed
#
# **Can a model say "one of these two, and I am right nine times in ten", in less than a millisecond?**

# %%
import numpy as np

from inferkit.datasets import make_signs
from inferkit.predictor import sign_reader

reader = sign_reader("signs-small-1")  # a small network that saw 1,500 pictures at school
names = np.array(reader.labels)
fresh, truth = make_signs(4800, random_state=62)  # pictures that it has never seen
p = reader.predict_proba(fresh).astype(float)
sure = p.max(axis=1)
print(f"{names[p[0].argmax()]}, it says, and is {sure[0]:.0%} sure")

# %% tags=["subslide"]
import matplotlib.pyplot as plt

from inferkit.plots import COLOURS, label_lines, show, slide_size, use_style

use_style()
nine_in_ten = np.flatnonzero((sure > 0.85) & (sure < 0.95))
fig, axes = plt.subplots(1, 5, figsize=slide_size(height=0.55))
for ax, i in zip(axes, nine_in_ten[:5]):
    ax.imshow(fresh[i])
    ax.set(xticks=[], yticks=[], title=names[p[i].argmax()], xlabel=f"{sure[i]:.0%} sure")
show(fig, alt="Five small, blurred street signs; above each stands what the model reads.")

# %% [markdown] tags=["skip"]
# The first five pictures of which it is some 90 % sure. Look at them: on how many would you disagree? Nobody told the model to be honest. It was told to be right on
# 1,500 pictures, and it is, on all of them.

# %% [markdown] tags=["notes"]
# Two minutes. Ask what "90 % sure" would have to mean if it means anything. (Of 100 such answers 90 are right.) Do not say yet how many are.

# %% [markdown] tags=["slide", "objectives"]
# ## You will be able to
#
# - count how often a model that says 90 % is right, and mend that with one number;
# - give an answer as a set, with a promise, by believing the model and by counting;
# - build four kinds of doubt: an ensemble, dropout, a Bayesian last layer, a conformal set;
# - say what each costs in microseconds, and which part of it repeats work for nothing;
# - name the two things that break every promise: other pictures, and the wrong group.
#
# 35 minutes to teach, 30 minutes to practise.
#
# **Needs** lesson 03: latency, the ledger. Lesson 04 helps: a posterior.

# %% [markdown] tags=["slide", "predict"]
# ## What do you expect?

# %%
from inferkit import course

guessed = course.guess(
    "Of the answers that it gives with 90 % (85 to 95), how many are right?",
    low=0,
    high=100,
    unit="%",
    log=False,
)
guessed

# %% [markdown] tags=["notes"]
# One minute. Ask for hands: over 90, about 90, below 80. The figure soon shows each guess as a diamond.

# %% [markdown] tags=["slide", "by-hand"]
# ## By hand: how often is it right?
#
# Sort the answers into bins by how sure they are, and count.

# %%
from itertools import pairwise

from IPython.display import Markdown

right = p.argmax(axis=1) == truth
edges = [0, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
rows, gap = ["| it says | answers | sure | right |", "|---|---|---|---|"], 0
for low, high in pairwise(edges):
    here = (sure > low) & (sure <= high)
    gap += abs((sure[here] - right[here]).sum()) / len(p)
    text = f"| {low:.0%} to {high:.0%} | {here.sum()} "
    rows.append(f"{text}| {sure[here].mean():.3f} | {right[here].mean():.3f} |")
Markdown("\n".join(rows))

# %% tags=["subslide"]
said_90 = (sure > 0.85) & (sure < 0.95)
guessed.beside(round(100 * right[said_90].mean(), 1))

# %% [markdown] tags=["fragment"]
# The mean gap between "sure" and "right" is the **expected calibration error**, ECE. A small sample shows one by chance; the library says how large that would be.

# %%
from inferkit.uncertainty import calibration_error

print(f"sure {sure.mean():.3f}, right {right.mean():.3f}")
ten = calibration_error(truth, p, n_bins=10)
print(f"ECE {ten.value:.3f}; by chance {ten.reference:.3f}; beyond chance: {ten.beyond_chance}")
print("by hand, with the bins below 50 % in one, nearly the same:", abs(gap - ten.value) < 0.01)

# %% [markdown] tags=["notes"]
# Four minutes. Ask which row is worst. Why are there so many in the last one? (The network has learned its 1,500 pictures by heart, and training pays for being surer still.)

# %% [markdown] tags=["slide"]
# ## One number mends it
#
# Take other pictures, 1,200 with known answers. Raise all probabilities to the power 1/T and share them out anew: a large **temperature** T makes every answer less sure, and changes none.

# %%
known, known_y = make_signs(1200, random_state=61)
p_known = reader.predict_proba(known).astype(float)


def tempered(p, T):
    q = np.maximum(p, 1e-9) ** (1 / T)
    return q / q.sum(axis=1, keepdims=True)


def loss(p, y):  # how little probability the truth got
    return -np.log(p[np.arange(len(y)), y]).mean()


T = min(np.arange(0.5, 3, 0.01), key=lambda T: loss(tempered(p_known, T), known_y))

# %% tags=["fragment"]
from inferkit.uncertainty import TemperatureScaler

scaled = TemperatureScaler(reader, name="temperature").fit(known, names[known_y])
p_scaled = tempered(p, T)
same = np.allclose(scaled.predict_proba(fresh), p_scaled, atol=0.01)
print(f"T = {T:.2f}; by hand and by library the same probabilities: {same}")
print(f"ECE on fresh pictures: {calibration_error(truth, p_scaled, n_bins=10).value:.3f}")

# %% tags=["subslide"]
from inferkit.uncertainty import reliability_diagram

fig = reliability_diagram(truth, {"as trained": p, "temperature": p_scaled})
if guessed.value is not None:
    fig.axes[0].plot(0.9, guessed.value / 100, "D", ms=13, color=COLOURS["pink"])
    place = {"xytext": (-110, -5), "textcoords": "offset points"}
    fig.axes[0].annotate("your guess", (0.9, guessed.value / 100), **place)
show(fig, alt="As trained the model is right less often than it says; with a temperature as often.")

# %% [markdown] tags=["notes"]
# Four minutes. The temperature is the cheapest repair there is: one number. Ask what it cannot do: it changes no answer, and treats all pictures alike.

# %% [markdown] tags=["slide"]
# ## From probabilities to a set
#
# Answer with every sign that has at least a probability t. Where do we put t, if nine sets in ten shall hold the truth? First way: **believe** the model. Lower t
# until the probabilities inside add up to 90 % of all.


# %%
def believed(p, asked=0.9):
    inside = np.sort(p.ravel())[::-1]
    return inside[np.searchsorted(inside.cumsum(), asked * len(p))]


def judged(sets, y):
    return sets[np.arange(len(y)), y].mean(), sets.sum(axis=1).mean()


pairs = {"as trained": (p_known, p), "temperature": (tempered(p_known, T), p_scaled)}
for name, (known_p, fresh_p) in pairs.items():
    kept, size = judged(fresh_p >= believed(known_p), truth)
    print(f"{name:12} promised 0.90, kept {kept:.3f}, with {size:.2f} signs in a set")

# %% [markdown] tags=["subslide"]
# Second way: **count**. Look up what the true sign got on the 1,200 known pictures, and set t so that nine in ten got at least that. The set is then called **conformal**.


# %%
def counted(p, y, asked=0.9):
    of_the_true = np.sort(p[np.arange(len(y)), y])[::-1]
    return of_the_true[int(np.ceil((len(y) + 1) * asked)) - 1]


t = counted(p_known, known_y)
kept, size = judged(p >= t, truth)
print(f"signs with at least {t:.3f}: promised 0.90, kept {kept:.3f}, {size:.2f} signs in a set")

# %% tags=["fragment"]
from inferkit.uncertainty import ConformalPredictor

conformal = ConformalPredictor(reader, name="conformal").fit(known, names[known_y])
print("the library's sets are ours:", np.array_equal(conformal.predict_set(fresh), p >= t))
print(conformal.evaluate(fresh, names[truth]))
i = np.flatnonzero((p >= t).sum(axis=1) == 2)[0]
print(f"picture {i}:", " or ".join(names[p[i] >= t]), "| the truth:", names[truth[i]])

# %% [markdown] tags=["skip"]
# The model is as over-sure as before. Counting does not mend it; it takes a ruler that is wrong, and marks on it where nine in ten lie. That works for any model, on one
# condition: the pictures to come are like those that were counted. A set may be empty: then no sign is likely enough.

# %% [markdown] tags=["notes"]
# Five minutes. Ask before running: will "as trained" keep more than 0.90 or less? Over-sure means: it believes that it needs fewer signs. Say that the two ways
# differ in nothing but t, and that only the second needs the answers to the 1,200 pictures.

# %% [markdown] tags=["slide"]
# ## Ask five networks
#
# Same layout, same 1,500 pictures, other first weights. An **ensemble** answers with the mean of their probabilities.

# %%
from inferkit.uncertainty import DeepEnsemble

members = [sign_reader(f"signs-small-{k}") for k in range(1, 6)]
each = np.stack([member.predict_proba(fresh) for member in members])
p_five = each.mean(axis=0)
ensemble = DeepEnsemble(members, name="ensemble of 5")
print("the library's mean is ours:", np.allclose(ensemble.predict_proba(fresh), p_five, atol=1e-6))
alone = (each.argmax(axis=2) == truth).mean(), each.max(axis=2).mean()
print("one of them: right {:.3f}, sure {:.3f}".format(*alone))
right_five, sure_five = (p_five.argmax(axis=1) == truth).mean(), p_five.max(axis=1).mean()
print(f"together:    right {right_five:.3f}, sure {sure_five:.3f}")

# %%
known_five = ensemble.predict_proba(known)
for name, limit in (("believed", believed(known_five)), ("counted", counted(known_five, known_y))):
    kept, size = judged(p_five >= limit, truth)
    print(f"{name:9} t {limit:.2f}: promised 0.90, kept {kept:.3f}, {size:.2f} signs in a set")

# %% [markdown] tags=["skip"]
# Surprise: the ensemble is **not sure enough**. Each member is over-sure, but about other signs, and their mean is pulled down where they disagree. Here that is more
# than it should be. It keeps more than it promised, with sets that are larger than needed. Counted, its sets are the smallest that keep the promise: it is right most often.

# %% [markdown] tags=["notes"]
# Four minutes. "Ensembles are calibrated" stands in many places. Ask what decides it: how over-sure the members are, and how much they disagree. Two errors can cancel;
# here the second is larger.

# %% [markdown] tags=["slide"]
# ## Ask a forgetful network
#
# At school **dropout** switched off one number in ten, at random, in the last two layers. Leave it on, ask 30 times, take the mean. What comes before these layers is the same
# each time: we cut the network there.

# %%
import keras

from inferkit.models import LiteRTModel, load_reference, to_litert

network = load_reference("signs-small-1", format="keras")
flat = next(layer for layer in network.layers if layer.name.startswith("flatten"))
trunk = LiteRTModel(to_litert(keras.Model(network.input, flat.output)))
dense = [layer for layer in network.layers if isinstance(layer, keras.layers.Dense)]
(W1, b1), (W2, b2) = (layer.get_weights() for layer in dense)


# %% tags=["subslide"]
def softmax(scores):
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def end(h, forget=lambda h: h):  # what comes after the cut
    features = np.maximum(0, forget(h) @ W1 + b1)
    return softmax(forget(features) @ W2 + b2)


def through_trunk(X):  # in parts, to spare memory
    return np.concatenate([trunk(X[i : i + 600] / np.float32(255)) for i in range(0, len(X), 600)])


h, h_known = through_trunk(fresh), through_trunk(known)
print("trunk and end together are the network:", np.allclose(end(h), p, atol=1e-5))


# %% tags=["subslide"]
def forgetful(h, n=30):
    rng = np.random.default_rng(0)

    def forget(x):  # one number in ten becomes 0; the others grow, so that the sum stays
        return x * (rng.random(x.shape) > 0.1) / 0.9

    return np.mean([end(h, forget) for _ in range(n)], axis=0)


p_dropout, known_dropout = forgetful(h), forgetful(h_known)
kept, size = judged(p_dropout >= believed(known_dropout), truth)
print(f"sure {p_dropout.max(axis=1).mean():.3f}; promised 0.90, kept {kept:.3f}, {size:.2f} signs")

# %% [markdown] tags=["fragment"]
# The library's `MCDropout` needs no cut, takes any Keras model, and asks the whole of it 30 times. Its means scatter around ours as 30 passes do.

# %%
from inferkit.predictor import Predictor
from inferkit.uncertainty import MCDropout

keras_reader = Predictor(
    network, preprocess=reader.preprocess, signature=reader.signature.input, labels=names
)
dropout = MCDropout(keras_reader, n=30, name="dropout, Keras")
p_keras = dropout.predict_proba(fresh[:200])
gaps = p_keras - p_dropout[:200]
differ = (p_keras.argmax(1) != p_dropout[:200].argmax(1)).mean()
print("means of 30 passes differ by less than 0.02 on average:", np.abs(gaps).mean() < 0.02)
print("answers that differ: fewer than 1 in 20:", differ < 0.05)

# %% [markdown] tags=["notes"]
# Four minutes. Ask what is random here and what is not. With a fixed seed the answer is the same twice. Why is the whole network asked 30 times where two layers would do?
# Because a library cannot know where the dropout is; you do.

# %% [markdown] tags=["slide"]
# ## Doubt the last layer
#
# The network boils a picture down to 24 numbers. From these to the signs lead 24 × 12 weights and 12 intercepts. Dropout shakes them; **Bayes** asks which of them
# fit the 1,200 known pictures, and how well. As a model in PyMC:

# %%
import warnings

import pymc as pm

warnings.filterwarnings("ignore", "PyTensor could not link")  # a library that it does without
features, known_features = (np.maximum(0, part @ W1 + b1) for part in (h, h_known))
centre, spread = known_features.mean(axis=0), np.maximum(known_features.std(axis=0), 0.1)
Z, Z_known = ((part - centre) / spread for part in (features, known_features))
with pm.Model() as last_layer:
    rows = pm.Data("rows", Z_known)
    intercept = pm.Normal("intercept", 0, 1, shape=12)
    coef = pm.Normal("coef", 0, 1, shape=(24, 12))
    probability = pm.Deterministic("probability", pm.math.softmax(intercept + rows @ coef, axis=1))
    pm.Categorical("sign", p=probability, observed=known_y)

# %% [markdown] tags=["subslide"]
# PyMC's **ADVI** looks for the normal distribution that is nearest to the posterior: 300 means, 300 standard deviations. By hand: at a random draw, follow the slope of the log
# posterior; its curvature says how narrow the normal is.


# %%
def nearest_normal(prior=1.0, steps=2000, rate=0.05):
    A, Y = np.column_stack([np.ones(1200), Z_known]), np.eye(12)[known_y]
    mean, sharp, path, rng = np.zeros((25, 12)), np.ones((25, 12)), [], np.random.default_rng(0)
    for _ in range(steps):
        W = mean + rng.normal(size=mean.shape) / np.sqrt(sharp)
        P = softmax(A @ W)
        sharp = sharp + rate * ((A**2).T @ (P * (1 - P)) + 1 / prior**2 - sharp)
        mean = mean + rate * (A.T @ (Y - P) - W / prior**2) / sharp
        path.append((mean, sharp))
    mean, sharp = np.mean(path[steps // 2 :], axis=0)  # it jitters around its goal
    return mean, 1 / np.sqrt(sharp)


# %% tags=["skip"]
ask_pymc = False  # True: ask PyMC's own ADVI as well; it takes a while, and it warns
mean, sd = nearest_normal()
if ask_pymc:
    from inferkit.bayes import sample

    found = sample(last_layer, method="advi", draws=2000, steps=20_000, random_state=1)
    away = (found["posterior"]["coef"].values[0].mean(axis=0) - mean[1:]) / sd[1:]
    print(f"PyMC's means and ours differ by {np.abs(away).mean():.2f} sd on average")
print(f"of the 288 weights the mean sd is {sd[1:].mean():.2f}; the prior's was 1")

# %% tags=["subslide"]
rows = ["| prior sd | kept by the means | kept with doubt | signs |", "|---|---|---|---|"]
for prior in (0.5, 1.0, 3.0):
    mean, sd = nearest_normal(prior)
    W = mean + sd * np.random.default_rng(1).normal(size=(200, 25, 12))
    kept = []
    for some in (mean[None], W):
        q, q_known = (np.mean([softmax(z @ w[1:] + w[0]) for w in some], 0) for z in (Z, Z_known))
        kept += judged(q >= believed(q_known), truth)
    rows.append(f"| {prior} | {kept[0]:.3f} | {kept[2]:.3f} | {kept[3]:.2f} |")
Markdown("\n".join(rows))

# %% [markdown] tags=["skip"]
# In every row doubt makes the sets larger: 300 numbers that were learned from 1,200 pictures are not known well, and their means alone hide it. But the prior decides as much. If it
# is too narrow, sets are larger than they need be; if it is too wide, the promise breaks. We go on with 1. That it does well here is seen in this
# table, and the table took 4,800 pictures with known signs: that was counting, not believing.

# %% [markdown] tags=["subslide"]
# **Compiled**: a thousand draws of the weights, as plain arrays. Each draw answers, the answers are averaged; no PyMC is needed to serve it. Does PyMC say the same?

# %%
from inferkit.bayes import CompiledPosterior

mean, sd = nearest_normal()
W = mean + sd * np.random.default_rng(1).normal(size=(1000, 25, 12))
weights = {"intercept": W[:, 0], "coef": W[:, 1:]}
posterior = CompiledPosterior("categorical", weights, mean=centre, scale=spread, classes=names)
p_bayes, known_bayes = posterior(features), posterior(known_features)
kept, size = judged(p_bayes >= believed(known_bayes), truth)
print(f"promised 0.90, kept {kept:.3f}, {size:.2f} signs in a set")

# %% tags=["skip"]
import xarray  # PyMC takes draws so

draws = {"intercept": (("chain", "draw", "k"), W[None, :, 0])}
draws = xarray.Dataset(draws | {"coef": (("chain", "draw", "j", "k"), W[None, :, 1:])})


# %% tags=["fragment"]
def by_pymc(features):
    with last_layer:
        pm.set_data({"rows": (features - centre) / spread})
        told = pm.compute_deterministics(draws, var_names=["probability"], progressbar=False)
    return told["probability"].values[0]


five = features[:5]
print("PyMC's draws are ours:", np.allclose(by_pymc(five), posterior.predict_draws(five)))

# %% [markdown] tags=["notes"]
# Seven minutes; the longest part. Without Bayesian background: show the table of priors, then the compiled posterior. The loop is a natural gradient; its goal is the same as ADVI's.
# It knows no correlation between weights, and `sample(..., method="advi")` of the library warns of that. `ask_pymc = True` lets PyMC search.

# %% [markdown] tags=["slide", "measure"]
# ## Measure: eight ways to one answer


# %% tags=["skip"]
def from_trunk(make):  # the trunk once, then whatever comes after it
    takes, scale = reader.signature.input, reader.preprocess
    return Predictor(lambda X: make(trunk(X)), preprocess=scale, signature=takes, labels=names)


def bayes(h):
    return posterior(np.maximum(0, h @ W1 + b1))


# %% tags=["skip"]
answers = {
    "one network": reader,
    "temperature": scaled,
    "conformal": conformal.with_set(),
    "ensemble of 5": ensemble,
    "ensemble, conformal": ConformalPredictor(ensemble).fit(known, names[known_y]).with_set(),
    "dropout, cut": from_trunk(forgetful),
    "dropout, Keras": dropout,
    "Bayes, compiled": from_trunk(bayes),
}


# %% tags=["skip"]
from inferkit.benchmark import Ledger, compare


def share_right(y, said):
    return np.mean((said["label"] if isinstance(said, dict) else said) == y)


ledger, few = Ledger.open(), slice(600)
options = {"n": 100, "rounds": 10, "metric": share_right, "ledger": ledger}

# %% tags=["measured", "fragment"]
found = compare(answers, fresh[few], names[truth[few]], **options)
found

# %% tags=["measured", "skip"]
from time import perf_counter

by_pymc(features[:1])  # it compiles at the first call
start = perf_counter()
by_pymc(features[:1])
us = {row.name: 1000 * row.p50_ms for row in found} | {
    "Bayes, PyMC": 1e6 * (perf_counter() - start)
}
print(f"PyMC, one answer from the same 1,000 draws: {us['Bayes, PyMC'] / 1000:.0f} ms")

# %% tags=["skip"]
compiled, cut = us["Bayes, compiled"], us["dropout, cut"]
print(
    "PyMC takes over ten times as long as its compiled posterior:",
    us["Bayes, PyMC"] > 10 * compiled,
)
print("Keras' dropout takes over five times as long as ours, cut:", us["dropout, Keras"] > 5 * cut)
print("conformal: less than a millisecond:", us["conformal"] < 1000)

# %% [markdown] tags=["notes"]
# Three minutes. They answer in turns; each gives twelve probabilities, and a set costs one comparison more. Before the table appears, ask for the order. The ensemble is five networks, one after the other, with five doors to check what comes in.

# %% [markdown] tags=["slide", "figure"]
# ## What was promised, what was kept, what it costs

# %% tags=["skip"]
believing = {
    "one network": (p_known, p),
    "temperature": (tempered(p_known, T), p_scaled),
    "ensemble of 5": (known_five, p_five),
    "dropout, cut": (known_dropout, p_dropout),
    "dropout, Keras": (known_dropout, p_dropout),
    "Bayes, compiled": (known_bayes, p_bayes),
    "Bayes, PyMC": (known_bayes, p_bayes),
}

# %% tags=["skip"]
results = {name: judged(q >= believed(q_known), truth) for name, (q_known, q) in believing.items()}
results["conformal"] = judged(p >= t, truth)
results["ensemble, conformal"] = judged(p_five >= counted(known_five, known_y), truth)


# %% tags=["skip"]
def apart(places, gap):
    right, left = np.array(places), np.array(places)
    for i in range(1, len(places)):  # pushed to the right, pushed to the left: halfway between
        right[i] = max(right[i], right[i - 1] + gap)
        left[-1 - i] = min(left[-1 - i], left[-i] - gap)
    return (right + left) / 2


# %% tags=["skip"]
def draw_way(ax, name, us, kept, size, place):
    colour = COLOURS["green" if abs(kept - 0.9) <= 0.02 else "orange"]
    half = 1.96 * np.sqrt(kept * (1 - kept) / len(truth))
    ax.errorbar(us, kept, half, fmt="s" if "conformal" in name else "o", ms=11, color=colour)
    line = {"arrowprops": {"arrowstyle": "-", "color": colour}, "ha": "center", "va": "center"}
    line["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    words = name.replace(", ", ",\n") + f"\n{size:.2f} signs"
    ax.annotate(words, (us, kept), place, color=colour, **line)


# %% tags=["skip"]
def coverage_figure(us, results, xlim):
    fig, ax = plt.subplots(figsize=slide_size(height=0.95))
    ax.set(xscale="log", xlim=xlim, ylim=(0.8, 1), ylabel="sets that hold the truth")
    ax.axhline(0.9, color="black", lw=1.5, ls="--")
    ax.axvline(1000, color="0.6", ls=":")
    lanes = {0.813: (0, 0.87), 0.855: (0.87, 0.9), 0.942: (0.9, 0.95), 0.987: (0.95, 1.1)}
    for height, (low, high) in lanes.items():
        here = sorted((name for name in results if low <= results[name][0] < high), key=us.get)
        logs = apart([np.log(us[name]) for name in here], 0.125 * np.log(xlim[1] / xlim[0]))
        for name, log in zip(here, logs):
            draw_way(ax, name, us[name], *results[name], (np.exp(log), height))
    return fig


# %% tags=["skip"]
def with_ticks(fig):
    (ax,) = fig.axes
    ax.set_xticks([1e1, 1e2, 1e3, 1e4, 1e5], ["10 µs", "100 µs", "1 ms", "10 ms", "100 ms"])
    ax.set_yticks([0.8, 0.85, 0.9, 0.95, 1], ["80 %", "85 %", "promised", "95 %", "100 %"])
    ax.set_xlabel("one answer, p50 (squares: counted, dots: believed)")
    return fig


# %% tags=["measured", "fragment"]
ends = min(us.values()) / 7, 5 * max(us.values())
fig = with_ticks(coverage_figure(us, results, ends))
show(fig, alt="The plain network keeps 84 in 100, the ensemble 96, the rest about 90.")

# %% tags=["skip"]
over, under = results["ensemble of 5"][0] - 0.9, 0.9 - results["one network"][0]
print("kept over 4 in 100 too much and too little:", over > 0.04, under > 0.04)
rows = ["| | promised | kept | signs in a set |", "|---|---|---|---|"]
rows += [f"| {name} | 0.90 | {kept:.3f} | {size:.2f} |" for name, (kept, size) in results.items()]
Markdown("\n".join(rows))

# %% [markdown] tags=["notes"]
# Four minutes. The bars are 95 % intervals for these sets on 4,800 pictures. Ask: which would you ship, and what if you had no labelled pictures besides those at school? (Then only dropout
# and the ensemble are left, and you would not know which way they err.)

# %% [markdown] tags=["slide", "why"]
# ## Where does the time go?
#
# Nearly all multiplications stand before the cut, in the convolutions. What matters is how often they are repeated; and how many draws an average needs.

# %%
import math

convolutions = [layer for layer in network.layers if layer.name.startswith("conv")]
work = sum(math.prod(c.output.shape[1:3]) * math.prod(c.kernel.shape) for c in convolutions)
print(f"multiplications before the cut: {work:,}; after it: {W1.size + W2.size:,}")

# %% tags=["measured", "fragment"]
from inferkit.benchmark import measure_latency

parts = {
    "the trunk": (trunk, fresh[:100] / np.float32(255)),
    "the end, once": (end, h[:100]),
    "the end, 30 times": (forgetful, h[:100]),
    "the last layer, 1,000 draws": (posterior, features[:100]),
}
alone = {name: 1000 * measure_latency(*part, n=200).p50_ms for name, part in parts.items()}
print(*(f"{name}: {time:.0f} µs" for name, time in alone.items()), sep="\n")

# %% tags=["skip"]
times = alone["the trunk"] / alone["the end, once"]
print("the trunk multiplies over 200 times as much:", work > 200 * (W1.size + W2.size))
print("and takes less than 50 times as long:", times < 50)

# %% tags=["skip"]
rows = ["| draws | farthest from the mean of 1,000 | kept |", "|---|---|---|"]
for n in (10, 100, 1000):
    draws_n = {name: values[:n] for name, values in posterior.draws.items()}
    few_draws = CompiledPosterior("categorical", draws_n, mean=centre, scale=spread)
    q, q_known = few_draws(features), few_draws(known_features)
    kept, _ = judged(q >= believed(q_known), truth)
    rows.append(f"| {n:,} | {np.abs(q - p_bayes).max():.3f} | {kept:.3f} |")
Markdown("\n".join(rows))

# %% [markdown] tags=["skip"]
# The end costs few multiplications, but each call of NumPy has its price, 30 times over; the thousand draws are one large product, and cheaper than 30 small ones. Ten draws keep
# the promise as well, in the mean over all pictures; for one picture the probability of a sign may be far off.

# %% [markdown] tags=["subslide"]
# ## Why does counting work?
#
# Put the 1,200 known pictures and one new one in order, by what their true sign got. If all come from one street, the new one is equally likely to take each of the
# 1,201 places. So it lies among the upper 1,081 with a probability of at least 0.9. Nothing was said about the model. Try it with scores that are plain noise:

# %%
rng = np.random.default_rng(4)
kept = {}
for n in (20, 200, 1200):
    old, new = rng.random((2000, n)), rng.random((2000, 500))  # 2,000 people count and try
    limits = -np.sort(-old, axis=1)[:, int(np.ceil((n + 1) * 0.9)) - 1]
    kept[n] = (new >= limits[:, None]).mean(axis=1)
    ends = "{:.2f} to {:.2f}".format(*np.quantile(kept[n], [0.05, 0.95]))
    print(f"{n:5,} known: kept {kept[n].mean():.3f} in the mean; nine people in ten {ends}")

# %% [markdown] tags=["skip"]
# The promise holds in the mean over those who count. Whoever counts on 20 pictures may be unlucky and keep 80 %. The other ways promise by a model of doubt: they hold if that model is right.

# %% [markdown] tags=["notes"]
# Five minutes. "Equally likely to take each place" is called exchangeability. Let somebody say what breaks it: evening, another camera, another town. That is the next slide.

# %% [markdown] tags=["slide"]
# ## Evening comes
#
# The light fades, and nobody counts again. Every t stays where it is. Who keeps the promise?

# %%
evening, its_signs = fresh[:1200], truth[:1200]
rules = {name: believed(q_known) for name, (q_known, _) in believing.items()}
rules |= {"conformal": t, "ensemble, conformal": counted(known_five, known_y)}


def probabilities(X):
    one, five, h = reader.predict_proba(X), ensemble.predict_proba(X), through_trunk(X)
    found = {"one network": one, "temperature": tempered(one, T), "conformal": one}
    found |= {"ensemble of 5": five, "ensemble, conformal": five}
    return found | {"dropout, cut": forgetful(h), "Bayes, compiled": bayes(h)}


# %% tags=["skip"]
lights = [1, 0.7, 0.5, 0.35, 0.25]
by_light = {name: [] for name in probabilities(evening[:1])}
for light in lights:
    for name, q in probabilities((light * evening).astype(np.uint8)).items():
        by_light[name].append(judged(q >= rules[name], its_signs)[0])

# %% tags=["skip"]
LOOKS = {"one network": "orange", "ensemble of 5": "green", "temperature": "black"}
LOOKS |= {"conformal": "orange", "ensemble, conformal": "green"}
LOOKS |= {"dropout, cut": "blue", "Bayes, compiled": "pink"}


def evening_figure(lights, by_light):
    fig, ax = plt.subplots(figsize=slide_size(height=0.9))
    for name, kept in by_light.items():
        style = "--s" if "conformal" in name else "-o"
        ax.plot(np.log2(lights), kept, style, color=COLOURS[LOOKS[name]], label=name)
    return fig


# %% tags=["subslide"]
fig = evening_figure(lights, by_light)
(ax,) = fig.axes
ax.axhline(0.9, color="black", lw=1.5, ls="--")
ax.set_xticks(np.log2(lights), [f"{light:.0%}" for light in lights])
ax.set(xlabel="light that is left", ylabel="sets that hold the truth", xlim=(0.05, -2.75))
label_lines(ax)
show(fig, alt="With less light every line falls below 0.9; the ensemble's is the last to do so.")

# %% tags=["skip"]
dark = {name: kept[-1] for name, kept in by_light.items()}
print("with a quarter of the light all break the promise:", max(dark.values()) < 0.88)
print("the most is kept by:", max(dark, key=dark.get))

# %% [markdown] tags=["notes"]
# Three minutes. The ensemble started with more than it owed, and has something to lose. No method knows that the street has changed: it must be watched (lesson 21).

# %% [markdown] tags=["slide"]
# ## Nine in ten of whom?
#
# 90 % of all pictures may be 98 % of one sign and 82 % of another. Count for each sign by itself, and give each its own t: the promise then holds for every sign. (Vovk calls it **Mondrian**.)

# %%
own_t = np.array([counted(p_known[known_y == k][:, [k]], np.zeros(100, int)) for k in range(12)])
rows = ["| sign | one t for all | its own t |", "|---|---|---|"]
share = {}
for k in np.argsort([(p >= t)[truth == k, k].mean() for k in range(12)]):
    share[names[k]] = (p >= t)[truth == k, k].mean(), (p >= own_t)[truth == k, k].mean()
shown = list(share)[:2] + list(share)[-2:]
rows += [f"| {name} | {share[name][0]:.3f} | {share[name][1]:.3f} |" for name in shown]
Markdown("\n".join(rows))

# %% tags=["skip"]
one, own = np.ptp(list(share.values()), axis=0)
print(f"from worst to best sign: {one:.2f} with one t, {own:.2f} with its own")
of_chance = [np.ptp(rng.binomial(400, rng.beta(91, 10, 12)) / 400) for _ in range(1000)]
print(f"what chance makes of 100 known and 400 new ones each: {np.mean(of_chance):.2f}")
print(f"signs in a set: {judged(p >= t, truth)[1]:.2f}, and {judged(p >= own_t, truth)[1]:.2f}")

# %% [markdown] tags=["notes"]
# Three minutes. A hundred known pictures of a sign leave its share uncertain by 3 in 100, so the last column is not all 0.90; what spread is left is what chance makes. The price is larger
# sets. Lesson 19 asks the same of people.

# %% [markdown] tags=["slide", "textbook"]
# ## When the textbook is wrong here

# %% tags=["skip"]
says = right[said_90].mean()
mended, gap_five = np.abs(p_scaled.max(axis=1) - 0.9) < 0.05, abs(right_five - sure_five)
twice = np.array_equal(posterior(features[:9]), posterior(features[:9]))
fast = [name for name, (kept, _) in results.items() if abs(kept - 0.9) <= 0.02 and us[name] < 1000]

# %% tags=["measured", "fragment"]
repeats = "both give those, and " + ("repeat them" if twice else "one differs the second time")
no, then = {True: "holds", False: "no"}, right[mended].mean()
word = f'{no[abs(says - 0.9) < 0.03]}: "90 %" was right {says:.0%} of the time'
five = f"{no[gap_five < 0.02]}: right {right_five:.0%}, sure {sure_five:.0%}"
said = {
    "A probability from a model can be taken at its word": f"{word}; with a temperature {then:.0%}",
    "Networks are deterministic, Bayesian models give probabilities": repeats,
    "Ensembles are calibrated": five,
    "Honest doubt is slow": f"{no[not fast]}: {len(fast)} ways kept 90 ± 2 % within a millisecond",
}
rows = [f"| {claim} | {verdict} |" for claim, verdict in said.items()]
Markdown("\n".join(["| they say | here |", "|---|---|", *rows]))

# %% tags=["skip"]
print("at its word: off by more than 5 in 100:", abs(says - 0.9) > 0.05)
print("the Bayesian answer is the same twice:", twice)
close = [name for name, (kept, _) in results.items() if abs(kept - 0.9) <= 0.02]
print("kept within 2 in 100 of the promise:", len(close), "of", len(results))

# %% [markdown] tags=["skip"]
# What is Bayesian about an answer is not that it is random. It is an average over all weights that the data allow, and an average is one number. And a network's softmax is a probability like any other: the
# question for both is whether it comes true as often as it says.

# %% [markdown] tags=["notes"]
# Three minutes. Read the second row slowly. "Deterministic or probabilistic" mixes two things: what is answered (a label or a distribution) and whether it repeats.

# %% [markdown] tags=["slide", "play"]
# ## Play
#
# Ask for more, or less. Try 84 %: what do the sets look like? Then 99 %: what does the last percent cost?

# %% tags=["skip"]
from inferkit.widgets import LiveFigure, curve, points, text

grid = np.linspace(0.5, 0.99, 50)
limits = {
    "believed": lambda asked: believed(p_known, asked),
    "counted": lambda asked: counted(p_known, known_y, asked),
}
shares = {way: [judged(p >= at(a), truth)[0] for a in grid] for way, at in limits.items()}
known_lines = [curve(grid, kept, label=way) for way, kept in shares.items()]


# %% tags=["skip"]
def ask(asked, way):
    limit = limits[way](asked)
    kept, size = judged(p >= limit, truth)
    promise = curve(grid, grid, label="promised", colour="black", dashed=True)
    parts = [promise, *known_lines, points(asked, kept, label="you")]
    parts += [text("kept", f"{kept:.1%}"), text("signs in a set", f"{size:.2f}")]
    for i in np.flatnonzero((p >= t).sum(axis=1) == 2)[:3]:
        inside = " or ".join(names[p[i] >= limit]) or "none"
        parts.append(text(f"a picture of {names[truth[i]]}", inside))
    return parts


# %% tags=["skip"]
looks = {
    "start": {"asked": 0.9},
    "labels": {"asked": "coverage asked for"},
    "alt": "Asked {asked}, kept {kept}. Counting runs on the promise, believing below it.",
    "xlabel": "asked for",
    "ylabel": "kept on fresh pictures",
    "xlim": (0.5, 1),
    "ylim": (0.45, 1),
    "height": 320,
}

# %% tags=["fragment"]
LiveFigure(ask, {"asked": (0.5, 0.99), "way": ["counted", "believed"]}, **looks)

# %% [markdown] tags=["notes"]
# Four minutes. At 84 % one sign is nearly always enough, for the model is right that often. Towards 99 % sets grow fast: the last errors are those where it was sure. Which α would a
# car want, and which one a photo album?

# %% [markdown] tags=["slide", "break-it"]
# ## Break it
#
# Three colleagues have counted for the same network, and all promise 90 %. Each made one mistake, and no line of code complained.

# %% tags=["hide-input"]
school, school_y = make_signs(1500, random_state=50)
p_school = reader.predict_proba(school)
counts = {
    "ash": (p_school, school_y),
    "hazel": (p_known, np.roll(known_y, 1)),
    "rowan": (reader.predict_proba((known * 0.4).astype(np.uint8)), known_y),
}

# %% tags=["hide-input", "fragment"]
heads = "| | counted | right there | sure there | t | kept on fresh | signs in a set |"
rows = [heads, "|---" * 7 + "|"]
for name, (q, q_y) in counts.items():
    limit = counted(q, q_y)
    cells = [(q.argmax(1) == q_y).mean(), q.max(1).mean(), limit, *judged(p >= limit, truth)]
    rows.append(" | ".join([f"| {name} | {len(q):,}", *(f"{cell:.3f}" for cell in cells)]) + " |")
Markdown("\n".join(rows))

# %% [markdown] tags=["subslide"]
# Name the mistake of each: `"counted at school"` (pictures that it learned from), `"counted at dusk"`, `"answers out of order"` or `"too few counted"`.

# %%
suspicion = {"ash": ..., "hazel": ..., "rowan": ...}

# %% tags=["hide-input"]
mistakes = {
    "ash": ("counted at school", "where is a model right on every picture?"),
    "hazel": ("answers out of order", "right one time in twelve is what a blind guess gets"),
    "rowan": ("counted at dusk", "less right and less sure than on fresh ones: what was harder?"),
}
for name, (mistake, hint) in mistakes.items():
    said = suspicion[name]
    course.check(f"the mistake of {name}", said if said is ... else said == mistake, hint)

# %% [markdown] tags=["notes"]
# Four minutes. The first is the common one, and the only one that promises too much. Symptom: t is near 1, and a third of the fresh
# pictures get no sign at all. Ask why the other two are costly as well: sets that hold nearly everything say nothing.

# %% [markdown] tags=["slide", "summary"]
# ## Summary
#
# - Count how often "90 %" is right before you use it. One temperature mends the mean; an ensemble can be wrong on the other side.
# - A set needs a limit. Believe the model, and the promise is as good as its doubt. Count on fresh, labelled pictures, and it holds for any model, for microseconds.
# - Doubt is slow only where work is repeated that never changes. And no method keeps its promise on another street.
#
# [Three exercises](exercises/06_uncertainty_at_serving_speed.ipynb) wait: sets by adding up, how many pictures to count, and a promise that is broken at night. The ledger keeps your rows. Lesson 07: a million rows at once.

# %% [markdown] tags=["slide", "quiz"]
# ## Quiz

# %% tags=["hide-input"]
course.quiz(
    {
        "question": "A model is right 85 % of the time and 92 % sure. What does a temperature do?",
        "options": {
            "It makes it right 92 %": "It changes no answer, so it is right as often as before.",
            "It makes it 85 % sure": "In the mean, yes: sure and right come together.",
            "It makes its sets smaller": "Less sure means larger sets, if it is believed.",
        },
        "answer": "It makes it 85 % sure",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "What must be true for counted sets to keep their promise?",
        "options": {
            "The model is calibrated": "No. They were right around an over-sure model.",
            "New pictures come as the counted ones": "That, and nothing else.",
            "There are 10,000 counted pictures": "Few make it uncertain, not wrong in the mean.",
        },
        "answer": "New pictures come as the counted ones",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "Five over-sure networks are averaged. The ensemble is ...",
        "options": {
            "over-sure": "It can be. Here it was the opposite.",
            "less sure than each; measure whether enough": "Disagreement pulls the mean down.",
            "calibrated": "Only if two errors happen to cancel.",
        },
        "answer": "less sure than each; measure whether enough",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "Why was dropout in NumPy so much faster than in Keras?",
        "options": {
            "NumPy multiplies faster": "Both call much the same routines.",
            "The part before the dropout was asked once": "And it is most of the work.",
            "It took fewer passes": "It took 30 as well.",
        },
        "answer": "The part before the dropout was asked once",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "90 % of all sets hold the truth. What of those for 'turn right'?",
        "options": {
            "90 %, too": "A promise about all is none about each.",
            "Unknown until they are counted": "Count by sign, or give each sign its own limit.",
            "More, as arrows are easy": "They were the hardest: they differ by a turn.",
        },
        "answer": "Unknown until they are counted",
    }
)

# %% [markdown] tags=["skip", "sources"]
# ## Sources
#
# - Calibration and temperature: C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, *On Calibration of Modern Neural Networks*, ICML 2017.
# - Ensembles: B. Lakshminarayanan, A. Pritzel and C. Blundell, *Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles*, NeurIPS 2017; why not sure enough: R. Rahaman and A. H. Thiery, *Uncertainty Quantification and Deep Ensembles*, NeurIPS 2021.
# - Dropout: Y. Gal and Z. Ghahramani, *Dropout as a Bayesian Approximation*, ICML 2016.
# - The nearest normal: A. Kucukelbir et al., *Automatic Differentiation Variational Inference*, JMLR 18, 2017; our loop: M. E. Khan et al., *Fast and Scalable Bayesian Deep Learning by Weight-Perturbation in Adam*, ICML 2018.
# - Conformal sets: V. Vovk, A. Gammerman and G. Shafer, *Algorithmic Learning in a Random World*, Springer 2005; M. Sadinle, J. Lei and L. Wasserman, *Least Ambiguous Set-Valued Classifiers with Bounded Error Levels*, JASA 114, 2019.
# - Under shift: Y. Ovadia et al., *Can You Trust Your Model's Uncertainty?*, NeurIPS 2019.

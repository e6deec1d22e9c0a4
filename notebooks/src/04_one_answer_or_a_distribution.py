# %% [markdown] tags=["slide", "title"]
# # One answer, or a distribution
#
# **Two patients get the same "70 %" from a model. Does it know both equally well?**

# %%
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from inferkit.datasets import load_tumours

X, benign = load_tumours(return_X_y=True)
X, sick = X[:, :2], 1 - benign  # mean radius and mean texture of the cells; 1: malignant
label = np.array(["benign", "malignant"])[sick]
order = np.random.default_rng(14).permutation(len(X))
archive, unseen = order[:40], order[400:]  # a small hospital's patients, and strangers
model = make_pipeline(StandardScaler(), LogisticRegression(C=2.5**2))
point = model.fit(X[archive], label[archive])

# %%
three = X[unseen[[151, 161, 95]]]  # none of them is in the archive
told = point.predict_proba(three)[:, 1]
print("malignant?", *(f"{name}: {p:.0%}" for name, p in zip("ABC", told)))

# %% tags=["skip"]
import matplotlib.pyplot as plt

from inferkit.plots import COLOURS, show, slide_size, use_style

use_style()
radius, texture = np.meshgrid(np.linspace(8, 27, 77), np.linspace(8, 36, 57))
everywhere = np.column_stack([radius.ravel(), texture.ravel()])
KINDS = {"benign": (0, "o", "blue", (9, 13)), "malignant": (1, "^", "orange", (19, 30))}


# %% tags=["skip"]
def map_figure(values, levels, fmt):
    fig, ax = plt.subplots(figsize=slide_size(height=0.84))
    for kind, (code, mark, colour, place) in KINDS.items():
        ax.plot(*X[archive][sick[archive] == code].T, mark, ms=9, color=COLOURS[colour])
        ax.annotate(kind, place, color=COLOURS[colour], weight="bold")
    lines = ax.contour(radius, texture, values.reshape(radius.shape), levels=levels, colors="0.45")
    ax.clabel(lines, fmt=fmt, fontsize=13)
    for name, patient in zip("ABC", three):
        ax.plot(*patient, "s", ms=22, mfc="white", mec="black", mew=2)
        ax.annotate(name, patient, ha="center", va="center", weight="bold")
    ax.set(xlabel="mean radius of the cells", ylabel="mean texture, grey levels")
    return fig


# %% tags=["subslide"]
p = point.predict_proba(everywhere)[:, 1]
fig = map_figure(p, [0.1, 0.3, 0.5, 0.7, 0.9], lambda p: f"{p:.0%}")
fig.axes[0].set_title("Forty patients, the lines of one model, and three strangers")
show(
    fig, alt="A and B lie on the line of 70 %: A among the forty patients, B far from all of them."
)

# %% [markdown] tags=["skip"]
# The circles and triangles are the archive: forty patients whose tumours have been diagnosed. A and B stand on the same line. Around A there are others like A. Nobody
# in the archive has a texture like B's. The model says 70 % to both, and nothing in that number tells them apart.

# %% [markdown] tags=["notes"]
# Two minutes. Run to the three numbers and ask: whom would you rather be, A or B? Wait. Then the map. Ask who would bet on B's 70 %, and why not. "Texture" is the
# spread of the grey levels in the picture of the cells; the source states no unit for the radius.

# %% [markdown] tags=["slide", "objectives"]
# ## You will be able to
#
# - say which of the two meanings of "inference" somebody has in mind, and what each costs here;
# - compute by hand the top of a posterior, its Laplace approximation, and the exact answer;
# - tell doubt about the patient from doubt about the model, and what makes the second vanish;
# - say what a distribution adds to `predict_proba`, and where it adds nothing;
# - let costs decide when a model should hand over to a doctor.
#
# 30 minutes to teach, 30 minutes to practise.
#
# **Needs** lessons 01 to 03: a model answers; its door; a latency is a sample.

# %% [markdown] tags=["slide", "predict"]
# ## What do you expect?
#
# Many models fit the forty patients about as well as this one. They are asked about B. Leave out the lowest 5 % of their answers: what is the lowest that remains?

# %%
from inferkit import course

low_of_B = course.guess("B is told 70 %. As low as ... may well be true:", low=1, high=70, unit="%")
low_of_B

# %% [markdown] tags=["notes"]
# One minute. Ask for the same about A, by hands, and write both on the board. No comment; the figure brings both back.

# %% [markdown] tags=["slide", "by-hand"]
# ## By hand: a hill over all models
#
# Each set of three weights is a model. How well it fits the patients $(z_i, y_i)$, together with what we held for likely before we saw them, is the height of a hill:
#
# $$\log \text{posterior}(w) = \sum_i \log p(y_i \mid z_i, w) \;-\; \sum_j \tfrac12 \left(w_j / \text{width}_j\right)^2$$

# %%
WIDTH = np.array([5, 2.5, 2.5])  # of the prior: weights far beyond it are held for unlikely


def rows(patients, like):  # a 1 for the first weight, then features on the archive's scale
    return np.column_stack([np.ones(len(patients)), (patients - like.mean(0)) / like.std(0)])


def sigmoid(score):
    return np.exp(-np.logaddexp(0, -score))


def log_posterior(W, Z, y, width):  # for each line of W
    score = W @ Z.T
    return score @ y - np.logaddexp(0, score).sum(axis=1) - ((W / width) ** 2).sum(axis=1) / 2


# %% [markdown] tags=["skip"]
# The first sum is what the data say. The second is the **prior**: a bell curve around 0 for each weight. The whole is the **posterior**, the plausibility of each model after the data.

# %% [markdown] tags=["subslide"]
# Newton's method climbs it: the slope says where up is, the curvature how far. At the top the curvature also says how wide the hill is.


# %%
def climb(Z, y, width):
    w = np.zeros(Z.shape[1])
    for _ in range(30):
        p = sigmoid(Z @ w)
        slope = Z.T @ (y - p) - w / width**2
        curvature = (Z.T * p * (1 - p)) @ Z + np.diag(1 / width**2)
        w = w + np.linalg.solve(curvature, slope)
    return w, np.linalg.inv(curvature)  # the top, and the covariance of a bell curve there


Z, y, Z_three = rows(X[archive], X[archive]), sick[archive], rows(three, X[archive])
top, spread = climb(Z, y, WIDTH)

# %% tags=["fragment"]
apart = abs(sigmoid(Z_three @ top) - told).max()
print("the top of the hill, weights:", top.round(2))
print("scikit-learn's answers are those of the top, to a tenth of a point:", apart < 0.001)

# %% [markdown] tags=["skip"]
# So `LogisticRegression` has a prior too: its `C` is the prior's width, squared. By default that is 1. What it gives you is one model, the likeliest of all. What it keeps for itself is
# the rest of the hill. (A tenth of a point differs, because scikit-learn puts no prior on the first weight.)

# %% [markdown] tags=["notes"]
# Four minutes. Draw a hill with a round top, and another one, flat. Same top, same point model. Ask which of them had more patients. If the formula frightens: the first sum is the
# score of an exam, the second a fee for extreme opinions.

# %% [markdown] tags=["subslide"]
# The **Laplace approximation** takes the hill for a bell curve: that top, that width. Draw a thousand models from it, and let all of them answer.

# %%
rng = np.random.default_rng(0)


def thousand(top, spread):
    return top + rng.standard_normal((1000, 3)) @ np.linalg.cholesky(spread).T


some = thousand(top, spread)
for name, p in zip("ABC", sigmoid(Z_three @ some.T)):
    low, high = np.quantile(p, [0.05, 0.95])
    print(f"{name}: mean {p.mean():.0%}, nine in ten models between {low:.0%} and {high:.0%}")

# %% [markdown] tags=["subslide"]
# Is the hill a bell? With three weights we can walk all over it: 25 × 25 × 25 places around the top, and its height at each. That is the exact answer, up to the mesh.


# %%
def exact(Z, y, width):
    top, spread = climb(Z, y, width)
    side = np.linspace(-5, 5, 25)  # standard deviations, along each of three axes
    places = np.stack(np.meshgrid(side, side, side), axis=-1).reshape(-1, 3)
    W = top + places @ np.linalg.cholesky(spread).T
    height = log_posterior(W, Z, y, width)
    W, height = W[height > height.max() - 14], height[height > height.max() - 14]
    weight = np.exp(height - height.max())  # what lies lower weighs less than a millionth
    return W, weight / weight.sum()


def quantile(p, weight, q):
    up = np.argsort(p)
    return p[up][np.searchsorted(weight[up].cumsum(), q)]


# %% tags=["subslide"]
from IPython.display import Markdown

W, weight = exact(Z, y, WIDTH)
by_models = sigmoid(Z_three @ W.T)  # a line for each patient, a column for each model
table = ["| patient | point | Laplace: mean | 90 % | exact: mean | 90 % |", "|---" * 6 + "|"]
for name, one, rough, p in zip("ABC", told, sigmoid(Z_three @ some.T), by_models):
    row = f"| {name} | {one:.0%} "
    for q, weights in ((rough, np.full(1000, 1 / 1000)), (p, weight)):
        low, high = quantile(q, weights, [0.05, 0.95])
        row += f"| {q @ weights:.0%} | {low:.0%} to {high:.0%} "
    table.append(row + "|")
Markdown("\n".join(table))

# %% [markdown] tags=["skip"]
# Laplace sees that B is doubtful and A is less so. But its intervals lie too low: the true hill leans towards larger weights, and a bell cannot lean. With 30 features the mesh would have
# $25^{31}$ places. Then one lets a walker climb about and note where it has been. **NUTS** is such a walker.

# %% [markdown] tags=["notes"]
# Five minutes. The mean over the models is called the posterior predictive probability. Ask why A's and B's are not 70 % any more: doubt pulls towards 50 %, the lean pulls away from it.
# For A the lean wins by a hair.

# %% [markdown] tags=["slide"]
# ## The library's call
#
# The same model and prior, called as scikit-learn is called. First with Laplace. What does the library think of its own draws?

# %%
from inferkit.bayes import BayesianClassifier

laplace = BayesianClassifier(method="laplace", draws=4000, random_state=0)
laplace.fit(X[archive], label[archive])
Markdown(f"> {laplace.diagnosis_}")

# %% tags=["fragment"]
ends = np.quantile(sigmoid(Z_three @ some.T), [0.05, 0.95], axis=1).T
away = abs(laplace.predict_interval(three)[:, 1] - ends).max()
print("the library's Laplace and the one by hand agree to 5 points:", away < 0.05)

# %% [markdown] tags=["subslide"]
# No problem, it says, though these draws are worth less than half as many of the posterior's own. A diagnosis finds what is badly wrong; the mesh has shown what is a little wrong.
# Now the walker.

# %% tags=["measured"]
from time import perf_counter

start = perf_counter()
nuts = BayesianClassifier(draws=500, chains=2, cores=1, random_state=0)
nuts.fit(X[archive], label[archive])
nuts_s = perf_counter() - start
Markdown(f"> {nuts.diagnosis_} It took {nuts_s:.1f} s, compiling included.")

# %%
fine = np.array([quantile(p, weight, [0.05, 0.95]) for p in by_models])
away = abs(nuts.predict_proba(three)[:, 1] - by_models @ weight).max()
away_ends = abs(nuts.predict_interval(three)[:, 1] - fine).max()
print("NUTS and the mesh agree on the means to 5 points:", away < 0.05)
print("and on the ends of the intervals to 10:", away_ends < 0.1)

# %% [markdown] tags=["notes"]
# Three minutes. NUTS gives other draws on another version of PyMC; the agreement holds on all. Pareto k says how heavy a tail the bell curve leaves out. R-hat compares the two
# walkers: lesson 05 is about them. While it samples, ask what "inference" means. Collect two answers.

# %% [markdown] tags=["slide", "measure"]
# ## One word, two meanings
#
# For a statistician, **inference** is the fitting: from patients to weights. For an engineer, it is the answering: from weights to a patient. "Bayesian inference takes seconds, a network's
# microseconds" compares a school with an answer. Compare fit with fit, answer with answer.

# %%
from inferkit.bayes import CompiledPosterior
from inferkit.predictor import Predictor

scale = {"mean": X[archive].mean(0), "scale": X[archive].std(0), "classes": ["benign", "malignant"]}


def served(W):  # weights, a line for each model, as something that answers: plain NumPy, no PyMC
    return CompiledPosterior("bernoulli", {"intercept": W[:, 0], "coef": W[:, 1:]}, **scale)


same = np.allclose(served(some)(three)[:, 1], sigmoid(Z_three @ some.T).mean(axis=1))
print("a thousand models, served and by hand: the same mean:", same)

# %% tags=["subslide", "measured"]
from inferkit.benchmark import Ledger, compare, measure_latency, time_words

servers = {
    "one model, scikit-learn": Predictor(point),
    "one model, by hand": Predictor(served(top[None])),
    "1,000 models, Laplace": Predictor(served(some)),
    "1,000 models, NUTS": Predictor(nuts.compile()),
}
ledger = Ledger.open()
found = compare(servers, X[unseen], label[unseen], n=700, ledger=ledger)
ledger

# %%
ratio = found.ratio("1,000 models, NUTS", "one model, by hand")
print("a thousand models take less than a hundred times as long as one:", ratio.value < 100)

# %% tags=["skip"]
fits = {
    "one model, scikit-learn": lambda _: point.fit(X[archive], label[archive]),
    "one model, by hand": lambda _: climb(Z, y, WIDTH),
    "1,000 models, Laplace": lambda _: thousand(*climb(Z, y, WIDTH)),
    "all models, on the mesh": lambda _: exact(Z, y, WIDTH),
}
fit_s = {name: measure_latency(fit, X, n=30).p50_ms / 1000 for name, fit in fits.items()}
fit_s["1,000 models, NUTS"] = nuts_s
print("NUTS fits over ten times as long as Laplace:", nuts_s > 10 * fit_s["1,000 models, Laplace"])

# %% tags=["subslide", "measured"]
answer_s = {row.name: row.p50_ms / 1000 for row in found}
interval = nuts.compile().with_interval(0.9)
answer_s["... and its interval"] = measure_latency(interval, X[unseen], n=200).p50_ms / 1000
table = ["| | fit: inference, says the statistician | answer: says the engineer |", "|---|---|---|"]
for name in [*fit_s, "... and its interval"]:
    times = [time_words(s[name]) if name in s else "" for s in (fit_s, answer_s)]
    table.append(f"| {name} | " + " | ".join(times) + " |")
Markdown("\n".join(table))

# %%
slowest = max(answer_s, key=answer_s.get)
print(
    "whichever answers slowest, NUTS' fit takes over a hundred times as long:",
    nuts_s > 100 * answer_s[slowest],
)

# %% [markdown] tags=["skip"]
# The walker's seconds are paid once. What is left is a thousand sets of three weights: one multiplication of matrices, a sigmoid, a mean. What else
# scikit-learn does for its one model is mostly looking at its input. A network with millions of weights is another matter: a thousand copies of it are a thousand times the work (lesson 06).

# %% [markdown] tags=["notes"]
# Four minutes. Before the table, take a vote: how many times as long does an answer of 1,000 models take, compared with scikit-learn's one? Expect "a thousand". Then ask where the
# thousandfold work went. (Into a small product of matrices. The rest is Python, which both pay.)

# %% [markdown] tags=["slide", "figure"]
# ## Twenty models, equally likely
#
# Each dot is what one model in twenty says of that patient. The bar is the point model; the diamond in B's row, your guess.


# %% tags=["skip"]
def stacked(p):  # dots that would lie on each other, as columns of at most 0.75
    places = np.round(40 * p) / 40
    ranks = np.array([np.sum(places[:i] == place) for i, place in enumerate(places)])
    return places, ranks * min(0.13, 0.75 / (ranks.max() + 1))


# %% tags=["skip"]
def dots_figure(answers, guess=None):
    ax = plt.figure(figsize=slide_size(height=0.78)).add_subplot()
    for row, (name, (one, p, weight)) in enumerate(answers.items()):
        places, heights = stacked(quantile(p, weight, (np.arange(20) + 0.5) / 20))
        ax.plot(places, heights - row + 0.12, "o", ms=9, color=f"C{row}")
        low, high = quantile(p, weight, [0.05, 0.95])
        ax.plot([low, high], [-row, -row], lw=4, color=f"C{row}")
        ax.plot(one, -row, "|", ms=22, mew=3, color="black")
        ax.text(0.01, 0.4 - row, f"{name}  {low:.0%} to {high:.0%}", color=f"C{row}", weight="bold")
    ax.set(xlim=(0, 1.02), ylim=(-2.25, 0.7), yticks=[])
    return mark_guess(ax, guess)


# %% tags=["skip"]
def mark_guess(ax, guess):
    ax.set_xlabel("probability that the tumour is malignant")
    ax.xaxis.set_major_formatter(lambda p, _: f"{p:.0%}")
    if guess is not None:
        ax.plot(guess / 100, -1, "D", ms=13, color="black")
    return ax.figure


# %% tags=["skip"]
answers = {name: (one, p, weight) for name, one, p in zip("ABC", told, by_models)}

# %% tags=["fragment"]
fig = dots_figure(answers, low_of_B.value)
fig.axes[0].set_title("Two kinds of 70 %")
show(fig, alt="A's twenty dots stand together around 70 %; B's are strewn from 10 % to 97 %.")

# %% tags=["fragment"]
low_of_B.beside(100 * fine[1, 0])

# %% [markdown] tags=["notes"]
# Three minutes. Let somebody read B's row aloud: "three of twenty models say less than ...". Ask what a doctor would do with A, with B, with C. Keep the answers: the costs come
# back to them. A and B were both malignant.

# %% [markdown] tags=["slide", "why"]
# ## Where the width comes from
#
# There are two doubts. About the **patient**: were the model perfectly known, 70 % would still mean that three in ten are benign. And about the **model**. For a patient with features $z$
# (a 1 in front), the second is, by Laplace, a spread of the score of $\sqrt{z^\top \Sigma\, z}$ around the top's, where $\Sigma$ is the covariance of the weights.

# %% tags=["skip"]
Z_all = rows(everywhere, X[archive])
score, sd = Z_all @ top, np.sqrt(np.sum(Z_all @ spread * Z_all, axis=1))
wide = 100 * (sigmoid(score + 1.645 * sd) - sigmoid(score - 1.645 * sd))

# %% tags=["fragment"]
fig = map_figure(wide, [10, 30, 50, 70, 90], "%.0f points")
fig.axes[0].set_title("How wide the model's doubt is (90 % interval, in points)")
show(fig, alt="Least doubt deep in either class; along the border it grows away from the archive.")

# %% [markdown] tags=["subslide"]
# More patients take doubt about the model away, and leave doubt about the patient. A and B, as larger archives see them:

# %%
table = ["| archive | A | 90 % | B | 90 % |", "|---|---|---|---|---|"]
for n in (20, 40, 100, 400):
    known = X[order[:n]]
    W_n, weight_n = exact(rows(known, known), sick[order[:n]], WIDTH)
    cells = []
    for p in sigmoid(rows(three[:2], known) @ W_n.T):
        low, high = quantile(p, weight_n, [0.05, 0.95])
        cells.append(f"{p @ weight_n:.0%} | {low:.0%} to {high:.0%}")
    table.append(f"| {n} patients | " + " | ".join(cells) + " |")
Markdown("\n".join(table))

# %% [markdown] tags=["skip"]
# All these models draw a straight line, and that is a belief too. A **small Bayesian network** may bend it: five hidden units, and a doubt about each of its 21 weights. For large networks a walker
# takes too long. **ADVI** looks for the bell curve that is nearest to the posterior, among those in which each weight keeps to itself.

# %% tags=["skip"]
import pymc as pm

Z_seen, Z_three = (rows(people, X[archive])[:, 1:] for people in (X[archive], three))
with pm.Model() as bends:
    u, a = pm.Normal("u", 0, 1, shape=(2, 5)), pm.Normal("a", 0, 1, shape=5)
    v, c = pm.Normal("v", 0, 2.5, shape=5), pm.Normal("c", 0, 2.5)
    bent = pm.math.tanh(Z_seen @ u + a) @ v + c
    pm.Bernoulli("sick", logit_p=bent, observed=sick[archive])

# %% tags=["skip"]
import warnings

from inferkit.bayes import sample

advi = {"steps": 5000, "optimizer": pm.adam(learning_rate=0.02), "progress": False}
advi["compile_kwargs"] = {"mode": "FAST_COMPILE"}  # in NumPy: what PyMC 6 compiles takes longer
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that it is an approximation, and a rough one
    found_bends = sample(bends, method="advi", draws=500, random_state=0, **advi)

# %% tags=["measured", "skip"]
uavc = [found_bends["posterior"][name].values[0] for name in "uavc"]
bent = np.array([sigmoid(np.tanh(Z_three @ u + a) @ v + c) for u, a, v, c in zip(*uavc)])
bent_ends = np.quantile(bent, [0.05, 0.95], axis=0).T
for name, mean, (low, high) in zip("ABC", bent.mean(axis=0), bent_ends):
    print(f"{name} {mean:.0%}, 90 % interval {low:.0%} to {high:.0%}")

# %% tags=["skip"]
wider = np.diff(bent_ends)[:, 0] > np.diff(fine)[:, 0]
print("who may bend doubts more, about A, B and C:", wider.tolist())

# %% [markdown] tags=["skip"]
# More models are possible now, so the doubt is larger, most of all about B, where nobody is near. The interval of the straight line said: if it is a line.

# %% [markdown] tags=["notes"]
# Four minutes. Ten times the patients, about a third of the width: the root of ten, as in lesson 03. With 400 patients B is as doubtful as A was with 40. Statisticians call the two
# doubts aleatoric and epistemic; nobody needs the words.

# %% [markdown] tags=["slide"]
# ## Does the distribution answer better?
#
# Twenty hospitals, each with its own archive, and 169 strangers for each. Three ways to answer: nearly no prior, the top of the hill, the mean over the whole hill.


# %%
def hospital(seed, n):
    order = np.random.default_rng(seed).permutation(len(X))
    archive, unseen = order[:n], order[400:]
    Z, others = rows(X[archive], X[archive]), rows(X[unseen], X[archive])
    tops = [climb(Z, sick[archive], width)[0] for width in (10 * WIDTH, WIDTH)]
    W, weight = exact(Z, sick[archive], WIDTH)
    return sick[unseen], *(sigmoid(others @ w) for w in tops), sigmoid(others @ W.T) @ weight


hospitals = {n: [hospital(seed, n) for seed in range(20)] for n in (20, 50, 400)}

# %% [markdown] tags=["subslide"]
# **Log loss** is the fine for a probability: minus the logarithm of what was given to that which came true. A coin flip costs 0.69.


# %%
def log_loss(true, p):
    return -np.log(np.where(true, p, 1 - p)).mean()


table = ["| archive | hardly a prior | point (the top) | posterior mean | posterior is better in |"]
table += ["|---|---|---|---|---|"]
for n, cases in hospitals.items():
    loss = np.array([[log_loss(true, p) for p in ps] for true, *ps in cases])
    better = np.sum(loss[:, 2] < loss[:, 1])
    means = " | ".join(f"{m:.3f}" for m in loss.mean(axis=0))
    table.append(f"| {n} patients | {means} | {better} of 20 hospitals |")
Markdown("\n".join(table))

# %% [markdown] tags=["skip"]
# Honestly: hardly. What saves the small hospital is the prior, and the point model has it too. Averaging over the hill adds little to the probability, and with 400 patients nothing. The distribution
# is no better *answer*. It is the answer to another question: how far might this probability move if we knew more?

# %% [markdown] tags=["notes"]
# Three minutes. Ask for the reading before you give it. Some in the room will have heard that Bayesian means better. Networks with millions of weights and little data can gain more; lesson 06
# measures that.

# %% [markdown] tags=["slide"]
# ## Answer, or ask a doctor?
#
# A third answer is allowed: a doctor looks, which costs 1. A needless operation costs 4, a missed tumour 20. The unit is one visit; the prices are ours, put yours in.
# Whatever is expected to cost least is done.

# %%
PAY = np.array([[0, 4, 1], [20, 0, 1]])  # truly benign, truly malignant


def choose(p, options=3):  # 0: say benign, 1: say malignant, 2: ask
    return (np.column_stack([1 - p, p]) @ PAY[:, :options]).argmin(axis=1)


for options in (2, 3):
    p = np.linspace(0, 1, 10_001)
    changes = p[1:][np.diff(choose(p, options)) != 0]
    print(options, "options; the answer changes at", " and ".join(f"{p:.1%}" for p in changes))

# %% [markdown] tags=["skip"]
# With three options: benign below 5 %, malignant above 75 %, and in between a doctor looks. Nowhere does 50 % play a part. A threshold is a ratio of costs, and whoever pays them should set it.

# %% tags=["skip"]
rules = {
    "the likelier one": lambda top, mean: (top > 0.5).astype(int),
    "always answer, by cost": lambda top, mean: choose(top, 2),
    "may ask, by the point": lambda top, mean: choose(top),
    "may ask, by the posterior mean": lambda top, mean: choose(mean),
    "always ask": lambda top, mean: np.full(len(top), 2),
}
paid = {
    rule: [[PAY[true, do(*ps)].mean() for true, _, *ps in cases] for cases in hospitals.values()]
    for rule, do in rules.items()
}

# %% tags=["subslide"]
table = ["| costs for one stranger | archive 20 | 50 | 400 |", "|---|---|---|---|"]
for rule, by_size in paid.items():
    table.append(f"| {rule} | " + " | ".join(f"{np.mean(costs):.2f}" for costs in by_size) + " |")
Markdown("\n".join(table))

# %% tags=["fragment"]
for n, a, b in zip(
    hospitals, paid["may ask, by the point"], paid["may ask, by the posterior mean"]
):
    saved = np.subtract(a, b)
    error = 2 * saved.std(ddof=1) / np.sqrt(len(saved))
    verdict = "no clear difference" if abs(saved.mean()) < error else "a difference"
    print(f"{n:3} patients: the posterior saves {saved.mean():+.3f} ± {error:.3f}: {verdict}")

# %% [markdown] tags=["subslide"]
# The library decides so for whatever gives probabilities. Here with a thousand models drawn from the exact hill, for the hospital of A, B and C.

# %%
from inferkit.uncertainty import AbstainingPredictor

drawn = W[rng.choice(len(W), 1000, p=weight)]
posterior = Predictor(served(drawn))
careful = AbstainingPredictor(posterior, PAY[:, :2], abstain_cost=1, abstain_label="ask a doctor")
result = careful.evaluate(X[unseen], label[unseen])
by_hand = PAY[sick[unseen], choose(posterior.predict_proba(X[unseen])[:, 1])].mean()
print(dict(zip("ABC", careful.predict(three))))
print(f"{result.abstained:.0%} go to the doctor, {result.accuracy:.1%} of the answers are right")
print(
    f"{result.mean_cost:.2f} a stranger; by hand the same:", np.isclose(result.mean_cost, by_hand)
)

# %% [markdown] tags=["notes"]
# Five minutes. First let the room set the three prices; run it with theirs. Ask who pays for which: the patient, the hospital, the insurer? A rule by cost is a moral statement in numbers.
# The ± is rough: the twenty hospitals draw from the same 569 patients.

# %% [markdown] tags=["slide"]
# ## What the width is for
#
# A and B both go to the doctor. For one decision **only the mean counts**: two patients with the same mean are treated alike, however wide their doubt. But would we decide otherwise
# if we knew which model is right? What that knowledge would save, in the mean, is the **value of information**.


# %%
def worth_knowing(p, weight):
    costs = np.column_stack([1 - p, p]) @ PAY  # a line for each model, a column for each option
    at_once = (weight @ costs).min()  # one option for all models
    knowing = weight @ costs.min(axis=1)  # the best option for each model
    return at_once, at_once - knowing


table = ["| patient | mean | costs now | knowing the model would save |", "|---|---|---|---|"]
for name, p in zip("ABC", by_models):
    now, worth = worth_knowing(p, weight)
    table.append(f"| {name} | {p @ weight:.0%} | {now:.2f} | {worth:.3f} |")
Markdown("\n".join(table))

# %% [markdown] tags=["skip"]
# More patients like B in the archive would be worth most, and like C next to nothing. That is what a distribution is for: it says where to look next. `predict_proba` cannot say it, for A and B
# are the same to it. What counts is doubt that crosses a threshold, in money. An exercise finds a patient with a narrow doubt who is worth more than B.

# %% [markdown] tags=["notes"]
# Four minutes. This surprises experts too: they expect the abstaining rule to look at the width. Ask for a case where a single decision does see more than the mean. (Where costs are not
# linear in p: the risk of a whole portfolio, a promise "in at least 95 of 100 worlds".)

# %% [markdown] tags=["slide", "textbook"]
# ## When the textbook is wrong here
#
# "Networks are deterministic, Bayesian models give probabilities." Ask a network and a posterior the same question twice.

# %%
from inferkit.models import load_reference

network, picture = load_reference("digits-cnn"), np.zeros((1, 8, 8), np.float32)
asked = {"network": lambda: network(picture), "posterior": lambda: nuts.compile()(three)}
seen = {name: (np.allclose(ask().sum(1), 1), (ask() == ask()).all()) for name, ask in asked.items()}
for name, (sums, same) in seen.items():
    print(f"{name}: probabilities: {sums}, the same twice: {same}")
both = "both do both" if all(map(all, seen.values())) else "does not hold for both"

# %% [markdown] tags=["subslide"]
# "A probability can be taken at its word." All strangers of the twenty hospitals, sorted by what they were told.


# %%
def came_true(column, cases, low, high):
    true, p = (np.concatenate([case[i] for case in cases]) for i in (0, column))
    those = (low <= p) & (p < high)
    return p[those].mean(), true[those].mean(), those.sum()


table = ["| archive | told | hardly a prior | point | posterior mean |", "|---|---|---|---|---|"]
for n in (20, 400):
    for low, high in ((0.6, 0.8), (0.9, 1.01)):
        cells = [came_true(i, hospitals[n], low, high) for i in (1, 2, 3)]
        cells = [f"told {told:.0%}, true {true:.0%} of {of}" for told, true, of in cells]
        table.append(f"| {n} | {low:.0%} to {min(high, 1):.0%} | " + " | ".join(cells) + " |")
Markdown("\n".join(table))

# %% tags=["subslide"]
pairs = [came_true(i, hospitals[20], 0.9, 1.01)[:2] for i in (1, 3)]
kept = ["holds" if abs(t - true) < 0.03 else "does not hold" for t, true in pairs]
word = [f"{k}: told {t:.0%}, true {true:.0%}" for k, (t, true) in zip(kept, pairs)]
now = result.mean_cost  # asking always costs 1
verdicts = {
    "Networks are deterministic, Bayesian models give probabilities": both,
    "A probability can be taken at its word: hardly a prior, 20 patients": word[0],
    "... the posterior mean, 20 patients": word[1],
    "Automation saves effort": f"{'holds' if now < 1 else 'does not hold'}: {now:.2f} paid, not 1",
}
lines = ["| they say | here |", "|---|---|", *(f"| {c} | {v} |" for c, v in verdicts.items())]
Markdown("\n".join(lines))

# %% [markdown] tags=["skip"]
# A softmax gives probabilities, and a thousand stored models give the same mean each time: the randomness was used up when they were drawn. Whether a probability keeps its word is a question
# for data, whoever gave it (lesson 06 goes on). And a rule by cost brings decisions in line: all pay the same prices, whoever is on duty. Whose prices, remains a question for people.

# %% [markdown] tags=["notes"]
# Three minutes. "Told 98 %, true 9 in 10" means that one in ten of the sure ones is told wrongly. Which table would you put before a patient?

# %% [markdown] tags=["slide", "play"]
# ## Play
#
# Your own `climb`, live. First fewer and more patients. Then a narrow prior: what do all three agree on? Then a wide one with 10 patients.

# %% tags=["skip"]
from statistics import NormalDist

from inferkit.widgets import LiveFigure, points, text

steps = np.array([NormalDist().inv_cdf((i + 0.5) / 20) for i in range(20)])


def doubt(prior_width, patients):
    known = order[:patients]
    width = np.array([2, 1, 1]) * prior_width
    top, spread = climb(rows(X[known], X[known]), sick[known], width)
    asked = rows(three, X[known])
    return asked @ top, np.sqrt(np.sum(asked @ spread * asked, axis=1))  # of the scores


# %% tags=["skip"]
def drawn_doubt(prior_width, patients):
    parts = []
    for row, (m, s) in enumerate(zip(*doubt(prior_width, patients))):
        name, colour = "ABC"[row], list(COLOURS)[row]
        places, heights = stacked(sigmoid(m + s * steps))
        one, low, high = sigmoid(m + s * np.array([0, -1.645, 1.645]))
        parts += [points(places, heights + 2.15 - row, colour=colour)]
        parts += [points(one, 2 - row, low=low, high=high, across=True, colour=colour, hollow=True)]
        parts += [text(name, f"{one:.0%}, {low:.0%} to {high:.0%}")]
    return parts


# %% tags=["skip"]
play = LiveFigure(
    drawn_doubt,
    {"prior_width": (0.01, 10, "log"), "patients": [10, 20, 40, 80, 160, 400]},
    start={"prior_width": 2.5, "patients": 40},
    alt="{patients} patients: the doubt about A is {A}, about B {B}, about C {C}.",
    xlabel="probability that the tumour is malignant",
    ylabel="twenty models about each patient",
    xlim=(0, 1.02),
    ylim=(-0.2, 3),
    ynames=tuple("CBA"),
    height=320,
)

# %% tags=["fragment"]
play

# %% [markdown] tags=["notes"]
# Four minutes. The dots are Laplace's. A prior of 0.01 says 50 % to everybody, and is sure of it: a model that has decided not to learn. With a wide prior and 10 patients B's dots reach
# from one end to the other: it could be anything, and the model says so.

# %% [markdown] tags=["slide", "break-it"]
# ## Break it
#
# Four hospitals serve their posteriors. Each has a **silent fault**. All answer in microseconds, none complains.

# %% tags=["hide-input"]
drawn_means = np.tile(drawn.mean(axis=0), (1000, 1))
as_it_comes = {**scale, "mean": [0, 0], "scale": [1, 1]}
draws = served(drawn).draws
given = {
    "as it should be": served(drawn),
    "ash": served(thousand(*climb(Z, y, WIDTH / 1000))),
    "holly": CompiledPosterior("bernoulli", draws, **as_it_comes),
    "larch": served(-drawn),
    "maple": served(drawn_means),
}

# %% tags=["fragment"]
table = ["| | right | of the surer half | A | B | C |", "|---|---|---|---|---|---|"]
for name, model in given.items():
    p, ends = model(X[unseen])[:, 1], model.predict_interval(three)[:, 1]
    right = (p > 0.5) == sick[unseen]
    surer = abs(p - 0.5) >= np.median(abs(p - 0.5))
    cells = [f"{right.mean():.0%}", f"{right[surer].mean():.0%}"]
    for mean, (low, high) in zip(model(three)[:, 1], ends):
        cells.append(f"{mean:.1%} ({low:.1%} to {high:.1%})")
    table.append(f"| {name} | " + " | ".join(cells) + " |")
Markdown("\n".join(table))

# %% [markdown] tags=["subslide"]
# Name the fault of each: `"classes swapped"`, `"prior too narrow"`, `"scale forgotten"` or `"averaged too early"` (the weights, in place of the answers).

# %%
suspicion = {"ash": ..., "holly": ..., "larch": ..., "maple": ...}

# %% tags=["hide-input"]
faults = {
    "ash": ("prior too narrow", "it says the same to everybody: has it learned anything?"),
    "holly": ("scale forgotten", "how large is a radius of 15 where 0 is the middle?"),
    "larch": ("classes swapped", "add its answers to those of the whole one"),
    "maple": ("averaged too early", "the answers are good; what is missing?"),
}
for name, (fault, hint) in faults.items():
    said = suspicion[name]
    course.check(f"the fault of {name}", said if said is ... else said == fault, hint)

# %% [markdown] tags=["notes"]
# Four minutes. Maple is the one to dwell on: no accuracy test will ever find it. Ask which of the four a check of latency or of file size would see. (None.) Ash looks modest, and is the surest of all:
# a narrow interval is a claim, not a virtue.

# %% [markdown] tags=["slide", "summary"]
# ## Summary
#
# - Fitting took the posterior seconds, and a point model next to nothing. Answering costs both a few microseconds: compare fit with fit, answer with answer.
# - The same 70 % can be narrow or wide. The width is doubt about the model; patients like this one take it away. The doubt about the patient stays.
# - A single decision sees the mean alone, and costs set its thresholds. The width says where more data are worth their price.
#
# [Three exercises](exercises/04_one_answer_or_a_distribution.ipynb) wait: another pair of features, the patient who is worth asking about, and a posterior from a colleague. The ledger has four new rows. Lesson 05: a clinic with three patients.

# %% [markdown] tags=["slide", "quiz"]
# ## Quiz

# %% tags=["hide-input"]
course.quiz(
    {
        "question": "A statistician says: inference takes three seconds. What takes them?",
        "options": {
            "One answer to one patient": "That is the engineer's word; here it takes microseconds.",
            "Fitting: from patients to weights": "Yes. It is paid once, before the first question.",
            "Both together": "A fit has no question yet that could be answered.",
        },
        "answer": "Fitting: from patients to weights",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "Ten times as many patients of all kinds. What happens to A's 70 %?",
        "options": {
            "It goes to 0 % or 100 %": "Some doubt is about the patient. No archive takes it away.",
            "It may move; its interval narrows": "Doubt about the model shrinks.",
            "Nothing": "The hill over the models gets narrower, and so does A's interval.",
        },
        "answer": "It may move; its interval narrows",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "Two means of 70 %, one narrow, one wide. Who goes to the doctor?",
        "options": {
            "The wide one": "For one decision the expected costs are the same for both.",
            "Both or neither": "Mean and prices decide. The width says where to learn.",
            "Neither, 70 % is over one half": "Only if a miss costs as much as a false alarm.",
        },
        "answer": "Both or neither",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "A posterior's intervals are very narrow. What do you know?",
        "options": {
            "It is good": "A prior a thousand times too narrow does the same.",
            "It is sure": "No more. Whether rightly so, held-out patients say.",
            "It had many patients": "Or a narrow prior, or someone averaged the weights.",
        },
        "answer": "It is sure",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "Where did the distribution help the small hospital least?",
        "options": {
            "In its log loss": "Hardly any gain: the prior had done the work.",
            "In saying where to look next": "There it knew what one number cannot say.",
            "In telling A from B": "That is what the width is made of.",
        },
        "answer": "In its log loss",
    }
)

# %% [markdown] tags=["skip", "sources"]
# ## Sources
#
# - The patients: W. Wolberg, O. Mangasarian, N. Street and W. Street, *Breast Cancer Wisconsin (Diagnostic)*, UCI Machine Learning Repository, 1993, CC BY 4.0. This is a lesson, and no medical advice.
# - Laplace's approximation: L. Tierney and J. B. Kadane, *Accurate approximations for posterior moments and marginal densities*, JASA 81, 1986. NUTS: M. D. Hoffman and A. Gelman, JMLR 15, 2014.
# - The widths of the prior: A. Gelman, A. Jakulin, M. G. Pittau and Y.-S. Su, *A weakly informative default prior distribution for logistic and other regression models*, Annals of Applied Statistics 2, 2008.
# - The right to be silent: C. K. Chow, *On optimum recognition error and reject tradeoff*, IEEE Transactions on Information Theory 16, 1970. Value of information: R. A. Howard, *Information value theory*, IEEE Transactions on Systems Science and Cybernetics 2, 1966.
# - Dots in place of curves: M. Kay, T. Kola, J. R. Hullman and S. A. Munson, *When (ish) is my bus?*, CHI 2016.

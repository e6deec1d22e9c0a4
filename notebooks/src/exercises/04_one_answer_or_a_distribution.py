# %% [markdown]
# # Exercises 04: one answer, or a distribution
#
# Three exercises, 30 minutes. Write where it says "Your code here", run the cell, and read what the checks below say. They are plain code: look into them.

# %%
import numpy as np

from inferkit.bayes import CompiledPosterior
from inferkit.course import check
from inferkit.datasets import load_tumours

data, benign = load_tumours(return_X_y=True)
sick = 1 - benign
order = np.random.default_rng(14).permutation(len(data))
archive, unseen = order[:40], order[400:]


def sigmoid(score):
    return np.exp(-np.logaddexp(0, -score))


# %% [markdown] tags=["core"]
# ## 1. From weights to doubt
#
# Other features than in the lesson: mean radius, and worst concave points (how dented the worst cells are). `W` holds a thousand models, drawn from the Laplace
# approximation. What do they say about 169 strangers, and how far do they disagree?

# %%
X = data[:, [0, 27]]
WIDTH = np.array([5, 2.5, 2.5])


def rows(patients, like):
    return np.column_stack([np.ones(len(patients)), (patients - like.mean(0)) / like.std(0)])


def climb(Z, y, width):
    w = np.zeros(Z.shape[1])
    for _ in range(30):
        p = sigmoid(Z @ w)
        curvature = (Z.T * p * (1 - p)) @ Z + np.diag(1 / width**2)
        w = w + np.linalg.solve(curvature, Z.T @ (y - p) - w / width**2)
    return w, np.linalg.inv(curvature)


# %%
strangers = rows(X[unseen], X[archive])
top, spread = climb(rows(X[archive], X[archive]), sick[archive], WIDTH)
W = np.random.default_rng(0).multivariate_normal(top, spread, 1000, method="cholesky")


def served(W):
    draws = {"intercept": W[:, 0], "coef": W[:, 1:]}
    return CompiledPosterior("bernoulli", draws, mean=X[archive].mean(0), scale=X[archive].std(0))


# %%
# >>> solution: what each model says about each stranger, an array (169, 1000)
answers = sigmoid(strangers @ W.T)
# <<< solution
# >>> solution: of each stranger: the mean of the answers, and the width of the middle 90 %
mean = answers.mean(axis=1)
width = np.quantile(answers, 0.95, axis=1) - np.quantile(answers, 0.05, axis=1)
# <<< solution

# %%
check(
    "a line for each stranger, a column for each model",
    lambda: answers.shape == (169, 1000) and 0 <= answers.min() < answers.max() <= 1,
    hint="rows times weights, then sigmoid",
)
check(
    "the means agree with the library",
    lambda: np.allclose(mean, served(W)(X[unseen])[:, 1]),
    hint="over the models: along the second axis",
)

# %%
check(
    "the widths agree with the library",
    lambda: np.allclose(width, np.diff(served(W).predict_interval(X[unseen])[:, 1])[:, 0]),
    hint="the 95 % quantile less the 5 % quantile",
)

# %% [markdown]
# The thousand models can be spared: a stranger's score is normal, with mean `z @ top` and standard deviation $\sqrt{z^\top \Sigma\, z}$. Its 5 % and 95 % points lie 1.645
# standard deviations below and above; `sigmoid` takes them along.

# %%
# >>> solution: the same widths from `top` and `spread` alone
score, sd = strangers @ top, np.sqrt(np.sum(strangers @ spread * strangers, axis=1))
width_by_formula = sigmoid(score + 1.645 * sd) - sigmoid(score - 1.645 * sd)
# <<< solution
check(
    "the formula and the thousand models agree to 8 points, and to 2 in the mean",
    lambda: (
        abs(width - width_by_formula).max() < 0.08 and abs(width - width_by_formula).mean() < 0.02
    ),
    hint="np.sum(strangers @ spread * strangers, axis=1) is the variance of each score",
)

# %% [markdown] tags=["solution"]
# The formula costs nothing and has no noise. The draws work for any posterior, also for one that is no bell, and for any question about the answers. That is why posteriors are kept as draws.

# %% [markdown] tags=["stretch"]
# ## 2. The patient who is worth asking about
#
# The prices of the lesson: 4 for a needless operation, 20 for a missed tumour, 1 for a doctor's look. For which of the strangers would it save most to know which model is right?

# %%
PAY = np.array([[0, 4, 1], [20, 0, 1]])  # truly benign, malignant; say benign, say malignant, ask
said = served(W).predict_draws(X[unseen])[..., 1].T  # (169, 1000)
low, high = np.quantile(said, [0.05, 0.95], axis=1)


def worth_knowing(p):  # what equally likely models say about one stranger
    costs = np.column_stack([1 - p, p]) @ PAY
    # >>> solution: the least cost of one option for all, less the mean cost of the best for each
    return costs.mean(axis=0).min() - costs.min(axis=1).mean()
    # <<< solution


worth = [worth_knowing(p) for p in said]

# %%
check(
    "one says 0, one says 1: asking costs 1, knowing nothing",
    lambda: np.isclose(worth_knowing(np.array([0.0, 1.0])), 1),
    hint="costs has a line for each model and a column for each option",
)
check(
    "where all agree there is nothing to know",
    lambda: np.isclose(worth_knowing(np.full(9, 0.3)), 0),
    hint="both costs are the same then",
)

# %%
# >>> solution: the places (0 to 168) of the stranger worth most, and of the one with the widest doubt
most = int(np.argmax(worth))
widest = int(np.argmax(high - low))
# <<< solution
for place in (most, widest):
    if place is not ...:
        what = f"{said[place].mean():.0%} ({low[place]:.0%} to {high[place]:.0%})"
        print(f"stranger {place}: {what}, worth {worth[place]:.2f}")

# %%
check(
    "nobody is worth more",
    lambda: worth[most] == max(worth),
    hint="np.argmax",
)
check(
    "it is not the widest, which is less than a third as wide",
    lambda: 3 * (high - low)[most] < (high - low)[widest] and worth[most] > worth[widest],
    hint="high - low is the width",
)

# %% [markdown] tags=["solution"]
# It stands at 5 %, the threshold between "say benign" and "ask a doctor", where a miss costs 20. Half of the models would send it home, half would not. Its doubt is narrow, and lies just
# where it costs money. A width is no value: what counts is whether it crosses a threshold, and how dear that threshold is.

# %% [markdown] tags=["diagnose"]
# ## 3. A posterior from a colleague
#
# "Fitted on your archive, with your features", says the message, "only a bit shy." It answers, and it can be asked for intervals. Something is wrong with it.

# %% tags=["hide-input"]
import tempfile
from pathlib import Path

path = Path(tempfile.mkdtemp(), "shy.posterior")
sent = served(W)
CompiledPosterior("bernoulli", sent.draws, mean=sent.mean, scale=8 * sent.scale).save(path)
del sent

# %%
shy = CompiledPosterior.load(path)
p = shy(X[unseen])[:, 1]
lows, highs = shy.predict_interval(X[unseen])[:, 1].T
print(shy)
print(f"answers from {p.min():.0%} to {p.max():.0%}, the widest interval {max(highs - lows):.0%}")
print(f"right {np.mean((p > 0.5) == sick[unseen]):.0%}, truly malignant {sick[unseen].mean():.0%}")

# %%
# >>> solution: "prior too narrow", "classes swapped", "scale wrong" or "averaged too early"
suspicion = "scale wrong"
# <<< solution
check(
    "the fault",
    lambda: suspicion == "scale wrong",
    hint="a narrow prior makes small weights: look at shy.draws['coef'], shy.mean and shy.scale",
)

# %%
# >>> solution: the same draws, served rightly for this archive
mended = CompiledPosterior(
    "bernoulli", shy.draws, mean=X[archive].mean(axis=0), scale=X[archive].std(axis=0)
)
# <<< solution

# %%
check(
    "mended: right about more than 85 % of the strangers",
    lambda: np.mean((mended(X[unseen])[:, 1] > 0.5) == sick[unseen]) > 0.85,
    hint="CompiledPosterior('bernoulli', shy.draws, mean=..., scale=...)",
)
check(
    "and of the surest it says over 99 %",
    lambda: mended(X[unseen])[:, 1].max() > 0.99,
    hint="the scale is the standard deviation of each feature in the archive",
)

# %% [markdown] tags=["solution"]
# From outside it could be a prior that is too narrow: it is sure of nobody. From inside it is not: its weights are as large as yours, and only the scale is eight times too large, as if
# the archive's spread had been computed in another unit. Most answers still fall on the right side of 50 %, so accuracy stays silent. Lesson 02 again: the model is the whole pipeline.

# %% [markdown]
# # Exercises 05: Bayesian inference in practice
#
# Three exercises, 30 minutes. Write where it says "Your code here", run the cell, and read what the checks below say. They are plain code: look into them.

# %%
from dataclasses import replace

import numpy as np

from inferkit.course import check
from inferkit.datasets import make_clinics


def slopes(country, noise=6):
    clinic, x, y = country.data[:, 0], country.data[:, 1] / 10, country.target
    own, se = [], []
    for c in np.unique(clinic):
        dx = x[clinic == c] - x[clinic == c].mean()
        own.append(dx @ y[clinic == c] / (dx @ dx))
        se.append(noise / np.sqrt(dx @ dx))
    return np.array(own), np.array(se)


# %% [markdown] tags=["core"]
# ## 1. Your own shrinkage
#
# Here are 24 new clinics. Their slopes differ by 0.9 mmHg a tablet. Write partial pooling: the weight of each clinic's own slope, the mean of all (each slope weighed by one over its whole
# variance, clinics' and chance), the pooled slopes, and what doubt is left about each (its standard deviation, with the mean taken as known).

# %%
country = make_clinics(random_state=2024)
own, se = slopes(country)
truth = country.truth.clinic_slope


def pool(own, se, differ):
    # >>> solution: the weights, the mean, the pooled slopes, and their doubt
    w = differ**2 / (differ**2 + se**2)
    mean = np.average(own, weights=1 / (differ**2 + se**2))
    return w, mean, w * own + (1 - w) * mean, np.sqrt(w) * se
    # <<< solution


found = pool(own, se, 0.9)

# %%
check(
    "weights lie between 0 and 1, and the largest clinic has the largest",
    lambda: (found[0] > 0).all() and (found[0] < 1).all() and found[0].argmax() == 23,
    hint="clinics' variance over the sum of both variances",
)
check(
    "two equal doubts meet in the middle",
    lambda: np.allclose(pool(np.array([2.0, 4.0]), np.ones(2), 1.0)[2], [2.5, 3.5]),
    hint="weights of one half, and a mean of 3",
)

# %%
check(
    "as large a spread as you like: each alone",
    lambda: np.allclose(pool(own, se, 1e6)[2], own, atol=1e-3),
    hint="what is the weight then?",
)
check(
    "less doubt than either source alone",
    lambda: (found[3] < np.minimum(se, 0.9)).all(),
    hint="precisions add: 1 / se² + 1 / 0.9² is one over the variance that is left",
)

# %%
# >>> solution: the share of the 24 true slopes inside pooled slope ± 1.645 × doubt
inside = np.mean(np.abs(found[2] - truth) < 1.645 * found[3])
# <<< solution
print("intervals that hold the truth:", inside)
check("about 90 in 100, give or take", lambda: 0.75 < inside <= 1, hint="compare with the truth")

# %% [markdown] tags=["solution"]
# The doubt that is left is $\sqrt{w}\,\mathrm{se}$: smaller than what the clinic alone would leave, and smaller than what is left by knowing nothing but the crowd. Pooling never asks for more patients; it asks
# for others like you.

# %% [markdown] tags=["stretch"]
# ## 2. A drug for which clinics do not differ
#
# A new drug works alike in every clinic. You do not know that. Put the spread on a grid, weigh each value by how well it explains the own slopes, and average the pooled slopes over the grid. The
# mean is unknown as well, with a flat prior, which is why its own precision comes in.

# %%
alike = replace(country.truth.population, slope_sd=0.0)
spreads = np.linspace(0.005, 4, 400)


def log_posterior(own, se, differ):  # a flat prior for the spread, too
    variance = differ**2 + se**2
    mean = np.average(own, weights=1 / variance)
    # >>> solution: minus half of: misfits² / variances, the logarithms of the variances, and of the mean's precision
    misfit = np.sum((own - mean) ** 2 / variance)
    return -(misfit + np.log(variance).sum() + np.log(np.sum(1 / variance))) / 2
    # <<< solution


# %%
def spread_of(country):
    own, se = slopes(country)
    # >>> solution: the probability of each value of `spreads`; they sum to 1
    log_p = np.array([log_posterior(own, se, differ) for differ in spreads])
    p = np.exp(log_p - log_p.max())
    p = p / p.sum()
    # <<< solution
    return p


new, old = make_clinics(random_state=8, truth=alike), make_clinics(random_state=8)
p_new, p_old = spread_of(new), spread_of(old)

# %%
check(
    "probabilities",
    lambda: np.isclose(p_new.sum(), 1) and (p_new >= 0).all() and len(p_new) == 400,
    hint="subtract the largest logarithm before np.exp",
)
check(
    "where clinics differ, the grid finds about 0.9",
    lambda: 0.6 < p_old @ spreads < 1.5,
    hint="look at log_posterior: which spread is likeliest for the old drug?",
)

# %%
check(
    "where they do not, the likeliest spread is next to 0",
    lambda: spreads[np.argmax(p_new)] < 0.3 and p_new @ spreads < p_old @ spreads / 2,
    hint="the posterior leans on the wall at 0",
)
check(
    "and a spread of 0.01 is not excluded",
    lambda: p_new[0] > 0.1 * np.max(p_new) and p_old[0] < 0.1 * np.max(p_old),
    hint="plot both over spreads",
)

# %%
# >>> solution: the slopes of the new drug, pooled at each spread and averaged by p_new
learned = sum(p * pool(*slopes(new), differ)[2] for p, differ in zip(p_new, spreads))
# <<< solution
check(
    "hardly any own voice is left",
    lambda: np.std(learned) < 0.1 * np.std(slopes(new)[0]),
    hint="average pool(*slopes(new), differ)[2] over the grid",
)

# %% [markdown] tags=["solution"]
# Nobody told the model that clinics are alike: it saw that their slopes scatter no more than chance would have it. That is why partial pooling is safe to begin with. And the posterior of the spread leans on
# the wall at 0: its mean and its peak lie apart, and a bell curve (Laplace, ADVI) fits it badly.

# %% [markdown] tags=["diagnose"]
# ## 3. Four sets of chains
#
# Four colleagues send four chains of 1,000 draws each of one spread. At most one set can be used. `diverged` marks the draws at which the walk broke down.

# %% tags=["hide-input"]
from inferkit.bayes import diagnose


def slowly(start, stay, rng):
    draws = [start]
    for _ in range(999):
        draws.append(stay * draws[-1] + np.sqrt(1 - stay**2) * rng.normal())
    return np.array(draws)


# %% tags=["hide-input"]
rng = np.random.default_rng(6)
walks = {
    "ash": [slowly(0, 0.2, rng) + (2.5 if k == 3 else 0) for k in range(4)],
    "beech": [slowly(rng.normal(), 0.995, rng) for k in range(4)],
    "cherry": [np.maximum(slowly(0, 0.2, rng), -1.3) for k in range(4)],
    "rowan": [slowly(0, 0.3, rng) for k in range(4)],
}
walks = {name: np.exp(0.3 * np.array(chains)) for name, chains in walks.items()}
diverged = {name: np.zeros((4, 1000), bool) for name in walks}
floor = walks["cherry"] == walks["cherry"].min()
diverged["cherry"] = floor & (rng.random((4, 1000)) < 0.1)


# %%
def r_hat(chains):
    # >>> solution: halve each chain; the spread of all draws over the spread within the halves
    halves = chains.reshape(2 * len(chains), -1)
    return np.sqrt(1 + halves.mean(axis=1).var(ddof=1) / halves.var(axis=1).mean())
    # <<< solution


def likeness(chains):
    # >>> solution: the correlation of each draw with the one before it, each chain off its own mean
    off = chains - chains.mean(axis=1, keepdims=True)
    return np.mean(off[:, 1:] * off[:, :-1]) / off.var()
    # <<< solution


for name, chains in walks.items():
    print(f"{name}: R-hat {r_hat(chains)}, likeness {likeness(chains)},", end=" ")
    print(f"diverged {diverged[name].sum()}")

# %%
check(
    "chains that agree have an R-hat near 1",
    lambda: 0.999 < r_hat(walks["rowan"]) < 1.01,
    hint="chains.reshape(8, 500) halves four chains of 1,000",
)
check(
    "chains that do not agree are far above",
    lambda: r_hat(walks["ash"]) > 1.2,
    hint="the variance of the halves' means, over the mean of their variances",
)

# %%
check(
    "a slow walk resembles itself",
    lambda: likeness(walks["beech"]) > 0.9 and likeness(walks["ash"]) < 0.5,
    hint="off[:, 1:] is one draw later than off[:, :-1]",
)

# %% [markdown]
# What is the matter with each? `"chains apart"`, `"walks too slowly"`, `"misses a corner"` or `"fine"`.

# %%
# >>> solution: one of the four for each colleague
ash, beech = "chains apart", "walks too slowly"
cherry, rowan = "misses a corner", "fine"
# <<< solution
check("ash", lambda: ash == "chains apart", hint="one of the four chains is elsewhere")
check("beech", lambda: beech == "walks too slowly", hint="how much does a draw resemble the last?")
check(
    "cherry", lambda: cherry == "misses a corner", hint="R-hat is blind here; where did it diverge?"
)
check("rowan", lambda: rowan == "fine", hint="what is left?")

# %%
# >>> solution: which remedy for cherry: "more draws", "drop the start" or "another form of the model"
remedy = "another form of the model"
# <<< solution
check(
    "the remedy for cherry",
    lambda: remedy == "another form of the model",
    hint="the missing corner is not rare for these chains: they cannot enter it",
)

# %% [markdown]
# And in words, by the library:

# %%
import xarray

posterior = xarray.Dataset({"spread": (("chain", "draw"), walks["cherry"])})
stats = xarray.Dataset({"diverging": (("chain", "draw"), diverged["cherry"])})
print(diagnose(xarray.DataTree.from_dict({"posterior": posterior, "sample_stats": stats})))

# %% [markdown] tags=["solution"]
# Look at `cherry` once more: R-hat and likeness are as good as those of `rowan`. All four chains are cut off at the same place, so they agree, and agree on a mistake. Only the divergences tell, because a
# sampler that follows the slope of the posterior notices where it cannot follow.

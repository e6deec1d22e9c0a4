# %% [markdown] tags=["slide", "title"]
# # Bayesian inference in practice
#
# **A clinic has seen three patients. Whose answer do you believe: theirs, everybody's, or something between?**

# %%
import numpy as np

from inferkit.datasets import load_clinics

clinics = load_clinics()  # made by a program, so the truth is known
clinic, dose = clinics.data.T
clinic, x, y = clinic.astype(int), dose / 10, clinics.target  # x counts tablets of 10 mg
patients = np.bincount(clinic)
for c in (2, 3):
    its_dose, its_y = dose[clinic == c], y[clinic == c]
    seen = ", ".join(f"{d:.0f} mg: {drop:.1f}" for d, drop in zip(its_dose, its_y))
    slope, _ = np.polyfit(its_dose / 10, its_y, 1)
    print(f"clinic {c}: pressure fell by ({seen}) mmHg, so a tablet adds {slope:.1f}")

# %% tags=["subslide"]
import matplotlib.pyplot as plt

from inferkit.plots import COLOURS, show, slide_size, use_style

use_style()
raw = np.array([np.polyfit(x[clinic == c], y[clinic == c], 1)[0] for c in range(24)])
fig, ax = plt.subplots(figsize=slide_size(height=0.75))
ax.axhline(0, color="0.6", lw=1)
ax.semilogx(patients, raw, "o", ms=11, color=COLOURS["orange"])
ax.set_xticks([2, 5, 10, 20, 50, 125], ["2", "5", "10", "20", "50", "125"])
ax.set(xlabel="patients of the clinic", ylabel="a tablet adds, mmHg")
ax.set_title("One drug, 24 clinics: the small ones disagree wildly")
show(fig, alt="Slopes of small clinics scatter from -4 to 10, those of the largest from 1 to 4.")

# %% [markdown] tags=["skip"]
# 600 patients in 24 clinics got a drug against high blood pressure, in one of five doses. The **slope** of a clinic is what one more tablet of 10 mg adds to the fall of the
# pressure. In clinic 2 the drug works wonders, in clinic 3 it does harm. Both have seen three patients. What do you tell the fourth?

# %% [markdown] tags=["notes"]
# Two minutes. Run the first cell and let the room say what it would tell the fourth patient of clinic 3. Expect "send him to clinic 2". Then show the figure, and ask why wonders and harm both
# happen in small clinics. (Nothing happens there: three numbers scatter more than sixty.)

# %% [markdown] tags=["slide", "objectives"]
# ## You will be able to
#
# - pool by hand: weigh a clinic's own slope against all the others, and say who gets how much;
# - write a hierarchical model in PyMC, and hold its answer against an exact one;
# - tell by R-hat, effective sample size and divergences that chains are bad, and mend them;
# - check a fitted model against its own data, and find a clinic that reports in another unit;
# - say what such a model knows about one person.
#
# 30 minutes to teach, 30 minutes to practise.
#
# **Needs** lesson 04: prior, posterior, draws.

# %% [markdown] tags=["slide", "predict"]
# ## What do you expect?
#
# Eleven clinics have seen fewer than ten patients. We know the true slope of each, and you will judge three estimates by it. No guess is scolded.

# %%
from inferkit import course

nearest = course.guess(
    "Which estimate of a small clinic's slope is nearest to the truth?",
    options=["its own patients", "everybody together", "something between"],
)
nearest

# %% [markdown] tags=["notes"]
# One minute. Votes by hand, on the board. Ask for reasons: "its own" because clinics differ, "everybody" because three patients are nothing. Both are right, and this is the lesson.

# %% [markdown] tags=["slide", "by-hand"]
# ## By hand: a weighted mean
#
# A clinic's slope, and how far chance may have moved it, its **standard error** (se): the fewer patients, the larger.


# %%
def slopes(clinic, x, y, noise=6):  # one patient differs from the next by 6 mmHg
    own, se = [], []
    for c in range(clinic.max() + 1):
        dx = x[clinic == c] - x[clinic == c].mean()
        own.append(dx @ y[clinic == c] / (dx @ dx))
        se.append(noise / np.sqrt(dx @ dx))
    return np.array(own), np.array(se)


own, se = slopes(clinic, x, y)

# %% [markdown] tags=["fragment"]
# Clinics differ as well, by 0.9 mmHg (so the program drew them). **Partial pooling** sets the two doubts against each other: $w = 0.9^2 / (0.9^2 + \mathrm{se}^2)$ goes to a clinic's own
# slope, the rest to the mean of all.


# %%
def pooled(own, se, differ=0.9):
    w = differ**2 / (differ**2 + se**2)
    mean = np.average(own, weights=1 / (differ**2 + se**2))
    return w * own + (1 - w) * mean, w


# %% tags=["subslide"]
from IPython.display import Markdown

between, w = pooled(own, se)
one = np.full(24, np.polyfit(x, y, 1)[0])  # one line through everybody
truth = clinics.truth.clinic_slope
rows = ["| clinic | patients | own slope | its weight | pooled | truth |", "|---" * 6 + "|"]
for c in (2, 3, 8, 13, 17, 23):
    numbers = (own[c], w[c], between[c], truth[c])
    rows.append(f"| {c} | {patients[c]} | " + " | ".join(f"{v:.2f}" for v in numbers) + " |")
Markdown("\n".join(rows))

# %% [markdown] tags=["skip"]
# Three patients get 4 to 10 in 100 of the say, 125 get over 80. Nobody decided this by a rule of thumb such as "at least 30 patients": two spreads did.

# %% [markdown] tags=["notes"]
# Four minutes. Ask before the table: at which size is the weight one half? (Where se is as large as 0.9: about 25 patients.) Ask what happens to w if all clinics are alike (0: everybody together)
# and if they have nothing in common (1: each alone). The two extremes are special cases.

# %% [markdown] tags=["slide", "measure"]
# ## Judged by the truth
#
# How far is each from the true slopes? The root of the mean squared error, in mmHg for a tablet.

# %%
sizes = {"2 to 9": patients < 10, "11 to 31": (patients > 9) & (patients < 32)}
sizes |= {"37 to 125": patients > 31, "all": patients > 0}
ways = {"its own patients": own, "everybody together": one, "something between": between}


def error(estimate, truth):
    return np.sqrt(np.mean((estimate - truth) ** 2))


# %% tags=["fragment"]
rows = ["| clinics of | " + " | ".join(ways) + " |", "|---" * 4 + "|"]
for words, these in sizes.items():
    found = (error(way[these], truth[these]) for way in ways.values())
    rows.append(f"| {words} patients | " + " | ".join(f"{e:.2f}" for e in found) + " |")
Markdown("\n".join(rows))

# %% tags=["fragment"]
small = sizes["2 to 9"]
nearest.beside(min(ways, key=lambda way: error(ways[way][small], truth[small])))

# %% [markdown] tags=["subslide"]
# One country may be luck. So let 300 countries come, each with 24 new clinics of these sizes, and their own truths.

# %% tags=["skip"]
from inferkit.datasets import make_clinics

squares = []
for seed in range(300):
    country = make_clinics(random_state=seed)
    c, x_c = country.data[:, 0].astype(int), country.data[:, 1] / 10
    theirs = slopes(c, x_c, country.target)
    three = theirs[0], np.polyfit(x_c, country.target, 1)[0], pooled(*theirs)[0]
    squares.append([(way - country.truth.clinic_slope) ** 2 for way in three])
lonely, together, shared = np.sqrt(np.mean(squares, axis=0))
best = np.sum(shared < np.minimum(lonely, together))
print(f"something between is the best of three at {best} of 24 sizes")

# %% tags=["fragment"]
fig, ax = plt.subplots(figsize=slide_size(height=0.7))
for words, errors, place, name in (
    ("its own patients", lonely, (6, 2), "orange"),
    ("everybody together", together, (45, 1), "black"),
    ("something between", shared, (2.1, 0.5), "blue"),
):  # fmt: skip
    ax.semilogx(patients, errors, "o-", color=COLOURS[name])
    ax.annotate(words, place, color=COLOURS[name], weight="bold")
ax.set_xticks([2, 5, 10, 20, 50, 125], ["2", "5", "10", "20", "50", "125"])
ax.set(xlabel="patients of the clinic", ylabel="error, mmHg a tablet", ylim=(0, 3))
ax.set_title("On average, between is better than either")
show(fig, alt="Own slopes err most below 20 patients, one for all above; between lies below both.")

# %% [markdown] tags=["notes"]
# Four minutes. In this one country "everybody" is nearly as good for the small clinics, and a different country would give another winner among the two. The 300 countries settle it. Ask: where do
# orange and black cross, and what does that crossing mean? (There a clinic's own patients are worth as much as all the others: weight one half.)

# %% [markdown] tags=["slide"]
# ## Nobody tells you how much clinics differ
#
# We took 0.9 from the program. In real life it is one more unknown. So try every value: each is right with some probability, and the data say with which. First what each clinic's patients say about its line.


# %%
inv, solve = np.linalg.inv, np.linalg.solve
A = np.column_stack([np.ones(600), x])  # a line: its start, without the drug, and its slope
inside = [clinic == c for c in range(24)]
XX = np.array([A[i].T @ A[i] for i in inside])


def lines_of(y):
    lines = np.array([solve(m, A[i].T @ y[i]) for m, i in zip(XX, inside)])
    return lines, np.sum((y - (A * lines[clinic]).sum(axis=1)) ** 2)


# %% [markdown] tags=["skip"]
# Given the noise and how much starts and slopes differ, all is normal, and has a closed form: the weighted mean of above, for start and slope at once. `weigh` says how well such spreads explain all
# the data (the logarithm of their **posterior** probability), and what the mean line then is.


# %% tags=["skip"]
def weigh(lines, rest, noise, differ):
    W = inv(noise**2 * inv(XX) + np.diag(differ**2))  # the weight of each line
    P = W.sum(axis=0) + np.eye(2) / 10**2  # prior of the mean line: N(0, 10)
    mean = solve(P, np.einsum("cij,cj->i", W, lines))
    off = lines - mean
    misfit = np.einsum("ci,cij,cj->", off, W, off) + rest / noise**2
    room = np.log(np.linalg.det(W)).sum() - np.log(np.linalg.det(P)) - 2 * 552 * np.log(noise)
    prior = mean @ mean / 10**2 + differ @ differ / 5**2 + noise**2 / 10**2  # half-normals: 5, 10
    return (room - misfit - prior) / 2, mean, inv(P)


grid = [(s, np.array([a, b])) for s in np.linspace(5.4, 7, 9)
        for a in np.linspace(0.1, 6, 25) for b in np.linspace(0.05, 3.5, 36)]  # fmt: skip


# %% tags=["skip"]
def exact(y, n=2000, seed=0):
    rng, told = np.random.default_rng(seed), lines_of(y)
    log_p = np.array([weigh(*told, *spreads)[0] for spreads in grid])
    p = np.exp(log_p - log_p.max())
    return p / p.sum(), [draw(told, *grid[i], rng) for i in rng.choice(len(grid), n, p=p / p.sum())]


def draw(told, noise, differ, rng):
    _, mean, cov = weigh(*told, noise, differ)
    mu = mean + np.linalg.cholesky(cov) @ rng.normal(size=2)
    C = inv(XX / noise**2 + np.diag(1 / differ**2))
    line = C @ (XX @ told[0][..., None] / noise**2 + (mu / differ**2)[:, None])
    return mu, differ, noise, (line + np.linalg.cholesky(C) @ rng.normal(size=(24, 2, 1)))[..., 0]


# %% tags=["fragment"]
p, drawn = exact(y)
mu, tau, sigma, line = (np.array(part) for part in zip(*drawn))
for words, draws, true in (
    ("mean slope", mu[:, 1], 3.0),
    ("clinics' slopes differ by", tau[:, 1], 0.9),
    ("noise", sigma, 6.0),
):
    low, high = np.quantile(draws, [0.05, 0.95])
    print(f"{words:26} {draws.mean():.2f}, 90 % from {low:.2f} to {high:.2f}; truth {true}")
print(f"these 24 true slopes differ by {truth.std(ddof=1):.2f}")

# %% [markdown] tags=["skip"]
# That is the whole answer: 8,100 guesses at three spreads, weighed, and 2,000 draws of everything. It is exact but for the grid's steps. It works because only three numbers resist a
# formula. With ten of them the grid would have a thousand million million points, and one needs a walker that goes where the probability is: a **Markov chain**.

# %% [markdown] tags=["notes"]
# Four minutes; the algebra is for reading at home. On the slide say two things. First: a hierarchical model is a model whose prior is learned from the neighbours. Second: the data put the spread at 1.4, the program
# at 0.9. Is it wrong? (Its interval begins near 0.9; with 24 clinics, half of them tiny, one cannot know a spread well.)

# %% [markdown] tags=["slide"]
# ## The same model for PyMC
#
# Seven lines, and no algebra. A clinic's line is the mean line plus a spread times a standard normal number `z`: the **non-centred** form. Why so, a later slide shows.

# %%
import pymc as pm

with pm.Model() as model:
    mean_line = pm.Normal("mu", 0, 10, shape=2)
    differ = pm.HalfNormal("tau", 5, shape=2)
    noise = pm.HalfNormal("sigma", 10)
    z = pm.Normal("z", shape=(24, 2))
    lines = pm.Deterministic("line", mean_line + differ * z)
    pm.Normal("drop", lines[clinic, 0] + lines[clinic, 1] * x, noise, observed=y)

# %% [markdown] tags=["subslide"]
# `HierarchicalRegressor` writes this model for any table with a column of groups, and walks by **NUTS**: many small steps along the slope of the posterior for each draw.

# %% tags=["measured"]
from inferkit.bayes import HierarchicalRegressor

X = np.column_stack([clinic, x])
hier = HierarchicalRegressor(
    group=0, standardize=False, intercept_prior=10.0, coef_prior=10.0, group_sd_prior=5.0,
    sigma_prior=10.0, draws=1000, tune=500, chains=2, cores=1, random_state=2,
).fit(X, y)  # fmt: skip
print(hier.diagnosis_)

# %% [markdown] tags=["fragment"]
# Two things to hold against each other: is it the model above, at any point? And do its draws agree with the exact ones?

# %% tags=["fragment"]
ours = model.compile_logp(mode="FAST_COMPILE")
library = hier.model_.compile_logp(mode="FAST_COMPILE")
apart, rng = [], np.random.default_rng(4)
for _ in range(20):  # anywhere; spreads go in as logarithms
    m, spreads, s, z = rng.normal(size=2), rng.normal(size=2), 1.8, rng.normal(size=(24, 2))
    point = {"sigma_log__": s, "mu": m, "tau_log__": spreads, "z": z}
    same = {"sigma_log__": s, "intercept": m[0], "coef": m[1:], "group_sd_log__": spreads}
    apart.append(ours(point) - library(same | {"offset": z}))
print("the same model, up to a fiftieth in log probability:", np.ptp(apart) < 0.02)

# %%
apart = np.abs(hier.group_coef_[:, 0] - line[..., 1].mean(axis=0)) / line[..., 1].std(axis=0)
print("NUTS and the exact slopes agree to a third of their doubt, all 24:", apart.max() < 1 / 3)

# %% [markdown] tags=["notes"]
# Three minutes, some of them waiting: the model is compiled first. `diagnosis_` says in words whether the chains can be trusted; what it looks at comes soon. That one model has two texts, and one density, is worth a sentence.

# %% [markdown] tags=["slide", "figure"]
# ## Small clinics move most
#
# From each clinic's own slope to its pooled one, with the truth beside them.


# %% tags=["skip"]
def shrinkage_figure(own, estimate, truth, centre):
    fig, ax = plt.subplots(figsize=slide_size(height=0.85))
    ax.axhline(centre, color="0.6", lw=1.5, ls="--")
    for c, (start, end) in enumerate(zip(own, estimate)):
        ax.annotate("", (c, end), (c, start), arrowprops={"arrowstyle": "->", "color": "0.5"})
    ax.plot(own, "o", ms=9, color=COLOURS["orange"])
    ax.plot(estimate, "o", ms=9, color=COLOURS["blue"])
    ax.plot(truth, "_", ms=17, mew=3.5, color="black")
    ax.set(xlabel="patients of the clinic", ylabel="a tablet adds, mmHg")
    ax.set_xticks(range(24), patients, fontsize=12)
    return fig


# %% tags=["skip"]
def name_signs(ax):
    signs = [("own patients", "o", "orange"), ("partial pooling", "o", "blue")]
    signs += [("truth", "_", "black")]
    for height, (words, marker, name) in zip((9.6, 8.4, 7.2), signs):
        ax.plot(10, height, marker, ms=11, mew=3, color=COLOURS[name])
        ax.annotate(words, (10.5, height), va="center", color=COLOURS[name], weight="bold")
    ax.annotate("mean of all", (23.5, 2.85), color="0.35", ha="right", fontsize=12)
    ax.set_title("The wildest slopes give way; the large clinics stay")


# %% tags=["fragment"]
pooled_slope = line[..., 1].mean(axis=0)
fig = shrinkage_figure(own, pooled_slope, truth, mu[:, 1].mean())
name_signs(fig.axes[0])
show(fig, alt="Arrows from own slopes to pooled ones: long in small clinics, short in large ones.")

# %% tags=["skip"]
before, after = error(own, truth), error(pooled_slope, truth)
print(f"error of the own slopes {before:.2f}, after pooling {after:.2f}")
print("less than half:", after < before / 2)

# %% [markdown] tags=["subslide"]
# An estimate without its doubt is half an answer. Do the 90 % intervals hold the truth? And if a new clinic opens, what will its slope be? Draw one from the group.

# %%
low, high = np.quantile(line[..., 1], [0.05, 0.95], axis=0)
kept, alone = (low <= truth) & (truth <= high), np.abs(own - truth) <= 1.645 * se
wide, wide_alone = np.median(high - low), np.median(2 * 1.645 * se)
print(f"pooled: {kept.sum()} of 24 hold the truth; the middle one is {wide:.1f} mmHg wide")
print(f"alone:  {alone.sum()} of 24 hold the truth; the middle one is {wide_alone:.1f} mmHg wide")

# %% tags=["fragment"]
rng = np.random.default_rng(1)
new = np.quantile(mu[:, 1] + tau[:, 1] * rng.normal(size=2000), [0.05, 0.95])
to_come = rng.normal(3, 0.9, 10_000)  # clinics as the program draws them
kept_new = np.mean((new[0] <= to_come) & (to_come <= new[1]))
print(f"a new clinic: {new[0]:.1f} to {new[1]:.1f}; that holds {kept_new:.0%} of clinics to come")

# %% [markdown] tags=["notes"]
# Four minutes. Let the room find the clinic that pooling made worse (there are some: where the own slope was lucky). Pooling is a promise for the crowd of clinics, not for each. The new clinic's interval
# holds more than 90 %: the spread was estimated too large.

# %% [markdown] tags=["slide", "why"]
# ## Why does it work?
#
# Two sources tell of one slope: the clinic's patients, $N(b, \mathrm{se}^2)$, and the other clinics, $N(\mu, \tau^2)$. Multiply the two curves, and complete the square: precisions add, means are weighed by them.
#
# $$\frac{b/\mathrm{se}^2 + \mu/\tau^2}{1/\mathrm{se}^2 + 1/\tau^2} = w\,b + (1 - w)\,\mu, \qquad w = \frac{\tau^2}{\tau^2 + \mathrm{se}^2}$$
#
# An own slope is right on average, and scatters. The mean of all hardly scatters, and is wrong for each clinic. Between them a little bias buys much calm.

# %% [markdown] tags=["notes"]
# Two minutes. Charles Stein's theorem of 1956: with three or more means, shrinking beats taking each alone, whatever the truth. It shocked statisticians, who had taken each alone for two hundred years.

# %% [markdown] tags=["slide"]
# ## And one person?
#
# Patients of one clinic differ too: by 0.7 mmHg a tablet. Each was seen once. How far is the clinic's slope from a patient's own?

# %%
person = clinics.truth.patient_slope
rows = ["| patients of clinics of | error for the person | were the clinic known |"]
rows.append("|---" * 3 + "|")
for words, these in sizes.items():
    i = these[clinic]
    mistakes = error(pooled_slope[clinic[i]], person[i]), error(truth[clinic[i]], person[i])
    rows.append(f"| {words} | " + " | ".join(f"{e:.2f}" for e in mistakes) + " |")
Markdown("\n".join(rows))

# %% [markdown] tags=["skip"]
# The right column is the floor: no number of *other* patients takes anything off it. Only seeing the same person again does. How often?

# %% tags=["skip"]
visits = np.arange(41)
doubt = 1 / np.sqrt(1 / 0.7**2 + visits * 4**2 / 6**2)  # visits at 40 mg; start and clinic known
for n in (1, 4, 10):
    print(f"visits {n:2}: doubt about the own slope {doubt[n]:.2f}, {1 - doubt[n] / 0.7:.0%} less")
print("visits that halve it:", np.argmax(doubt <= 0.35))

# %% [markdown] tags=["notes"]
# Three minutes. "Personalised medicine" mostly means: fitted to a group that resembles you. Ask who in the room has been given a dose by trial and error; that is the honest kind, one person seen
# many times. Even the doubt of 0.63 takes for granted that all else about the person is known.

# %% [markdown] tags=["slide"]
# ## What bad chains look like
#
# The oldest walker, by Metropolis, in eight lines: propose a step, go there if it is likelier, else go there sometimes. It looks for two numbers: the mean slope and the logarithm of the spread.


# %%
def log_posterior(mean, log_spread):
    variance = np.exp(2 * log_spread) + se**2
    likely = -np.sum((own - mean) ** 2 / variance + np.log(variance)) / 2
    return likely - np.exp(2 * log_spread) / 50 + log_spread  # the prior: half-normal, 5


def metropolis(start, step, draws, rng):
    here, chain = np.array(start), []
    for _ in range(draws):
        there = here + step * rng.normal(size=2)
        if np.log(rng.random()) < log_posterior(*there) - log_posterior(*here):
            here = there
        chain.append(here)
    return np.array(chain)


# %% tags=["skip"]
rng = np.random.default_rng(5)
starts = [(-4, -2), (0, 1), (4, -1), (9, 2)]
plans = {"steps too short": (0.02, 1000), "steps too long": (8, 1000)}
plans |= {"start kept": (0.5, 1000), "mended": (0.5, 6000)}
chains = {}
for words, (step, n) in plans.items():
    chains[words] = np.array([metropolis(start, step, n, rng) for start in starts])
chains["mended"] = chains["mended"][:, 1000:]  # the walk from the start is no draw

# %% tags=["subslide"]
fig, axes = plt.subplots(1, 4, figsize=slide_size(height=0.72), sharey=True)
for ax, (words, found) in zip(axes, chains.items()):
    for chain, colour in zip(found[..., 0], COLOURS.values()):
        ax.plot(np.arange(0, len(chain), 5), chain[::5], color=colour, lw=1)
    ax.set(title=words, xlabel="draw", xticks=[0, len(chain)])
axes[0].set_ylabel("mean slope")
show(fig, alt="Short steps: four chains that never meet. Long ones: flat stairs. The last two mix.")

# %% [markdown] tags=["subslide"]
# **R-hat** asks whether halves of chains agree: the spread of all, over the spread within each. 1 is right. The **effective sample size** (ESS) asks how many independent draws would tell as much: what follows resembles what came before.


# %%
def r_hat(chains):
    halves = chains.reshape(2 * len(chains), -1)
    within, between = halves.var(axis=1).mean(), halves.mean(axis=1).var(ddof=1)
    return np.sqrt(1 + between / within)


def effective(chains):
    off = chains - chains.mean()
    worth = 1.0
    for lag in range(1, chains.shape[1]):
        if (r := np.mean(off[:, lag:] * off[:, :-lag]) / off.var()) < 0.02:
            break
        worth += 2 * r
    return chains.size / worth


# %% tags=["skip"]
import xarray

from inferkit.bayes import diagnose


def looked_at(chains):
    axes = ("chain", "draw")
    draws = {"mean": (axes, chains[..., 0]), "log_spread": (axes, chains[..., 1])}
    return diagnose(xarray.DataTree.from_dict({"posterior": xarray.Dataset(draws)}))


said = {words: looked_at(found) for words, found in chains.items()}

# %% tags=["subslide"]
rows = ["| mean slope | R-hat by hand | library | ESS by hand | library |", "|---" * 5 + "|"]
for words, found in chains.items():
    ours, row = found[..., 0], said[words].parameters[0]
    numbers = f"{r_hat(ours):.2f} | {row.rhat:.2f} | {effective(ours):.0f} | {row.ess_bulk:.0f}"
    rows.append(f"| {words} | {numbers} |")
Markdown("\n".join(rows))

# %% tags=["fragment"]
for words, diagnosis in said.items():
    alarms = ", ".join(problem.what for problem in diagnosis.problems)
    print(f"{words:16} {alarms or 'no problem found'}")
print("\nsteps too short, in words:", said["steps too short"].problems[0])

# %% [markdown] tags=["notes"]
# Five minutes. Ask of each panel: would you hand in its mean? The long steps look calm, and that is the danger: flat stairs are a chain that refuses. The library ranks the draws first (Vehtari and others, 2021), so its R-hat
# differs from ours where chains are bad, and agrees where they are good.

# %% [markdown] tags=["slide"]
# ## The funnel, and how to mend it
#
# Take only the eight clinics with 2 to 6 patients, and write the slopes as one would at first: drawn around the mean, **centred**. Where the spread is small, all eight must be nearly equal: a narrow neck that long steps cannot enter.


# %%
def eight(form):
    few = clinic < 8
    with pm.Model() as model:
        mean, differ = pm.Normal("mean", 3, 3), pm.HalfNormal("differ", 5)
        if form == "centred":
            slope = pm.Normal("slope", mean, differ, shape=8)
        else:
            slope = pm.Deterministic("slope", mean + differ * pm.Normal("z", shape=8))
        pm.Normal("drop", 4 + slope[clinic[few]] * x[few], 6.0, observed=y[few])
    return model


# %% [markdown] tags=["skip"]
# With one spread left, the exact answer is a sum over a line of values of it. It will be the judge.

# %% tags=["skip"]
b, s = [], []
for i in inside[:8]:
    b.append(x[i] @ (y[i] - 4) / (x[i] @ x[i]))
    s.append(6 / np.sqrt(x[i] @ x[i]))
differs, log_p = np.linspace(0.01, 15, 1500), []
for differ in differs:
    variance = differ**2 + np.array(s) ** 2
    P, h = 1 / 9 + np.sum(1 / variance), 1 / 3 + np.sum(b / variance)
    fit = h**2 / P - np.log(P) - np.sum(np.square(b) / variance + np.log(variance))
    log_p.append((fit - differ**2 / 25) / 2)
p = np.exp(log_p - np.max(log_p)) / np.exp(log_p - np.max(log_p)).sum()
exact_mean, exact_sd = p @ differs, np.sqrt(p @ differs**2 - (p @ differs) ** 2)

# %% [markdown] tags=["skip"]
# Four ways: the centred form; the same with shorter steps; the non-centred form; and, on that, two short cuts. **ADVI** looks for the independent bell curves nearest to the posterior, **Laplace** puts one on its highest point.

# %% tags=["skip"]
import warnings

from inferkit.bayes import InferenceWarning, compare_methods, sample

plan = {"tune": 500, "chains": 2, "target_accept": 0.95}
with warnings.catch_warnings():
    warnings.simplefilter("ignore", InferenceWarning)  # we look for ourselves
    walks = {"centred": sample(eight("centred"), tune=500, chains=2, cores=1, random_state=3)}
    walks["shorter steps"] = sample(eight("centred"), cores=1, random_state=3, **plan)
judge = {"differ": (exact_mean, exact_sd)}
options = {"nuts": plan, "advi": {"steps": 10_000}}
common = {"draws": 1000, "cores": 1, "random_state": 1}
methods = compare_methods(eight("non-centred"), exact=judge, options=options, **common)

# %% tags=["measured", "skip"]
walks["non-centred"] = methods.idatas["nuts"]
print("CENTRED", *diagnose(walks["centred"]).problems[:2], sep="\n- ")
print("NON-CENTRED:", diagnose(walks["non-centred"]))

# %% tags=["skip"]
spreads = {form: walk.posterior["differ"].values for form, walk in walks.items()}
torn = {form: walk.sample_stats["diverging"].values for form, walk in walks.items()}
times = {form: int(these.sum()) for form, these in torn.items()}
print("the non-centred form diverges least:", times["non-centred"] < min(times["centred"], 8))
neck = {form: spread.min() for form, spread in spreads.items()}
print("the centred one never gets into the neck:", neck["centred"] > 5 * neck["non-centred"])

# %% tags=["measured", "subslide"]
fig, axes = plt.subplots(1, 3, figsize=slide_size(height=0.8), sharex=True, sharey=True)
for ax, (form, walk) in zip(axes, walks.items()):
    first, spread = walk.posterior["slope"].values[..., 0], spreads[form]
    ax.semilogy(first[:, ::4], spread[:, ::4], ".", ms=3, color=COLOURS["blue"], alpha=0.6)
    ax.semilogy(first[torn[form]], spread[torn[form]], "o", ms=6, color=COLOURS["orange"])
    ax.set(title=form, xlabel=f"slope of clinic 0\n{times[form]} divergences", ylim=(0.01, 20))
axes[0].set_ylabel("how much clinics differ")
show(fig, alt="A funnel: centred draws stop above its neck and diverge; non-centred ones go in.")

# %% [markdown] tags=["skip"]
# A **divergence** is a walk whose energy ran away: the step was too long for the bend. It is the only one of the alarms that says *where*. Shorter steps help a little. The mend is another form of the same model, in which the walker
# moves `z` and the spread apart. With many patients in each clinic the centred form is the better one: nothing is for ever.

# %% [markdown] tags=["subslide"]
# And the short cuts, on the form that works? Errors are in exact standard deviations of the spread.

# %% tags=["measured"]
methods

# %%
nuts, advi, laplace = (methods[name] for name in ("nuts", "advi", "laplace"))
print("NUTS finds the mean to a third of its doubt:", nuts.error_mean < 1 / 3)
print("ADVI is wrong about the doubt by more than a quarter:", advi.error_sd > 1 / 4)
print("Laplace is off by more than two standard deviations:", laplace.error_mean > 2)


# %% tags=["skip"]
def density(draws, at, width=0.2):
    return np.exp(-(((at[:, None] - draws) / width) ** 2) / 2).mean(axis=1) / width / 2.5066


# %% tags=["measured", "subslide"]
at = np.linspace(0, 12, 400)
fig, ax = plt.subplots(figsize=slide_size(height=0.75))
ax.plot(differs, p / (differs[1] - differs[0]), color="black", lw=6, alpha=0.3)
labels = [("exact (grey) and NUTS", (2.3, 0.42)), ("ADVI", (1.9, 0.75)), ("Laplace", (6.8, 0.14))]
for (words, place), walk, colour in zip(labels, methods.idatas.values(), COLOURS.values()):
    ax.plot(at, density(walk.posterior["differ"].values.ravel(), at), color=colour)
    ax.annotate(words, place, color=colour, weight="bold")
ax.set(xlabel="how much clinics differ, mmHg a tablet", yticks=[], xlim=(0, 12))
show(fig, alt="NUTS lies on the exact curve; ADVI is too narrow; Laplace is far too wide.")

# %% tags=["skip"]
drawn_by = methods.idatas["laplace"].posterior["differ"].values
print("Laplace's spread is over three times the exact one:", drawn_by.mean() > 3 * exact_mean)

# %% [markdown] tags=["skip"]
# The posterior of a spread leans, has a wall at 0, and a neck towards it. ADVI's curves cannot lean together, so it is too sure. Laplace looks for the highest point in ten dimensions, and finds
# a spike where hardly any probability lives: huge spreads, with every `z` near 0. A peak is a place; probability is a volume.

# %% [markdown] tags=["notes"]
# Five minutes. Ask before the figure: which values of the spread are missing on the left? R-hat may be silent on it: both chains miss the same neck. "Shorter steps" is `target_accept=0.95`, the usual first advice. In the
# table look at the last column: an alarm can be silent about ADVI too. In lesson 04 Laplace was good: there was no spread to learn there.

# %% [markdown] tags=["slide"]
# ## Does the model fit its own data?
#
# A **posterior predictive check**: let the fitted model make 2,000 countries, and ask whether ours would stand out. The data card says that patients differ more at 40 mg than at 0. The model does not know it. Does it show?

# %%
rng = np.random.default_rng(2)


def grows(rest):  # how much wider the crowd is at 40 mg than at 0
    return rest[:, x == 4].std(axis=1) / rest[:, x == 0].std(axis=1)


predicted = line[:, clinic, 0] + line[:, clinic, 1] * x
ours, theirs = grows(y - predicted), grows(sigma[:, None] * rng.normal(size=predicted.shape))
share = np.mean(theirs > ours)
print(f"wider by {ours.mean():.2f} in ours, by {theirs.mean():.2f} in the model's countries")
print(f"in {share:.0%} of the model's countries it is wider than in ours")

# %% tags=["fragment"]
countries = rng.normal(size=(4000, 2, 120)) * np.array([6, np.hypot(6, 0.7 * 4)])[:, None]
ratio = countries[:, 1].std(axis=1) / countries[:, 0].std(axis=1)
seen = np.mean(ratio > np.quantile(theirs, 0.95))
print(f"the true ratio is {np.hypot(6, 2.8) / 6:.2f}; of such countries {seen:.0%} stand out")

# %% tags=["measured", "skip"]
mean_lines = predicted.mean(axis=0)
hier.predictive_check(
    statistics={
        "wider at 40 mg": lambda y: grows((y - mean_lines)[None])[0],
        "sd of all": np.std,
        "largest": np.max,
    },
    random_state=4,
)

# %% tags=["skip"]
print("by hand: would ours stand out?", not 0.025 < share < 0.975)

# %% [markdown] tags=["notes"]
# Three minutes. A check that finds nothing has said little, unless you know what it could have found. With 600 patients this one is nearly blind to a fault of 10 %. That is also why the fault does little harm.

# %% [markdown] tags=["slide", "textbook"]
# ## When the textbook is wrong here
#
# The verdicts follow what was measured above, and three new rows of the ledger: which share of 2,400 fresh patients is foretold to within 10 mmHg?


# %% tags=["skip"]
def within_10(y, predicted):
    return np.mean(np.abs(y - predicted) < 10)


rng = np.random.default_rng(7)
c_new, x_new = np.repeat(np.arange(24), 100), np.tile(np.arange(5.0), 480)
slope_new = rng.normal(truth[c_new], 0.7)
y_new = clinics.truth.clinic_intercept[c_new] + slope_new * x_new + rng.normal(0, 6, 2400)
X_new = np.column_stack([c_new, x_new])

# %% tags=["skip"]
own_lines, one_line = lines_of(y)[0], np.polyfit(x, y, 1)


def lone(X):
    its = own_lines[X[:, 0].astype(int)]
    return its[:, 0] + its[:, 1] * X[:, 1]


# %% tags=["measured", "skip"]
from inferkit.benchmark import Ledger, compare

variants = {
    "own lines": lone,
    "one line": lambda X: np.polyval(one_line, X[:, 1]),
    "partial pooling": hier.compile(),
}
rows = compare(variants, X_new, y_new, n=200, rounds=10, metric=within_10, ledger=Ledger.open())
rows

# %% tags=["skip"]
hits = {row.name: row.accuracy for row in rows}
more = hits["partial pooling"] > hits["own lines"]
print("partial pooling foretells more patients than own lines:", more)

# %% tags=["measured", "fragment"]
gain, sharper = 1 - doubt[1] / 0.7, times["non-centred"] < times["shorter steps"]
less = 1 - error(pooled_slope[clinic], person) / error(one[clinic], person)
person_says = f"to the clinic: {less:.0%} off the error; one visit of their own: {gain:.0%}"
alone_says = "does not hold here" if lonely[0] > shared[0] else "holds"
verdicts = {
    "Predictions can be fitted to the person": person_says,
    "Small groups need a model of their own": alone_says,
    "ADVI is NUTS, only faster": f"its doubt is off by {advi.error_sd:.0%}",
    "Shorter steps mend divergences": "another form mends more" if sharper else "holds here",
}
rows = [f"| {claim} | {verdict} |" for claim, verdict in verdicts.items()]
Markdown("\n".join(["| they say | here |", "|---|---|", *rows]))

# %% tags=["skip"]
print("pooling by clinic brings the error for a person down:", less > 0)
print("but by less than half:", less < 0.5)

# %% [markdown] tags=["notes"]
# Three minutes. The ledger's three shares are close: what is foretold is one patient's pressure, and 6 mmHg of noise cover everything. Ask when the difference matters. (When the slope itself is the decision: which dose?)

# %% [markdown] tags=["slide", "play"]
# ## Play
#
# A new clinic, whose true slope is 1. Let patients come in. When do they outvote the other clinics? Then make clinics nearly alike (0.1), and very unlike (3): whom does a clinic of five believe?

# %% tags=["skip"]
from inferkit.widgets import LiveFigure, curve, text
from inferkit.widgets import line as mark

rng = np.random.default_rng(12)
doses = np.concatenate([rng.permutation(5) for _ in range(25)]).astype(float)
drops = 4 + rng.normal(1, 0.7, 125) * doses + rng.normal(0, 6, 125)
see, ENDS = np.linspace(-5, 9, 281), np.array([-1, 1])


def bell(mean, sd):
    return np.exp(-(((see - mean) / sd) ** 2) / 2) / sd / 2.5066


# %% tags=["fragment"]
def believe(patients, clinics_differ_by):
    dx = doses[:patients] - doses[:patients].mean()
    b, s = dx @ drops[:patients] / (dx @ dx), 6 / np.sqrt(dx @ dx)
    w = clinics_differ_by**2 / (clinics_differ_by**2 + s**2)
    m, sd = w * b + (1 - w) * 3, np.sqrt(w) * s
    return [
        curve(see, bell(3, clinics_differ_by), label="other clinics", dashed=True, colour="black"),
        curve(see, bell(b, s), label="its patients", colour="orange"),
        curve(see, bell(m, sd), label="believed", colour="blue"), mark(x=1, label="truth"),
        text("weight of its patients", f"{w:.0%}"),
        text("90 % interval", "{:.1f} to {:.1f} mmHg".format(*(m + 1.645 * sd * ENDS))),
    ]  # fmt: skip


# %% tags=["subslide"]
play = LiveFigure(
    believe, {"patients": [2, 3, 5, 8, 13, 22, 40, 75, 125], "clinics_differ_by": (0.1, 3, "log")},
    start={"patients": 13, "clinics_differ_by": 0.9}, xlabel="a tablet adds, mmHg",
    ylabel="density", ylim=(0, None),
    alt="At {patients} patients: weight {weight of its patients}, {90 % interval}.",
)  # fmt: skip
play

# %% [markdown] tags=["notes"]
# Four minutes. With 0.1 the clinic stays at 3 for ever: a prior that is too sure does not learn from 125 patients. With 3 a clinic of five is nearly on its own. At 0.9 and 125 patients the interval still
# misses the truth: who is unlike the others pays for being pooled with them. Ask who that is in medicine.

# %% [markdown] tags=["slide", "break-it"]
# ## Break it
#
# One of the larger clinics reports something in another way than all the others. Nothing raises, every chain is fine, and pooling hides the rest. Find the clinic, and what it does.

# %% tags=["hide-input"]
# what happened stands here: looking spoils the hunt
y_sent = np.where(clinic == 17, y / 7.50062, y)

# %% tags=["skip"]
_, drawn = exact(y_sent, n=400)
sent, sent_noise = np.array([d[3] for d in drawn]), np.array([d[2] for d in drawn])
rows = []
for c in range(13, 24):
    i, (start, slope) = inside[c], lines_of(y_sent)[0][c]
    rest = y_sent[i] - sent[:, c, :1] - sent[:, c, 1:] * x[i]
    made = (sent_noise[:, None] * rng.normal(size=rest.shape)).std(axis=1)
    low, high = np.quantile(made, [0.025, 0.975])
    scatter = f"{rest.std(axis=1).mean():.1f} | {low:.1f} to {high:.1f}"
    its = f"{start:.1f} | {slope:.1f} | {sent[:, c, 1].mean():.1f}"
    rows.append(f"| {c} | {patients[c]} | {its} | {scatter} |")

# %% tags=["fragment"]
heads = "| clinic | patients | start, own | slope, own | pooled | scatter | the model's, 95 % |"
Markdown("\n".join([heads, "|---" * 7 + "|", *rows]))

# %% [markdown] tags=["subslide"]
# Say which clinic, and one of `"doses in another order"`, `"rise written for fall"`, `"kPa in place of mmHg"` or `"patients counted twice"`.

# %%
suspect, deed = ..., ...

# %% tags=["hide-input"]
# what happened stands here, too
hint = "whose patients are more alike than the model would ever make them?"
course.check("the clinic", suspect if suspect is ... else suspect == 17, hint)
hint = "start, slope and scatter: which of them are off, and by one factor?"
truly = "kPa in place of mmHg"
course.check("what it does", deed if deed is ... else deed == truly, hint)

# %% [markdown] tags=["notes"]
# Four minutes. The slope alone is no alarm: clinics do differ, and the model takes it for a clinic where the drug works badly. The scatter gives it away: nobody's patients are that much alike. A mmHg is 0.133 kPa.

# %% [markdown] tags=["slide", "summary"]
# ## Summary
#
# - Between "each alone" and "all together" lies a weighted mean, and the data choose the weights: the fewer patients, the more a clinic leans on the others.
# - A sampler can fail without an error. Look at R-hat, effective sample size and divergences; mend the model's form before you buy more draws.
# - Pooling fits a prediction to a group. One person seen once remains mostly unknown, and a model can say how unknown.
#
# [Three exercises](exercises/05_bayesian_inference_in_practice.ipynb) wait: your own shrinkage, a drug for which clinics do not differ, and four sets of chains. The ledger has three new rows. Lesson 06: uncertainty at serving speed.

# %% [markdown] tags=["slide", "quiz"]
# ## Quiz

# %% tags=["hide-input"]
course.quiz(
    {
        "question": "Two patients give a slope of 10; other clinics lie near 3. Its true slope?",
        "options": {
            "10": "Two patients scatter by more than clinics differ.",
            "Near 3, a little above": "Most of that 10 is chance; a little is not.",
            "Exactly 3": "Clinics differ, and two patients do say something.",
        },
        "answer": "Near 3, a little above",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "The spread between clinics goes to 0. What does partial pooling become?",
        "options": {
            "One line for everybody": "Yes: nothing is left that clinics could differ in.",
            "A line for each alone": "That is an infinite spread.",
            "Nothing, it fails": "A spread of 0 is hard for samplers, not for the model.",
        },
        "answer": "One line for everybody",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "R-hat is 1.00, and 40 walks diverged. Can you use the draws?",
        "options": {
            "Yes, the chains agree": "They may agree on missing the same corner.",
            "Not yet: a corner may be missing": "Change the form of the model, then look again.",
            "Yes, 40 of 2,000 is little": "They mark a place where nobody gets through.",
        },
        "answer": "Not yet: a corner may be missing",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "4,000 draws have an effective sample size of 50. What helps least?",
        "options": {
            "A better step, or another form of the model": "This is the usual cure.",
            "Many more draws": "It helps, at a price.",
            "Keeping every 80th draw": "That throws draws away, and adds nothing.",
        },
        "answer": "Keeping every 80th draw",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "A million other patients are added. What can be said better about one person?",
        "options": {
            "The slope of their clinic": "Up to the floor: how much persons differ.",
            "Their own slope, to any precision": "Others never tell how one differs from them.",
            "Nothing at all": "The clinic's slope is a part of theirs.",
        },
        "answer": "The slope of their clinic",
    }
)

# %% [markdown] tags=["skip", "sources"]
# ## Sources
#
# - The clinics: made by `inferkit.datasets.make_clinics`, with the truth beside them; see `datasets/clinics.md`.
# - Partial pooling: A. Gelman and J. Hill, *Data Analysis Using Regression and Multilevel/Hierarchical Models*, 2007. C. Stein, *Inadmissibility of the Usual Estimator*, 1956.
# - R-hat and ESS: A. Vehtari et al., *Rank-Normalization, Folding, and Localization: An Improved R-hat*, Bayesian Analysis 16, 2021.
# - The funnel and its mend: M. Betancourt and M. Girolami, *Hamiltonian Monte Carlo for Hierarchical Models*, 2015. NUTS: M. D. Hoffman and A. Gelman, JMLR 15, 2014.
# - Checks: A. Gelman, X.-L. Meng and H. Stern, *Posterior Predictive Assessment of Model Fitness*, Statistica Sinica 6, 1996.

# %% [markdown]
# # Exercises 07: batch inference
#
# Three exercises, 30 minutes. Write where it says "Your code here", run the cell, and read what the checks below say. They are plain code: look into them.

# %%
import numpy as np

from inferkit.course import check
from inferkit.datasets import make_customers
from inferkit.predictor import churn_scorer

scorer = churn_scorer()
customers = make_customers(3000, random_state=17)

# %% [markdown] tags=["core"]
# ## 1. Cut a stream anew
#
# Files come in pieces of any length; a model wants batches of one size. Write a generator that takes pieces (arrays) and gives batches of exactly `size` rows, in order; only the last may be
# shorter. Hold no more than what is waiting: give a batch as soon as it is full.


# %%
def cut_anew(pieces, size):
    waiting = []  # rows that have come and are not yet given
    for piece in pieces:
        # >>> solution: add the piece's rows to those waiting; while a batch is full, yield it
        waiting.extend(piece)
        while len(waiting) >= size:
            yield np.array(waiting[:size])
            del waiting[:size]
        # <<< solution
    # >>> solution: yield what is left, if there is anything
    if waiting:
        yield np.array(waiting)
    # <<< solution
    yield from ()  # nothing more; it makes this a generator before you have filled it in


pieces = np.split(np.arange(20), [7, 8, 8, 19])  # 7, 1, 0, 11 and 1
print([batch.tolist() for batch in cut_anew(pieces, 6)])

# %%
check(
    "batches of 6, the last of 2",
    lambda: [len(batch) for batch in cut_anew(pieces, 6)] == [6, 6, 6, 2],
    hint="an empty piece adds nothing, a long one may fill several batches",
)
check(
    "every row once, in order",
    lambda: np.concatenate(list(cut_anew(pieces, 6))).tolist() == list(range(20)),
    hint="what has been given must leave those waiting",
)


# %%
def taken_for_the_first(size):
    taken = []
    endless = (taken.append(k) or np.arange(5) for k in range(1000))
    next(cut_anew(endless, size))
    return len(taken)


check(
    "the first batch of 12 comes after three pieces of 5, not after a thousand",
    lambda: taken_for_the_first(12) == 3,
    hint="yield inside the loop over pieces",
)

# %% [markdown]
# Now use it: score the customers in batches of 256, from pieces of 100. How many are expected to leave?

# %%
hundreds = (customers.data[i : i + 100] for i in range(0, 3000, 100))
# >>> solution: the sum of the second column of predict_proba, over all batches
expected = sum(scorer.predict_proba(batch)[:, 1].sum() for batch in cut_anew(hundreds, 256))
# <<< solution
print("expected to leave:", expected)
check(
    "as many as in one call",
    lambda: abs(expected - scorer.predict_proba(customers.data)[:, 1].sum()) < 0.01,
    hint="scorer.predict_proba(batch)[:, 1].sum(), added up",
)

# %% [markdown] tags=["solution"]
# The generator holds fewer than `size` rows and one piece, whatever comes. A list of rows is slow for tables of millions: a library keeps whole pieces and cuts them at the boundaries. The contract is the same.

# %% [markdown] tags=["stretch"]
# ## 2. How often to save?
#
# A job takes 10 hours of work. Writing a checkpoint takes 40 seconds. The machine is killed at random instants, on average every 5 hours; a restart then goes on from the last checkpoint, and what came after it is
# done again. Save after every minute, or every three hours? Fill in what happens to one piece of work: it counts if the next kill comes after it and its checkpoint.


# %%
def hours_needed(every, rng, work=10.0, save=40 / 3600, between_kills=5.0):
    clock, done, next_kill = 0.0, 0.0, rng.exponential(between_kills)
    while done < work - 1e-9 and clock < 1000:  # some never get there
        piece = min(every, work - done)
        # >>> solution: if it is finished in time, move clock and done; else move clock to the kill, and draw the next
        if clock + piece + save <= next_kill:
            clock, done = clock + piece + save, done + piece
        else:
            clock, next_kill = next_kill, next_kill + rng.exponential(between_kills)
        # <<< solution
        if clock == 0:
            break  # nothing has been filled in yet
    return clock


# %%
def mean_hours(every, jobs=300):
    rng = np.random.default_rng(1)
    return np.mean([hours_needed(every, rng) for _ in range(jobs)])


# %%
check(
    "if nothing kills it, work and saving are all there is",
    lambda: (
        abs(hours_needed(0.5, np.random.default_rng(0), between_kills=1e9) - (10 + 20 * 40 / 3600))
        < 1e-6
    ),
    hint="20 pieces of half an hour, and 20 checkpoints",
)

# %%
check(
    "saving every five hours is far worse than every half hour",
    lambda: mean_hours(5.0) > 1.2 * mean_hours(0.5) > 10,
    hint="a kill costs what was done since the last checkpoint",
)

# %%
minutes = [1, 3, 10, 20, 60, 180]
# >>> solution: which of these intervals, in minutes, needs the fewest hours on average?
best = min(minutes, key=lambda m: mean_hours(m / 60))
# <<< solution
print("best of them:", best, "minutes")
check("the best interval", lambda: best == 20, hint="min(minutes, key=...)")

# %% [markdown]
# John W. Young found in 1974 that with a save time $s$ and kills every $k$ hours on average, the best interval is near $\sqrt{2 s k}$. What does he say here, in minutes?

# %%
# >>> solution: Young's interval in minutes
young = 60 * np.sqrt(2 * 40 / 3600 * 5)
# <<< solution
print("Young says:", young)
check(
    "Young's interval",
    lambda: abs(young - 20) < 1,
    hint="save time and time between kills in the same unit, the root times 60 if it is hours",
)

# %% [markdown] tags=["solution"]
# Both ends cost: saving costs $s$ in every interval, and a kill costs half an interval on average. The sum, $s/x + x/(2k)$ an hour, is smallest where its two parts are equal. Around the best it is flat: 10 minutes or 30
# cost little more.

# %% [markdown] tags=["diagnose"]
# ## 3. The count is right
#
# Last night's job was killed at ten past two, and a colleague has put the file together by hand from its parts of 100 rows. 3,000 customers, 3,000 lines: "complete", says the report.

# %% tags=["hide-input"]
told = scorer.predict_proba(customers.data)[:, 1]
order = np.arange(30)
order[13] = 12
lines = [
    (int(customers.customer[i]), float(told[i]))
    for k in order
    for i in range(100 * k, 100 * k + 100)
]
del order

# %%
print(f"{len(lines):,} lines; the first: customer {lines[0][0]}, {lines[0][1]:.3f}")
who = np.array([customer for customer, _ in lines])

# %%
# >>> solution: the customers with more than one line, and those with none
several = np.unique(who[np.flatnonzero(np.bincount(who)[who] > 1)])
none = np.setdiff1d(customers.customer, who)
# <<< solution
check(
    "customers with more than one line",
    lambda: len(several) == 100 and np.isin(several, customers.customer[1200:1300]).all(),
    hint="np.unique(who, return_counts=True)",
)
check(
    "customers with none",
    lambda: set(none) == set(customers.customer[1300:1400]),
    hint="np.setdiff1d(customers.customer, who)",
)

# %%
# >>> solution: "a part was lost", "a part is there twice", "both" or "rows in wrong order"
suspicion = "both"
# <<< solution
check("what happened", lambda: suspicion == "both", hint="how can the count be right?")

# %% [markdown]
# Repair it, without asking the model about a single customer more than is needed: `repaired` is a dict, customer to probability, for all 3,000.

# %%
# >>> solution: a dict from the lines, and the customers that have none asked and added
repaired = dict(lines)
missing = np.flatnonzero(np.isin(customers.customer, none))
answers = scorer.predict_proba(customers.data[missing])[:, 1]
repaired |= dict(zip(customers.customer[missing].tolist(), answers.tolist()))
# <<< solution

# %%
check(
    "all customers are there, each once",
    lambda: sorted(repaired) == sorted(customers.customer.tolist()),
    hint="a dict keeps one line for each customer",
)
check(
    "the answers are those of one undisturbed run",
    lambda: np.allclose([repaired[c] for c in customers.customer.tolist()], told, atol=1e-6),
    hint="customers.data[missing] are the rows to ask",
)

# %% [markdown] tags=["solution"]
# A count is one number, and two errors can cancel in it. Ids cannot lie that way. That is why each line carries one, and why a job should compare the ids that went in with those that came out before it says "complete". Two lines for
# one customer were harmless here, because both say the same; were they orders to pay, they would not be.

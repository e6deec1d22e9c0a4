# %% [markdown]
# # Exercises 03: measuring honestly
#
# Three exercises, 30 minutes. Write where it says "Your code here", run the cell, and read what the checks below say. They are plain code: look into them.

# %%
import numpy as np
from scipy.stats import binom

from inferkit.benchmark import percentile, percentile_interval, samples_needed
from inferkit.course import check

rng = np.random.default_rng(11)


def pretend(n):  # times in ms, as in the lesson
    return rng.lognormal(np.log(3), 0.08, n) + (rng.random(n) < 0.03) * rng.exponential(20, n)


# %% [markdown] tags=["core"]
# ## 1. An interval for any percentile
#
# `below[k]` is the chance that at most k of n values lie below the true percentile. The lower rank is the first k at which that chance is more than half of what the
# confidence leaves; the upper rank is one more than the first k at which all but half of it is reached. Ranks count from 1. Return the two values of the sample at
# these ranks, and None for an end that no value of the sample can bound.


# %%
def interval(values, q, confidence=0.95):
    ordered, n = np.sort(values), len(values)
    below = binom.cdf(np.arange(n + 1), n, q / 100)
    beyond = (1 - confidence) / 2
    # >>> solution: the lower and the upper rank, and the values there (None if there is none)
    low, high = np.argmax(below > beyond), np.argmax(below >= 1 - beyond) + 1
    return tuple(float(ordered[r - 1]) if 1 <= r <= n else None for r in (low, high))
    # <<< solution


sample = pretend(1000)
print("p50:", interval(sample, 50), " p99:", interval(sample, 99))

# %%
check(
    "the median of a hundred lies between the 40th and the 61st",
    lambda: interval(np.arange(1, 101), 50) == (40, 61),
    hint="rank 40 is place 39 of a sorted array",
)
check(
    "the p99 of a hundred has no upper end",
    lambda: interval(np.arange(1, 101), 99) == (97, None),
    hint="an upper rank of 101 is beyond the sample",
)

# %%
check(
    "it agrees with the library for five percentiles",
    lambda: all(interval(sample, q) == percentile_interval(sample, q) for q in (5, 50, 90, 95, 99)),
    hint="compare the two for one percentile at a time",
)

# %% [markdown] tags=["solution"]
# No distribution of times appears anywhere: the binomial counts heads, and "below the p99" is a coin. The price is that both ends are values of the sample, so a small
# sample gives a wide interval, or half of one.

# %% [markdown] tags=["stretch"]
# ## 2. A queue, and how long to look at it
#
# A service answers one query at a time, at 200 queries a second, and somebody wants its p99.9. How many seconds must the run last, at least, by LoadGen's rule?

# %%
# >>> solution: the seconds that such a run takes
seconds = samples_needed(99.9) / 200
# <<< solution
check(
    "the length of the run",
    lambda: 33 < seconds < 34,
    hint="so many queries, at so many a second",
)

# %% [markdown]
# Now an open loop without a clock. Queries come at random instants; each is begun when it is due **and** the one before it is done. Fill in the two lines that make
# the queue; a query's time runs from the instant at which it was due.


# %%
def open_loop(service_ms, rate):
    due = np.cumsum(np.random.default_rng(5).exponential(1000 / rate, len(service_ms)))
    times, free = [], 0.0  # when the service is free again
    for instant, needs in zip(due, service_ms):
        # >>> solution: when is the service free again, and how long has this query taken?
        free = max(free, instant) + needs
        times.append(free - instant)
        # <<< solution
    return np.array(times)


# %%
service_ms = pretend(20_000)
p99s = {}
for rate in (1, 20, 50, 100, 150, 200, 250):
    waited = open_loop(service_ms, rate)
    p99s[rate] = percentile(waited, 99).value if len(waited) else ...
    print(rate, "a second: p99", p99s[rate] if p99s[rate] is ... else f"{p99s[rate]:.1f} ms")

# %%
check(
    "where hardly anybody comes, hardly anybody waits",
    lambda: abs(p99s[1] / percentile(service_ms, 99).value - 1) < 0.1,
    hint="with a free service a query takes what the service takes",
)
check(
    "a query is never quicker than the service",
    lambda: (
        len(open_loop(service_ms, 100)) and (open_loop(service_ms, 100) >= service_ms - 1e-6).all()
    ),
    hint="it begins when it is due or when the service is free: whichever is later",
)

# %%
# >>> solution: the lowest of the rates at which the p99 is twice that of the lonely service, or more
doubled = next(rate for rate in p99s if p99s[rate] >= 2 * p99s[1])
# <<< solution
check("the rate at which the tail has doubled", lambda: doubled == 100, hint="read the line above")
print(f"one answer takes {service_ms.mean():.1f} ms on average")

# %% [markdown] tags=["solution"]
# One second divided by the average answer is what the service could do, and a closed loop would report just that. Long before, the tail has doubled: a slow query makes
# all those wait that come meanwhile. Between what a service can do and what it should be asked to do lies the tail that you promised.

# %% [markdown] tags=["diagnose"]
# ## 3. A report that is too good
#
# A colleague asked a service 1,000 times, one query after the other, and sends samples, a p99 and the time of the run. Your users see another service. What happened?

# %% tags=["hide-input"]
asked, all_ms = 1000, pretend(1000)
run_s = all_ms.sum() / 1000
reported = all_ms[all_ms < all_ms.mean() + all_ms.std()]
del all_ms

# %%
print(f"{asked:,} queries in {run_s:.2f} s; p99 {percentile(reported, 99).value:.2f} ms")
print(f"the samples: {len(reported)}, from {reported.min():.2f} to {reported.max():.2f} ms")

# %%
# >>> solution: how many queries have no sample, and how many seconds no sample accounts for
missing = asked - len(reported)
missing_s = run_s - reported.sum() / 1000
# <<< solution
check(
    "the queries that are missing",
    lambda: missing == asked - len(reported),
    hint="asked, less those in the report",
)
check(
    "the time that is missing",
    lambda: abs(missing_s + reported.sum() / 1000 - run_s) < 1e-9,
    hint="the samples are in milliseconds, the run in seconds",
)

# %%
# >>> solution: "no warm-up", "best of N", "closed loop" or "slow calls left out"
suspicion = "slow calls left out"
# <<< solution
check(
    "the fault of the report",
    lambda: suspicion == "slow calls left out",
    hint="divide the time that is missing by the queries that are: how long did one of them take?",
)

# %%
# >>> solution: the least, in ms, that the p99 of all the queries can be, from what you know for certain
at_least_ms = reported.max()
# <<< solution
check(
    "the p99 of all of them is at least this",
    lambda: at_least_ms == reported.max(),
    hint="more than one in a hundred is missing, and each took longer than any that was kept",
)

# %% [markdown] tags=["solution"]
# "Outliers removed" stands in many reports, as if it were care. Here it removed every call that a p99 is about. Samples that add up to less than the run, and fewer
# samples than queries: these two sums find it at once. Keep every sample; if some are special, say which, how many, and show them.

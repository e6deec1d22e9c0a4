# %% [markdown]
# # Exercises 02: the pipeline is the model
#
# Three exercises, 30 minutes. Write where it says "Your code here", run the cell, and read what the checks below say. They are plain code: look into them.

# %%
import numpy as np

from inferkit import course
from inferkit.course import check
from inferkit.datasets import load_signs, make_signs
from inferkit.predictor import Predictor, sign_reader

signs = load_signs()
X, y, names = signs.images, signs.target, np.array(signs.target_names)
reader = sign_reader()
model = reader.backend  # the network alone: no steps, no names

# %% [markdown] tags=["core"]
# ## 1. Another camera
#
# A new camera hands over float64 from 0 to 1, its channels come first (n, 3, 32, 32), and blue comes before red. Write the step that prepares its pictures for
# the model: float32 from 0 to 1, (n, 32, 32, 3), red first.

# %%
camera = (X[..., ::-1] / 255).transpose(0, 3, 1, 2)


def prepare(pictures):
    # >>> solution: channels last, red first, float32
    return pictures.transpose(0, 2, 3, 1)[..., ::-1].astype(np.float32)
    # <<< solution


x = prepare(camera)

# %%
check(
    "rows, columns, channels",
    lambda: x.shape == (len(X), 32, 32, 3),
    hint="transpose(0, ...) moves axes; reshape would stir the pixels",
)
check("the type that the model knows", lambda: x.dtype == np.float32, hint="astype(np.float32)")

# %%
check(
    "the sky is bluer than it is red",
    lambda: x[:, :8, :, 2].mean() > x[:, :8, :, 0].mean() + 0.05,
    hint="the last axis, turned round",
)
check(
    "right again about more than 97 % of the pictures",
    lambda: (model(x).argmax(axis=1) == y).mean() > 0.97,
    hint="draw x[0]: which way up is the sign?",
)

# %% [markdown] tags=["solution"]
# `reshape` would have given the right shape too, and a picture of noise. So shape alone is a weak check; the sky and the answers are stronger ones. Nothing here
# needs a division: this camera scales by itself, and a second ÷ 255 would have been the next silent fault.

# %% [markdown] tags=["stretch"]
# ## 2. The smallest batch that will do
#
# The contract of the lesson looked at 48 pictures at a time. A camera that sends one picture a second is blind for 48 seconds. How few pictures are enough to
# catch swapped channels in at least 99 of 100 batches, at one false alarm in 1,000?


# %%
def coarse(x):
    return x.reshape(len(x), 4, 8, 4, 8, 3).mean(axis=(2, 4))


school, _ = make_signs(2400, random_state=5)
learned, honest = coarse(school / np.float32(255)), coarse(X / np.float32(255))
swapped = honest[..., ::-1]
typical = learned.mean(axis=0)


def distances(fields, size, batches=2000):
    rng = np.random.default_rng(size)
    picks = (rng.choice(len(fields), size, replace=False) for _ in range(batches))
    return np.array([np.sqrt(np.mean((fields[p].mean(axis=0) - typical) ** 2)) for p in picks])


# %%
def caught(size):
    # >>> solution: the share of swapped batches of this size beyond the limit that honest ones set
    limit = np.quantile(distances(learned, size), 0.999)
    return np.mean(distances(swapped, size) > limit)
    # <<< solution


sizes = (6, 12, 24, 36, 48, 60, 96)
shares = {size: caught(size) for size in sizes}
for size, share in shares.items():
    print(f"{size:3} pictures: caught {share if share is None else format(share, '.2f')}")

# %%
check(
    "twelve pictures are too few",
    lambda: shares[12] < 0.2,
    hint="the limit depends on the size: fewer pictures, wider limit",
)
check("96 pictures are enough", lambda: shares[96] > 0.999, hint="beyond the limit means caught")

# %%
# >>> solution: the smallest of the sizes that catches at least 99 of 100
enough = min(size for size in sizes if shares[size] >= 0.99)
# <<< solution
check(
    "the smallest size that will do",
    lambda: shares[enough] >= 0.99 and all(shares[s] < 0.99 for s in sizes if s < enough),
    hint="go through the sizes from below",
)

# %% [markdown] tags=["solution"]
# The mean of $n$ pictures strays from the typical one by about $1/\sqrt{n}$ of a single picture's own distance, so a batch four times as large allows a limit half
# as wide. Swapped channels move the mean by a fixed amount, most of all in the sky. Once the limit is well below that amount, every batch is caught.

# %% [markdown] tags=["diagnose"]
# ## 3. A reader that passes the contract
#
# A colleague sends a reader. Its input passes every check. A rule protects the product: what it is less than 90 % sure of goes to a human. Customers complain all the same.

# %%
import tempfile
from pathlib import Path

path = Path(tempfile.mkdtemp(), "from_a_colleague.predictor")
course.break_it(reader, "fir").save(path)
suspect = Predictor.load(path)
print(suspect.signature.input)


# %%
def slips_through(predictor):
    p, right = predictor.predict_proba(X), predictor.predict(X) == names[y]
    # >>> solution: the share of all pictures with a wrong answer that is at least 90 % sure
    return np.mean(~right & (p.max(axis=1) >= 0.9))
    # <<< solution


good, bad = slips_through(reader), slips_through(suspect)
print("wrong answers that no human sees:", good, bad)

# %%
check(
    "the whole reader lets fewer than 1 in 100 slip through",
    lambda: 0 < good < 0.01,
    hint="wrong and sure: ~right & (...)",
)
check("the suspect lets more than half slip through", lambda: bad > 0.5, hint="the same rule")

# %%
# >>> solution: "scale forgotten", "inverted", "transposed", "channels swapped" or "labels sorted"
suspicion = "labels sorted"
# <<< solution
course.name_the_fault("fir", suspicion)

# %%
# >>> solution: the suspect's twelve labels, in the order that mends it
labels = names
# <<< solution
check(
    "mended: right again about more than 97 % of the pictures",
    lambda: (np.array(labels)[suspect.predict_proba(X).argmax(axis=1)] == names[y]).mean() > 0.97,
    hint="in which order stood the names when the model went to school?",
)

# %% [markdown] tags=["solution"]
# `print(suspect.labels)` shows it at once, to somebody who thinks of looking. The rule of 90 % did nothing: the probabilities are those of a good model, only their
# names are wrong. Five of the twelve names stand where they stood, so some canaries sing on; with one canary for each class, seven fall silent.

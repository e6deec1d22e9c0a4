# %% [markdown]
# # Exercises 01: train once, predict forever
#
# Three exercises, 25 minutes. Write where it says "Your code here", run the cell, and read what the checks below say. They are plain code: look into them.

# %%
import numpy as np

from inferkit import course
from inferkit.course import check
from inferkit.datasets import split_digits
from inferkit.predictor import Predictor, digit_reader

X_train, X_test, y_train, y_test = split_digits()
reader = digit_reader()

# %% [markdown] tags=["core"]
# ## 1. A model ten times larger
#
# An answer costs `per_answer` multiplications. School goes forward and backward (three times an answer's work) over every picture, in every epoch.
# After how many answers has serving cost as much work as school? Then: where does the crossing go for a model ten times larger?


# %%
def break_even(per_answer, pictures, epochs):
    # >>> solution: the number of answers that cost as much as school did
    school = 3 * per_answer * pictures * epochs
    return school / per_answer
    # <<< solution


lesson = break_even(472_464, pictures=1415, epochs=12)
larger = break_even(4_724_640, pictures=1415, epochs=12)
print("the lesson's network:", lesson, "  ten times larger:", larger)

# %%
check(
    "the lesson's network crosses after 50,940 answers",
    lambda: round(lesson) == 50_940,
    hint="school's work, divided by the work of one answer",
)
check(
    "twice the epochs, twice as late",
    lambda: break_even(10, 100, 8) == 2 * break_even(10, 100, 4),
    hint="every epoch is paid",
)

# %%
# >>> solution: how many times later the larger model crosses, as a number
later = larger / lesson
# <<< solution
check("the larger model crosses ... where?", lambda: later == 1, hint="both lines rise tenfold")

# %% [markdown] tags=["solution"]
# The size of the model cancels. School and answers both grow with it, so in work the crossing depends on the pictures and the epochs alone: it is three times
# the number of pictures that the model was shown. Did your lesson's crossing, in seconds, come later? Then an answer went through a faster runtime than school.

# %% [markdown] tags=["stretch"]
# ## 2. Keep learning while serving
#
# A service hears the truth after each answer, and learns from it at once. Start from a model that went to a short school, ask it about each unseen picture, and
# then let it learn from that picture. Does it pay? And what does it do to the price of an answer?


# %%
def answer(W, x):
    scores = x @ W
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


x_train, x_test = X_train.reshape(-1, 64) / 16, X_test.reshape(-1, 64) / 16
W0 = np.zeros((64, 10))
for _ in range(20):
    W0 = W0 - x_train.T @ (answer(W0, x_train) - np.eye(10)[y_train]) / len(x_train)


# %%
def serve(W, learning_rate):
    right = 0
    for x, truth in zip(x_test, y_test):
        p = answer(W, x[None])
        right += int(p.argmax() == truth)
        # >>> solution: what one step of school on this one picture adds to the weights
        step = -learning_rate * x[:, None] @ (p - np.eye(10)[[truth]])
        # <<< solution
        W = W if step is ... else W + step
    return right, W


frozen, W_frozen = serve(W0, learning_rate=0.0)
learning, W_learning = serve(W0, learning_rate=0.1)
print(f"right out of {len(y_test)}: frozen {frozen}, learning {learning}")

# %%
check(
    "learning changes the weights, and a rate of 0 does not",
    lambda: np.abs(W_learning - W0).max() > 0.01 and np.array_equal(W_frozen, W0),
    hint="backward as in the lesson, for one row; then minus the rate times that",
)
check("it pays: more answers are right", lambda: learning > frozen, hint="the sign of the step?")

# %%
# >>> solution: an answer's work is 1; what is it with a step of school behind each answer?
work_per_answer = 1 + 2  # forward once, and twice as much backward
# <<< solution
check(
    "the price of an answer", lambda: work_per_answer == 3, hint="the forward pass is there already"
)

# %% [markdown] tags=["solution"]
# In the lesson's table nearly every row of the right column changes: the purpose becomes "use and find the weights", the data need labels, the work is three times
# as much, the memory holds what going backward needs, and something is kept after every answer. Requests can no longer share one copy that nobody writes to.

# %% [markdown] tags=["diagnose"]
# ## 3. A file that answers wrongly
#
# A colleague sends a saved reader. It loads, it is quick, it is sure of itself, and customers complain. Find out why, from the outside.

# %%
import tempfile
from pathlib import Path

path = Path(tempfile.mkdtemp(), "from_a_colleague.predictor")
course.break_it(reader, "amber").save(path)

suspect = Predictor.load(path)
sure = suspect.predict_proba(X_test).max(axis=1).mean()
print(f"right {(suspect.predict(X_test) == y_test).mean():.2f}, sure {sure:.2f}")

# %%
# >>> solution: count how often the suspect answers j where the truth is i, in a 10 × 10 table
confusion = np.zeros((10, 10), int)
np.add.at(confusion, (y_test, suspect.predict(X_test)), 1)
# <<< solution
print(confusion)
check(
    "every picture is counted once",
    lambda: confusion.shape == (10, 10) and confusion.sum() == len(y_test),
    hint="np.add.at(table, (truth, answers), 1)",
)

# %%
# >>> solution: "labels shifted", "labels sorted", "scale forgotten", "inverted" or "transposed"
suspicion = "labels shifted"
# <<< solution
course.name_the_fault("amber", suspicion)


# %%
def mended_accuracy(labels):
    best = suspect.predict_proba(X_test).argmax(axis=1)
    return (np.asarray(labels)[best] == y_test).mean()


# %%
# >>> solution: the ten labels in the order that mends it
labels = range(10)
# <<< solution
check(
    "mended: right again about more than 93 % of the pictures",
    lambda: mended_accuracy(labels) > 0.93,
    hint="which digit does the first column of predict_proba stand for?",
)

# %% [markdown] tags=["solution"]
# The probabilities are those of a good model; only the words that they are read with are shifted by one. So it is as sure as ever, and nearly always wrong. No
# check of shapes, types or ranges can find such a fault. A handful of pictures with known answers, asked after every release, finds it at once.

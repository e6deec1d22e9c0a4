# %% [markdown] tags=["slide", "title"]
# # Train once, predict forever
#
# **How long does a model think before it answers, and how long did it go to school?**

# %%
from inferkit.predictor import digit_reader
from inferkit.widgets import DigitPad

reader = digit_reader()
DigitPad(reader)

# %% [markdown] tags=["skip"]
# Run the cell above (Shift+Enter), then draw a 7: with the mouse, with a finger, or with the arrow keys while you hold Space. Something reads it while you draw.
# That was **inference**: a trained model answered about a picture that it had never seen. The time beside the answer was measured just now, on this machine.
# A blink takes 100,000 µs.

# %% [markdown] tags=["notes"]
# Two minutes. Start without a word: draw a 7, then a bad 7, then hand the pointer to somebody in the room. Ask: what does this thing know, and since when?
# Expect "AI" and "the internet". Pull the network cable if you can: it goes on answering. If it reads somebody's digit wrongly, say so and keep the drawing
# in mind for "Break it".

# %% [markdown] tags=["slide", "objectives"]
# ## You will be able to
#
# - show by hand what training changes and what an answer leaves alone;
# - turn a picture into a label with a finished model, and say what each step did to its shape;
# - measure what one answer costs and what its school cost: time, work, memory, bytes;
# - work out after how many answers serving has cost more than training.
#
# 25 minutes to teach, 25 minutes to practise.
#
# **Needs** Python and a little NumPy. No earlier lesson.

# %% [markdown] tags=["slide", "predict"]
# ## What do you expect?
#
# Soon you will train such a network yourself, on some fourteen hundred pictures. Commit to a number before you measure. No guess is scolded.

# %%
from inferkit import course

times = course.guess(
    "Training takes how many times as long as one answer?", low=1, high=1e9, unit="times"
)
times

# %% [markdown] tags=["notes"]
# One minute. Let the room vote by hands: a thousand, a million, a billion? Write the spread on the board. Do not comment. It comes back beside the measurement.

# %% [markdown] tags=["slide", "by-hand"]
# ## By hand: a school of ten lines
#
# Real handwriting, from scikit-learn: pictures of 8 × 8 points, ink from 0 to 16. The test pictures come from other sheets of paper than the training pictures.

# %%
import numpy as np

from inferkit.datasets import split_digits

X_train, X_test, y_train, y_test = split_digits()
x_train, x_test = X_train.reshape(-1, 64) / 16, X_test.reshape(-1, 64) / 16
print("to learn from", x_train.shape, " to be asked about", x_test.shape)

# %% [markdown] tags=["fragment"]
# An **answer** multiplies the picture by weights, and turns ten scores into ten probabilities. That is all.


# %%
def answer(W, x):
    scores = x @ W
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# %% [markdown] tags=["subslide"]
# **School** asks for answers too, looks at the errors, and changes the weights. Again and again.

# %%
W = np.zeros((64, 10))
truth = np.eye(10)[y_train]
for _ in range(200):
    p = answer(W, x_train)  # forward: the answers so far
    gradient = x_train.T @ (p - truth) / len(p)  # backward: which way the error grows
    W = W - 1.0 * gradient  # update: a step the other way

right = answer(W, x_test).argmax(axis=1) == y_test
print(f"right about unseen pictures: {right.mean():.3f}")

# %% [markdown] tags=["fragment"]
# One line of the loop is an answer. The two below it are what makes school expensive, and the loop around them even more. Now only answers, one by one:

# %%
before = W.copy()
for picture in x_test:
    answer(W, picture[None])
print(len(x_test), "answers given,", np.count_nonzero(before != W), "weights changed")

# %% [markdown] tags=["notes"]
# Five minutes. Ask before running the loop: which of these lines will a server run? (One.) Somebody asks about the learning rate 1.0: it is large because
# the problem is small and convex. Say "forward, backward, update" aloud each time you point; the words come back under "Why".

# %% [markdown] tags=["slide"]
# ## A finished model, as at work
#
# Somebody trained a better network, and saved it. You have the file, and no picture of its school. Four lines turn a picture into a label.

# %%
from inferkit.models import load_reference

model = load_reference("digits-cnn")  # load: a file, checked against its hash
picture = X_test[5]

x = picture[None] / 16  # preprocess: one row, ink from 0 to 1
p = model(x)  # predict: ten probabilities
label = int(p.argmax())  # read: the likeliest
print("label", label, " truth", y_test[5])

# %% [markdown] tags=["subslide"]
# What did each line do? Look at the shapes before and after.

# %%
from IPython.display import Markdown

rows = [("picture", picture), ("preprocess", x), ("predict", p)]
table = ["| | shape | type | smallest | largest |", "|---|---|---|---|---|"]
table += [f"| {s} | {v.shape} | {v.dtype} | {v.min():.2f} | {v.max():.2f} |" for s, v in rows]
Markdown("\n".join([*table, f"| read | | int | {label} | {label} |"]))

# %% tags=["subslide"]
import matplotlib.pyplot as plt

from inferkit.plots import label_lines, show, slide_size, use_style

use_style()
fig, (left, middle) = plt.subplots(1, 2, figsize=slide_size(height=0.6))
left.imshow(picture, cmap="gray_r")
left.set(title="8 × 8 points of ink", xticks=[], yticks=[])
middle.bar(range(10), p[0])
middle.set(title="ten probabilities", xlabel="digit", ylabel="probability", ylim=(0, 1))
middle.set_xticks(range(10))
show(fig, alt=f"A handwritten {y_test[5]}, and ten bars: nearly all the probability on {label}.")

# %% [markdown] tags=["subslide"]
# The library puts the same steps behind one call, and checks what comes in at the door. Both ways agree.

# %%
print("same label:", reader.predict_one(picture) == label)
print("same probabilities:", np.array_equal(reader.predict_proba(picture[None]), p))

# %% [markdown] tags=["notes"]
# Four minutes. Ask: why `picture[None]`? (A model answers rows; one picture is a batch of one.) Ask what would happen without `/ 16`. Lesson 02 is about that.

# %% [markdown] tags=["slide"]
# ## How long does it think?
#
# A thousand answers, each with its own time. The middle one is the **median**. Lesson 03 does this with all due care.

# %% tags=["measured"]
import platform
from time import perf_counter, perf_counter_ns

times_us = []
for _ in range(1000):
    start = perf_counter_ns()
    reader.predict_one(picture)
    times_us.append((perf_counter_ns() - start) / 1000)
low, answer_us, high = np.percentile(times_us, [5, 50, 95])
print(f"one answer: {answer_us:.1f} µs; nine in ten lie between {low:.1f} and {high:.1f} µs")
print(
    f"on {platform.system()} {platform.machine()}, Python {platform.python_version()}, one thread"
)

# %%
import sys

print(
    "shorter than a blink:", answer_us < 100_000, " TensorFlow loaded:", "tensorflow" in sys.modules
)

# %% [markdown] tags=["slide"]
# ## The same network goes to school
#
# Now from nothing, with Keras. TensorFlow is imported only here: to answer, nobody needed it.

# %%
import keras

keras.utils.set_random_seed(1)
layers = keras.layers
student = keras.Sequential([keras.Input((8, 8)), layers.Reshape((8, 8, 1))])
for filters in (16, 32):
    student.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
student.add(layers.MaxPooling2D(2))
student.add(layers.Conv2D(32, 3, padding="same", activation="relu"))
student.add(layers.Flatten())
student.add(layers.Dense(40, activation="relu"))
student.add(layers.Dense(10, activation="softmax"))
print("weights to learn:", student.count_params())

# %% tags=["subslide"]
from IPython.display import display
from ipywidgets import IntProgress

epochs = 12
bar = IntProgress(max=epochs, description="school")
ring = keras.callbacks.LambdaCallback(on_epoch_end=lambda e, logs: setattr(bar, "value", e + 1))
student.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
display(bar)
start = perf_counter()
school = student.fit(X_train / 16, y_train, epochs=epochs, verbose=0, callbacks=[ring])
train_s = perf_counter() - start

# %% [markdown] tags=["subslide"]
# An **epoch** is one pass over all training pictures. The **loss** is what the model is fined for the probability that it did not give to the truth.

# %% tags=["measured"]
fig, ax = plt.subplots(figsize=slide_size(height=0.6))
ax.plot(range(1, epochs + 1), school.history["loss"], marker="o")
ax.set(xlabel="epoch", ylabel="loss (nats per picture)", ylim=(0, None))
ax.set_title(f"{epochs} passes over {len(X_train):,} pictures in {train_s:.1f} s")
show(fig, alt="The loss falls steeply in the first epochs of training, then ever more slowly.")

# %% tags=["skip"]
learned = student.predict(X_test / 16, verbose=0).argmax(axis=1)
print("right about more than 85 % of unseen pictures:", (learned == y_test).mean() > 0.85)
print(
    "the loss fell to less than half:", 2 * school.history["loss"][-1] < school.history["loss"][0]
)

# %% [markdown] tags=["skip"]
# Same weights as the model behind the pad? No: another start, and a shorter school. The model behind the pad also saw each picture turned, slanted and thickened,
# and digits drawn by a program. Same answers? Mostly. Two students of one subject do not share a brain.

# %% tags=["skip"]
shipped = reader.predict(X_test)
print("the two agree on more than 85 % of the pictures:", (learned == shipped).mean() > 0.85)

# %% [markdown] tags=["notes"]
# Five minutes, of which the training takes a few seconds. Ask while the bar moves: how much of this will the server do? If the accuracy stays lower than you
# expect: the test pictures are from other sheets, most likely other hands. That is the honest test.

# %% [markdown] tags=["slide"]
# ## What is kept
#
# After school the gradients go, and the order of the pictures; the weights stay. They go into a file.

# %% tags=["measured"]
import tempfile
from pathlib import Path

from inferkit.models import save_keras, save_litert

folder = Path(tempfile.mkdtemp())
save_keras(student, folder / "student.keras")  # to go on learning
save_litert(student, folder / "student.tflite")  # to answer
kept = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
for name, size in kept.items():
    print(f"{name:15} {size:>9,} bytes")

# %%
print(
    "the file for answers is less than half of the other:",
    2 * min(kept.values()) < max(kept.values()),
)

# %% [markdown] tags=["skip"]
# `.keras` keeps the optimizer's memory too, so that school can go on. `.tflite` keeps what an answer needs. Older courses save `.h5`: it still loads, but such a
# file can carry code that runs when you open it, and Keras' safe mode does not look there. Do not open one from a stranger, and save no new ones.

# %% [markdown] tags=["slide", "measure"]
# ## Measure the memory
#
# The peak of a process never falls. So each job gets a process of its own, which does that job and nothing else.


# %%
def go_to_school(epochs):
    from inferkit import datasets, models

    X, _, y, _ = datasets.split_digits()
    models.train(models.cnn(random_state=1), X / 16, y, epochs=epochs, progress=False)


def answer_once(picture):
    from inferkit.predictor import digit_reader

    return digit_reader().predict_one(picture)


# %% tags=["measured", "subslide"]
at_school = course.run_in_child(go_to_school, 2)
only_tools = course.run_in_child("from inferkit import models; models.import_keras()")
at_work = course.run_in_child(answer_once, picture.tolist())
print("school:          ", at_school)
print("its tools, unused:", only_tools)
print("one answer:      ", at_work)

# %%
print("the child's answer:", at_work.value)
print("school needs more than twice the memory:", at_school.peak_mb > 2 * at_work.peak_mb)
print("so do its tools, before any school:", only_tools.peak_mb > 2 * at_work.peak_mb)

# %% [markdown] tags=["subslide"]
# And the work: one multiplication for each weight, at each place where it is used.

# %%
import math

per_answer = sum(
    math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape)
    for layer in student.layers
    if hasattr(layer, "kernel")
)
at_school_work = 3 * per_answer * len(X_train) * epochs  # forward, and twice as much backward
print(f"{per_answer:,} multiplications an answer, {at_school_work:,} at school")

# %% [markdown] tags=["subslide"]
# The whole table, filled in by your machine.

# %% tags=["measured"]
rows = [
    ("purpose", "find the weights", "use them"),
    ("data", f"{len(X_train):,} pictures with labels", "1 picture without"),
    ("passes over it", epochs, 1),
    ("multiplications", f"{at_school_work:,}", f"{per_answer:,}"),
    ("time", f"{train_s:.1f} s", f"{answer_us:.1f} µs"),
    ("peak memory", f"{at_school.peak_mb:.0f} MB", f"{at_work.peak_mb:.0f} MB"),
    ("kept at the end", f"{kept['student.tflite']:,} bytes", "nothing"),
]
table = ["| | school | one answer |", "|---|---|---|"]
Markdown("\n".join(table + [f"| {a} | {b} | {c} |" for a, b, c in rows]))

# %% tags=["subslide", "measured"]
ratio = train_s / (answer_us / 1e6)
times.beside(ratio)

# %%
print("school took over 10,000 times as long as an answer:", ratio > 10_000)
print("it was over 10,000 times the work:", at_school_work > 10_000 * per_answer)

# %% [markdown] tags=["notes"]
# Four minutes. Put the guesses on the board beside the measurement. Expect guesses that are too low. Ask: if both numbers count the same network, why is the ratio of
# times not the ratio of work? (Batches of 32, bookkeeping, another runtime.) A slow machine changes both columns; the order holds.

# %% [markdown] tags=["slide", "figure"]
# ## Where the costs cross
#
# School is paid once. Answers are paid one by one, for ever.


# %%
def cost_figure(train_s, answer_s, guess=None):
    n = np.logspace(0, 10, 101)
    fig, ax = plt.subplots(figsize=slide_size(height=0.8))
    ax.loglog(n, np.full_like(n, train_s), color="C1", label="school, paid once")
    ax.loglog(n, n * answer_s, color="C0", label="answers, added up")
    ax.plot(train_s / answer_s, train_s, "o", ms=12, color="black")
    if guess is not None:
        arrow = {"arrowstyle": "->", "lw": 2}
        ax.annotate("your guess", (guess, train_s), (guess, 60 * train_s), arrowprops=arrow)
    ax.set(xlabel="answers given", ylabel="seconds of computing, in all")
    label_lines(ax)
    return fig


# %% tags=["measured", "subslide"]
fig = cost_figure(train_s, answer_us / 1e6, times.value)
crossing = course.plain_number(ratio, 2)
fig.axes[0].set_title(f"After {crossing} answers, serving has cost as much as school")
show(fig, alt=f"School is a flat line; the sum of answers climbs and crosses it after {crossing}.")

# %% tags=["measured", "fragment"]
print(f"At 10,000 answers a second, a popular service gets there in {ratio / 10_000:.0f} seconds.")

# %% tags=["skip"]
print("the lines cross after more than 10,000 answers:", ratio > 10_000)

# %% [markdown] tags=["notes"]
# Three minutes. Ask where the crossing moves if the model is ten times larger (exercise 1: both lines rise). Then: who should care about the left side of the
# figure, and who about the right? (A researcher; whoever pays for the servers.)

# %% [markdown] tags=["slide", "why"]
# ## Why
#
# An answer goes **forward** once. School goes forward, **backward** and **updates**, for each picture, in each epoch. And to go backward it must remember.

# %%
from itertools import pairwise

made = [math.prod(layer.output.shape[1:]) for layer in student.layers]
n = student.count_params()
kB = {
    "weights": (4 * n, 4 * n),
    "gradients": (4 * n, 0),
    "two averages of Adam": (8 * n, 0),
    "outputs of layers": (4 * 32 * sum(made), 4 * max(map(sum, pairwise(made)))),
}
table = ["| kB in memory | school, 32 pictures | one answer |", "|---|---|---|"]
rows = [f"| {k} | {a / 1000:,.0f} | {b / 1000:,.0f} |" for k, (a, b) in kB.items()]
Markdown("\n".join(table + rows))

# %% [markdown] tags=["skip"]
# Going backward needs the output of every layer, so school keeps them all; an answer throws each away as soon as the next layer has read it. But these are
# kilobytes. The megabytes of the processes are mostly the programs themselves, as the unused tools showed: TensorFlow can do everything, LiteRT can only answer.

# %% [markdown] tags=["subslide"]
# An answer does not change the weights. So a thousand requests can share one copy of them, and they may be rounded (lesson 09), thinned out (lesson 10), and
# compiled for one machine (lesson 11). Nearly all of this course lives on that one fact.

# %% [markdown] tags=["notes"]
# Three minutes. The second claim of the table to defend: "twice as much backward". A layer's backward pass computes two products of the size of its forward one:
# the gradient of its weights and that of its input.

# %% [markdown] tags=["slide", "textbook"]
# ## When the textbook is wrong here
#
# Three sentences that most introductions have. The verdicts below follow what your machine has measured.

# %% tags=["measured"]
keras_us = []
for _ in range(10):
    start = perf_counter_ns()
    student.predict(x, verbose=0)
    keras_us.append((perf_counter_ns() - start) / 1000)
slower = np.median(keras_us) / answer_us
print(f"school without an accelerator: {train_s:.1f} s")
print(f"an answer through predict(): {np.median(keras_us):,.0f} µs, {slower:,.0f} × LiteRT's")

# %% tags=["measured", "subslide"]
verdicts = {
    "Training needs an accelerator": "not here" if train_s < 60 else "holds",
    "An answer is one cheap pass": "not through `predict()`" if slower > 2 else "holds",
    "Answers leave the model alone": "holds" if np.array_equal(before, W) else "not here",
}
rows = [f"| {claim} | {verdict} |" for claim, verdict in verdicts.items()]
Markdown("\n".join(["| they say | here |", "|---|---|", *rows]))

# %%
print("predict takes more than twice as long for the same pass:", slower > 2)

# %% [markdown] tags=["skip"]
# Does the first line say "not here"? Then a small network on small pictures needs no accelerator for its school. Large ones do: exercise 1 works out how the work
# grows. And one pass is cheap, but the call around it need not be: `predict` builds a data pipeline for every call. Lesson 03 climbs down that ladder.

# %% [markdown] tags=["notes"]
# Three minutes. Read the right column aloud from the screen; it may differ from yours at home. If training took longer than a minute here, the first sentence
# holds on this machine: say so.

# %% [markdown] tags=["slide", "play"]
# ## Play
#
# Three readers of one drawing: the network, the same network rounded to 8 bits, and a linear model. Draw a 4, open it, close it: who changes their mind first?
# Then draw a letter.

# %%
from sklearn.linear_model import LogisticRegression

from inferkit.predictor import ArraySpec, Predictor, Reshape, Scale

linear = Predictor(
    LogisticRegression(max_iter=1000).fit(x_train, y_train),
    preprocess=[Scale(16), Reshape((64,))],
    signature=ArraySpec((8, 8), low=0, high=16),
)

# %% tags=["subslide"]
DigitPad({"network": reader, "8 bits": digit_reader("digits-cnn-int8"), "linear": linear})

# %% [markdown] tags=["notes"]
# Four minutes. Let the room give orders. A letter gets a digit, with confidence: take that as the bridge to "Break it".

# %% [markdown] tags=["slide", "break-it"]
# ## Break it
#
# Ask the network about pictures of nothing. It has ten answers, and none of them is "nothing".

# %%
pictures, kinds = course.pictures_of_nothing(5)
p = reader.predict_proba(pictures)
fig, axes = plt.subplots(1, 5, figsize=slide_size(height=0.55))
for ax, nothing, kind, row in zip(axes, pictures, kinds, p):
    ax.imshow(nothing, cmap="gray_r", vmin=0, vmax=16)
    ax.set(xticks=[], yticks=[], xlabel=kind)
    ax.set_title(f"{row.argmax()}, {row.max():.0%} sure")
show(
    fig,
    alt="Five pictures without a digit; the network names a digit for each, often with confidence.",
)

# %% [markdown] tags=["skip"]
# Nothing failed: no error, no warning. Ten probabilities must sum to 1, so some digit gets most of it. Lesson 04 asks what such a confidence is worth.

# %% [markdown] tags=["subslide"]
# One more, and this one is yours. A call puts a **silent fault** into the reader. Find it from its symptoms, and write its name in the last line.

# %%
broken = course.break_it(reader, "cedar")
for name, predictor in (("reader", reader), ("broken", broken)):
    sure = predictor.predict_proba(X_test).max(axis=1).mean()
    print(f"{name}: right {(predictor.predict(X_test) == y_test).mean():.2f}, sure {sure:.2f}")

# %%
suspicion = ...  # "labels shifted", "inverted", "transposed", "scale forgotten", ...
course.name_the_fault("cedar", suspicion)

# %% [markdown] tags=["notes"]
# Four minutes. Ask what to look at first: a single picture, step by step. `broken.trace(X_test[:1])` shows what each step gave. The fault is a real one: scanners
# and phones disagree about whether ink is high or low.

# %% [markdown] tags=["slide", "summary"]
# ## Summary
#
# - Training changes the weights: forward, backward, update, again and again. An answer goes forward once and changes nothing.
# - For this network school took as long as many thousands of answers; your table says how many. Whoever serves enough of them pays more for answers than for school.
# - A model always answers. Whether it should is a question of its own.
#
# [Three exercises](exercises/01_train_once_predict_forever.ipynb) wait: a model ten times larger, a model that learns while it serves, and a file that answers wrongly. Lesson 02: the pipeline is the model.

# %% [markdown] tags=["slide", "quiz"]
# ## Quiz

# %% tags=["hide-input"]
course.quiz(
    {
        "question": "What changes in the weights while a model answers?",
        "options": {
            "Nothing": "They are only read. So many requests can share one copy.",
            "All of them, a little": "That is an update, and it belongs to school.",
            "Those of the last layer": "Also an update. An answer has none.",
        },
        "answer": "Nothing",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "Why does school need more memory for the layers' outputs?",
        "options": {
            "It stores the whole data set in them": "The data set lies elsewhere.",
            "It goes backward and needs them all": "Each gradient is made from them.",
            "Its numbers are wider": "Both use 32-bit numbers here.",
        },
        "answer": "It goes backward and needs them all",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "Answers become half as long. Where do the costs cross now?",
        "options": {
            "At half as many answers": "Cheaper answers add up more slowly.",
            "At the same number": "The flat line stayed; the other one did not.",
            "At twice as many answers": "School's cost, divided by half the price of an answer.",
        },
        "answer": "At twice as many answers",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "The model is 99 % sure of a picture of noise. What does that say?",
        "options": {
            "It saw noise at school": "It did not; that is the point.",
            "Of ten digits it prefers one": "It was never allowed to say 'none'.",
            "The noise looks like that digit": "Perhaps to it. Not to you.",
        },
        "answer": "Of ten digits it prefers one",
    }
)

# %% tags=["subslide", "hide-input"]
course.quiz(
    {
        "question": "Which file do you hand to those who will only ask?",
        "options": {
            "The .keras file": "It carries the optimizer's memory, and needs Keras to open.",
            "The .tflite file": "Weights and steps: all that an answer needs.",
            "The training pictures": "Then they would have to go to school themselves.",
        },
        "answer": "The .tflite file",
    }
)

# %% [markdown] tags=["skip", "sources"]
# ## Sources
#
# - The digits: E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository, 1998, CC BY 4.0.
# - Forward and backward: D. Rumelhart, G. Hinton and R. Williams, *Learning representations by back-propagating errors*, Nature 323, 1986.
# - The optimizer: D. Kingma and J. Ba, *Adam: A Method for Stochastic Optimization*, ICLR 2015.
# - LiteRT and Keras: their documentation.

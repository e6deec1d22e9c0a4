"""What lesson 09 does by hand, held against the library and against what must be so; its figures, widget and faults."""

import ast
import gzip
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferkit import course, plots
from inferkit.datasets import load_signs, make_signs
from inferkit.models import LiteRTModel, load_reference
from inferkit.optimize import affine_parameters, dequantize, fake_quantize, quantize_affine, read_layers, sqnr_db
from inferkit.widgets import bars, points, text
from notebooks.source import SOURCES, read, solution, tags

SOURCE = SOURCES / "09_quantization.py"
CODE = [cell for cell in read(SOURCE).cells if cell.cell_type == "code"]
SHARED = {
    "np": np, "plt": plt, "gzip": gzip, "slide_size": plots.slide_size, "COLOURS": plots.COLOURS,
    "label_lines": plots.label_lines, "LiteRTModel": LiteRTModel, "read_layers": read_layers,
    "fake_quantize": fake_quantize, "sqnr_db": sqnr_db, "Markdown": lambda text: text,
}  # fmt: skip


def cell_with(text: str) -> str:
    """Return the code of the only cell that holds a text."""
    (found,) = [cell.source for cell in CODE if text in cell.source]
    return str(found)


def run(*texts: str, **names: Any) -> dict[str, Any]:
    """Return what the cells with these texts define."""
    space = SHARED | names
    for part in texts:
        exec(cell_with(part), space)
    return space


def definition(name: str, cells: Any = CODE, **names: Any) -> Any:
    """Return one function of the lesson, without what else stands in its cell."""
    (node,) = [
        node
        for cell in cells
        if cell.cell_type == "code"
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    space = SHARED | names
    exec(ast.unparse(node), space)
    return space[name]


RULER, TO_INTEGERS, TO_REALS = map(definition, ("ruler", "to_integers", "to_reals"))
ENDS = st.tuples(st.floats(-1e4, 0), st.floats(1e-3, 1e4))


# -- the ruler ------------------------------------------------------------------------------------


@given(ends=ENDS, bits=st.integers(2, 16))
def test_the_ruler_is_the_librarys(ends, bits):
    scale, zero = RULER(*ends, bits)
    theirs, their_zero = affine_parameters(*ends, bits=bits)
    assert scale == pytest.approx(float(theirs))
    assert zero == int(their_zero)


@given(ends=ENDS, bits=st.integers(2, 8), seed=st.integers(0, 999))
def test_integers_and_back_are_the_librarys_and_off_by_half_a_scale(ends, bits, seed):
    scale, zero = RULER(*ends, bits)
    x = np.random.default_rng(seed).uniform(2 * ends[0] - 1, 2 * ends[1], 50)
    q = TO_INTEGERS(x, scale, zero, bits)
    np.testing.assert_array_equal(q, quantize_affine(x, scale, zero, bits=bits))
    back = TO_REALS(q, scale, zero)
    np.testing.assert_allclose(back, dequantize(q, scale, zero), rtol=1e-6, atol=1e-6 * scale)
    lowest, highest = TO_REALS(np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1]), scale, zero)
    inside = (x >= lowest) & (x <= highest)
    assert (np.abs(back - x)[inside] <= 0.5001 * scale).all()
    assert (back[x > highest] == highest).all(), "saturation"
    assert TO_INTEGERS(0.0, scale, zero, bits) == zero


# -- the network as it ships ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def signs() -> Any:
    return load_signs()


@pytest.fixture(scope="module")
def start(signs: Any) -> dict[str, Any]:
    """Give what the cells without TensorFlow define."""
    network = load_reference("signs-cnn")
    space = run(
        "for_all = ", network=network, signs=signs, X=signs.images / np.float32(255), y=signs.target,
    )  # fmt: skip
    space |= {"sign": space["X"][23], "all_weights": [layer.weights.data for layer in space["layers"]]}
    return space | {"ask": definition("ask", X=space["X"]), "in_levels": definition("in_levels")}


def test_the_sum_in_the_open_overflows_16_bits_and_fits_32(start, capsys):
    space = run("terms = ", **start | {"ruler": RULER, "to_integers": TO_INTEGERS})
    total = int(space["total"])
    assert not -(2**15) <= total < 2**15
    exact = sum(int(a) * (int(b) - space["z_x"]) for a, b in zip(space["q_w"], space["q_x"], strict=True))
    assert total == exact
    assert f"the same sum, kept in 16 bits: {(total + 2**15) % 2**16 - 2**15}" in capsys.readouterr().out
    assert space["terms"] == 288
    assert 66_000 * 128 * 255 > 2**31 > 66_000 * 127 * 255


def test_bytes_exchanged_are_weights_exchanged_and_nothing_else(start):
    put, network = definition("with_weights"), start["network"]
    old = start["all_weights"][2]
    new = np.random.default_rng(0).normal(size=old.shape)
    changed = put(network, (old, new))
    for before, after in zip(read_layers(network), read_layers(changed), strict=True):
        for part in ("weights", "bias"):
            a, b = getattr(before, part), getattr(after, part)
            if a is not None:
                expected = new.astype(np.float32) if a.shape == old.shape else a.data
                np.testing.assert_array_equal(b.data, expected)
    assert len(changed.content) == len(network.content)


def test_one_large_filter_is_the_same_function_and_costs_what_the_lesson_says(start, capsys):
    run("def with_weights", "ways = {", **start)
    shares = [float(line.split(": ")[1].split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert shares[0] == pytest.approx(0.985, abs=0.006)
    assert shares[1] > 0.96
    assert shares[2] < 0.95


def test_what_is_weighed_adds_up(start):
    file, weights, packed = definition("weigh")(start["network"])
    arrays = [p.data for layer in read_layers(start["network"]) for p in (layer.weights, layer.bias) if p]
    assert weights == sum(array.nbytes for array in arrays) == 4 * 30_444
    assert file == start["network"].size_bytes
    assert weights * 0.8 < packed < file


@given(n=st.integers(1, 200))
def test_asking_64_at_a_time_is_asking_all(n):
    sizes: list[int] = []

    def model(rows: Any) -> Any:
        sizes.append(len(rows))
        return 2 * rows

    rows = np.arange(n)
    np.testing.assert_array_equal(definition("ask", X=rows)(model), 2 * rows)
    assert max(sizes) <= 64


@given(bits=st.integers(1, 8), seed=st.integers(0, 99))
def test_light_in_levels_has_two_to_the_bits_of_them_and_keeps_black_and_white(bits, seed):
    x = np.append(np.random.default_rng(seed).random(5000), [0, 1])
    coarse = definition("in_levels")(x, bits)
    assert len(np.unique(coarse)) == 2**bits
    assert coarse[-2:].tolist() == [0, 1]
    assert np.abs(coarse - x).max() <= 0.5001 / (2**bits - 1)


# -- a layer in integers -------------------------------------------------------------------------


def fake_tensor(data: Any = None, scale: Any = 1.0, zero: int = 0) -> Any:
    return SimpleNamespace(data=data, scale=np.atleast_1d(np.float32(scale)), zero_point=np.array([zero]))


@given(seed=st.integers(0, 999), z_x=st.integers(-128, 127), z_y=st.integers(-128, 100))
def test_a_layer_by_hand_is_a_layer_in_exact_numbers(seed, z_x, z_y):
    rng = np.random.default_rng(seed)
    w, bias = rng.integers(-127, 128, (4, 9)).astype(np.int8), rng.integers(-5000, 5000, 4).astype(np.int32)
    q_x, s_w = rng.integers(-128, 128, 9).astype(np.int8), rng.uniform(1e-3, 1e-2, 4)
    layer = SimpleNamespace(
        inputs=(fake_tensor(scale=0.02, zero=z_x),), weights=fake_tensor(w, s_w), bias=fake_tensor(bias),
        output=fake_tensor(scale=0.05, zero=z_y),
    )  # fmt: skip
    given_out = definition("by_hand", dense=layer)(q_x)
    for row in range(4):
        total = sum(int(a) * (int(b) - z_x) for a, b in zip(w[row], q_x, strict=True)) + int(bias[row])
        real = max(0.0, float(np.float32(0.02)) * float(np.float32(s_w[row])) * total)
        expected = min(127, round(real / float(np.float32(0.05))) + z_y)
        assert abs(given_out[row] - expected) <= 1
        assert z_y <= given_out[row] <= 127


# -- what takes TensorFlow -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def converted(start: dict[str, Any]) -> dict[str, Any]:
    """Give the int8 file of the lesson and what its by-hand cells need."""
    space = dict(start) | {"load_reference": load_reference}
    for part in ("known, known_y = ", "def seen_by_the_runtime", "def by_hand(", "def converted("):
        exec(cell_with(part), space)
    return space


@pytest.mark.rotated
def test_the_layer_by_hand_is_the_runtimes_within_a_step(converted, capsys):
    assert np.max(converted["differences"]) <= 1
    outputs = np.array([converted["seen_by_the_runtime"](picture)[1] for picture in converted["X"][:50]])
    assert len(np.unique(outputs)) > 20, "it says something"


@pytest.mark.rotated
def test_the_signs_that_ranges_are_learned_from_are_others(converted):
    known = (converted["known"] * 255).round().astype(np.uint8)
    seen = {picture.tobytes() for picture in load_signs().images}
    assert not any(picture.tobytes() in seen for picture in known)
    np.testing.assert_array_equal(known, make_signs(1200, random_state=9)[0])


@pytest.mark.rotated
def test_rounding_in_training_is_the_librarys_and_lets_the_gradient_through(converted):
    import tensorflow as tf

    rounded = definition("rounded", tf=tf)
    w = tf.Variable(np.random.default_rng(3).normal(size=(3, 3, 2, 5)).astype("float32"))
    for bits in (2, 3, 8):
        top = 2 ** (bits - 1) - 1
        np.testing.assert_allclose(rounded(w, top), fake_quantize(w.numpy(), bits=bits, axis=3), atol=1e-6)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(rounded(w, 1) * 3)
    np.testing.assert_array_equal(tape.gradient(loss, w), np.full(w.shape, 3, np.float32))


@pytest.mark.rotated
def test_each_fault_has_its_symptom_and_no_other(converted):
    rows = converted["known"][:240].copy()
    rows[99] *= 255
    space = converted | {"bad": {"one of 240 not divided": converted["converted"](rows)}}
    for part in ("ports = {", "def first_layer(", "def symptoms("):
        exec(cell_with(part), space)
    space["wanted"], _ = space["first_layer"](space["network"], space["X"][:60])
    found = {name: [float(cell) for cell in space["symptoms"](*port)] for name, port in space["ports"].items()}
    honest = found.pop("honest")
    right, _, r, mean, off, marks = np.array(list(found.values())).T
    ash, beech, cherry, hazel = range(4)
    assert honest[0] > 0.96
    assert honest[4] == 0
    assert (right < honest[0]).all(), "every fault costs answers"
    assert mean[ash] > honest[3] + 50
    assert r[ash] > 0.9, "the order has survived"
    assert r[beech] < 0
    assert (mean[[cherry, hazel]] == honest[3]).all()
    assert (r[[cherry, hazel]] == 1).all()
    assert off[cherry] == 4
    assert marks[hazel] < 20
    assert (marks[[ash, beech, cherry]] > 150).all()


def test_naming_the_mistakes_passes_and_a_blank_does_not(capsys):
    right = {
        "ash": "zero point off", "beech": "integers wrapped", "cherry": "scales swapped", "hazel": "range too wide",
    }  # fmt: skip
    for suspicion, marks in ((right, "✓✓✓✓"), (dict.fromkeys(right, ...), "✗✗✗✗"), (right | {"ash": "x"}, "✗✓✓✓")):
        run("mistakes = {", suspicion=suspicion, course=course)
        assert "".join(line[0] for line in capsys.readouterr().out.splitlines()) == marks


# -- verdicts -------------------------------------------------------------------------------------


def verdicts(ratio: float, rates: dict[str, float]) -> list[str]:
    pair = SimpleNamespace(ratio=lambda a, b: SimpleNamespace(value=1 / rates[a.partition(",")[0]]))
    names = {
        "weights_ratio": 4.0, "ratio": ratio,
        "speed": rates, "kinds": ("convolution", "depthwise"), "two_layers": pair,
    }  # fmt: skip
    return run("it gets four times smaller", **names)["said"]


def test_verdicts_follow_what_was_measured():
    one = verdicts(3.1, {"int8": 2.5, "float16": 1.0, "int16x8": 0.04, "convolution": 3.8, "depthwise": 0.4})
    assert "weights 4.00 times, the file 3.10 times" in one[0]
    said = [line.split("|")[2].split(":")[0].strip() for line in one[1:]]
    assert said == ["holds", "no difference", "does not hold", "holds", "does not hold"]
    other = verdicts(3.1, {"int8": 0.5, "float16": 2.0, "int16x8": 1.5, "convolution": 1.0, "depthwise": 1.2})
    said = [line.split("|")[2].split(":")[0].strip() for line in other[1:]]
    assert said == ["does not hold", "holds", "holds", "no difference", "holds"]


@pytest.mark.parametrize(("gain", "word"), [(0.05, "helps"), (0.0, "changes little"), (-0.05, "harms")])
def test_what_training_for_it_does_is_said_by_the_difference(capsys, gain, word):
    def model(method: str, right: float) -> Any:
        answers = np.eye(2)[(np.arange(100) >= 100 * right).astype(int)]
        return type("M", (), {"report": SimpleNamespace(method=method), "__call__": lambda self, X: answers})()

    models = {"int8": model("int8", 0.9), "aware": model("int8-aware", 0.9 + gain)}
    run('verdict = "helps"', ask=lambda one: one(None), y=np.zeros(100), **models)
    assert f"it {word} here" in capsys.readouterr().out


# -- figures --------------------------------------------------------------------------------------


@pytest.fixture
def style():
    plots.use_style()
    yield
    plt.close("all")


def entry(right: float, ms: float) -> Any:
    return SimpleNamespace(accuracy=right, accuracy_low=right - 0.02, accuracy_high=right + 0.01, p50_ms=ms)


SIZES = {"float32": (128_000, 120_000, 0), "int8": (42_000, 31_000, 0)}
PARTS = ("def panel(", "def add_scheme(", "def poster(")


def test_the_poster_has_what_was_measured_in_each_panel(style):
    fig = run(*PARTS)["poster"]({"float32": entry(0.98, 0.055), "int8": entry(0.97, 0.022)}, SIZES)
    wrong, size, time = fig.axes
    dots = [line.get_xydata()[0].tolist() for line in wrong.lines if len(line.get_xdata()) == 1]
    np.testing.assert_allclose(dots, [[3, 0], [2, 1]])
    bands = [line.get_xdata() for line in wrong.lines if len(line.get_xdata()) == 2]
    np.testing.assert_allclose(bands, [[2, 5], [1, 4]])
    np.testing.assert_allclose([bar.get_width() for bar in size.patches], [42, 31, 128, 120])
    np.testing.assert_allclose([line.get_xydata()[0] for line in time.lines], [[22, 0], [55, 1]])
    assert [text.get_text() for text in wrong.texts] == ["int8", "float32"]
    assert [text.get_text() for text in time.texts] == ["22", "55"]


def test_a_guess_is_marked_and_no_guess_is_none(style):
    ax, add = plt.figure().gca(), run("def panel(", "def add_guess(")["add_guess"]
    add(ax, None, 1)
    assert not ax.lines
    add(ax, 32.0, 1)
    assert ax.lines[0].get_xydata().tolist() == [[32, 1]]
    assert ax.texts[0].get_text() == "your guess"


def test_guesses_stand_where_the_guessed_file_and_time_would(style):
    marked: list[Any] = []
    names = {
        "found": {f"signs, {s}": entry(0.98, 0.06) for s in SIZES}, "schemes": dict.fromkeys(SIZES),
        "smaller": SimpleNamespace(value=4), "faster": SimpleNamespace(value=None), "ratio": 3.0,
        "kB": {"float32": [128.0, 120.0, 0.0]}, "speed": {"int8": 2.5},
        "add_guess": lambda ax, value, place: marked.append((value, place)),
    }  # fmt: skip
    fig, _ = plt.subplots(1, 3)
    run("def add_guesses(", **names)["add_guesses"](fig)
    assert marked == [(32.0, 0), (None, 0)]
    assert fig.get_suptitle() == "int8: 3.0 times smaller, 2.5 times as fast"


def test_the_pictures_have_the_bits_that_stand_over_them(style, start):
    fig = run("def pictures_figure(", **start)["pictures_figure"](start["sign"], (8, 3, 1))
    for ax, bits in zip(fig.axes, (8, 3, 1), strict=True):
        shown = np.asarray(ax.images[0].get_array())
        assert len(np.unique(shown)) <= 2**bits
        assert np.abs(shown - start["sign"]).max() <= 0.5001 / (2**bits - 1)
        assert ax.get_title().startswith(f"{bits} bit")
    assert [ax.get_title().split("\n")[1].split(",")[0] for ax in fig.axes] == ["turn right", "turn right", "turn left"]


def test_noise_is_drawn_for_layers_with_weights_alone(style):
    space = run("def sqnr_figure(")
    layers = [SimpleNamespace(n_parameters=n, sqnr_db=dB) for n, dB in ((10, 30.0), (0, 99.0), (20, 35.0))]
    told = space["layers_dB"](SimpleNamespace(layers=layers))
    assert told == [30.0, 35.0]
    (ax,) = space["sqnr_figure"]({"int8": told}).axes
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[1, 30], [2, 35]])


# -- play -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def play(start: dict[str, Any]) -> dict[str, Any]:
    space = dict(start) | {"LiveFigure": None, "bars": bars, "points": points, "text": text}
    space["with_weights"] = definition("with_weights")
    for part in ("def with_bits(", "def picture_in(", "def marks_of(", "def rounding(", "def told_of("):
        exec(cell_with(part), space)
    return space


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("ruler", ["one for all filters", "one for each filter"])
def test_the_marks_are_where_the_librarys_rounding_puts_weights(play, bits, ruler):
    axis = 0 if ruler == "one for each filter" else None
    theirs = fake_quantize(play["filters"], bits=bits, axis=axis)[1].ravel()
    _, marks = play["marks_of"](bits, ruler)
    assert len(marks) == 2**bits - 1
    assert np.abs(theirs[:, None] - marks).min(axis=1).max() < 1e-6


def test_the_widget_shows_weights_marks_and_the_accuracy_of_that_very_network(play):
    parts = play["rounding"](3, "one for each filter")
    histogram, marks, *_ = parts
    assert histogram.y.sum() == (np.abs(play["shown"]) <= 0.5).sum() == 75
    assert marks.size == 7
    said = {part.label: part.words for part in parts if part.kind == "text"}
    network = definition("with_weights")(
        play["network"], *((w, fake_quantize(w, bits=3, axis=0)) for w in play["all_weights"])
    )
    share = (network(play["X"]).argmax(axis=1) == play["y"]).mean()
    assert said["right"] == f"{share:.1%}"
    assert said["weights"] == f"{30_288 * 3 / 8000:.1f} kB"


def test_the_picture_follows_the_bits(play):
    pictures: list[Any] = []
    rounding = definition("rounding", **play | {"screen": SimpleNamespace(update=pictures.append)})
    rounding(2, "one for all filters")
    assert 'alt="the sign in 2 bits"' in pictures[0].data


# -- exercises ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def solved() -> dict[str, Any]:
    space: dict[str, Any] = {}
    for cell in solution(read(SOURCES / "exercises" / SOURCE.name)).cells:
        if cell.cell_type == "code":
            exec(cell.source, space)
    return space


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), bits=st.integers(2, 8))
def test_the_exercises_rounding_is_the_librarys(solved, seed, bits):
    w = np.random.default_rng(seed).normal(size=(4, 3, 3, 2))
    np.testing.assert_allclose(solved["rounded"](w, bits), fake_quantize(w, bits=bits, axis=0), atol=1e-6)


def test_the_exercises_convolution_is_one_in_three_loops(solved):
    padded, z_x, W, bias = (solved[name] for name in ("padded", "z_x", "W", "bias"))
    for i, j, f in ((0, 0, 0), (3, 5, 7), (7, 7, 15), (0, 7, 3)):
        total = sum(int(W[f, a, b]) * (int(padded[i + a, j + b]) - z_x) for a in range(3) for b in range(3))
        assert solved["sums"][i, j, f] == total + bias[f]


def test_the_device_of_the_exercise_is_right_for_most_and_wrong_for_some(solved):
    told, exact = solved["told"], solved["inputs"] @ solved["weights"].T
    assert ((told - exact) % 65_536 == 0).all()
    assert 0.01 < (told != exact).mean() < 0.3


# -- the notebook ---------------------------------------------------------------------------------


def test_what_gives_answers_away_is_folded_and_nothing_that_is_taught():
    folded = [cell.source for cell in CODE if "hide-input" in tags(cell)]
    given_away = ("course.quiz(", "mistakes = {", "ports = {", "def first_layer(", "def symptoms(", "wanted, _ = ")
    assert all(any(word in source for word in given_away) for source in folded)
    assert sum("course.quiz(" in source for source in folded) == 5

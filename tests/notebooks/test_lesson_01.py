"""What lesson 01 draws from measurements, drawn from frozen ones; what it says by hand, held against the library."""

import ast

import matplotlib.pyplot as plt
import numpy as np
import pytest

from inferkit import plots
from notebooks.source import SOURCES, read

SOURCE = SOURCES / "01_train_once_predict_forever.py"


def cell_with(text: str) -> str:
    """Return the code of the only cell that holds a text."""
    (found,) = [cell.source for cell in read(SOURCE).cells if cell.cell_type == "code" and text in cell.source]
    return found


@pytest.fixture
def cost_figure():
    names = {"np": np, "plt": plt, "slide_size": plots.slide_size, "label_lines": plots.label_lines}
    exec(cell_with("def cost_figure("), names)
    plots.use_style()
    yield names["cost_figure"]
    plt.close("all")


def test_the_costs_cross_where_they_should(cost_figure):
    """School of 4 s, answers of 10 µs: 400,000 answers; the guess of 1,000 stands on the line of school."""
    fig = cost_figure(4.0, 1e-5, 1000.0)
    (ax,) = fig.axes
    school, answers, crossing = ax.lines
    assert set(school.get_ydata()) == {4.0}
    np.testing.assert_allclose(answers.get_ydata(), 1e-5 * answers.get_xdata())
    assert crossing.get_xydata().tolist() == [[pytest.approx(400_000), 4.0]]
    guess = next(text for text in ax.texts if text.get_text() == "your guess")
    assert guess.xy == (1000.0, 4.0)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert {text.get_text() for text in ax.texts} == {"your guess", "school, paid once", "answers, added up"}


def test_without_a_guess_none_is_marked(cost_figure):
    assert "your guess" not in {text.get_text() for text in cost_figure(4.0, 1e-5).axes[0].texts}


def test_another_measurement_is_another_figure(cost_figure):
    frozen = plots.figure_data(cost_figure(4.0, 1e-5))
    assert plots.compare_figure_data(frozen, plots.figure_data(cost_figure(4.0, 1e-5))) == []
    assert plots.compare_figure_data(frozen, plots.figure_data(cost_figure(4.0, 2e-5))) != []


def test_the_answer_by_hand_is_softmax_of_a_product():
    from sklearn.utils.extmath import softmax

    names = {"np": np}
    exec(cell_with("def answer(W, x):"), names)
    rng = np.random.default_rng(0)
    W, x = rng.normal(size=(64, 10)), rng.normal(size=(5, 64))
    np.testing.assert_allclose(names["answer"](W, x), softmax(x @ W))


def test_the_network_in_the_open_is_the_librarys(tensorflow):
    """The layers that the lesson writes out are those of `inferkit.models.cnn`, of which the shipped model is one."""
    from inferkit.models import cnn

    names: dict = {}
    exec(cell_with("student = keras.Sequential"), names | {"print": lambda *_: None}, names)

    def shape(model):
        kept = [layer for layer in model.layers if layer.weights]
        return [
            (type(layer).__name__, [tuple(w.shape) for w in layer.weights], layer.activation.__name__) for layer in kept
        ]

    assert shape(names["student"]) == shape(cnn())


def test_tensorflow_is_imported_where_training_begins_and_not_before():
    """The pad answers before; the only cell that imports Keras is the one that builds the student."""
    importing = [
        cell.source
        for cell in read(SOURCE).cells
        if cell.cell_type == "code"
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module])
        if name.partition(".")[0] in ("keras", "tensorflow")
    ]
    assert len(importing) == 1
    assert "student = keras.Sequential" in importing[0]

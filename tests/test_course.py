"""Guesses, quizzes and checks."""

import math
import os
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.formatters import DisplayFormatter

from inferkit import InputError, MissingExtraError
from inferkit.course import _check, _guess, check, checks, guess, plain_number, quiz

WIDGET = "application/vnd.jupyter.widget-view+json"
QUESTION = {
    "question": "What changes in the weights while a model answers?",
    "options": {"All of them": "That is training.", "Nothing": "They are only read.", "The last layer's": "No."},
    "answer": "Nothing",
}


@pytest.fixture(autouse=True)
def forget() -> None:
    """Start each test as a fresh kernel would."""
    _guess._kept.clear()
    _check._tally.clear()


def shown(thing: Any) -> dict[str, Any]:
    """Return what a notebook would be given to show, by MIME type."""
    data: dict[str, Any] = thing._repr_mimebundle_()[0]
    return data


def page_sends(thing: Any, **state: Any) -> None:
    """Do to a widget what a message from the page does."""
    thing._view.set_state(state)


# -- import ------------------------------------------------------------------------------------


def environment_after(statement: str, **given: str) -> list[str]:
    """Return what a fresh Python has set, and which packages it has loaded."""
    names = ["TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS", "KERAS_BACKEND"]
    heavy = {"tensorflow", "keras", "sklearn", "matplotlib", "pandas", "ipywidgets", "anywidget"}
    code = f"{statement}; import os, sys; print(*map(os.environ.get, {names}), *sorted({heavy} & set(sys.modules)))"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("TF_", "KERAS"))} | given
    return subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True).stdout.split()


def test_import_sets_quiet_defaults_and_loads_nothing_heavy() -> None:
    assert environment_after("import inferkit.course") == ["3", "0", "1", "tensorflow"]


def test_what_the_user_has_set_wins() -> None:
    found = environment_after("import inferkit.course", KERAS_BACKEND="jax", TF_NUM_INTRAOP_THREADS="4")
    assert found == ["3", "0", "4", "jax"]


def test_importing_inferkit_alone_sets_nothing() -> None:
    assert environment_after("import inferkit") == ["None"] * 4


# -- guess -------------------------------------------------------------------------------------


def test_a_guess_stands_at_none_until_the_page_keeps_one() -> None:
    times = guess("How many?", low=1, high=1000, unit="times")
    assert times.value is None
    assert shown(times)["text/plain"] == "How many?\nYour guess: none"
    page_sends(times, chosen=times._view.labels.index("50 times"))
    assert times.value == 50
    assert times._view.kept == "50 times"
    assert shown(times)["text/plain"] == "How many?\nYour guess: 50 times"


def test_the_cell_that_runs_again_shows_the_same_guess() -> None:
    times = guess("How many?", low=1, high=1000).keep(20)
    assert guess("How many?", low=1, high=1000) is times
    assert guess("How many?", low=1, high=1000, key="another").value is None


def test_a_cell_that_was_changed_asks_anew() -> None:
    guess("How many?", low=1, high=1000, key="k").keep(20)
    assert guess("How many?", low=1, high=100, key="k").value is None
    guess("How many?", low=1, high=100, key="k").keep(20)
    assert guess("How many now?", low=1, high=100, key="k").value is None


def test_a_guess_can_be_kept_without_the_widget_between_two_stops() -> None:
    times = guess("How many?", low=1, high=1000, unit="times").keep(340)
    assert times.value == 340
    assert times._view.kept == "340 times"
    assert times._view.chosen == -1  # so that any stop that the page sends is a change
    page_sends(times, chosen=3)
    assert times.value == times.keep(10).value == 10
    assert times._view.chosen == 3


def test_a_choice_keeps_an_option() -> None:
    first = guess("Which answers first?", options=["Keras", "LiteRT"])
    assert first.value is None
    assert not first._view.slider
    page_sends(first, chosen=1)
    assert first.value == "LiteRT"
    assert str(first.beside("LiteRT")) == "You guessed LiteRT. This machine measured LiteRT: as you guessed."
    assert str(first.keep("Keras").beside("LiteRT")) == "You guessed Keras. This machine measured LiteRT."
    assert first._view.chosen == 0


@pytest.mark.parametrize(
    ("guessed", "measured", "ending"),
    [
        (1000, 310_000, "This machine measured 310,000 times: 310 × more."),
        (1000, 1, "This machine measured 1 times: 1,000 × less."),
        (1000, 2500, "This machine measured 2,500 times: 2.5 × more."),
        (1000, 1050, "This machine measured 1,050 times: about what you guessed."),
        (1000, 950, "This machine measured 950 times: about what you guessed."),
        (1000, 0.5, "This machine measured 0.5 times: 2,000 × less."),
    ],
)
def test_a_guess_beside_a_measurement(guessed: float, measured: float, ending: str) -> None:
    found = guess("How many?", low=1, high=1e9, unit="times").keep(guessed).beside(measured)
    assert found.sentence == f"You guessed 1,000 times. {ending}"
    assert (found.guessed, found.measured) == (guessed, measured)


def test_no_guess_beside_a_measurement() -> None:
    found = guess("How many?", low=1, high=1e9, unit="times").beside(np.float32(2_000_000))
    assert repr(found) == "No guess kept. This machine measured 2,000,000 times."
    assert found.guessed is None


def test_a_guess_of_zero_on_a_linear_slider_compares_nothing() -> None:
    share = guess("What share?", low=0, high=100, unit="%", log=False).keep(0)
    assert share.beside(97).sentence == "You guessed 0 %. This machine measured 97 %."


def test_texts_enter_a_page_as_text() -> None:
    html = shown(guess("<i>x</i> & y?", options=["<b>a</b>", "b"]).keep("<b>a</b>"))["text/html"]
    assert html == ("<p><strong>&lt;i&gt;x&lt;/i&gt; &amp; y?</strong></p>\n<p>Your guess: &lt;b&gt;a&lt;/b&gt;</p>")
    beside = guess("?", options=["<b>a</b>", "b"], key="k").beside("<b>a</b>")
    assert "&lt;b&gt;a&lt;/b&gt;" in beside._repr_html_()


@pytest.mark.parametrize("kind", ["guess", "quiz"])
def test_what_a_built_notebook_keeps_is_the_same_every_time(kind: str) -> None:
    def static() -> dict[str, Any]:
        _guess._kept.clear()
        made = guess("How many?", low=1, high=10) if kind == "guess" else quiz([QUESTION])
        data = shown(made)
        assert WIDGET in data
        return {k: v for k, v in data.items() if k != WIDGET}

    assert static() == static()


def test_the_slider_stops_at_round_numbers() -> None:
    labels = guess("How many?", low=1, high=1e9, unit="×")._view.labels
    assert labels[:4] == ["1 ×", "2 ×", "5 ×", "10 ×"]
    assert labels[-1] == "1,000,000,000 ×"
    assert len(labels) == 28
    assert guess("?", low=2, high=30)._view.labels[:6] == ["2", "3", "4", "5", "6", "7"]
    assert guess("?", low=0, high=1, log=False, key="linear")._view.labels[:4] == ["0", "0.01", "0.02", "0.03"]


@given(st.floats(1e-6, 1e6), st.floats(1.01, 1e9), st.booleans())
def test_stops_rise_from_end_to_end(low: float, times: float, log: bool) -> None:
    stops = _guess._stops(low, low * times, log)
    assert stops[0] == pytest.approx(low, rel=1e-11)
    assert stops[-1] == pytest.approx(low * times, rel=1e-11)
    assert all(a < b for a, b in pairwise(stops))
    if log and times > 1000:
        assert all(b / a <= 2.5 * (1 + 1e-9) for a, b in pairwise(stops))


@given(st.floats(1e-12, 1e15) | st.floats(-1e15, -1e-12), st.integers(1, 6))
def test_a_number_in_words_keeps_its_digits(value: float, digits: int) -> None:
    text = plain_number(value, digits)
    assert "e" not in text.lower()
    read = Fraction(text.replace(",", ""))
    assert abs(read - Fraction(value)) <= abs(Fraction(value)) * Fraction(1, 2 * 10 ** (digits - 1))
    assert len(text.replace(",", "").replace(".", "").strip("-0")) <= digits


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({}, "give low=... and high=..."),
        ({"low": 1}, "give low=... and high=..."),
        ({"low": 0, "high": 10}, "expected 0 < low < high"),
        ({"low": 10, "high": 10}, "low=10 and high=10"),
        ({"low": 10, "high": 1, "log": False}, "expected low < high"),
        ({"low": 1, "high": math.inf}, "high: expected a finite number, got inf"),
        ({"low": "1", "high": 2}, "low: expected a number, got '1'"),
        ({"low": True, "high": 2}, "low: expected a number, got True"),
        ({"options": "AB"}, "expected texts such as"),
        ({"options": ["A", ""]}, "expected texts such as"),
        ({"options": ["A"]}, "two or more different"),
        ({"options": ["A", "A"]}, "two or more different"),
        ({"options": ["A", "B"], "low": 1, "high": 2}, "not both"),
    ],
)
def test_a_question_that_is_none_is_refused(bad: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        guess("?", **bad)
    assert not _guess._kept


@pytest.mark.parametrize(
    ("value", "says"),
    [(0.5, "from 1 to 1000, got 0.5"), (1001, "got 1001"), (math.nan, "finite"), ("many", "expected a number")],
)
def test_a_guess_outside_the_range_is_refused(value: Any, says: str) -> None:
    times = guess("?", low=1, high=1000).keep(5)
    with pytest.raises(InputError, match=says):
        times.keep(value)
    assert times.value == 5


@pytest.mark.parametrize("measured", [0, -1, math.nan, math.inf, "fast", None])
def test_a_measurement_that_is_none_is_refused(measured: Any) -> None:
    with pytest.raises(InputError, match="measured: expected a"):
        guess("?", low=1, high=1000).beside(measured)


def test_an_answer_that_is_no_option_is_refused() -> None:
    first = guess("?", options=["Keras", "LiteRT"])
    with pytest.raises(InputError, match="expected one of 'Keras', 'LiteRT', got 'NumPy'"):
        first.keep("NumPy")
    with pytest.raises(InputError, match="expected one of"):
        first.beside(3)


def test_a_page_that_sends_nonsense_keeps_nothing() -> None:
    times = guess("?", low=1, high=1000)
    page_sends(times, chosen=99)
    assert times.value is None


def test_without_anywidget_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(MissingExtraError, match='pip install "anywidget>='):
        guess("?", low=1, high=2)
    with pytest.raises(MissingExtraError, match='pip install "anywidget>='):
        quiz([QUESTION])


# -- quiz --------------------------------------------------------------------------------------


def test_a_quiz_at_rest_shows_no_answer() -> None:
    data = shown(quiz([QUESTION, {"question": "<Q>?", "options": {"<a>": "yes", "b": "no"}, "answer": "<a>"}]))
    assert data["text/plain"].splitlines() == [
        "1. What changes in the weights while a model answers?",
        "   ( ) All of them",
        "   ( ) Nothing",
        "   ( ) The last layer's",
        "2. <Q>?",
        "   ( ) <a>",
        "   ( ) b",
    ]
    assert data["text/html"].startswith("<p><strong>1. What changes")
    assert "<p><strong>2. &lt;Q&gt;?</strong></p>\n<ul><li>&lt;a&gt;</li><li>b</li></ul>" in data["text/html"]
    assert "They are only read" not in data["text/html"]


def test_the_page_gets_the_options_in_order_with_one_right() -> None:
    (question,) = quiz([QUESTION])._view.questions
    assert [o["text"] for o in question["options"]] == ["All of them", "Nothing", "The last layer's"]
    assert [o["right"] for o in question["options"]] == [False, True, False]
    assert [o["reason"] for o in question["options"]] == ["That is training.", "They are only read.", "No."]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"answer": "Some"}, "answer: expected one of 'All of them', 'Nothing', .*, got 'Some'"),
        ({"answer": ["Nothing"]}, "answer: expected one of"),
        ({"options": {"Nothing": "", "All": "No."}}, "option 'Nothing' has no reason"),
        ({"options": {"Nothing": "Yes."}}, "expected a dict of two or more"),
        ({"options": ["Nothing", "All"]}, "expected a dict of two or more"),
        ({"options": {"Nothing": "Yes.", " ": "No."}}, "not empty"),
        ({"question": ""}, "not empty"),
        ({"hint": "weights"}, "got the keys 'question', 'options', 'answer', 'hint'"),
    ],
)
def test_a_question_that_lacks_something_is_refused_by_its_number(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=f"question 2: .*{says}"):
        quiz([QUESTION, QUESTION | change])


def test_one_question_has_no_number() -> None:
    for asking in (QUESTION, [QUESTION], (QUESTION,)):
        asked = quiz(asking)
        assert repr(asked).startswith("What changes")
        assert shown(asked)["text/html"].startswith("<p><strong>What changes")
        assert asked._view.questions[0]["question"].startswith("What changes")
    assert [q["question"][:3] for q in quiz([QUESTION, QUESTION])._view.questions] == ["1. ", "2. "]


@pytest.mark.parametrize("bad", [[], {}, "What?", None, 3])
def test_a_quiz_is_a_list_of_questions(bad: Any) -> None:
    with pytest.raises(InputError, match="expected a question or a list of questions"):
        quiz(bad)
    with pytest.raises(InputError, match="question 1: expected a dict"):
        quiz(["What?"])  # type: ignore[list-item]


# -- check -------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [True, np.True_, lambda: True, lambda: np.all([1, 1]), np.array([3]).all()])
def test_a_check_that_passes(condition: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert check("sum", condition, hint="add them") == True  # noqa: E712 (it is a number that equals True)
    assert capsys.readouterr().out == "✓ sum\n"


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        (False, "add them"),
        (np.False_, "add them"),
        (lambda: np.bool_(False), "add them"),
        (..., "add them (a blank (...) is still to be filled in)"),
        (lambda: ..., "add them (a blank (...) is still to be filled in)"),
        (lambda: ... > 3, "add them (a blank (...) is still to be filled in)"),
        (lambda: {}["k"], "add them (KeyError: 'k')"),
        (lambda: [][0], "add them (IndexError: list index out of range)"),
        (lambda: np.zeros(3) == 0, "add them (expected True or False, got an array of shape (3,))"),
        (lambda: 7, "add them (expected True or False, got 7 (int))"),
        (lambda x: x, "add them (TypeError: "),
    ],
)
def test_a_check_that_fails_says_why(condition: Any, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not check("sum", condition, hint="add them")
    assert capsys.readouterr().out.startswith(f"✗ sum: {told}")


def test_a_check_without_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    check("sum", False)
    check("sum", lambda: next(iter([])))
    assert capsys.readouterr().out == "✗ sum\n✗ sum: StopIteration\n"


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        (np.ones(3) > 0, r"an array of shape \(3,\); for an array say what must hold: np.all"),
        (1, r"got 1 \(int\)"),
        ("x" * 100, "xxx..."),
        (None, "got None"),
    ],
)
def test_a_condition_that_is_none_is_refused(condition: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        check("sum", condition)


def test_an_interrupt_is_no_failed_check() -> None:
    def stop() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check("sum", stop)


def test_the_end_of_a_cell_shows_the_line_and_nothing_else() -> None:
    verdict = check("sum", True)
    assert DisplayFormatter().format(verdict) == ({}, {})
    assert repr(verdict) == "True"
    assert check("the verdict of a check can be checked", verdict)


def test_checks_are_counted_once_as_they_came_out_last(capsys: pytest.CaptureFixture[str]) -> None:
    assert not checks()
    for name, passed in [("a", False), ("b", False), ("a", True)]:
        check(name, passed)
    capsys.readouterr()
    assert not checks()
    assert capsys.readouterr().out == "1 of 2 checks passed. Still open: b\n"
    check("b", True)
    assert checks()
    assert capsys.readouterr().out.endswith("2 of 2 checks passed.\n")

"""The picker of faults: what it shows is what the broken predictor does; the page and the kernel agree."""

import base64
import io
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inferkit import InputError, MissingExtraError, Predictor
from inferkit.course import FaultPicker, fault_picker
from inferkit.course._faults import with_faults
from inferkit.datasets import load_digits, load_signs
from inferkit.predictor import ArraySpec, TextSpec, digit_reader, sign_reader

SIGNS = load_signs()
X, TRUTH = SIGNS.images[:240], np.array(SIGNS.target_names)[SIGNS.target[:240]]
FAULTS = ("scale forgotten", "inverted", "transposed", "grey levels lost", "channels swapped", "labels sorted")
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def picker() -> FaultPicker:
    return fault_picker(sign_reader(), X, TRUTH)


def shown(thing: FaultPicker) -> dict[str, Any]:
    """Return what a notebook would be given to show, by MIME type."""
    data: dict[str, Any] = thing._repr_mimebundle_()[0]
    return data


def page_sends(thing: FaultPicker, **state: Any) -> None:
    """Do to a widget what a message from the page does."""
    thing._view.set_state(state)


def picture(src: str) -> Any:
    """Return the picture that an address holds."""
    content = base64.b64decode(src.removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


# -- outcomes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [(), *((fault,) for fault in FAULTS), ("inverted", "channels swapped")])
def test_an_outcome_is_what_the_broken_predictor_does(picker: FaultPicker, names: tuple[str, ...]) -> None:
    broken = with_faults(sign_reader(), names)
    p = broken.predict_proba(X)
    outcome = picker.outcome(*names)
    assert outcome.accuracy == pytest.approx(np.mean(broken.predict(X) == TRUTH))
    assert outcome.confidence == pytest.approx(p.max(axis=1).mean())
    assert outcome.answers == tuple(broken.predict(X)[:6])
    assert outcome.sure == pytest.approx(tuple(p.max(axis=1)[:6]))
    assert outcome.right == tuple((broken.predict(X) == TRUTH)[:6])
    assert outcome.faults == tuple(sorted(names, key=FAULTS.index))


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("labels sorted", lambda X: X),
        ("inverted", lambda X: 255 - X),
        ("transposed", lambda X: X.swapaxes(1, 2)),
        ("channels swapped", lambda X: X[..., ::-1]),
        ("scale forgotten", lambda X: np.where(X > 0, 255, 0)),
        ("grey levels lost", lambda X: np.where(X == 255, 255, 0)),
    ],
)
def test_what_the_model_sees_is_drawn_as_zero_to_one(picker: FaultPicker, fault: str, seen: Any) -> None:
    np.testing.assert_array_equal(picker.outcome(fault).seen, seen(X[:6]))


def test_an_outcome_is_worked_out_once() -> None:
    calls = []

    def model(X: Any) -> Any:
        calls.append(len(X))
        return np.full((len(X), 2), 0.5)

    spec = ArraySpec((8, 8), low=0, high=16)
    picker = fault_picker(Predictor(model, signature=spec, labels=["b", "a"]), np.zeros((9, 8, 8)), ["b"] * 9)
    before = len(calls)
    first = picker.outcome("inverted")
    assert picker.outcome("inverted") is first
    assert len(calls) == before + 1


def test_grey_pictures_have_the_faults_that_they_can_have() -> None:
    digits = load_digits()
    picker = fault_picker(digit_reader(), digits.images[:100], digits.target[:100], show=4)
    assert picker.faults == FAULTS[:4] + FAULTS[5:]
    assert picker.outcome().accuracy > 0.9
    assert picker.outcome("inverted").seen.shape == (4, 8, 8, 3)
    np.testing.assert_array_equal(picker.outcome().seen[0, ..., 0], np.rint(digits.images[0] / 16 * 255))


def test_the_faults_offered_can_be_chosen() -> None:
    assert fault_picker(sign_reader(), X, TRUTH, faults=["labels shifted"]).faults == ("labels shifted",)


# -- the page ------------------------------------------------------------------------------------


def test_what_the_page_ticks_is_answered(picker: FaultPicker) -> None:
    assert picker.chosen == ()
    page_sends(picker, chosen=["channels swapped", "inverted"])
    assert picker.chosen == ("inverted", "channels swapped")
    outcome = picker.outcome("inverted", "channels swapped")
    said = picker._view.shown
    assert said["accuracy"] == f"{100 * outcome.accuracy:.0f} %"
    assert said["confidence"] == f"{100 * outcome.confidence:.0f} %"
    assert said["spoken"].startswith("inverted and channels swapped: ")
    assert [card["answer"] for card in said["pictures"]] == list(outcome.answers)
    assert [card["right"] for card in said["pictures"]] == list(outcome.right)
    for card, seen in zip(said["pictures"], outcome.seen, strict=True):
        np.testing.assert_array_equal(picture(card["src"]), seen)
    assert repr(picker) == repr(outcome)


def test_a_name_that_the_page_made_up_is_no_fault(picker: FaultPicker) -> None:
    page_sends(picker, chosen=["gremlins", "inverted"])
    assert picker.chosen == ("inverted",)
    assert picker._view.shown["spoken"].startswith("inverted: ")


def test_faults_can_be_switched_without_the_widget(picker: FaultPicker) -> None:
    assert picker.choose("transposed").chosen == ("transposed",)
    assert picker._view.shown["spoken"].startswith("transposed: ")
    assert picker.choose().chosen == ()
    assert picker._view.shown["spoken"].startswith("no fault: ")


class Table(HTMLParser):
    """The rows of a table, and the images in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.rows[-1][-1] += data


def test_where_no_kernel_runs_a_table_says_the_same(picker: FaultPicker) -> None:
    bundle = shown(picker)
    assert WIDGET in bundle
    table = Table(bundle["text/html"])
    assert table.rows[0] == ["fault", "what the model sees", "right", "sure"]
    outcomes = [picker.outcome(), *map(picker.outcome, FAULTS)]
    assert len(table.rows) == len(table.images) + 1 == len(outcomes) + 1
    for row, image, outcome in zip(table.rows[1:], table.images, outcomes, strict=True):
        assert row == [outcome.name, "", f"{100 * outcome.accuracy:.0f} %", f"{100 * outcome.confidence:.0f} %"]
        assert image["alt"] == f"With {outcome.name} the model answers {', '.join(outcome.answers)}."
        np.testing.assert_array_equal(picture(str(image["src"])), np.concatenate(list(outcome.seen), axis=1))
    assert bundle["text/plain"].splitlines() == [repr(outcome) for outcome in outcomes]


def test_what_is_at_rest_is_the_same_every_time_and_holds_no_id(picker: FaultPicker) -> None:
    picker.choose("inverted")  # what is switched on leaves no trace in the file
    again = fault_picker(sign_reader(), X, TRUTH)
    assert shown(again)["text/html"] == shown(picker)["text/html"]
    assert not re.search(r"\bid=", shown(picker)["text/html"])


def test_labels_enter_as_text() -> None:
    spec = ArraySpec((8, 8), low=0, high=16)
    evil = Predictor(lambda X: np.eye(2)[np.zeros(len(X), int)], signature=spec, labels=['<b>"x', "a"])
    html = shown(fault_picker(evil, np.zeros((6, 8, 8)), ["a"] * 6))["text/html"]
    assert "<b>" not in html
    assert "&lt;b&gt;&quot;x" in html


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"predictor": lambda X: X}, "expected an inferkit Predictor with labels"),
        (
            {"predictor": Predictor(lambda X: X, signature=ArraySpec((8, 8)))},
            "expected an inferkit Predictor with labels",
        ),
        ({"predictor": Predictor(lambda X: X, signature=TextSpec(), labels=["a", "b"])}, "one that takes pictures"),
        (
            {"predictor": Predictor(lambda X: X, signature=ArraySpec((8,)), labels=["a", "b"])},
            "one that takes pictures",
        ),
        ({"X": X[:0]}, "at least one row"),
        ({"X": X / 255}, "expected uint8"),
        ({"y": TRUTH[:-1]}, "y: expected one of the predictor's labels for each of 240 pictures"),
        ({"y": ["a cat"] * 240}, "y: expected one of the predictor's labels"),
        ({"show": 0}, "show: expected a whole number from 1 to 240, got 0"),
        ({"show": 241}, "show: expected a whole number from 1 to 240"),
        ({"show": True}, "show: expected a whole number"),
        ({"faults": ["gremlins"]}, "faults: expected some of 'labels shifted'.*gremlins"),
    ],
)
def test_bad_input_is_refused_at_the_door(change: dict[str, Any], says: str) -> None:
    given: dict[str, Any] = {"predictor": sign_reader(), "X": X, "y": TRUTH} | change
    with pytest.raises(InputError, match=says):
        fault_picker(given.pop("predictor"), given.pop("X"), given.pop("y"), **given)


def test_a_fault_that_finds_no_place_is_refused_where_it_was_asked_for() -> None:
    digits = load_digits()
    with pytest.raises(InputError, match="takes no pictures"):
        fault_picker(digit_reader(), digits.images, digits.target, faults=["channels swapped"])


def test_an_unknown_fault_is_refused_and_the_next_call_works(picker: FaultPicker) -> None:
    for ask in (picker.outcome, picker.choose):
        with pytest.raises(InputError, match=r"faults: expected some of 'scale forgotten'.*got \['labels shifted'\]"):
            ask("labels shifted")
    assert picker.chosen == ()
    assert picker.outcome("inverted").accuracy < 0.5


def test_without_anywidget_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(MissingExtraError, match='pip install "anywidget>='):
        fault_picker(sign_reader(), X, TRUTH)

"""Faults that are broken in on purpose, against what each does by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from inferkit import InputError, Predictor
from inferkit.course import break_it, name_the_fault, pictures_of_nothing
from inferkit.course._faults import with_faults
from inferkit.datasets import load_signs
from inferkit.models import load_reference
from inferkit.predictor import ArraySpec, Reshape, Scale, TextSpec, sign_reader

CODES = ("amber", "birch", "cedar", "damson", "elder", "fir")  # those that grey pictures can have
ALL = (*CODES, "gorse")
PICTURES, DIGITS = load_digits().images.astype(np.float32), load_digits().target
SPEC = ArraySpec((8, 8), low=0, high=16)


@pytest.fixture(scope="module")
def model() -> LinearDiscriminantAnalysis:
    half = len(PICTURES) // 2
    return LinearDiscriminantAnalysis().fit(PICTURES[:half].reshape(half, 64) / 16, DIGITS[:half])


@pytest.fixture(scope="module")
def reader(model: LinearDiscriminantAnalysis) -> Predictor:
    return Predictor(model, preprocess=[Scale(16), Reshape((64,))], signature=SPEC, name="reader")


def accuracy(predictor: Predictor) -> float:
    half = len(PICTURES) // 2
    return float(np.mean(predictor.predict(PICTURES[half:]) == DIGITS[half:]))


WHAT_REACHES_THE_MODEL: dict[str, Callable[[Any], Any]] = {
    "birch": lambda X: X,
    "cedar": lambda X: 1 - X / 16,
    "damson": lambda X: X.transpose(0, 2, 1) / 16,
    "elder": lambda X: (X == 16).astype(float),
}


@pytest.mark.parametrize("code", WHAT_REACHES_THE_MODEL)
def test_a_fault_before_the_model(code: str, reader: Predictor, model: LinearDiscriminantAnalysis) -> None:
    by_hand = model.predict_proba(WHAT_REACHES_THE_MODEL[code](PICTURES).reshape(-1, 64))
    np.testing.assert_allclose(break_it(reader, code).predict_proba(PICTURES), by_hand, atol=1e-5)


def test_shifted_labels_are_one_too_high(reader: Predictor) -> None:
    np.testing.assert_array_equal(break_it(reader, "amber").predict(PICTURES), (reader.predict(PICTURES) + 1) % 10)


def test_sorted_labels_stand_in_the_order_of_their_names(reader: Predictor) -> None:
    assert break_it(reader, "fir").labels == (8, 5, 4, 9, 1, 7, 6, 3, 2, 0)  # eight, five, four, nine, one, ...
    words = Predictor(lambda X: X, signature=ArraySpec((3,)), labels=["pear", "apple", "fig"])
    assert break_it(words, "fir").labels == ("apple", "fig", "pear")
    numbers = Predictor(lambda X: X, signature=ArraySpec((3,)), labels=[2, 10, 1])
    assert break_it(numbers, "fir").labels == (1, 10, 2)


@pytest.mark.parametrize("code", CODES)
def test_a_fault_is_silent_and_costs_many_answers(code: str, reader: Predictor) -> None:
    before = reader.predict_proba(PICTURES)
    broken = break_it(reader, code)
    assert accuracy(reader) > 0.9
    assert accuracy(broken) < accuracy(reader) - 0.02
    assert broken.name == f"reader ({code})"
    np.testing.assert_array_equal(reader.predict_proba(PICTURES), before)  # the one given stays as it is


@pytest.mark.parametrize("code", sorted(set(CODES) - {"damson"}))
def test_a_broken_predictor_can_be_saved(code: str, reader: Predictor, tmp_path: Path) -> None:
    broken = break_it(reader, code)
    broken.save(tmp_path / "broken.inferkit")
    loaded = Predictor.load(tmp_path / "broken.inferkit")
    np.testing.assert_array_equal(loaded.predict(PICTURES[:50]), broken.predict(PICTURES[:50]))


def test_a_step_that_no_file_can_hold_is_refused_by_name(reader: Predictor, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="transposed"):
        break_it(reader, "damson").save(tmp_path / "broken.inferkit")


@pytest.mark.parametrize("code", ["Amber", "", "labels shifted", None, 3])
def test_an_unknown_code_is_refused(code: Any, reader: Predictor) -> None:
    with pytest.raises(InputError, match="fault: expected one of 'amber', 'birch'"):
        break_it(reader, code)
    with pytest.raises(InputError, match="fault: expected one of 'amber', 'birch'"):
        name_the_fault(code, "inverted")


def test_only_a_predictor_can_be_broken(model: LinearDiscriminantAnalysis) -> None:
    with pytest.raises(InputError, match="expected an inferkit Predictor, got LinearDiscriminantAnalysis; wrap it"):
        break_it(model, "amber")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "signature", "labels", "says"),
    [
        ("amber", SPEC, None, "has no labels"),
        ("fir", SPEC, None, "has no labels"),
        ("fir", SPEC, ["a", "b"], "in alphabetical order already"),
        ("birch", SPEC, ["a", "b"], "has no Scale step"),
        ("elder", SPEC, ["a", "b"], "has no Scale step"),
        ("cedar", ArraySpec((8, 8), low=0), ["a", "b"], "does not say what black and white are"),
        ("cedar", TextSpec(), ["a", "b"], "does not say what black and white are"),
        ("damson", ArraySpec((8,)), ["a", "b"], "no square pictures"),
        ("damson", ArraySpec((8, 6)), ["a", "b"], "no square pictures"),
        ("damson", ArraySpec((3, 8, 8)), ["a", "b"], "no square pictures"),
        ("gorse", ArraySpec((8, 8)), ["a", "b"], "takes no pictures"),
        ("gorse", ArraySpec((8, 8, 4)), ["a", "b"], "takes no pictures"),
        ("gorse", ArraySpec((8, 3)), ["a", "b"], "takes no pictures"),
        ("gorse", TextSpec(), ["a", "b"], "takes no pictures"),
    ],
)
def test_a_fault_that_finds_no_place_is_refused(code: str, signature: Any, labels: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        break_it(Predictor(lambda X: X, signature=signature, labels=labels), code)


NAMES = dict(
    zip(
        ALL,
        [
            "labels shifted",
            "scale forgotten",
            "inverted",
            "transposed",
            "grey levels lost",
            "labels sorted",
            "channels swapped",
        ],
        strict=True,
    )
)


@pytest.mark.parametrize("code", ALL)
def test_a_fault_is_named_right_by_one_name_only(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert name_the_fault(code, f" {NAMES[code].upper()} ")
    assert capsys.readouterr().out == f"✓ the fault in {code}\n"
    for wrong in set(NAMES.values()) - {NAMES[code]}:
        assert not name_the_fault(code, wrong)
        told = capsys.readouterr().out
        assert told.startswith(f"✗ the fault in {code}: not {wrong!r}. ")
        assert NAMES[code] not in told


def test_a_blank_suspicion_is_a_failed_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert not name_the_fault("amber", ...)
    assert "blank" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"suspicion: expected one of 'channels swapped', .* got 'gremlins'"):
        name_the_fault("amber", "gremlins")
    with pytest.raises(InputError, match="got 3"):
        name_the_fault("amber", 3)  # type: ignore[arg-type]


# -- pictures in colour ------------------------------------------------------------------------

SIGNS = load_signs()
IN_COLOUR: dict[str, Callable[[Any], Any]] = {
    "birch": lambda X: X.astype(np.float32),
    "cedar": lambda X: 1 - X / np.float32(255),
    "damson": lambda X: X.transpose(0, 2, 1, 3) / np.float32(255),
    "elder": lambda X: (X == 255).astype(np.float32),
    "gorse": lambda X: X[..., [2, 1, 0]] / np.float32(255),
}


@pytest.mark.parametrize("code", IN_COLOUR)
def test_a_fault_in_colour_before_the_model(code: str) -> None:
    by_hand = load_reference("signs-cnn")(IN_COLOUR[code](SIGNS.images))
    np.testing.assert_allclose(break_it(sign_reader(), code).predict_proba(SIGNS.images), by_hand, atol=1e-5)


@pytest.mark.parametrize("code", ALL)
def test_a_fault_in_colour_is_silent_and_costs_many_answers(code: str) -> None:
    reader, truth = sign_reader(), np.array(SIGNS.target_names)[SIGNS.target]
    right = [np.mean(p.predict(SIGNS.images) == truth) for p in (reader, break_it(reader, code))]
    assert right[1] < right[0] - 0.02


def test_a_broken_reader_of_colours_answers_one_picture_as_it_does_many() -> None:
    for code in ALL:
        broken = break_it(sign_reader(), code)
        assert [broken.predict_one(x) for x in SIGNS.images[:20]] == broken.predict(SIGNS.images[:20]).tolist()


def test_several_faults_come_together_in_any_order() -> None:
    """Stored as whole numbers, with the scale forgotten: whole numbers they were before, so nothing is lost."""
    reader, X = sign_reader(), SIGNS.images[:200]
    for names in (["scale forgotten", "grey levels lost"], ["grey levels lost", "scale forgotten"]):
        np.testing.assert_allclose(
            with_faults(reader, names).predict_proba(X), break_it(reader, "birch").predict_proba(X), atol=1e-6
        )
    both = with_faults(reader, ["inverted", "channels swapped"]).predict_proba(X)
    by_hand = load_reference("signs-cnn")(1 - X[..., ::-1] / np.float32(255))
    np.testing.assert_allclose(both, by_hand, atol=1e-5)
    assert with_faults(reader, []) is reader
    with pytest.raises(InputError, match=r"faults: expected some of 'labels shifted'.*got \['gremlins'\]"):
        with_faults(reader, ["gremlins"])


# -- pictures of nothing -----------------------------------------------------------------------


def test_pictures_of_nothing_are_what_they_are_called() -> None:
    pictures, kinds = pictures_of_nothing(200, random_state=1)
    assert pictures.dtype == np.float32
    assert pictures.min() == 0
    assert pictures.max() == 16
    by_kind = {kind: pictures[[k == kind for k in kinds]] for kind in kinds}
    assert {kind: len(group) for kind, group in by_kind.items()} == dict.fromkeys(by_kind, 40)
    assert not by_kind["blank"].any()
    assert (by_kind["full"] == 16).all()
    assert all(len(np.unique(p)) > 8 for p in by_kind["noise"])
    for p in by_kind["stripes"]:
        differ_downwards, differ_sideways = np.ptp(p, axis=0).any(), np.ptp(p, axis=1).any()
        assert differ_downwards != differ_sideways
    for p in by_kind["squares"]:
        assert (p == 16).sum() == 32
        np.testing.assert_array_equal(p, p.T)
    assert len(np.unique(by_kind["stripes"], axis=0)) > 5


def test_pictures_of_nothing_repeat_with_the_seed_and_pass_the_door(reader: Predictor) -> None:
    first, _ = pictures_of_nothing(10, random_state=3)
    np.testing.assert_array_equal(first, pictures_of_nothing(10, random_state=3)[0])
    assert not np.array_equal(first, pictures_of_nothing(10, random_state=4)[0])
    assert reader.predict_proba(first).shape == (10, 10)


@pytest.mark.parametrize("n", [0, -1, 2.5, "5", True])
def test_a_number_of_pictures_that_is_none_is_refused(n: Any) -> None:
    with pytest.raises(InputError, match="n: expected a whole number above 0"):
        pictures_of_nothing(n)

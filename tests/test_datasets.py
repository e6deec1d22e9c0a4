"""The loaders keep their contract; a drawing becomes a picture as the UCI digits did."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.datasets import load_breast_cancer
from sklearn.datasets import load_digits as sklearn_digits

from inferkit import InputError, MissingExtraError
from inferkit.datasets import NOT_STATED, load_digits, load_tumours, picture_from_drawing, split_digits

LOADERS = [load_digits, load_tumours]


@pytest.mark.parametrize("load", LOADERS)
def test_every_loader_keeps_the_contract(load):
    bunch = load()
    n_rows, n_features = bunch.data.shape
    assert bunch.target.shape == (n_rows,)
    assert bunch.target.dtype == np.int64
    assert bunch.frame is None
    assert len(bunch.feature_names) == len(set(bunch.feature_names)) == n_features
    assert set(bunch.target) == set(range(len(bunch.target_names)))
    assert all(type(name) is str for name in [*bunch.feature_names, *bunch.target_names])
    assert list(bunch.units) == bunch.feature_names
    assert all(bunch.units.values())
    assert "CC BY 4.0" in bunch.licence
    assert bunch.source.startswith("https://archive.ics.uci.edu/")
    assert len(bunch.DESCR) > 500


@pytest.mark.parametrize("load", LOADERS)
def test_return_X_y_gives_the_same_arrays(load):
    X, y = load(return_X_y=True)
    np.testing.assert_array_equal(X, load().data)
    np.testing.assert_array_equal(y, load().target)


@pytest.mark.parametrize("load", LOADERS)
def test_as_frame_gives_the_same_numbers_with_names(load):
    plain, framed = load(), load(as_frame=True)
    assert list(framed.data.columns) == plain.feature_names
    assert list(framed.frame.columns) == [*plain.feature_names, "target"]
    np.testing.assert_array_equal(framed.frame[plain.feature_names].to_numpy(), plain.data)
    np.testing.assert_array_equal(framed.frame["target"], plain.target)
    X, y = load(return_X_y=True, as_frame=True)
    assert X.equals(framed.data)
    assert y.equals(framed.target)


@pytest.mark.parametrize("load", LOADERS)
def test_a_loader_gives_arrays_of_its_own(load):
    load().data[:] = -1
    assert load().data.min() >= 0


def test_as_frame_without_pandas_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match='pip install "pandas>='):
        load_digits(as_frame=True)


def test_digits_are_those_of_scikit_learn():
    ours, theirs = load_digits(), sklearn_digits()
    assert ours.data.dtype == ours.images.dtype == np.float32
    np.testing.assert_array_equal(ours.data, theirs.data)
    np.testing.assert_array_equal(ours.images, theirs.images)
    np.testing.assert_array_equal(ours.target, theirs.target)
    assert np.shares_memory(ours.data, ours.images)


def test_tumours_are_those_of_scikit_learn():
    ours, theirs = load_tumours(), load_breast_cancer()
    np.testing.assert_array_equal(ours.data, theirs.data)
    np.testing.assert_array_equal(ours.target, theirs.target)
    assert ours.target_names == ["malignant", "benign"]


def test_units_of_tumours_say_only_what_the_source_says():
    units = load_tumours().units
    stated = {name: unit for name, unit in units.items() if unit != NOT_STATED}
    measures = {"texture": "grey levels", "compactness": "1", "fractal dimension": "1"}
    assert stated == {
        name: unit
        for measure, unit in measures.items()
        for name in (f"mean {measure}", f"{measure} error", f"worst {measure}")
    }


def test_the_split_keeps_every_row_once_and_falls_between_two_forms():
    X_train, X_test, y_train, y_test = split_digits()
    digits = load_digits()
    np.testing.assert_array_equal(np.concatenate([X_train, X_test]), digits.images)
    np.testing.assert_array_equal(np.concatenate([y_train, y_test]), digits.target)
    assert y_test[:20].tolist() == 2 * list(range(10))  # how a form begins
    assert np.bincount(y_test).min() >= 30


def test_loading_the_module_loads_neither_scikit_learn_nor_pandas():
    code = "import sys, inferkit.datasets; print({'sklearn', 'pandas', 'matplotlib'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "set()\n"


# --- from a drawing to a picture ---

drawings = hnp.arrays(np.uint8, st.tuples(st.integers(8, 40), st.integers(8, 40)), fill=st.just(0))


@st.composite
def inked_drawings(draw):
    """Draw some ink that counts."""
    drawing = draw(drawings)
    drawing[draw(st.integers(0, drawing.shape[0] - 1)), draw(st.integers(0, drawing.shape[1] - 1))] = 255
    return drawing


def slow_picture(drawing):
    """Do what the docstring says, in plain steps: the oracle."""
    ink = drawing / 255.0
    rows, columns = np.nonzero(ink > 0.1)
    crop = ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    (h, w), side = crop.shape, max(crop.shape)
    fine = np.zeros((8 * side, 8 * side))  # each pixel of the drawing is 8×8 fine ones: 8 cells divide them evenly
    top, left = 4 * (side - h), 4 * (side - w)
    fine[top : top + 8 * h, left : left + 8 * w] = np.kron(crop, np.ones((8, 8)))
    return 16 * fine.reshape(8, side, 8, side).mean(axis=(1, 3))


@given(inked_drawings())
def test_a_picture_is_the_mean_of_each_cell(drawing):
    np.testing.assert_allclose(picture_from_drawing(drawing), slow_picture(drawing), atol=1e-4)


@given(drawings)
def test_a_picture_has_its_shape_dtype_and_range(drawing):
    picture = picture_from_drawing(drawing)
    assert picture.shape == (8, 8)
    assert picture.dtype == np.float32
    assert picture.min() >= 0
    assert picture.max() <= 16


@given(inked_drawings(), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_it_does_not_matter_where_it_was_drawn(drawing, top, bottom, left, right):
    moved = np.pad(drawing, ((top, bottom), (left, right)))
    np.testing.assert_array_equal(picture_from_drawing(moved), picture_from_drawing(drawing))


@given(inked_drawings(), st.integers(2, 4))
def test_it_does_not_matter_how_large_it_was_drawn(drawing, times):
    larger = np.kron(drawing, np.ones((times, times), dtype=np.uint8))
    np.testing.assert_allclose(picture_from_drawing(larger), picture_from_drawing(drawing), atol=1e-4)


@given(drawings)
def test_uint8_and_floats_mean_the_same(drawing):
    for dtype in (np.float32, np.float64):
        same = picture_from_drawing((drawing / 255.0).astype(dtype))
        np.testing.assert_allclose(same, picture_from_drawing(drawing), atol=1e-3)


@given(hnp.arrays(np.bool_, (20, 15)))
def test_bool_and_uint8_mean_the_same(drawing):
    np.testing.assert_array_equal(picture_from_drawing(drawing), picture_from_drawing(drawing * np.uint8(255)))


@given(inked_drawings())
def test_turning_the_drawing_turns_the_picture(drawing):
    np.testing.assert_allclose(picture_from_drawing(drawing.T), picture_from_drawing(drawing).T, atol=1e-4)
    np.testing.assert_allclose(picture_from_drawing(drawing[::-1]), picture_from_drawing(drawing)[::-1], atol=1e-4)


@pytest.mark.parametrize("paper", [np.zeros((32, 32), np.uint8), np.zeros((8, 8)), np.zeros((50, 9), bool)])
def test_a_blank_drawing_gives_a_blank_picture(paper):
    np.testing.assert_array_equal(picture_from_drawing(paper), np.zeros((8, 8)))


@pytest.mark.parametrize("side", range(8, 70))
def test_full_ink_is_16_and_never_more(side):
    np.testing.assert_array_equal(picture_from_drawing(np.ones((side, side))), np.full((8, 8), 16))


def test_a_one_stays_thin():
    drawing = np.zeros((32, 32), np.uint8)
    drawing[4:28, 20:23] = 255
    picture = picture_from_drawing(drawing)
    assert picture[:, 3:5].min() == pytest.approx(8)  # 3 of 24 pixels wide: one of eight cells, half in each
    assert picture[:, :3].max() == picture[:, 5:].max() == 0


def test_proportions_are_kept():
    drawing = np.zeros((40, 40), np.uint8)
    drawing[5:13, 2:34] = 255  # four times as wide as high
    picture = picture_from_drawing(drawing)
    np.testing.assert_allclose(picture[3:5], 16)
    np.testing.assert_allclose(picture[:3], 0)
    np.testing.assert_allclose(picture[5:], 0)


def test_a_faint_smudge_does_not_move_the_edges():
    drawing = np.zeros((32, 32), np.uint8)
    drawing[8:24, 10:20] = 255
    smudged = drawing.copy()
    smudged[0, 0] = 25
    np.testing.assert_array_equal(picture_from_drawing(smudged), picture_from_drawing(drawing))


def test_the_drawing_stays_as_it_was():
    drawing = np.full((9, 9), 7, np.uint8)
    picture_from_drawing(drawing)
    assert (drawing == 7).all()


def _with(value):
    drawing = np.zeros((10, 10))
    drawing[3, 4] = value
    return drawing


@pytest.mark.parametrize(
    ("drawing", "message"),
    [
        (_with(np.nan), "finite values, got NaN or infinity"),
        (_with(np.inf), "finite values, got NaN or infinity"),
        (_with(200.0), r"floats in 0..1, got 0..200: divide"),
        (_with(-0.5), r"floats in 0..1, got -0.5..0"),
        (np.zeros(64), r"2-D array.*got 1-D, shape \(64,\)"),
        (np.zeros((32, 32, 3), np.uint8), r"2-D array.*got 3-D"),
        (np.zeros((7, 32), np.uint8), r"at least 8×8.*got shape \(7, 32\)"),
        (np.zeros((0, 0)), r"at least 8×8.*got shape \(0, 0\)"),
        (np.zeros((32, 32), np.int64), r"got dtype int64: for 0..255 use drawing.astype\(np.uint8\)"),
        (np.full((32, 32), "ink"), "got dtype <U3"),
        (np.zeros((32, 32), complex), "got dtype complex128"),
    ],
)
def test_a_bad_drawing_is_refused_at_the_door(drawing, message):
    with pytest.raises(InputError, match=message):
        picture_from_drawing(drawing)
    assert picture_from_drawing(np.ones((8, 8), bool)).sum() == 16 * 64  # the next call works

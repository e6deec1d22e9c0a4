"""Tables at the door: the quick ways in say the same as a loop over the values, in every form a table comes in."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit import InputError
from inferkit.predictor import Column, Log1p, OneHot, Predictor, Standardize, TableSpec
from inferkit.predictor._steps import step_from_dict, step_to_dict

WORDS = ("no", "yes", "weiß nicht")
SPEC = TableSpec([Column("age", "years", 0, 120), Column("answer", categories=WORDS), Column("dose", low=-1)])
NUMBERS = TableSpec([Column("a", low=0), Column("b")])
values = st.one_of(
    st.floats(width=64), st.integers(-5, 200), st.sampled_from([*WORDS, "No", "", "12"]), st.none(), st.booleans(),
    st.sampled_from([np.float32(3), np.int8(4), np.str_("yes"), np.nan, pd.NA, b"no", [1], 10**400, 2 + 0j]),
)  # fmt: skip
numbers = st.one_of(st.floats(0, 120), st.integers(0, 120))
good = st.tuples(numbers, st.sampled_from(WORDS), st.one_of(numbers, st.floats(-1, 1e300)))


@st.composite
def nearly_good(draw):
    """Draw a row of which at most one value is anything at all."""
    row, place = list(draw(good)), draw(st.integers(0, 3))
    if place < 3:
        row[place] = draw(values if place == 1 else st.one_of(values, st.sampled_from([0, 120, -1, -0.1, 120.1, True])))
    return tuple(row)


def is_number(value):
    return isinstance(value, int | float | np.number) and not isinstance(value, bool | np.bool_ | complex)


def accepted(row):
    """Return what the contract says of one row, value by value: the oracle."""
    age, answer, dose = row
    if not (isinstance(answer, str) and answer in WORDS) or not is_number(age) or not is_number(dose):
        return False
    try:
        age, dose = float(age), float(dose)
    except OverflowError:
        return False
    return 0 <= age <= 120 and dose >= -1 and math.isfinite(dose)


def forms(rows):
    """Give the same rows in each form that a table comes in."""
    age, answer, dose = (list(column) for column in zip(*rows, strict=True))
    columns = {"age": age, "answer": answer, "dose": dose}
    arrays = {"age": np.array(age, dtype=float), "answer": np.array(answer, dtype=object), "dose": np.array(dose)}
    structured = np.empty(len(rows), dtype=[("dose", "f8"), ("answer", "O"), ("age", "f8")])
    for name, column in columns.items():
        structured[name] = column
    frame = pd.DataFrame(columns)
    yield columns
    yield [{"dose": c, "age": a, "answer": b} for a, b, c in rows]
    yield [list(row) for row in rows]
    yield np.array(rows, dtype=object)
    yield arrays
    yield arrays | {"answer": np.array(answer)}
    yield arrays | {"answer": (word for word in answer)}
    yield structured
    yield structured[["age", "dose", "answer"]]
    yield frame
    yield frame.astype({"answer": "category"})
    yield frame.astype({"answer": object, "age": object})
    yield frame.astype({"dose": "Float64"})


@given(st.lists(good, min_size=1, max_size=6))
def test_a_good_table_is_the_same_in_every_form(rows):
    expected = [list(row) for row in rows]
    for table in forms(rows):
        checked = SPEC.check(table)
        assert checked.tolist() == expected
        assert checked.dtype == object
        assert {type(word) for word in checked[:, 1]} == {str}
        assert {type(number) for number in checked[:, [0, 2]].ravel()} == {float}
    for row, (age, answer, dose) in zip(expected, rows, strict=True):
        assert SPEC.check_one({"dose": dose, "age": age, "answer": answer}).tolist() == [row]
    structured = next(table for table in forms(rows) if isinstance(table, np.ndarray) and table.dtype.names)
    assert SPEC.check_one(structured[-1]).tolist() == [expected[-1]]


@given(st.lists(nearly_good(), min_size=1, max_size=3))
def test_a_table_is_accepted_where_every_value_is(rows):
    is_fine = all(map(accepted, rows))
    age, answer, dose = (list(column) for column in zip(*rows, strict=True))
    objects = {}
    for name, column in {"age": age, "answer": answer, "dose": dose}.items():
        objects[name] = np.empty(len(rows), dtype=object)
        objects[name][:] = column
    for table in ({"age": age, "answer": answer, "dose": dose}, objects, pd.DataFrame(objects)):
        if is_fine:
            assert len(SPEC.check(table)) == len(rows)
        else:
            with pytest.raises(InputError):
                SPEC.check(table)


@given(nearly_good())
def test_one_row_is_judged_as_a_table_of_one(row):
    record = dict(zip(("age", "answer", "dose"), row, strict=True))
    said = [outcome(SPEC.check, [record]), outcome(SPEC.check_one, record), outcome(SPEC.check_one, list(row))]
    assert said[0] == said[1] == said[2]


def outcome(check, x):
    try:
        return repr(check(x).tolist())
    except InputError as error:
        return str(error)


@pytest.mark.parametrize(
    ("age", "dose", "is_fine"),
    [
        (0, -1, True), (120, 1e308, True), (120.0, 0, True), (np.float32(120), 0, True), (-0.0, 0, True),
        (np.nextafter(0, -1), 0, False), (np.nextafter(120, 121), 0, False), (121, 0, False), (60, -1.5, False),
        (np.nan, 0, False), (60, np.nan, False), (60, np.inf, False), (-np.inf, 0, False), (60, 10**400, False),
        (True, 0, False), (60, False, False), (60, np.True_, False), ("60", 0, False), (None, 0, False),
    ],
)  # fmt: skip
def test_the_limits_belong_to_the_range_and_nothing_beyond_them(age, dose, is_fine):
    row = {"age": age, "answer": "no", "dose": dose}
    columns = {"age": [5.0, age], "answer": ["no", "no"], "dose": [0.5, dose]}
    for check, table in ((SPEC.check_one, row), (SPEC.check, [row]), (SPEC.check, columns)):
        if is_fine:
            assert check(table)[-1].tolist() == [age, "no", dose]
        else:
            with pytest.raises(InputError, match=r"column '(age|dose)': expected"):
                check(table)


@pytest.mark.parametrize("bad", ["maybe", None, 3, ["no"]])
def test_the_first_bad_word_is_named_with_its_row(bad):
    words = ["no"] * 5000
    words[4321] = bad
    for column in (words, pd.Series(words), np.array([*words, "no"], dtype=object)[:-1]):
        with pytest.raises(InputError, match=r"column 'answer': expected one of 'no', 'yes', .* in row 4321"):
            SPEC.columns[1].check(column)


def test_what_only_looks_like_numbers_is_refused():
    times = pd.to_datetime(["2024-01-01", "2024-01-02"])
    for column in (
        times, times - times[0], np.array([True, False]), pd.Series([True, False]), pd.Series(["1", "2"]),
        np.array([1j, 2]), np.ones((2, 1)), [10**400],
    ):  # fmt: skip
        with pytest.raises(InputError, match="'age': expected numbers in years"):
            SPEC.columns[0].check(column)


@pytest.mark.parametrize("value", [5, None, np.array("no"), "no", [["no"]], np.array([["no"]], dtype=object)])
def test_what_is_no_column_of_words_is_refused(value):
    with pytest.raises(InputError, match="column 'answer': expected one "):
        SPEC.check({"age": [1], "answer": value, "dose": [1]})


def test_a_row_of_another_table_is_refused():
    other = np.zeros(1, dtype=[("age", "f8"), ("answer", "O")])
    with pytest.raises(InputError, match=r"missing: \['dose'\], unknown: \[\]"):
        SPEC.check_one(other[0])
    with pytest.raises(InputError, match=r"missing: \['dose'\], unknown: \['size'\]"):
        SPEC.check_one({"age": 3, "answer": "no", "size": 1})


def test_a_table_of_numbers_lies_row_by_row():
    table = NUMBERS.check({"a": [1, 2, 3], "b": np.arange(3)})
    assert table.flags.c_contiguous  # a sum over rows has the same bits as of any other array
    assert table.dtype == np.float64
    assert NUMBERS.check(np.arange(6).reshape(3, 2)).tolist() == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(InputError, match="row 0: expected 2 values, one for each column, got 3"):
        NUMBERS.check(np.ones((2, 3)))


# -- steps -------------------------------------------------------------------------------------------

SOME = [(None, ("x", "y", "z"), None, ("no", "yes"))]
row_of_some = st.tuples(
    st.floats(-9, 9), st.sampled_from(["x", "y", "z", "?"]), st.integers(0, 9), st.sampled_from(["no", "yes"])
)


@given(st.lists(row_of_some, min_size=1, max_size=5), st.sampled_from("CF"))
def test_words_become_zeros_and_ones(rows, order):
    table = np.array([list(row) for row in rows], dtype=object, order=order)
    expected = [[a, *(b == word for word in "xyz"), c, *(d == word for word in ("no", "yes"))] for a, b, c, d in rows]
    step = OneHot(*SOME)
    result = step(table)
    assert result.dtype == np.float64
    np.testing.assert_array_equal(result, np.array(expected, dtype=float))
    for i in range(len(rows)):  # one row goes another way
        np.testing.assert_array_equal(step(table[i : i + 1]), result[i : i + 1])


@pytest.mark.parametrize("n", [1, 2])
def test_a_table_of_another_width_is_refused_by_the_step(n):
    with pytest.raises(ValueError, match="zip"):
        OneHot(*SOME)(np.zeros((n, 3), dtype=object))


def test_logarithms_of_some_columns_and_the_input_stays():
    x = np.array([[1.0, 2.0, 3.0], [4.0, 0.0, 6.0]])
    before = x.copy()
    result = Log1p([1])(x)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(result[:, [0, 2]], x[:, [0, 2]])
    np.testing.assert_allclose(result[:, 1], [np.log(3), 0])
    assert step_from_dict(step_to_dict(Log1p([1, 2]))) == Log1p((1, 2))


def test_standardized_numbers_leave_the_input_as_it_was():
    x = np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32)
    result = Standardize([1, 2], [2, 4])(x)
    assert result.dtype == np.float32
    assert result.tolist() == [[0, 0], [1, 0.5]]
    assert x.tolist() == [[1, 2], [3, 4]]
    assert Standardize([1, 2], [2, 4])(np.array([[3, 6]])).tolist() == [[1, 1]]


def test_a_predictor_with_these_steps_is_saved_and_opened(tmp_path):
    from inferkit.models import load_reference

    steps = [OneHot([None] * 19), Log1p([2]), Standardize([0.0] * 19, [1.0] * 19)]
    spec = TableSpec([Column(f"c{i}", low=0, high=1) for i in range(19)])
    mine = Predictor(load_reference("churn-mlp"), preprocess=steps, signature=spec, labels=["stays", "leaves"])
    mine.save(tmp_path / "mine.predictor")
    X = np.random.default_rng(0).random((5, 19))
    np.testing.assert_array_equal(Predictor.load(tmp_path / "mine.predictor").predict_proba(X), mine.predict_proba(X))

"""Where rows come from: every kind of source gives the rows that are in it, and says so when it cannot."""

import csv
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferkit import InputError, MissingExtraError
from inferkit.batch import predict_batch
from inferkit.batch._columns import choose
from inferkit.batch._open import find, open_source
from inferkit.predictor import ArraySpec, Column, Predictor, TableSpec, TextSpec

ROOT = Path(__file__).parent.parent
SPEC = TableSpec([Column("age", "years", 0, 120), Column("plan", categories=("a", "b, c", 'd"e'))])


def table():
    """Age, and 1000 for plan a: what is answered tells what was read."""
    return Predictor(lambda X: X[:, 0].astype(float) + 1000 * (X[:, 1] == "a"), signature=SPEC, name="table")


def numbers(width=3):
    return Predictor(lambda X: X @ 10.0 ** np.arange(X.shape[1]), signature=ArraySpec((width,), "float64"), name="sum")


def lengths():
    return Predictor(lambda texts: np.array([len(text) for text in texts]), signature=TextSpec(), name="length")


def write_csv(path, rows, head=("age", "plan"), **options):
    with path.open("w", encoding="utf-8", newline="") as f:
        writer = csv.writer(f, **options)
        writer.writerows([head, *rows])
    return path


ROWS = [(i, ["a", "b, c", 'd"e'][i % 3]) for i in range(50)]
EXPECTED = [float(age) + 1000 * (plan == "a") for age, plan in ROWS]


def everything(tmp_path, name):
    """Return the same 50 rows as each kind of source."""
    frame = pd.DataFrame(ROWS, columns=["age", "plan"])
    columns = {"age": [age for age, _ in ROWS], "plan": [plan for _, plan in ROWS]}
    match name:
        case "frame":
            return frame
        case "dict":
            return columns
        case "stream of frames":
            return iter([frame[:7], frame[7:7], frame[7:30], frame[30:]])
        case "stream of dicts":
            return ({n: c[i : i + 8] for n, c in columns.items()} for i in range(0, 50, 8))
        case "csv":
            return write_csv(tmp_path / "t.csv", ROWS)
        case "csv of other columns, in another order":
            rows = [(i, plan, "x", age) for i, (age, plan) in enumerate(ROWS)]
            return write_csv(tmp_path / "t.csv", rows, head=("id", "plan", "more", "age"))
        case "csv as a spreadsheet writes it":
            text = write_csv(tmp_path / "t.csv", ROWS, lineterminator="\r\n", quoting=csv.QUOTE_ALL).read_bytes()
            (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + text)
            return tmp_path / "t.csv"
        case "csv with empty lines and none at the end":
            text = write_csv(tmp_path / "t.csv", ROWS, lineterminator="\n\n").read_text()
            (tmp_path / "t.csv").write_text(text.rstrip("\n"))
            return tmp_path / "t.csv"
        case "folder of csv":
            (tmp_path / "in").mkdir()
            for i, start in enumerate(range(0, 50, 9)):
                some = [row[:: 1 - 2 * (i % 2)] for row in ROWS[start : start + 9]]  # every other one turned round
                write_csv(tmp_path / "in" / f"part-{i}.csv", some, head=("age", "plan")[:: 1 - 2 * (i % 2)])
            (tmp_path / "in" / ".hidden.csv").write_text("no\n")
            (tmp_path / "in" / "README.txt").write_text("no\n")
            return str(tmp_path / "in")
        case "parquet":
            frame.to_parquet(tmp_path / "t.parquet", row_group_size=8)
            return tmp_path / "t.parquet"
        case "parquet of other types":
            odd = pa.table({
                "plan": pa.array(columns["plan"]).dictionary_encode(),
                "age": pa.array(columns["age"], pa.decimal128(5, 1)),
                "more": [0] * 50,
            })  # fmt: skip
            pq.write_table(odd, tmp_path / "t.parquet", row_group_size=50)
            return tmp_path / "t.parquet"
    (tmp_path / "in").mkdir()
    for i, (start, groups) in enumerate([(0, 4), (20, 20), (20, 20), (40, 3)]):
        frame[start : start + 20 * (i != 1)].to_parquet(tmp_path / "in" / f"{i}.parquet", row_group_size=groups)
    return str(tmp_path / "in" / "*.parquet")


KINDS = [
    "frame", "dict", "stream of frames", "stream of dicts", "csv", "csv of other columns, in another order",
    "csv as a spreadsheet writes it", "csv with empty lines and none at the end", "folder of csv", "parquet",
    "parquet of other types", "glob of parquet",
]  # fmt: skip


@pytest.mark.parametrize("batch_size", [4, "auto"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_source_gives_its_rows_in_order(tmp_path, kind, batch_size):
    result = predict_batch(table(), everything(tmp_path, kind), batch_size=batch_size, checkpoint_rows=12)
    assert result.answers.tolist() == EXPECTED
    assert result.ok.all()


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_can_be_read_from_any_part_on(tmp_path, kind):
    """What a run that goes on does: from row 0, then from each mark, the rest is the same."""
    source = open_source(everything(tmp_path, kind), None, None, table())
    if source.checked:
        return  # a stream is read from its beginning, by test_batch_crash
    whole = list(source.read(8, 0, None))
    ages = [age for block in whole for age in map(float, block.values["age"])]
    assert ages == [float(age) for age, _ in ROWS]
    if "csv" in kind:  # a mark is true of whole blocks alone, also where a file ends in the middle of one
        assert [len(block) for block in whole] == [8] * 6 + [2]
    start = 0
    for block in whole:
        start += len(block)
        rest = [float(age) for later in source.read(8, start, block.mark) for age in later.values["age"]]
        assert rest == ages[start:]
    assert whole[-1].share == 1.0
    assert all(a.share < b.share for a, b in pairwise(whole))


def test_arrays_out_of_columns(tmp_path):
    X = np.random.default_rng(0).normal(size=(30, 3))
    expected = numbers().predict(X).tolist()
    frame = pd.DataFrame(X, columns=["u", "v", "w"]).assign(who=[f"n{i}" for i in range(30)])
    frame.to_csv(tmp_path / "x.csv", index=False)
    frame.to_parquet(tmp_path / "x.parquet")
    for source in (frame, tmp_path / "x.csv", tmp_path / "x.parquet"):
        result = predict_batch(numbers(), source, id_column="who", batch_size=7)
        assert result.answers.tolist() == pytest.approx(expected, rel=1e-15)
        assert result.ids[29] == "n29"
        turned = predict_batch(numbers(), source, columns=["w", "v", "u"], batch_size=7)
        assert turned.answers.tolist() == pytest.approx(numbers().predict(X[:, ::-1]).tolist(), rel=1e-15)


def test_pictures_out_of_columns(tmp_path):
    dark = Predictor(lambda X: X[:, 1, 0], signature=ArraySpec((2, 3), "float64"))
    (tmp_path / "x.csv").write_text("a,b,c,d,e,f\n0,1,2,3,4,5\n6,7,8,9,10,11\n")
    assert predict_batch(dark, tmp_path / "x.csv").answers.tolist() == [3, 9]


def test_texts_out_of_a_file(tmp_path):
    write_csv(tmp_path / "t.csv", [("one, two", 1), ('"quoted"\nline', 2), ("ünïcode", 3), ("", 4)], ("text", "day"))
    result = predict_batch(lengths(), tmp_path / "t.csv", columns=["text"], id_column="day", batch_size=3)
    assert result.answers.tolist() == [8, 13, 7, 0]
    assert result.ids == ["1", "2", "3", "4"]
    assert predict_batch(lengths(), np.array(["ab", "c"])).answers.tolist() == [2, 1]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("mapped", [True, False])
def test_numpy_files(tmp_path, order, mapped):
    X = np.random.default_rng(0).normal(size=(100, 3))
    np.save(tmp_path / "x.npy", np.asarray(X, order=order))
    source = np.load(tmp_path / "x.npy", mmap_mode="r") if mapped else tmp_path / "x.npy"
    result = predict_batch(numbers(), source, tmp_path / "y.npy", batch_size=8, checkpoint_rows=24)
    np.testing.assert_allclose(np.load(result.sink), numbers().predict(X), rtol=1e-12)


def test_columns_get_new_names(tmp_path):
    frame = pd.DataFrame(ROWS, columns=["Age (years)", "plan"])
    result = predict_batch(table(), frame, columns={"Age (years)": "age"})
    assert result.answers.tolist() == EXPECTED


cells = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=6)


@given(
    st.lists(st.tuples(cells, st.sampled_from([*"ab", "b, c", 'd"e', ""]), cells), min_size=1, max_size=40),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.sampled_from(["\n", "\r\n"]),
    st.integers(1, 9), st.integers(0, 39),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_csv_is_read_as_python_reads_it(tmp_path_factory, rows, quoting, ends, at_once, start):
    """Cell by cell against the csv module, and from a mark on."""
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    write_csv(path, rows, ("age", "plan", "who"), quoting=quoting, lineterminator=ends)
    source = open_source(path, None, "who", table())
    blocks = list(source.read(at_once, 0, None))
    ages = [age for block in blocks for age in block.values["age"]]
    assert (
        list(zip(ages, (p for b in blocks for p in b.values["plan"]), (i for b in blocks for i in b.ids), strict=True))
        == rows
    )
    assert [len(block) for block in blocks[:-1]] == [at_once] * (len(blocks) - 1)
    number = start % len(blocks)
    again = list(source.read(at_once, (number + 1) * at_once, blocks[number].mark))
    assert [age for block in again for age in block.values["age"]] == ages[(number + 1) * at_once :]


@given(st.binary(max_size=300), st.integers(1, 7))
@settings(max_examples=200, deadline=None)
def test_no_bytes_are_too_odd_to_be_told(tmp_path_factory, content, at_once):
    """Between two good lines: rows, rejected rows, or an error that names the file; the good ones are answered."""
    path = tmp_path_factory.mktemp("odd") / "t.csv"
    path.write_bytes(b"age,plan\n40,a\n" + content + b"\n41,a\n")
    try:
        result = predict_batch(table(), path, batch_size=at_once, max_rejected=1)
    except InputError as error:
        result, told = None, str(error)
    if result is None:
        assert "t.csv: a record cannot be read" in told
        assert b'"' in content
    else:
        assert (result.answers[0], result.answers[-1]) == (1040, 1041)
        assert result.n_rows == result.ok.size == result.ok.sum() + result.n_rejected
        assert result.n_rows <= 2 + content.count(b"\n") + 1


# -- poison in files ---------------------------------------------------------------------------


def test_bad_lines_cost_nobody_else_an_answer(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(
        b'age,plan\n40,a\n41\n42,a,a\n,a\nforty,a\nNaN,a\n1e999,a\n1_0,a\n130,a\n44,z\n4\xe9,a\n"4"5,a\n  45 ,a\n46,a\n'
    )
    result = predict_batch(table(), path, tmp_path / "o.csv", batch_size=3, max_rejected=1, id_column="age")
    answered = (tmp_path / "o.csv").read_text()
    assert answered == "age,prediction\n40,1040.0\n  45 ,1045.0\n46,1046.0\n"
    reasons = {one.row: one.reason for one in result.rejected}
    assert reasons.pop(5).endswith("got nan")
    assert reasons.pop(6).endswith("got inf")
    assert reasons == {
        1: "expected 2 cells, got 1",
        2: "expected 2 cells, got 3",
        3: "column 'age': expected a number, got nothing",
        4: "column 'age': expected a number, got 'forty'",
        7: "column 'age': expected a number, got '1_0'",
        8: "column 'age': expected values from 0 to 120 years, got 130",
        9: "column 'plan': expected one of 'a', 'b, c', 'd\"e', got 'z'",
        10: "the line cannot be read: it is not UTF-8",
        11: "the line cannot be read: ',' expected after '\"'",
    }
    with (tmp_path / "o.rejected.csv").open(newline="") as f:
        assert next(csv.reader(f)) == ["row", "age", "reason"]
        assert [int(row) for row, _, _ in csv.reader(f)] == list(range(1, 12))


@pytest.mark.parametrize("odd", ["1_0", "١٢", "", "0x10", "1,5", "one", "1e"])
def test_what_python_alone_would_call_a_number_is_none_in_a_file(tmp_path, odd):
    write_csv(tmp_path / "t.csv", [(40, "a"), (odd, "a"), (" +4.1e1", "a")])
    result = predict_batch(table(), tmp_path / "t.csv")
    assert result.answers[result.ok].tolist() == [1040, 1041]
    assert result.rejected[0].reason.startswith("column 'age': expected a number, got")


def test_mixed_types_and_gaps_in_parquet(tmp_path):
    pq.write_table(pa.table({"age": [1, None, 3], "plan": ["a", "a", None]}), tmp_path / "t.parquet")
    result = predict_batch(table(), tmp_path / "t.parquet", max_rejected=1)
    assert [one.row for one in result.rejected] == [1, 2]
    pq.write_table(pa.table({"age": [True, False], "plan": ["a", "a"]}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"2 of 2 rows were rejected.*expected a number, got True"):
        predict_batch(table(), tmp_path / "t.parquet")


def test_ids_of_parquet_stay_what_they_are(tmp_path):
    pq.write_table(pa.table({"age": [1, 2, 3], "plan": ["a"] * 3, "who": [2**60 + 1, None, 3]}), tmp_path / "t.parquet")
    predict_batch(
        table(), tmp_path / "t.parquet", tmp_path / "o.parquet", id_column="who", batch_size=1, checkpoint_rows=1
    )
    assert pq.read_table(tmp_path / "o.parquet")["who"].to_pylist() == [2**60 + 1, None, 3]


# -- damage ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "t.csv is empty: expected a first line with the names"),
        (b"\n", "t.csv is empty"),
        (b"age,plan\n", "t.csv: expected at least one row, got none"),
        (b"\xff\xfea\0g\0e\0", "no CSV header in UTF-8"),
        (b"age\rplan\r", "no CSV header in UTF-8"),
        (b"\0" * 2_000_000, "longer than 1,048,576 bytes"),
        (b"age;plan\n1;a\n", r"lacks the columns \['age', 'plan'\]; it has \['age;plan'\]"),
        (b"age,plan,age\n1,a,1\n", "more than one column 'age'"),
        (b'age,plan\n40,a\n41,"a\n42,a\n43,a\n', "t.csv: a record cannot be read.*quotation mark that is never closed"),
        (b'age,plan\n40,"' + b"x" * 200_000 + b'"\n', "t.csv: a record cannot be read.*field larger than field limit"),
    ],
)
def test_csv_files_that_are_none(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        predict_batch(table(), tmp_path / "t.csv", tmp_path / "o.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_a_truncated_parquet_file_is_refused_at_the_door(tmp_path):
    whole = everything(tmp_path, "parquet").read_bytes()
    for cut in (0, 3, 4, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "t.parquet").write_bytes(whole[:cut])
        with pytest.raises(InputError, match=r"t\.parquet is damaged, cut short or no Parquet file"):
            predict_batch(table(), tmp_path / "t.parquet", tmp_path / "o.csv")


def test_parquet_that_is_damaged_in_the_middle_stops_there(tmp_path):
    """Its end is whole, so only reading tells; what came before is kept, and the mended file is another job."""
    frame = pd.DataFrame({"age": np.arange(4000) % 100, "plan": ["a"] * 4000})
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=1000)
    content = bytearray((tmp_path / "t.parquet").read_bytes())
    at = pq.ParquetFile(tmp_path / "t.parquet").metadata.row_group(2).column(0).dictionary_page_offset
    content[at : at + 40] = b"\xff" * 40
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"t\.parquet is damaged") as caught:
        predict_batch(table(), tmp_path / "t.parquet", tmp_path / "o.csv", batch_size=100, checkpoint_rows=500)
    assert "2,000 rows are finished and kept" in caught.value.__notes__[0]
    assert not (tmp_path / "o.csv").exists()


def test_one_bad_file_among_many_is_named_before_any_work(tmp_path):
    (tmp_path / "in").mkdir()
    frame = pd.DataFrame(ROWS, columns=["age", "plan"])
    for name in "abc":
        frame.to_parquet(tmp_path / "in" / f"{name}.parquet")
    (tmp_path / "in" / "b.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"b\.parquet is damaged"):
        predict_batch(table(), tmp_path / "in")
    frame.assign(age=frame["age"].astype(str)).to_parquet(tmp_path / "in" / "b.parquet")
    with pytest.raises(InputError, match=r"b\.parquet: column 'age' is .*string, but int64 in a\.parquet"):
        predict_batch(table(), tmp_path / "in")
    frame[["age"]].to_parquet(tmp_path / "in" / "b.parquet")
    with pytest.raises(InputError, match=r"b\.parquet: column 'plan' is missing"):
        predict_batch(table(), tmp_path / "in")
    (tmp_path / "csv").mkdir()
    write_csv(tmp_path / "csv" / "a.csv", ROWS)
    write_csv(tmp_path / "csv" / "b.csv", ROWS, head=("age", "tariff"))
    with pytest.raises(InputError, match=r"b\.csv has other columns than a\.csv: \['plan', 'tariff'\]"):
        predict_batch(table(), tmp_path / "csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no whole .npy file"), (b"\x93NUMPY\x01\x00", "no whole .npy file"),
        (b"PK\3\4" + b"\0" * 50, "no whole .npy file"),
        ("cut", "x.npy is cut short: its 100 rows"), ("objects", "holds Python objects"), ("none", "at least one row"),
    ],
)  # fmt: skip
def test_numpy_files_that_are_none(tmp_path, content, message):
    path = tmp_path / "x.npy"
    if content == "objects":
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    elif content in ("cut", "none"):
        np.save(path, np.zeros((0 if content == "none" else 100, 3)))
        path.write_bytes(path.read_bytes()[: 10_000 if content == "none" else 1000])
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        predict_batch(numbers(), path)


def test_paths_that_name_nothing_or_too_much(tmp_path):
    for path in (tmp_path / "no.csv", str(tmp_path / "no*.csv"), tmp_path):
        with pytest.raises(FileNotFoundError, match="source: "):
            predict_batch(numbers(), path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match=r"expected files that end in \.csv, \.parquet"):
        predict_batch(numbers(), tmp_path / "a.txt")
    (tmp_path / "a.csv").write_text("a,b,c\n1,2,3\n")
    np.save(tmp_path / "b.npy", np.zeros((2, 3)))
    with pytest.raises(InputError, match=r"expected files of one kind, got \['csv', 'npy'\]"):
        predict_batch(numbers(), tmp_path)


def test_files_are_found_in_the_order_of_their_names(tmp_path, monkeypatch):
    for name in ("b.csv", "a.csv", "c.CSV", ".d.csv", "_e.csv"):
        (tmp_path / name).write_text("x\n")
    names = ["a.csv", "b.csv", "c.CSV"]
    assert [file.name for file in find(tmp_path)] == names
    assert [file.name for file in find(str(tmp_path / "*.[cC][sS][vV]"))] == names
    monkeypatch.chdir(tmp_path)
    assert [file.name for file in find("?.csv")] == names[:2]
    assert [file.name for file in find(".d.csv")] == [".d.csv"]  # asked for by its name


# -- the sink's place --------------------------------------------------------------------------


def test_a_sink_must_not_be_read(tmp_path):
    source = write_csv(tmp_path / "t.csv", ROWS)
    with pytest.raises(InputError, match=r"t\.csv is one of the files that are read"):
        predict_batch(table(), source, tmp_path / "t.csv")
    rejected = write_csv(tmp_path / "o.rejected.csv", ROWS)
    with pytest.raises(InputError, match=r"o\.rejected\.csv is one of the files that are read"):
        predict_batch(table(), rejected, tmp_path / "o.csv")
    rejected.rename(tmp_path / "p.csv")
    with pytest.raises(InputError, match=r"o\.csv would lie among the files that are read"):
        predict_batch(table(), tmp_path, tmp_path / "o.csv")
    assert predict_batch(table(), source, tmp_path / "o.csv").n_answered == 50
    with pytest.raises(FileNotFoundError, match=r"sink: the folder .* does not exist; make it"):
        predict_batch(table(), source, tmp_path / "no" / "o.csv")
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(InputError, match="sink: expected the path of a file"):
        predict_batch(table(), source, tmp_path / "d.csv")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that not even root can write to")
def test_a_folder_that_cannot_be_written_to_is_told_before_any_work():
    asked = []
    model = Predictor(lambda X: asked.append(X), signature=ArraySpec((2,), "float64"))
    with pytest.raises(OSError, match=r"sink: o\.csv cannot be written; give a path in a folder of yours") as caught:
        predict_batch(model, np.zeros((3, 2)), "/proc/self/o.csv")
    assert type(caught.value) is not OSError or caught.value.errno
    assert asked == []


# -- columns -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("available", "columns", "id_column", "spec", "message"),
    [
        (["age"], None, None, SPEC, r"lacks the columns \['plan'\]; it has \['age'\]"),
        (["age", "plan"], None, "who", SPEC, r"lacks the columns \['who'\]"),
        (["age", "plan"], ["age"], None, SPEC, r"the predictor takes \['age', 'plan'\], got \['age'\]"),
        (["age", "plan"], {"age": "years"}, None, SPEC, "expected new names among"),
        (["age", "plan", "x"], {"age": "age", "x": "age"}, None, SPEC, "each once"),
        (["age", "plan"], {"plan": "age"}, None, SPEC, "cannot be given twice"),
        (["age", "plan"], "age", None, SPEC, "expected a list of names, or a dict"),
        (["a", "b"], None, None, ArraySpec((3,)), "takes 3 columns of numbers, got 2: 'a', 'b'"),
        (["a", "b", "c", "d"], None, None, ArraySpec((3,)), "takes 3 columns of numbers, got 4"),
        (["a", "b", "c"], ["a", "a", "b"], None, ArraySpec((3,)), "takes 3 columns of numbers"),
        (["a", "b", "c"], ["a", "b", "d"], None, ArraySpec((3,)), r"lacks the columns \['d'\]"),
        (["a", "b"], {"a": "b"}, None, ArraySpec((2,)), "knows no names of columns"),
        (["a", "b"], None, None, ArraySpec((None,)), "rows of any length"),
        (["a", "b"], None, None, TextSpec(), "takes one column of texts, got 2"),
    ],
)
def test_columns_that_do_not_fit(available, columns, id_column, spec, message):
    with pytest.raises(InputError, match=message):
        choose(available, columns, id_column, spec)


def test_without_pyarrow_it_is_said_what_to_install():
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "import numpy as np; from inferkit.batch import predict_batch; from inferkit.predictor import *\n"
        "p = Predictor(lambda X: X[:, 0], signature=ArraySpec((2,), 'float64'))\n"
        "predict_batch(p, np.zeros((2, 2)), sys.argv[1])"
    )
    for name, found in (("o.parquet", 1), ("o.csv", 0)):
        path = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"inferkit-{os.getpid()}-{name}")
        run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, cwd=ROOT)
        assert run.returncode == found, run.stderr
        assert ('pip install "pyarrow>=' in run.stderr) == bool(found)
        for file in (path, path.replace(".csv", ".rejected.csv")):
            Path(file).unlink(missing_ok=True)
    assert issubclass(MissingExtraError, ImportError)

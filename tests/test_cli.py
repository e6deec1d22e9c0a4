"""The command line: what it prints, what it returns, and one line for whatever goes wrong."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, LogisticRegression

import inferkit
from inferkit import datasets, models
from inferkit._base import bundled
from inferkit.cli import _data, _doctor, _output, main
from inferkit.devices import EnergyCounter
from inferkit.predictor import ArraySpec, Column, OutputSpec, Predictor, Signature, TableSpec, digit_reader

ROOT = Path(__file__).parent.parent
DIGITS = datasets.load_digits().images


@pytest.fixture
def cli(capsys):
    """Return a function that runs a command here, and gives its code, its output and its errors."""

    def call(*words):
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return call


def shell(*words, **options):
    """Run a command as anyone would call it."""
    command = [sys.executable, "-m", "inferkit", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, **options)


def is_one_line(errors, command):
    return errors.startswith(f"inferkit {command}: ") and errors.count("\n") == 1 and "Traceback" not in errors


@pytest.fixture
def reader(tmp_path):
    path = tmp_path / "reader.inferkit"
    digit_reader().save(path)
    return path


# -- the program -------------------------------------------------------------------------------------


def test_the_version_from_outside_and_inside(cli):
    assert cli("--version") == (0, f"inferkit {inferkit.__version__}\n", "")
    done = shell("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"inferkit {inferkit.__version__}\n", "")


def test_without_a_command_it_says_what_there_is(cli):
    code, out, _ = cli()
    assert code == 0
    for command in ("doctor", "bench", "predict", "data"):
        assert re.search(rf"^ +{command} ", out, re.M)


@pytest.mark.parametrize(
    "words",
    [["fly"], ["bench"], ["predict", "x"], ["predict", "x", "--text", "a", "--row", "1"], ["data"], ["data", "drop"],
     ["bench", "x", "--threads", "0"], ["bench", "x", "-n", "1.5"], ["bench", "x", "--seconds", "nan"],
     ["bench", "x", "--seconds", "inf"], ["bench", "x", "--batch-size", "-3"], ["bench", "x", "--warmup", "-1"]],
)  # fmt: skip
def test_a_wrong_call_says_how_to_call_it(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    out, errors = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert errors.startswith("usage: inferkit")


def test_help_costs_no_framework():
    code = "import sys; from inferkit.cli import main; main([]); print(sorted({'sklearn', 'scipy', 'matplotlib', "
    code += "'ai_edge_litert', 'tensorflow', 'keras', 'onnxruntime', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.rotated
def test_nobody_reads_the_output_any_more():
    """As `inferkit data list | head -0`: the reader is gone before the first line is written."""
    process = subprocess.Popen(
        [sys.executable, "-m", "inferkit", "data", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 141
    assert errors == b""


# -- model files that are none -----------------------------------------------------------------------


def make_bad(folder, kind):
    """Return a path that no command can take for a model, and words that its error must hold."""
    keras, litert = bundled("digits-mlp.keras"), bundled("digits-mlp.tflite")
    path = folder / {"suffix": "a.txt", "none": "no.tflite", "folder": "a.keras", "h5": "b.keras"}.get(kind, "a.tflite")
    match kind:
        case "suffix":
            path.write_text("some words")
            return path, "expected a .tflite, .keras or .onnx file, or one that Predictor.save wrote"
        case "none":
            return path, "No such file or directory"
        case "folder":
            path.mkdir()
            return path, "is a folder"
        case "empty":
            path.write_bytes(b"")
            return path, "is empty"
        case "keras as tflite":
            shutil.copy(keras, path)
            return path, "ends in .tflite and holds a .keras file or a saved predictor"
        case "tflite as keras":
            path = folder / "c.keras"
            shutil.copy(litert, path)
            return path, "ends in .keras and holds a LiteRT model"
        case "tflite as onnx":
            path = folder / "c.onnx"
            shutil.copy(litert, path)
            return path, "ends in .onnx and holds a LiteRT model"
        case "cut short":
            path.write_bytes(litert.read_bytes()[:9000])
            return path, "cut short or damaged"
        case "no onnx":
            path = folder / "d.onnx"
            path.write_text("no model at all")
            return path, "cannot be loaded as ONNX"
        case "h5":
            path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
            return path, "ends in .keras and holds an .h5 file, which can carry code"
        case "no keras":
            path = folder / "f.keras"
            path.write_text("no model at all")
            return path, "ends in .keras and holds something else"
        case "zip":
            path = folder / "e.inferkit"
            shutil.copy(keras, path)
            return path, "not a whole saved predictor"
    raise AssertionError(kind)


KINDS = ["suffix", "none", "folder", "empty", "keras as tflite", "tflite as keras", "tflite as onnx", "cut short"]
KINDS += ["no onnx", "h5", "no keras", "zip"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", [["bench"], ["predict", "--row", "[1]"]], ids=["bench", "predict"])
def test_what_is_no_model_is_one_clear_line(cli, tmp_path, kind, command):
    path, words = make_bad(tmp_path, kind)
    code, out, errors = cli(command[0], path, *command[1:])
    assert (code, out) == (2, "")
    assert is_one_line(errors, command[0])
    assert words in errors
    assert str(path) in errors


def test_what_is_not_installed_is_said_with_the_line_that_installs_it(cli, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "a.onnx").write_bytes(b"\x08\x07")
    code, out, errors = cli("bench", tmp_path / "a.onnx")
    assert (code, out) == (2, "")
    assert is_one_line(errors, "bench")
    assert 'pip install "onnxruntime>=' in errors


# -- predict -----------------------------------------------------------------------------------------


def lines(out):
    return [json.loads(line) for line in out.splitlines()]


def test_it_answers_as_the_predictor_does(cli, tmp_path, reader):
    np.save(tmp_path / "rows.npy", DIGITS[:50])
    code, out, errors = cli("predict", reader, "--input", tmp_path / "rows.npy", "--probabilities")
    assert (code, errors) == (0, "")
    predictor = digit_reader()
    assert [line["row"] for line in lines(out)] == list(range(50))
    assert [line["answer"] for line in lines(out)] == predictor.predict(DIGITS[:50]).tolist()
    given = [[line["probabilities"][str(digit)] for digit in range(10)] for line in lines(out)]
    np.testing.assert_allclose(given, predictor.predict_proba(DIGITS[:50]), atol=1e-6)


def test_a_model_file_answers_with_what_it_gives(cli, tmp_path):
    np.savez(tmp_path / "rows.npz", pictures=DIGITS[:3] / np.float32(16))
    for name in ("digits-cnn.tflite",):
        code, out, _ = cli("predict", bundled(name), "--input", tmp_path / "rows.npz")
        assert code == 0
        assert np.argmax([line["answer"] for line in lines(out)], axis=1).tolist() == [0, 1, 2]


def test_rows_on_the_command_line(cli, tmp_path, reader):
    code, out, _ = cli("predict", reader, "--row", json.dumps(DIGITS[4].tolist()), "--row", json.dumps([[0] * 8] * 8))
    assert code == 0
    assert [line["answer"] for line in lines(out)] == digit_reader().predict(
        np.stack([DIGITS[4], 0 * DIGITS[4]])
    ).tolist()


def table_predictor(tmp_path):
    X = np.array([[20, 0], [30, 1], [60, 40], [70, 50]], dtype=float)
    model = LogisticRegression().fit(X, ["well", "well", "ill", "ill"])
    spec = TableSpec([Column("age", "years", 0, 120), Column("dose", "mg", 0, 50)])
    predictor = Predictor(model, signature=spec, name="doses")
    predictor.save(tmp_path / "doses.inferkit")
    return predictor, tmp_path / "doses.inferkit"


def test_a_row_of_a_table(cli, tmp_path):
    predictor, path = table_predictor(tmp_path)
    rows = [{"age": 25, "dose": 2}, {"dose": 45, "age": 66}]
    code, out, _ = cli("predict", path, *(word for row in rows for word in ("--row", json.dumps(row))))
    assert code == 0
    assert [line["answer"] for line in lines(out)] == predictor.predict(rows).tolist() == ["well", "ill"]


def test_a_text(cli, tmp_path):
    import onnx

    helper, kinds = onnx.helper, onnx.TensorProto
    # A model of texts in one node: each text, looked up in a table of words.
    node = helper.make_node(
        "LabelEncoder", ["text"], ["mood"], domain="ai.onnx.ml",
        keys_strings=["a fine day", "rain again"], values_int64s=[1, 2], default_int64=0,
    )  # fmt: skip
    graph = helper.make_graph(
        [node], "moods",
        [helper.make_tensor_value_info("text", kinds.STRING, ["n"])],
        [helper.make_tensor_value_info("mood", kinds.INT64, ["n"])],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "moods.onnx")
    path = tmp_path / "moods.onnx"
    code, out, errors = cli("predict", path, "--text", "rain again", "--text", "a fine day", "--text", "snow")
    assert (code, errors) == (0, "")
    assert [line["answer"] for line in lines(out)] == [2, 1, 0]
    Predictor(path).save(tmp_path / "moods.inferkit")
    assert cli("predict", tmp_path / "moods.inferkit", "--text", "rain again")[1] == '{"row": 0, "answer": 2}\n'


def test_several_named_outputs_and_numbers_that_are_none(cli, tmp_path, monkeypatch):
    def two(X):
        return {"sum": X.sum(axis=1), "root": np.sqrt(-(X[:, 0] ** 2))}

    outputs = (OutputSpec("sum"), OutputSpec("root"))
    predictor = Predictor(two, signature=Signature(ArraySpec((2,)), outputs))
    monkeypatch.setattr("inferkit.cli._predict.kind_of", lambda path: "predictor")
    monkeypatch.setattr("inferkit.cli._predict.Predictor.load", lambda path: predictor)
    with np.errstate(invalid="ignore"):
        code, out, _ = cli("predict", "any", "--row", "[3, 4]")
    assert code == 0
    assert lines(out) == [{"row": 0, "answer": {"sum": 7.0, "root": None}}]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--row", "[1, 2"], "expected JSON such as [1, 2, 3]"),
        (["--row", "[" * 100_000], "expected JSON"),
        (["--row", "{}"], "this model takes arrays"),
        (["--row", "[[1, 2], [3, 4]]"], "expected rows of shape (n, 8, 8)"),
        (["--row", json.dumps([[99] * 8] * 8)], "expected values from 0 to 16 ink"),
        (["--row", json.dumps([["a"] * 8] * 8)], "expected float32"),
        (["--row", "[[NaN]]"], "expected rows of shape"),
        (["--text", "seven"], "this model takes no text"),
    ],
)
def test_a_bad_row_is_one_clear_line(cli, reader, words, message):
    code, out, errors = cli("predict", reader, *words)
    assert (code, out) == (2, "")
    assert is_one_line(errors, "predict")
    assert message in errors


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"age": 40}, "missing: ['dose']"),
        ({"age": 40, "dose": 10, "name": "x"}, "unknown: ['name']"),
        ({"age": 400, "dose": 10}, "from 0 to 120 years, got 400 in row 0"),
        ({"age": "old", "dose": 10}, "column 'age': expected numbers"),
        ({"age": None, "dose": 10}, "column 'age': expected numbers"),
        (3, "expected 2 values"),
    ],
)
def test_a_bad_row_of_a_table_is_one_clear_line(cli, tmp_path, row, message):
    _, path = table_predictor(tmp_path)
    code, out, errors = cli("predict", path, "--row", json.dumps(row))
    assert (code, out) == (2, "")
    assert is_one_line(errors, "predict")
    assert message in errors


@pytest.mark.parametrize("kind", ["missing", "pickle", "several", "text", "cut", "empty"])
def test_a_bad_file_of_rows_is_one_clear_line(cli, tmp_path, reader, kind):
    path = tmp_path / ("rows.npz" if kind in ("several", "cut") else "rows.npy")
    match kind:
        case "pickle":
            np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
        case "several" | "cut":
            np.savez(path, a=DIGITS[:2], b=DIGITS[:2])
            if kind == "cut":
                path.write_bytes(path.read_bytes()[:300])
        case "text":
            path.write_text("1,2,3")
        case "empty":
            np.save(path, DIGITS[:0])
    words = {
        "missing": "No such file",
        "pickle": "without pickled objects",
        "several": "expected one array of rows, got ['a', 'b']",
        "text": "expected an .npy or .npz file",
        "cut": "cut short or damaged",
        "empty": "at least one row",
    }
    code, out, errors = cli("predict", reader, "--input", path)
    assert (code, out) == (2, "")
    assert is_one_line(errors, "predict")
    assert words[kind] in errors


def test_a_pickle_is_not_opened(cli, tmp_path, reader):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    np.save(tmp_path / "rows.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    assert cli("predict", reader, "--input", tmp_path / "rows.npy")[0] == 2
    assert not (tmp_path / "sprung").exists()


def test_probabilities_of_a_model_that_has_none(cli, tmp_path):
    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
    Predictor(model, name="line").save(tmp_path / "line.inferkit")
    code, out, errors = cli("predict", tmp_path / "line.inferkit", "--row", "[2]", "--probabilities")
    assert (code, out) == (2, "")
    assert "gives no probabilities" in errors
    code, out, _ = cli("predict", tmp_path / "line.inferkit", "--row", "[2]")
    assert lines(out)[0]["answer"] == pytest.approx(4)


# -- data --------------------------------------------------------------------------------------------


def test_every_loader_and_every_model_is_listed_with_its_licence(cli):
    code, out, errors = cli("data", "list")
    assert (code, errors) == (0, "")
    code, text, _ = cli("data", "list", "--json", "-")
    told = json.loads(text)
    assert [one["name"] for one in told["data"]] == [name for name in datasets.__all__ if name.startswith("load_")]
    assert [one["name"] for one in told["models"]] == [model.name for model in models.list_reference()]
    for one in told["data"]:
        assert one["call"] in out
        assert one["licence"] in out
        assert one["rows"] == len(getattr(datasets, one["name"])().data)
    for one, model in zip(told["models"], models.list_reference(), strict=True):
        assert (one["bytes"], one["sha256"], one["formats"]) == (model.size_bytes, model.sha256, list(model.formats))
        assert model.description in out
        assert one["licence"]


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """Return a copy of the bundled folder that the commands take for the real one."""
    folder = tmp_path / "bundled"
    shutil.copytree(bundled("registry.json").parent, folder)

    def from_copy(name):
        if not (folder / name).is_file():
            raise FileNotFoundError(name)
        return folder / name

    monkeypatch.setattr(_data, "bundled", from_copy)
    return folder


def test_everything_bundled_is_whole_and_registered(cli, copy):
    code, out, errors = cli("data", "verify")
    assert (code, errors) == (0, "")
    files = {path.name for path in copy.iterdir()} - {"registry.json"}
    assert {line.split()[1] for line in out.splitlines() if line.startswith("ok ")} == files
    assert f"all {len(files)} files are whole" in out


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes; 145,120 are registered"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\xaa"), "has SHA-256"),
        (lambda path: path.write_bytes(b""), "has 0 bytes"),
    ],
)
def test_a_damaged_file_is_named_and_the_code_is_one(cli, copy, spoil, fault):
    spoil(copy / "digits-cnn.tflite")
    code, out, errors = cli("data", "verify")
    assert (code, errors) == (1, "")
    (bad,) = [line for line in out.splitlines() if line.startswith("BAD")]
    assert "digits-cnn.tflite" in bad
    assert fault in bad
    assert re.search(r"^1 of \d+ files are not as they should be", out, re.M)
    code, text, _ = cli("data", "verify", "--json", "-")
    told = json.loads(text)
    assert (code, told["ok"]) == (1, False)
    assert [one["file"] for one in told["files"] if one["fault"]] == ["digits-cnn.tflite"]


def test_a_file_that_nobody_registered_is_named(cli, copy):
    (copy / "stranger.tflite").write_bytes(b"x")
    code, out, _ = cli("data", "verify")
    assert code == 1
    assert re.search(r"BAD +stranger.tflite +is not registered", out)


@pytest.mark.parametrize("text", ["{", "", "\xff"])
def test_a_damaged_registry_is_one_clear_line(cli, copy, text):
    (copy / "registry.json").write_bytes(text.encode("latin-1"))
    for action in ("list", "verify"):
        code, out, errors = cli("data", action)
        assert (code, out) == (2, "")
        assert is_one_line(errors, "data")
        assert "registry.json is missing or damaged" in errors


# -- doctor ------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """Leave out the check that starts a kernel."""
    monkeypatch.setattr(_doctor, "CHECKS", [one for one in _doctor.CHECKS if one[0] != "Jupyter"])


def test_the_core_works_here_and_all_of_it_was_tried(cli):
    code, out, errors = cli("doctor", "--json", "-")
    told = json.loads(out)
    assert (code, told["ok"], errors) == (0, True, "")
    checks = {check["name"]: check for check in told["checks"]}
    assert set(checks) == {"Python", "bundled files", "an answer", "the clock", "the ledger", "Jupyter"}
    assert [check["name"] for check in checks.values() if not check["is_fine"]] == []
    assert checks["Jupyter"]["words"] == "a kernel started, and a widget's message came through"
    assert {name for name, check in checks.items() if check["is_core"]} == {"Python", "bundled files", "an answer"}
    assert told["machine"]["machine_id"] == told["stamp"]["machine_id"]
    assert told["extras"]["core"]["mend"] is None


def test_it_reads_well(cli, quick):
    code, out, _ = cli("doctor")
    assert code == 0
    assert out.startswith(f"inferkit {inferkit.__version__}, Python ")
    assert out.rstrip().endswith("The core works.")
    assert f"numpy {np.__version__}" in out
    for extra in _doctor.PURPOSES:
        assert extra == "gpu" or re.search(rf"^  {extra} ", out, re.M)


def test_it_says_in_one_line_whether_energy_is_counted(cli, quick, monkeypatch):
    told = json.loads(cli("doctor", "--json", "-")[1])["energy_counter"]
    assert told["available"] == (told["reason"] is None)
    for counter in (EnergyCounter("", "nothing here counts"), EnergyCounter("RAPL, package-0", ranges_uj=(1,))):
        monkeypatch.setattr(_doctor, "energy_counter", lambda counter=counter: counter)
        assert re.search(rf"^  energy +{re.escape(repr(counter))}$", cli("doctor")[1], re.M)


def test_it_writes_a_file_and_tells_people_too(cli, quick, tmp_path):
    code, out, _ = cli("doctor", "--json", tmp_path / "told.json")
    assert code == 0
    assert "The core works." in out
    assert json.loads((tmp_path / "told.json").read_text())["ok"] is True
    assert list(tmp_path.iterdir()) == [tmp_path / "told.json"]


def test_a_model_that_reads_wrongly_is_found(cli, quick, monkeypatch):
    reader = digit_reader()
    wrong = Predictor(lambda X: np.roll(reader.predict_proba(X), 1, axis=1), signature=reader.signature)
    monkeypatch.setattr("inferkit.predictor.digit_reader", lambda name: wrong)
    code, out, _ = cli("doctor")
    assert code == 1
    assert re.search(r"^  FAILED +an answer +it reads \d\.\d% of 382 digits", out, re.M)
    assert out.rstrip().endswith("The core does not work.")


def test_a_runtime_that_is_missing_is_found(cli, quick, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("ai_edge_litert")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    code, out, _ = cli("doctor")
    assert code == 1
    assert re.search(r"^  FAILED +an answer ", out, re.M)
    assert re.search("^  an answer +pip install --upgrade --force-reinstall ai-edge-litert$", out, re.M)


def test_a_damaged_bundle_is_found(cli, quick, copy):
    (copy / "signs.png").unlink()
    code, out, _ = cli("doctor")
    assert code == 1
    assert re.search(r"^  FAILED +bundled files +signs.png is missing", out, re.M)


def test_a_ledger_that_cannot_be_kept_is_said_and_costs_nothing_else(cli, quick, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("INFERKIT_LEDGER", str(tmp_path / "file" / "ledger.sqlite"))
    code, out, _ = cli("doctor")
    assert code == 0
    assert re.search(r"^  no +the ledger +.*will not be kept", out, re.M)
    assert re.search("^  the ledger +set INFERKIT_LEDGER", out, re.M)
    monkeypatch.setenv("INFERKIT_LEDGER", str(tmp_path))
    assert re.search(r"^  no +the ledger +path: expected a file", cli("doctor")[1], re.M)


def test_no_jupyter_is_said_with_the_line_that_mends_it(cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "jupyter_client.manager", None)
    code, out, _ = cli("doctor")
    assert code == 0
    assert re.search(r"^  no +Jupyter +ModuleNotFoundError", out, re.M)
    assert re.search("^  Jupyter +pip install --upgrade --force-reinstall ipykernel$", out, re.M)


def test_a_kernel_whose_widgets_are_dumb_is_found(monkeypatch):
    class Client:
        def execute(self, code):
            pass

        def get_iopub_msg(self, timeout):
            return {"msg_type": "error", "content": {"ename": "ImportError", "evalue": "no comm"}}

        def stop_channels(self):
            pass

    class Manager:
        def shutdown_kernel(self, now):
            stopped.append(now)

    stopped = []
    monkeypatch.setattr("jupyter_client.manager.start_new_kernel", lambda **_: (Manager(), Client()))
    check = _doctor.attempt("Jupyter", _doctor._kernel, False, "mend")
    assert (check.is_fine, check.words, stopped) == (False, "ImportError: no comm", [True])


def test_what_an_extra_lacks_is_mended_by_a_line_that_works():
    """Every extra that is named must be one that the package has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"])
    assert set(_doctor.PURPOSES) - {"core"} <= extras
    assert extras - set(_doctor.PURPOSES) <= {"dev", "course", "colab"}  # made of the others


def test_a_core_that_lacks_a_package_does_not_work(cli, quick, monkeypatch):
    asked = [
        "no-such-package>=3",
        "pytest>=99999; extra == 'onnx'",
        "another; extra == 'onnx'",
        "numpy; extra == 'skops'",
    ]
    monkeypatch.setattr("inferkit._base.requires", lambda name: asked)
    code, out, _ = cli("doctor")
    assert code == 1
    assert re.search(r"^  core .* missing: no-such-package$", out, re.M)
    assert f"missing: another; other version: pytest {pytest.__version__}, not >=99999" in out
    assert re.search('^  core +pip install "no-such-package>=3"$', out, re.M)
    assert re.search('^  onnx +pip install "pytest>=99999" "another"$', out, re.M)
    assert not re.search("^  skops +pip", out, re.M)


def test_a_gpu_brings_its_extra_into_the_list(cli, quick, monkeypatch):
    assert "gpu" not in _doctor.installed()
    from dataclasses import replace

    from inferkit.devices import Gpu, describe

    monkeypatch.setattr(_doctor, "describe", lambda: replace(describe(), gpus=(Gpu("NVIDIA T4", 2**34, "550"),)))
    assert "gpu" in _doctor.installed()
    assert "NVIDIA T4, 17.2 GB, driver 550" in cli("doctor")[1]


# -- JSON --------------------------------------------------------------------------------------------

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(PLAIN)
def test_plain_values_come_back_from_json_as_they_were(value):
    text = _output.as_json(value)
    assert json.loads(text) == value
    assert text.isascii()


@given(st.lists(st.floats(width=32)))
def test_arrays_come_back_and_what_is_no_number_is_null(values):
    back = json.loads(_output.as_json({"a": np.array(values, dtype=np.float32)}), parse_constant=pytest.fail)["a"]
    assert [v is None for v in back] == [not np.isfinite(v) for v in values]
    assert [v for v in back if v is not None] == [v for v in values if np.isfinite(v)]


def test_what_else_prints_does_not_get_between(capsys):
    with _output.results_only("-"):
        print("chatter")
    _output.deliver("-", {"a": 1}, "a table")
    assert capsys.readouterr() == ('{"a": 1}\n', "chatter\n")
    with _output.results_only(None):
        print("chatter")
    assert capsys.readouterr() == ("chatter\n", "")


def test_a_file_that_cannot_be_written_costs_no_result(cli, quick, tmp_path):
    code, out, errors = cli("doctor", "--json", tmp_path / "none" / "told.json")
    assert code == 2
    assert "The core works." in out
    assert is_one_line(errors, "doctor")
    assert "the folder does not exist" in errors

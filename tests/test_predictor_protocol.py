"""The codec of the Open Inference Protocol: nothing is lost, nothing wrong gets through, nothing else is raised."""

import json
import math
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from inferkit._base import InputError
from inferkit.predictor import ArraySpec, Column, OutputSpec, Signature, TableSpec, TextSpec
from inferkit.predictor._metadata import (
    as_answer,
    example_row,
    from_rows,
    model_metadata,
    signature_from_metadata,
    tensor_specs,
    to_rows,
)
from inferkit.predictor._protocol import (
    DATATYPES,
    InferRequest,
    ProtocolError,
    WantedOutput,
    datatype_of,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    header_length_of,
    read_json,
)

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
# A busy machine is no fault of the codec.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
MANY = settings(PATIENT, max_examples=300)


@st.composite
def tensors(draw: st.DrawFn, *, finite: bool = False, text: bool = False) -> np.ndarray:
    """Draw an array of any datatype and shape; in JSON neither NaN nor bytes that are no text can be written."""
    datatype = draw(st.sampled_from(list(DATATYPES)))
    shape = draw(SHAPES)
    if datatype == "BYTES":
        words = st.text(max_size=8).map(str.encode) if text else st.binary(max_size=8)
        flat = draw(st.lists(words, min_size=math.prod(shape), max_size=math.prod(shape)))
        array = np.empty(len(flat), object)
        array[:] = flat
        return array.reshape(shape)
    dtype = DATATYPES[datatype]
    real = {"allow_nan": False, "allow_infinity": False} if finite and dtype.kind == "f" else {}
    return draw(hnp.arrays(dtype, shape, elements=hnp.from_dtype(dtype, **real)))


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are the same to the bit, NaN included."""
    if a.dtype == object:
        return b.dtype == object and a.shape == b.shape and a.ravel().tolist() == b.ravel().tolist()
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def request(**tensor: Any) -> bytes:
    """Return a request of one tensor, good but for what is given."""
    plain = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]} | tensor
    return json.dumps({"inputs": [plain]}).encode()


# -- there and back ----------------------------------------------------------------------------------


@PATIENT
@given(st.dictionaries(st.text("abc", min_size=1), tensors(), min_size=1, max_size=4), st.none() | st.text())
def test_a_binary_request_comes_back_as_it_was(inputs: dict[str, np.ndarray], id: str | None) -> None:
    read = decode_request(*encode_request(inputs, id=id))
    assert list(read.inputs) == list(inputs)
    assert read.id == id
    assert all(same(read.inputs[name], array) for name, array in inputs.items())


@PATIENT
@given(tensors(finite=True, text=True))
def test_a_json_request_comes_back_as_it_was(array: np.ndarray) -> None:
    body, length = encode_request({"x": array}, binary=False)
    assert length is None
    assert same(decode_request(body).inputs["x"], array)


@PATIENT
@given(tensors(finite=True, text=True), tensors(finite=True, text=True), st.sets(st.sampled_from("ab")))
def test_a_response_comes_back_as_it_was_whatever_is_binary(a: np.ndarray, b: np.ndarray, binary: set[str]) -> None:
    read = decode_response(*encode_response("m", "3", "id", {"a": a, "b": b}, binary))
    assert (read.model_name, read.model_version, read.id) == ("m", "3", "id")
    assert same(read.outputs["a"], a)
    assert same(read.outputs["b"], b)


@PATIENT
@given(tensors(finite=True, text=True))
def test_nested_data_is_read_as_flat_data_is(array: np.ndarray) -> None:
    as_text = np.vectorize(bytes.decode, otypes=[object])(array) if array.size and array.dtype == object else array
    nested = as_text.tolist() if array.ndim else [as_text.item()]
    body = request(shape=list(array.shape), datatype=datatype_of(array.dtype), data=nested)
    assert same(decode_request(body).inputs["x"], array)


def test_numbers_of_the_other_byte_order_and_in_any_layout_are_written_in_the_protocols_order() -> None:
    array = np.arange(6, dtype=">i4").reshape(2, 3).T
    read = decode_request(*encode_request({"x": array})).inputs["x"]
    assert read.tolist() == array.tolist()
    assert read.dtype == np.int32


def test_a_tensor_can_be_written_to_and_does_not_hold_the_body() -> None:
    body, length = encode_request({"x": np.ones(3, np.float32)})
    array = decode_request(body, length).inputs["x"]
    array[0] = 5
    assert decode_request(body, length).inputs["x"][0] == 1
    assert array.flags.aligned


def test_the_bytes_are_those_of_the_specification() -> None:
    body, length = encode_response(
        "m", None, None, {"t": np.array(["hé", b""], object), "n": np.array([258], "u2")}, ["t", "n"]
    )
    assert body[length:] == b"\x03\0\0\0h\xc3\xa9" + b"\0\0\0\0" + b"\x02\x01"
    sizes = [one["parameters"]["binary_data_size"] for one in json.loads(body[:length])["outputs"]]
    assert sizes == [11, 2]


# -- what does not get through -----------------------------------------------------------------------

BAD_TENSORS: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "a name"),
    ({"name": 3}, "a name"),
    ({"name": "a\nb"}, "a name"),
    ({"shape": None}, "input 'x': expected shape to be a list of whole numbers"),
    ({"shape": [-1]}, r"whole numbers ≥ 0, got \[-1\]"),
    ({"shape": [2.0]}, "whole numbers"),
    ({"shape": [True]}, "whole numbers"),
    ({"shape": [10**30]}, "at most"),
    ({"shape": [0, 10**30], "data": []}, "at most"),
    ({"shape": [1] * 33}, "at most 32 axes"),
    ({"shape": [3]}, r"expected 3 elements for shape \[3\], got 2"),
    ({"shape": [1, 2], "data": [[1, 2, 3]]}, r"nested as shape \[1, 2\]"),
    ({"shape": [2, 2], "data": [[1, 2], [3]]}, "nested as shape"),
    ({"shape": [2, 2], "data": [[1, 2], 3]}, "nested as shape"),
    ({"shape": [2], "data": [[1, 2]]}, "nested as shape"),
    ({"shape": [], "data": [[1]]}, "as element 0"),
    ({"shape": [2, 1], "data": [[[1]], [[2]]]}, "expected numbers for FP32"),
    ({"datatype": "FLOAT"}, r"expected one of BOOL, .* got 'FLOAT'"),
    ({"datatype": "BF16"}, "send BF16 as FP32"),
    ({"datatype": ["FP32"]}, "expected one of"),
    ({"datatype": None}, "expected one of"),
    ({"data": None}, "expected data to be a list, got None"),
    ({"data": "12"}, "expected data to be a list"),
    ({"data": {"0": 1}}, "expected data to be a list"),
    ({"data": [1, True]}, "expected numbers for FP32, got True as element 1"),
    ({"data": [1, None]}, "expected numbers for FP32, got None as element 1"),
    ({"data": [1, "2"]}, "expected numbers for FP32, got '2' as element 1"),
    ({"data": [1, [2]]}, r"expected numbers for FP32, got \[2\] as element 1"),
    ({"data": [1, 1e39]}, r"values from -3.40\d*e\+38 to 3.40\d*e\+38 for FP32, got 1e\+39 as element 1"),
    ({"data": [1, 10**400]}, "for FP32, got 1000.* as element 1"),
    ({"datatype": "FP16", "data": [1, 70000]}, r"values from -65504.0 to 65504.0 for FP16, got 70000 as element 1"),
    ({"datatype": "INT8", "data": [0, 128]}, "values from -128 to 127 for INT8, got 128 as element 1"),
    ({"datatype": "UINT8", "data": [0, -1]}, "values from 0 to 255 for UINT8, got -1 as element 1"),
    ({"datatype": "UINT64", "data": [0, 2**64]}, "values from 0 to 18446744073709551615 for UINT64"),
    ({"datatype": "INT64", "data": [0, 2**63]}, "for INT64, got 9223372036854775808 as element 1"),
    ({"datatype": "INT32", "data": [0, 1.0]}, "expected integers for INT32, got 1.0 as element 1"),
    ({"datatype": "INT32", "data": [0, True]}, "expected integers for INT32, got True as element 1"),
    ({"datatype": "UINT8", "data": [0, True]}, "expected integers for UINT8, got True as element 1"),
    ({"datatype": "BOOL", "data": [True, 1]}, "expected true or false for BOOL, got 1 as element 1"),
    ({"datatype": "BYTES", "data": ["a", 1]}, "expected texts for BYTES, got 1 as element 1"),
    ({"datatype": "BYTES", "data": ["a", "\ud800"]}, "half of a surrogate pair"),
    ({"parameters": []}, "input 'x': expected parameters to be an object, got an empty list"),
    ({"parameters": {"binary_data_size": 8}}, "either data or binary_data_size, got both"),
    ({"parameters": {"shared_memory_region": "r"}}, "shared memory is not supported"),
]  # fmt: skip


@pytest.mark.parametrize(("tensor", "words"), BAD_TENSORS)
def test_a_bad_tensor_is_refused_in_words_that_name_it(tensor: dict[str, Any], words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        decode_request(request(**tensor))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "expected JSON"),
        (b"\xff{}", "expected JSON in UTF-8, got byte 255 at 0"),
        (b"{", "expected JSON"),
        (b"[]", "expected a JSON object, got list"),
        (b"null", "expected a JSON object"),
        (b"{} {}", "expected JSON"),
        (b"{}", "expected inputs to be a list of tensors, got nothing"),
        (b'{"inputs": []}', "got an empty list"),
        (b'{"inputs": {}}', "got an object"),
        (b'{"inputs": [3]}', "expected each input to be an object with a name"),
        (b'{"inputs": [], "inputs": []}', "got 'inputs' twice"),
        (b'{"inputs": [{"name": "x", "name": "y"}]}', "got 'name' twice"),
        (request().replace(b"[1, 2]", b"[NaN, 2]"), "got NaN"),
        (request().replace(b"[1, 2]", b"[1, -Infinity]"), "got -Infinity"),
        (request().replace(b"[1, 2]", b"[1, 1e999]"), "got inf as element 1"),
        (request().replace(b"[1, 2]", b"[1, " + b"9" * 5000 + b"]"), "expected JSON"),
        (request()[:-2] + b',{"name": "x", "shape": [0], "datatype": "INT8", "data": []}]}', "got 'x' twice"),
        (request()[:-1] + b', "id": 3}', "expected id to be a text, got 3"),
        (request()[:-1] + b', "parameters": 3}', "expected parameters to be an object"),
        (request()[:-1] + b', "parameters": {"binary_data_output": 1}}', "to be true or false, got 1"),
        (request()[:-1] + b', "outputs": {}}', "expected outputs to be a list"),
        (request()[:-1] + b', "outputs": [{}]}', "expected each output to be an object with a name"),
        (request()[:-1] + b', "outputs": [{"name": "p"}, {"name": "p"}]}', "got 'p' twice"),
        (request()[:-1] + b', "outputs": [{"name": "p", "parameters": {"binary_data": "yes"}}]}', "binary_data to be"),
        (request()[:-1] + b', "outputs": [{"name": "p", "parameters": {"classification": 2}}]}', "not supported"),
    ],
)
def test_a_bad_message_is_refused_in_words_that_name_it(body: bytes, words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        decode_request(body)


def binary(tail: bytes, *, size: Any, shape: list[int], datatype: str = "FP32", extra: int = 0) -> tuple[bytes, int]:
    plain = {"name": "x", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [plain]}).encode()
    return head + tail, len(head) + extra


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (binary(b"12345678", size=9, shape=[2]), "a number of the 8 bytes left, got 9"),
        (binary(b"12345678", size=-1, shape=[2]), "bytes left, got -1"),
        (binary(b"12345678", size="8", shape=[2]), "bytes left, got '8'"),
        (binary(b"12345678", size=True, shape=[2]), "bytes left, got True"),
        (binary(b"12345678", size=8, shape=[3]), r"expected 12 bytes for FP32 \[3\], got 8"),
        (binary(b"12345678", size=4, shape=[1]), "expected the message to end after its tensors, got 4 bytes more"),
        (binary(b"12345678", size=8, shape=[2], extra=9), "as the header says"),
        (binary(b"\0\2", size=2, shape=[2], datatype="BOOL"), "expected bytes 0 or 1 for BOOL, got 2"),
        (binary(b"", size=0, shape=[1], datatype="BYTES"), "expected 1 texts"),
        (binary(struct.pack("<I", 5) + b"four", size=8, shape=[1], datatype="BYTES"), "expected 1 texts"),
        (binary(struct.pack("<I", 3) + b"four", size=8, shape=[1], datatype="BYTES"), "expected 1 texts"),
        (binary(struct.pack("<II", 0, 0), size=8, shape=[1], datatype="BYTES"), "expected 1 texts"),
        (binary(struct.pack("<I", 4) + b"four", size=8, shape=[2], datatype="BYTES"), "expected 2 texts"),
        (binary(struct.pack("<I", 2**32 - 1) + b"four", size=8, shape=[2], datatype="BYTES"), "expected 2 texts"),
        (binary(b"", size=0, shape=[2**39], datatype="BYTES"), "expected 549755813888 texts"),
    ],
)  # fmt: skip
def test_bad_binary_data_is_refused_in_words_that_name_it(message: tuple[bytes, int], words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        decode_request(*message)


def test_bytes_that_nobody_announced_are_refused() -> None:
    with pytest.raises(ProtocolError, match="got 3 bytes more"):
        decode_request(request() + b"abc", len(request()))


@pytest.mark.parametrize("header", ["", "-1", "+3", "1e3", "٣", "3 ", "0x10", "9" * 30])
def test_a_length_that_is_no_number_of_bytes_is_refused(header: str) -> None:
    with pytest.raises(ProtocolError, match="expected a number of bytes"):
        header_length_of(header)


def test_the_length_of_the_json_is_read() -> None:
    assert header_length_of("017") == 17
    assert header_length_of(None) is None


@pytest.mark.parametrize("n", [64, 65, 1000, 100_000])
def test_json_may_be_64_deep_and_no_deeper(n: int) -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        inner = opening * (n - 1) + "0" + closing * (n - 1)
        body = ('{"parameters":' + inner + "}").encode()
        if n <= 64:
            assert read_json(body)
        else:
            with pytest.raises(ProtocolError, match="at most 64 brackets within brackets"):
                read_json(body)


def test_brackets_in_a_text_or_beside_each_other_are_not_deep() -> None:
    texts = ["[" * 1000, '\\"' + "{" * 1000, "\\"]
    assert read_json(json.dumps({"a": texts, "b": [[]] * 1000}).encode())["a"] == texts


WORDS = rb'{ } [ ] : , " "inputs" "name" "shape" "datatype" "data" "FP16" "BYTES" 1 -1 1e999 NaN null true \ud800'
TOKENS = [*WORDS.split(), b"\xff", b"9" * 5000]


@MANY
@given(
    st.binary(max_size=60) | st.lists(st.sampled_from(TOKENS), max_size=30).map(b"".join),
    st.none() | st.integers(-5, 70),
)
@example(b'{"inputs":[{"name":"x","shape":[1],"datatype":"BYTES","data":["\\ud800"]}]}', None)
def test_no_bytes_raise_anything_but_a_protocol_error(body: bytes, length: int | None) -> None:
    for decode in (decode_request, decode_response):
        with suppress(ProtocolError):
            decode(body, length)


@MANY
@given(
    st.dictionaries(st.text("ab", min_size=1), tensors(), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=3),
    st.integers(0, 30),
)
def test_a_damaged_request_raises_nothing_but_a_protocol_error(
    inputs: dict[str, np.ndarray], changes: list[tuple[int, int]], cut: int
) -> None:
    body, length = encode_request(inputs)
    damaged = bytearray(body)
    for at, byte in changes:
        damaged[at % len(damaged)] = byte
    with suppress(ProtocolError):
        decode_request(bytes(damaged[: len(damaged) - cut]), length)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@MANY
@given(
    st.fixed_dictionaries(
        {
            "name": JSON | st.just("x"),
            "shape": JSON | st.just([2]),
            "data": JSON | st.just([1, 2]),
            "datatype": JSON | st.sampled_from(list(DATATYPES)),
            "parameters": JSON,
        }
    ),
    JSON,
    JSON,
)
def test_no_json_raises_anything_but_a_protocol_error(tensor: Any, outputs: Any, parameters: Any) -> None:
    body = json.dumps({"inputs": [tensor], "outputs": outputs, "parameters": parameters}).encode()
    with suppress(ProtocolError):
        decode_request(body)


# -- what cannot be written --------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_json_holds_no_number_that_is_none_and_bytes_do(value: float) -> None:
    outputs = {"p": np.array([1.0, value], np.float32)}
    with pytest.raises(ProtocolError, match=f"output 'p': expected finite numbers, got {value}"):
        encode_response("m", None, None, outputs)
    assert same(decode_response(*encode_response("m", None, None, outputs, {"p"})).outputs["p"], outputs["p"])


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([1j]), "got complex128"),
        (np.array(["2020-01-01"], "M8[D]"), "datetime64"),
        (np.array([3], object), "expected texts or bytes, got 3"),
        (np.array([b"\xff"], object), "send it as binary data"),
        (np.array(["\ud800"], object), "half of a surrogate pair"),
    ],
)
def test_what_no_message_can_hold_is_refused(array: np.ndarray, words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        encode_response("m", None, None, {"p": array})


def test_a_request_says_which_outputs_it_wants_and_in_which_form() -> None:
    asked = InferRequest({}, (WantedOutput("p"), WantedOutput("q", False)), parameters={"binary_data_output": True})
    assert asked.wanted(["q", "p", "r"]) == ["p", "q"]
    assert asked.binary(["p", "q"]) == {"p"}
    assert InferRequest({}).wanted(["q", "p"]) == ["q", "p"]
    assert InferRequest({}).binary(["p"]) == set()
    assert InferRequest({}, (WantedOutput("p", True),)).binary(["p"]) == {"p"}
    with pytest.raises(ProtocolError, match=r"outputs: expected some of \['q'\], got 'p'"):
        asked.wanted(["q"])
    assert decode_request(*encode_request({"x": np.ones(1)}, outputs=["p"])).wanted(["q", "p"]) == ["p"]


# -- a predictor's contract in these words -----------------------------------------------------------

PATIENTS = TableSpec([Column("age", "years", 18, 90), Column("smoker", categories=("no", "yes"))])
CONTRACTS = [
    ArraySpec((8, 8), low=0, high=16, unit="ink"),
    ArraySpec((None, 3), "uint8"),
    ArraySpec((), "int64", high=-3),
    PATIENTS,
    TextSpec(50),
]
OUTPUTS = (
    OutputSpec("p", "probabilities", ("no", "yes")),
    OutputSpec("digit", "probabilities", (0, 1, 2)),
    OutputSpec("word", "labels"),
    OutputSpec("dose", unit="mg"),
)


@pytest.mark.parametrize("spec", CONTRACTS)
def test_the_whole_contract_comes_back_from_our_metadata(spec: Any) -> None:
    signature = Signature(spec, OUTPUTS)
    sent = read_json(json.dumps(model_metadata("m", signature), allow_nan=False).encode())
    assert signature_from_metadata(sent) == signature
    assert (sent["name"], sent["versions"], sent["platform"]) == ("m", ["1"], "inferkit")


@pytest.mark.parametrize("spec", CONTRACTS)
def test_an_example_row_meets_the_contract(spec: Any) -> None:
    assert len(spec.check_one(example_row(spec))) == 1


def test_the_tensors_of_a_contract_are_described() -> None:
    inputs, outputs = tensor_specs(Signature(PATIENTS, OUTPUTS))
    assert inputs == [
        {"name": "age", "datatype": "FP64", "shape": [-1]},
        {"name": "smoker", "datatype": "BYTES", "shape": [-1]},
    ]
    assert [(one["name"], one["datatype"], one["shape"]) for one in outputs] == [
        ("p", "FP64", [-1, 2]), ("digit", "FP64", [-1, 3]), ("word", "BYTES", [-1]), ("dose", "FP64", [-1]),
    ]  # fmt: skip
    answers = {"p": np.ones((1, 2), np.float32), "word": np.array(["x"]), "dose": np.ones((1, 4), np.float16)}
    _, outputs = tensor_specs(Signature(PATIENTS, OUTPUTS), answers)
    assert [(one["datatype"], one["shape"]) for one in outputs] == [
        ("FP32", [-1, 2]), ("FP64", [-1, 3]), ("BYTES", [-1]), ("FP16", [-1, 4]),
    ]  # fmt: skip
    assert tensor_specs(Signature(ArraySpec((None, 3), "uint8"), OUTPUTS))[0][0]["shape"] == [-1, -1, 3]


ROWS = [
    (ArraySpec((2,)), [[1.5, 2], [3, 4]]),
    (PATIENTS, {"age": [40, 50.5, 60], "smoker": ["yes", "no", "no"]}),
    (TableSpec([Column("a"), Column("b")]), [[1, 2.5], [3, 4]]),
    (TextSpec(), ["héllo", ""]),
]


@pytest.mark.parametrize(("spec", "rows"), ROWS)
def test_rows_go_through_tensors_and_come_out_as_they_were(spec: Any, rows: Any) -> None:
    checked = spec.check(rows)
    inputs, _ = tensor_specs(Signature(spec, [OutputSpec()]))
    for binary in (True, False):
        sent = decode_request(*encode_request(from_rows(checked, inputs), binary=binary))
        again = spec.check(to_rows(spec, sent.inputs))
        assert again.dtype == checked.dtype
        assert again.tolist() == checked.tolist()


@pytest.mark.parametrize(
    ("spec", "tensors", "words"),
    [
        (ArraySpec((2,)), {"x": np.ones((1, 2), "f4")}, r"inputs: expected \['input'\], got \['x'\]"),
        (
            ArraySpec((2,)),
            {"input": np.ones((1, 2), "f4"), "x": np.ones(1)},
            r"expected \['input'\], got \['input', 'x'\]",
        ),
        (ArraySpec((2,)), {"input": np.ones((1, 2), "f8")}, "input 'input': expected FP32, got FP64"),
        (PATIENTS, {"age": np.ones(1)}, r"expected \['age', 'smoker'\], got \['age'\]"),
        (PATIENTS, {"age": np.ones(1), "smoker": np.ones(1)}, "'smoker': expected BYTES, got FP64"),
        (
            PATIENTS,
            {"age": np.ones((1, 2)), "smoker": np.array([b"no"], object)},
            r"shape \[n\] or \[n, 1\], got \[1, 2\]",
        ),
        (TextSpec(), {"input": np.array([b"\xff"], object)}, "'input': expected text in UTF-8"),
        (TextSpec(), {"input": np.array(b"x", object)}, r"shape \[n\] or \[n, 1\], got \[\]"),
    ],
)
def test_tensors_that_are_not_those_of_the_contract_are_refused(spec: Any, tensors: Any, words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        to_rows(spec, tensors)


def test_a_column_may_have_an_axis_of_length_one() -> None:
    tensors = {"smoker": np.array([[b"no"], [b"yes"]], object), "age": np.array([[40.0], [50.0]])}
    assert PATIENTS.check(to_rows(PATIENTS, tensors)).tolist() == [[40, "no"], [50, "yes"]]


Tensor = tuple[str, str, list[int]]


def foreign(*inputs: Tensor, outputs: tuple[Tensor, ...] = (("y", "FP32", [-1]),)) -> dict[str, Any]:
    """Return metadata as a server sends them that is not ours."""

    def plain(tensors: tuple[Tensor, ...]) -> list[dict[str, Any]]:
        return [{"name": name, "datatype": datatype, "shape": shape} for name, datatype, shape in tensors]

    return {"inputs": plain(inputs), "outputs": plain(outputs)}


def test_another_servers_metadata_give_names_types_and_shapes() -> None:
    read = signature_from_metadata(
        foreign(("x", "UINT8", [-1, 8, -1]), outputs=(("y", "BYTES", [-1]), ("z", "FP64", [-1, 2])))
    )
    assert read == Signature(ArraySpec((8, None), "uint8"), [OutputSpec("y", "labels"), OutputSpec("z")])
    assert signature_from_metadata(foreign(("t", "BYTES", [-1]))).input == TextSpec()
    table = signature_from_metadata(foreign(("a", "FP32", [-1]), ("b", "INT64", [-1, 1]))).input
    assert table == TableSpec([Column("a"), Column("b")])
    sent = from_rows(table.check([[1.5, 2]]), foreign(("a", "FP32", [-1]), ("b", "INT64", [-1, 1]))["inputs"])
    assert {name: (array.dtype.name, array.tolist()) for name, array in sent.items()} == {
        "a": ("float32", [1.5]), "b": ("int64", [[2]]),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, "expected inputs to be a list"),
        ({"inputs": [], "outputs": []}, "expected inputs to be a list"),
        (foreign(("x", "FP8", [-1])), "metadata of 'x': expected one of"),
        (foreign(("x", "FP32", [-2])), "metadata of 'x': expected shape"),
        (foreign(("x", "FP32", [-1]), outputs=()), "expected outputs to be a list"),
        ({"inputs": [3], "outputs": [3]}, "to have a name"),
        (foreign(("x", "FP32", [-1, 8]), ("y", "FP32", [-1])), r"of which \['x'\] are no columns of numbers"),
        (
            {"parameters": {"inferkit": {"signature": {"input": {"kind": "cube"}, "outputs": []}}}},
            "expected the signature",
        ),
        ({"parameters": {"inferkit": 3}}, "expected the signature"),
    ],
)
def test_metadata_that_say_nothing_of_use_are_refused(metadata: dict[str, Any], words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        signature_from_metadata(metadata)


@PATIENT
@given(JSON, st.sampled_from(["inputs", "outputs", "parameters"]))
def test_no_metadata_raise_anything_but_an_input_error(value: Any, where: str) -> None:
    good = foreign(("x", "FP32", [-1]))
    for one in (value, {"inferkit": value}, [value]):
        with suppress(InputError):
            signature_from_metadata(good | {where: one})


@pytest.mark.parametrize(
    ("rows", "tensor", "words"),
    [
        (np.array([1.5]), ("x", "INT64", [-1]), "'x': expected INT64, got float64 values that do not fit"),
        (np.array([300.0]), ("x", "UINT8", [-1]), "expected UINT8"),
        (np.array([1.0]), ("x", "BYTES", [-1]), "expected BYTES"),
        (np.array(["no"], object), ("x", "FP32", [-1]), "expected FP32"),
    ],
)
def test_numbers_that_a_foreign_tensor_cannot_hold_are_refused(rows: np.ndarray, tensor: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        from_rows(rows, foreign(tensor)["inputs"])


def test_columns_and_tensors_must_be_as_many() -> None:
    with pytest.raises(InputError, match=r"one column for each of \['a', 'b'\], got rows of shape \(1, 3\)"):
        from_rows(np.ones((1, 3)), foreign(("a", "FP32", [-1]), ("b", "FP32", [-1]))["inputs"])


def test_texts_of_an_answer_become_str() -> None:
    answer = as_answer(np.array([[b"h\xc3\xa9"], [b""]], object), "output 'w'")
    assert answer.dtype.kind == "U"
    assert answer.tolist() == [["hé"], [""]]
    with pytest.raises(ProtocolError, match="output 'w': expected text in UTF-8"):
        as_answer(np.array([b"\xff"], object), "output 'w'")

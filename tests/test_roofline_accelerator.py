"""Runs on an accelerator: judged by float64, kept whole, and honest about devices that are not there or do not work."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets import record_accelerator
from inferkit import InputError
from inferkit.devices import Gpu, describe
from inferkit.models import _keras, cnn, import_keras, mlp
from inferkit.roofline import AcceleratorRun, NoAcceleratorError, _accelerator, _accelerator_nuts, accelerator_run
from inferkit.roofline import _accelerator_backend as backends
from inferkit.roofline._accelerator import _Plan, _run
from inferkit.roofline._accelerator_backend import Backend, Device, TensorFlow, open_backend
from inferkit.roofline._accelerator_json import VERSION
from inferkit.roofline._accelerator_networks import NETWORKS, PRECISIONS, Subject, answers, prepare, tolerance
from inferkit.roofline._accelerator_record import AcceleratorRow, NutsRow
from tests.interpreters import jax_python
from tests.machine import not_checked

ROOT = Path(__file__).parents[1]


# -- what is made by hand ----------------------------------------------------------------------


def row(total_us=100.0, *, network="net", precision="float32", batch_size=8, rounds=10, spread=0.01, **fields):
    """Make a row whose rounds take `total_us`, half of it computing, give or take a share."""
    wave = 1 + spread * np.linspace(-1, 1, rounds)
    quarter, half = (tuple((share * total_us * 1e-6 * wave).tolist()) for share in (0.25, 0.5))
    given = {"first_call_s": 1.0, "difference": 1e-7, "tolerance": 1e-5, "structure": "ab" * 6, "n_parameters": 9}
    return AcceleratorRow(network, precision, batch_size, transfer_s=quarter, compute_s=half, back_s=quarter,
                          **{**given, **fields})  # fmt: skip


def run_of(*rows, kind="gpu", **fields):
    about = {"device_kind": kind, "device_name": "Test <GPU>", "versions": {"jax": "0.1"}, "driver": "550.1"}
    return AcceleratorRun(rows, stamp={"machine": "Desk", "accelerator": about}, **fields)


NUTS = NutsRow("gpu", "Test", 2000, 8, 4, 300, 500, 9.0, 2.0, 1000.0, 0.1)

seconds = st.floats(0, 1e6)
samples = st.integers(1, 4).flatmap(lambda n: st.tuples(*[st.lists(seconds, min_size=n, max_size=n).map(tuple)] * 3))
rows = st.builds(
    lambda parts, **fields: AcceleratorRow(transfer_s=parts[0], compute_s=parts[1], back_s=parts[2], **fields),
    samples, network=st.text(max_size=4), precision=st.sampled_from(PRECISIONS), batch_size=st.integers(1, 2**40),
    first_call_s=seconds, difference=seconds | st.none(), tolerance=seconds, structure=st.text(max_size=4),
    n_parameters=st.integers(0, 2**40),
)  # fmt: skip
runs = st.builds(
    AcceleratorRun,
    st.lists(rows, max_size=3).map(tuple),
    st.sampled_from([(), (NUTS,)]),
    st.fixed_dictionaries({"machine": st.text(max_size=3), "accelerator": st.just({"device_kind": "gpu"})}),
    st.lists(st.text(max_size=4), max_size=2).map(tuple),
    st.lists(st.text(max_size=4), max_size=2).map(tuple),
    st.none() | st.text(max_size=4),
    st.sampled_from(["n", "time", "interrupt"]),
)


class Ticks:
    """A clock that stands still unless something takes time."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Pretended(Backend):
    """A device of our own: NumPy behind a clock. What is to go wrong can be said."""

    name = "pretended"

    def __init__(self, *, clock=None, spoil=None, raises=None, kind="gpu", first=None):
        super().__init__(Device(kind, "Pretended 1"))
        self.clock, self.spoil, self.raises, self.first, self.calls = clock or Ticks(), spoil, raises, first, 0
        self.elsewhere = False

    @classmethod
    def devices(cls):
        return [Device("gpu", "Pretended 1")]

    @property
    def versions(self):
        return {"pretended": "1"}

    def place(self, rows):
        self.clock.now += 1e-3 * len(rows)
        return rows

    def ready(self, model):
        def call(x):
            self.calls += 1
            self.clock.now += {1: 5.0, 2: 3.0}.get(self.calls, 1e-2)  # a second is still setting up
            if self.raises is not None and self.raises(len(x), self.calls):
                raise self.raises(len(x), self.calls)
            y = answers(model, x)
            return y if self.spoil is None else self.spoil(y)

        return call

    def fetch(self, there):
        self.clock.now += 1e-4
        return there

    def holds(self, there):
        return not self.elsewhere

    @contextmanager
    def building(self):
        yield


@pytest.fixture(scope="module")
def tiny(tensorflow):
    return {"tiny": lambda: mlp((2, 2), 3, hidden=(4,))}


def pretended_run(backend, networks, *, sizes=(1, 4), precisions=("float32",), rounds=6, max_seconds=1000.0):
    plan = _Plan.checked(networks, sizes, precisions, rounds, max_seconds)
    return _run(backend, plan, nuts=False, progress=False, clock=backend.clock)


# -- the reference -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_numpy_and_keras_agree_on_every_network_of_the_course(tensorflow, name):
    subject = prepare(name, NETWORKS[name], 4, 3)
    keras = subject.build("float32")(subject.rows, training=False).numpy()
    assert subject.difference(keras) < tolerance("float32")
    assert np.ptp(subject.expected, axis=-1).min() > 0.05  # answers that are all alike would hide an error


def test_a_network_is_built_in_the_precision_that_is_asked_for(tensorflow):
    subject = prepare("cnn", cnn, 4, 3)
    for precision in PRECISIONS:
        model = subject.build(precision)
        wanted = "float32" if precision == "tensorfloat32" else precision
        assert {w.dtype for w in model.weights} == {wanted} == {model(subject.rows).dtype.name}
    assert import_keras().config.dtype_policy().name == "float32"  # put back


def test_weights_and_structure_do_not_hang_on_the_backend_or_the_seed(tensorflow):
    one, again, other = (prepare("cnn", cnn, 4, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.expected, again.expected)
    assert one.structure == again.structure == other.structure
    assert not np.array_equal(one.expected, other.expected)
    assert prepare("wide", lambda: cnn(hidden=(41,)), 4, 3).structure != one.structure


def test_a_layer_that_the_reference_does_not_know_is_refused(tensorflow):
    keras = import_keras()
    strange = lambda: keras.Sequential([keras.Input((4,)), keras.layers.LeakyReLU()])  # noqa: E731
    with pytest.raises(InputError, match="got a layer LeakyReLU"):
        prepare("strange", strange, 2, 0)


def test_tolerances_follow_the_mantissa():
    # stored bits: 23, 10, 10, 7; a rounding is half of the last of them
    assert [tolerance(p) for p in PRECISIONS] == pytest.approx(
        [32 * half + 256 * 2.0**-24 for half in (2.0**-24, 2.0**-11, 2.0**-8, 2.0**-11)]
    )


@given(st.integers(1, 9), st.integers(1, 20))
def test_a_batch_repeats_the_rows_and_is_compared_with_the_right_ones(n_rows, size):
    rng = np.random.default_rng(0)
    kept, expected = rng.random((n_rows, 2), dtype=np.float32), 1 + rng.random((n_rows, 3))
    subject = Subject("s", kept, expected, lambda _: None, "", 0)
    batch = subject.batch(size)
    places = [int(np.flatnonzero((kept == one).all(1))[0]) for one in batch]
    assert places == [i % n_rows for i in range(size)]
    right = expected[places]
    assert subject.difference(right) == 0
    right[-1, -1] += 0.5
    assert subject.difference(right) == pytest.approx(0.5 / expected.max())
    assert subject.difference(right[:, :2]) == subject.difference(right * np.nan) == np.inf


# -- a run on a device of our own ---------------------------------------------------------------


def test_each_part_is_timed_apart_and_the_first_call_alone(tiny):
    (small, large) = pretended_run(Pretended(), tiny).rows
    assert (small.first_call_s, large.first_call_s) == pytest.approx((5.0, 0.01))
    assert (small.batch_size, large.batch_size, large.n) == (1, 4, 6)
    parts = [(r.transfer_us.median, r.compute_us.median, r.back_us.median) for r in (small, large)]
    assert parts == [pytest.approx((1e3, 1e4, 100)), pytest.approx((4e3, 1e4, 100))]
    assert large.rows_per_s == pytest.approx(4 / 0.0141)
    assert max(small.compute_s) == pytest.approx(0.01)  # the second call belongs to no round
    assert small.total_us.low == pytest.approx(11_100)
    assert small.difference < 1e-6


def test_too_few_rounds_do_not_bound_the_median(tiny):
    (one,) = pretended_run(Pretended(), tiny, sizes=(1,), rounds=5).rows
    assert (one.compute_us.low, one.compute_us.high) == (None, None)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda y: y + 2e-4, "from float64, where"),
        (lambda y: y[:, ::-1], "from float64, where"),
        (lambda y: y * np.nan, "no finite numbers"),
        (lambda y: y[:, :1], "of another shape"),
    ],
)
def test_wrong_answers_are_a_failure_that_the_run_tells(tiny, spoil, words):
    run = pretended_run(Pretended(spoil=spoil), tiny, sizes=(4,))
    assert len(run.failures) == 1
    assert words in run.failures[0]
    assert f"FAILED: {run.failures[0]}" in repr(run)
    assert AcceleratorRun.from_json(run.to_json()).failures == run.failures


def test_weights_that_moved_are_noticed(tensorflow, monkeypatch):
    """The positive control: one weight of thousands, off by a thousandth."""
    honest = _accelerator.prepare

    def moved(*arguments):
        subject = honest(*arguments)

        def perturbed(precision):
            model = subject.build(precision)
            weights = model.get_weights()
            weights[-1][0] += 1e-3  # of the last bias: no ReLU can hide it
            model.set_weights(weights)
            return model

        return replace(subject, build=perturbed)

    asked = {"device": "cpu", "networks": {"tiny": cnn}, "batch_sizes": (4,), "precisions": ("float32",)}
    assert accelerator_run(**asked, nuts=False, rounds=1, progress=False).failures == ()
    monkeypatch.setattr(_accelerator, "prepare", moved)
    (words,) = accelerator_run(**asked, nuts=False, rounds=1, progress=False).failures
    assert words.startswith("tiny, float32, batch 4: ")


def test_answers_that_lie_elsewhere_are_an_error(tiny):
    backend = Pretended()
    backend.elsewhere = True
    run = pretended_run(backend, tiny, sizes=(1,))
    assert run.rows == ()
    assert "do not lie on 'Pretended 1'" in run.failures[0]


def test_a_size_that_fails_is_named_and_the_others_are_measured(tiny):
    backend = Pretended(raises=lambda n, _: MemoryError("out of\nmemory") if n == 4 else None)
    run = pretended_run(backend, tiny, sizes=(1, 4, 8))
    assert [r.batch_size for r in run.rows] == [1, 8]
    assert run.failures == ("tiny, float32, batch 4: MemoryError: out of memory",)


def test_what_time_does_not_allow_is_left_out_and_named(tiny):
    run = pretended_run(Pretended(), tiny, sizes=(1, 4, 8), max_seconds=8.05)
    assert [r.batch_size for r in run.rows] == [1]
    assert run.rows[0].n < 6  # the size that was begun is cut short too
    assert run.left_out == ("tiny, float32, batch 4: 8.05 s were over", "tiny, float32, batch 8: 8.05 s were over")
    assert run.stopped == "time"


def test_an_interrupt_keeps_what_was_measured(tiny):
    backend = Pretended(raises=lambda n, _: KeyboardInterrupt() if n == 4 else None)
    run = pretended_run(backend, tiny, sizes=(1, 4))
    assert (len(run.rows), run.stopped, run.left_out) == (1, "interrupt", ("tiny, float32, batch 4: interrupted",))
    with pytest.raises(KeyboardInterrupt):
        pretended_run(Pretended(raises=lambda *_: KeyboardInterrupt()), tiny)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"device": "npu"}, "device: expected None or one of gpu, tpu, cpu, got 'npu'"),
        ({"networks": ["resnet"]}, "networks: expected names from digits-cnn"),
        ({"networks": {}}, "networks: expected functions"),
        ({"batch_sizes": (8, 8)}, "each once"),
        ({"batch_sizes": (0,)}, "whole numbers above 0, got 0"),
        ({"batch_sizes": ()}, "one or more"),
        ({"rounds": 2.5}, "whole numbers above 0, got 2.5"),
        ({"precisions": ("int8",)}, "precisions: expected some of float32"),
        ({"max_seconds": -1}, "max_seconds"),
        ({"max_seconds": float("nan")}, "max_seconds"),
    ],
)
def test_arguments_are_checked_before_anything_is_opened(wrong, words):
    with pytest.raises(InputError, match=words):
        accelerator_run(**wrong)


# -- a run on TensorFlow ------------------------------------------------------------------------


def test_the_processor_rehearses_on_tensorflow(tensorflow):
    before = tensorflow.config.experimental.tensor_float_32_execution_enabled()
    run = accelerator_run(
        device="cpu", networks=["digits-cnn"], batch_sizes=(1, 8), precisions=PRECISIONS, nuts=False, rounds=6,
        progress=False,
    )  # fmt: skip
    assert run.failures == run.left_out == ()
    assert [(r.precision, r.batch_size) for r in run.rows] == [(p, n) for p in PRECISIONS for n in (1, 8)]
    largest = {p: max(r.difference for r in run.rows if r.precision == p) for p in PRECISIONS}
    # that they differ by so much says that each was really computed in its precision
    assert 0 < 100 * largest["float32"] < largest["float16"] < largest["bfloat16"]
    assert run.device_kind == "cpu"
    assert run.stamp["accelerator"]["backend"] == "tensorflow"
    assert run.stamp["accelerator"]["versions"]["tensorflow"] == tensorflow.__version__
    assert tensorflow.config.experimental.tensor_float_32_execution_enabled() == before
    assert AcceleratorRun.from_json(run.to_json()) == run


def test_tf32_is_off_unless_it_is_asked_for(tensorflow):
    config = tensorflow.config.experimental
    backend = TensorFlow(Device("cpu", "", "/CPU:0"))
    for precision in PRECISIONS:
        with backend.precision(precision):
            assert config.tensor_float_32_execution_enabled() == (precision == "tensorfloat32")


def test_tensorflow_knows_its_processor(tensorflow):
    (device,) = [one for one in TensorFlow.devices() if one.kind == "cpu"]
    backend = TensorFlow(device)
    placed = backend.place(np.ones((2, 3), np.float32))
    assert backend.holds(placed)
    assert not TensorFlow(Device("gpu", "", "/GPU:0")).holds(placed)


# -- devices that are not there -------------------------------------------------------------------


def seen(name, *devices, raises=None, breaks=None, answers=None):
    """Make a backend that sees some devices, and may fail at the first look or at the first use."""

    def look():
        if raises is not None:
            raise raises
        return list(devices)

    class Seen(Pretended):
        def __init__(self, device):
            super().__init__(kind=device.kind)
            self.device = device

        def fetch(self, there):
            if breaks is not None and self.device.kind != "cpu":
                raise breaks
            return there if answers is None else answers

    Seen.name, Seen.devices = name, staticmethod(look)
    return Seen


CPU, GPU = Device("cpu", "Desk"), Device("gpu", "H1")


@pytest.fixture
def among(monkeypatch):
    """Choose among backends of our own, Keras not being loaded."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr(backends, "find_spec", lambda name: name)

    def choose(*candidates, device=None, gpus=()):
        monkeypatch.setattr(backends, "BACKENDS", candidates)
        monkeypatch.setattr(backends, "describe", lambda: replace(describe(), gpus=gpus))
        opened = open_backend(device)
        assert os.environ["KERAS_BACKEND"] == opened.name
        return opened.name, opened.device.kind

    return choose


def test_whichever_backend_sees_an_accelerator_is_taken(among):
    assert among(seen("jax", CPU), seen("tensorflow", GPU, CPU)) == ("tensorflow", "gpu")
    os.environ.pop("KERAS_BACKEND")
    assert among(seen("jax", GPU, CPU), seen("tensorflow", GPU, CPU)) == ("jax", "gpu")


def test_without_an_accelerator_the_processor_is_taken_and_the_courses_backend(among):
    assert among(seen("jax", CPU), seen("tensorflow", CPU)) == ("tensorflow", "cpu")


def test_the_processor_can_be_asked_for_where_there_is_an_accelerator(among):
    assert among(seen("jax", GPU, CPU), seen("tensorflow", GPU, CPU), device="cpu") == ("tensorflow", "cpu")


def test_the_backend_that_the_user_set_is_the_only_one_asked(among, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert among(seen("jax", CPU), seen("tensorflow", GPU)) == ("jax", "cpu")


def test_a_keras_that_is_loaded_keeps_its_backend(tensorflow):
    with pytest.raises(NoAcceleratorError, match="tensorflow sees cpu") as caught:
        open_backend("tpu")
    assert "jax sees" not in str(caught.value)


def test_no_gpu_says_what_was_looked_for_and_what_was_found(among):
    with pytest.raises(NoAcceleratorError) as caught:
        among(seen("jax", CPU), seen("tensorflow", CPU), device="gpu", gpus=(Gpu("NVIDIA T4", None, "550.1"),))
    words = str(caught.value)
    for part in ("looked for a gpu", "jax sees cpu 'Desk'", "tensorflow sees cpu 'Desk'", "NVIDIA T4 (driver 550.1)"):
        assert part in words
    assert "\n" not in words


def test_a_driver_that_fails_at_first_use_has_a_message_of_its_own(among):
    broken = seen("jax", GPU, CPU, breaks=RuntimeError("INTERNAL: cuInit\n  failed: 999"))
    for device in ("gpu", None):  # never the processor in silence
        with pytest.raises(
            NoAcceleratorError, match="jax sees gpu 'H1', and the first computation on it fails"
        ) as caught:
            among(broken, device=device)
        assert "RuntimeError: INTERNAL: cuInit failed: 999" in str(caught.value)
    os.environ.pop("KERAS_BACKEND")
    assert among(broken, device="cpu") == ("jax", "cpu")


def test_a_device_that_computes_nonsense_is_refused(among):
    with pytest.raises(NoAcceleratorError, match="computes 2 ×"):
        among(seen("jax", GPU, answers=np.zeros((2, 3))))


def test_a_backend_that_cannot_even_look_is_told_of(among):
    broken = seen("jax", raises=RuntimeError("Unable to initialize backend 'cuda'"))
    with pytest.raises(NoAcceleratorError, match="jax fails: RuntimeError: Unable to initialize"):
        among(broken, seen("tensorflow", CPU))
    assert among(broken, seen("tensorflow", GPU)) == ("tensorflow", "gpu")


def test_no_backend_at_all_is_told_of(among, monkeypatch):
    with pytest.raises(NoAcceleratorError, match="neither JAX nor TensorFlow is here"):
        among()
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(NoAcceleratorError, match="Keras runs on torch, which is not measured here"):
        among(seen("jax", GPU))


@pytest.mark.parametrize(("chosen", "needs"), [("jax", False), ("tensorflow", True), (None, True)])
def test_keras_on_jax_needs_no_tensorflow(monkeypatch, chosen, needs):
    asked = []
    monkeypatch.setattr(_keras, "require", lambda module, **_: asked.append(module) or module)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if chosen:
        monkeypatch.setenv("KERAS_BACKEND", chosen)
    assert import_keras() == "keras"
    assert ("tensorflow" in asked) == needs


# -- what is kept -------------------------------------------------------------------------------


@settings(max_examples=40)
@given(runs)
def test_a_run_comes_back_from_json_as_it_was(run):
    assert AcceleratorRun.from_json(run.to_json()) == run
    assert repr(run)


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    run_of(row()).to_json(path)
    before = path.read_bytes()
    assert AcceleratorRun.from_json(path) == AcceleratorRun.from_json(str(path)) == run_of(row())
    with pytest.raises(ValueError, match="not JSON compliant"):
        run_of(row(difference=float("nan"))).to_json(path)
    assert path.read_bytes() == before

    def breaks_off(self, text, **_):
        self.write_bytes(text.encode()[:100])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_text", breaks_off)
    with pytest.raises(OSError, match="disk full"):
        run_of(row(batch_size=64)).to_json(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


@settings(max_examples=150)
@given(st.data())
def test_a_damaged_document_is_refused(data):
    document = json.loads(run_of(row(), nuts=(NUTS,)).to_json())
    part = data.draw(st.sampled_from([document, document["rows"][0], document["nuts"][0]]))
    key = data.draw(st.sampled_from(sorted(part)))
    if data.draw(st.booleans()):
        del part[key]
    else:
        part[key] = data.draw(
            st.sampled_from([True, -1, [[]], {"a": 1}, 1e400]).filter(lambda value: value != part[key])
        )
        if key == "stamp" and part[key] == {"a": 1}:
            return
    with pytest.raises(InputError, match=r"damaged|no recording"):
        AcceleratorRun.from_json(json.dumps(document))


@given(st.integers(0, 1000))
def test_a_truncated_document_is_refused(cut):
    text = run_of(row(), nuts=(NUTS,)).to_json().rstrip()
    with pytest.raises(InputError, match="no JSON"):
        AcceleratorRun.from_json(text[: 1 + cut % (len(text) - 1)])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": VERSION + 1}, "git pull in its checkout"),
        ({"version": 0}, "version 0"),
        ({"format": "ledger"}, "no recording of an accelerator"),
        ({"surplus": 1}, "surplus"),
        ({"rows": [3]}, "got 3"),
        ({"stamp": {"accelerator": 3}}, "holds no fields"),
    ],
)
def test_another_document_says_what_it_is(change, words):
    with pytest.raises(InputError, match=words):
        AcceleratorRun.from_json(json.dumps({**json.loads(run_of(row()).to_json()), **change}))


def test_parts_of_unlike_lengths_are_refused():
    with pytest.raises(InputError, match="as many times of each part"):
        replace(row(), back_s=())
    document = json.loads(run_of(row()).to_json())
    document["rows"][0]["back_s"].pop()
    with pytest.raises(InputError, match="the text is damaged: net, float32, batch 8"):
        AcceleratorRun.from_json(json.dumps(document))


def test_a_frame_has_units_in_its_names():
    frame = run_of(row(100.0), row(200.0, batch_size=64)).to_frame()
    assert frame.total_us.tolist() == pytest.approx([100, 200])
    assert (frame.total_low_us < frame.total_us).all()
    assert (frame.total_us < frame.total_high_us).all()
    assert frame.rows_per_s.tolist() == pytest.approx([80_000, 320_000])


def test_the_table_tells_all_and_escapes_what_it_is_given():
    run = run_of(row(network="<b>"), nuts=(replace(NUTS, deviation_sd=0.5),), left_out=("x: too late",), busy="others")
    for part in ("Test <GPU> (gpu, driver 550.1), jax 0.1", "80,000", "1.0e-07", "left out: x: too late", "others",
                 "500 effective draws/s", "FAILED: NUTS on gpu: a posterior mean lies 0.50 sd"):  # fmt: skip
        assert part in repr(run)
    assert "&lt;b&gt;" in run._repr_html_()
    assert "<b>" not in run._repr_html_()
    assert run_of()._repr_html_().startswith("<table")


# -- where one overtakes the other --------------------------------------------------------------


def series(times, **fields):
    return run_of(*(row(t, batch_size=n, **fields) for n, t in times.items()))


def test_the_crossover_is_the_size_from_which_on_it_is_faster():
    cpu = series({1: 10, 8: 80, 64: 640, 512: 5120})
    assert series({1: 100, 8: 110, 64: 120, 512: 200}).crossover(cpu, "net") == 64
    assert series({1: 5, 8: 110, 64: 120, 512: 200}).crossover(cpu, "net") == 64  # not from 1 on
    assert series({1: 5, 8: 6, 64: 7}).crossover(cpu, "net") == 1
    assert cpu.crossover(series({512: 1}), "net") is None


def test_overlapping_intervals_are_not_called_faster():
    assert series({8: 99}, spread=0.05).crossover(series({8: 100}, spread=0.05), "net") is None
    assert series({8: 80}, spread=0.05).crossover(series({8: 100}, spread=0.05), "net") == 8
    assert series({8: 10}, rounds=5).crossover(series({8: 100}), "net") is None  # not bounded


def test_wrong_answers_are_never_faster():
    assert series({8: 10}, difference=1.0).crossover(series({8: 100}), "net") is None


@given(st.dictionaries(st.sampled_from([1, 8, 64, 512]), st.floats(1, 1e4), min_size=1),
       st.dictionaries(st.sampled_from([1, 8, 64, 512]), st.floats(1, 1e4), min_size=1))  # fmt: skip
def test_never_both_are_faster(a, b):
    if not a.keys() & b.keys():
        return
    one, other = series(a), series(b)
    found = one.crossover(other, "net"), other.crossover(one, "net")
    assert None in found
    for size in a.keys() & b.keys():
        if found[0] is not None and size >= found[0]:
            assert a[size] < b[size]


def test_networks_that_differ_are_not_compared():
    with pytest.raises(InputError, match="of other layers"):
        series({8: 10}).crossover(series({8: 100}, structure="cd" * 6), "net")
    with pytest.raises(InputError, match=r"measured \(net in float32\), got net in bfloat16"):
        series({8: 10}).crossover(series({8: 100}), "net", "bfloat16")
    with pytest.raises(InputError, match=r"expected a batch size of \[8\], got \[1\]"):
        series({8: 10}).crossover(series({1: 100}), "net")


# -- sampling -----------------------------------------------------------------------------------


def test_laplace_finds_the_truth_and_scikit_learns_peak():
    from sklearn.linear_model import LogisticRegression

    X, y, truth = _accelerator_nuts.patients()
    mean, sd = _accelerator_nuts.laplace(X, y)
    assert np.abs((mean - truth) / sd).max() < 4
    peak = LogisticRegression(C=_accelerator_nuts.PRIOR_SD**2, fit_intercept=False, tol=1e-10, max_iter=1000).fit(X, y)
    np.testing.assert_allclose(mean, peak.coef_[0], atol=1e-4)


def test_where_numpyro_is_missing_the_run_says_so(tiny, monkeypatch):
    monkeypatch.setattr(_accelerator_nuts, "find_spec", lambda name: None)
    backend = Pretended()
    plan = _Plan.checked(tiny, (1,), ("float32",), 1, 1000.0)
    run = _run(backend, plan, nuts=True, progress=False, clock=backend.clock)
    assert (run.nuts, run.failures) == ((), ())
    assert run.left_out == ("NUTS needs jax and numpyro, not installed here: pip install numpyro",)


def test_sampling_is_done_on_both_and_a_failure_is_told(tiny, monkeypatch):
    monkeypatch.setattr(_accelerator, "missing", lambda: None)
    monkeypatch.setattr(_accelerator, "sees", lambda kind: True)

    def sample(kind, clock):
        if kind == "gpu":
            raise RuntimeError("no memory")
        return replace(NUTS, device_kind=kind)

    monkeypatch.setattr(_accelerator, "sample", sample)
    backend = Pretended()
    run = _run(backend, _Plan.checked(tiny, (1,), ("float32",), 1, 1e3), nuts=True, progress=False, clock=backend.clock)
    assert run.failures == ("NUTS on gpu: RuntimeError: no memory",)
    assert [one.device_kind for one in run.nuts] == ["cpu"]
    monkeypatch.setattr(_accelerator, "sees", lambda kind: kind == "cpu")
    run = _run(backend, _Plan.checked(tiny, (1,), ("float32",), 1, 1e3), nuts=True, progress=False, clock=backend.clock)
    assert (run.failures, run.left_out) == ((), ("NUTS on gpu: JAX, on which NumPyro runs, sees none",))


# -- the script, and JAX --------------------------------------------------------------------------


@pytest.fixture
def recorded(monkeypatch):
    """Let the script get a run of our own."""

    def set_to(run):
        monkeypatch.setattr(record_accelerator, "accelerator_run", lambda **_: run)

    return set_to


def test_a_processor_is_recorded_only_if_it_was_asked_for(recorded, tmp_path, capsys):
    recorded(run_of(row(), kind="cpu"))
    path = tmp_path / "accelerator.json"
    assert record_accelerator.main(["--out", str(path)]) == 2
    assert not path.exists()
    assert "this ran on a cpu, not on a gpu" in capsys.readouterr().err
    assert record_accelerator.main(["--device", "cpu", "--out", str(path)]) == 0
    assert AcceleratorRun.from_json(path).device_kind == "cpu"
    assert record_accelerator.default_path(run_of(kind="cpu")).name == "accelerator-cpu.json"
    assert record_accelerator.default_path(run_of()).name == "accelerator.json"


def test_a_failure_is_recorded_and_ends_with_1(recorded, tmp_path):
    recorded(run_of(row(difference=1.0)))
    assert record_accelerator.main(["--out", str(tmp_path / "a.json")]) == 1
    assert AcceleratorRun.from_json(tmp_path / "a.json").failures


def test_without_a_gpu_the_script_says_why(monkeypatch, tmp_path, capsys):
    def refuse(**_):
        raise NoAcceleratorError("looked for a gpu")

    monkeypatch.setattr(record_accelerator, "accelerator_run", refuse)
    assert record_accelerator.main(["--out", str(tmp_path / "a.json")]) == 2
    assert "looked for a gpu" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


ON_JAX = """
import sys
from inferkit.roofline import accelerator_run
run = accelerator_run(device="cpu", networks=["digits-cnn"], batch_sizes=(1, 8), rounds=6, progress=False)
assert "tensorflow" not in sys.modules and "ai_edge_litert" not in sys.modules and "sklearn" not in sys.modules
run.to_json(sys.argv[1])
"""


@pytest.mark.rotated
def test_the_same_runs_on_jax_without_tensorflow(tmp_path):
    python = jax_python() or not_checked(
        "Keras on JAX: set INFERKIT_JAX_PYTHON to a Python with jax, numpyro and keras"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)}
    subprocess.run([python, "-c", ON_JAX, str(tmp_path / "run.json")], env=environment, cwd=tmp_path, check=True)
    run = AcceleratorRun.from_json(tmp_path / "run.json")
    assert run.failures == ()
    assert [(r.precision, r.batch_size) for r in run.rows] == [(p, n) for p in ("float32", "bfloat16") for n in (1, 8)]
    assert run.rows[0].difference * 100 < run.rows[2].difference
    assert run.stamp["accelerator"]["backend"] == "jax"
    assert run.nuts  # agrees with the fit by Newton's method, or it would stand among the failures

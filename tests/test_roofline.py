"""Peaks, layers under the roof, threads: held against closed forms, published counts, and clocks of our own."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferkit import InputError
from inferkit.datasets import load_signs
from inferkit.models import LiteRTModel, load_reference
from inferkit.optimize import read_layers
from inferkit.optimize._layers import read_file
from inferkit.predictor import digit_reader
from inferkit.roofline import Peaks, Rate, litert_matmul, measure_peaks, operations, roofline, thread_sweep
from inferkit.roofline._files import cut
from inferkit.roofline._units import groups, take_apart
from tests.machine import mirror_path, not_checked

SIGNS = load_signs().images[:64] / np.float32(255)
CACHES = {"L1d": 32_768, "L2": 1 << 20}


def rate(what, value, unit="GB/s"):
    return Rate(what, "NumPy", value, value, value, unit)


@pytest.fixture(scope="module")
def here():
    """Measure this machine's peaks in a moment."""
    return measure_peaks(max_seconds=0.1, progress=False)


@pytest.fixture
def known(here):
    """Give peaks of round numbers, on this machine."""
    rates = (rate("float32", 100.0, "GFLOP/s"), rate("int8", 400.0, "GFLOP/s"), rate("L1d", 200.0), rate("L2", 100.0))
    return Peaks((*rates, rate("DRAM", 20.0)), 1, here.stamp, CACHES)


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        return self.now


# -- the roof ----------------------------------------------------------------------------------


def test_the_roof_is_the_lower_of_peak_and_bandwidth(known):
    assert known.roof(1.0) == 20.0
    assert known.roof(1.0, level="L1d") == 100.0
    assert known.roof(5.0) == known.roof(1000.0) == 100.0
    assert known.roof(1000.0, "int8") == 400.0
    assert known.roof(0.0) == 0.0
    assert known.ridge() == 5.0
    assert known.ridge("int8", "L1d") == 2.0


def test_bytes_lie_in_the_quickest_level_that_holds_them(known):
    assert [known.level_of(n) for n in (0, 32_768, 32_769, 1 << 20, (1 << 20) + 1)] == [
        "L1d",
        "L1d",
        "L2",
        "L2",
        "DRAM",
    ]


def test_the_quicker_of_two_tools_is_the_peak(here):
    peaks = Peaks((rate("float32", 90.0, "GFLOP/s"), rate("float32", 110.0, "GFLOP/s")), 1, here.stamp, {})
    assert peaks.gflops() == 110.0


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda p: p.gflops("float16"), r"expected one that was measured here \(float32, int8\), got 'float16'"),
        (lambda p: p.gb_per_s("L4"), "expected one of L1d, L2, DRAM, got 'L4'"),
        (lambda p: p.roof(-1.0), "0 or more, got -1"),
        (lambda p: p.roof(float("nan")), "0 or more, got nan"),
    ],
)
def test_the_roof_refuses_what_was_not_measured(known, ask, message):
    with pytest.raises(InputError, match=message):
        ask(known)


# -- peaks -------------------------------------------------------------------------------------


def test_peaks_have_intervals_and_levels(here):
    assert {(r.what, r.by) for r in here.rates if r.unit == "GFLOP/s"} == {
        ("float32", "NumPy"), ("float32", "LiteRT"), ("int8", "LiteRT"),
    }  # fmt: skip
    assert here.levels[-1] == "DRAM"
    assert all(0 < one.low <= one.value <= one.high for one in here.rates)
    sizes = [one.n_bytes for one in here.rates if one.unit == "GB/s"]
    assert sizes == sorted(sizes)
    assert str(here.rates[0]) in repr(here)
    assert here._repr_html_().count("<tr>") == len(here.rates) + 1
    assert len(here.to_frame()) == len(here.rates)


def test_a_rate_is_work_over_time(monkeypatch):
    """On a clock on which each call takes 2 ms."""
    from inferkit.roofline import _peaks

    clock = Clock()

    def tick():
        clock.now += 2_000_000

    probes = [_peaks._Probe("float32", "x", "GFLOP/s", 4e6, tick), _peaks._Probe("L1d", "x", "GB/s", 1e6, tick)]
    monkeypatch.setattr(_peaks, "_computing", lambda threads: probes[:1])
    monkeypatch.setattr(_peaks, "_reading", lambda caches, threads, pool: probes[1:])
    found = measure_peaks(clock=clock, progress=False)
    assert [(one.value, one.low, one.high) for one in found.rates] == [(2.0, 2.0, 2.0), (0.5, 0.5, 0.5)]


def test_the_quickest_of_a_rounds_calls_counts_and_time_ends_it(monkeypatch):
    from inferkit.roofline import _peaks

    clock, calls = Clock(), []

    def slow():  # one call in three takes a third of the time
        calls.append(1)
        clock.now += 1_000_000_000 if len(calls) % 3 else 333_333_333

    monkeypatch.setattr(_peaks, "_computing", lambda threads: [_peaks._Probe("float32", "x", "GFLOP/s", 1e9, slow)])
    monkeypatch.setattr(_peaks, "_reading", lambda *_: [])
    found = measure_peaks(clock=clock, max_seconds=4.0, progress=False)
    assert found.gflops() == pytest.approx(3.0)
    assert len(calls) == 1 + 3 * 3  # three rounds in any case, and none after so long


@pytest.mark.parametrize("threads", [0, -1, True, 1.5, "2"])
def test_peaks_refuse_what_is_no_number_of_threads(threads):
    with pytest.raises(InputError, match="whole number above 0"):
        measure_peaks(threads=threads)


def test_peaks_refuse_more_threads_than_cores_and_time_below_nothing():
    with pytest.raises(InputError, match=r"at most the \d+ cores? that this process may use, got 4096.*thread_sweep"):
        measure_peaks(threads=4096)
    with pytest.raises(InputError, match="above 0, got 0"):
        measure_peaks(max_seconds=0)


# -- files -------------------------------------------------------------------------------------


@given(m=st.integers(1, 9), k=st.integers(1, 40), n=st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_a_written_layer_is_a_matrix_product(m, k, n):
    rows = np.random.default_rng(k).uniform(-1, 1, (m, k)).astype(np.float32)
    model = litert_matmul(m, k, n)
    (layer,) = read_layers(model)
    assert layer.macs == m * k * n
    np.testing.assert_allclose(model(rows), rows @ layer.weights.data.T, atol=1e-5)
    small = litert_matmul(m, k, n, "int8")
    real = read_layers(small)[0].weights.real
    step = next(iter(small.outputs.values())).scale
    # half a step of the answer, and of each row's numbers; what lies past the largest step is cut off
    exact = np.clip(rows @ real.T, -128 * step, 127 * step)
    assert np.abs(small(rows) - exact).max() <= 0.51 * step + 0.51 / 127 * np.abs(real).sum(axis=1).max()


def test_steps_of_eight_bits_are_long_enough_and_no_longer():
    model = litert_matmul(64, 256, 64, "int8")
    rows = np.random.default_rng(1).uniform(-1, 1, (64, 256)).astype(np.float32)
    largest = np.abs(rows @ read_layers(model)[0].weights.real.T).max()
    assert largest < 127 * next(iter(model.outputs.values())).scale < 2 * largest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, 1, 1), "m: expected a whole number above 0, got 0"), ((1, 2.0, 1), "k: "), ((1, 1, True), "n: ")],
)
def test_a_written_layer_needs_sizes(arguments, message):
    with pytest.raises(InputError, match=message):
        litert_matmul(*arguments)
    with pytest.raises(InputError, match="'float32' or 'int8', got 'int4'"):
        litert_matmul(1, 1, 1, "int4")


@pytest.mark.parametrize("name", ["signs-cnn", "digits-mobilenet", "digits-cnn", "digits-mlp", "churn-mlp"])
def test_layers_by_themselves_one_after_another_are_the_model(name):
    model = load_reference(name)
    (info,) = model.inputs.values()
    rows = np.random.default_rng(0).uniform(0, 1, (5, *info.shape[1:])).astype(np.float32)
    units = take_apart(model, (rows,), 1)
    last = next(iter(units[-1].answer().values()))
    np.testing.assert_allclose(last, model(rows), atol=1e-5)
    file = read_file(model.content)
    assert sorted(place for group in groups(file) for place in group) == list(range(len(file.main)))


def test_layers_of_integers_are_within_a_step_of_the_whole():
    model = load_reference("digits-cnn-int8")
    rows = digit_images()
    units = take_apart(model, (rows,), 1)
    from inferkit.roofline._units import _values

    values = _values(model, (rows,))
    for unit in units:
        for index, answer in unit.answer().items():
            if answer.dtype == np.int8:
                assert np.abs(answer.astype(int) - values[index]).max() <= 1


def digit_images():
    from inferkit.datasets import load_digits

    return (load_digits().images[:8] / 16).astype(np.float32)


def test_what_only_computes_a_shape_stays_with_the_layer_that_reads_it():
    file = read_file(load_reference("signs-cnn").content)
    assert [layer.op for layer in file.main][7:11] == ["SHAPE", "STRIDED_SLICE", "PACK", "RESHAPE"]
    assert [7, 8, 9, 10] in groups(file)


def test_a_cut_file_holds_the_constants_of_its_layers_alone():
    model = load_reference("signs-cnn")
    content, inputs, outputs = cut(model.content, [0])
    layer, whole = read_layers(content)[0], read_layers(model)[0]
    np.testing.assert_array_equal(layer.weights.data, whole.weights.data)
    assert layer.macs == whole.macs
    assert len(content) < len(model.content) / 10
    assert (inputs, outputs) == ((0,), (16,))


# -- operations --------------------------------------------------------------------------------


def test_operations_of_known_layers_by_closed_form():
    """signs-cnn as its card has it: 5×5 with stride 2, three 3×3, pooling after each of these, two dense layers."""
    found = {(one.op, one.output.shape): operations(one) for one in read_layers(load_reference("signs-cnn"))}
    assert found["CONV_2D", (1, 16, 16, 16)] == 2 * 16 * 16 * 16 * 5 * 5 * 3
    assert found["CONV_2D", (1, 4, 4, 48)] == 2 * 4 * 4 * 48 * 3 * 3 * 32
    assert found["MAX_POOL_2D", (1, 8, 8, 24)] == 8 * 8 * 24 * 4
    assert found["FULLY_CONNECTED", (1, 24)] == 2 * 192 * 24
    assert found["RESHAPE", (1, 192)] == 0


# Multiply-accumulates of one picture as their authors give them; ours count convolutions and dense layers alike.
PUBLISHED = {  # file: MACs in millions
    # A. G. Howard et al., "MobileNets", 2017, tables 6 and 7, and the authors' list of trained networks
    "mobilenet_v1_0.25_224_1_default_1.tflite": 41.0,
    "mobilenet_v1_0.25_224_quant.tflite": 41.0,
    "mobilenet_v1_0.25_128_quant.tflite": 14.0,
    "mobilenet_v1_0.75_192_quant.tflite": 325 * (192 / 224) ** 2,  # 325 at 224 points a side
    "mobilenet_v2_1.0_224_quant.tflite": 300.0,  # M. Sandler et al., "MobileNetV2", 2018, table 4
}


@pytest.mark.parametrize("file", PUBLISHED)
def test_a_published_networks_operations_are_those_published(file):
    mirror = mirror_path()
    paths = [] if mirror is None else sorted(mirror.rglob(file))
    if not paths:
        not_checked(f"{file} is not in the mirror; set INFERKIT_MIRROR to a folder that has it")
    macs = sum(layer.macs for layer in read_layers(paths[0]))
    assert macs / 1e6 == pytest.approx(PUBLISHED[file], abs=1)  # they are given in whole millions


# -- layers under the roof ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(here):
    return roofline(load_reference("signs-cnn"), SIGNS[:4], peaks=here, n=20, rounds=5, progress=False)


def test_work_is_that_of_the_file_times_the_rows(found):
    layers = [one for one in read_layers(load_reference("signs-cnn")) if one.macs]
    computed = [one for one in found.layers if one.macs]
    assert [one.macs for one in computed] == [4 * one.macs for one in layers]
    assert found.operations == sum(one.operations for one in found.layers)
    first = found.layers[0]
    assert first.n_bytes == 4 * 4 * (32 * 32 * 3 + 16 * 16 * 16) + 4 * (16 * 5 * 5 * 3 + 16)
    assert first.intensity == first.operations / first.n_bytes
    assert found.batch_size == 4


def test_shares_and_sums_follow_from_the_times(found, here):
    for one in found.layers:
        assert one.low_us <= one.time_us <= one.high_us
        if one.operations:
            assert one.roof_gflops == here.roof(one.intensity, one.dtype, one.level)
            assert one.share == pytest.approx(one.operations / (one.time_us * 1e3) / one.roof_gflops)
            assert one.share_alone >= one.share
    assert found.sum_us == pytest.approx(sum(one.time_us for one in found.layers))
    assert found.roof_us == pytest.approx(sum(one.roof_us for one in found.layers))
    assert found.share == pytest.approx(found.roof_us / found.whole_us)
    assert found.peak_share == pytest.approx(found.operations / found.whole_us / 1e3 / here.gflops())
    assert found.peak_share <= found.share * 1.0001  # a roof is never above the peak


def test_a_layer_that_only_moves_reaches_no_share(found):
    (moved,) = [one for one in found.layers if one.op == "RESHAPE"]
    assert (moved.operations, moved.share, moved.roof_us) == (0, 0.0, 0.0)


def test_names_are_those_of_the_layers(found):
    assert [one.name for one in found.layers if one.macs][:2] == ["conv2d_1", "conv2d_1_2"]
    assert found.layers[-1].name == "softmax"


def test_a_file_that_is_planned_for_several_rows_is_counted_once(known):
    one = roofline(litert_matmul(8, 16, 4), np.ones((8, 16), np.float32), peaks=known, n=2, rounds=1, progress=False)
    assert [(layer.macs, layer.n_bytes) for layer in one.layers] == [(8 * 16 * 4, 4 * (8 * 16 + 8 * 4 + 16 * 4))]


def test_the_times_are_those_of_the_clock(known):
    """A clock that moves by 1 µs at each reading: every call takes 1 µs."""
    clock = Clock()

    def ticking():
        clock.now += 1_000
        return clock.now

    one = roofline(
        load_reference("digits-mlp"), digit_images(), peaks=known, n=4, rounds=2, clock=ticking, progress=False
    )
    assert {layer.time_us for layer in one.layers} == {1.0}
    assert one.whole_us == one.call_us == 1.0
    assert one.sum_us == len(one.layers)


def test_time_ends_the_rounds(known):
    clock, readings = Clock(), []

    def ticking():
        readings.append(1)
        clock.now += 10**9
        return clock.now

    model = load_reference("digits-mlp")
    one = roofline(
        model, digit_images(), peaks=known, n=1000, rounds=1000, max_seconds=1, clock=ticking, progress=False
    )
    assert one.whole_us == 1e6
    assert len(readings) < 100  # one round of each


def test_display_and_figure_show_every_layer_that_computes(found):
    text = repr(found)
    assert len(text.splitlines()) == len(found.layers) + 2
    assert re.search(r"layers alone together .* \(\d+\.\d\d ×\)", text)
    assert found._repr_html_().count("<tr>") == len(found.layers) + 1
    assert len(found.to_frame()) == len(found.layers)
    ax = found.plot()
    (dots,) = ax.collections
    computing = [one for one in found.layers if one.operations]
    np.testing.assert_allclose(dots.get_offsets(), [(one.intensity, one.gflops) for one in computing])
    roofs = {line.get_ydata().max() for line in ax.lines}
    assert roofs == {found.peaks.gflops()}


def test_integers_have_the_roof_of_integers(here):
    one = roofline(load_reference("digits-cnn-int8"), digit_images(), peaks=here, n=4, rounds=2, progress=False)
    assert {layer.dtype for layer in one.layers if layer.macs} == {"int8"}
    largest = max(one.layers, key=lambda layer: layer.intensity)
    assert largest.roof_gflops == here.gflops("int8")


@pytest.mark.parametrize(
    ("model", "X", "message"),
    [
        (digit_reader(), np.zeros((1, 8, 8)), r"hand over predictor\.backend\.model"),
        (3, np.zeros((1, 8, 8)), "expected a LiteRTModel or a .tflite file"),
        (load_reference("digits-mlp"), np.zeros((1, 9, 9), np.float32), r"expected an array of shape \(any, 8, 8\)"),
        (load_reference("digits-mlp"), np.zeros((0, 8, 8), np.float32), "at least one row"),
        (load_reference("digits-mlp"), (np.zeros((1, 8, 8), np.float32),) * 2, "a tuple of 1 arrays"),
    ],
)
def test_what_cannot_be_taken_apart_is_refused_at_the_door(known, model, X, message):
    with pytest.raises(InputError, match=message):
        roofline(model, X, peaks=known)


def test_peaks_of_another_machine_or_other_threads_are_refused(known, here):
    model, X = load_reference("digits-mlp"), digit_images()
    other = Peaks(known.rates, 1, {**here.stamp, "machine_id": "0" * 12, "machine": "Another"}, CACHES)
    with pytest.raises(InputError, match=r"got those of Another.*measure_peaks\(\)"):
        roofline(model, X, peaks=other)
    with pytest.raises(InputError, match=r"measure_peaks\(threads=2\)"):
        roofline(model, X, peaks=known, threads=2)
    with pytest.raises(InputError, match="expected what measure_peaks"):
        roofline(model, X, peaks=100.0)


def test_a_model_with_a_loop_is_refused_by_name(known, tensorflow):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32)])
    def looping(x):
        return {"y": tf.while_loop(lambda i, _: i < 3, lambda i, z: (i + 1, z * 2.0), (tf.constant(0), x))[1]}

    module = tf.Module()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([looping.get_concrete_function()], module)
    model = LiteRTModel(converter.convert())
    with pytest.raises(InputError, match=r"loops or branches \(WHILE\).*unrolls"):
        roofline(model, np.ones((1, 4), np.float32), peaks=known)


# -- threads -----------------------------------------------------------------------------------


def waiting(clock, serial, parallel):
    """Return what makes calls that take ``serial + parallel / threads`` ns on a clock of our own."""

    def make(threads):
        def call():
            clock.now += round(serial + parallel / threads)

        return call

    return make


@given(share=st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_the_serial_share_is_amdahls(share):
    from unittest.mock import patch

    clock, whole = Clock(), 1e9
    with patch("inferkit.roofline._sweep.describe") as describe:
        describe.return_value.cores_granted = 8.0
        make = waiting(clock, share * whole, (1 - share) * whole)
        found = thread_sweep(make, threads=(1, 2, 4, 8), rounds=3, max_seconds=1e9, clock=clock, progress=False)
    assert found.serial_share == pytest.approx(share, abs=1e-6)
    for n in found.threads:
        assert found.speedup[n].value == pytest.approx(1 / (share + (1 - share) / n), rel=1e-6)


def test_more_threads_than_cores_are_measured_marked_and_left_out_of_the_fit(monkeypatch):
    from inferkit.roofline import _sweep

    clock = Clock()
    monkeypatch.setattr(_sweep, "describe", lambda: type("Here", (), {"cores_granted": 2.0})())

    def make(threads):
        def call():
            clock.now += {1: 100, 2: 60, 64: 900}[threads] * 10**6

        return call

    found = thread_sweep(make, threads=(1, 2, 64), rounds=2, clock=clock, progress=False)
    assert found.oversubscribed == (64,)
    assert found.serial_share == pytest.approx(0.2)  # 20 + 80 / n
    assert found.speedup[64].value == pytest.approx(1 / 9)
    assert "64 *" in repr(found)
    assert "more threads than the 2 cores granted" in repr(found)
    ax = found.plot()
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [1, 100 / 60, 100 / 900])


def test_a_model_gives_a_sweep_of_its_own_threads():
    found = thread_sweep(load_reference("signs-cnn"), SIGNS[:8], threads=(1, 2), rounds=3, progress=False)
    assert found.name == "signs-cnn"
    assert found.speedup[1] == (1.0, 1.0, 1.0)
    assert set(found.rounds_ms) == {1, 2}
    assert len(found.to_frame()) == 2
    low, high = found.intervals_ms[2]
    assert low <= found.times_ms[2] <= high
    assert found._repr_html_().count("<tr>") == 3


def test_one_number_of_threads_says_nothing_of_amdahl():
    clock = Clock()
    found = thread_sweep(waiting(clock, 1e6, 0), threads=(1,), rounds=2, clock=clock, progress=False)
    assert found.serial_share is None


@pytest.mark.parametrize("threads", [(), (2, 1), (1, 1), (0, 1), (1, 257), 4, "12", (1, 2.0), (True, 2)])
def test_threads_must_rise(threads):
    with pytest.raises(InputError, match="rising whole numbers from 1 to 256"):
        thread_sweep(load_reference("digits-mlp"), digit_images(), threads=threads)


def test_a_sweep_needs_rows_or_a_function():
    with pytest.raises(InputError, match="expected the rows of one call, got none"):
        thread_sweep(load_reference("digits-mlp"))
    with pytest.raises(InputError, match=r"expected make\(1\) to return a function, got int"):
        thread_sweep(lambda n: n, threads=(1, 2))


def test_probes_state_the_work_that_they_do():
    from inferkit.roofline import _peaks

    probes = list(_peaks._computing(1))
    assert {probe.work for probe in probes} == {2.0 * 512**3}
    layers = [read_layers(litert_matmul(512, 512, 512, dtype))[0] for dtype in ("float32", "int8")]
    assert [2 * layer.macs for layer in layers] == [probe.work for probe in probes[1:]]
    assert [(probe.what, probe.by) for probe in probes[1:]] == [("float32", "LiteRT"), ("int8", "LiteRT")]
    call, n_bytes = _peaks._reader(1 << 15)
    read = call()  # ones times ones: each product stands for two numbers of four bytes that were read
    assert read.sum() * 8 == n_bytes

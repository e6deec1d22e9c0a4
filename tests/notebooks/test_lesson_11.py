"""What lesson 11 does by hand, held against the library and against what must be so; its figures and its verdicts."""

import ast
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferkit import course, plots
from inferkit.datasets import load_signs
from inferkit.models import LiteRTModel, load_reference
from inferkit.optimize import read_layers
from inferkit.roofline import LayerPoint, Peaks, Rate, Roofline, ThreadSweep, litert_matmul
from notebooks.source import SOURCES, read, solution, tags

SOURCE = SOURCES / "11_hardware_acceleration.py"
CODE = [cell for cell in read(SOURCE).cells if cell.cell_type == "code"]
EXERCISES = solution(read(SOURCES / "exercises" / SOURCE.name)).cells
SHARED = {
    "np": np, "plt": plt, "slide_size": plots.slide_size, "COLOURS": plots.COLOURS, "LiteRTModel": LiteRTModel,
    "read_layers": read_layers, "course": course, "Markdown": lambda text: text,
}  # fmt: skip


def cell_with(text: str) -> str:
    """Return the code of the only cell that holds a text."""
    (found,) = [cell.source for cell in CODE if text in cell.source]
    return found


def run(*texts: str, **names: Any) -> dict[str, Any]:
    """Run the cells with these texts; return what they leave behind."""
    space = SHARED | names
    for text in texts:
        exec(cell_with(text), space)
    return space


def definition(name: str, cells: Any = None, **names: Any) -> Any:
    """Return one function of the lesson, or of other cells, without what else stands in its cell."""
    (node,) = [
        node
        for cell in cells or CODE
        if cell.cell_type == "code"
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    space = SHARED | names
    exec(ast.unparse(node), space)
    return space[name]


by_loop, work_of, amdahl, alone, keep = map(definition, ("by_loop", "work_of", "amdahl", "alone", "keep"))
crossover = definition("crossover")
systolic = definition("systolic", skewed=definition("skewed"))
intensity, tiled = definition("intensity", EXERCISES), definition("tiled", EXERCISES)
first_batch = definition("first_batch", EXERCISES, intensity=intensity)


@pytest.fixture(scope="module")
def network() -> Any:
    return load_reference("signs-cnn")


@pytest.fixture(scope="module")
def layers(network: Any) -> list[Any]:
    return [layer for layer in read_layers(network) if layer.weights]


# -- counting ---------------------------------------------------------------------------------


@given(data=st.lists(st.lists(st.floats(-9, 9), min_size=3, max_size=3), min_size=1, max_size=4))
def test_the_loop_is_the_matrix_product(data):
    B = np.arange(12.0).reshape(3, 4)
    np.testing.assert_allclose(by_loop(data, B.tolist()), np.array(data) @ B, atol=1e-9)


@given(m=st.integers(1, 40), k=st.integers(1, 40), n=st.integers(1, 40))
@settings(max_examples=20)
def test_the_work_of_a_dense_layer_is_counted_from_its_arrays(m, k, n):
    (layer,) = read_layers(litert_matmul(m, k, n))
    bias = SimpleNamespace(size=n)
    given_layer = SimpleNamespace(output=SimpleNamespace(size=n), weights=layer.weights, bias=bias,
                                  inputs=[SimpleNamespace(size=k)])  # fmt: skip
    operations, n_bytes = work_of(given_layer, m)
    arrays = [np.zeros(shape, np.float32) for shape in ((m, k), (k, n), (m, n), (n,))]
    assert operations == 2 * m * k * n
    assert n_bytes == sum(array.nbytes for array in arrays)


def test_the_work_of_the_signs_is_the_librarys(layers):
    assert [work_of(layer)[0] for layer in layers] == [2 * layer.macs for layer in layers]
    once, often = (np.array([work_of(layer, n) for layer in layers]) for n in (1, 64))
    assert (often[:, 0] == 64 * once[:, 0]).all()
    assert (often[:, 0] / often[:, 1] > once[:, 0] / once[:, 1]).all()


def test_the_roof_is_the_lower_of_two_walls():
    roof = definition("roof")
    np.testing.assert_allclose(roof(np.array([0.1, 5, 1000]), 100, 20), [2, 100, 100])


def test_in_turns_gives_medians_and_calls_everything_as_often():
    called = []
    ticks = iter(range(1000))
    in_turns = definition("in_turns", perf_counter=lambda: next(ticks))
    found = in_turns({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, rounds=4)
    assert found == {"a": 1e6, "b": 1e6}
    assert called == ["a", "a", "b", "b"] * 4, "once to warm up, once timed"


def test_reading_counts_every_byte_that_a_dot_product_reads():
    calls = []

    def fake(work, take):
        ((_, call),) = work.items()
        calls.append(call())
        return {"read": 1000.0}

    rate = definition("reading", in_turns=fake)(2**20)
    assert calls[0].shape == (8,)
    assert (calls[0] == 2**20 // 8).all(), "two arrays of half the bytes each, four bytes a number"
    assert rate == pytest.approx(8 * 2**20 / 1e6)


@pytest.mark.parametrize(
    ("flags", "lanes"),
    [([], (2, 4, 8)), (["AVX2"], (4, 8, 16)), (["AVX2", "AVX-VNNI"], (4, 8, 32)),
     (["AVX2", "AVX-512", "VNNI"], (8, 16, 64)), (["NEON", "DOTPROD"], (2, 4, 16))],
)  # fmt: skip
def test_lanes_follow_the_width_of_a_register(flags, lanes):
    assert tuple(run("WIDTHS = {")["lanes"](flags).values()) == lanes


# -- threads ----------------------------------------------------------------------------------


def sweep_of(times: dict[int, float], cores: float) -> ThreadSweep:
    return ThreadSweep("a", tuple(times), {n: np.full(6, t) for n, t in times.items()}, cores)


@given(share=st.floats(0, 1), cores=st.sampled_from([2, 4, 8]))
def test_the_share_that_one_must_do_alone_is_found_again(share, cores):
    sweep = sweep_of({n: 3 / amdahl(n, share) for n in (1, 2, 4)}, cores)
    assert alone(sweep) == pytest.approx(share, abs=1e-9)
    assert alone(sweep) == pytest.approx(sweep.serial_share, abs=1e-9)


def test_one_core_has_nothing_to_fit():
    sweep = sweep_of({1: 1.0, 2: 1.1, 4: 1.3}, 1)
    assert alone(sweep) is None is sweep.serial_share


# -- cards ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cards() -> dict[str, Any]:
    one = SimpleNamespace(layers=[SimpleNamespace(operations=1)] * 10 + [SimpleNamespace(operations=0)],
                          operations=3_700_000)  # fmt: skip
    return run("cards = {", one=one, X=np.zeros((1, 32, 32, 3), np.float32))


def test_a_card_takes_starts_transfer_and_operations(cards):
    starts, transfer, operations = cards["on_card"](64, "NVIDIA T4")
    assert starts == pytest.approx(10 * 10e-6), "layers that compute nothing are not started"
    assert transfer == pytest.approx(64 * (32 * 32 * 3 * 4 + 12 * 4) / 15.75e9)
    assert operations == pytest.approx(64 * 3.7e6 / 8.1e12)


@given(first=st.floats(1, 400), slope=st.floats(2, 300))
def test_the_crossover_is_the_first_batch_at_which_the_card_is_ahead(cards, first, slope):
    cpu = {1: first, 512: first + 511 * slope}
    crossover.__globals__.update(cpu=cpu, slope=slope, on_card=cards["on_card"])
    found = crossover("NVIDIA T4")
    ahead = [n for n in range(1, 200) if 1e6 * sum(cards["on_card"](n, "NVIDIA T4")) < first + (n - 1) * slope]
    if found < 200 and abs(1e6 * sum(cards["on_card"](found, "NVIDIA T4")) - first - (found - 1) * slope) > 1e-6:
        assert found == ahead[0]


def test_a_card_that_wins_nothing_never_overtakes(cards):
    crossover.__globals__.update(cpu={1: 5.0, 512: 5.0}, slope=0.0, on_card=cards["on_card"])
    assert crossover("NVIDIA T4") is None


# -- TPU, FPGA --------------------------------------------------------------------------------


@given(m=st.integers(1, 12), n=st.integers(1, 9), seed=st.integers(0, 99))
def test_a_systolic_array_gives_the_product_in_so_many_ticks(m, n, seed):
    rng = np.random.default_rng(seed)
    A, W = rng.integers(-9, 10, (m, n)), rng.integers(-9, 10, (n, n))
    out, ticks = systolic(A, W)
    np.testing.assert_array_equal(out, A @ W)
    assert ticks == m + 2 * n - 2


def test_the_wave_shows_the_cells_that_work():
    """The cells at work, added over all ticks, are the products of the matrix product."""
    m, n = 3, 4
    fig = definition("wave_figure")(m, n, range(m + 2 * n - 2))
    assert sum(np.asarray(ax.images[0].get_array()).sum() for ax in fig.axes) == m * n * n
    plt.close(fig)


@pytest.fixture(scope="module")
def circuits(layers) -> dict[str, Any]:
    return run("clock, stations = ", layers=layers)


@given(budget=st.integers(60, 20_000))
@settings(max_examples=20, deadline=None)
def test_multipliers_are_shared_so_that_the_slowest_station_is_as_quick_as_can_be(circuits, budget):
    macs = circuits["macs_of"]
    given_out = circuits["shared"](budget)
    interval = np.ceil(macs / given_out).max()
    assert given_out.sum() <= budget
    if interval > 1:
        assert np.ceil(macs / (interval - 1)).sum() > budget, "one tick less would need more than there are"


def test_the_text_on_the_circuits_says_what_is_computed(circuits):
    macs, designs = circuits["macs_of"], circuits["designs"]
    interval = {name: np.ceil(macs / given_out).max() for name, given_out in designs.items()}
    every, shared, _ = designs
    assert designs[every].sum() / 2 / 2520 == pytest.approx(6, abs=0.1)
    assert 1 - macs.sum() / (designs[every].sum() * interval[every]) == pytest.approx(0.75, abs=0.02)
    assert interval[every] == 256
    assert interval[every] / interval[shared] == pytest.approx(2 / 3, abs=0.04)


# -- energy and formats -----------------------------------------------------------------------


def test_energy_is_counted_by_operation_and_by_number(circuits):
    found = run("pJ = {", in_rows=lambda *_: None, macs_of=circuits["macs_of"], weights_of=circuits["weights_of"])["uJ"]
    macs, weights = 1_860_384, 30_288
    assert list(found.values()) == pytest.approx(
        [macs * 0.3e-6, macs * 4.6e-6, weights * 160e-6, weights * 640e-6, macs * 10e-6]
    )


def test_without_a_counter_no_energy_is_claimed_and_with_one_it_is_divided(network):
    energy = definition("energy_of_an_answer", network=lambda x: x, X=[0], perf_counter=iter((0, 1, 1, 3)).__next__)
    assert energy(SimpleNamespace(available=False)).startswith("not known")
    readings = iter((0, 10))
    counter = SimpleNamespace(available=True, read=lambda: next(readings), joules=lambda a, b: (b - a) / 1e3)
    assert energy(counter).startswith("5,000 µJ"), "10 mJ for two answers"


@given(x=st.floats(-(2.0**99), 2.0**99, width=32).filter(lambda x: abs(x) > 1e-30), mantissa=st.integers(1, 22))
def test_a_shorter_mantissa_is_off_by_half_a_step_at_most(x, mantissa):
    kept = keep([x], mantissa)[0]
    assert abs(kept - x) <= abs(x) * 2.0 ** -(mantissa + 1)
    exponent = np.frexp(kept)[1]
    assert kept * 2.0 ** (mantissa + 1 - exponent) % 1 == 0, "no more bits than were to be kept"


@given(x=st.floats(-60_000, 60_000, width=32).filter(lambda x: abs(x) > 1e-3))
def test_ten_bits_of_mantissa_are_those_of_float16(x):
    assert keep([x], 10)[0] == pytest.approx(float(np.float16(x)), rel=2**-10)


def test_the_network_by_hand_is_the_runtimes(network):
    from numpy.lib.stride_tricks import sliding_window_view

    convolve = definition("convolve", sliding_window_view=sliding_window_view)
    after = definition("after", convolve=convolve)
    answer = definition("answer", after=after, network=network)
    X = load_signs().images[300:312] / np.float32(255)
    np.testing.assert_allclose(answer(X, lambda x: x), network(X), atol=1e-6)


# -- figures ----------------------------------------------------------------------------------

RATES = (
    Rate("float32", "NumPy", 100.0, 99.0, 101.0, "GFLOP/s"), Rate("int8", "LiteRT", 400.0, 399.0, 401.0, "GFLOP/s"),
    Rate("L1d", "NumPy", 120.0, 119.0, 121.0, "GB/s"), Rate("DRAM", "NumPy", 20.0, 19.0, 21.0, "GB/s"),
)  # fmt: skip
PEAKS = Peaks(RATES, 1, {"machine": "a machine", "machine_id": "0"}, {"L1d": 32768})


def roofline_of(batch_size: int, time_us: float = 10.0) -> Roofline:
    layers = [
        LayerPoint(op, op, "float32", work // 2, work, n_bytes, time_us, 9.0, 11.0, "L1d", 100.0, 0.5)
        for op, work, n_bytes in (("CONV_2D", 400_000, 20_000), ("FULLY_CONNECTED", 8_000, 16_000), ("RESHAPE", 0, 8))
    ]
    return Roofline("a", tuple(layers), 2 * time_us, 1.0, 99.0, 0.5, batch_size, 1, PEAKS)


@pytest.fixture
def poster():
    plots.use_style()
    cells = ("NEAR = {", "def draw_slopes(", "def draw_peaks(", "def draw_layers(", "def draw_whole(", "def poster(")
    code = cell_with("NEAR = {").replace("from inferkit.plots import COLOURS, show, slide_size, use_style", "")
    space = dict(SHARED)
    exec(code, space)
    for text in cells[1:]:
        exec(cell_with(text), space)
    yield space["poster"]
    plt.close("all")


def drawn(fig: Any) -> list[tuple[float, float]]:
    """Return the places of all marks, layers first."""
    return [tuple(point) for line in fig.axes[0].lines if line.get_marker() != "None" for point in line.get_xydata()]


def test_the_poster_has_every_layer_at_its_place_and_the_guess_as_a_share_of_the_peak(poster):
    fig = poster(roofline_of(1), roofline_of(64, time_us=5.0), guessed=30)
    marks = drawn(fig)
    assert marks[:2] == [(20.0, 40.0), (0.5, 0.8)], "operations a byte, billions a second"
    assert marks[2:4] == [(20.0, 80.0), (0.5, 1.6)]
    whole, guess = marks[4:]
    assert whole == pytest.approx((408_000 / 36_008, 408_000 / 20 / 1000))
    assert guess == pytest.approx((whole[0], 30.0))
    assert "your guess" in {text.get_text() for text in fig.axes[0].texts}


def test_the_roofs_of_the_poster_are_those_of_the_machine(poster):
    fig = poster(roofline_of(1), roofline_of(64))
    lines = [line.get_xydata() for line in fig.axes[0].lines if line.get_marker() == "None"]
    for roof, speed in zip(lines[:2], (120, 20), strict=True):
        np.testing.assert_allclose(roof[:, 1], np.minimum(100, speed * roof[:, 0]))
    assert [set(line[:, 1]) for line in lines[2:]] == [{100.0}, {400.0}]
    assert "your guess" not in {text.get_text() for text in fig.axes[0].texts}


def test_another_time_is_another_poster(poster):
    frozen = plots.figure_data(poster(roofline_of(1), roofline_of(64)))
    assert plots.compare_figure_data(frozen, plots.figure_data(poster(roofline_of(1), roofline_of(64)))) == []
    assert plots.compare_figure_data(frozen, plots.figure_data(poster(roofline_of(1, 11.0), roofline_of(64)))) != []


def test_the_threads_figure_shows_what_was_measured():
    plots.use_style()
    names = {"NEAR": {"textcoords": "offset points", "size": 14}}
    draw = definition("threads_figure", draw_sweep=definition("draw_sweep", **names), **names)
    fig = draw({1: sweep_of({1: 4.0, 2: 4.0, 4: 8.0}, 2), 64: sweep_of({1: 4.0, 2: 2.0, 4: 2.0}, 2)})
    curves = [line.get_ydata().tolist() for line in fig.axes[0].lines if line.get_marker() == "o"]
    assert curves == [[1, 1, 0.5], [1, 2, 2]]
    assert {"1 picture: 0.50 ×", "64 pictures: 2.00 ×"} <= {text.get_text() for text in fig.axes[0].texts}
    plt.close(fig)


# -- verdicts ---------------------------------------------------------------------------------


def verdicts(**changes: Any) -> list[str]:
    fast, slow = SimpleNamespace(low=0.4, high=0.6, value=0.5), SimpleNamespace(low=2.0, high=4.0, value=3.0)
    space = {
        "cards": {"NVIDIA T4": 0}, "on_card": lambda n, _: (100e-6, n * 1e-6), "cpu": {1: 50.0, 512: 25_000.0},
        "ratios": {"a": fast, "b": slow}, "ahead": {"NVIDIA T4": 3}, "computed": 9.0, "fetched": 19.0,
        "in_rows": lambda *_: None,
    }  # fmt: skip
    return list(run("batch_1 = {", "said = {", **space | changes)["said"].values())


def test_verdicts_follow_what_was_measured():
    said = verdicts()
    assert said[0].startswith("no: ")
    assert said[1].startswith("holds: ahead from 3")
    assert "0.4% of 128 × 128" in said[2]
    assert said[3] == "of 2: 1 faster, 1 slower"
    assert said[4] == "holds: 20,000 a second, one core"
    other = verdicts(cpu={1: 20_000.0, 512: 100.0}, ratios={"a": SimpleNamespace(low=0.9, high=1.1, value=1.0)})
    assert other[0].startswith("holds: ")
    assert other[1].startswith("no: ")
    assert other[3] == "of 1: 0 faster, 0 slower"
    assert other[4].startswith("no: 50 ")


@pytest.mark.parametrize(
    ("low", "high", "said"), [(0.4, 0.6, "helps"), (1.5, 2.0, "hurts"), (0.9, 1.1, "no clear difference")]
)
def test_a_compiler_is_judged_by_its_interval(low, high, said):
    verdict = definition("verdict")
    assert verdict(SimpleNamespace(low=low, high=high, value=1.0)).startswith(f"{said}: 1.00 ×")


# -- play -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def widget(cards) -> dict[str, Any]:
    measured = {(s, n, d): 2 * s**3 / 50_000 for s in (32, 1024) for n in (1, 2, 4) for d in ("float32", "int8")}
    names = {"cards": cards["cards"], "start_s": 10e-6, "measured": measured, "peaks": PEAKS, "sides": [32, 1024]}
    return run("board = {", "def place(", "def under_the_roof(", **names)


def words(parts: Any) -> dict[str, str]:
    return {part.label: part.words for part in parts if part.kind == "text"}


def test_the_widget_says_whether_a_time_was_measured_or_computed(widget):
    for device in widget["devices_of"]:
        told = words(widget["under_the_roof"](1024, 1, device))
        assert told["this is"] == ("computed" if device.startswith("NVIDIA") else "measured")


def test_the_widget_places_a_measured_product(widget):
    parts = widget["under_the_roof"](1024, 2, "this CPU, float32")
    dots = [part for part in parts if part.kind == "points"]
    assert dots[1].x.tolist() == pytest.approx([1024 / 6])
    assert dots[1].y.tolist() == pytest.approx([50.0])
    assert words(parts)["of its peak"] == "50.0%"
    whole = widget["under_the_roof"](1024, 2, "this CPU, int8")
    assert [part for part in whole if part.kind == "points"][1].x.tolist() == pytest.approx([4 * 1024 / 6])


def test_a_computed_card_starts_sends_and_computes(widget):
    us, peak, memory = widget["product"](1024, 1, "NVIDIA T4, computed")
    assert us == pytest.approx(10 + 1e6 * (8 * 1024**2 / 15.75e9 + 2 * 1024**3 / 8.1e12))
    assert (peak, memory) == pytest.approx((8100, 320))
    slow, *_ = widget["product"](32, 4, "NVIDIA T4, computed")
    assert slow > 10, "a small product is a start, and little else"


# -- break it ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def symptoms(cards) -> dict[str, list[float]]:
    names = {"on_card": cards["on_card"], "X": np.zeros((1, 32, 32, 3), np.float32)}
    found = run("reports = {", "def row_of(", **names)["symptoms"]
    return {name: [float(cell.replace(",", "")) for cell in cells] for name, *cells in found}


def test_each_symptom_is_in_the_table_and_the_honest_one_has_none(symptoms):
    for name, (says, median, run_s, rows, cpu_rows, sent, _) in symptoms.items():
        signs = {
            "ash": run_s * 1000 > 2 * 200 * says,
            "beech": says > 2 * median,
            "cherry": sent < 200 * rows * 32 * 32 * 3 * 4 / 1e6 / 2,
            "hazel": rows != cpu_rows,
        }
        assert [culprit for culprit, seen in signs.items() if seen] == ([] if name == "honest" else [name])


def test_who_sends_once_saves_the_transfer(cards, symptoms):
    starts, _, operations = cards["on_card"](64, "NVIDIA T4")
    assert symptoms["cherry"][1] == pytest.approx(1000 * (starts + operations), rel=0.03)
    assert symptoms["honest"][1] > 1.2 * symptoms["cherry"][1]


def test_naming_the_mistakes_passes_and_a_blank_does_not(capsys):
    right = {"ash": "did not wait", "beech": "compiled in the mean", "cherry": "sent the rows once",
             "hazel": "batches not alike"}  # fmt: skip
    for suspicion, marks in ((right, "✓✓✓✓"), (dict.fromkeys(right, ...), "✗✗✗✗"), (right | {"beech": "x"}, "✓✗✓✓")):
        run("mistakes = {", suspicion=suspicion)
        assert "".join(line[0] for line in capsys.readouterr().out.splitlines()) == marks


# -- exercises --------------------------------------------------------------------------------


@given(ridge=st.floats(0.1, 30), k=st.integers(1, 200), n=st.integers(1, 200))
@settings(deadline=None)
def test_the_first_batch_reaches_the_ridge_and_the_one_before_does_not(ridge, k, n):
    if 2 * k * n / (4 * (k + n)) > 1.001 * ridge:
        m = first_batch(ridge, k, n)
        assert intensity(m, k, n) >= ridge
        assert m == 1 or intensity(m - 1, k, n) < ridge
    elif 2 * k * n / (4 * (k + n)) < ridge:
        assert first_batch(ridge, k, n) is None


@given(m=st.integers(1, 9), k=st.integers(1, 20), width=st.integers(1, 20), n=st.integers(1, 9))
def test_tiles_give_the_product_and_each_takes_its_ticks(m, k, width, n):
    rng = np.random.default_rng(m)
    A, W = rng.integers(-9, 10, (m, k)), rng.integers(-9, 10, (k, width))
    out, ticks = tiled(A, W, n)
    np.testing.assert_array_equal(out, A @ W)
    assert ticks == -(-k // n) * -(-width // n) * systolic(np.zeros((m, n)), np.zeros((n, n)))[1]


# -- the whole --------------------------------------------------------------------------------


def test_what_gives_answers_away_is_folded_and_nothing_that_is_taught():
    folded = [cell for cell in CODE if cell.metadata.get("jupyter", {}).get("source_hidden")]
    giveaways = ("course.quiz(", "mistakes = {", "reports = {", "def row_of(")
    assert all(any(text in cell.source for text in giveaways) for cell in folded)
    assert len(folded) == 8
    assert all("measured" not in tags(cell) for cell in folded)

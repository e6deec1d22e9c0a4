"""What lesson 03 draws from measurements, drawn from frozen ones; what it says by hand, held against the library."""

import ast
import math
import sys
import time

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.ticker import LogLocator
from scipy.stats import binom

from inferkit import benchmark, plots
from notebooks.source import SOURCES, read, tags

SOURCE = SOURCES / "03_measuring_honestly.py"
CODE = [cell for cell in read(SOURCE).cells if cell.cell_type == "code"]


def cell_with(text: str) -> str:
    """Return the code of the only cell that holds a text."""
    (found,) = [cell.source for cell in CODE if text in cell.source]
    return found


def functions(*texts: str, **names):
    """Return what the functions of the lesson with these first words are, once their cells have run."""
    space = {"np": np, "plt": plt, "slide_size": plots.slide_size, "LogLocator": LogLocator} | names
    for text in texts:
        exec(cell_with(text), space)
    return space


@pytest.fixture
def drawing():
    plots.use_style()
    yield functions("def sorted_figure(", "def note(", "def tail_figure(", "def draw_rung(", "def ladder_figure(")
    plt.close("all")


def texts_of(ax):
    return {text.get_text(): text for text in ax.texts}


# -- figures -----------------------------------------------------------------------------------


def test_sorted_calls_carry_their_marks(drawing):
    """99 calls of 1 ms and 101 of 3 ms, out of order: the median and the p99 are 3, the mean between."""
    _, ax = drawing["sorted_figure"]([3.0, 1.0] * 99 + [3.0, 3.0], "ms")
    dots, *marks, mean = ax.lines
    assert dots.get_ydata().tolist() == [1.0] * 99 + [3.0] * 101
    assert dots.get_xdata()[[0, -1]].tolist() == [0.5, 100.0]
    assert [mark.get_xydata().tolist() for mark in marks] == [[[50.0, 3.0]], [[99.0, 3.0]]]
    assert set(mean.get_ydata()) == {2.01}
    assert texts_of(ax).keys() == {"median 3 ms", "p99 3 ms", "mean 2.01 ms"}
    assert ax.get_yscale() == "log"


def test_the_tail_says_which_share_waits_longer(drawing):
    """Of 100 calls one takes 50 ms: that one stands at half a hundredth, as nobody waits longer than the slowest."""
    fig = drawing["tail_figure"]({"closed loop": [50.0] + [1.0] * 99, "open loop": [2.0] * 100})
    (ax,) = fig.axes
    closed, opened = ax.lines
    assert closed.get_xydata()[-1].tolist() == [pytest.approx(0.5), 50.0]
    assert closed.get_xydata()[0].tolist() == [pytest.approx(99.5), 1.0]
    assert set(opened.get_ydata()) == {2.0}
    labels = texts_of(ax)
    assert labels["closed loop"].xy == (3, 1.0)
    assert labels["open loop"].get_color() == opened.get_color() != labels["closed loop"].get_color()
    left, right = ax.get_xlim()
    assert left > right, "the rare lies on the right"


RUNGS = [("Keras predict", 4e4, 3.9e4, 4.1e4, 6e4), ("LiteRT", 10.0, 9.0, 12.0, 20.0), ("linear model", 70, 60, 80, 90)]


def test_the_ladder_has_a_rung_for_each_with_interval_and_p90(drawing):
    fig = drawing["ladder_figure"](RUNGS, guess_us=500.0)
    (ax,) = fig.axes
    spans = [sorted(line.get_xdata()) for line in ax.lines]
    for place, (name, p50, low, high, p90) in enumerate(reversed(RUNGS)):
        mine = [sorted(line.get_xdata()) for line in ax.lines if set(line.get_ydata()) == {place}]
        assert mine[:3] == [[p50, p90], [low, high], [p50]], name
    assert [1e5, 1e5] in spans, "a blink"
    labels = texts_of(ax)
    assert labels.keys() == {
        "Keras predict  40.0 ms", "LiteRT  10.0 µs", "linear model  70.0 µs", "your guess", "a blink",
    }  # fmt: skip
    assert labels["your guess"].xy[0] == 500.0
    assert labels["LiteRT  10.0 µs"].get_color() != labels["linear model  70.0 µs"].get_color()
    assert ax.get_xscale() == "log"


def test_without_a_guess_none_is_marked(drawing):
    assert "your guess" not in texts_of(drawing["ladder_figure"](RUNGS).axes[0])


def test_another_measurement_is_another_figure(drawing):
    frozen = plots.figure_data(drawing["ladder_figure"](RUNGS))
    assert plots.compare_figure_data(frozen, plots.figure_data(drawing["ladder_figure"](RUNGS))) == []
    slower = [*RUNGS[:2], ("linear model", 140, 120, 160, 180)]
    assert plots.compare_figure_data(frozen, plots.figure_data(drawing["ladder_figure"](slower))) != []


def test_ticks_are_plain_numbers():
    fig, ax = plt.subplots()
    ax.semilogy([1, 2], [1, 60])
    functions("def note(")["plain_ticks"](ax.yaxis)
    fig.draw_without_rendering()
    assert {"1", "2", "5", "10", "20", "50"} <= {label.get_text() for label in ax.get_yticklabels()}
    plt.close(fig)


# -- by hand -----------------------------------------------------------------------------------


@given(n=st.integers(1, 3000), q=st.sampled_from([0.05, 0.5, 0.9, 0.95, 0.99]))
def test_the_ranks_in_the_open_are_the_librarys(n, q):
    low, high = RANKS(n, q)
    values = np.arange(1, n + 1)
    expected = benchmark.percentile_interval(values, 100 * q)
    assert (low if low >= 1 else None, high if high <= n else None) == expected
    assert low == 0 or binom.cdf(low - 1, n, q) <= 0.025
    assert 1 - binom.cdf(high - 1, n, q) <= 0.025


RANKS = functions("def ranks(", print=lambda *_: None)["ranks"]
BY_RANK = functions("def by_rank(", sample=np.arange(1.0, 101.0), sorted=sorted)["by_rank"]


@given(n=st.integers(662, 3000), q=st.sampled_from([50, 90, 95, 99]), seed=st.integers(0, 99))
def test_the_percentile_in_the_open_is_the_librarys(n, q, seed):
    values = np.random.default_rng(seed).integers(1, 1000, n)  # with ties
    assert BY_RANK(values, q) == benchmark.percentile(values, q).value


def test_the_samples_that_it_takes_are_the_librarys():
    shown = []
    functions('print(f"no call of 100', Markdown=shown.append, print=lambda *_: None)
    rows = dict(line.strip("| ").split(" | ", 1) for line in shown[0].splitlines()[2:])
    for q in (50, 90, 99, 99.9):
        first, second = (int(part.split()[0].replace(",", "")) for part in rows[f"p{q:g}"].split(" | "))
        assert second == benchmark.samples_needed(q)
        beyond = 1 - q / 100
        assert (1 - beyond) ** first <= 0.01 < (1 - beyond) ** (first - 1)
    assert rows["p99"] == "459 calls | 662 calls"


def test_the_pretended_service_is_what_the_text_says():
    """Some 3 ms, and three calls in a hundred wait."""
    times = functions("def pretend(")["pretend"](100_000, np.random.default_rng(0))
    assert np.median(times) == pytest.approx(3, rel=0.02)
    assert 0.02 < np.mean(times > 4.5) < 0.03


# -- the service that stands still ----------------------------------------------------------------


def test_the_service_stands_still_for_60_ms_twice_a_second(monkeypatch):
    slept = []
    serve = functions("def service(X)", model=lambda X: "answer")["service"]
    monkeypatch.setattr(time, "sleep", slept.append)
    for now, pause in ((10.0, 0.06), (10.52, 0.04), (10.55, 0.01), (10.06, None), (10.3, None)):
        monkeypatch.setattr(time, "perf_counter", lambda now=now: now)
        slept.clear()
        assert serve("picture") == "answer"
        assert slept[0] == 0.001
        assert slept[1:] == ([pytest.approx(pause)] if pause else [])


def test_calls_are_counted_and_the_profile_is_taken_away():
    count = functions("def calls_of(", x=None)["calls_of"]

    def inner():
        return math.sqrt(4)

    assert count(lambda _: None) < count(lambda _: inner()) < count(lambda _: [inner() for _ in range(50)])
    assert sys.getprofile() is None


# -- break it --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reports():
    pretend = functions("def pretend(")["pretend"]
    return functions("runs = {", pretend=pretend, by_rank=BY_RANK)["runs"]


def test_each_report_has_its_lie_and_no_other(reports):
    """The symptoms that the student has to find are there, and one report has one of them."""
    says = {name: say(t) for name, (say, t, _) in reports.items()}
    run_s = {name: run or t.sum() / 1000 for name, (_, t, run) in reports.items()}
    times = {name: t for name, (_, t, _) in reports.items()}
    cold = {name for name, t in times.items() if t[0] > 10 * np.median(t)}
    impossible = {name for name, t in times.items() if says[name] <= t.min()}
    unpaid = {name for name, t in times.items() if run_s[name] > 2 * t.sum() / 1000}
    nobody = {name for name, t in times.items() if np.mean(np.abs(t - says[name]) < 0.25 * says[name]) < 0.02}
    standstill = {name for name, t in times.items() if t.max() > 1000}
    assert (cold, unpaid, standstill) == ({"ash"}, {"cherry"}, {"rowan"})
    assert impossible == {"beech", "cherry"}
    assert "hazel" in nobody
    assert np.sum(times["rowan"] > 1000) == 1
    assert says["rowan"] < 100 < times["rowan"].max()


def test_a_row_of_the_reports_shows_what_is_to_be_found():
    show = functions("def row_of(", runs={}, pretend=lambda n, rng: np.ones(n), by_rank=BY_RANK)["row_of"]
    times = np.array([40.0, 1.0, 2.0, 3.0, 4.0])
    assert show("ash", np.mean, times, None) == "| ash | 10 | 5 | 40 | 2 | 3 | 4 | 40 | 0.05 |"
    assert show("oak", np.min, times[1:], 7.0) == "| oak | 1 | 4 | 1 | 1.75 | 2.5 | 3.25 | 4 | 7 |"


def test_naming_the_lies_passes_and_a_blank_does_not(reports, capsys):
    from inferkit import course

    right = {
        "ash": "no warm-up", "beech": "best of N", "cherry": "answer not awaited", "hazel": "mean of two kinds",
        "rowan": "closed loop",
    }  # fmt: skip
    for suspicion, marks in ((right, "✓" * 5), (dict.fromkeys(right, ...), "✗" * 5), (right | {"ash": "x"}, "✗✓✓✓✓")):
        functions("lies = {", suspicion=suspicion, course=course)
        assert "".join(line[0] for line in capsys.readouterr().out.splitlines()) == marks


# -- the whole ---------------------------------------------------------------------------------


def test_tensorflow_is_imported_where_the_ladder_begins_and_not_before():
    importing = [
        cell.source
        for cell in CODE
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module])
        if name.partition(".")[0] in ("keras", "tensorflow")
    ]
    assert len(importing) == 1
    assert 'format="keras"' in importing[0]
    before = CODE[: [cell.source for cell in CODE].index(importing[0])]
    assert not any('format="keras"' in cell.source for cell in before)


def test_what_gives_answers_away_is_folded_and_nothing_that_is_taught():
    folded = [cell for cell in CODE if cell.metadata.get("jupyter", {}).get("source_hidden")]
    giveaways = ("course.quiz(", "lies = {", "runs = {", "row_of(")
    assert all(any(text in cell.source for text in giveaways) for cell in folded)
    assert len(folded) == 8
    assert all("measured" not in tags(cell) for cell in folded)

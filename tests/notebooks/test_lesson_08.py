"""What lesson 08 does by hand, held against the library and against what must be so; its figures."""

import ast
import json
import math
import time
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferkit import course, plots
from inferkit.benchmark import Queries
from inferkit.datasets import fraud_probability, load_transactions
from inferkit.predictor import ArraySpec, Predictor, fraud_scorer
from inferkit.predictor._protocol import decode_request
from inferkit.serving._batcher import Batcher, QueueFullError
from inferkit.widgets import curve, text
from notebooks.source import SOURCES, read, solution, tags

SOURCE = SOURCES / "08_real_time_inference.py"
CODE = [cell for cell in read(SOURCE).cells if cell.cell_type == "code"]
SHARED = {
    "np": np, "plt": plt, "time": time, "slide_size": plots.slide_size, "COLOURS": plots.COLOURS,
    "Predictor": Predictor, "ArraySpec": ArraySpec, "Markdown": lambda text: text,
}  # fmt: skip


def cell_with(text: str) -> str:
    """Return the code of the only cell that holds a text."""
    (found,) = [cell.source for cell in CODE if text in cell.source]
    return str(found)


def run(*texts: str, **names: Any) -> dict[str, Any]:
    """Return what the cells with these texts define."""
    space = SHARED | names
    for part in texts:
        exec(cell_with(part), space)
    return space


def definition(name: str, cells: Any = CODE, **names: Any) -> Any:
    """Return one function of the lesson, without what else stands in its cell."""
    (node,) = [
        node
        for cell in cells
        if cell.cell_type == "code"
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    space = SHARED | names
    exec(ast.unparse(node), space)
    return space[name]


POISSON, COUNTER, BATCHES, RULES = map(definition, ("poisson", "at_one_counter", "in_batches", "with_rules"))


def step_by_step(due: Any, service: Any) -> list[float]:
    """Serve one after another, as everybody would write it."""
    free, took = 0.0, []
    for t, s in zip(due, service, strict=True):
        free = max(free, t) + s
        took.append(free - t)
    return took


def instants(seed: int, n: int, rate: float) -> Any:
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate, n))


# -- over the wire ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def swipes() -> Any:
    return load_transactions()


@pytest.mark.parametrize("n", [1, 5])
def test_what_is_sent_by_hand_is_what_the_protocol_reads(swipes, n):
    tensor, rows = definition("tensor"), swipes.data[:n]
    body = json.dumps({"inputs": [tensor(name, rows[name].tolist()) for name in rows.dtype.names]}).encode()
    read_back = decode_request(body, None).inputs
    assert list(read_back) == list(rows.dtype.names)
    for name, values in read_back.items():
        plain = [value.decode() if isinstance(value, bytes) else value for value in values.tolist()]
        assert plain == rows[name].tolist()


# -- lines ---------------------------------------------------------------------------------------


@given(seed=st.integers(0, 999), n=st.integers(1, 60), rate=st.floats(0.1, 10))
def test_the_counter_in_two_lines_is_the_counter_step_by_step(seed, n, rate):
    due, service = instants(seed, n, rate), np.random.default_rng(seed).exponential(1, n)
    np.testing.assert_allclose(COUNTER(due, service), step_by_step(due, service), atol=1e-9)


def test_poisson_has_exponential_gaps():
    """Mean and spread of 40,000 gaps, both 1 / rate; a false alarm in fewer than 1 of 10,000 for each."""
    gaps = np.diff(POISSON(5.0, 40_001, np.random.default_rng(3)))
    assert abs(gaps.mean() * 5 - 1) < 4 / 200
    assert abs(gaps.std() * 5 - 1) < 4 * math.sqrt(2) / 200


def share_within(x: int, load: Fraction) -> float:
    """Return the share that waits for at most x services at a counter of fixed service (Erlang 1909), exactly."""
    # The sum's terms cancel, so e is taken as a fraction with room to spare.
    e = sum((Fraction(1, math.factorial(k)) for k in range(60)), Fraction(0))
    terms = [(load * (k - x)) ** k / math.factorial(k) * _power(e, load * (x - k)) for k in range(x + 1)]
    return float((1 - load) * sum(terms))


def _power(e: Fraction, y: Fraction) -> Fraction:
    whole, rest = divmod(y, 1)
    series = sum((rest**k / math.factorial(k) for k in range(30)), Fraction(0))
    return Fraction(e) ** int(whole) * series


@pytest.mark.parametrize(("load", "within"), [(Fraction(3, 10), 1), (Fraction(6, 10), 3), (Fraction(8, 10), 8)])
def test_the_counter_waits_as_erlang_says(load, within):
    """Of 200,000; neighbours hang together, so the error is that of fewer: tenfold the binomial's, five times over."""
    waits = COUNTER(POISSON(float(load), 200_000, np.random.default_rng(4)), np.ones(200_000)) - 1
    share = share_within(within, load)
    error = math.sqrt(10 * share * (1 - share) / 200_000)
    assert abs((waits <= within).mean() - share) < 5 * error
    other = share_within(within, load + Fraction(1, 10))
    assert abs((waits <= within).mean() - other) > 5 * error, "another load would be told apart"


def test_the_formula_of_the_exponential_service_is_what_the_counter_gives():
    rng = np.random.default_rng(5)
    took = COUNTER(POISSON(0.6, 400_000, rng), rng.exponential(1, 400_000))
    assert np.percentile(took, 99) == pytest.approx(np.log(100) / 0.4, rel=0.1)


# -- batches ------------------------------------------------------------------------------------


@given(seed=st.integers(0, 999), n=st.integers(1, 50), rate=st.floats(0.1, 20))
def test_batches_of_one_are_the_counter(seed, n, rate):
    due = instants(seed, n, rate)
    np.testing.assert_allclose(BATCHES(due, 0.4, 0.1, most=1), COUNTER(due, np.full(n, 0.5)), atol=1e-9)


@given(seed=st.integers(0, 999), n=st.integers(1, 60), most=st.integers(1, 9), window=st.sampled_from([0, 0.3, 2]))
def test_a_batch_holds_who_has_come_and_no_more_than_the_most(seed, n, most, window):
    due = instants(seed, n, 3.0)
    ends = np.round(due + BATCHES(due, 0.4, 0.1, most, window), 9)
    begun, free = 0, -np.inf
    while begun < n:
        size = int((ends == ends[begun]).sum())
        start = ends[begun] - 0.4 - 0.1 * size
        assert size <= most
        assert start >= due[begun + size - 1] - 1e-6, "nobody is served before they come"
        assert start >= free - 1e-6
        assert start <= max(free, due[begun] + window) + 1e-6, "idle beyond the window"
        nxt = begun + size
        if nxt < n and size < most:
            assert due[nxt] > start - 1e-6, "who waits goes along"
        begun, free = nxt, ends[begun]


def test_a_full_batch_ends_the_window():
    np.testing.assert_allclose(BATCHES(np.array([0.0, 0.1, 5]), 1, 0, most=2, window=1), [1.1, 1, 2])


# -- rules ---------------------------------------------------------------------------------------


@given(seed=st.integers(0, 999), n=st.integers(1, 60))
def test_without_rules_it_is_the_counter(seed, n):
    due = instants(seed, n, 2.0)
    np.testing.assert_allclose(RULES(due, 0.7), COUNTER(due, np.full(n, 0.7)), atol=1e-9)


@given(seed=st.integers(0, 999), room=st.integers(1, 6), deadline=st.floats(0.2, 8))
def test_the_rules_are_kept(seed, room, deadline):
    due = instants(seed, 80, 2.5)
    took = RULES(due, 1.0, room=room, deadline=deadline)
    judged = np.isfinite(took)
    assert judged[0]
    assert (took[judged] < deadline + 1 + 1e-9).all(), "nobody begins after the deadline"
    assert (took[judged] <= room + 1 + 1e-9).all(), "nobody waits behind more than have room"
    starts = (due + took - 1)[judged]
    assert (np.diff(starts) > 1 - 1e-6).all(), "one at a time"


def test_room_counts_who_waits_and_not_who_is_served():
    due = np.array([0.0, 0.1, 0.2, 0.3, 1.5])
    np.testing.assert_allclose(RULES(due, 1.0, room=1), [1, 1.9, np.nan, np.nan, 1.5])
    np.testing.assert_allclose(RULES(due, 1.0, deadline=1.0), [1, 1.9, np.nan, np.nan, 1.5])


def test_the_simulated_rush_is_what_the_servers_own_queue_does():
    """Swipes at odd instants, one worker: the batcher of `serve`, told the time by hand, against the lesson's rule."""
    due, now, took, jobs = np.cumsum(np.random.default_rng(2).exponential(0.5, 200)), [0.0], {}, []

    def model(rows):
        i, now[0] = int(rows[0, 0]), now[0] + 1.0
        took[i] = now[0] - due[i]
        return {"y": rows}

    batcher = Batcher(model, lambda jobs: None, max_batch_size=1, max_queue=3, clock=lambda: now[0], threaded=False)

    def catch_up(until):
        while now[0] <= until and batcher.step() == 0.0:
            pass

    for i, t in enumerate(due):
        catch_up(t)
        now[0] = max(now[0], t)
        busy_until, now[0] = now[0], t
        for job in jobs:  # as the server does for each request when its time is up
            if job.deadline <= t:
                batcher.drop(job)
        try:
            jobs.append(batcher.put(np.array([[float(i)]]), deadline=t + 2.5))
        except QueueFullError:
            took[i] = np.nan
        now[0] = busy_until
    catch_up(np.inf)
    batcher.close()
    expected = RULES(due, 1.0, room=3, deadline=2.5)
    found = [took.get(i, np.nan) for i in range(len(due))]
    np.testing.assert_allclose(found, expected, atol=1e-9)


# -- the model that waits ----------------------------------------------------------------------


def test_the_rented_model_waits_for_each_call_and_not_for_each_row(monkeypatch):
    slept = []
    model = definition("rented", time=SimpleNamespace(sleep=slept.append))(3)
    assert model.predict(np.full((5, 4), 0.5)).tolist() == [2.0] * 5
    assert slept == [0.003]


# -- alarms --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alarm(swipes) -> dict[str, Any]:
    return run("def cost(", "alarms = {", swipes=swipes, scorer=fraud_scorer())


def test_the_cost_is_what_each_error_costs(alarm):
    cost = definition("cost", truth=np.array([0.0, 0.5, 1.0]), amount=np.array([10.0, 40, 90]), call_eur=5)
    assert cost(np.array([True, True, True])) == pytest.approx(1000 * (5 + 2.5 + 0) / 3)
    assert cost(np.array([False, False, False])) == pytest.approx(1000 * (0 + 20 + 90) / 3)


def test_no_rule_is_cheaper_than_the_one_that_knows(alarm, swipes):
    np.testing.assert_array_equal(alarm["truth"], fraud_probability(swipes.data))
    least = 1000 * np.minimum((1 - alarm["truth"]) * 5, alarm["truth"] * alarm["amount"]).mean()
    assert alarm["cost"](alarm["knowing"]) == pytest.approx(least)
    assert all(alarm["cost"](rule) >= least for rule in alarm["alarms"].values())
    assert alarm["cost"](alarm["by_amount"]) < alarm["costs"].min() < alarm["cost"](alarm["p"] > 0.5) / 2


# -- figures -----------------------------------------------------------------------------------


@pytest.fixture
def style():
    plots.use_style()
    yield
    plt.close("all")


def some_run(ms: list[float], every_ms: float = 10.0) -> Any:
    due = (np.arange(len(ms)) * every_ms * 1e6).astype(np.int64)
    done = due + np.rint(np.array(ms) * 1e6).astype(np.int64)
    return SimpleNamespace(queries=Queries(due, due, done, np.full(len(ms), "answered")))


STICK = {"S": 0.003, "most": 1000.0, "at_one_counter": COUNTER}
SHAPES = ("def in_services(", "def add_measured(")


def test_the_stick_has_dots_bars_and_squares_where_they_were_measured(style):
    rented = {30: some_run([3.0] * 9 + [30.0]), 120: some_run([60.0] * 10)}
    fraud = {30: some_run([5.0] * 10)}
    space = run(*SHAPES, rented_at=rented, **STICK)
    ax = plt.figure().gca()
    space["add_measured"](ax, rented, fraud, space["expected"])
    median_dots, median_bars, p99_dots, p99_bars, squares = ax.lines
    np.testing.assert_allclose(median_dots.get_xydata(), [[30, 1], [120, 20]])
    np.testing.assert_allclose(p99_dots.get_ydata(), [(30 - 0.09 * 27) / 3, 20])
    np.testing.assert_allclose(median_bars.get_ydata(), [1, 1])
    np.testing.assert_allclose(p99_bars.get_ydata(), [1, 1])
    np.testing.assert_allclose(squares.get_xydata(), [[30, 5]])
    assert squares.get_markerfacecolor() == "white"


def test_the_bars_are_our_counter_on_the_very_swipes(style):
    """A swipe each millisecond, 3 ms each: the last of ten waits for nine, less the nine that have gone by."""
    space = run(*SHAPES, rented_at={}, **STICK)
    np.testing.assert_allclose(space["at_our_counter"](some_run([0.0] * 10, every_ms=1.0)) * 3, 3 + 2 * np.arange(10))


def test_a_guess_is_marked_at_ten_services_and_no_guess_is_none(style):
    space = run(*SHAPES, rented_at={}, **STICK)
    ax = plt.figure().gca()
    space["add_guess"](ax, None)
    assert not ax.lines
    assert not ax.texts
    space["add_guess"](ax, 85)
    assert ax.lines[0].get_xydata().tolist() == [[85, 10]]
    assert ax.texts[0].get_text() == "your guess"


def test_the_theory_has_three_lines_in_their_order(style):
    space = run("loads = np.arange", "def finish(", poisson=POISSON, at_one_counter=COUNTER, n=20_000,
                rng=np.random.default_rng(1))  # fmt: skip
    (ax,) = space["theory_figure"]().axes
    exponential, fixed, median = (line.get_ydata() for line in ax.lines)
    assert (exponential > fixed).all()
    assert (fixed > median).all()
    assert (median[:9] == 1).all(), "below half load most find the counter free"
    assert [line.get_label() for line in ax.lines] == ["p99, M/M/1", "p99, M/D/1", "p50, M/D/1"]


def test_the_day_has_its_mean_and_a_mark_for_each_fraud(style, swipes):
    today = swipes.time_s < 86_400
    (ax,) = definition("day_figure")(swipes.time_s[today], swipes.target[today] == 1).axes
    mean, frauds = ax.lines
    assert mean.get_ydata()[0] == pytest.approx(today.sum() / 1440, rel=1e-6)
    assert len(frauds.get_xdata()) == swipes.target[today].sum()


def test_the_rush_shows_a_dot_for_each_swipe_that_was_judged(style):
    due = POISSON(200, 300, np.random.default_rng(1))
    ends = {"no rule": RULES(due, 0.01), "room for 8": RULES(due, 0.01, room=8)}
    (ax,) = definition("rush_figure")(due, ends).axes
    all_of_them, few, _ = ax.lines
    assert np.isfinite(all_of_them.get_ydata()).all()
    assert np.isnan(few.get_ydata()).sum() == np.isnan(ends["room for 8"]).sum() > 0
    assert [text.get_text() for text in ax.texts] == ["no rule", "room for 8", "walks away"]


def test_the_cost_figure_marks_the_half_and_the_best(style, alarm):
    (ax,) = run("def cost_figure(", **{k: alarm[k] for k in ("thresholds", "costs", "best", "cost", "p", "by_amount")})[
        "cost_figure"
    ]().axes
    curve, half, best, level = ax.lines
    assert half.get_xdata()[0] == 0.5
    assert best.get_ydata()[0] == pytest.approx(curve.get_ydata().min())
    assert level.get_ydata()[0] < curve.get_ydata().min()


# -- verdicts ----------------------------------------------------------------------------------


def test_verdicts_follow_what_was_measured():
    told = run("in_line, scales = ", dearer=700.0, size=5.0, quiet=9.0, full=80.0, saved=0.5, beside=1.9)["rows"]
    other = run("in_line, scales = ", dearer=1.5, size=1.0, quiet=9.0, full=80.0, saved=-0.1, beside=1.1)["rows"]
    assert "holds: a swipe costs 700 rows" in told[0]
    assert "does not hold" in other[0]
    assert "holds: two workers, 1.90 times" in told[2]
    assert "fails: two workers, 1.10 times" in other[2]
    assert "9 ms; at 90 %: 80 ms" in told[3]
    assert "holds: another threshold saves 50%" in told[4]
    assert "fails" in other[4]


@pytest.mark.parametrize(("gain", "said"), [(1.5, "helps"), (1.0, "changes little"), (0.5, "harms")])
def test_what_batches_do_to_a_crowd_is_said_by_their_ratio(capsys, gain, said):
    rates = {"what waits": gain * 100, "one at a time": 100.0}
    run("gain = ", asked=["fraud"], batching={("fraud", way): (1.0, rate, 1.0) for way, rate in rates.items()})
    assert f": {said} (" in capsys.readouterr().out


# -- play --------------------------------------------------------------------------------------


def test_the_dashboard_passes_its_controls_on_and_says_what_it_was_told():
    asked: dict[str, Any] = {}
    now = SimpleNamespace(answered_per_s=49.6, p50_ms=12.3, p99_ms=None, line=lambda name: ([-1.0, 0.0], [1.0, 2.0]))
    till = SimpleNamespace(configure=lambda **k: asked.update(k), stats=lambda: {"queue_length": 3})
    traffic = SimpleNamespace(snapshot=lambda: now, rate=0)
    names = {"till": till, "traffic": traffic, "rush_hour": [20], "curve": curve, "text": text}
    parts = definition("dashboard", **names)(50.0, 16, 5, 2)
    assert asked == {"max_batch_size": 16, "max_wait_ms": 5, "workers": 2}
    assert traffic.rate == 1000
    said = {part.label: part.words for part in parts if part.kind == "text"}
    assert said == {"answered": "50/s", "p50": "12 ms", "p99": "too few", "waiting": "3"}
    assert [part.label for part in parts if part.kind == "curve"] == ["offered", "answered", "refused"]


def test_the_overload_ends():
    factor, seen = [1], []
    definition("overload", rush_hour=factor, time=SimpleNamespace(sleep=lambda s: seen.append((s, factor[0]))))()
    assert (seen, factor) == ([(5, 20)], [1])


# -- break it ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reports() -> Any:
    names = {"poisson": POISSON, "in_batches": BATCHES}
    return run("def ask_again(", "reports = {", **names)["reports"]


def test_each_fault_has_its_symptom_and_no_other(reports):
    asked, calls, good = (np.array([report[i] for report in reports.values()]) for i in range(3))
    p50, p99, most = (np.array([1000 * np.percentile(r[3], q) for r in reports.values()]) for q in (50, 99, 100))
    ash, beech, cherry, hazel = range(4)
    others = lambda i: np.arange(4) != i  # noqa: E731
    assert most[ash] > 100 * p99[ash]
    assert (most[others(ash)] < 5 * p99[others(ash)]).all()
    assert asked[cherry] > 2 * asked[others(cherry)].max()
    assert calls[hazel] < asked[hazel] / 4
    assert (calls[[ash, beech]] > 0.9 * asked[[ash, beech]]).all()
    assert good[beech] < 0.1 * calls[beech]
    assert asked[beech] == pytest.approx(60, rel=0.05)
    assert p50[hazel] > 3 * p50[others(hazel)].max()


def test_nobody_who_asks_again_is_lost_and_a_calm_day_has_no_storm():
    ask = run("def ask_again(", poisson=POISSON)["ask_again"]
    due = POISSON(20, 500, np.random.default_rng(1))
    asked, good, free = ask(due, 0.001, again=5)
    assert (asked, good) == (500, 500)
    assert free == pytest.approx(due[-1] + 0.001, abs=0.01)
    asked, good, free = ask(due, 0.2, again=2)
    assert 500 < asked <= 1500
    assert free == pytest.approx(0.2 * asked + due[0], rel=0.01), "busy from the first to the last"


def test_naming_the_faults_passes_and_a_blank_does_not(capsys):
    right = {
        "ash": "asks one by one", "beech": "works for those who left", "cherry": "everybody asks again",
        "hazel": "waits for company",
    }  # fmt: skip
    for suspicion, marks in ((right, "✓✓✓✓"), (dict.fromkeys(right, ...), "✗✗✗✗"), (right | {"ash": "x"}, "✗✓✓✓")):
        run("faults = {", suspicion=suspicion, course=course)
        assert "".join(line[0] for line in capsys.readouterr().out.splitlines()) == marks


# -- exercises ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exercise() -> Any:
    cells = solution(read(SOURCES / "exercises" / SOURCE.name)).cells
    return lambda name, **names: definition(name, cells, **names)


@given(seed=st.integers(0, 999), n=st.integers(1, 40), counters=st.integers(1, 4))
def test_several_counters_serve_in_order_whoever_is_free(exercise, seed, n, counters):
    due = instants(seed, n, 3.0)
    took = exercise("at_counters")(due, 1.0, counters)
    starts = due + took - 1
    assert (np.diff(starts) >= -1e-9).all(), "in the order in which they came"
    for start in starts:
        assert ((starts <= start + 1e-9) & (starts > start - 1 + 1e-9)).sum() <= counters
    if counters == 1:
        np.testing.assert_allclose(took, COUNTER(due, np.ones(n)), atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), most=st.integers(1, 9))
def test_the_batches_of_the_exercise_are_those_of_the_lesson(exercise, seed, most):
    due = instants(seed, 60, 400.0)
    np.testing.assert_allclose(exercise("in_batches")(due, most), BATCHES(due, 0.005, 0.001, most), atol=1e-12)


def test_the_morning_of_the_exercise_is_a_counter_and_its_rooms_a_rule(exercise):
    came, began, done = exercise("one_morning")()
    np.testing.assert_allclose(done - came, step_by_step(came, done - began), atol=1e-9)
    kept = exercise("kept", came=came, began=began, done=began + 0.02)
    expected = RULES(came, 0.02, room=10)
    np.testing.assert_allclose(kept(10), expected[np.isfinite(expected)], atol=1e-9)


# -- the whole ---------------------------------------------------------------------------------


def test_what_gives_answers_away_is_folded_and_nothing_that_is_taught():
    folded = [cell for cell in CODE if cell.metadata.get("jupyter", {}).get("source_hidden")]
    giveaways = ("course.quiz(", "faults = {", "reports = {", "heads = ", "def ask_again(")
    assert all(any(text in cell.source for text in giveaways) for cell in folded)
    assert len(folded) == 9
    assert all("measured" not in tags(cell) for cell in folded)

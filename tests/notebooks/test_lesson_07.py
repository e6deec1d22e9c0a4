"""What lesson 07 does by hand, held against the library and against what must be so; its figures and its verdicts."""

import ast
import math
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferkit import InputError, course, plots
from inferkit.datasets import load_customers
from inferkit.predictor import churn_scorer
from notebooks.source import SOURCES, read, solution, tags

SOURCE = SOURCES / "07_batch_inference.py"
CODE = [cell for cell in read(SOURCE).cells if cell.cell_type == "code"]
SHARED = {
    "np": np, "plt": plt, "slide_size": plots.slide_size, "COLOURS": plots.COLOURS, "InputError": InputError,
    "Path": Path, "sha256": sha256,
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


def definition(name: str, **names: Any) -> Any:
    """Return one function of the lesson, without what else stands in its cell."""
    (node,) = [
        node
        for cell in CODE
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    space = SHARED | names
    exec(ast.unparse(node), space)
    return space[name]


@pytest.fixture(scope="module")
def scorer() -> Any:
    return churn_scorer()


@pytest.fixture(scope="module")
def known() -> Any:
    return load_customers()


@pytest.fixture(scope="module")
def p(scorer: Any, known: Any) -> Any:
    return scorer.predict_proba(known.data)[:, 1]


# -- a call and its rows -----------------------------------------------------------------------


def test_batches_answer_as_single_rows_do(scorer, known):
    one_by_one, in_batches = definition("one_by_one", scorer=scorer), definition("in_batches", scorer=scorer)
    rows = known.data[:23]
    for size in (1, 5, 23, 100):
        np.testing.assert_array_equal(in_batches(rows, size), one_by_one(rows))


@given(a=st.floats(1e-6, 1e-3), b=st.floats(1e-9, 1e-4))
def test_the_line_finds_a_call_and_a_row(a, b):
    n = np.array([1, 4, 16, 64, 256, 1024, 4096])
    found = definition("line")(n.tolist(), a + b * n)
    np.testing.assert_allclose(found, (a, b), rtol=1e-4)


def test_the_line_weighs_each_point_by_its_own_time():
    """A tenth too much at the largest batch moves the price of a call by less than that of a row."""
    n = np.array([1, 4, 16, 64, 256, 1024, 4096])
    t = 60e-6 + 0.5e-6 * n
    t[-1] *= 1.1
    a, b = definition("line")(n, t)
    assert abs(a / 60e-6 - 1) < 0.03
    assert 1.01 < b / 0.5e-6 < 1.1


def test_a_line_without_a_fixed_part_has_a_price_above_nothing():
    a, b = definition("line")([1, 10, 100], [0.9e-6, 10e-6, 100e-6])
    assert a > 0
    assert b == pytest.approx(1e-6, rel=0.1)


CURVES = {"scorer": [2e4, 1.5e5, 2e6], "its network": [2e5, 3e6, 2e7], "digit network": [1e5, 1.9e5, 2e5]}
LINES = {"scorer": (60e-6, 0.5e-6), "its network": (4e-6, 0.05e-6), "digit network": (6e-6, 5e-6)}
SIZES = {name: [1, 16, 1024] for name in CURVES}


@pytest.fixture
def figure():
    plots.use_style()
    yield run("def draw_curve(", "def knee_figure(")["knee_figure"]
    plt.close("all")


def test_a_curve_has_its_dots_its_roof_and_its_knee(figure):
    (ax,) = figure(CURVES, LINES, SIZES, guessed_rate=6e5).axes
    for name, (a, b) in LINES.items():
        colour = plots.COLOURS[run("def draw_curve(")["LOOKS"][name]]
        roof, through, dots, *knee = [line for line in ax.lines if line.get_color() == colour]
        n = roof.get_xdata()
        np.testing.assert_allclose(roof.get_ydata(), np.minimum(n / a, 1 / b))
        np.testing.assert_allclose(through.get_ydata(), n / (a + b * n))
        assert dots.get_xydata().tolist() == [list(pair) for pair in zip(SIZES[name], CURVES[name], strict=True)]
        assert [mark.get_xydata().tolist() for mark in knee] == ([[[a / b, 0.5 / b]]] if a > 4 * b else [])
    said = {text.get_text(): text for text in ax.texts}
    assert {"scorer", "its network", "digit network", "your guess"} < set(said)
    assert said["your guess"].xy == (1000, 6e5)
    assert {"half: 120 rows", "half: 80 rows"} < set(said)
    assert ax.get_ylim()[1] > 1.2 * 2e7, "the highest name has room"


def test_without_a_guess_none_is_marked_and_other_times_are_another_figure(figure):
    plain = figure(CURVES, LINES, SIZES)
    assert "your guess" not in {text.get_text() for text in plain.axes[0].texts}
    slower = CURVES | {"scorer": [rate / 2 for rate in CURVES["scorer"]]}
    frozen = plots.figure_data(plain)
    assert plots.compare_figure_data(frozen, plots.figure_data(figure(CURVES, LINES, SIZES))) == []
    assert plots.compare_figure_data(frozen, plots.figure_data(figure(slower, LINES, SIZES))) != []


def test_the_memory_figure_carries_each_line_on_to_a_million():
    plots.use_style()
    draw = run("def memory_figure(")["memory_figure"]
    (ax,) = draw([1000, 2000, 4000], {"all at once": [101.0, 102.0, 104.0], "streamed": [100.0] * 3}).axes
    measured, dashed, *level = ax.lines
    assert measured.get_xydata().tolist() == [[1000, 101], [2000, 102], [4000, 104]]
    np.testing.assert_allclose(dashed.get_xydata(), [[4000, 104], [1_000_000, 1100]])
    assert [line.get_label() for line in (dashed, level[1])] == ["all at once", "streamed"]
    np.testing.assert_allclose(level[1].get_ydata(), 100)
    plt.close("all")


def test_the_opening_figure_has_the_truth_as_lines_and_the_model_as_dots(known, p):
    plots.use_style()
    (ax,) = definition("churn_figure")(known, p).axes
    lines, dots = ax.lines[::2], ax.lines[1::2]
    assert [line.get_label() for line in lines] == ["monthly", "one year", "two years"]
    new = (known.data["contract"] == "monthly") & (known.data["months"] < 9)
    assert lines[0].get_xydata()[0].tolist() == [4.5, pytest.approx(known.probability[new].mean())]
    assert dots[0].get_ydata()[0] == pytest.approx(p[new].mean(), rel=1e-5)
    plt.close("all")


# -- parts ------------------------------------------------------------------------------------


def few(known: Any, n: int) -> Any:
    return SimpleNamespace(data=known.data[:n], customer=known.customer[:n])


@pytest.mark.parametrize("cuts", [[0], [1], [3], [2, 2, 3]])
def test_a_power_cut_at_any_part_ends_with_the_same_bytes(tmp_path, scorer, known, cuts):
    job, fingerprint = definition("job", scorer=scorer), definition("fingerprint")
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    job(tmp_path / "whole", few(known, 1900))
    for k in cuts:
        with pytest.raises(SystemError, match="power"):
            job(tmp_path / "broken", few(known, 1900), power_cut_at=k)
        assert len(list((tmp_path / "broken").glob("part-*.csv"))) == k, "the part that was cut has no name"
    job(tmp_path / "broken", few(known, 1900))
    assert fingerprint(tmp_path / "broken") == fingerprint(tmp_path / "whole")
    lines = "".join(p.read_text() for p in sorted((tmp_path / "broken").glob("part-*.csv"))).splitlines()
    assert [int(line.split(",")[0]) for line in lines] == known.customer[:1900].tolist()
    assert not list((tmp_path / "broken").glob("*.draft"))


def test_a_part_that_is_there_is_not_asked_again(tmp_path, scorer, known):
    asked = []

    def predict_proba(rows):
        asked.append(len(rows))
        return scorer.predict_proba(rows)

    job = definition("job", scorer=SimpleNamespace(predict_proba=predict_proba))
    with pytest.raises(SystemError):
        job(tmp_path, few(known, 1900), power_cut_at=2)
    job(tmp_path, few(known, 1900))
    assert asked == [500, 500, 500, 500, 400], "two parts before the cut, the one that was lost again, and the last"


def test_the_fingerprint_hangs_on_every_part_and_on_no_draft(tmp_path):
    fingerprint = definition("fingerprint")
    (tmp_path / "part-0000.csv").write_text("1,0.5\n")
    (tmp_path / "part-0001.csv").write_text("2,0.5\n")
    whole = fingerprint(tmp_path)
    assert whole == sha256(b"1,0.5\n2,0.5\n").hexdigest()
    (tmp_path / "part-0002.draft").write_text("3,0")
    assert fingerprint(tmp_path) == whole
    (tmp_path / "part-0001.csv").write_text("2,0.4\n")
    assert fingerprint(tmp_path) != whole


# -- bad rows ---------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(data=st.data(), n=st.integers(1, 70))
def test_halving_finds_the_bad_rows_and_costs_nobody_else_an_answer(data, n, scorer, known, p):
    bad = sorted(data.draw(st.sets(st.integers(0, n - 1), max_size=5)))
    rows = known.data[:n].copy()
    for place in bad:
        rows["monthly_charge"][place] = np.nan
    asked = []

    def predict_proba(some):
        asked.append(len(some))
        return scorer.predict_proba(some)

    counting = SimpleNamespace(predict_proba=predict_proba)
    told, rejected, calls = definition("answers", scorer=counting)(rows)
    assert calls == len(asked)
    good = ~np.isin(np.arange(n), bad)
    assert [place for place, _ in rejected] == bad
    assert all("monthly_charge" in reason for _, reason in rejected)
    np.testing.assert_allclose(np.array(told)[good], p[:n][good], rtol=1e-6)
    assert np.isnan(np.array(told)[~good]).all()
    assert calls <= 1 + 2 * len(bad) * math.ceil(math.log2(n)) if n > 1 else calls == 1


# -- money ------------------------------------------------------------------------------------


def test_the_gain_of_calls_is_what_they_keep_less_what_they_cost():
    known = SimpleNamespace(probability=np.array([0.1, 0.9, 0.5]))
    gain = definition("gain", known=known)
    np.testing.assert_allclose(gain([1, 2, 0]), [0, 26, 36, 30])
    np.testing.assert_allclose(gain([0], call=1, kept=0.5, worth=10), [0, -0.5])


def test_with_the_truth_the_best_is_to_call_above_the_threshold(known):
    euros = definition("gain", known=known)(np.argsort(-known.probability))
    assert euros.argmax() == np.sum(known.probability > 0.25)


# -- verdicts ---------------------------------------------------------------------------------


def verdicts(**changes: Any) -> dict[str, str]:
    """Return what the lesson says of each claim, from measurements that are given."""
    step = SimpleNamespace(time_us=10.0)
    space = {
        "lines": LINES, "curves": CURVES, "many": {"litert": step}, "in_all": 100.0, "start_s": 2.0,
        "sped_up": {"scorer": 1.0, "digit network": 1.9}, "far": SimpleNamespace(seconds=2.0),
        "local": SimpleNamespace(seconds=1.0), "Markdown": lambda text: text,
    }  # fmt: skip
    return run("how = ", "said = {", **space | changes)["said"]


def words_of(said: dict[str, str]) -> list[str]:
    return [verdict.partition(":")[0] for verdict in said.values()]


def test_verdicts_follow_what_was_measured():
    assert words_of(verdicts()) == ["no", "holds", "no", "in part", "no"]
    slow = {"scorer": (0.1, 0.5e-3)} | {name: LINES[name] for name in ("its network", "digit network")}
    other = verdicts(
        lines=slow, curves=CURVES | {"scorer": [2e4, 2e6, 1e6]}, in_all=15.0, sped_up={"scorer": 1.9, "digits": 1.9},
        far=SimpleNamespace(seconds=2.0), local=SimpleNamespace(seconds=9.0),
    )  # fmt: skip
    assert words_of(other) == ["holds", "no", "holds", "holds", "holds"]
    assert words_of(verdicts(sped_up={"scorer": 0.9, "digit network": 1.1}))[3] == "no"


def test_a_verdict_states_the_numbers_that_it_follows():
    said = list(verdicts().values())
    assert "1,080 rows" in said[0]
    assert "0.6 ms" in said[0]
    assert "100%" in said[1]
    assert "10%" in said[2]
    assert "scorer 1.00 ×, digit network 1.90 ×" in said[3]
    assert "4.0 s on two workers, 1.0 s here" in said[4]


# -- play -------------------------------------------------------------------------------------


def widget(**names: Any) -> dict[str, Any]:
    space = {"per_row": 400.0, "lines": LINES, "curves": CURVES, "work": {n: (None, None, SIZES[n]) for n in SIZES}}
    return run("def said_of(", "def price(", **space, **names)


def test_the_widget_says_what_the_line_says():
    parts = widget()["price"](120, "scorer")
    said = {part.label: part.words for part in parts if part.kind == "text"}
    assert said == {
        "a row": "1.00 µs", "of it for the call": "50%", "a million rows": "1.0 s", "the first row waits": "0.12 ms",
        "a batch takes at least": "0.05 MB",
    }  # fmt: skip
    through, level, measured, you = (part for part in parts if part.kind != "text")
    np.testing.assert_allclose(through.y, 60 / through.x + 0.5)
    assert set(level.y) == {0.5}
    np.testing.assert_allclose(measured.y, 1e6 / np.array(CURVES["scorer"]))
    assert (you.x[0], you.y[0]) == (120, 1.0)


@pytest.mark.parametrize("model", LINES)
@pytest.mark.parametrize("rows", [1, 65_536])
def test_the_widget_answers_for_every_model_at_both_ends(model, rows):
    assert len(widget()["price"](rows, model)) == 9


# -- break it ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def overnight(p, known):
    return run("overnight = {", p=p, known=known)


def test_each_mistake_has_its_symptom_and_no_other(overnight, p, known):
    lists, in_order = overnight["overnight"], overnight["pairs_in_order"]
    assert {name: len(score) for name, score in lists.items()} == {"ash": 3999, "hazel": 4000, "rowan": 4000}

    def by_quarter(score, what):
        left = np.array_split(known.target[: len(score)], 4)
        return np.array([what(*pair) for pair in zip(np.array_split(score, 4), left, strict=True)])

    honest = by_quarter(p, in_order)
    order = {name: by_quarter(score, in_order) for name, score in lists.items()}
    means = {name: by_quarter(score, lambda q, _: q.mean()) for name, score in lists.items()}
    assert (honest > 0.75).all()
    assert order["ash"][0] > 0.75
    assert (order["ash"][1:] < 0.6).all()
    assert 0.55 < order["hazel"][0] < 0.75
    assert (order["hazel"][1:] < 0.6).all()
    np.testing.assert_allclose(order["rowan"], honest, atol=1e-6)
    assert (means["rowan"][2:] > 1.8 * means["rowan"][:2].max()).all()
    assert np.ptp(means["ash"]) < 0.06
    assert np.ptp(means["hazel"]) < 0.06
    np.testing.assert_array_equal(np.sort(lists["hazel"]), np.sort(p))


def test_pairs_in_order_is_the_area_under_the_roc_curve(overnight, p, known):
    from sklearn.metrics import roc_auc_score

    assert overnight["pairs_in_order"](p, known.target) == pytest.approx(roc_auc_score(known.target, p), abs=1e-4)


def test_naming_the_mistakes_passes_and_a_blank_does_not(capsys):
    right = {"ash": "slipped by one", "hazel": "parts in wrong order", "rowan": "two models in one file"}
    for suspicion, marks in ((right, "✓✓✓"), (dict.fromkeys(right, ...), "✗✗✗"), (right | {"ash": "x"}, "✗✓✓")):
        run("mistakes = {", suspicion=suspicion, course=course)
        assert "".join(line[0] for line in capsys.readouterr().out.splitlines()) == marks


# -- exercises --------------------------------------------------------------------------------


def exercise(name: str) -> Any:
    cells = solution(read(SOURCES / "exercises" / SOURCE.name)).cells
    space = SHARED.copy()
    for cell in cells:
        for node in ast.parse(cell.source).body if cell.cell_type == "code" else ():
            if isinstance(node, ast.FunctionDef) and node.name == name:
                exec(ast.unparse(node), space)
    return space[name]


@given(lengths=st.lists(st.integers(0, 9), max_size=8), size=st.integers(1, 7))
def test_a_stream_that_is_cut_anew_keeps_every_row(lengths, size):
    rows = np.arange(sum(lengths))
    pieces = np.split(rows, np.cumsum(lengths)[:-1]) if lengths else []
    batches = list(exercise("cut_anew")(pieces, size))
    assert [int(row) for batch in batches for row in batch] == rows.tolist()
    assert [len(batch) for batch in batches] == [len(rows[i : i + size]) for i in range(0, len(rows), size)]


def test_a_killed_job_takes_what_theory_says():
    """Pieces x long, with kills at rate 1/k, take k (e^((x + s) / k) - 1) each on average, restarts being free."""
    hours, x, s, k = exercise("hours_needed"), 1.0, 40 / 3600, 5.0
    rng = np.random.default_rng(3)
    each = np.array([hours(x, rng) for _ in range(4000)])
    expected = 10 * k * math.expm1((x + s) / k)
    assert abs(each.mean() - expected) < 5 * each.std() / np.sqrt(len(each))  # false alarm: 1 in 1.7 million


# -- the whole --------------------------------------------------------------------------------


def test_what_gives_answers_away_is_folded_and_nothing_that_is_taught():
    folded = [cell for cell in CODE if cell.metadata.get("jupyter", {}).get("source_hidden")]
    giveaways = ("course.quiz(", "mistakes = {", "overnight = {", "heads = ")
    assert all(any(text in cell.source for text in giveaways) for cell in folded)
    assert len(folded) == 8
    assert all("measured" not in tags(cell) for cell in folded)

"""The sampler without a browser: what a sample says, and what the page makes of it."""

import re
import subprocess
import sys
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from inferkit import InputError
from inferkit.benchmark import percentile, percentile_interval, samples_needed
from inferkit.course import sampler
from inferkit.course._sampler import SIZES, Sampler

VALUES = np.random.default_rng(1).lognormal(1.0, 0.5, 20_000)


def shown(thing: Sampler) -> dict[str, Any]:
    data: dict[str, Any] = thing._repr_mimebundle_()[0]
    return data


def page_sends(thing: Sampler, **state: Any) -> None:
    """Do to the widget what a message from the page does."""
    thing._view.set_state(state)


def rows(thing: Sampler) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in thing._view.reply["rows"]}


@pytest.fixture
def live() -> Sampler:
    return sampler(VALUES, unit="ms", size=1000)


def test_the_sample_comes_from_the_values_and_the_truth_is_theirs(live: Sampler) -> None:
    assert set(live.sample) <= set(VALUES)
    assert len(live.sample) == live.size == 1000
    for q, true in live.truth.items():
        assert true == np.sort(VALUES)[int(np.ceil(len(VALUES) * q / 100)) - 1]


@pytest.mark.parametrize("size", SIZES)
def test_it_says_what_the_benchmark_says_and_refuses_what_that_refuses(live: Sampler, size: int) -> None:
    live.draw(size)
    for q, found in live.percentiles.items():
        row = rows(live)[f"p{q}"]
        if size < samples_needed(q):
            assert found is None
            assert row["words"] == f"needs {samples_needed(q):,} calls"
            assert "value" not in row
        else:
            assert found == percentile(live.sample, q)
            assert (row["low"], row["high"]) == percentile_interval(live.sample, q)
            assert row["value"] == found.value
        assert row["truth"] == live.truth[q]


def test_the_slider_and_the_button_of_the_page(live: Sampler) -> None:
    before = live.sample
    page_sends(live, chosen=SIZES.index(50))
    assert live.size == live._view.reply["size"] == 50
    page_sends(live, chosen=SIZES.index(1000))
    np.testing.assert_array_equal(live.sample, before)  # moved back: the same calls again
    page_sends(live, draws=1)
    assert live._view.reply["draws"] == 1
    assert not np.array_equal(live.sample, before)


def test_a_larger_sample_goes_on_where_a_smaller_one_ends(live: Sampler) -> None:
    small = live.draw(100).sample
    np.testing.assert_array_equal(live.draw(5000).sample[:100], small)


def test_the_same_seed_draws_the_same_and_another_draws_another() -> None:
    first, second, third = (sampler(VALUES, random_state=seed).draw().sample for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, third)


@pytest.mark.parametrize("chosen", [-1, len(SIZES), 10**9])
def test_a_size_that_does_not_exist_changes_nothing(live: Sampler, chosen: int) -> None:
    page_sends(live, chosen=chosen)
    assert live.size == 1000


@pytest.mark.parametrize("size", SIZES)
def test_the_page_draws_the_sample_in_order_with_its_largest(live: Sampler, size: int) -> None:
    live.draw(size)
    dots = np.array(live._view.reply["dots"])
    ordered = np.sort(live.sample)
    assert len(dots) <= 200
    assert set(dots[:, 0]) <= set(ordered)
    np.testing.assert_array_equal(dots[-10:, 0], ordered[-10:])
    np.testing.assert_allclose(dots[-10:, 1], np.arange(size - 9, size + 1) / size)
    assert (np.diff(dots[:, 1]) > 0).all()
    assert live._view.ends == [VALUES.min(), VALUES.max()]


def test_wider_samples_give_narrower_intervals(live: Sampler) -> None:
    """Ten times the calls, and the interval of the median shrinks by about the root of ten."""
    widths = []
    for size in (100, 1000, 10_000):
        found = live.draw(size).percentiles[50]
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        widths.append(found.high - found.low)
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


@pytest.mark.rotated
@pytest.mark.parametrize(("confidence", "kept"), [(0.95, True), (0.8, False)])
def test_the_band_of_the_median_holds_the_truth_as_often_as_it_says(confidence: float, kept: bool) -> None:
    """Fewer than 925 of 1,000 come less than once in a thousand times at 95 %; at 80 % (the control) nearly always."""
    live = sampler(VALUES, size=100)
    held = 0
    for _ in range(1000):
        low, high = percentile_interval(live.draw().sample, 50, confidence=confidence)
        assert low is not None
        assert high is not None
        held += low <= live.truth[50] <= high
    assert (held >= 925) == kept


def test_at_rest_it_is_a_table_with_the_same_words(live: Sampler) -> None:
    data = shown(live.draw(100))
    html = data["text/html"]
    cells = [re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", html)]
    assert cells[:3] == ["", "this sample, 95 % interval", "truth"]
    assert cells[3::3] == ["p50", "p90", "p99"]
    assert cells[4::3] == [row["words"] for row in rows(live).values()]
    assert cells[-2] == "needs 662 calls"
    assert "100 calls, at rest" in html
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"].splitlines()[0] == "100 of 20,000 values"


def test_a_unit_is_text_and_not_markup() -> None:
    assert "<b>" not in shown(sampler(VALUES, unit="<b>"))["text/html"]


def test_messages_on_many_threads_leave_one_whole_answer(live: Sampler) -> None:
    """The page speaks on threads of the kernel's own."""
    threads = [
        Thread(target=page_sends, args=(live,), kwargs={"chosen": i % len(SIZES), "draws": i}) for i in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    page_sends(live, chosen=SIZES.index(700), draws=99)
    reply = live._view.reply
    assert (reply["size"], reply["draws"]) == (700, 99)
    assert reply["rows"][2]["value"] == percentile(live.sample, 99).value


NOT_VALUES: dict[str, Any] = {
    "empty": [], "one": [1.0], "a table": np.ones((3, 2)), "zero": [0.0, 1.0], "negative": [-1.0, 1.0],
    "NaN": [1.0, float("nan")], "infinite": [1.0, float("inf")], "all the same": [2.0, 2.0],
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_VALUES)
def test_values_that_are_no_times_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"values: expected"):
        sampler(NOT_VALUES[name])


@pytest.mark.parametrize("size", [0, 11, 10**6, True, 100.5, "100", None])
def test_a_size_that_the_slider_lacks_is_refused(size: Any) -> None:
    with pytest.raises(InputError, match="size: expected one of 10, 15"):
        sampler(VALUES, size=size)


@pytest.mark.parametrize("seed", [-1, 1.5, None, True])
def test_a_seed_that_is_none_is_refused(seed: Any) -> None:
    with pytest.raises(InputError, match="random_state: expected a whole number"):
        sampler(VALUES, random_state=seed)


@given(st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=50).filter(lambda v: min(v) < max(v)))
def test_any_times_can_be_sampled_and_the_values_stay_as_they_are(values: list[float]) -> None:
    given_values: NDArray[np.float64] = np.array(values)
    live = sampler(given_values, size=700)
    assert given_values.tolist() == values
    assert repr(live).count("\n") == 3
    assert all(found is not None for found in live.percentiles.values())


def test_importing_the_course_loads_no_widget() -> None:
    code = "import sys, inferkit.course; print({'anywidget', 'ipywidgets'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"

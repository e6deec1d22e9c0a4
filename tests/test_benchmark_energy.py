"""Joules a row: on made-up machines whose watts are known, in virtual time; and what a million answers cost."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit import InputError
from inferkit.benchmark import CallError, ClockError, EnergyResult, compare, measure_energy, price_per_million
from inferkit.benchmark import _compare as compares
from inferkit.benchmark import _energy as energies
from inferkit.devices import EnergyCounter, energy_counter
from inferkit.devices._energy import linux_counter
from tests.services import VirtualTime

ROWS = np.arange(100.0)[:, None]
MS = 1_000_000


class Machine(VirtualTime):
    """A machine that draws known watts at work and at rest, and counts them in microjoules up to a range."""

    def __init__(self, *, work_w=30.0, idle_w=10.0, call_ms=2.0, range_uj=10**12, drift_w=0.0, start_uj=0):
        super().__init__()
        self.work_w, self.idle_w, self.drift_w, self.call_ns = work_w, idle_w, drift_w, round(call_ms * MS)
        self.range_uj, self.used_j, self.rows, self.begin_uj = range_uj, 0.0, 0, start_uj

    def spend(self, watts, seconds):
        start, end = self.now / 1e9, self.now / 1e9 + seconds
        self.used_j += watts * seconds + self.drift_w * (end**2 - start**2) / 2
        self.now += round(seconds * 1e9)

    def sleep(self, seconds):
        self.spend(self.idle_w, seconds)

    def answer(self, batch):
        self.spend(self.work_w, self.call_ns / 1e9)
        self.rows += len(batch)
        return batch

    def read(self):
        return ((self.begin_uj + round(self.used_j * 1e6)) % self.range_uj,)

    @property
    def counter(self):
        return EnergyCounter("made up", ranges_uj=(self.range_uj,), read=self.read)

    def measure(self, **options):
        given = {"counter": self.counter, "clock": self.clock, "sleep": self.sleep, "progress": False} | options
        return measure_energy(self.answer, ROWS, **given)


# -- watts that are known --------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 10])
def test_joules_a_row_are_watts_times_seconds(batch_size):
    found = Machine(work_w=30, idle_w=10, call_ms=2).measure(batch_size=batch_size)
    assert found.joules_per_row == pytest.approx(30 * 0.002 / batch_size, rel=1e-4)
    assert found.above_idle == pytest.approx(20 * 0.002 / batch_size, rel=1e-4)
    assert found.watts == pytest.approx((30, 10), rel=1e-4)
    assert found.joules_range == pytest.approx((found.joules_per_row,) * 2, rel=1e-4)
    assert (len(found.turns), found.reason, found.stopped, found.batch_size) == (6, None, "n", batch_size)


watts = st.floats(1, 500)


@given(watts, watts, st.floats(0.5, 200), st.integers(10**6, 10**9), st.integers(0, 10**9), st.integers(1, 4))
@pytest.mark.rotated
def test_any_watts_and_any_range_of_the_counter(work_w, idle_w, call_ms, range_uj, start_uj, rounds):
    """The range may be so small that the counter begins anew in each turn; only twice in one is too often."""
    longest_s = 0.25 + call_ms / 1e3
    range_uj = max(range_uj, round(1e6 * max(work_w, idle_w) * 2 * longest_s) + 1)
    machine = Machine(work_w=work_w, idle_w=idle_w, call_ms=call_ms, range_uj=range_uj, start_uj=start_uj)
    found = machine.measure(seconds=0.25 * rounds, rounds=rounds)
    call_s = machine.call_ns / 1e9
    rounding = 4e-6 / min(turn.rows for turn in found.turns)
    assert found.joules_per_row == pytest.approx(work_w * call_s, rel=1e-6, abs=rounding)
    assert found.above_idle == pytest.approx((work_w - idle_w) * call_s, rel=1e-6, abs=2 * rounding)


def test_the_counter_began_anew_and_that_was_seen():
    """The positive control: without the range, the same machine would use less than nothing in some turn."""
    machine = Machine(range_uj=15 * 10**6)
    readings, read = [], machine.read
    machine.read = lambda: readings.append(read()) or readings[-1]
    found = machine.measure()
    assert any(later < earlier for (earlier,), (later,) in zip(readings[::2], readings[1::2], strict=True))
    assert found.joules_per_row == pytest.approx(0.06, rel=1e-4)


def test_a_machine_that_grows_hot_is_fair_to_work_and_rest():
    """Turns take the first place in turns: a steady drift falls out of the median of the differences."""
    found = Machine(work_w=30, idle_w=10, call_ms=2, drift_w=4.0).measure(seconds=6)
    assert found.above_idle == pytest.approx(0.04, rel=0.02)
    low, high = found.above_idle_range
    assert low < 0.04 < high
    firsts = Machine(work_w=30, idle_w=10, call_ms=2, drift_w=4.0).measure(seconds=1, rounds=1)
    assert firsts.above_idle < 0.04 * 0.98  # one order alone is off


def test_rest_is_as_long_as_work_and_both_take_turns_at_being_first():
    machine = Machine(call_ms=30)
    done = []
    sleep, answer = machine.sleep, machine.answer
    machine.sleep = lambda seconds: (done.append("rest"), sleep(seconds))
    machine.answer = lambda batch: (done.append("work"), answer(batch))[1]
    found = machine.measure(seconds=0.6, rounds=3)
    order = "".join(word[0] for i, word in enumerate(done) if i == 0 or done[i - 1] != word)
    assert order == "wrwrwr"[: len(order)]
    assert done.count("rest") == 3
    for turn in found.turns:
        assert turn.work_s == pytest.approx(turn.idle_s, abs=0.03)
    assert [turn.rows for turn in found.turns] == [7, 7, 7]  # 0.2 s of 30 ms


def test_the_files_of_a_linux_machine_are_counted(tmp_path):
    """From the kernel's files to joules a row, with two packages, one of which begins anew."""
    machine = Machine(work_w=30, idle_w=10, call_ms=2)
    folders = [tmp_path / f"sys/class/powercap/intel-rapl:{i}" for i in (0, 1)]
    shares, ranges = (0.75, 0.25), (20_000_000, 10**12)
    for i, folder in enumerate(folders):
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"package-{i}\n")
        (folder / "max_energy_range_uj").write_text(f"{ranges[i]}\n")

    def write():
        for folder, share, whole in zip(folders, shares, ranges, strict=True):
            (folder / "energy_uj").write_text(f"{round(machine.used_j * share * 1e6) % whole}\n")

    write()
    real = linux_counter(tmp_path)
    assert real.available
    seen = replace(real, read=lambda: (write(), real.read())[1])
    found = machine.measure(counter=seen)
    assert found.joules_per_row == pytest.approx(0.06, rel=1e-4)
    assert found.above_idle == pytest.approx(0.04, rel=1e-4)
    assert found.source == "RAPL, package-0, package-1"


# -- what cannot be counted is not made up -----------------------------------------------------------------


def is_unknown(found, words):
    assert (found.joules_per_row, found.joules_range, found.above_idle, found.above_idle_range, found.watts) == (
        (None,) * 5
    )
    assert words in found.reason
    assert found.turns == ()
    for text in (repr(found), found._repr_html_()):
        assert "energy was not measured" in text
        assert words in text
        assert "J a row" not in text
    assert json.loads(json.dumps(found.to_dict()))["joules_per_row"] is None


def test_no_counter_no_figure_and_nothing_is_run():
    machine = Machine()
    found = machine.measure(counter=EnergyCounter("", "this machine has none"))
    is_unknown(found, "this machine has none")
    assert machine.rows == 0


def test_this_machine_gives_a_figure_or_its_reason():
    found = measure_energy(lambda X: X, ROWS, seconds=0.3)
    print(found)
    counter = energy_counter()
    assert found.reason == counter.reason or counter.available
    assert (found.joules_per_row is None) == (found.reason is not None)


def test_a_counter_that_stands_still_is_reported():
    machine = Machine()
    found = machine.measure(counter=replace(machine.counter, read=lambda: (123,)))
    is_unknown(found, "the counter (made up) stood still through 0.33 s of work")


def test_a_counter_that_stops_later_is_reported():
    machine = Machine()
    read = machine.read
    found = machine.measure(counter=replace(machine.counter, read=lambda: read() if machine.now < 2e9 else (77,)))
    is_unknown(found, "stood still")


@pytest.mark.parametrize("error", [PermissionError("no more"), ValueError("invalid literal"), OSError("gone\naway")])
def test_a_counter_that_goes_away_is_reported(error):
    machine = Machine()
    read = machine.read

    def fail():
        if machine.now > 1e9:
            raise error
        return read()

    is_unknown(machine.measure(counter=replace(machine.counter, read=fail)), "could not be read any more")


def test_an_interrupt_keeps_the_whole_rounds():
    machine = Machine()
    answer = machine.answer

    def stop(batch):
        if machine.now > 1.5e9:
            raise KeyboardInterrupt
        return answer(batch)

    machine.answer = stop
    found = machine.measure()
    assert (found.stopped, 1 <= len(found.turns) < 6) == ("interrupt", True)
    assert found.joules_per_row == pytest.approx(0.06, rel=1e-4)
    machine = Machine()

    def stop_early(batch):
        if machine.now > 5 * MS:  # past the first call, before the first round
            raise KeyboardInterrupt
        machine.spend(30, 0.002)
        return batch

    machine.answer = stop_early
    with pytest.raises(KeyboardInterrupt):
        machine.measure()


# -- refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seconds": 0.29}, r"0\.05 or more for each of 6 rounds, 0\.3 in all, got 0\.29"),
        ({"seconds": 0}, "seconds"),
        ({"seconds": "2"}, "seconds"),
        ({"rounds": 0}, "rounds"),
        ({"rounds": 1.5}, "rounds"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 101}, "at most the 100 rows"),
    ],
)
def test_what_is_refused(options, words):
    for counter in (Machine().counter, EnergyCounter("", "none")):  # whether or not the machine could
        with pytest.raises(InputError, match=words):
            Machine().measure(counter=counter, **options)


def test_the_shortest_rounds_that_are_allowed():
    assert len(Machine().measure(seconds=0.3).turns) == 6


def test_a_model_that_raises_or_answers_nothing_is_said():
    machine = Machine()
    machine.answer = lambda batch: None
    with pytest.raises(InputError, match="returned nothing"):
        machine.measure()

    def fail(batch):
        machine.spend(1, 0.001)
        if machine.now > 5 * MS:
            raise ValueError("bad row")  # not to be taken for a counter that fails
        return batch

    machine.answer = fail
    with pytest.raises(CallError, match=r"call \d raised ValueError: bad row"):
        machine.measure()


def test_a_clock_that_stands_still_is_said(monkeypatch):
    monkeypatch.setattr(energies, "_CALLS_WITHOUT_TIME", 100)
    with pytest.raises(ClockError, match="saw no time pass in 100 calls"):
        Machine().measure(clock=lambda: 5)
    with pytest.raises(ClockError, match="while the machine rested"):
        Machine().measure(sleep=lambda seconds: None)


# -- shown ---------------------------------------------------------------------------------------------------


def test_it_reads_well():
    found = Machine(work_w=30, idle_w=10, call_ms=2).measure(name="<cnn>")
    assert repr(replace(found, busy=None)).splitlines() == [
        "<cnn>: 60.0 mJ (60.0 mJ to 60.0 mJ) a row",
        "  above rest: 40.0 mJ (40.0 mJ to 40.0 mJ) a row",
        "  30.0 W at work, 10.0 W at rest; median of 6 rounds, least to most; made up, all programs together",
    ]
    assert "&lt;cnn&gt;" in found._repr_html_()
    assert repr(replace(found, busy="others were here")).endswith("\n  others were here")


def test_less_than_at_rest_is_shown_as_it_is():
    found = Machine(work_w=10, idle_w=12, call_ms=2).measure()
    assert found.above_idle == pytest.approx(-0.004, rel=1e-3)
    assert "above rest: -4.00 mJ" in repr(found)


def test_the_frame_has_a_row_for_each_round():
    found = Machine().measure(rounds=3)
    frame = found.to_frame()
    assert list(frame["per_row"]) == [turn.work_j / turn.rows for turn in found.turns]
    assert json.loads(json.dumps(found.to_dict()))["turns"][2]["rows"] == found.turns[2].rows


# -- in a comparison -----------------------------------------------------------------------------------------


def test_a_comparison_puts_joules_into_the_ledger(monkeypatch):
    def fake(model, X, **options):
        machine = Machine(call_ms=float(model(X[:1])[0, 0]))
        return machine.measure(name=options["name"], batch_size=options["batch_size"])

    monkeypatch.setattr(compares, "measure_energy", fake)
    models = {"small": lambda X: np.ones_like(X), "large": lambda X: 3 * np.ones_like(X)}
    found = compare(models, ROWS, n=20, rounds=2, energy=True, batch_size=10, progress=False)
    assert [found[name].joules for name in models] == pytest.approx([0.003, 0.009], rel=1e-4)
    assert [found.energies[name].name for name in models] == list(models)
    assert "energy, mJ/row" in repr(found)


def test_a_comparison_without_a_counter_says_why_and_has_no_column(monkeypatch):
    none = EnergyCounter("", "this machine has none")
    monkeypatch.setattr(energies, "energy_counter", lambda: none)
    found = compare({"small": lambda X: X}, ROWS, n=20, rounds=2, energy=True)
    assert found["small"].joules is None
    assert found.energies["small"].reason == "this machine has none"
    assert "energy" not in repr(found)


def test_a_comparison_counts_no_energy_unless_asked(monkeypatch):
    monkeypatch.setattr(compares, "measure_energy", lambda *_, **__: pytest.fail("it was not asked for"))
    assert compare({"small": lambda X: X}, ROWS, n=20, rounds=2).energies == {}


# -- the price of a million ----------------------------------------------------------------------------------


@given(st.floats(1e-3, 1e9), st.floats(0, 1e4), st.floats(0.01, 1))
def test_the_price_is_that_of_the_hours(rows_per_s, rate, utilisation):
    """Against the bill: so many hours for a million, of which a share is used."""
    busy_hours = 1_000_000 / rows_per_s / 3600
    bill = busy_hours / utilisation * rate
    assert price_per_million(rows_per_s, rate, utilisation=utilisation) == pytest.approx(bill, rel=1e-12)


def test_half_the_use_is_twice_the_price_and_idle_time_is_no_bargain():
    full = price_per_million(1000, 0.1)
    assert full == pytest.approx(0.1 / 3.6)
    assert price_per_million(1000, 0.1, utilisation=0.5) == pytest.approx(2 * full)
    assert price_per_million(np.float64(1000), np.int64(0)) == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((0, 1), "rows_per_s"),
        ((-5, 1), "rows_per_s"),
        ((float("nan"), 1), "rows_per_s"),
        ((float("inf"), 1), "rows_per_s"),
        ((True, 1), "rows_per_s"),
        ((None, 1), "rows_per_s"),
        ((1, -1), "rate_per_hour"),
        ((1, "2"), "rate_per_hour"),
        ((1, 1, 0), "utilisation"),
        ((1, 1, 1.01), "utilisation"),
        ((1, 1, 70), "utilisation"),
    ],
)
def test_a_price_without_sense_is_refused(given, words):
    rows_per_s, rate, *more = given
    with pytest.raises(InputError, match=f"{words}: expected"):
        price_per_million(rows_per_s, rate, **({"utilisation": more[0]} if more else {}))


def test_a_result_without_rounds_is_no_figure():
    assert EnergyResult("x", 1, reason="none").joules_per_row is None

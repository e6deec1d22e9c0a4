"""The ledger: kept whole, shared between kernels, merged between machines, shown as it is."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferkit import InputError, MissingExtraError, benchmark
from inferkit.benchmark import Entry, Ledger
from inferkit.benchmark._ledger_views import digits
from inferkit.benchmark._store import VERSION, FileStore, LedgerError, MemoryStore
from inferkit.plots import compare_figure_data, figure_data

WHEN = "2025-03-01T10:00:00+00:00"


def entry(name="cnn", *, second=0, **fields):
    return Entry(
        name, **{"machine": "Desk", "machine_id": "aa11", "measured_at": f"2025-03-01T10:00:{second:02}Z"} | fields
    )


SMALL = entry("small", accuracy=0.95, p50_ms=0.02)
LARGE = entry("large", accuracy=0.98, p50_ms=0.3)
SILLY = entry("silly", accuracy=0.90, p50_ms=0.5)

small_floats = st.floats(0, 1e9) | st.none()
entries = st.builds(
    entry,
    st.sampled_from(["a", "b", "µ <b>"]),
    second=st.integers(0, 3),
    model_sha256=st.sampled_from([None, "0" * 64]),
    machine=st.sampled_from(["Desk", "Lap"]),
    machine_id=st.sampled_from(["aa11", "aa22", ""]),
    accuracy=st.floats(0, 1) | st.none(),
    p50_ms=small_floats,
    throughput=small_floats,
    size_bytes=st.integers(0, 2**40) | st.none(),
    joules=small_floats,
    batch_size=st.sampled_from([1, 64]),
    threads=st.sampled_from([None, 1]),
    stamp=st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=2),
)
ledgers = st.lists(entries, max_size=6).map(Ledger)


def content(ledger):
    return {one.key: one for one in ledger}


def child(code, *args, **options):
    """Start a Python process that runs some code."""
    lines = "import sys, os, signal\nfrom pathlib import Path\nfrom inferkit.benchmark import Entry, Ledger\n"
    return subprocess.Popen(
        [sys.executable, "-c", lines + textwrap.dedent(code), *map(str, args)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def finish(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


# -- an entry -----------------------------------------------------------------------------------


@given(entries)
def test_an_entry_comes_back_from_json(one):
    assert Entry.from_dict(json.loads(json.dumps(one.to_dict()))) == one


def test_an_entry_takes_numpy_numbers_and_keeps_plain_ones():
    one = entry(accuracy=np.float32(0.5), n=np.int64(3), p50_ms=np.float64(2))
    assert [type(value) for value in (one.accuracy, one.n, one.p50_ms)] == [float, int, float]
    assert json.loads(json.dumps(one.to_dict()))["n"] == 3


def test_an_entry_owns_its_stamp():
    stamp = {"cpu": ["one"]}
    one = entry(stamp=stamp)
    stamp["cpu"].append("two")
    one.to_dict()["stamp"]["cpu"].append("three")
    assert one.stamp == {"cpu": ["one"]}


def test_times_are_kept_in_utc():
    assert entry(measured_at="2025-03-01T12:00:00+02:00").measured_at == WHEN
    assert entry(measured_at=WHEN).measured_us == 1_740_823_200_000_000  # date -d ... +%s says so


def test_an_interval_may_miss_its_value_by_rounding_alone():
    assert entry(accuracy=1.0, accuracy_high=1.0 - 1e-16).accuracy_high == 1.0
    assert entry(p50_ms=0.1, p50_low=0.1 + 1e-17).p50_low <= 0.1


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": " "}, "name"),
        ({"name": 3}, "name"),
        ({"name": "\ud800"}, "UTF-8"),
        ({"machine": None}, "machine"),
        ({"model_sha256": "abc"}, "64 hexadecimal"),
        ({"accuracy": 97.0}, "0.97"),
        ({"accuracy": 0.5, "accuracy_high": 97.0}, "accuracy_high"),
        ({"accuracy": float("nan")}, "finite"),
        ({"p50_ms": -1.0}, "≥ 0"),
        ({"joules": -1e-9}, "joules.*≥ 0"),
        ({"p50_ms": float("inf")}, "finite"),
        ({"p50_ms": 10**400}, "finite"),
        ({"p50_ms": "fast"}, "number"),
        ({"p50_ms": True}, "number"),
        ({"p50_ms": 1.0, "p50_low": 1.1}, "from p50_low"),
        ({"p50_ms": 1.0, "p50_high": 0.9}, "from p50_low"),
        ({"p50_low": 0.9}, "to go with"),
        ({"n": 0}, "≥ 1"),
        ({"n": 1.5}, "whole"),
        ({"size_bytes": -1}, "≥ 0"),
        ({"batch_size": None}, "whole"),
        ({"threads": 2**70}, "whole"),
        ({"measured_at": "yesterday"}, "ISO 8601"),
        ({"measured_at": "2025-03-01T10:00:00"}, "zone"),
        ({"measured_at": None}, "ISO 8601"),
        ({"measured_at": "0001-01-01T00:00:00+14:00"}, "ISO 8601"),
        ({"stamp": {"a": float("nan")}}, "JSON"),
        ({"stamp": {"a": "\ud800"}}, "JSON"),
        ({"stamp": {"a": object()}}, "JSON"),
        ({"stamp": None}, "dict"),
    ],
)
def test_what_an_entry_refuses(fields, says):
    with pytest.raises(InputError, match=says):
        Entry(**{"name": "cnn"} | fields)


def test_fields_that_are_unknown_or_missing_are_refused():
    with pytest.raises(InputError, match=r"no field energy_j.*update"):
        Entry.from_dict(SMALL.to_dict() | {"energy_j": 3})
    with pytest.raises(InputError, match="needs the field measured_at"):
        Entry.from_dict({"name": "cnn"})
    with pytest.raises(InputError, match="dict"):
        Entry.from_dict(["cnn"])


def test_an_entry_from_before_joules_were_counted_is_read():
    old = SMALL.to_dict()
    del old["joules"]
    assert Entry.from_dict(old) == SMALL


def test_entries_can_be_kept_in_a_set():
    assert len({entry(stamp={"a": 1}), entry(stamp={"a": 1}), SMALL}) == 2


# -- a row for each key -------------------------------------------------------------------------


@pytest.fixture(params=["memory", "file"])
def ledger(request, tmp_path):
    return Ledger() if request.param == "memory" else Ledger.open(tmp_path / "ledger.sqlite")


def test_the_newer_takes_the_place_of_the_older(ledger):
    first, second, other = entry(second=1, p50_ms=1), entry(second=2, p50_ms=2), entry("other")
    ledger.add(first, other)
    ledger.add(second)
    assert list(ledger) == [second, other]
    ledger.add(first)
    assert list(ledger) == [second, other]


def test_of_two_measured_at_the_same_instant_the_later_one_counts(ledger):
    ledger.add(entry(p50_ms=1))
    ledger.add(entry(p50_ms=2))
    assert [one.p50_ms for one in ledger] == [2]


@pytest.mark.parametrize(
    "other", [{"name": "b"}, {"model_sha256": "0" * 64}, {"machine_id": "bb"}, {"batch_size": 8}, {"threads": 2}]
)
def test_what_makes_another_row(ledger, other):
    ledger.add(entry(), replace(entry(), **other))
    assert len(ledger) == 2


def test_a_machines_name_makes_no_other_row(ledger):
    ledger.add(entry(), entry(machine="Desk, renamed"))
    assert [one.machine for one in ledger] == ["Desk, renamed"]


def test_an_entry_is_found_by_its_name(ledger):
    ledger.add(SMALL, entry("large", second=1, threads=2), entry("large", second=2, threads=4))
    assert ledger["large"].threads == 4
    assert "small" in ledger
    assert SMALL in ledger
    assert "tiny" not in ledger
    with pytest.raises(KeyError, match=r"'tiny'.*large, small"):
        ledger["tiny"]


def test_only_entries_are_added(ledger):
    with pytest.raises(InputError, match="Entry"):
        ledger.add(SMALL, {"name": "cnn"})
    assert len(ledger) == 0


@settings(max_examples=40, deadline=None)
@given(st.lists(entries, max_size=12))
@pytest.mark.rotated
def test_a_file_keeps_what_a_dict_keeps(added):
    with tempfile.TemporaryDirectory() as folder:
        memory, file = MemoryStore(), FileStore(Path(folder) / "l.sqlite")
        for one in added:
            memory.put([one])
            file.put([one])
        assert file.read() == memory.read()


# -- the course's own ---------------------------------------------------------------------------


def test_open_finds_its_file(tmp_path, monkeypatch):
    monkeypatch.setenv("INFERKIT_LEDGER", str(tmp_path / "new" / "folder" / "l.sqlite"))
    Ledger.open().add(SMALL)
    assert list(Ledger.open()) == [SMALL]
    assert list(Ledger.open(tmp_path / "new" / "folder" / "l.sqlite")) == [SMALL]
    monkeypatch.setenv("INFERKIT_LEDGER", ":memory:")
    Ledger.open().add(SMALL)
    assert len(Ledger.open()) == 0
    monkeypatch.delenv("INFERKIT_LEDGER")
    monkeypatch.setattr("inferkit.benchmark._ledger.user_data_path", lambda name: tmp_path / name)
    Ledger.open().add(LARGE)
    assert list(Ledger.open(tmp_path / "inferkit" / "ledger.sqlite")) == [LARGE]


def test_odd_file_names_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a b?mode=ro#c%20.sqlite", "ü.sqlite", "file:x"):
        Ledger.open(name).add(SMALL)
        assert list(Ledger.open(tmp_path / name)) == [SMALL]
        assert (tmp_path / name).is_file()


def test_a_folder_is_no_ledger(tmp_path):
    with pytest.raises(InputError, match="folder"):
        Ledger.open(tmp_path)


def test_an_open_ledger_sees_what_another_adds(tmp_path):
    one, other = (Ledger.open(tmp_path / "l.sqlite") for _ in range(2))
    one.add(SMALL)
    assert list(other) == [SMALL]


def test_a_file_that_went_away_begins_anew(tmp_path):
    path = tmp_path / "l.sqlite"
    ledger = Ledger.open(path)
    ledger.add(SMALL)
    path.unlink()
    assert len(ledger) == 0
    ledger.add(LARGE)
    assert list(Ledger.open(path)) == [LARGE]


def test_an_empty_file_is_an_empty_ledger(tmp_path):
    path = tmp_path / "l.sqlite"
    path.touch()
    Ledger.open(path).add(SMALL)
    assert list(Ledger.open(path)) == [SMALL]


@pytest.mark.rotated
def test_two_processes_write_at_once_and_nothing_is_lost(tmp_path):
    code = """
        ledger = Ledger.open(sys.argv[1])
        sys.stdin.readline()  # both begin together
        for i in range(60):
            ledger.add(Entry(f"{sys.argv[2]}-{i}", stamp={"long": "x" * 500}))
    """
    path = tmp_path / "l.sqlite"
    writers = [child(code, path, name, stdin=subprocess.PIPE) for name in ("a", "b")]
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        finish(writer)
    names = [one.name for one in Ledger.open(path)]
    assert sorted(names) == sorted(f"{name}-{i}" for name in "ab" for i in range(60))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="NOT CHECKED: this system has no SIGKILL")
def test_a_kill_in_the_middle_of_a_write_leaves_the_ledger_whole(tmp_path):
    """Part of the write has reached the file by then: it is larger than SQLite's cache."""
    path = tmp_path / "l.sqlite"
    old = [entry("old", batch_size=i + 1, stamp={"long": "o" * 20_000}) for i in range(40)]
    Ledger.open(path).add(*old)
    before = path.stat().st_size
    code = """
        from inferkit.benchmark._store import FileStore
        def entries():
            for i in range(40):  # takes the place of what is there
                yield Entry("old", machine_id="aa11", batch_size=i + 1, stamp={"long": "n" * 9_000})
            for i in range(800):
                yield Entry("new", batch_size=i + 1, stamp={"long": "x" * 20_000})
            print(Path(sys.argv[1]).stat().st_size, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        FileStore(Path(sys.argv[1])).put(entries())
    """
    process = child(code, path)
    out, err = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, err
    assert int(out) > before + 1_000_000
    assert list(Ledger.open(path)) == old


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="NOT CHECKED: this system has no SIGKILL")
@pytest.mark.rotated
def test_kills_at_any_instant_lose_nothing_that_was_added(tmp_path):
    path = tmp_path / "l.sqlite"
    code = """
        ledger = Ledger.open(sys.argv[1])
        for i in range(100_000):
            ledger.add(Entry(f"{sys.argv[2]}-{i}"))
            print(f"{sys.argv[2]}-{i}", flush=True)
    """
    said = set()
    for turn in range(6):
        process = child(code, path, turn)
        for _ in range(3 + 7 * turn):
            said.add(process.stdout.readline().strip())
        process.kill()
        said |= {line for line in process.communicate()[0].split("\n") if line}
        kept = {one.name for one in Ledger.open(path)}
        assert said <= kept
        assert len(kept - said) <= turn + 1  # one may be written and not yet said


# -- where it can't be written ------------------------------------------------------------------


def as_nobody(code, path):
    """Run code as a user who may not write where `path` is, even if the tests run as root."""
    become_nobody = """
        import urllib.parse  # pathlib asks for it late, and that user may not be let into Python's own folder
        if os.geteuid() == 0:
            os.setgroups([]), os.setgid(65534), os.setuid(65534)
    """
    return finish(child(textwrap.dedent(become_nobody) + textwrap.dedent(code), path))


OPENS = """
    import warnings
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ledger = Ledger.open(sys.argv[1])
        ledger.add(Entry("new"))
    print([one.name for one in ledger])
    print(*(str(one.message) for one in caught if "ledger" in str(one.message)), sep="\\n")
"""


@pytest.fixture
def visible():
    """Return a folder that every user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
        Path(folder).chmod(0o755)


@pytest.mark.skipif(os.name != "posix", reason="NOT CHECKED: rights are another matter here")
def test_a_folder_that_cannot_be_written_to_gives_a_ledger_in_memory(visible):
    visible.chmod(0o555)
    names, *said = as_nobody(OPENS, visible / "l.sqlite").splitlines()
    assert names == "['new']"
    assert len(said) == 1
    assert re.search(r"will not be kept.*0 entries could be read.*l\.sqlite", said[0])


@pytest.mark.skipif(os.name != "posix", reason="NOT CHECKED: rights are another matter here")
def test_a_file_that_cannot_be_written_to_is_read(visible):
    path = visible / "l.sqlite"
    Ledger.open(path).add(SMALL)
    before = path.read_bytes()
    path.chmod(0o444)
    visible.chmod(0o555)
    names, *said = as_nobody(OPENS, path).splitlines()
    assert names == "['small', 'new']"
    assert len(said) == 1
    assert "1 entry could be read" in said[0]
    assert path.read_bytes() == before


@pytest.mark.skipif(os.name != "posix", reason="NOT CHECKED: rights are another matter here")
def test_a_file_that_cannot_even_be_read_gives_a_ledger_in_memory(visible):
    path = visible / "l.sqlite"
    Ledger.open(path).add(SMALL)
    path.chmod(0o000)
    assert as_nobody(OPENS, path).splitlines()[0] == "['new']"


def test_a_parent_that_is_a_file_gives_a_ledger_in_memory(tmp_path):
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="will not be kept"):
        ledger = Ledger.open(tmp_path / "file" / "l.sqlite")
    ledger.add(SMALL)
    assert list(ledger) == [SMALL]


def test_a_ledger_that_is_locked_for_long_goes_on_in_memory(tmp_path, monkeypatch):
    path = tmp_path / "l.sqlite"
    ledger = Ledger.open(path)
    ledger.add(SMALL)
    monkeypatch.setattr("inferkit.benchmark._store._PATIENCE_S", 0.05)
    holder = sqlite3.connect(path, isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.warns(UserWarning, match=r"1 entry could be read.*locked") as caught:
            ledger.add(LARGE)
    finally:
        holder.close()
    assert caught[0].filename == __file__  # it points at the reader's own line
    assert list(ledger) == [SMALL, LARGE]
    assert list(Ledger.open(path)) == [SMALL]


# -- damaged, newer, something else -------------------------------------------------------------


def is_refused(path, match):
    """Check that opening, reading and adding refuse with a clear error, and leave the file as it is."""
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=match) as caught:
        Ledger.open(path)
    assert str(path) in str(caught.value)
    assert "left as it is" in str(caught.value)
    with pytest.raises(LedgerError, match=match):
        FileStore(path).read()
    assert path.read_bytes() == before


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "l.sqlite"
    Ledger.open(path).add(SMALL, LARGE)
    return path


def change(path, *statements):
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_newer_ledger_is_refused(kept):
    change(kept, f"PRAGMA user_version = {VERSION + 1}", "CREATE TABLE more (x)")
    is_refused(kept, f"version {VERSION + 1}.*reads {VERSION}.*git pull")


def test_another_programs_file_is_refused(tmp_path):
    path = tmp_path / "bookmarks.sqlite"
    change(path, "CREATE TABLE entries (place, key)", "INSERT INTO entries VALUES (1, 2)")
    is_refused(path, "no ledger of inferkit")


def test_a_text_file_is_refused(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but quite long enough to look at; " * 20)
    is_refused(path, "damaged or no ledger.*move it away")


def test_a_file_that_was_cut_is_refused(kept):
    whole = kept.read_bytes()
    for length in (2, 50, 100, 511, 4096, len(whole) - 4096, len(whole) - 1):
        kept.write_bytes(whole[:length])
        is_refused(kept, "damaged")


def test_a_damage_that_makes_sqlites_own_message_unreadable_is_refused(kept):
    kept.write_bytes(kept.read_bytes().replace(b"CREATE TABLE entries", b"CR\xc5ATE TABLE entries"))
    is_refused(kept, "damaged")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET entry = replace(entry, '0.02', '0.03')",  # one digit of a measurement
        "UPDATE entries SET entry = '{'",
        "UPDATE entries SET entry = CAST(entry AS BLOB) || x'ff'",
        "UPDATE entries SET checksum = checksum + 1",
        "UPDATE entries SET measured_us = measured_us + 1",
        "UPDATE entries SET key = key || 'x'",
        "ALTER TABLE entries RENAME TO others",
        "PRAGMA user_version = 0",
    ],
)
def test_a_changed_file_is_found_out(kept, statement):
    change(kept, statement)
    with pytest.raises(LedgerError, match="damaged"):
        list(Ledger.open(kept))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_byte_changes_nothing_unseen(kept, data):
    whole = kept.read_bytes()
    place, mask = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(1, 255))
    try:
        kept.write_bytes(whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :])
        with warnings.catch_warnings(), suppress(LedgerError):
            warnings.simplefilter("ignore")  # one byte says that the file is for reading alone
            assert list(Ledger.open(kept)) == [SMALL, LARGE]
    finally:
        for path in kept.parent.glob("l.sqlite*"):
            path.unlink()
        kept.write_bytes(whole)


# -- JSON ---------------------------------------------------------------------------------------


@given(ledgers)
def test_json_gives_the_same_ledger(one):
    assert list(Ledger.from_json(one.to_json())) == list(one)


def test_json_is_written_to_a_file_and_read_from_it(tmp_path):
    path = tmp_path / "mine.json"
    text = Ledger([SMALL, LARGE]).to_json(path)
    assert path.read_text(encoding="utf-8").strip() == text
    for source in (path, str(path), text):
        assert list(Ledger.from_json(source)) == [SMALL, LARGE]
    path.write_text("\ufeff" + text, encoding="utf-8")  # as some editors save it
    assert len(Ledger.from_json(path)) == 2


def test_a_json_file_that_is_missing_says_what_was_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"to_json.*nowhere\.json"):
        Ledger.from_json(tmp_path / "nowhere.json")


def test_json_of_a_newer_version_is_refused():
    text = Ledger([SMALL]).to_json().replace(f'"version": {VERSION}', f'"version": {VERSION + 1}')
    with pytest.raises(LedgerError, match=f"version {VERSION + 1}.*git pull"):
        Ledger.from_json(text)


GOOD = Ledger([SMALL]).to_json()


@pytest.mark.parametrize(
    "text",
    [
        "", " \n", "{", "[]", "{}", GOOD[:-20], GOOD[20:], GOOD.replace("inferkit ledger", "other"),
        GOOD.replace("0.95", "NaN"), GOOD.replace("0.95", "1e999"), GOOD.replace("0.95", '"0.95"'),
        GOOD.replace("0.95", "9" * 5000), GOOD.replace('"accuracy"', '"precision"'),
        GOOD.replace('"version": 1', '"version": 0'),
        GOOD.replace('"version": 1', '"version": "1"'), GOOD.replace('"entries"', '"rows"'), "[" * 100_000,
        '{"format": "inferkit ledger", "version": 1, "entries": [3]}',
    ],
)  # fmt: skip
def test_damaged_json_is_refused(text):
    with pytest.raises(LedgerError, match=r"damaged or no ledger.*to_json"):
        Ledger.from_json(text)


def test_a_json_file_of_other_bytes_is_refused(tmp_path):
    path = tmp_path / "mine.json"
    path.write_bytes(b"\xff\xfe\x00 nothing to read")
    with pytest.raises(LedgerError, match=r"mine\.json.*UTF-8"):
        Ledger.from_json(path)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
documents = st.fixed_dictionaries(
    {"format": st.just("inferkit ledger"), "version": st.just(VERSION)},
    optional={
        "entries": plain
        | st.lists(
            st.fixed_dictionaries({"name": plain, "measured_at": st.just(WHEN) | plain},
                                  optional=dict.fromkeys(["accuracy", "n", "stamp", "batch_size", "machine_id"], plain))
        )
    },
)  # fmt: skip


@given(documents | plain)
def test_json_of_any_content_is_read_or_refused(document):
    try:
        found = Ledger.from_json(json.dumps(document))
    except LedgerError:
        return
    except FileNotFoundError:
        assert not isinstance(document, dict | list)  # a bare word could be a path
        return
    assert len(found) <= len(document["entries"])


# -- merged with other machines' ----------------------------------------------------------------


# Few keys, few instants: so that the same key meets itself.
rivals = st.lists(
    st.builds(entry, st.sampled_from("ab"), second=st.integers(0, 1), p50_ms=st.sampled_from([1.0, 2.0, None])),
    max_size=4,
).map(Ledger)


@given(ledgers | rivals, ledgers | rivals, ledgers | rivals)
def test_merging_needs_no_order_and_no_second_time(a, b, c):
    merged = a.merge(b)
    assert content(merged.merge(b)) == content(merged) == content(b.merge(a)) == content(b.merge(a).merge(a))
    assert content(a.merge(b, c)) == content(a.merge(b).merge(c)) == content(a.merge(b.merge(c)))
    assert list(a.merge()) == list(a) == list(a.merge(a))


@given(ledgers, ledgers)
@pytest.mark.rotated
def test_merging_keeps_every_key_and_the_newest_of_each(a, b):
    newest = {}
    for one in (*a, *b):
        newest[one.key] = max(newest.get(one.key, 0), one.measured_us)
    assert {one.key: one.measured_us for one in a.merge(b)} == newest


def test_of_two_measured_at_the_same_instant_merging_takes_the_same_one_from_either_side():
    a, b = Ledger([entry(p50_ms=1.0)]), Ledger([entry(p50_ms=2.0)])
    assert list(a.merge(b)) == list(b.merge(a))


def test_merging_keeps_the_places():
    newer = entry("small", second=5)
    assert list(Ledger([SMALL, LARGE]).merge(Ledger([SILLY, newer]))) == [newer, LARGE, SILLY]


def test_merging_leaves_both_as_they_are(kept):
    mine, other = Ledger.open(kept), Ledger([SILLY])
    assert [one.name for one in mine.merge(other)] == ["small", "large", "silly"]
    assert (len(mine), len(other), len(Ledger.open(kept))) == (2, 1, 2)
    with pytest.raises(InputError, match="from_json"):
        mine.merge("other.json")


# -- which are beaten ---------------------------------------------------------------------------


def names(ledger):
    return [one.name for one in ledger]


def test_the_front_of_three():
    assert names(Ledger([SMALL, LARGE, SILLY]).pareto()) == ["small", "large"]


points = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5)), min_size=1, max_size=8)


@given(points, st.sampled_from([("p50_ms", "accuracy"), ("size_bytes", "peak_mb"), ("throughput", "accuracy")]))
def test_without_intervals_the_front_is_the_textbooks(pairs, axes):
    """Against the definition, spelled out for each pair of points."""
    more = {"accuracy", "throughput"}
    x, y = axes
    values = [
        {axis: value / 5 if axis == "accuracy" else value for axis, value in zip(axes, pair, strict=True)}
        for pair in pairs
    ]
    ledger = Ledger([entry(str(i), **fields) for i, fields in enumerate(values)])

    def score(fields):
        return [fields[axis] if axis in more else -fields[axis] for axis in axes]

    def is_beaten(fields):
        mine = score(fields)
        rivals = map(score, values)
        return any(r[0] >= mine[0] and r[1] >= mine[1] and r != mine for r in rivals)

    expected = [str(i) for i, fields in enumerate(values) if not is_beaten(fields)]
    assert names(ledger.pareto(x, y)) == expected


def test_an_entry_whose_interval_overlaps_is_not_called_beaten():
    best = entry("best", accuracy=0.98, accuracy_low=0.97, accuracy_high=0.99, p50_ms=1.0, p50_low=0.9, p50_high=1.1)
    near = entry("near", accuracy=0.965, accuracy_low=0.955, accuracy_high=0.971, p50_ms=2.0, p50_low=1.9, p50_high=2.1)
    far = replace(near, name="far", accuracy_high=0.969)
    assert names(Ledger([best, near, far]).pareto()) == ["best", "near"]
    slow = replace(far, name="slow", p50_low=None)  # its sample does not bound it from below
    assert names(Ledger([best, slow]).pareto()) == ["best", "slow"]


def test_machines_do_not_beat_each_other():
    slower = replace(SMALL, name="small there", machine_id="bb22", p50_ms=0.2)
    assert names(Ledger([SMALL, slower]).pareto()) == ["small", "small there"]


with_intervals = st.tuples(
    st.integers(1, 5), st.integers(0, 5), st.integers(0, 1), st.sampled_from(["aa11", "bb22", "cc33"])
)


@given(st.lists(with_intervals, max_size=10))
def test_the_front_of_several_machines_is_the_front_of_each(drawn):
    """No entry of one machine drives out another's, whatever the values and the intervals."""
    rows = [
        entry(
            str(i), machine_id=machine, p50_ms=time, p50_low=time - wide / 2, p50_high=time + wide / 2, accuracy=a / 5
        )
        for i, (time, a, wide, machine) in enumerate(drawn)
    ]
    of_each = [Ledger([one for one in rows if one.machine_id == machine]) for machine in ("aa11", "bb22", "cc33")]
    merged = of_each[0].merge(*of_each[1:])
    assert sorted(names(merged.pareto())) == sorted(name for one in of_each for name in names(one.pareto()))


def test_what_was_not_measured_is_not_on_the_front():
    assert names(Ledger([SMALL, entry("untested", p50_ms=0.001)]).pareto()) == ["small"]
    with pytest.raises(InputError, match=r"p50_ms.*got 'speed'"):
        Ledger([SMALL]).pareto(x="speed")


# -- shown --------------------------------------------------------------------------------------

FULL = entry(
    "full", accuracy=0.972, accuracy_low=0.951, accuracy_high=0.984, n_test=360, p50_ms=0.0117,
    p50_low=0.0115, p50_high=0.0121, p90_ms=0.0152, n=500, throughput=85470.0, size_bytes=158_120, peak_mb=63.4,
    threads=1,
)  # fmt: skip


def html_rows(ledger):
    found = re.findall(r"<tr>(.*?)</tr>", ledger._repr_html_())
    return [[re.sub(r"<.*?>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in found]


def test_the_table_has_units_intervals_and_says_what_the_sample_does_not_support():
    head, row = html_rows(Ledger([FULL]))
    assert dict(zip(head, row, strict=True)) == {
        "model": "full", "accuracy, %": "97.2 (95.1–98.4)", "p50, µs": "11.7 (11.5–12.1)", "p90, µs": "15.2",
        "p99, µs": "–", "calls": "500", "throughput, rows/s": "85,470", "size, kB": "158", "peak memory, MB": "63.4",
    }  # fmt: skip
    caption = re.search("<caption>(.*)</caption>", Ledger([FULL])._repr_html_())[1]
    assert caption == "Desk · batch size 1 · threads 1 · tested on 360 rows"


def test_the_text_table_says_the_same_as_the_html():
    ledger = Ledger([FULL, SMALL, replace(FULL, machine_id="bb", machine="Lap")])
    lines = repr(ledger).splitlines()
    for line, cells in zip(lines[-4:], html_rows(ledger), strict=True):
        assert re.split(r"\s{2,}", line.strip()) == cells
    assert len({len(line) for line in lines[-4:]}) == 1  # the columns stand under each other


def test_an_open_end_is_shown_as_open():
    assert "11.7 (?–12.1)" in repr(Ledger([replace(FULL, p50_low=None)]))
    assert "11.7 (11.5–?)" in repr(Ledger([replace(FULL, p50_high=None)]))


def test_slow_models_are_shown_in_milliseconds_and_large_ones_in_megabytes():
    head, row = html_rows(Ledger([entry(p50_ms=12.3, size_bytes=2_500_000)]))
    assert (row[head.index("p50, ms")], row[head.index("size, MB")]) == ("12.3", "2.50")


@pytest.mark.parametrize(
    ("least", "unit", "shown"),
    [(2.5e-7, "µJ/row", "0.250"), (4e-3, "mJ/row", "4.00"), (0.9, "mJ/row", "900"), (3, "J/row", "3.00")],
)
def test_energy_is_shown_in_a_unit_that_suits_and_only_where_it_was_counted(least, unit, shown):
    head, row, other = html_rows(Ledger([entry(joules=least), SMALL]))
    assert (row[head.index(f"energy, {unit}")], other[head.index(f"energy, {unit}")]) == (shown, "–")
    assert not any(header.startswith("energy") for header in html_rows(Ledger([SMALL, LARGE]))[0])
    head, row = html_rows(Ledger([replace(FULL, joules=least)]))
    assert row[head.index("calls")] == "500"
    assert head[head.index("calls") + 1] == "throughput, rows/s"


def test_two_machines_of_one_name_are_told_apart_by_a_short_id():
    ledger = Ledger([SMALL, LARGE]).merge(
        Ledger([replace(SMALL, machine_id="aa11cc99")]), Ledger([replace(SMALL, machine_id="")])
    )
    head, *rows = html_rows(ledger)
    assert [row[head.index("machine")] for row in rows] == [
        "Desk (aa11)",
        "Desk (aa11)",
        "Desk (aa11c)",
        "Desk (no id)",
    ]
    assert "machine" not in html_rows(Ledger([SMALL, LARGE]))[0]


@pytest.mark.parametrize(
    ("other", "first", "second"),
    [
        ({"batch_size": 64}, "small ×1", "small ×64"),
        ({"threads": 2}, "small threads unknown", "small 2 threads"),
        ({"model_sha256": "ab" * 32}, "small (no hash)", "small (abab)"),
        ({"machine_id": "bb"}, "small", "small"),
    ],
)
def test_entries_of_one_name_are_told_apart(other, first, second):
    _, one, two, three = html_rows(Ledger([SMALL, replace(SMALL, **other), LARGE]))
    assert [one[0], two[0], three[0]] == [first, second, "large"]


def test_names_are_escaped():
    odd = entry("<script>", machine="<script>")
    assert "<script>" not in Ledger([odd])._repr_html_()
    assert "<script>" not in Ledger([odd, entry("other", machine_id="bb")])._repr_html_()


def test_an_empty_ledger_says_what_to_do():
    for text in (repr(Ledger()), Ledger()._repr_html_()):
        assert "empty" in text
        assert "compare(" in text
    assert len(Ledger().pareto()) == 0
    assert len(Ledger().to_frame()) == 0
    with pytest.raises(InputError, match=r"empty.*compare"):
        Ledger().plot()


@given(st.floats(1e-9, 1e12))
def test_digits_keep_three_figures_and_no_exponent(value):
    text = digits(value).replace(",", "")
    assert "e" not in text
    assert float(text) == pytest.approx(value, rel=0.00501)


def test_the_frame_has_every_field_in_its_own_type():
    frame = Ledger([FULL, SMALL]).to_frame()
    assert set(frame.columns) == set(FULL.to_dict()) - {"stamp"}
    assert frame["p50_ms"].dtype == "float64"
    assert frame["n"].dtype == "Int64"
    assert frame["p99_ms"].dtype == "float64"  # though nothing is in it
    assert frame["p99_ms"].isna().all()
    assert list(frame["accuracy"]) == [0.972, 0.95]


def test_without_pandas_to_frame_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match='pip install "pandas>='):
        Ledger().to_frame()


# -- the figure ---------------------------------------------------------------------------------


def drawn(ledger, *axes):
    return figure_data(ledger.plot(*axes))["axes"][0]


def parts(axes, kind):
    return [artist for artist in axes["artists"] if artist["kind"] == kind]


def test_the_figure_shows_each_entry_where_it_was_measured():
    axes = drawn(Ledger([SMALL, LARGE, SILLY]))
    dots = [(line["x"], line["y"]) for line in parts(axes, "line") if len(line["x"]) == 1]
    assert dots == [([20.0], [95.0]), ([300.0], [98.0]), ([500.0], [90.0])]
    assert (axes["xlabel"], axes["ylabel"]) == ("p50, µs (log, less is better)", "accuracy, % (more is better)")
    assert (axes["xscale"], axes["yscale"]) == ("log", "linear")
    assert {text["text"] for text in parts(axes, "text")} == {"small", "large", "silly"}
    assert axes["title"] == "Desk hollow: beaten"


def test_the_front_goes_through_the_best_from_edge_to_edge():
    axes = drawn(Ledger([SMALL, LARGE, SILLY]))
    (front,) = [line for line in parts(axes, "line") if len(line["x"]) > 1]
    right, bottom = axes["xlim"][1], axes["ylim"][0]
    np.testing.assert_allclose(front["x"], [20, 20, 300, 300, right], rtol=1e-4)
    np.testing.assert_allclose(front["y"], [bottom, 95, 95, 98, 98], rtol=1e-4)


def test_the_front_leaves_out_what_is_beaten_by_any():
    """The third is better than the second one, and worse than the first."""
    third = entry("third", accuracy=0.96, p50_ms=1.0)
    axes = drawn(Ledger([LARGE, third, replace(SILLY, p50_ms=0.6)]))
    (front,) = [line for line in parts(axes, "line") if len(line["x"]) > 1]
    assert len(front["x"]) == 3
    steps = drawn(
        Ledger([entry(str(i), accuracy=a, p50_ms=t) for i, (a, t) in enumerate([(0.9, 1), (0.95, 2), (0.93, 3)])])
    )
    (front,) = [line for line in parts(steps, "line") if len(line["x"]) > 1]
    assert len(front["x"]) == 5


def test_the_front_turns_where_more_is_better():
    fast = entry("fast", throughput=1000.0, peak_mb=300.0)
    lean = entry("lean", throughput=100.0, peak_mb=30.0)
    axes = drawn(Ledger([fast, lean]), "throughput", "peak_mb")
    (front,) = [line for line in parts(axes, "line") if len(line["x"]) > 1]
    left, top = axes["xlim"][0], axes["ylim"][1]
    np.testing.assert_allclose(front["x"], [left, 100, 100, 1000, 1000], rtol=1e-4)
    np.testing.assert_allclose(front["y"], [30, 30, 300, 300, top], rtol=1e-4)


def test_intervals_are_drawn_as_bars():
    axes = Ledger([FULL]).plot().axes[0]
    bars = sorted(np.concatenate([bar for bars in axes.collections for bar in bars.get_segments()]).round(4).tolist())
    assert bars == [[11.5, 97.2], [11.7, 95.1], [11.7, 98.4], [12.1, 97.2]]


def test_a_beaten_entry_is_hollow():
    axes = Ledger([SMALL, SILLY]).plot().axes[0]
    faces = [line.get_markerfacecolor() for line in axes.lines if line.get_marker() == "o"]
    assert faces[1] == "white" != faces[0]


def test_an_entry_that_overlaps_the_front_is_filled_though_the_line_passes_it_by():
    near = replace(SILLY, name="near", accuracy_low=0.85, accuracy_high=0.981)
    figure = Ledger([LARGE, near]).plot()
    faces = [line.get_markerfacecolor() for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert "white" not in faces
    (front,) = [line for line in parts(figure_data(figure)["axes"][0], "line") if len(line["x"]) > 1]
    assert len(front["x"]) == 3  # it turns at one entry alone


def test_energy_can_be_an_axis_and_less_is_better():
    thrifty, thirsty = replace(SMALL, joules=2e-5), replace(LARGE, joules=9e-4)
    beaten = entry("beaten", accuracy=0.9, joules=3e-5)
    ledger = Ledger([thrifty, thirsty, beaten])
    assert names(ledger.pareto("joules")) == ["small", "large"]
    axes = drawn(ledger, "joules")
    assert axes["xlabel"] == "energy, µJ/row (log, less is better)"
    dots = [(line["x"], line["y"]) for line in parts(axes, "line") if len(line["x"]) == 1]
    assert dots[0] == (pytest.approx([20.0]), [95.0])
    with pytest.raises(InputError, match="none of its 1 entries has both"):
        Ledger([SMALL]).plot("joules")


def test_two_machines_have_their_own_colours_names_and_fronts():
    there = [replace(one, machine_id="bb22", machine="Lap", p50_ms=3 * one.p50_ms) for one in (SMALL, LARGE)]
    axes = drawn(Ledger([SMALL, LARGE, *there]))
    fronts = [line for line in parts(axes, "line") if len(line["x"]) > 1]
    assert [line["label"] for line in fronts] == ["Desk", "Lap"]
    assert len({line["colour"] for line in fronts}) == 2
    assert {"Desk", "Lap"} <= {text["text"] for text in parts(axes, "text")}
    assert axes["title"] == ""


HEAP = [entry(f"model-{i}", accuracy=0.95 + 0.001 * i, p50_ms=0.1 * 1.02**i) for i in range(5)]
ROW = [entry(f"a row of models-{i}", accuracy=0.95, p50_ms=0.1 * 1.3**i) for i in range(6)]
EDGE = [entry("small", accuracy=0.5, p50_ms=0.01), entry("a model with a very long name", accuracy=0.9, p50_ms=12.0)]


@pytest.mark.parametrize("crowd", [HEAP + EDGE, ROW, [SMALL, *ROW], EDGE], ids=["heap", "row", "beaten", "edge"])
def test_labels_cover_neither_points_nor_each_other(crowd):
    axes = Ledger(crowd).plot().axes[0]
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == len(crowd)
    dots = axes.transData.transform([line.get_xydata()[0] for line in axes.lines if len(line.get_xydata()) == 1])
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
        assert not any(box.padded(6).contains(*dot) for dot in dots)  # half a dot is 7 pixels
        assert axes.get_window_extent().x0 <= box.x0 < box.x1 <= axes.get_window_extent().x1


def test_a_time_of_zero_is_drawn_on_a_linear_axis():
    axes = drawn(Ledger([SMALL, entry("instant", accuracy=0.5, p50_ms=0.0)]))
    assert axes["xscale"] == "linear"


def test_the_figure_is_large_enough_for_the_back_row_and_leaves_the_style_alone():
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        before = dict(matplotlib.rcParams)
        Ledger([SMALL, LARGE]).plot()
        assert dict(matplotlib.rcParams) == before
    fig = Ledger([SMALL, LARGE]).plot()
    axes = fig.axes[0]
    texts = [
        axes.title,
        axes.xaxis.label,
        axes.yaxis.label,
        *axes.texts,
        *axes.get_xticklabels(),
        *axes.get_yticklabels(),
    ]
    assert min(text.get_fontsize() for text in texts) >= 14
    assert tuple(fig.get_size_inches()) == (11, 5)


def test_the_same_ledger_gives_the_same_figure():
    ledger = Ledger([FULL, SMALL, LARGE, SILLY])
    assert compare_figure_data(figure_data(ledger.plot()), figure_data(ledger.plot())) == []


def test_nothing_to_draw_is_said():
    with pytest.raises(InputError, match=r"none of its 1 entries has both.*compare"):
        Ledger([entry(p50_ms=1.0)]).plot()
    with pytest.raises(InputError, match="expected a field with numbers"):
        Ledger([SMALL]).plot(y="name")


def test_inputs_go_on_from_round_to_round():
    """Of 40 rows in 8 rounds of 5 each is timed once; those that settle a model come just before and do not count."""
    asked = []

    def answer(batch):
        asked.append(int(batch[0, 0]))
        return batch

    rows = np.arange(40).reshape(40, 1)
    benchmark.compare({"a": answer}, rows, n=40, rounds=8, warmup=0, progress=False)
    turns = np.array(asked[-8 * 8 :]).reshape(8, 8)
    assert turns[:, 3:].ravel().tolist() == list(range(40))
    assert turns[:, :3].ravel().tolist() == [(5 * k - 3 + i) % 40 for k in range(8) for i in range(3)]

"""Made patients: the contract, the process against its own truth; the bundled ones are those that were registered."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets import make_clinics as script
from inferkit import InputError, ModelFileError
from inferkit.datasets import _registered, load_clinics, make_clinics
from inferkit.datasets._clinics import CLINIC_SIZES, DOSES_MG, TRUTH, DoseResponse, as_csv


def test_the_bundled_patients_have_the_contract_of_all_loaders():
    clinics = load_clinics()
    assert clinics.data.shape == (600, 2)
    assert clinics.data.dtype == clinics.target.dtype == np.float64
    assert np.bincount(clinics.data[:, 0].astype(int)).tolist() == list(CLINIC_SIZES)
    assert set(clinics.data[:, 1]) == set(DOSES_MG)
    assert clinics.truth.clinic_slope.shape == clinics.truth.clinic_intercept.shape == (24,)
    assert clinics.truth.patient_slope.shape == (600,)
    assert clinics.truth.population == TRUTH
    X, y = load_clinics(return_X_y=True)
    np.testing.assert_array_equal(X, clinics.data)
    np.testing.assert_array_equal(y, clinics.target)


def test_they_come_as_a_data_frame():
    frame = load_clinics(as_frame=True).frame
    assert frame.columns.tolist() == ["clinic", "dose", "target"]


def test_the_bundled_file_is_what_the_program_writes(tmp_path):
    script.write(tmp_path)
    assert (tmp_path / "clinics.csv").read_bytes() == as_csv(make_clinics(random_state=script.SEED))
    ours, theirs = load_clinics(), make_clinics(random_state=script.SEED)
    np.testing.assert_allclose(ours.target, theirs.target, atol=5.1e-4)  # the file has three decimals
    np.testing.assert_allclose(ours.truth.patient_slope, theirs.truth.patient_slope, atol=5.1e-4)
    np.testing.assert_allclose(ours.truth.clinic_slope, theirs.truth.clinic_slope, atol=5.1e-4)


def test_a_changed_file_is_refused(tmp_path, monkeypatch):
    script.write(tmp_path)
    (tmp_path / "clinics.csv").write_bytes((tmp_path / "clinics.csv").read_bytes().replace(b"0", b"1", 1))
    monkeypatch.setattr(_registered, "bundled", lambda name: tmp_path / name)
    with pytest.raises(ModelFileError, match=r"clinics\.csv: expected SHA-256"):
        load_clinics()


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(0, 2**32))
def test_sizes_and_doses_are_as_asked(sizes, seed):
    clinics = make_clinics(sizes, seed)
    for k, size in enumerate(sizes):
        doses = clinics.data[clinics.data[:, 0] == k, 1]
        counts = [np.count_nonzero(doses == dose) for dose in DOSES_MG]
        assert sum(counts) == size
        assert max(counts) - min(counts) <= 1  # dealt as evenly as the size allows
    np.testing.assert_array_equal(clinics.target, make_clinics(sizes, seed).target)


def test_with_no_spread_the_response_is_the_line():
    flat = DoseResponse(4, 3, 0, 0, 0, 0)
    clinics = make_clinics([7, 3], 1, truth=flat)
    np.testing.assert_allclose(clinics.target, 4 + 0.3 * clinics.data[:, 1])


@pytest.mark.parametrize(
    ("name", "estimate"),
    [
        ("intercept", lambda c: c.truth.clinic_intercept.mean()),
        ("slope", lambda c: c.truth.clinic_slope.mean()),
        ("intercept_sd", lambda c: c.truth.clinic_intercept.std()),
        ("slope_sd", lambda c: c.truth.clinic_slope.std()),
        ("patient_slope_sd", lambda c: (c.truth.patient_slope - c.truth.clinic_slope[c.data[:, 0].astype(int)]).std()),
        ("noise_sd", lambda c: (c.target - _expected(c)).std()),
    ],
)
def test_the_process_has_the_truth_that_it_states(name, estimate):
    # 20,000 draws: a mean is off by 0.05 of its spread once in 10¹² times, a spread by 0.04 of itself even less often
    clinics = make_clinics([1] * 20_000, 3)
    spread = {"intercept": TRUTH.intercept_sd, "slope": TRUTH.slope_sd}.get(name, getattr(TRUTH, name))
    assert abs(estimate(clinics) - getattr(TRUTH, name)) < 0.05 * spread


def _expected(clinics):
    clinic = clinics.data[:, 0].astype(int)
    return clinics.truth.clinic_intercept[clinic] + clinics.truth.patient_slope * clinics.data[:, 1] / 10


@pytest.mark.parametrize("sizes", [[], [0], [2.5], [True], ["3"], [-1]])
def test_sizes_that_are_none_are_refused(sizes):
    with pytest.raises(InputError, match="sizes: expected whole numbers above 0"):
        make_clinics(sizes)

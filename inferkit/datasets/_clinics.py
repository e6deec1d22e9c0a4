"""Patients of clinics large and small, each given a dose: made by a program, so that the truth is known."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._base import InputError, generator
from ._bunch import as_asked, make_bunch
from ._registered import registered

if TYPE_CHECKING:
    from sklearn.utils import Bunch

CLINIC_SIZES = (2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9, 11, 13, 15, 18, 22, 26, 31, 37, 45, 54, 66, 84, 125)
"""Patients of each clinic of `load_clinics`: 600 in 24 clinics."""

DOSES_MG = (0.0, 10.0, 20.0, 30.0, 40.0)
_FILE = "clinics.csv"


@dataclass(frozen=True)
class DoseResponse:
    """The truth behind the clinics, in mmHg; a slope is the effect of 10 mg more.

    Attributes
    ----------
    intercept, slope : float
        The mean over all clinics that there could be.
    intercept_sd, slope_sd : float
        How much clinics differ.
    patient_slope_sd : float
        How much the patients of one clinic differ in what 10 mg do to them.
    noise_sd : float
        How much the pressure of one patient differs from one visit to another.
    """

    intercept: float = 4.0
    slope: float = 3.0
    intercept_sd: float = 2.0
    slope_sd: float = 0.9
    patient_slope_sd: float = 0.7
    noise_sd: float = 6.0


TRUTH = DoseResponse()


def make_clinics(
    sizes: Sequence[int] = CLINIC_SIZES,
    random_state: int | np.random.Generator | None = None,
    *,
    truth: DoseResponse = TRUTH,
) -> Bunch:
    """Make patients who got a dose at random, in clinics that respond differently.

    Clinic c has an intercept and a slope of its own, drawn from normal distributions; patient i of it has a slope of
    their own around the clinic's. After eight weeks the systolic blood pressure has fallen by
    ``intercept[c] + patient_slope[i] * dose / 10 + noise`` mmHg. In each clinic the five doses are dealt out as evenly
    as its size allows, in random order.

    Parameters
    ----------
    sizes : sequence of int
        Patients of each clinic.
    random_state : int, numpy.random.Generator or None
        A seed gives the same patients every time.
    truth : DoseResponse, optional
        What the clinics are drawn from.

    Returns
    -------
    Bunch
        As `load_clinics` gives it.

    Raises
    ------
    InputError
        If a size is no whole number above 0, or there is none.

    Examples
    --------
    >>> clinics = make_clinics([1, 20], random_state=0)
    >>> clinics.data.shape, clinics.truth.clinic_slope.shape
    ((21, 2), (2,))
    """
    sizes = _whole(sizes)
    rng = generator(random_state)
    n = len(sizes)
    intercept = rng.normal(truth.intercept, truth.intercept_sd, n)
    slope = rng.normal(truth.slope, truth.slope_sd, n)
    clinic = np.repeat(np.arange(n), sizes)
    dose = np.concatenate([_dealt(size, rng) for size in sizes])
    patient_slope = rng.normal(slope[clinic], truth.patient_slope_sd)
    drop = intercept[clinic] + patient_slope * dose / 10 + rng.normal(0, truth.noise_sd, len(clinic))
    return _bunch(clinic, dose, drop, intercept[clinic], slope[clinic], patient_slope, population=truth)


def load_clinics(*, return_X_y: bool = False, as_frame: bool = False) -> Bunch | tuple[Any, Any]:
    """Load 600 patients of 24 clinics, of 2 to 125 patients each, who got a drug in one of five doses.

    They were made once by :func:`make_clinics` and stay the same. The file is compared with its registered hash before
    it is used.

    Parameters
    ----------
    return_X_y : bool, default False
        Return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default False
        Give ``data`` as a data frame and ``target`` as a series (needs pandas).

    Returns
    -------
    Bunch or tuple
        The keys stand in the module's description. ``data`` is (600, 2) float64: the clinic's number, 0 to 23, from
        the smallest to the largest, and the dose in mg. ``target`` is (600,) float64: by how many mmHg the systolic
        blood pressure fell. ``truth`` has what no real study knows: ``clinic_intercept`` and ``clinic_slope`` (24,),
        ``patient_slope`` (600,), all in mmHg, slopes for 10 mg; ``population``, a `DoseResponse`.

    Raises
    ------
    ModelFileError
        If the file is missing, or its bytes are not the registered ones.
    MissingExtraError
        If ``as_frame=True`` and pandas is not installed.

    Examples
    --------
    >>> clinics = load_clinics()
    >>> clinics.data.shape, clinics.feature_names, float(clinics.target.mean().round(1))
    ((600, 2), ['clinic', 'dose'], 9.2)
    """
    clinic, dose, drop, *truth = np.loadtxt(io.BytesIO(registered(_FILE)), delimiter=",", skiprows=1).T
    return as_asked(_bunch(clinic, dose, drop, *truth, population=TRUTH), return_X_y=return_X_y, as_frame=as_frame)


def as_csv(clinics: Bunch) -> bytes:
    """Return clinics as the bundled file has them: a line for each patient, the truth beside what was measured.

    Parameters
    ----------
    clinics : Bunch
        From `make_clinics`.

    Returns
    -------
    bytes
    """
    clinic, truth = clinics.data[:, 0].astype(int), clinics.truth
    columns = (clinics.data[:, 1], clinics.target, truth.clinic_intercept[clinic], truth.clinic_slope[clinic])
    out = io.StringIO("clinic,dose_mg,drop_mmhg,clinic_intercept,clinic_slope,patient_slope\n")
    out.seek(0, io.SEEK_END)
    for row in zip(clinic, *columns, truth.patient_slope, strict=True):
        out.write(f"{row[0]},{row[1]:.0f}," + ",".join(f"{value:.3f}" for value in row[2:]) + "\n")
    return out.getvalue().encode()


def _whole(sizes: Sequence[int]) -> list[int]:
    values = list(sizes)
    if not values or any(isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1 for n in values):
        raise InputError(f"sizes: expected whole numbers above 0, one for each clinic, got {sizes!r:.80}")
    return [int(n) for n in values]


def _dealt(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Deal the doses out as cards are dealt: none a second time before each was dealt once."""
    rounds = -(-size // len(DOSES_MG))
    return np.concatenate([rng.permutation(DOSES_MG) for _ in range(rounds)])[:size]


def _bunch(
    clinic: Any, dose: Any, drop: Any, intercept: Any, slope: Any, patient_slope: Any, *, population: DoseResponse
) -> Bunch:
    """Return the contract of this module, with the truth of each clinic taken from its first patient."""
    from sklearn.utils import Bunch

    _, first = np.unique(clinic, return_index=True)
    truth = Bunch(
        clinic_intercept=intercept[first], clinic_slope=slope[first], patient_slope=patient_slope, population=population
    )
    return make_bunch(
        np.column_stack([clinic, dose]).astype(np.float64),
        drop,
        feature_names=["clinic", "dose"],
        target_names=["drop in systolic blood pressure"],
        units={"clinic": "1", "dose": "mg", "drop in systolic blood pressure": "mmHg"},
        DESCR=_DESCR,
        licence="CC BY 4.0, as the course's figures. Made by this package; nothing was copied.",
        source="inferkit.datasets.make_clinics",
        truth=truth,
    )


_DESCR = """Dose and response in clinics of very different size
---------------------------------------------------

600 patients of 24 clinics got a drug against high blood pressure: 0, 10, 20, 30 or 40 mg, dealt out at random within
each clinic. The target is by how many mmHg the systolic pressure had fallen after eight weeks. The smallest clinics
have 2 patients, the largest has 125.

No patient is real. A program (inferkit.datasets.make_clinics) drew for each clinic an intercept (what happens without
the drug: mean 4 mmHg, standard deviation 2) and a slope (what 10 mg add: mean 3, standard deviation 0.9), and for each
patient a slope of their own around the clinic's (standard deviation 0.7); 6 mmHg of noise from one visit to another
came on top. So the truth is known for every clinic and every patient, and an estimate can be judged against it.

Limits: real responses bend at high doses, drop-outs are not at random, doses in practice follow the patient's state,
and clinics differ for reasons. A model that does well here has shown that it finds a truth of just this form.
"""

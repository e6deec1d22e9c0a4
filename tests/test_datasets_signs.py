"""Drawn signs: the contract, the geometry, the light; and the bundled ones are those that were registered."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferkit import InputError, ModelFileError
from inferkit._base import bundled
from inferkit.datasets import _registered, _scene, _shapes, _signs, load_signs, make_signs

NAMES = load_signs().target_names


# -- the loader ----------------------------------------------------------------------------------


def test_the_loader_keeps_the_contract():
    signs = load_signs()
    assert signs.images.shape == (1152, 32, 32, 3)
    assert signs.images.dtype == np.uint8
    assert signs.target.dtype == np.int64
    assert np.shares_memory(signs.data, signs.images)
    np.testing.assert_array_equal(signs.data, signs.images.reshape(1152, 3072))
    assert np.bincount(signs.target).tolist() == [96] * 12
    assert [signs.target_names[k] for k in signs.target[:12]] == NAMES  # the signs take turns
    assert len(set(signs.feature_names)) == 3072
    assert list(signs.units) == signs.feature_names
    row = signs.feature_names.index("green_3_7")
    np.testing.assert_array_equal(signs.data[:, row], signs.images[:, 3, 7, 1])
    assert signs.frame is None
    assert len(signs.DESCR) > 500


def test_the_loader_gives_arrays_of_its_own_in_both_other_forms():
    X, y = load_signs(return_X_y=True)
    before = X.copy()
    X[:] = 0
    fresh = load_signs(as_frame=True)
    np.testing.assert_array_equal(fresh.frame.drop(columns="target").to_numpy(), before)
    np.testing.assert_array_equal(fresh.target, y)


def test_the_bundled_signs_are_what_the_program_draws():
    """To a rounding: another processor's sine may differ in its last bit, and one grey level follows."""
    X, y = make_signs(1152, random_state=2)
    order = np.argsort(y, kind="stable").reshape(12, 96).T.ravel()
    bundled_signs = load_signs()
    np.testing.assert_array_equal(y[order], bundled_signs.target)
    differences = np.abs(X[order].astype(int) - bundled_signs.images)
    assert differences.max() <= 1
    assert differences.mean() < 0.01


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """Give a copy of the bundled folder, and let the loader read from it."""
    folder = tmp_path / "bundled"
    shutil.copytree(Path(bundled("registry.json")).parent, folder)

    def read_from_copy(name):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"inferkit carries no file {name!r}")
        return folder / name

    monkeypatch.setattr(_registered, "bundled", read_from_copy)
    return folder


def test_one_changed_bit_is_refused(copy):
    content = bytearray((copy / "signs.png").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "signs.png").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"signs.png: expected SHA-256 .* git checkout inferkit/bundled"):
        load_signs()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "signs.png").unlink(),
        lambda folder: (folder / "registry.json").write_text("{}"),
        lambda folder: (folder / "registry.json").write_text("{"),
    ],
)
def test_what_is_missing_is_said(copy, spoil):
    spoil(copy)
    with pytest.raises(ModelFileError, match=r"signs.png: not there, or not registered"):
        load_signs()


@given(st.integers(1, 3), st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_a_sheet_comes_apart_into_the_pictures_that_went_in(rows, seed):
    n = 12 * 32 * rows
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 12)
    X = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    back = _signs._cut(_signs.sheet_of(X, y))
    for k in (0, 7):
        np.testing.assert_array_equal(back[k::12], X[y == k])


@pytest.mark.parametrize("y", [np.zeros(64, int), np.arange(36) % 12])
def test_a_sheet_with_gaps_is_refused(y):
    with pytest.raises(InputError, match="as many pictures of each class, 32 in a row"):
        _signs.sheet_of(np.zeros((len(y), 32, 32, 3), np.uint8), y)


# -- drawing -------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_signs_are_balanced_pictures_that_repeat_with_the_seed(n, seed):
    X, y = make_signs(n, seed)
    assert X.shape == (n, 32, 32, 3)
    assert X.dtype == np.uint8
    assert y.dtype == np.int64
    counts = np.bincount(y, minlength=12)
    assert counts.max() - counts.min() <= 1
    again = make_signs(n, seed)
    np.testing.assert_array_equal(X, again[0])
    np.testing.assert_array_equal(y, again[1])


def test_another_seed_draws_others_and_more_than_a_chunk_is_whole():
    X, y = make_signs(600, 1)
    assert not np.array_equal(X[:24], make_signs(24, 2)[0])
    assert np.bincount(y).tolist() == [50] * 12
    assert len(np.unique(X.reshape(600, -1), axis=0)) == 600


@pytest.mark.parametrize("n", [0, -1, 2.5, True, "9"])
def test_a_number_of_signs_that_is_none_is_refused(n):
    with pytest.raises(InputError, match="n: expected a whole number above 0"):
        make_signs(n)


def test_a_bad_seed_is_refused():
    with pytest.raises(InputError, match="random_state"):
        make_signs(1, -1)


def test_a_scene_has_an_up_and_a_light():
    """What lesson 02's contract rests on: above it is brighter than below, and bluer."""
    mean = make_signs(600, 3)[0].astype(float).mean(axis=0)
    sky, ground = mean[:8].mean(axis=(0, 1)), mean[-8:].mean(axis=(0, 1))
    assert sky.mean() > 1.2 * ground.mean()
    assert sky[2] > sky[0] + 20
    assert abs(mean[:, :16].mean() - mean[:, 16:].mean()) < 6  # and no left or right


def plain(k):
    """Draw sign k alone, large, upright, in the middle, with nothing before it: (32, 32, 3) and its cover."""
    zero, one = np.zeros(1, np.float32), np.ones(1, np.float32)
    c = {"radius": 14 * one, "x": 16 * one, "y": 16 * one, "tilt": zero, "squeeze": one, "fade": zero,
         "shade": one, "shade_at": zero, "shade_turn": zero}  # fmt: skip
    colours, cover = _scene.signs(k, c)
    return colours[0], cover[0, ..., 0]


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("no entry", np.pi),
        ("turn left", np.pi),
        ("stop", 8 * np.tan(np.pi / 8) * 0.98**2),
        ("danger", 3 * np.sqrt(3) * 0.56**2),
        ("priority road", (2 * 0.76) ** 2),
    ],
)
def test_a_sign_covers_the_area_of_its_shape(name, area):
    """Geometry as the oracle: in pixels of a radius of 14, to the softness of the edge."""
    covered = plain(NAMES.index(name))[1].sum() / 14**2
    assert covered == pytest.approx(area, rel=0.02)


def mean_colour(name):
    colours, cover = plain(NAMES.index(name))
    return (colours * cover[..., None]).sum(axis=(0, 1)) / cover.sum()


def test_red_forbids_and_blue_obliges():
    for name in ("stop", "no entry"):
        red, green, blue = mean_colour(name)
        assert red > 2 * max(green, blue)
    for name in ("straight ahead", "turn left", "turn right"):
        red, _, blue = mean_colour(name)
        assert blue > 2 * red


def test_the_three_arrows_are_one_arrow_turned():
    up, left, right = (plain(NAMES.index(name))[0] for name in ("straight ahead", "turn left", "turn right"))
    np.testing.assert_allclose(left, right[:, ::-1], atol=1e-5)
    np.testing.assert_allclose(left, np.rot90(up), atol=1e-5)
    white = up.min(axis=-1) > 0.6
    rows = np.flatnonzero(white[:, 12:20].any(axis=1))
    widths = white[rows].sum(axis=1)
    assert widths[: len(rows) // 2].max() > widths[len(rows) // 2 :].max()  # the head is above
    np.testing.assert_allclose(up, up[:, ::-1], atol=1e-5)


def test_no_left_turn_is_no_right_turn_in_a_mirror_but_for_the_bar():
    left, right = (plain(NAMES.index(name))[0] for name in ("no left turn", "no right turn"))
    mirrored = np.abs(left - right[:, ::-1]).max(axis=-1) > 0.1
    bar = np.abs(np.subtract(*np.indices((32, 32)))) < 6
    assert not (mirrored & ~bar & ~bar[:, ::-1]).any()
    dark = (left.max(axis=-1) < 0.3) & (np.hypot(*(np.indices((32, 32)) - 15.5)) < 10)
    assert dark[:16, :14].sum() > 2 * dark[:16, 20:].sum()  # the hook points to the left


def test_light_blur_and_noise_do_what_they_are_called():
    n = 400
    rng = np.random.default_rng(0)
    seen = _scene.conditions(n, rng)
    flat = np.full((n, 32, 32, 3), 0.5, np.float32)
    flat[:, :, 16:] = 0.7
    seen["haze"][:] = 0
    X = _scene._exposed(flat, seen, rng) / 255
    # Light: what was 0.5 is 0.5 times the exposure, in each colour.
    far_left = X[:, :, :8].mean(axis=(1, 2))
    np.testing.assert_allclose(far_left, np.clip(0.5 * seen["light"], 0, 1), atol=0.01)
    # Noise: the spread within what was flat.
    dim = (0.7 * seen["light"]).max(axis=1) < 0.8
    spread = X[dim, :, :8].std(axis=(1, 2)).mean(axis=1)
    np.testing.assert_allclose(spread, seen["noise"][dim], rtol=0.2, atol=0.002)


def test_a_gaussian_blur_is_scipys():
    from scipy.ndimage import gaussian_filter1d

    rng = np.random.default_rng(1)
    picture = rng.random((2, 32, 32, 3), dtype=np.float32)
    sigma = np.array([0.5, 1.1], np.float32)
    ours = _scene._blurred(picture, sigma, 2)
    theirs = [gaussian_filter1d(p, s, axis=1, mode="nearest", radius=3) for p, s in zip(picture, sigma, strict=True)]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


# -- shapes --------------------------------------------------------------------------------------

POINTS = np.random.default_rng(0).uniform(-1.2, 1.2, (2, 4000)).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "inside"),
    [
        (_shapes.disc(0.5, 0.1, -0.2), lambda u, v: (u - 0.1) ** 2 + (v + 0.2) ** 2 < 0.25),
        (_shapes.box(-0.1, -0.4, 0.3, 0.2), lambda u, v: (u > -0.1) & (u < 0.3) & (v > -0.4) & (v < 0.2)),
        (_shapes.diamond(0.5), lambda u, v: np.abs(u) + np.abs(v) < 0.5 * np.sqrt(2)),
        (_shapes.slash(0.2), lambda u, v: np.abs(v - u) < 0.1 * np.sqrt(2)),
        (_shapes.slash(0.2, falling=False), lambda u, v: np.abs(v + u) < 0.1 * np.sqrt(2)),
        (_shapes.triangle(0.4), lambda u, v: (v < 0.4) & (np.abs(u) < (v + 0.8) / np.sqrt(3))),
        (_shapes.triangle(0.4, up=False), lambda u, v: (v > -0.4) & (np.abs(u) < (0.8 - v) / np.sqrt(3))),
        (_shapes.head(0.7, 0.5), lambda u, v: (np.abs(u) < v + 0.7) & (v < -0.2)),
    ],
)
def test_a_distance_is_below_zero_just_inside(shape, inside):
    u, v = POINTS
    distance = shape(u, v)
    clear = np.abs(distance) > 1e-3
    np.testing.assert_array_equal((distance < 0)[clear], inside(u, v)[clear])
    du, dv = 0.01 * np.random.default_rng(1).normal(size=(2, len(u)))
    steps = np.abs(shape(u + du, v + dv) - distance)
    assert (steps <= np.hypot(du, dv) * 1.01 + 1e-6).all()  # no distance changes faster than the way one goes


def test_a_word_is_read_from_left_to_right():
    u, v = np.meshgrid(np.linspace(-0.825, 0.825, 150), np.linspace(-0.275, 0.275, 50))
    inked = _shapes.letters(0.55)(u, v) < 0
    assert inked[4].tolist().count(True) == 120  # the upper strokes of S, T, O and P
    assert inked[45, :30].any()
    assert not inked[45, 134:].any()  # a P has no foot on the right

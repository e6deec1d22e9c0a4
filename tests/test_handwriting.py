"""The model that ships reads what people draw, and the program that draws is fit to ask it."""

import ast
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.datasets import picture_from_drawing
from inferkit.predictor import digit_reader

from . import handwriting
from .handwriting import FORMS, HANDS, contact_sheet, draw_digit, drawing, rasterise

DIGITS = range(10)
EACH = 30  # drawings of each digit in each hand: 3,000 in all
OVERALL, WORST = 0.95, 0.88
SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def drawings():
    rng = np.random.default_rng(0)
    each = [(digit, hand) for hand in HANDS for digit in DIGITS for _ in range(EACH)]
    return [drawing(digit, hand, rng) for digit, hand in each], np.array([digit for digit, _ in each])


def confusion(pads, digits):
    """Rows: what was drawn. Columns: what was read."""
    read = digit_reader().predict(np.stack([picture_from_drawing(pad) for pad in pads]))
    counts = np.zeros((10, 10), dtype=int)
    np.add.at(counts, (digits, np.asarray(read, dtype=int)), 1)
    return counts


def shares(counts):
    """Return the part that was read right: of all, and of the worst digit."""
    return counts.trace() / counts.sum(), (counts.diagonal() / counts.sum(axis=1)).min()


def table(counts):
    overall, worst = shares(counts)
    rows = [f"drawn {digit}  " + "".join(f"{n or '·':>5}" for n in row) for digit, row in enumerate(counts)]
    head = "read     " + "".join(f"{digit:>5}" for digit in DIGITS)
    return "\n".join(["", head, *rows, f"{counts.sum()} drawings: {overall:.1%} right, worst digit {worst:.1%}"])


# -- the reading test -------------------------------------------------------------------------------------------


def test_the_shipped_model_reads_what_people_draw(drawings, capsys):
    counts = confusion(*drawings)
    with capsys.disabled():
        print(table(counts))
    overall, worst = shares(counts)
    assert counts.sum() >= 1000
    assert overall >= OVERALL, table(counts)
    assert worst >= WORST, table(counts)


@pytest.mark.parametrize("spoil", [np.fliplr, np.flipud, np.transpose, np.zeros_like])
def test_spoiled_drawings_fail_the_bar(drawings, spoil):
    pads, digits = drawings
    overall, worst = shares(confusion([spoil(pad) for pad in pads], digits))
    assert overall < OVERALL
    assert worst < WORST


def test_labels_off_by_one_fail_the_bar(drawings):
    pads, digits = drawings
    assert shares(confusion(pads, (digits + 1) % 10))[0] < 0.1


def test_one_digit_read_wrongly_fails_the_bar(drawings):
    pads, digits = drawings
    counts = confusion(pads, digits)
    counts[3] = np.roll(counts[3], 1)
    assert shares(counts)[1] < WORST


# -- the program that draws -------------------------------------------------------------------------------------


def test_it_stands_alone():
    """It shares no code with the data that the model was trained on."""
    tree = ast.parse(Path(handwriting.__file__).read_text())
    imported = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    imported += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.partition(".")[0] for name in imported} <= {"math", "sys", "dataclasses", "numpy", "PIL"}


def test_the_hands_are_eight_or_more_and_differ():
    habits = {(hand.forms, hand.slant, hand.aspect, hand.height, hand.pen) for hand in HANDS}
    assert len(HANDS) == len({hand.name for hand in HANDS}) == len(habits) >= 8
    assert {name for hand in HANDS for name in FORMS if FORMS[name] in hand.shapes} == set(FORMS)


@given(st.sampled_from(HANDS), st.sampled_from(DIGITS), SEEDS)
def test_drawings_are_whole_and_repeat(hand, digit, seed):
    strokes = draw_digit(digit, hand, np.random.default_rng(seed))
    points = np.vstack(strokes)
    assert points.shape[1] == 2
    assert np.isfinite(points).all()
    assert points.min() >= hand.pen[1] / 64 - 1e-9
    assert points.max() <= 1 - hand.pen[1] / 64 + 1e-9
    assert hand.height[0] - 1e-9 <= np.ptp(points, axis=0).max() <= hand.height[1] + 1e-9
    again = draw_digit(digit, hand, np.random.default_rng(seed))
    assert all(np.array_equal(a, b) for a, b in zip(strokes, again, strict=True))


def test_no_two_drawings_are_the_same(drawings):
    pads, _ = drawings
    assert len({pad.tobytes() for pad in pads}) == len(pads)


def test_ink_leaves_the_rim_free_and_is_a_drawing_not_a_blot(drawings):
    for pad in drawings[0]:
        assert (pad.shape, pad.dtype) == ((32, 32), np.uint8)
        assert pad.max() == 255
        assert 0.02 < np.mean(pad / 255) < 0.4


@pytest.mark.parametrize("hand", HANDS, ids=lambda hand: hand.name)
def test_a_hand_slants_as_it_should(hand):
    """A 1 without flag or base runs from its top to its foot at the hand's slant."""
    plain = replace(hand, forms=HANDS[0].forms)
    rng = np.random.default_rng(1)
    lines = [np.vstack(draw_digit(1, plain, rng)) for _ in range(200)]
    slants = [math.degrees(math.atan2(line[0, 0] - line[-1, 0], line[-1, 1] - line[0, 1])) for line in lines]
    assert np.mean(slants) == pytest.approx(hand.slant, abs=1)


def test_a_hurried_hand_cuts_corners_and_a_child_draws_bit_by_bit():
    seven = [[(0, 0), (1, 0)], [(1, 1)]]
    calm, hurried = (replace(HANDS[0], wobble=0, hurry=hurry) for hurry in (0, 1))
    corner = np.array([1, 0])
    nearest = [
        float(np.linalg.norm(handwriting._stroke(seven, hand, np.random.default_rng(0)) - corner, axis=1).min())
        for hand in (calm, hurried)
    ]
    assert nearest == [0, pytest.approx(0.125, abs=0.01)]
    child = next(hand for hand in HANDS if hand.facets == 2)
    assert len(draw_digit(0, child, np.random.default_rng(0))[0]) < len(
        draw_digit(0, calm, np.random.default_rng(0))[0]
    )


def test_curves_pass_through_their_anchors_and_are_round_between_them():
    angles = np.linspace(0, 2 * math.pi, 13)
    anchors = np.column_stack([np.cos(angles), np.sin(angles)])
    line = handwriting._smooth(anchors, 8)
    np.testing.assert_allclose(line[::8], anchors, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(line[8:-8], axis=1), 1, atol=0.01)
    assert (np.diff(np.unwrap(np.arctan2(line[:, 1], line[:, 0]))) > 0).all()


def test_a_wide_drawing_fits_the_pad_too():
    wide = replace(HANDS[0], aspect=2.0)
    points = np.vstack(draw_digit(0, wide, np.random.default_rng(0)))
    assert np.ptp(points[:, 0]) == np.ptp(points, axis=0).max() <= wide.height[1]


@given(st.floats(0.3, 0.7), st.floats(0.3, 0.7), st.floats(0, 2 * math.pi), st.floats(2, 4.5))
def test_ink_is_the_area_under_the_pen(x, y, angle, pen):
    """A line of length 0.3 leaves a stadium: its length times the pen, and two half discs."""
    centre, way = np.array([x, y]), 0.15 * np.array([math.cos(angle), math.sin(angle)])
    pad = rasterise([np.stack([centre - way, centre + way])], size=64, pen=pen)
    wide = 2 * pen  # in cells of 64
    assert pad.sum() / 255 == pytest.approx(0.3 * 64 * wide + math.pi * wide**2 / 4, rel=0.03)


@given(st.integers(-4, 4), st.integers(-4, 4), SEEDS)
def test_moving_the_strokes_moves_the_ink(right, down, seed):
    stroke = np.random.default_rng(seed).uniform(0.25, 0.75, (5, 2))
    moved = rasterise([stroke + np.array([right, down]) / 32])
    there = np.roll(rasterise([stroke]), (down, right), axis=(0, 1))
    np.testing.assert_allclose(moved.astype(int), there.astype(int), atol=1)


def test_x_runs_right_and_y_runs_down():
    pad = rasterise([np.array([(0.75, 0.1), (0.75, 0.4)])])
    rows, columns = np.nonzero(pad)
    assert columns.mean() == pytest.approx(23.5, abs=0.1)
    assert rows.mean() == pytest.approx(7.5, abs=0.1)


def test_contact_sheet_shows_every_pad():
    pads = [np.full((4, 4), ink, dtype=np.uint8) for ink in (0, 100, 255)]
    sheet = contact_sheet(pads, columns=2)
    assert sheet.shape == (12, 12)
    assert [sheet[2, 2], sheet[2, 8], sheet[8, 2]] == [255, 155, 0]

"""The generators give what they say, and the script writes models that load."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from datasets import augment, strokes
from inferkit._base import bundled, sha256
from inferkit.datasets import load_digits, picture_from_drawing
from inferkit.models import LiteRTModel, load_reference

ROOT = Path(__file__).parent.parent
REGISTRY = json.loads(bundled("registry.json").read_text(encoding="utf-8"))


@pytest.mark.rotated(2)
def test_the_script_quietly_writes_what_it_registers_and_what_ships_and_nothing_else(tmp_path):
    """Hardly trained models by the committed script, in a process of its own as at home."""
    code = (
        "from pathlib import Path; from datasets.make_digit_models import make;"
        f"make(Path({str(tmp_path)!r}), copies=1, n_synthetic=20, epochs_scale=0.01)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    registry = json.loads((tmp_path / "registry.json").read_text(encoding="utf-8"))
    parts = [part for entry in registry.values() for part in (entry, entry.get("keras")) if part]
    assert sorted(os.listdir(tmp_path)) == sorted(["registry.json", *(part["file"] for part in parts)])
    for part in parts:
        assert sha256(tmp_path / part["file"]) == part["sha256"]
    for entry in registry.values():
        out = LiteRTModel(tmp_path / entry["file"])(np.zeros((3, 8, 8), np.float32))
        np.testing.assert_allclose(out.sum(axis=1), 1, atol=0.02)
    stable = ("file", "description", "n_parameters", "random_state")
    shipped = {name: entry for name, entry in REGISTRY.items() if name.startswith("digits-")}
    assert {n: [e[k] for k in stable] for n, e in registry.items()} == {
        n: [e[k] for k in stable] for n, e in shipped.items()
    }
    with zipfile.ZipFile(tmp_path / "digits-mlp.keras") as archive:  # no date gets in
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert json.loads(archive.read("metadata.json"))["date_saved"] == ""


def test_the_card_gives_the_registered_figures():
    card = (ROOT / "datasets/digit_models.md").read_text(encoding="utf-8")
    for name, entry in REGISTRY.items():
        if not name.startswith("digits-"):
            continue  # other cards give these
        row = next(line for line in card.splitlines() if line.startswith(f"| `{name}` |"))
        cells = [cell.strip() for cell in row.split("|")[2:5]]
        assert cells == [f"{entry['n_parameters']:,}", f"{entry['bytes']:,}", f"{100 * entry['accuracy']:.1f} %"]


# --- augmentation ---


def test_variants_are_pictures_and_differ_from_each_other():
    images = load_digits().images[:10]
    out = augment.variants(images, 3, np.random.default_rng(0))
    assert out.shape == (30, 8, 8)
    assert out.dtype == np.float32
    assert out.min() >= 0
    assert out.max() <= 16
    assert (out.sum(axis=(1, 2)) > 20).all()
    assert len(np.unique(out.reshape(30, -1), axis=0)) == 30


def test_variants_come_copy_by_copy():
    """The first of each copy is the first picture's: the labels rely on it."""
    bar, ring = np.zeros((8, 8)), np.full((8, 8), 16.0)
    bar[:, 3:5] = 16
    out = augment.variants(np.stack([bar, ring]), 5, np.random.default_rng(0)).mean(axis=(1, 2)).reshape(5, 2)
    assert (out[:, 0] < out[:, 1]).all()


def test_an_enlarged_picture_goes_back_to_the_picture():
    images = load_digits().images[:200]
    back = np.stack([16 * augment.enlarged(i).reshape(8, 4, 8, 4).mean(axis=(1, 3)) for i in images])
    assert np.abs(back - images).mean() < 1
    assert np.corrcoef(back.ravel(), images.ravel())[0, 1] > 0.98


# --- drawn digits ---


def test_synthetic_digits_are_balanced_pictures():
    X, y = strokes.synthetic(200, np.random.default_rng(0))
    assert X.shape == (200, 8, 8)
    assert X.dtype == np.float32
    assert np.bincount(y).tolist() == [20] * 10
    assert (X.sum(axis=(1, 2)) > 20).all()


def test_the_same_generator_draws_the_same():
    first, same = (strokes.synthetic(30, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first[0], same[0])
    np.testing.assert_array_equal(first[1], same[1])


def test_a_pen_covers_the_line_and_not_the_paper():
    ink = strokes.inked([np.array([[0.0, 0.0], [0.0, 1.0]])], np.random.default_rng(0))
    picture = picture_from_drawing(ink)
    assert picture[:, 3:5].min() > 0
    assert picture[:, [0, 1, 6, 7]].max() == 0


def test_squared_distance_is_that_to_the_nearest_point():
    line = np.array([[4.0, 4.0], [20.0, 12.0]])
    dense = line[0] + np.linspace(0, 1, 4001)[:, None] * (line[1] - line[0])
    y, x = np.indices((32, 32)) + 0.5
    nearest = ((x[..., None] - dense[:, 0]) ** 2 + (y[..., None] - dense[:, 1]) ** 2).min(axis=-1)
    np.testing.assert_allclose(strokes._squared_distance([line]), nearest, atol=0.01)


@pytest.mark.parametrize("digit", range(10))
def test_the_shipped_model_reads_what_the_program_draws(digit):
    """A check of its own kind: another seed than the training's, the same habits."""
    rng = np.random.default_rng(99)
    X = [
        picture_from_drawing(strokes.inked(strokes.by_a_hand(strokes.DIGITS[digit](rng), rng), rng)) for _ in range(100)
    ]
    answers = load_reference("digits-cnn")(np.stack(X) / np.float32(16)).argmax(axis=1)
    assert (answers == digit).mean() >= 0.95

"""The script draws and trains what it registers, leaves the rest of the registry alone; the cards tell the truth."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inferkit._base import bundled, sha256
from inferkit.datasets import load_signs, make_signs
from inferkit.models import LiteRTModel, list_reference, load_reference
from inferkit.predictor import sign_reader

ROOT = Path(__file__).parent.parent
REGISTRY = json.loads(bundled("registry.json").read_text(encoding="utf-8"))
OURS = ("signs-cnn", "signs")


@pytest.mark.rotated(1)
def test_the_script_writes_what_it_registers_and_what_ships_and_leaves_the_rest(tmp_path):
    """A hardly trained model by the committed script, in a process of its own as at home, beside another's entry.

    The pictures to a rounding of another processor; of the model its shape, as this test trains it less.
    """
    (tmp_path / "registry.json").write_text('{"another": {"file": "another.tflite"}}')
    code = (
        "from pathlib import Path; from datasets.make_sign_models import make;"
        f"make(Path({str(tmp_path)!r}), n_training=24, epochs=1)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    registry = json.loads((tmp_path / "registry.json").read_text(encoding="utf-8"))
    assert registry.pop("another") == {"file": "another.tflite"}
    assert list(registry) == list(OURS)
    parts = [registry["signs"], registry["signs-cnn"], registry["signs-cnn"]["keras"]]
    assert {p.name for p in tmp_path.iterdir()} == {"registry.json", *(part["file"] for part in parts)}
    for part in parts:
        content = (tmp_path / part["file"]).read_bytes()
        assert (len(content), sha256(content)) == (part["bytes"], part["sha256"])
    out = LiteRTModel(tmp_path / "signs-cnn.tflite")(np.zeros((3, 32, 32, 3), np.float32))
    np.testing.assert_allclose(out.sum(axis=1), 1, atol=0.01)
    stable = ("file", "description", "random_state")
    assert {n: [registry[n][k] for k in stable] for n in OURS} == {n: [REGISTRY[n][k] for k in stable] for n in OURS}
    assert registry["signs-cnn"]["n_parameters"] == REGISTRY["signs-cnn"]["n_parameters"]
    assert registry["signs"]["kind"] == REGISTRY["signs"]["kind"] == "data"
    with Image.open(tmp_path / "signs.png") as sheet, Image.open(bundled("signs.png")) as old:
        assert np.abs(np.asarray(sheet).astype(int) - np.asarray(old)).max() <= 1
    with zipfile.ZipFile(tmp_path / "signs-cnn.keras") as archive:  # no date gets in
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_pictures_that_are_data_are_no_model():
    assert "signs" not in [record.name for record in list_reference()]
    assert "signs-cnn" in [record.name for record in list_reference()]


def test_the_shipped_files_are_as_small_as_promised():
    assert REGISTRY["signs-cnn"]["bytes"] <= 200_000
    assert REGISTRY["signs"]["bytes"] <= 2_500_000


def test_the_registered_accuracy_is_what_the_file_reaches():
    signs = load_signs()
    right = load_reference("signs-cnn")(signs.images / np.float32(255)).argmax(axis=1) == signs.target
    assert right.mean() == pytest.approx(REGISTRY["signs-cnn"]["accuracy"], abs=1.5 / len(right))
    assert 0.95 <= right.mean() < 0.995  # good, and with something left to lose


def test_the_model_is_as_good_on_signs_that_nobody_has_looked_at():
    """Pictures that chose nothing. 0.97 lies 6 standard errors of 2,400 pictures below the registered score."""
    X, y = make_signs(2400, random_state=1234)
    assert (sign_reader().predict(X) == np.array(load_signs().target_names)[y]).mean() > 0.97


def test_both_formats_answer_alike():
    X = load_signs().images[:60] / np.float32(255)
    np.testing.assert_allclose(
        load_reference("signs-cnn")(X), np.asarray(load_reference("signs-cnn", "keras")(X)), atol=1e-4
    )
    assert load_reference("signs-cnn", "keras").count_params() == REGISTRY["signs-cnn"]["n_parameters"]


def test_the_reader_takes_pictures_as_they_are_and_says_names():
    signs = load_signs()
    reader = sign_reader()
    assert reader.labels == tuple(signs.target_names)
    by_hand = load_reference("signs-cnn")(signs.images[:40] / np.float32(255))
    np.testing.assert_allclose(reader.predict_proba(signs.images[:40]), by_hand, atol=1e-6)
    assert reader.predict_one(signs.images[4]) == reader.predict(signs.images[4:5])[0]
    assert reader.name == "signs-cnn"


def test_a_saved_reader_keeps_its_steps_and_names(tmp_path):
    reader = sign_reader()
    reader.save(tmp_path / "signs.predictor")
    loaded = type(reader).load(tmp_path / "signs.predictor")
    X = load_signs().images[:40]
    np.testing.assert_array_equal(loaded.predict(X), reader.predict(X))


def test_the_cards_give_the_registered_figures():
    card = (ROOT / "datasets/sign_models.md").read_text(encoding="utf-8")
    entry = REGISTRY["signs-cnn"]
    row = next(line for line in card.splitlines() if line.startswith("| `signs-cnn` |"))
    cells = [cell.strip() for cell in row.split("|")[2:5]]
    assert cells == [f"{entry['n_parameters']:,}", f"{entry['bytes']:,}", f"{100 * entry['accuracy']:.1f} %"]
    data = (ROOT / "datasets/signs.md").read_text(encoding="utf-8")
    assert f"{REGISTRY['signs']['bytes']:,} bytes" in data
    assert all(name in data for name in load_signs().target_names)

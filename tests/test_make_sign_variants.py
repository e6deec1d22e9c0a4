"""The script trains what it registers and leaves the rest; parts make the whole; the card is true."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from inferkit._base import bundled, sha256
from inferkit.datasets import make_signs
from inferkit.models import load_reference
from inferkit.optimize import EarlyExit, read_layers

ROOT = Path(__file__).parent.parent
REGISTRY = json.loads(bundled("registry.json").read_text(encoding="utf-8"))
WIDTHS = {"signs-mobilenet-25": 0.25, "signs-mobilenet-50": 0.5, "signs-mobilenet-100": 1.0}
NAMES = [
    *WIDTHS, "signs-student", "signs-student-alone", "signs-cnn-half", "signs-cnn-float16", "signs-cnn-dynamic",
    "signs-cnn-int8", "signs-cnn-int16x8", "signs-mobilenet-100-int8", "signs-exit-stem", "signs-exit-rest",
]  # fmt: skip


@pytest.fixture(scope="module")
def fresh():
    """Give pictures that nobody has looked at."""
    X, y = make_signs(1200, random_state=4322)
    return X / np.float32(255), y


def answers(name, X):
    if name in ("signs-exit-stem", "signs-exit-rest"):
        whole = EarlyExit(load_reference("signs-exit-stem"), load_reference("signs-exit-rest"))
        return whole.with_threshold(0.0 if name == "signs-exit-stem" else 1.0)(X)
    return np.concatenate([load_reference(name)(X[i : i + 100]) for i in range(0, len(X), 100)])


@pytest.mark.rotated(4)
def test_the_script_writes_what_it_registers_and_leaves_the_rest(tmp_path):
    """Hardly trained ones by the committed script, in a process of its own, beside another model's entry."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "registry.json").write_text('{"another": {"file": "another.tflite"}}')
    code = (
        "from pathlib import Path; from datasets.make_sign_variants import make; folder = Path("
        f"{str(folder)!r}); make(folder, kept_in=folder.parent / 'kept', n_training=24, epochs=1)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    registry = json.loads((folder / "registry.json").read_text(encoding="utf-8"))
    assert registry.pop("another") == {"file": "another.tflite"}
    assert set(registry) == set(NAMES)
    assert {p.name for p in folder.iterdir()} == {"registry.json", *(entry["file"] for entry in registry.values())}
    for entry in registry.values():
        content = (folder / entry["file"]).read_bytes()
        assert (len(content), sha256(content)) == (entry["bytes"], entry["sha256"])
    stable = ("file", "description", "random_state", "n_parameters")
    assert {n: [registry[n][k] for k in stable] for n in NAMES} == {n: [REGISTRY[n][k] for k in stable] for n in NAMES}


@pytest.mark.rotated
@pytest.mark.parametrize("name", NAMES)
def test_each_is_right_as_registered_on_other_pictures(fresh, name):
    X, y = fresh
    right = (answers(name, X).argmax(axis=1) == y).mean()
    expected = REGISTRY[name]["accuracy"]
    # of 1,200 against 1,152 pictures: five standard errors of the difference, once in 10⁶ for each
    error = np.sqrt(expected * (1 - expected) * (1 / 1200 + 1 / 1152))
    assert right == pytest.approx(expected, abs=5 * error)


def test_a_width_multiplies_the_channels_and_so_the_work_of_mixing_by_nearly_its_square():
    """Of the 1×1 convolutions, which have nearly all the work: positions × channels in × channels out."""
    blocks = ((32, 32), (64, 16), (64, 16), (128, 8), (128, 8), (256, 4), (256, 4))  # channels, side of the map
    macs = {}
    for name, width in WIDTHS.items():
        layers = [one for one in read_layers(load_reference(name)) if one.op == "CONV_2D"]
        macs[width] = sum(one.macs for one in layers if one.weights.shape[1:3] == (1, 1))
        channels = [max(8, 8 * round(n * width / 8)) for n in (16, *(n for n, _ in blocks))]
        sides = [side for _, side in blocks]
        assert macs[width] == sum(s * s * a * b for s, a, b in zip(sides, channels[:-1], channels[1:], strict=True))
    assert macs[1.0] / macs[0.5] == pytest.approx(4, rel=0.02)


def test_the_two_parts_are_the_whole():
    X = make_signs(100, random_state=4322)[0] / np.float32(255)
    np.testing.assert_allclose(answers("signs-exit-rest", X), load_reference("signs-mobilenet-100")(X), atol=1e-4)


def test_student_and_student_alone_have_one_shape():
    shapes = [[one.weights.shape for one in read_layers(load_reference(n)) if one.weights is not None]
              for n in ("signs-student", "signs-student-alone")]  # fmt: skip
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", NAMES)
def test_the_card_states_what_is_registered(name):
    card, entry = (ROOT / "datasets/sign_variants.md").read_text(encoding="utf-8"), REGISTRY[name]
    start = f"| `{name}` | {entry['n_parameters']:,} | {entry['bytes']:,} | {100 * entry['accuracy']:.1f} % |"
    assert [line for line in card.splitlines() if line.startswith(start)]

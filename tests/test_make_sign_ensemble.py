"""The script trains what it registers and leaves the rest; the five are too sure, and differ; the card is true."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from inferkit._base import bundled, sha256
from inferkit.datasets import make_signs
from inferkit.models import load_reference

ROOT = Path(__file__).parent.parent
REGISTRY = json.loads(bundled("registry.json").read_text(encoding="utf-8"))
NAMES = [f"signs-small-{k}" for k in range(1, 6)]


@pytest.fixture(scope="module")
def fresh():
    """Give pictures that nobody has looked at, and what the five say of them."""
    X, y = make_signs(1200, random_state=4321)
    return np.array([load_reference(name)(X / np.float32(255)) for name in NAMES]), y


@pytest.mark.rotated
def test_the_script_writes_what_it_registers_and_leaves_the_rest(tmp_path):
    """Two hardly trained ones by the committed script, in a process of its own, beside another model's entry."""
    (tmp_path / "registry.json").write_text('{"another": {"file": "another.tflite"}}')
    code = (
        "from pathlib import Path; from datasets.make_sign_ensemble import make;"
        f"make(Path({str(tmp_path)!r}), n_training=24, epochs=1, members=2)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    registry = json.loads((tmp_path / "registry.json").read_text(encoding="utf-8"))
    assert registry.pop("another") == {"file": "another.tflite"}
    assert list(registry) == NAMES[:2]
    parts = [part for entry in registry.values() for part in (entry, entry.get("keras")) if part]
    assert {p.name for p in tmp_path.iterdir()} == {"registry.json", *(part["file"] for part in parts)}
    for part in parts:
        content = (tmp_path / part["file"]).read_bytes()
        assert (len(content), sha256(content)) == (part["bytes"], part["sha256"])
    stable = ("file", "description", "random_state", "n_parameters")
    assert [[registry[n][k] for k in stable] for n in NAMES[:2]] == [
        [REGISTRY[n][k] for k in stable] for n in NAMES[:2]
    ]


def test_each_is_right_as_registered_and_surer_than_that(fresh):
    p, y = fresh
    right, sure = (p.argmax(axis=2) == y).mean(axis=1), p.max(axis=2).mean(axis=1)
    # of 1,200 against 1,152 pictures: five standard errors of the difference, once in 10⁶ for each
    np.testing.assert_allclose(right, [REGISTRY[name]["accuracy"] for name in NAMES], atol=0.078)
    assert (sure > right + 0.04).all()


def test_together_they_are_better_than_each(fresh):
    p, y = fresh
    together = p.mean(axis=0)
    assert (together.argmax(axis=1) == y).mean() > (p.argmax(axis=2) == y).mean(axis=1).max()
    assert not np.allclose(p[0], p[1], atol=0.1)


def test_the_first_comes_with_its_dropout_and_its_features(tensorflow):
    model = load_reference("signs-small-1", "keras")
    X = make_signs(24, random_state=5)[0] / np.float32(255)
    np.testing.assert_allclose(np.asarray(model(X)), load_reference("signs-small-1")(X), atol=1e-4)
    assert not np.allclose(np.asarray(model(X, training=True)), np.asarray(model(X)), atol=1e-3)
    assert model.get_layer("features").output.shape == (None, 24)


@pytest.mark.parametrize("name", NAMES)
def test_the_card_states_what_is_registered(name):
    card, entry = (ROOT / "datasets/sign_ensemble.md").read_text(encoding="utf-8"), REGISTRY[name]
    row = f"| `{name}` | {entry['n_parameters']:,} | {entry['bytes']:,} | {100 * entry['accuracy']:.1f} % |"
    assert row in card.splitlines()

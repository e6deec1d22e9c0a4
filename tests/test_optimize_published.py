"""What an outsider will try: four published networks in int8, against their own float answers."""

import warnings

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from inferkit import optimize
from inferkit.models import LiteRTModel, export_litert, import_keras, train
from tests import published
from tests.machine import mirror_path, not_checked

pytestmark = [pytest.mark.rotated, pytest.mark.timeout(900)]

# parameters, without batch norms' averages, as the paper and its reference files have them
MACS = {"resnet8": 12_500_000, "ds_cnn": 2_660_000, "mobilenet_v1": 7_490_000, "anomaly_autoencoder": 264_192}


def learn(model, X, y, *, epochs, batch_size=64, start=2e-3, **options):
    """Train with a step size that falls to zero, so that the averages of batch norms have settled at the end."""
    keras = import_keras()
    keras.utils.set_random_seed(0)
    rate = keras.optimizers.schedules.CosineDecay(start, epochs * -(-len(X) // batch_size))
    options |= {"epochs": epochs, "batch_size": batch_size, "learning_rate": rate}
    train(model, X, y, random_state=0, progress=False, **options)
    return model


def interval(differences):
    """Return the mean of paired differences and its 95 % interval, from the normal distribution."""
    half = 1.96 * np.std(differences, ddof=1) / np.sqrt(len(differences))
    return np.mean(differences), np.mean(differences) - half, np.mean(differences) + half


def by_recording(hits):
    """Average what five versions of one recording gave: they do not count as five."""
    return hits.reshape(-1, 5).mean(axis=1)


def weigh(name, full, small):
    """Print the bytes, and return how many times fewer those of the weights are than in float32."""
    report = small.report
    weights = 4 * report.n_parameters / report.weight_bytes
    print(
        f"\n{name}: {report.n_parameters:,} parameters, {report.macs:,} MACs; weights {weights:.2f} times smaller, "
        f"file {len(full) / report.file_bytes:.2f} times ({len(full):,} to {report.file_bytes:,} bytes, of which "
        f"{report.description_bytes / report.file_bytes:.0%} describe the network)"
    )
    return weights


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("resnet8", marks=pytest.mark.rotated(3)),
        pytest.param("mobilenet_v1", marks=pytest.mark.rotated(0)),
        pytest.param("ds_cnn", marks=pytest.mark.rotated(2)),
    ],
)
def test_int8_stays_within_a_point_of_float(name):
    if name == "ds_cnn":
        mirror = mirror_path()
        if mirror is None:
            not_checked("the spoken digits. Set INFERKIT_MIRROR to a folder that has fsdd")
        X, y, unseen, truth = published.spoken_digits(mirror / "fsdd")
        model = learn(published.ds_cnn(), X, y, epochs=5)
    else:
        X, y, unseen, truth = published.signs(4000) if name == "resnet8" else published.forbids_or_obliges(1500)
        steps = {"epochs": 4} if name == "resnet8" else {"epochs": 6, "batch_size": 32, "start": 3e-3}
        model = learn(getattr(published, name)(), X, y, **steps)
    assert len(truth) >= 1000
    with warnings.catch_warnings():  # a class that it does not answer yet is no matter here
        warnings.simplefilter("ignore", optimize.CalibrationWarning)
        small = optimize.quantize(model, calibration=X[:: len(X) // 120])
    assert abs(small.report.macs / MACS[name] - 1) < 0.1  # the published network, but for its last layer
    full = export_litert(model)
    assert weigh(name, full, small) >= 3.5
    plain = LiteRTModel(full)
    hits = [
        np.concatenate([one(part) for part in np.array_split(unseen, 20)]).argmax(axis=1) == truth
        for one in (plain, small)
    ]
    right, in_int8 = (one.mean() for one in hits)
    lost = hits[1].astype(float) - hits[0]
    found, low, high = interval(by_recording(lost) if name == "ds_cnn" else lost)
    print(
        f"{name}: float {right:.4f}, int8 {in_int8:.4f}, difference {found:+.4f} "
        f"({low:+.4f} to {high:+.4f}), n = {len(truth):,}"
    )
    assert right > (0.6 if name == "resnet8" else 0.75)  # it has learned its task: there is something to lose
    assert found >= -0.01  # a gain, which is luck, is no loss


@pytest.mark.rotated(3)
def test_an_autoencoder_tells_faults_apart_in_int8_as_in_float():
    X, y, unseen, faulty = published.machine_sounds(4000)
    model = learn(published.anomaly_autoencoder(), X, y, epochs=8, batch_size=128, start=1e-3, loss="mse")
    small, full = optimize.quantize(model, calibration=X[:120]), export_litert(model)
    assert small.report.macs == MACS["anomaly_autoencoder"]
    assert weigh("anomaly_autoencoder", full, small) >= 3.5
    scores = [((one(unseen) - unseen) ** 2).mean(axis=1) for one in (LiteRTModel(full), small)]
    rng = np.random.default_rng(0)
    draws = (np.concatenate([rng.integers(0, 1000, 1000), rng.integers(1000, 2000, 1000)]) for _ in range(200))
    gaps = [roc_auc_score(faulty[i], scores[1][i]) - roc_auc_score(faulty[i], scores[0][i]) for i in draws]
    areas = [roc_auc_score(faulty, one) for one in scores]
    low, high = np.quantile(gaps, [0.025, 0.975])
    print(f"area under the curve: float {areas[0]:.4f}, int8 {areas[1]:.4f} ({low:+.4f} to {high:+.4f})")
    assert 0.7 < areas[0] < 0.999
    assert abs(areas[1] - areas[0]) <= 0.01

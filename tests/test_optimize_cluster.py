"""Clustered kernels have few values, the nearest ones, and keep them few and their zeros zero while they learn."""

import gzip

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from inferkit import InputError
from inferkit.models import export_litert, mlp, mobilenet, train
from inferkit.optimize import OptimizedModel, cluster_weights, prune_filters, read_layers
from inferkit.optimize._cluster import shared_values
from tests import networks

layers = keras.layers


def rng(seed=0):
    return np.random.default_rng(seed)


def n_values(array):
    return len(np.unique(array))


def kernels(model):
    """Return what has two axes or more and is no bias of a GRU."""
    return [one for one in model.weights if len(one.shape) > 1 and "bias" not in one.name]


# --- the values ---


@given(
    arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 9)), elements=st.floats(-4, 4, width=16)),
    st.integers(2, 8),
)
def test_each_weight_goes_to_the_nearest_of_few_values(kernel, n_clusters):
    shared = shared_values(kernel, n_clusters, rng())
    values = np.unique(shared[shared != 0])
    assert n_values(shared) <= n_clusters
    assert (shared[kernel == 0] == 0).all()
    assert shared.dtype == kernel.dtype
    moving = kernel[(kernel != 0) & (shared != 0)]
    nearest = np.abs(moving[:, None] - values).min(axis=1, initial=np.inf)
    np.testing.assert_allclose(np.abs(moving - shared[(kernel != 0) & (shared != 0)]), nearest, atol=1e-6)


@given(
    arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 9)), elements=st.floats(-4, 4, width=16)),
    st.integers(2, 8),
)
def test_a_kernel_of_few_values_is_left_as_it_is(kernel, n_clusters):
    few = shared_values(kernel, n_clusters, rng())
    np.testing.assert_array_equal(shared_values(few, n_clusters, rng()), few)
    if n_values(kernel) <= n_clusters:
        np.testing.assert_array_equal(few, kernel)


@pytest.mark.parametrize("n_clusters", [2, 5, 16])
def test_the_values_are_where_lloyds_rule_stands_still(n_clusters):
    kernel = rng(5).normal(size=(30, 40)).astype(np.float32)
    shared = shared_values(kernel, n_clusters, rng())
    assert n_values(shared) == n_clusters
    for value in np.unique(shared):  # scikit-learn stops when centres move by less than 1e-4 of the variance
        assert kernel[shared == value].mean() == pytest.approx(value, abs=0.02)


def test_the_values_lie_closer_than_even_steps():
    kernel = rng(5).normal(size=(30, 40)).astype(np.float32)
    even = np.linspace(kernel.min(), kernel.max(), 16)
    steps = np.square(kernel[..., None] - even).min(axis=-1).sum()
    shared = shared_values(kernel, 16, rng())
    assert np.square(kernel - shared).sum() < 0.8 * steps


def test_clusters_that_stand_apart_are_found():
    middles = np.array([-2.0, -0.3, 2.0, 3.5], dtype=np.float32)
    which = rng().integers(4, size=(20, 20))
    kernel = middles[which] + rng(1).uniform(-0.05, 0.05, which.shape).astype(np.float32)
    shared = shared_values(kernel, 4, rng())
    for i in range(4):
        np.testing.assert_allclose(shared[which == i], kernel[which == i].mean(), atol=1e-5)


def test_a_large_kernel_is_learned_from_a_sample_that_the_seed_draws():
    kernel = rng(2).normal(size=(300, 200)).astype(np.float32)
    one, same, other = (shared_values(kernel, 16, rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    values = np.unique(one)
    assert len(values) == 16
    np.testing.assert_allclose(np.abs(kernel - one), np.abs(kernel[..., None] - values).min(axis=-1), atol=1e-6)


# --- a whole model ---


@pytest.fixture(scope="module")
def sparse(small_cnn):
    """Return a trained network with half of each kernel zero."""
    model, weights = keras.models.clone_model(small_cnn), small_cnn.get_weights()
    model.set_weights([one * (np.abs(one) > np.quantile(np.abs(one), 0.5)) if one.ndim > 1 else one for one in weights])
    return model


def test_the_file_compresses_much_better(small_cnn, digits):
    before = [one.copy() for one in small_cnn.get_weights()]
    few = cluster_weights(small_cnn, 16, random_state=0)
    unshared = export_litert(small_cnn)
    assert isinstance(few, OptimizedModel)
    assert few.report.method == "clusters-16"
    assert few.history is None
    assert few.report.gzip_bytes < 0.45 * len(gzip.compress(unshared, 9, mtime=0))
    assert few.report.file_bytes == pytest.approx(len(unshared), rel=0.05)
    for one, was in zip(small_cnn.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, was)
    right = [(one.argmax(axis=1) == digits[3]).mean() for one in (few(digits[1]), np.asarray(small_cnn(digits[1])))]
    assert right[0] > right[1] - 0.15


@pytest.mark.rotated
def test_the_file_holds_few_values_also_behind_batch_norms():
    model = mobilenet(width=0.25, random_state=0)
    for one in model.variables:
        if "gamma" in one.name or "variance" in one.name:
            one.assign(rng(3).uniform(0.5, 2, one.shape))
    few = cluster_weights(model, 8, random_state=0)
    held = [one.weights.real for one in read_layers(few) if one.weights is not None and one.op != "RESHAPE"]
    assert len(held) == 16
    assert max(map(n_values, held)) <= 8


@pytest.mark.rotated
def test_training_keeps_shared_values_shared_and_zeros_zero(sparse, digits):
    start = cluster_weights(sparse, 8, random_state=0)
    few = cluster_weights(
        sparse, 8, X=digits[0], y=digits[2], epochs=2, learning_rate=1e-3, validation_data=(digits[1], digits[3]),
        random_state=0,
    )  # fmt: skip
    for one, first, was in zip(kernels(few.keras_model), kernels(start.keras_model), kernels(sparse), strict=True):
        one, first, was = one.numpy(), first.numpy(), was.numpy()
        np.testing.assert_array_equal(one == 0, was == 0)
        assert n_values(one) == n_values(first) == 8
        assert not np.array_equal(one, first)
        assert n_values(np.stack([one.ravel(), first.ravel()], axis=1).view("f4,f4")) == 8  # the same clusters
    assert few.report.sparsity > 0.45
    assert few.history.loss[-1] < few.history.loss[0]
    untrained = (start(digits[1]).argmax(axis=1) == digits[3]).mean()
    assert few.history.val_accuracy[-1] > untrained + 0.02


@pytest.mark.rotated
def test_a_trained_value_is_the_mean_of_what_training_made_of_its_weights():
    X = rng().normal(size=(16, 6)).astype(np.float32)
    model = keras.Sequential([layers.Input((6,)), layers.Dense(5, use_bias=False)])
    start = cluster_weights(model, 3, random_state=0)
    step = {"epochs": 1, "batch_size": 16, "learning_rate": 0.1, "loss": "mse", "random_state": 0}
    few = cluster_weights(model, 3, X=X, y=X[:, :5], **step)
    free = keras.models.clone_model(start.keras_model)
    free.set_weights(start.keras_model.get_weights())
    train(free, X, X[:, :5], **step)
    first, moved = start.keras_model.get_weights()[0], free.get_weights()[0]
    expected = np.array([[moved[first == value].mean() for value in row] for row in first])
    np.testing.assert_allclose(few.keras_model.get_weights()[0], expected, atol=1e-6)


def test_the_same_seed_gives_the_same_weights():
    model = mlp((200,), 4, hidden=(150,), random_state=0)
    one, same = (cluster_weights(model, 8, random_state=1).keras_model.get_weights() for _ in range(2))
    for a, b in zip(one, same, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_smaller_networks_can_be_clustered_in_turn():
    few = cluster_weights(prune_filters(mlp(random_state=0), share=0.5), 4)
    assert [n_values(one.numpy()) for one in kernels(few.keras_model)] == [4, 4]


# --- networks that it has never seen ---


def residual():
    x = inputs = layers.Input((6, 6, 4))
    x = layers.Add()([x, layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(x))])
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(layers.Flatten()(x)))


def recurrent():
    chain = [layers.Embedding(20, 6), layers.GRU(5), layers.Dense(2, activation="softmax")]
    return keras.Sequential([layers.Input((7,), dtype="int32"), *chain])


def autoencoder():
    chain = [layers.Conv2D(6, 3, strides=2, padding="same"), layers.Conv2DTranspose(2, 3, strides=2, padding="same")]
    return keras.Sequential([layers.Input((8, 8, 2)), *chain])


def two_inputs():
    a, b = layers.Input((9,)), layers.Input((8,))
    return keras.Model([a, b], layers.Dense(2, activation="softmax")(layers.Concatenate()([layers.Dense(5)(a), b])))


@pytest.mark.parametrize("build", networks.in_turn([residual, recurrent, autoencoder, two_inputs], residual))
def test_any_network_can_be_clustered_and_trained(build):
    model = build()
    for one in model.weights:  # a bias that is all zeros would have few values anyway
        one.assign(rng(1).uniform(0.1, 1, one.shape))
    shapes = [tuple(one.shape[1:]) for one in model.inputs]
    X = tuple(rng(i).random((16, *shape), dtype=np.float32) * 9 for i, shape in enumerate(shapes))
    X = tuple(one.astype("int32") if build is recurrent else one for one in X)
    X = X if len(X) > 1 else X[0]
    y = X if build is autoencoder else rng().integers(2, size=16)
    loss = {"loss": "mse"} if build is autoencoder else {}
    few = cluster_weights(model, 4, X=X, y=y, epochs=1, random_state=0, **loss)
    assert [n_values(one.numpy()) for one in kernels(few.keras_model)] == [4] * len(kernels(model))
    for one in few.keras_model.weights:
        if "bias" in one.name and one.shape[-1] > 4:
            assert n_values(one.numpy()) > 4
    given = [X] if isinstance(X, np.ndarray) else list(X)
    ours = np.asarray(few.keras_model(given if len(given) > 1 else given[0]))
    np.testing.assert_allclose(few(*given), ours, atol=1e-4)


# --- what is refused ---


@pytest.mark.parametrize("n_clusters", [1, 0, -3, 16.0, "16", True, None])
def test_a_number_of_clusters_that_is_none_is_refused(n_clusters):
    with pytest.raises(InputError, match="n_clusters: expected a whole number of 2 or more, such as 16, got"):
        cluster_weights(mlp(random_state=0), n_clusters)


def test_rows_without_classes_are_refused():
    with pytest.raises(InputError, match="X, y: expected both"):
        cluster_weights(mlp(random_state=0), X=np.zeros((3, 8, 8)))


def test_a_model_without_kernels_is_refused():
    model = keras.Sequential([layers.Input((3,)), layers.BatchNormalization()])
    with pytest.raises(InputError, match="no kernel to cluster"):
        cluster_weights(model)

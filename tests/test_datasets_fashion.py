"""Pictures of clothes: idx files are read to the byte or refused, and the sheet is what the authors published."""

import gzip
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from inferkit import InputError, ModelFileError
from inferkit._base import sha256
from inferkit.datasets import _fashion, fetch_fashion_mnist
from inferkit.datasets._fetch import Remote
from inferkit.datasets._idx import read_idx
from tests.machine import not_checked
from tests.test_datasets_telco import answer, cache, server  # noqa: F401 (fixtures)

arrays = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5))


def head(shape):
    """Write the first bytes of an idx file, by the format's description."""
    return bytes([0, 0, 8, len(shape)]) + b"".join(int(n).to_bytes(4, "big") for n in shape)


def packed(array):
    return gzip.compress(head(array.shape) + array.tobytes(), 1)


# -- the format --------------------------------------------------------------------------------------


@given(arrays)
def test_what_is_written_is_read_and_may_be_written_to(array):
    again = read_idx(packed(array), array.ndim, "x")
    np.testing.assert_array_equal(again, array)
    assert (again.dtype, again.shape) == (np.uint8, array.shape)
    again[...] = 7


@given(arrays, st.data())
def test_a_file_cut_short_is_refused_packed_or_not(array, data):
    whole = head(array.shape) + array.tobytes()
    part = whole[: data.draw(st.integers(0, len(whole) - 1), label="bytes kept")]
    with pytest.raises(ModelFileError, match=r"^x: expected"):
        read_idx(gzip.compress(part, 1), array.ndim, "x")
    file = packed(array)
    with pytest.raises(ModelFileError, match=r"^x: expected"):
        read_idx(file[: data.draw(st.integers(0, len(file) - 1), label="packed bytes kept")], array.ndim, "x")


@given(arrays, st.binary(min_size=1, max_size=9))
def test_a_file_that_goes_on_is_refused(array, more):
    with pytest.raises(
        ModelFileError, match=rf"expected {array.size} bytes after the head, got {array.size + len(more)}"
    ):
        read_idx(gzip.compress(head(array.shape) + array.tobytes() + more, 1), array.ndim, "x")
    with pytest.raises(ModelFileError):
        read_idx(packed(array) + b"x" + more, array.ndim, "x")


@given(arrays, st.integers(0, 3), st.integers(0, 255))
def test_another_beginning_is_refused(array, place, byte):
    raw = bytearray(head(array.shape) + array.tobytes())
    raw[place] = byte if byte != raw[place] else byte ^ 1
    with pytest.raises(ModelFileError, match=r"expected an idx file that begins with 00000[80]"):
        read_idx(gzip.compress(bytes(raw), 1), array.ndim, "x")


def test_lengths_are_counted_without_overflow():
    with pytest.raises(ModelFileError, match="expected 18,446,744,073,709,551,616 bytes"):  # 2⁶⁴: 0 in 64 bits
        read_idx(gzip.compress(head((2**31, 2**31, 4))), 3, "x")


def test_what_is_not_packed_is_refused():
    with pytest.raises(ModelFileError, match="the labels: expected a whole file packed by gzip"):
        read_idx(b"<html>log in, please</html>", 1, "the labels")


def test_a_flipped_bit_in_the_packed_bytes_is_refused_or_changes_nothing():
    array = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    file = bytearray(packed(array))
    n_refused = 0
    for place in range(len(file)):
        file[place] ^= 4
        try:
            np.testing.assert_array_equal(read_idx(bytes(file), 3, "x"), array)
        except ModelFileError:
            n_refused += 1
        file[place] ^= 4
    assert n_refused > len(file) // 2  # what passes lies in the head of gzip: a time, a system


# -- the two full sets, from a server ----------------------------------------------------------------


def some(n, random_state):
    rng = np.random.default_rng(random_state)
    return rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), rng.integers(0, 10, n, dtype=np.uint8)


@pytest.fixture
def serves(server, cache, monkeypatch):  # noqa: F811
    """Give a way to let a server have two files, registered as what they are."""

    def serve(subset, pictures, labels):
        contents = {}
        files = []
        for old, content in zip(_fashion.FILES[subset], (pictures, labels), strict=True):
            name = old.url.rpartition("/")[2]
            contents[f"/{name}"] = content
            files.append(Remote(old.path, len(content), sha256(content), f"{server.url}/{name}"))
        monkeypatch.setitem(_fashion.FILES, subset, tuple(files))
        server.how = lambda handler: answer(handler, contents[handler.path])
        return contents

    return serve


@pytest.mark.parametrize(("subset", "first"), [("train", "train-"), ("test", "t10k-")])
def test_a_full_set_comes_from_its_two_files_in_order(serves, server, subset, first):  # noqa: F811
    images, target = some(30, 1)
    names = serves(subset, packed(images), packed(target))
    assert sorted(names) == [f"/{first}images-idx3-ubyte.gz", f"/{first}labels-idx1-ubyte.gz"]
    bunch = fetch_fashion_mnist(subset)
    np.testing.assert_array_equal(bunch.images, images)
    np.testing.assert_array_equal(bunch.data, images.reshape(30, 784))
    np.testing.assert_array_equal(bunch.target, target)
    assert bunch.target.dtype == np.int64
    assert np.shares_memory(bunch.data, bunch.images)
    assert {"train": "60,000 pictures to learn from", "test": "10,000 pictures to test with"}[subset] in bunch.DESCR
    X, y = fetch_fashion_mnist(subset, return_X_y=True)
    np.testing.assert_array_equal(X, bunch.data)
    np.testing.assert_array_equal(y, bunch.target)
    assert server.n_requests == 2  # the cache has them


def test_a_frame_has_the_same_numbers_under_the_names_of_the_points(serves):
    images, target = some(12, 2)
    serves("test", packed(images), packed(target))
    frame = fetch_fashion_mnist("test", as_frame=True).frame
    np.testing.assert_array_equal(frame["pixel_3_7"], images[:, 3, 7])
    np.testing.assert_array_equal(frame["target"], target)
    assert frame.shape == (12, 785)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images, labels: (images[:-9], labels), r"expected [\d,]+ bytes, got [\d,]+|not the registered file"),
        (lambda images, labels: (images, labels[:-3] + b"abc"), "not the registered file"),
        (lambda images, labels: (images + b"x", labels), "the server sends more"),
        (lambda images, labels: (labels, images), "not the registered file|the server sends more"),
    ],
)
def test_what_the_server_changed_is_refused_before_it_is_read(serves, server, monkeypatch, change, message):  # noqa: F811
    images, target = some(5, 3)
    names = serves("train", packed(images), packed(target))
    changed = dict(zip(names, change(*names.values()), strict=True))
    server.how = lambda handler: answer(handler, changed[handler.path])
    monkeypatch.setattr(_fashion, "read_idx", lambda *_: pytest.fail("it was read"))
    with pytest.raises(ModelFileError, match=message):
        fetch_fashion_mnist("train")


@pytest.mark.parametrize(
    ("images", "target", "message"),
    [
        (some(5, 4)[0], some(6, 4)[1], r"a picture of 28×28 for each of 6 labels, got \(5, 28, 28\)"),
        (some(5, 4)[0][:, 1:], some(5, 4)[1], r"for each of 5 labels, got \(5, 27, 28\)"),
        (some(5, 4)[0], np.array([0, 1, 9, 10, 2], dtype=np.uint8), "whole numbers from 0 to 9"),
        (some(5, 4)[1], some(5, 4)[0], "the pictures: expected an idx file that begins with 00000803, got 00000801"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(images, target, message):
    with pytest.raises(ModelFileError, match=message):
        _fashion.from_idx(packed(images), packed(target))


@pytest.mark.parametrize("subset", ["validation", "Train", None, 3, ["train"]])
def test_another_subset_is_refused_before_anything_is_fetched(subset, monkeypatch):
    monkeypatch.setattr(_fashion, "fetched", lambda *_, **__: pytest.fail("it was fetched"))
    with pytest.raises(InputError, match="subset: expected one of 'train', 'test', 'sprite', got "):
        fetch_fashion_mnist(subset)


# -- the sheet ---------------------------------------------------------------------------------------


def sheet_of(images, width, n_blank):
    """Draw pictures side by side, one by one, inverted."""
    height = (len(images) + n_blank) // width
    sheet = Image.new("L", (28 * width, 28 * height), 255)
    for k, image in enumerate(images):
        sheet.paste(Image.fromarray(255 - image), (28 * (k % width), 28 * (k // width)))
    file = io.BytesIO()
    sheet.save(file, "png")
    return file.getvalue()


def labels_of(target):
    return json.dumps({"labels": [int(k) for k in target], "projection": []}).encode()


@settings(max_examples=20)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 4), st.integers(0, 99))
def test_the_places_of_a_sheet_are_read_row_by_row(width, height, n_blank, seed):
    n_blank = min(n_blank, width * height - 1)
    images, target = some(width * height - n_blank, seed)
    again, labels = _fashion.from_sheet(sheet_of(images, width, n_blank), labels_of(target))
    np.testing.assert_array_equal(again, images)
    np.testing.assert_array_equal(labels, target)


@pytest.mark.parametrize(("n_labels", "n_pictures"), [(7, 6), (5, 6)])
def test_a_sheet_with_other_pictures_than_labels_is_refused(n_labels, n_pictures):
    images, target = some(9, 5)
    with pytest.raises(ModelFileError, match=f"expected {n_labels} pictures on the sheet"):
        _fashion.from_sheet(sheet_of(images[:n_pictures], 3, 6 - n_pictures), labels_of(target[:n_labels]))


@pytest.mark.parametrize("target", [[-1, 0], [0, 10], [0.5, 1], [[0], [1]]])
def test_labels_that_are_none_are_refused(target):
    with pytest.raises(ModelFileError, match="whole numbers from 0 to 9"):
        _fashion.from_sheet(sheet_of(some(2, 6)[0], 2, 0), json.dumps({"labels": target}).encode())


def test_a_sheet_of_another_size_is_refused():
    file = io.BytesIO()
    Image.new("L", (56, 57)).save(file, "png")
    with pytest.raises(ModelFileError, match=r"multiples of 28, got \(57, 56\)"):
        _fashion.from_sheet(file.getvalue(), labels_of([0]))


# -- what is published -------------------------------------------------------------------------------

# Two rows of the first picture, an ankle boot, as every copy of Fashion-MNIST has them.
BOOT_ROW_3 = [0] * 12 + [1, 0, 0, 13, 73, 0, 0, 1, 4, 0, 0, 0, 0, 1, 1, 0]


def test_the_published_sheet_has_the_first_pictures_the_right_way_round(published, monkeypatch):
    monkeypatch.setenv("INFERKIT_MIRROR", str(published))
    bunch = fetch_fashion_mnist("sprite")
    assert bunch.images.shape == (2000, 28, 28)
    assert bunch.images.dtype == np.uint8
    assert bunch.images[0, 3].tolist() == BOOT_ROW_3
    assert np.median(bunch.images[:, 0, 0]) == 0  # the ground
    assert bunch.target[:6].tolist() == [9, 0, 0, 3, 0, 2]
    assert np.bincount(bunch.target).tolist() == [194, 216, 202, 195, 186, 200, 194, 215, 198, 200]
    assert bunch.target_names == json.loads((published / "fashion_mnist/fmnist.json").read_text())["labelNames"]
    assert np.shares_memory(bunch.data, bunch.images)
    assert list(bunch.units) == bunch.feature_names == [f"pixel_{i}_{j}" for i in range(28) for j in range(28)]
    assert bunch.frame is None
    assert "stand-in: the first 2,000" in bunch.DESCR
    assert "no test set" in bunch.DESCR
    assert all(word in bunch.licence for word in ("MIT", "Zalando", "Apache-2.0", "PAIR-code"))
    bunch.data[:] = 1
    assert fetch_fashion_mnist("sprite").data.max() == 255  # arrays of its own


def test_the_labels_of_the_published_sheet_stand_beside_the_right_pictures(published, monkeypatch):
    """The nearest known picture has the same label far more often than by chance (a tenth)."""
    monkeypatch.setenv("INFERKIT_MIRROR", str(published))
    X, y = fetch_fashion_mnist("sprite", return_X_y=True)
    X = X.astype(np.float32)
    known, asked = slice(0, 1500), slice(1500, 2000)
    distance = (X[known] ** 2).sum(1) - 2 * X[asked] @ X[known].T
    nearest = y[known][distance.argmin(1)]
    assert (nearest == y[asked]).mean() > 0.6
    assert (nearest == np.roll(y[asked], 1)).mean() < 0.3


def test_the_published_labels_of_the_test_set_are_read(published):
    labels = (published / "fashion_mnist/t10k-labels-idx1-ubyte.gz").read_bytes()
    file = _fashion.FILES["test"][1]
    assert file.fault(labels) is None
    assert np.bincount(read_idx(labels, 1, "the labels")).tolist() == [1000] * 10


def test_every_file_is_registered_as_it_is_listed(published):
    if not (published / "url_only.tsv").is_file():
        not_checked("the registered files of Fashion-MNIST: the mirror has no list of what is published")
    rows = [
        line.split("\t")
        for name in ("registry.tsv", "url_only.tsv")
        for line in (published / name).read_text().splitlines()
        if line.startswith("fashion_mnist")
    ]
    listed = {row[1]: row for row in rows}
    ours = {file.path.rpartition("/")[2]: file for pair in _fashion.FILES.values() for file in pair}
    assert sorted(ours) == sorted(listed)
    for name, file in ours.items():
        assert str(file.size_bytes) in listed[name]
        assert {file.sha256, f"sha256:{file.sha256}"} & set(listed[name])
        assert file.url in listed[name]

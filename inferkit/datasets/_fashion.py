"""Pictures of clothes: Fashion-MNIST as its authors publish it, and a small sheet of its first pictures."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._base import InputError, ModelFileError
from ._bunch import as_asked, make_bunch
from ._fetch import Remote, fetched
from ._idx import read_idx

if TYPE_CHECKING:
    from sklearn.utils import Bunch

_ZALANDO = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/b2617bb6d3ffa2e429640350f613e3291e10b141/"
    "data/fashion/"
)
_PAIR = (
    "https://raw.githubusercontent.com/PAIR-code/understanding-umap/1ff6f3a1aa3c036b7f4153862c5d95186dddb2f4/public/"
)


def _remote(address: str, name: str, size_bytes: int, sha256: str) -> Remote:
    return Remote(f"fashion_mnist/{name}", size_bytes, sha256, address + name)


FILES = {
    "train": (
        _remote(
            _ZALANDO,
            "train-images-idx3-ubyte.gz",
            26_421_880,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
        _remote(
            _ZALANDO,
            "train-labels-idx1-ubyte.gz",
            29_515,
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        ),
    ),
    "test": (
        _remote(
            _ZALANDO,
            "t10k-images-idx3-ubyte.gz",
            4_422_102,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
        _remote(
            _ZALANDO,
            "t10k-labels-idx1-ubyte.gz",
            5_148,
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
    "sprite": (
        _remote(
            _PAIR,
            "fmnist_spritesheet.png",
            796_070,
            "ba775b5907c380f78dadeb4da50f41aec6423c349c236c5cfc14ab4c757c22ec",
        ),
        _remote(
            _PAIR,
            "fmnist.json",
            122_658,
            "9987572de153fd00a08a2e2affd4937289433d6b979648f3c1ea704458095616",
        ),
    ),
}
"""Pictures and labels of each subset."""

CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""The ten classes, in the authors' order and words."""

_SIDE = 28


def fetch_fashion_mnist(
    subset: str = "train", *, return_X_y: bool = False, as_frame: bool = False, progress: bool = True
) -> Bunch | tuple[Any, Any]:
    """Fetch pictures of clothes: 60,000 to learn from, 10,000 to test with, or a small stand-in of 2,000.

    The files come from the folder or address that the environment variable ``INFERKIT_MIRROR`` names, else from the
    cache (``INFERKIT_CACHE``), else from the net: 26.5 MB for ``"train"``, 4.4 MB for ``"test"``, 0.9 MB for
    ``"sprite"``. Their hashes are compared with the registered ones each time.

    Parameters
    ----------
    subset : {"train", "test", "sprite"}, default "train"
        ``"sprite"`` is the first 2,000 of the 60,000, which others published side by side on one sheet. It is no test
        set: rows of it are rows of ``"train"``.
    return_X_y : bool, default False
        Return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default False
        Give ``data`` as a data frame and ``target`` as a series (needs pandas).
    progress : bool, default True
        Show how far a download has come.

    Returns
    -------
    Bunch or tuple
        The keys stand in the module's description. ``images`` is (n, 28, 28) uint8: 0 is the bright
        ground, 255 the darkest cloth, row 0 at the top. ``data`` is the same as (n, 784), ``target`` is (n,) int64 in
        0..9. The rows stand in the authors' order.

    Raises
    ------
    InputError
        If there is no such subset.
    ModelFileError
        If what came is not the registered file.
    OSError
        If it cannot be had: no network, a server that fails or takes too long, a mirror without the file.
    MissingExtraError
        If ``as_frame=True`` and pandas is not installed.

    References
    ----------
    H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms", arXiv:1708.07747, 2017.

    Examples
    --------
    >>> fetch_fashion_mnist("shoes")
    Traceback (most recent call last):
        ...
    inferkit._base.InputError: subset: expected one of 'train', 'test', 'sprite', got 'shoes'
    """
    if not isinstance(subset, str) or subset not in FILES:
        raise InputError(f"subset: expected one of {', '.join(map(repr, FILES))}, got {subset!r:.80}")
    pictures, labels = (fetched(file, progress=progress) for file in FILES[subset])
    read = from_sheet if subset == "sprite" else from_idx
    return as_asked(fashion_bunch(*read(pictures, labels), subset), return_X_y=return_X_y, as_frame=as_frame)


def from_idx(pictures: bytes, labels: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return pictures and labels from the authors' two files.

    Parameters
    ----------
    pictures, labels : bytes
        Packed idx files (gzip) of three dimensions and of one.

    Returns
    -------
    images : (n, 28, 28) uint8 array
    target : (n,) int64 array

    Raises
    ------
    ModelFileError
        If a file is no such file, or the two do not belong together.
    """
    images, target = read_idx(pictures, 3, "the pictures"), read_idx(labels, 1, "the labels")
    if images.shape != (len(target), _SIDE, _SIDE):
        raise ModelFileError(f"expected a picture of 28×28 for each of {len(target):,} labels, got {images.shape}")
    return images, _known(target)


def from_sheet(sheet: bytes, labels: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return pictures and labels from a sheet, which is inverted and ends in blank places, and its labels.

    Parameters
    ----------
    sheet : bytes
        A grey picture (PNG), its sides multiples of 28.
    labels : bytes
        JSON with a list ``labels``, not longer than the sheet has places.

    Returns
    -------
    images : (n, 28, 28) uint8 array
        As the authors have them: 0 is the ground.
    target : (n,) int64 array

    Raises
    ------
    ModelFileError
        If the two do not belong together: fewer places than labels, or a picture without a label.
    """
    from PIL import Image  # matplotlib brings it along

    with Image.open(io.BytesIO(sheet)) as opened:
        grey = 255 - np.asarray(opened.convert("L"))
    height, width = (side // _SIDE for side in grey.shape)
    if grey.shape != (height * _SIDE, width * _SIDE):
        raise ModelFileError(f"expected a sheet with sides that are multiples of 28, got {grey.shape}")
    places = grey.reshape(height, _SIDE, width, _SIDE).swapaxes(1, 2).reshape(-1, _SIDE, _SIDE)
    target = _known(np.array(json.loads(labels)["labels"]))
    if len(places) < len(target) or places[len(target) :].any():
        raise ModelFileError(f"expected {len(target):,} pictures on the sheet, one for each label; it has others")
    return places[: len(target)], target


def _known(target: NDArray[Any]) -> NDArray[np.int64]:
    if target.ndim != 1 or not np.isin(target, range(len(CLOTHES))).all():
        raise ModelFileError(f"labels: expected whole numbers from 0 to {len(CLOTHES) - 1}, got {target!r:.80}")
    return target.astype(np.int64)


def fashion_bunch(images: NDArray[np.uint8], target: NDArray[np.int64], subset: str) -> Bunch:
    """Return the contract of this module for pictures of clothes.

    Parameters
    ----------
    images : (n, 28, 28) uint8 array
    target : (n,) int64 array
    subset : {"train", "test", "sprite"}

    Returns
    -------
    Bunch
        As `fetch_fashion_mnist` gives it.
    """
    names = [f"pixel_{i}_{j}" for i in range(_SIDE) for j in range(_SIDE)]
    return make_bunch(
        images.reshape(len(images), -1),
        target,
        feature_names=names,
        target_names=list(CLOTHES),
        units=dict.fromkeys(names, "grey levels of 255"),
        DESCR=_DESCR + _WHICH[subset],
        licence=_LICENCE + (_SHEET_LICENCE if subset == "sprite" else ""),
        source=FILES[subset][0].url,
        images=images,
    )


_LICENCE = "MIT, (c) 2017 Zalando SE. Cite: H. Xiao, K. Rasul and R. Vollgraf (2017), Fashion-MNIST, arXiv:1708.07747."
_SHEET_LICENCE = " The sheet and its labels: Apache-2.0, PAIR-code/understanding-umap."

_DESCR = """Fashion-MNIST
-------------

Pictures of clothes, shoes and bags from the shop of Zalando, published in 2017 by its research group to take the place
of the handwritten digits of MNIST: as many pictures, of the same size, in ten classes that come equally often, and
harder to tell apart. Each was made from a photograph of the shop: trimmed, made smaller until the longer side had 28
points, sharpened, set in the middle of 28×28 points, made negative and grey (0 to 255). So the bright ground is 0 and
the darkest cloth 255. Row 0 is the top. The classes were given by people of the shop who know clothes.

Limits: one shop, each thing alone on a plain ground, as shops show it. A shirt, a T-shirt, a pullover and a coat differ
little in 28×28 points.

"""

_WHICH = {
    "train": "These are the 60,000 pictures to learn from.\n",
    "test": "These are the 10,000 pictures to test with.\n",
    "sprite": """This is a stand-in: the first 2,000 of the 60,000 pictures to learn from, as the authors of the page
"Understanding UMAP" published them side by side on one sheet, with their labels. The sheet has them inverted, and
blank places at its end; here they are as in the original. They are some 3 % of the 60,000 and no test set: do not test
on them what was trained on the 60,000.
""",
}

"""What a smaller model weighs, layer by layer, and how far its answers moved."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from .._base import require
from ._layers import CONVERSIONS, Layer, read_file
from ._signal import layer_outputs, sqnr_db

if TYPE_CHECKING:
    import pandas

Rows = tuple[NDArray[Any], ...]
NamedRows = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class LayerReport:
    """One layer of a report.

    Attributes
    ----------
    name, op : str
        What it is called, and its kind in LiteRT's words.
    weights : str
        How its weights are stored, such as ``int8``; empty where it has none.
    n_parameters, n_zeros : int
        Elements of its weights and bias, and how many of them stand for 0.
    weight_bytes : int
        Their bytes in the file.
    macs : int
        Multiply-accumulate operations for one row.
    sqnr_db : float or None
        Power of the float model's output of this layer over that of the difference, in decibels: 20 dB more is an error
        ten times smaller. None where it was not compared, infinite where nothing differs.
    """

    name: str
    op: str
    weights: str
    n_parameters: int
    n_zeros: int
    weight_bytes: int
    macs: int
    sqnr_db: float | None = None


@dataclass(frozen=True)
class Report:
    """What a model weighs.

    Attributes
    ----------
    method : str
        How it came about, such as ``int8``.
    file_bytes : int
        Bytes of the file.
    weight_bytes : int
        Bytes of weights and biases in it. The rest describes the network.
    gzip_bytes : int
        Bytes of the file after gzip (level 9).
    n_parameters, n_zeros : int
        Elements of weights and biases, and how many of them stand for 0.
    macs : int or None
        Multiply-accumulate operations for one row, counted from the shapes; None where layers run in a loop.
    layers : tuple of LayerReport
        In the order in which they run.
    accuracy, reference_accuracy : float or None
        Of this model and of the float model on the rows given, if any were.
    n_test : int
        How many they were.
    """

    method: str
    file_bytes: int
    weight_bytes: int
    gzip_bytes: int
    n_parameters: int
    n_zeros: int
    macs: int | None
    layers: tuple[LayerReport, ...]
    accuracy: float | None = None
    reference_accuracy: float | None = None
    n_test: int = 0

    @property
    def sparsity(self) -> float:
        """Share of parameters that stand for 0."""
        return self.n_zeros / self.n_parameters if self.n_parameters else 0.0

    @property
    def description_bytes(self) -> int:
        """Bytes of the file that are no weights: names, shapes, ranges, the order of operations."""
        return self.file_bytes - self.weight_bytes

    def to_frame(self) -> pandas.DataFrame:
        """Return one row a layer that has weights or was compared.

        Returns
        -------
        pandas.DataFrame
            Columns as the attributes of :class:`LayerReport`.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        pandas = require("pandas", extra="pandas")
        return pandas.DataFrame([vars(layer) for layer in self._told()], columns=list(LayerReport.__annotations__))

    def _told(self) -> list[LayerReport]:
        return [one for one in self.layers if one.n_parameters or one.macs or one.sqnr_db is not None]

    def __repr__(self) -> str:
        """Say what the model weighs in one line."""
        parts = [
            f"{self.file_bytes:,} bytes of file",
            f"{self.weight_bytes:,} of weights",
            f"{self.gzip_bytes:,} gzipped",
            f"{self.n_parameters:,} parameters, {self.sparsity:.1%} zero",
        ]
        parts += [f"{self.macs:,} MACs"] if self.macs is not None else []
        parts += [self._right()] if self.accuracy is not None else []
        return f"Report({self.method}: {'; '.join(parts)})"

    def _right(self) -> str:
        was = "" if self.reference_accuracy is None else f", the float model {self.reference_accuracy:.1%}"
        return f"accuracy {self.accuracy:.1%}{was} (n = {self.n_test:,})"

    def _repr_html_(self) -> str:
        """Return a table of the layers under the totals."""
        head = "<tr>" + "".join(f"<th>{name}</th>" for name in _HEADS) + "</tr>"
        rows = "".join(_html_row(one) for one in self._told())
        return f"<p><strong>{escape(repr(self)[7:-1])}</strong></p><table>{head}{rows}</table>"


_HEADS = ("layer", "operation", "weights", "parameters", "zeros", "bytes", "MACs", "SQNR, dB")


def _html_row(one: LayerReport) -> str:
    sqnr = "" if one.sqnr_db is None else f"{one.sqnr_db:.1f}"
    numbers = [f"{n:,}" if n else "" for n in (one.n_parameters, one.n_zeros, one.weight_bytes, one.macs)]
    cells = [escape(one.name), escape(one.op), one.weights, *numbers, sqnr]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def make_report(
    content: bytes, method: str, *, reference: bytes | None = None, rows: NamedRows | None = None, **scores: Any
) -> Report:
    """Read a file and compare it with the float file that it stands for.

    Parameters
    ----------
    content : bytes
        The file to report of.
    method : str
        How it came about.
    reference : bytes, optional
        The float file; without it no errors are stated.
    rows : dict of str to array, optional
        Inputs to compare the two on, by name.
    **scores
        `accuracy`, `reference_accuracy` and `n_test`.

    Returns
    -------
    Report
    """
    read = read_file(content)
    errors = _errors(content, reference, rows) if reference is not None and rows else {}
    layers = tuple(_layer_report(layer, errors.get(layer.output.name)) for layer in read.runs)
    held = read.weights
    return Report(
        method=method,
        file_bytes=len(content),
        weight_bytes=sum(one.n_bytes for one in held),
        gzip_bytes=len(gzip.compress(content, 9, mtime=0)),
        n_parameters=sum(one.size for one in held),
        n_zeros=sum(one.n_zeros for one in held),
        macs=None if read.has_loops else sum(layer.macs for layer in layers),
        layers=layers,
        **scores,
    )


def _layer_report(layer: Layer, error: float | None) -> LayerReport:
    held = [one for one in (layer.weights, layer.bias) if one is not None]
    return LayerReport(
        name=layer.name,
        op=layer.op,
        weights=layer.weights.dtype if layer.weights is not None else "",
        n_parameters=sum(one.size for one in held),
        n_zeros=sum(one.n_zeros for one in held),
        weight_bytes=sum(one.n_bytes for one in held),
        macs=layer.macs,
        sqnr_db=error,
    )


def _errors(content: bytes, reference: bytes, rows: NamedRows) -> dict[str, float]:
    """Return the SQNR of each layer's output, by its name in `content`."""
    ours, theirs = layer_outputs(content, rows), layer_outputs(reference, rows)
    return {
        name: sqnr_db(theirs[partner], ours[name])
        for name, partner in _partners(content, reference).items()
        if name in ours and partner in theirs and ours[name].shape == theirs[partner].shape
    }


def _partners(content: bytes, reference: bytes) -> dict[str, str]:
    """Pair the layers of two files: in order where both do the same operations, else by name."""
    ours, theirs = (
        [layer for layer in read_file(one).main if layer.op not in CONVERSIONS] for one in (content, reference)
    )
    if [layer.op for layer in ours] == [layer.op for layer in theirs]:
        return {one.output.name: other.output.name for one, other in zip(ours, theirs, strict=True)}
    return {layer.output.name: layer.output.name for layer in ours}

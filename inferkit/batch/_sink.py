"""Where answers go: the formats of a part, and how the parts become one file."""

import csv
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.lib.format as npy

from .._base import InputError, require
from ._checkpoint import Checkpoint
from ._collect import Labels, Part, Store, fill_value, hashed, table_columns
from ._rows import Array

FORMATS = {".npy": "npy", ".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}
IDS_AT_ONCE = 1 << 19
"""How many ids are compared at once: 4 MB."""


@dataclass(frozen=True)
class Sink:
    """Where answers go.

    Parameters
    ----------
    format : {"memory", "npy", "csv", "parquet"}
    path : Path or None
        The file to make.
    array : numpy.ndarray or None
        The array to fill.
    """

    format: str
    path: Path | None = None
    array: Array | None = None

    @property
    def rejected_path(self) -> Path | None:
        """The file for rows without an answer."""
        return None if self.path is None else self.path.with_name(f"{self.path.stem}.rejected.csv")


def open_sink(sink: Any, files: Sequence[Path], outputs: Sequence[str]) -> Sink:
    """Check where answers shall go, before any work is done.

    Parameters
    ----------
    sink : array, path or None
    files : sequence of Path
        The files of the source.
    outputs : sequence of str
        The names of the outputs.

    Returns
    -------
    Sink

    Raises
    ------
    InputError
        If it is of no known kind, would overwrite the source, or cannot hold several outputs.
    OSError
        If its folder is missing.
    """
    if sink is None:
        return Sink("memory")
    if isinstance(sink, np.ndarray | np.memmap):
        _one_output("an array", outputs)
        return Sink("memory", array=sink)
    if not isinstance(sink, str | os.PathLike):
        raise InputError(
            f"sink: expected None, an array, or the path of a .csv, .parquet or .npy file, got {type(sink).__name__}"
        )
    path = Path(sink)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None or path.is_dir():
        raise InputError(f"sink: expected the path of a file that ends in {', '.join(FORMATS)}, got {str(sink)!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"sink: the folder {str(path.parent)!r} does not exist; make it, or name another one")
    if kind == "npy":
        _one_output("a .npy file", outputs)
    if kind == "parquet":
        require("pyarrow.parquet", extra="parquet")
    _not_the_source(path, files)
    try:
        trial = path.with_name(f".{path.name}.whole")
        trial.write_bytes(b" ")
        trial.unlink()
    except OSError as error:
        raise type(error)(
            error.errno, f"sink: {path.name} cannot be written; give a path in a folder of yours", str(path.parent)
        ) from error
    return Sink(kind, path)


def _one_output(what: str, outputs: Sequence[str]) -> None:
    if len(outputs) != 1:
        raise InputError(f"sink: {what} holds one output, and there are {list(outputs)}; write a .csv or .parquet file")


def _not_the_source(path: Path, files: Sequence[Path]) -> None:
    for taken in (path, path.with_name(f"{path.stem}.rejected.csv")):
        if any(taken.exists() and taken.samefile(file) for file in files):
            raise InputError(f"sink: {taken.name} is one of the files that are read; give another name")
    folder = path.parent.resolve()
    if len(files) > 1 and any(file.parent.resolve() == folder for file in files):
        raise InputError(
            f"sink: {path.name} would lie among the files that are read, and the next run would read it too; "
            "give a path in another folder"
        )


# -- parts -------------------------------------------------------------------------------------


def write_part(stem: Path, part: Part, first: int, kind: str, id_column: str | None, labels: Labels) -> dict[str, Any]:
    """Write the files of one part.

    Parameters
    ----------
    stem : Path
        The files' path, without suffixes.
    part : Part
    first : int
        The number of its first row.
    kind : {"memory", "npy", "csv", "parquet"}
    id_column : str, optional
    labels : dict

    Returns
    -------
    dict
        What its marker says of it: plain values.
    """
    outputs, fine = part.outputs(), part.fine()
    names = part.ids if id_column is not None else list(range(first, first + part.n))
    if part.rejected:
        with _new_csv(Path(f"{stem}.rejected.csv")) as writer:
            writer.writerows(_rejected_rows(part, first, None if id_column is None else part.ids))
    if id_column is not None:
        np.save(f"{stem}.ids.npy", hashed(part.ids))
    told: dict[str, Any] = {"rows": part.n, "answered": part.n_answered}
    if kind == "memory" or (outputs and kind == "npy"):
        _write_arrays(stem, outputs, fine, kind, np.array([str(name) for name in part.ids]))
        return told
    if not outputs:
        return told
    columns: dict[str, Any] = {id_column or "row": [name for name, good in zip(names, fine, strict=True) if good]}
    columns |= table_columns(outputs, labels)
    if len(columns) != 1 + len(table_columns(outputs, labels)):
        raise InputError(f"id_column: {id_column!r} is the name of an answer too; rename it with columns={{...}}")
    if kind == "csv":
        with _new_csv(Path(f"{stem}.csv")) as writer:
            writer.writerows(zip(*map(_cells, columns.values()), strict=True))
    else:
        pa, pq = require("pyarrow", extra="parquet"), require("pyarrow.parquet", extra="parquet")
        pq.write_table(pa.table({n: pa.array(c) for n, c in columns.items()}), f"{stem}.parquet")
    return told | {"columns": list(columns)}


def _write_arrays(stem: Path, outputs: dict[str, Array], fine: Array, kind: str, ids: Array) -> None:
    store = Store(len(fine))
    store.put(outputs, fine)
    for name, array in store.arrays.items():
        if array.dtype.hasobject:
            raise InputError(f"{name}: answers that are Python objects cannot be kept in a file, got {array.dtype}")
    if kind == "npy":
        (array,) = store.arrays.values()
        np.save(f"{stem}.npy", array)
    else:
        np.savez(
            f"{stem}.npz", allow_pickle=False, ok=fine, ids=ids, **{f"output {n}": a for n, a in store.arrays.items()}
        )


def _rejected_rows(part: Part, first: int, ids: list[Any] | None) -> Iterable[tuple[Any, ...]]:
    for row, reason in part.rejected:
        yield (first + row, reason) if ids is None else (first + row, ids[row], reason)


class _new_csv:
    """A CSV file that is written from its beginning: UTF-8, lines end in one character everywhere."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")

    def __enter__(self) -> Any:
        return csv.writer(self._file, lineterminator="\n")

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _cells(column: Any) -> list[Any]:
    """Return a column as what a CSV writer writes: real numbers in the fewest digits that give the same bits back."""
    if not isinstance(column, np.ndarray):
        return list(column)
    short = column.dtype.kind == "f" and column.dtype.itemsize != 8
    cells: list[Any] = (column.astype("U") if short else column).tolist()
    return cells


# -- the whole ---------------------------------------------------------------------------------


def write_whole(checkpoint: Checkpoint, kind: str, target: Path) -> None:
    """Write the file that the finished parts make.

    Parameters
    ----------
    checkpoint : Checkpoint
        At least one of its parts has answers.
    kind : {"npy", "csv", "parquet"}
    target : Path
    """
    {"npy": _whole_npy, "csv": _whole_csv, "parquet": _whole_parquet}[kind](checkpoint, target)


def write_rejected(checkpoint: Checkpoint, id_column: str | None, target: Path) -> None:
    """Write the file of the rows without an answer."""
    with _new_csv(target) as writer:
        writer.writerow(["row", *([] if id_column is None else [id_column]), "reason"])
    _append(checkpoint.files(".rejected.csv"), target)


def _append(parts: Iterable[Path], target: Path) -> None:
    with target.open("ab") as whole:
        for part in parts:
            with part.open("rb") as f:
                shutil.copyfileobj(f, whole, 1 << 20)


def _whole_csv(checkpoint: Checkpoint, target: Path) -> None:
    with _new_csv(target) as writer:
        writer.writerow(next(marker["columns"] for marker in checkpoint.parts if "columns" in marker))
    _append(checkpoint.files(".csv"), target)


def _whole_parquet(checkpoint: Checkpoint, target: Path) -> None:
    """One row group for each part. A part may lack a type, where an id has no value in it."""
    pa, pq = require("pyarrow", extra="parquet"), require("pyarrow.parquet", extra="parquet")
    files = checkpoint.files(".parquet")
    schema = pa.unify_schemas([pq.read_schema(file) for file in files], promote_options="permissive")
    with pq.ParquetWriter(target, schema) as writer:
        for file in files:
            table = pq.read_table(file, use_threads=False).cast(schema)
            writer.write_table(table, row_group_size=max(1, len(table)))


def _whole_npy(checkpoint: Checkpoint, target: Path) -> None:
    files = {int(file.stem): file for file in checkpoint.files(".npy")}
    heads = [np.load(file, mmap_mode="r") for file in files.values()]
    dtype, shape = np.result_type(*(head.dtype for head in heads)), heads[0].shape[1:]
    if any(head.shape[1:] != shape for head in heads):
        raise InputError(f"expected answers of one shape, got {sorted({head.shape[1:] for head in heads})}")
    n = sum(marker["rows"] for marker in checkpoint.parts)
    facts = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": (n, *shape)}
    with target.open("wb") as whole:
        npy.write_array_header_2_0(whole, facts)
        for number, marker in enumerate(checkpoint.parts):
            array = np.load(files[number]) if number in files else np.full((marker["rows"], *shape), fill_value(dtype))
            array.astype(dtype).tofile(whole)


def load_memory(checkpoint: Checkpoint, store: Store) -> Array:
    """Put the finished parts back into memory; return the ids, as texts."""
    ids = []
    for file in checkpoint.files(".npz"):
        with np.load(file) as kept:
            fine = kept["ok"]
            outputs = {n.removeprefix("output "): kept[n][fine] for n in kept.files if n.startswith("output ")}
            ids.append(kept["ids"])
        store.put(outputs, fine)
    return np.concatenate(ids)


def count_duplicates(checkpoint: Checkpoint) -> int:
    """Return how many rows have an id that another row before them has, a share of the ids at a time."""
    files = checkpoint.files(".ids.npy")
    rows = sum(marker["rows"] for marker in checkpoint.parts)
    shares = np.uint64(-(-rows // IDS_AT_ONCE) or 1)
    distinct = 0
    for share in range(int(shares)):
        some = [ids[ids % shares == share] for ids in map(np.load, files)]
        distinct += len(np.unique(np.concatenate([np.zeros(0, dtype=np.uint64), *some])))
    return rows - distinct if files else 0

"""One row of a ledger: what was measured of one model on one machine."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from .._base import UPDATE, InputError

Key = tuple[str, str | None, str, int, int | None]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROUNDING = 1e-9  # an interval computed in floats may miss its own value by a speck


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True)
class Entry:
    """What was measured of one model on one machine: one row of a :class:`Ledger`.

    Only `name` is required; None says that something was not measured, or that the sample does not
    support it.

    Parameters
    ----------
    name : str
        What people call the model.
    model_sha256 : str, optional
        Hash of the model's file. Two models of one name are told apart by it.
    machine, machine_id : str
        The machine's name, for people, and 12 hexadecimal digits that are its own.
    accuracy : float, optional
        Share of right answers, 0 to 1.
    accuracy_low, accuracy_high : float, optional
        Ends of its interval.
    n_test : int, optional
        Rows that the accuracy was measured on.
    p50_ms, p90_ms, p99_ms : float, optional
        Percentiles of the time of one call, in milliseconds.
    p50_low, p50_high : float, optional
        Ends of the median's interval, in milliseconds.
    n : int, optional
        Calls that were timed.
    throughput : float, optional
        Rows a second.
    size_bytes : int, optional
        Bytes of the model's file.
    peak_mb : float, optional
        Peak memory in megabytes (10⁶ bytes).
    joules : float, optional
        Joules a row: what the processor's packages used while it answered, all programs together.
    batch_size : int, default=1
        Rows in a call.
    threads : int, optional
        Threads that the model ran on.
    measured_at : str, optional
        When, in ISO 8601 with a time zone; kept in UTC. Now, unless given.
    stamp : dict, optional
        The machine and its software in full; plain values.

    Raises
    ------
    InputError
        If a value is not of its kind, or lies outside its own interval.

    Examples
    --------
    >>> Entry("digits-cnn", accuracy=0.98, p50_ms=0.011, measured_at="2025-03-01T10:00:00Z").measured_at
    '2025-03-01T10:00:00+00:00'
    """

    name: str
    _: KW_ONLY
    model_sha256: str | None = None
    machine: str = ""
    machine_id: str = ""
    accuracy: float | None = None
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    n_test: int | None = None
    p50_ms: float | None = None
    p50_low: float | None = None
    p50_high: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    n: int | None = None
    throughput: float | None = None
    size_bytes: int | None = None
    peak_mb: float | None = None
    joules: float | None = None
    batch_size: int = 1
    threads: int | None = None
    measured_at: str = field(default_factory=_now)
    stamp: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if value is not None or one.name not in _OPTIONAL:
                object.__setattr__(self, one.name, _CHECKS[one.name](one.name, value))
        for key in ("accuracy", "accuracy_low", "accuracy_high"):
            if (getattr(self, key) or 0) > 1 + _ROUNDING:
                raise InputError(f"{key}: expected a share from 0 to 1, got {getattr(self, key)!r}; 97 % is 0.97")
        _fit_interval(self, "accuracy", "accuracy_low", "accuracy_high")
        _fit_interval(self, "p50_ms", "p50_low", "p50_high")

    @property
    def key(self) -> Key:
        """What makes it this row and no other: name, model, machine, batch size, threads.

        The name is part of it because one model file may be tried in several ways, such as with
        another preprocessing.
        """
        return (self.name, self.model_sha256, self.machine_id, self.batch_size, self.threads)

    @property
    def measured_us(self) -> int:
        """When it was measured, in microseconds since 1970."""
        return (datetime.fromisoformat(self.measured_at) - _EPOCH) // timedelta(microseconds=1)

    def to_dict(self) -> dict[str, Any]:
        """Return every field as a plain value that JSON can hold.

        Returns
        -------
        dict
        """
        return {one.name: getattr(self, one.name) for one in fields(self)} | {"stamp": _plain("stamp", self.stamp)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Entry":
        """Make an entry of what `to_dict` gave.

        Parameters
        ----------
        values : dict
            ``name`` and ``measured_at`` must be there; other fields that are not count as None.

        Returns
        -------
        Entry

        Raises
        ------
        InputError
            If a field is missing, unknown (a newer version may have written it) or not of its kind.

        Examples
        --------
        >>> entry = Entry("digits-cnn", accuracy=0.98)
        >>> Entry.from_dict(entry.to_dict()) == entry
        True
        """
        if not isinstance(values, Mapping):
            raise InputError(f"expected the fields of an entry as a dict, got {values!r:.60}")
        known = {one.name for one in fields(cls)}
        if unknown := sorted(str(key) for key in values.keys() - known):
            raise InputError(f"an entry has no field {', '.join(unknown):.80}; if a newer inferkit wrote it, {UPDATE}")
        if missing := [key for key in ("name", "measured_at") if key not in values]:
            raise InputError(f"an entry needs the field {' and '.join(missing)}; it has {sorted(values)!r:.200}")
        return cls(**values)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or (name == "name" and not value.strip()):
        raise InputError(f"{name}: expected text, got {value!r:.60}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(f"{name}: expected text that UTF-8 can hold, got {value!r:.60}") from None
    return str(value)


def _hash(name: str, value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
        raise InputError(f"{name}: expected the 64 hexadecimal digits of a SHA-256, got {value!r:.80}")
    return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise InputError(f"{name}: expected a number or None, got {value!r:.60}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not 0 <= number < math.inf:  # NaN too fails this
        raise InputError(f"{name}: expected a finite number ≥ 0, or None if it was not measured, got {number!r}")
    return number


def _whole(name: str, value: Any) -> int:
    least = 0 if name == "size_bytes" else 1
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value < 2**63:
        raise InputError(f"{name}: expected a whole number ≥ {least}, got {value!r:.60}")
    return int(value)


def _instant(name: str, value: Any) -> str:
    try:
        when = datetime.fromisoformat(value)
        if when.tzinfo is None:
            raise ValueError
        return when.astimezone(UTC).isoformat()
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"{name}: expected a time in ISO 8601 with its zone, such as 2025-03-01T10:00:00+00:00, got {value!r:.60}"
        ) from None


def _plain(name: str, value: Any) -> dict[str, Any]:
    """Return a copy of a dict as JSON would give it back."""
    try:
        if isinstance(value, Mapping):
            text = json.dumps(dict(value), allow_nan=False, ensure_ascii=False)
            text.encode()  # half a surrogate pair fails here
            copy: dict[str, Any] = json.loads(text)
            return copy
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{name}: expected plain values that JSON can hold: {error}") from None
    raise InputError(f"{name}: expected a dict of plain values, got {value!r:.60}")


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(("name", "machine", "machine_id"), _text),
    "model_sha256": _hash,
    **dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high", "p50_ms", "p50_low", "p50_high"), _number),
    **dict.fromkeys(("p90_ms", "p99_ms", "throughput", "peak_mb", "joules"), _number),
    **dict.fromkeys(("n_test", "n", "size_bytes", "batch_size", "threads"), _whole),
    "measured_at": _instant,
    "stamp": _plain,
}
_OPTIONAL = _CHECKS.keys() - {"name", "machine", "machine_id", "batch_size", "measured_at", "stamp"}


def _fit_interval(entry: Entry, name: str, low: str, high: str) -> None:
    """Raise unless a value lies in its interval; make up for the last digit of a float."""
    value, bottom, top = (getattr(entry, key) for key in (name, low, high))
    if value is None:
        if bottom is not None or top is not None:
            raise InputError(f"{name}: expected a value to go with {low} and {high}, got None")
        return
    slack = _ROUNDING * max(value, 1e-300)
    if (bottom is not None and bottom > value + slack) or (top is not None and top < value - slack):
        raise InputError(f"{name}: expected a value from {low} to {high}, got {value!r} with {bottom!r} and {top!r}")
    if bottom is not None:
        object.__setattr__(entry, low, min(bottom, value))
    if top is not None:
        object.__setattr__(entry, high, max(top, value))

"""``inferkit predict``: one JSON line for each row."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .._base import InputError
from ..predictor import Predictor, TableSpec, TextSpec
from ._inputs import only_array
from ._output import as_json, results_only
from ._runtime import first_line, kind_of


def run(options: argparse.Namespace) -> int:
    """Answer the rows given; return the exit code."""
    with results_only("-"):
        path = Path(options.model)
        predictor = Predictor.load(path) if kind_of(path) == "predictor" else Predictor(path)
        rows = _rows(options, predictor.signature.input)
        answers = list(_answers(predictor, rows, probabilities=options.probabilities))
    for answer in answers:
        print(as_json(answer))
    return 0


def _rows(options: argparse.Namespace, spec: Any) -> Any:
    """Return the rows as the predictor takes them."""
    if options.text is not None:
        if not isinstance(spec, TextSpec):
            raise InputError("--text: this model takes no text; give --row or --input")
        return options.text
    if options.row is not None:
        return [_parsed(text, spec) for text in options.row]
    return only_array(options.input)


def _parsed(text: str, spec: Any) -> Any:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        example = '{"age": 40}' if isinstance(spec, TableSpec) else "[1, 2, 3]"
        raise InputError(f"--row: expected JSON such as {example}, got {text!r:.60}: {error}") from error
    if isinstance(row, dict) and not isinstance(spec, TableSpec):
        raise InputError("--row: this model takes arrays; give a list such as [1, 2, 3]")
    return row


def _answers(predictor: Predictor, rows: Any, *, probabilities: bool) -> Iterator[dict[str, Any]]:
    """Give what each row's line holds."""
    found = {"answer": _answered(predictor.predict, rows, predictor.name)}
    if probabilities:
        found["probabilities"] = _answered(predictor.predict_proba, rows, predictor.name)
    for i in range(len(rows)):
        line: dict[str, Any] = {"row": i, "answer": _of_row(found["answer"], i)}
        if probabilities:
            line["probabilities"] = _by_label(predictor, _of_row(found["probabilities"], i))
        yield line


def _answered(ask: Any, rows: Any, name: str) -> Any:
    try:
        return ask(rows)
    except InputError:
        raise
    except Exception as error:  # each runtime raises its own
        raise InputError(f"{name} does not answer these rows: {first_line(error)}") from error


def _of_row(answers: Any, i: int) -> Any:
    """Return one row of an output, or of each of several named ones."""
    return {name: values[i] for name, values in answers.items()} if isinstance(answers, dict) else answers[i]


def _by_label(predictor: Predictor, values: Any) -> Any:
    """Put the names of the labels to a row of probabilities."""
    labels = {spec.name: spec.labels for spec in predictor.signature.outputs if spec.labels is not None}
    if isinstance(values, dict):
        return {name: dict(zip(map(str, labels[name]), row.tolist(), strict=True)) for name, row in values.items()}
    return dict(zip(map(str, next(iter(labels.values()))), values.tolist(), strict=True))

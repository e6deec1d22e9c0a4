"""Train the two small models over tables, who leaves and what is fraud, and register them.

Run it from the repository's root::

    python -m datasets.make_table_models

It takes half a minute on one core. On the same machine with the same versions it gives the same bytes every time.

They learn from the answers alone, as they would have to in practice. Nothing is reweighed, though fraud is rare: so
what they give is a probability, and can be laid beside the truth that these made tables have.
"""

from __future__ import annotations

# The first import also sets one thread and no oneDNN, which must be done before TensorFlow is imported.
from datasets.make_digit_models import BUNDLED, MADE_WITH, Files, Registry, fingerprint

# isort: split
import argparse
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

from inferkit._base import whole_file
from inferkit.datasets import load_customers, load_transactions, make_customers, make_transactions
from inferkit.datasets._customers import CUSTOMER_COLUMNS
from inferkit.datasets._transactions import TRANSACTION_COLUMNS
from inferkit.models import LiteRTModel, import_keras, mlp, to_litert, train
from inferkit.predictor._scorers import (
    CHURN_LOGS,
    CHURN_SPREADS,
    FRAUD_LOGS,
    FRAUD_SPREADS,
    preparation,
    table_of,
)

JUDGE_SEED = 700
"""Seed of the rows that a model is judged on; those that it learns from have the recipe's."""


@dataclass(frozen=True)
class Recipe:
    """How one model is built and trained."""

    name: str
    description: str
    make: Callable[..., Any]
    load: Callable[..., Any]
    columns: Mapping[str, Mapping[str, Any]]
    spreads: Mapping[str, tuple[float, float]]
    logs: Sequence[str]
    n_training: int
    epochs: int
    hidden: tuple[int, ...]
    random_state: int

    def rows(self, table: Any) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return what the network takes of a table, and the answers."""
        value = table_of(self.columns).check(table.data)
        for step in preparation(self.columns, self.spreads, self.logs):
            value = step(value)
        return value.astype(np.float32), table.target


RECIPES = (
    Recipe(
        "churn-mlp", "Small network over a table: does a telephone customer leave?", make_customers, load_customers,
        CUSTOMER_COLUMNS, CHURN_SPREADS, CHURN_LOGS, 200_000, 12, (64, 32), 70,
    ),
    Recipe(
        "fraud-mlp", "Small network over a table: is a card payment fraud?", make_transactions, load_transactions,
        TRANSACTION_COLUMNS, FRAUD_SPREADS, FRAUD_LOGS, 1_000_000, 8, (64, 32), 80,
    ),
)  # fmt: skip


def make(folder: Path, *, scale: float = 1.0, n_judged: int = 200_000) -> None:
    """Train both, and write them and their entries in ``registry.json``; what else it holds stays.

    Parameters
    ----------
    folder : pathlib.Path
        Where to write. Nothing is written before both are trained.
    scale : float, default 1.0
        Below 1: fewer rows to learn from, and a worse model, to try the script.
    n_judged : int, default 200000
        Fresh rows to judge them on.
    """
    known = folder / "registry.json"
    registry: Registry = json.loads(known.read_bytes()) if known.exists() else {}
    files: Files = {}
    for recipe in RECIPES:
        model = trained(recipe, scale)
        files[f"{recipe.name}.tflite"] = flat = to_litert(model)
        registry[recipe.name] = judged(recipe, flat, n_judged, n_parameters=model.count_params())
    files["registry.json"] = (json.dumps(registry, indent=2, ensure_ascii=False) + "\n").encode()
    for file, content in files.items():  # the registry comes last
        with whole_file(folder / file) as temporary:
            temporary.write_bytes(content)


def trained(recipe: Recipe, scale: float = 1.0) -> Any:
    """Build and train the model of a recipe; the step size falls to zero along a cosine."""
    import_keras().utils.clear_session()  # layers are numbered anew: the order of training leaves no trace in the files
    X, y = recipe.rows(recipe.make(max(int(recipe.n_training * scale), 1000), recipe.random_state))
    model, batch_size = mlp(X.shape[1:], 2, hidden=recipe.hidden, random_state=recipe.random_state), 512
    rate = import_keras().optimizers.schedules.CosineDecay(3e-3, recipe.epochs * -(-len(X) // batch_size))
    result = train(
        model, X, y, epochs=recipe.epochs, batch_size=batch_size, learning_rate=rate, random_state=recipe.random_state
    )
    print(f"{recipe.name}: {result}")
    return model


def judged(recipe: Recipe, content: bytes, n: int, *, n_parameters: int) -> dict[str, Any]:
    """Judge a ``.tflite`` file on rows it never saw, beside the truth, and return what to register."""
    bundled_X, bundled_y = recipe.rows(recipe.load())
    entry: dict[str, Any] = {
        "description": recipe.description,
        "file": f"{recipe.name}.tflite",
        **fingerprint(content),
        "n_parameters": n_parameters,
        "random_state": recipe.random_state,
        "accuracy": round(float((answers(content, bundled_X).argmax(axis=1) == bundled_y).mean()), 4),
    }
    fresh = recipe.make(n, JUDGE_SEED)
    entry["fresh_rows"] = {"n": n, **figures(answers(content, recipe.rows(fresh)[0])[:, 1], fresh)}
    print(entry["accuracy"], entry["fresh_rows"], f"{len(content):,} bytes")
    return entry | {"made_with": {"python": platform.python_version(), **{k: version(k) for k in MADE_WITH}}}


def answers(content: bytes, X: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probabilities that a ``.tflite`` file gives, 4,096 rows at a time."""
    model = LiteRTModel(content)
    return np.concatenate([model(X[i : i + 4096]) for i in range(0, len(X), 4096)])


def figures(p: NDArray[np.floating[Any]], table: Any) -> dict[str, float]:
    """Return how good probabilities are, and how good the truth itself would be on the same rows.

    Parameters
    ----------
    p : (n,) array
        Probability of class 1 for each row.
    table : Bunch
        From `make_customers` or `make_transactions`.

    Returns
    -------
    dict of str to float
        ``log_loss`` and ``auc`` (area under the ROC curve), each of the truth as well; ``distance``, the mean of
        ``|p - truth|``.
    """
    y, truth = table.target, table.probability
    exact = {
        "log_loss": log_loss(y, p.astype(np.float64)),
        "best_log_loss": log_loss(y, truth),
        "auc": roc_auc_score(y, p),
        "best_auc": roc_auc_score(y, truth),
        "distance": np.abs(p - truth).mean(),
    }
    return {name: round(float(value), 5) for name, value in exact.items()}


def main() -> None:
    """Read the command line and train the two."""
    parser = argparse.ArgumentParser(description="Train the models over customers and card payments.")
    parser.add_argument("--folder", type=Path, default=BUNDLED, help="where to write (default: inferkit/bundled)")
    parser.add_argument("--quick", action="store_true", help="worse models in some ten seconds, to try the script")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    make(options.folder, **({"scale": 0.02, "n_judged": 5_000} if options.quick else {}))


if __name__ == "__main__":
    main()

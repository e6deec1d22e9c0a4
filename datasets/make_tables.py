"""Make the customers and the payments that ship with inferkit, and register their hashes.

Run it from the repository's root::

    python -m datasets.make_tables

It takes a moment, and gives the same rows every time. The payments are packed; another version of zlib may pack the
same rows into other bytes.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

from datasets.make_digit_models import BUNDLED, Registry, fingerprint
from inferkit._base import whole_file
from inferkit.datasets import _customers, _transactions, make_customers, make_transactions

N_CUSTOMERS, CUSTOMERS_SEED = 4_000, 7
N_TRANSACTIONS, TRANSACTIONS_SEED = 20_000, 8


def write(folder: Path) -> None:
    """Write both tables and their entries in ``registry.json``; what else the registry holds stays.

    Parameters
    ----------
    folder : pathlib.Path
        Where to write.
    """
    customers = _customers.as_csv(make_customers(N_CUSTOMERS, CUSTOMERS_SEED))
    payments = _transactions.as_csv(make_transactions(N_TRANSACTIONS, TRANSACTIONS_SEED))
    made = {
        "customers": ("customers.csv", customers, f"{N_CUSTOMERS:,} telephone customers.", CUSTOMERS_SEED),
        "transactions": (
            "transactions.csv.gz",
            gzip.compress(payments, 9, mtime=0),
            f"{N_TRANSACTIONS:,} card payments.",
            TRANSACTIONS_SEED,
        ),
    }
    known = folder / "registry.json"
    registry: Registry = json.loads(known.read_bytes()) if known.exists() else {}
    for name, (file, content, description, seed) in made.items():
        about = {"kind": "data", "description": description, "file": file, **fingerprint(content), "random_state": seed}
        registry[name] = about
    text = (json.dumps(registry, indent=2, ensure_ascii=False) + "\n").encode()
    files = {file: content for file, content, *_ in made.values()}
    for file, content in (files | {"registry.json": text}).items():  # the registry comes last
        with whole_file(folder / file) as temporary:
            temporary.write_bytes(content)


def main() -> None:
    """Read the command line and make the tables."""
    parser = argparse.ArgumentParser(description="Make the customers and the card payments.")
    parser.add_argument("--folder", type=Path, default=BUNDLED, help="where to write (default: inferkit/bundled)")
    parser.add_argument("--quick", action="store_true", help="the same: it takes a moment anyway")
    write(parser.parse_args().folder)


if __name__ == "__main__":
    main()

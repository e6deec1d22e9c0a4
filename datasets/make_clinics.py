"""Make the patients that ship with inferkit, and register their hash.

Run it from the repository's root::

    python -m datasets.make_clinics

It takes a moment, and gives the same bytes every time.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from datasets.make_digit_models import BUNDLED, Registry, fingerprint
from inferkit._base import whole_file
from inferkit.datasets import make_clinics
from inferkit.datasets._clinics import as_csv

FILE, SEED = "clinics.csv", 24


def write(folder: Path) -> None:
    """Write the patients and their entry in ``registry.json``; what else the registry holds stays.

    Parameters
    ----------
    folder : pathlib.Path
        Where to write.
    """
    clinics = make_clinics(random_state=SEED)
    content = as_csv(clinics)
    known = folder / "registry.json"
    registry: Registry = json.loads(known.read_bytes()) if known.exists() else {}
    registry["clinics"] = {
        "kind": "data",
        "description": f"{len(clinics.data)} patients of {len(clinics.truth.clinic_slope)} clinics, with the truth.",
        "file": FILE,
        **fingerprint(content),
        "random_state": SEED,
    }
    text = (json.dumps(registry, indent=2, ensure_ascii=False) + "\n").encode()
    for name, data in {FILE: content, "registry.json": text}.items():  # the registry comes last
        with whole_file(folder / name) as temporary:
            temporary.write_bytes(data)


def main() -> None:
    """Read the command line and make the patients."""
    parser = argparse.ArgumentParser(description="Make the patients of clinics large and small.")
    parser.add_argument("--folder", type=Path, default=BUNDLED, help="where to write (default: inferkit/bundled)")
    parser.add_argument("--quick", action="store_true", help="the same: it takes a moment anyway")
    write(parser.parse_args().folder)


if __name__ == "__main__":
    main()

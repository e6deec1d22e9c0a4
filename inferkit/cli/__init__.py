"""The command line: ``inferkit doctor | bench | predict | serve | data``.

>>> from inferkit.cli import main
>>> main(["--version"])  # doctest: +ELLIPSIS
inferkit ...
0
"""

from ._main import main

__all__ = ["main"]

"""Files that lie on the net: from a mirror, the cache or their source, and only the bytes that are registered."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from .._base import ModelFileError, ProgressLine, sha256

DEADLINE_S = 120.0
"""A download may take so long in all, however steadily it drips."""

_SILENCE_S = 10.0


@dataclass(frozen=True)
class Remote:
    """A file on the net as it was registered.

    Attributes
    ----------
    path : str
        Where it lies in the cache and in a mirror.
    size_bytes : int
    sha256 : str
    url : str
    """

    path: str
    size_bytes: int
    sha256: str
    url: str

    def fault(self, content: bytes) -> str | None:
        """Return what is wrong with some bytes that should be this file, in words; None if they are it."""
        if len(content) != self.size_bytes:
            return f"expected {self.size_bytes:,} bytes, got {len(content):,}"
        found = sha256(content)
        return None if found == self.sha256 else f"expected SHA-256 {self.sha256[:12]}…, got {found[:12]}…"


def fetched(file: Remote, *, progress: bool = True) -> bytes:
    """Return a registered file's bytes, from the mirror, the cache or the net; they were hashed just now.

    Parameters
    ----------
    file : Remote
    progress : bool, default True
        Show how far a download has come, in a terminal or a notebook.

    Returns
    -------
    bytes

    Raises
    ------
    ModelFileError
        If what came is not the registered file.
    OSError
        If it cannot be had: no network, a server that fails or takes too long, a mirror without the file.
    """
    mirror = os.environ.get("INFERKIT_MIRROR", "")
    if mirror and "://" not in mirror:
        try:
            content = (Path(mirror) / file.path).read_bytes()
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"the folder that INFERKIT_MIRROR names has no {file.path}; unset it, or add it"
            ) from error
        return _checked(file, content, "the mirror's copy")
    kept = cache_folder() / file.path
    if kept.is_file():
        content = kept.read_bytes()
        if file.fault(content) is None:
            return content  # a copy that was changed is fetched again
        kept.unlink()
    url = f"{mirror.rstrip('/')}/{file.path}" if mirror else file.url
    with ProgressLine(progress, after_s=0.5) as line:
        _download(file, url, kept, line)
    return _checked(file, kept.read_bytes(), "the download")


def cache_folder() -> Path:
    """Return where downloads are kept: the folder that ``INFERKIT_CACHE`` names, or one of the user's."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("INFERKIT_CACHE") or user_cache_path("inferkit", appauthor=False) / "data")


def _checked(file: Remote, content: bytes, what: str) -> bytes:
    fault = file.fault(content)
    if fault is not None:
        raise ModelFileError(f"{what} of {file.path} is not the registered file: {fault}")
    return content


def _download(file: Remote, url: str, target: Path, line: ProgressLine) -> None:
    """Let pooch write the file whole or not at all."""
    pooch: Any = import_module("pooch")
    requests: Any = import_module("requests")
    urllib3: Any = import_module("urllib3")

    def downloader(url: str, output: Any, _: Any) -> None:
        Path(output).write_bytes(_body(requests, file, url, line))

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # it would tell the path of this machine, in red
    try:
        pooch.retrieve(url, f"sha256:{file.sha256}", fname=target.name, path=target.parent, downloader=downloader)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise OSError(
            f"{file.path} cannot be fetched ({type(error).__name__}); is there a network? A folder that has the file "
            "serves as well: set INFERKIT_MIRROR to it"
        ) from error
    except ModelFileError:
        raise
    except ValueError as error:  # pooch's word for another hash
        raise ModelFileError(f"the download of {file.path} is not the registered file: another SHA-256") from error
    finally:
        logger.setLevel(level)


def _body(requests: Any, file: Remote, url: str, line: ProgressLine) -> bytes:
    """Read a body piece by piece, never longer than the deadline nor more than was registered."""
    end, parts, got = time.monotonic() + DEADLINE_S, [], 0
    with requests.get(url, stream=True, timeout=_SILENCE_S, headers={"Accept-Encoding": "identity"}) as response:
        response.raise_for_status()
        while piece := response.raw.read1(1 << 16):  # what has come, without waiting for more
            parts.append(piece)
            got += len(piece)
            if got > file.size_bytes:
                raise ModelFileError(f"{file.path}: expected {file.size_bytes:,} bytes, the server sends more")
            if time.monotonic() > end:
                raise TimeoutError(
                    f"{file.path}: {got:,} of {file.size_bytes:,} bytes after {DEADLINE_S:g} s; try later"
                )
            line.show(f"{file.path}: {got / file.size_bytes:.0%} of {file.size_bytes / 1e6:.1f} MB")
    return b"".join(parts)

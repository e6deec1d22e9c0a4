"""Dask's workers on this machine: plain child processes that are started anew when they die.

Dask starts its own by ``multiprocessing``, which runs the main script again in each child: a script with no
``if __name__ == "__main__"`` would start clusters without end. A child that is started by its own command
never sees the script, and a worker with no nanny above it costs one process, not two.
"""

import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

START_S = 60.0
"""How long the workers may take to report."""
ALLOWED_FAILURES = 0
"""A chunk whose worker died comes back at once, and is tried alone: so each try costs one worker, not four."""


_KEEP_COPIES = {"distributed.scheduler.active-memory-manager.start": False}
"""It would drop the predictor from a worker that has no chunk just then, and it would travel there again."""
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""As Dask's own nannies have it: workers share the cores."""


@contextmanager
def local_cluster(n_workers: int) -> Iterator[Any]:
    """Run a Dask cluster on this machine; leave no process, thread or file behind.

    Parameters
    ----------
    n_workers : int
        Worker processes, one thread each.

    Yields
    ------
    distributed.LocalCluster
        With ``scheduler_address`` and ``dashboard_link``.

    Raises
    ------
    ConnectionError
        If the workers do not report within a minute. The message shows what the first one wrote last.
    """
    import dask
    from distributed import LocalCluster

    with (
        _silence("distributed", "bokeh"),
        tempfile.TemporaryDirectory(prefix="inferkit-dask-", ignore_cleanup_errors=True) as folder,
        dask.config.set({"temporary-directory": folder, **_KEEP_COPIES}),
        LocalCluster(
            n_workers=0,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=False,  # it would end this before its last threads have ended
            scheduler_kwargs={"allowed_failures": ALLOWED_FAILURES},
        ) as cluster,
        _Crew(n_workers, cluster.scheduler_address, Path(folder)) as crew,
    ):
        crew.wait_for(cluster)
        yield cluster


@contextmanager
def _silence(*loggers: str) -> Iterator[None]:
    """Hold back what loggers, and those below them, write through their handlers, but for what is critical."""
    handlers = [handler for name in loggers for handler in logging.getLogger(name).handlers]
    before = [handler.level for handler in handlers]
    for handler in handlers:
        handler.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for handler, level in zip(handlers, before, strict=True):
            handler.setLevel(level)


class _Crew:
    """Worker processes, and a thread that puts a new one where one has ended."""

    def __init__(self, n_workers: int, address: str, folder: Path) -> None:
        self._command = [
            sys.executable, "-P", "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny",
            "--no-dashboard", "--host", "127.0.0.1", "--local-directory", str(folder),
            "--memory-limit", "0",  # its one chunk is bounded; a worker that pauses at a limit would never go on
            "--death-timeout", f"{START_S:.0f}",
        ]  # fmt: skip
        self._log = folder / "worker.log"
        self._stopped = threading.Event()
        self._n_workers = n_workers
        self._processes: list[subprocess.Popen[bytes]] = []
        self._watch = threading.Thread(target=self._replace_the_dead, name="inferkit-dask-crew", daemon=True)

    def _start(self) -> subprocess.Popen[bytes]:
        # What this process can import, a worker can: the predictor may hold functions of the user's own modules.
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                env={**os.environ, **_ONE_THREAD, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C ends the run, and the run ends its workers
            )

    def wait_for(self, cluster: Any) -> None:
        """Start the workers, wait until all have reported, then watch over them."""
        self._processes.extend(self._start() for _ in range(self._n_workers))
        end = monotonic() + START_S
        while len(cluster.scheduler.workers) < self._n_workers:
            if monotonic() > end or any(process.poll() is not None for process in self._processes):
                wrote = self._log.read_text(errors="replace").strip().splitlines()[-3:]
                raise ConnectionError(
                    f'Dask\'s workers on this machine did not start within {START_S:.0f} s. Try engine="local". '
                    f"The last that they wrote: {' | '.join(wrote) or 'nothing'}"
                )
            sleep(0.02)
        self._watch.start()

    def _replace_the_dead(self) -> None:
        while not self._stopped.wait(0.1):
            for i, process in enumerate(self._processes):
                if process.poll() is not None:
                    self._processes[i] = self._start()

    def __enter__(self) -> "_Crew":
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._watch.ident is not None:
            self._watch.join()
        for process in self._processes:
            process.kill()  # nothing that a worker holds is needed any more
        for process in self._processes:
            process.wait()

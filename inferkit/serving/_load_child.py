"""Load a server from a process of its own: one interpreter that both asks and answers would measure itself."""

import contextlib
import gc
import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

from ..benchmark import ChildError
from ._load_engine import Job, Made, Show, generate

_SILENCE_S = (
    60.0  # the child tells all the time how far it is; so much silence, beyond one query's, means that it hangs
)
_PROGRAM = "import sys; sys.path.append({folder!r}); from inferkit.serving._load_child import main; main()"


def generate_in_child(job: Job, show: Show) -> Made:
    """Do a job in a fresh Python process.

    Parameters
    ----------
    job : Job
    show : callable
        Told now and then how many queries have come to their end.

    Returns
    -------
    Made
        After an interrupt: what there was by then. A second interrupt is let through.

    Raises
    ------
    ChildError
        If the process dies, or says nothing for a minute. However the call ends, the process is gone.
    """
    with tempfile.TemporaryFile() as errors:
        program = _PROGRAM.format(folder=str(Path(__file__).parents[2]))
        child = subprocess.Popen(
            [sys.executable, "-P", "-X", "utf8", "-c", program],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            start_new_session=True,  # an interrupt in a terminal is for the parent alone, which asks for what there is
        )  # fmt: skip
        told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        listener = threading.Thread(target=_listen, args=(child.stdout, told), daemon=True)
        try:
            listener.start()
            _hand_over(job, child.stdin)
            found = _follow(told, child.stdin, show, _SILENCE_S + job.timeout_s)
        finally:
            child.kill()
            child.wait()
            listener.join()
            _close(child.stdin)
        if isinstance(found, Made):
            return found
        errors.seek(0)
        raise ChildError(_epitaph(found, errors.read().decode(errors="replace")))


def _hand_over(job: Job, stdin: IO[bytes] | None) -> None:
    """Give the child its job; if it is dead already, the listener will know."""
    assert stdin is not None
    with contextlib.suppress(BrokenPipeError):
        pickle.dump(job, stdin)
        stdin.flush()


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


def _listen(stdout: IO[bytes], told: "queue.SimpleQueue[Any]") -> None:
    """Hand on what the child tells: numbers, and what it made at last; None when it tells no more."""
    with stdout:
        try:
            while True:
                told.put(pickle.load(stdout))
        except (EOFError, pickle.UnpicklingError):
            told.put(None)


def _follow(told: "queue.SimpleQueue[Any]", stdin: IO[bytes] | None, show: Show, silence_s: float) -> Any:
    """Return what the child made; None if it died, or a word if it hangs. An interrupt asks it for what there is."""
    asked_to_stop = False
    while True:
        try:
            message = told.get(timeout=silence_s)
        except queue.Empty:
            return f"it said nothing for {silence_s:g} s"
        except KeyboardInterrupt:
            if asked_to_stop:
                raise
            asked_to_stop = True
            _close(stdin)
            continue
        if not isinstance(message, int):
            return message
        show(message)


def _epitaph(found: object, errors: str) -> str:
    last = errors.strip().splitlines()[-1:] or ["it left no message"]
    return f"the process that makes the load ended before its job was done: {found or last[0]}"


# -- in the child ------------------------------------------------------------------------------


def main() -> None:
    """Do the job that standard input brings; stop when standard input ends, for then the parent wants it or is gone."""
    tell = _own_output()
    job = pickle.load(sys.stdin.buffer)
    ended = threading.Event()
    threading.Thread(target=_await_end, args=(ended,), daemon=True).start()
    gc.collect()
    gc.freeze()  # so that no later collection looks through what was imported
    tell(generate(job, ended.is_set, tell))


def _own_output() -> Any:
    """Return a function that writes to the parent; whatever else writes to standard output goes to standard error."""
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def tell(message: Any) -> None:
        pickle.dump(message, stream)
        stream.flush()

    return tell


def _await_end(ended: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    ended.set()

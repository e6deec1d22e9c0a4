"""What a child process runs: one job, timed, with the peak of its memory.

``run_in_child`` hands this file's text to ``python -c``, so it stands on the standard library alone:
whatever it imported would count as the job's memory. (Windows needs psutil to ask for its peak.)
"""

import __future__

import json
import linecache
import os
import sys
import threading
import time
import traceback
from typing import Any

SOURCE = "<child>"


def peak_bytes() -> int:
    """Return the most memory that this process has held in RAM so far."""
    if sys.platform == "linux":
        # Not getrusage: its peak survives exec, so a child of a large kernel would start with the kernel's.
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, kilobytes on the others


def read_request() -> Any:
    """Read the one line that says what to do, byte by byte: what follows belongs to `follow_parent`."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            os._exit(1)
        line += byte
    return json.loads(line)


def follow_parent() -> None:
    """End this process when the parent does: it alone holds the other end of standard input."""
    while os.read(0, 4096):
        pass
    os._exit(1)


def plain(value: Any) -> Any:
    """Turn a NumPy number or array into plain Python; refuse the rest."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(
        f"the job returned a {type(value).__name__}, which cannot travel between processes; "
        "return numbers, text, lists, dicts or NumPy arrays"
    )


def run(code: str, call: str | None, args: list[Any]) -> Any:
    """Run `code`; return what its function `call` returns, or what it left in ``result``."""
    linecache.cache[SOURCE] = (len(code), None, code.splitlines(keepends=True), SOURCE)
    names: dict[str, Any] = {"__name__": "__main__"}
    # A function's annotations name what its notebook has imported, and the child has not: they stay text.
    exec(compile(code, SOURCE, "exec", flags=__future__.annotations.compiler_flag), names)
    return names[call](*args) if call else names.get("result")


def failure(error: BaseException) -> dict[str, str]:
    """Describe an error: its kind, its message and the job's line that it came from."""
    lines = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == SOURCE]
    where = f"line {lines[-1].lineno}: {lines[-1].line}" if lines else ""
    return {"error": type(error).__name__, "message": str(error), "where": where}


def main() -> None:
    """Do what standard input asks for, and write the answer behind the parent's token."""
    request = read_request()
    threading.Thread(target=follow_parent, daemon=True).start()
    baseline = peak_bytes()
    start = time.perf_counter()
    try:
        value = run(request["code"], request["call"], request["args"])
        seconds = time.perf_counter() - start
        peak = peak_bytes()
        reply = json.dumps({"value": value, "seconds": seconds, "peak": peak, "baseline": baseline}, default=plain)
    except BaseException as error:
        reply = json.dumps(failure(error))
    sys.stdout.flush()
    sys.stdout.write(request["token"] + reply)
    sys.stdout.flush()


if __name__ == "__main__":
    main()

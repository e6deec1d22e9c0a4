"""What was asked for, and one line for whatever goes wrong."""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence

from .. import __version__
from .._base import InputError, MissingExtraError, ModelFileError

OK, BAD, WRONG, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141
"""Exit codes: done; done, and something is not as it should be; not done; the last two as shells have them."""

_COMMANDS = {
    "doctor": "say what is installed, what this machine is, and what is missing",
    "bench": "measure a model: latency, throughput, memory",
    "predict": "answer rows with a model, one JSON line for each",
    "serve": "answer over HTTP until told to stop",
    "data": "list the data and the models that are here, or verify them",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the program's name; the process's own if not given.

    Returns
    -------
    int
        The exit code: 0 done; 1 done, and something is not as it should be (`doctor`, `data verify`); 2 not done, one
        line on standard error says why; 130 interrupted; 141 nobody reads the output any more.

    Examples
    --------
    >>> main(["--version"])  # doctest: +ELLIPSIS
    inferkit ...
    0
    """
    options = _parse(arguments)
    if options is None:
        return OK
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a console that has no "µ"
    try:
        code = _run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        return PIPE_CLOSED
    return code


def _run(options: argparse.Namespace) -> int:
    """Run the command's own module; turn what a user can mend into a line."""
    try:
        return int(importlib.import_module(f".{'_' + options.command}", __package__).run(options))
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        return _fail(options.command, "interrupted", INTERRUPTED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(options.command, f"{where}{error.strerror or error}", WRONG)
    except ModelFileError as error:
        path = getattr(options, "model", "")
        return _fail(options.command, str(error) if path in str(error) else f"{path}: {error}", WRONG)
    except (InputError, MissingExtraError) as error:
        return _fail(options.command, str(error), WRONG)


def _fail(command: str, message: str, code: int) -> int:
    print(f"inferkit {command}: {' '.join(message.split())}", file=sys.stderr)
    return code


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace | None:
    """Return what was asked for; None if that was the version or nothing at all."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.version:
        print(f"inferkit {__version__}")
    elif options.command is None:
        parser.print_help()
    else:
        return options
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="inferkit", description="Machine-learning inference, measured.")
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    made = {name: commands.add_parser(name, help=words, description=words) for name, words in _COMMANDS.items()}
    _add_json(made["doctor"])
    _add_bench(made["bench"])
    _add_predict(made["predict"])
    _add_serve(made["serve"])
    made["data"].add_argument("action", choices=["list", "verify"], help="list, or compare every file with its hash")
    _add_json(made["data"])
    return parser


def _add_json(parser: argparse.ArgumentParser) -> None:
    words = "write the result as JSON: to a file, or with - to standard output, and nothing else there"
    parser.add_argument("--json", metavar="FILE", help=words)


def _add_bench(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Time the call of a model file as its runtime makes it, or of a saved predictor with its preparation and its "
        "checks, on random input of the right shape and type or on given input."
    )
    parser.add_argument("model", help="a .tflite, .keras or .onnx file, or one that Predictor.save wrote")
    parser.add_argument("--input", metavar="FILE", help=".npy with rows, or .npz with an array for each input")
    parser.add_argument(
        "--shape", metavar="[NAME=]N,N,...", action="append", default=[],
        help="the whole shape of an input, rows included; lengths that a model leaves open are 1 otherwise",
    )  # fmt: skip
    parser.add_argument("--threads", metavar="N", type=_count, default=1, help="threads of one call (default: 1)")
    parser.add_argument(
        "--batch-size", metavar="N", type=_count, help="rows in a call (default: what the model asks for, else 1)"
    )
    parser.add_argument("-n", type=_count, default=1000, help="calls to keep (default: 1000; a p99 needs 662)")
    parser.add_argument(
        "--seconds", metavar="S", type=_duration, default=10.0, help="begin no call after so long (default: 10)"
    )
    parser.add_argument(
        "--warmup", metavar="N", type=_whole, default=20, help="calls before that do not count (default: 20)"
    )
    parser.add_argument("--seed", metavar="N", type=_whole, default=0, help="of the random input (default: 0)")
    parser.add_argument("--no-memory", action="store_true", help="don't measure memory, which takes a second process")
    _add_json(parser)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a file that Predictor.save wrote, or a .tflite, .keras or .onnx file")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--input", metavar="FILE", help=".npy with rows, or .npz with one array of rows")
    given.add_argument("--text", action="append", help="a text; may be given several times")
    given.add_argument("--row", metavar="JSON", action="append", help="a row, such as '{\"age\": 40}' or '[1, 2, 3]'")
    parser.add_argument("--probabilities", action="store_true", help="add the probability of each label")


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Serve models over HTTP: the Open Inference Protocol (KServe v2), and plain JSON beside it. SIGTERM or Ctrl-C: "
        "what was accepted is finished, what is new refused; a second Ctrl-C ends it at once. A token that requests "
        "must bring comes from --token-file or from the environment variable INFERKIT_TOKEN."
    )
    parser.add_argument(
        "models", metavar="MODEL", nargs="+",
        help="a file that `inferkit predict` takes, or a bundled model's name, such as digits-cnn",
    )  # fmt: skip
    parser.add_argument(
        "--name",
        metavar="NAME",
        action="append",
        help="a model's name in requests, once for each (default: the file's)",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine alone)"
    )
    parser.add_argument("--port", metavar="N", type=_whole, default=8000, help="0 takes a free one (default: 8000)")
    parser.add_argument("--threads", metavar="N", type=_count, default=1, help="threads of one call (default: 1)")
    parser.add_argument("--workers", metavar="N", type=_count, help="calls of a model side by side (default: 1)")
    parser.add_argument("--max-batch-size", metavar="N", type=_count, help="rows of one call (default: 64)")
    parser.add_argument(
        "--max-wait-ms",
        metavar="MS",
        type=_not_negative,
        help="how long an idle model waits for more rows (default: 0)",
    )
    parser.add_argument(
        "--max-queue", metavar="N", type=_count, help="rows that may wait; more are refused (default: 1024)"
    )
    parser.add_argument(
        "--deadline-ms", metavar="MS", type=_not_negative, help="for each request; 0 for none (default: 30000)"
    )
    parser.add_argument("--max-body-bytes", metavar="N", type=_count, help="of one request (default: 16777216)")
    parser.add_argument("--max-connections", metavar="N", type=_count, help="open at once (default: 512)")
    for part, default in (("header", 5), ("body", 10)):
        parser.add_argument(
            f"--{part}-timeout", metavar="S", type=_duration, dest=f"{part}_timeout_s",
            help=f"for a client to send a request's {part} (default: {default})",
        )  # fmt: skip
    parser.add_argument("--token-file", metavar="FILE", help="file with the token that requests must bring")
    parser.add_argument(
        "--shutdown-timeout", metavar="S", type=_duration, default=10.0,
        help="what has not ended so long after the signal is broken off (default: 10)",
    )  # fmt: skip


def _count(text: str) -> int:
    return int(_number(text, int, 1, "a whole number ≥ 1"))


def _whole(text: str) -> int:
    return int(_number(text, int, 0, "a whole number ≥ 0"))


def _not_negative(text: str) -> float:
    return _number(text, float, 0, "a number ≥ 0")


def _duration(text: str) -> float:
    return _number(text, float, 1e-9, "seconds above 0")


def _number(text: str, kind: Callable[[str], float], least: float, words: str) -> float:
    try:
        value = kind(text)
    except ValueError:
        value = -1.0
    if not least <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected {words}, got {text!r}")
    return value

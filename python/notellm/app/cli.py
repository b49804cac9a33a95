"""The command line: ``notellm VERB [options] [key=value ...]``.

This module imports a verb only when it is called, so that help is quick and needs neither PyTorch nor the
extension; ``notellm doctor`` works without them, too.
"""

import argparse
import codecs
import contextlib
import importlib
import io
import os
import re
import shlex
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType

from notellm.extension import ExtensionError
from notellm.interrupts import INTERRUPTED, answered

__all__ = ["VERBS", "main"]

VERBS = {
    "demo": "everything below on the default data: a table and a report",
    "data": "fetch or read notes and behaviour, and split them",
    "convert": "make notes and a log of a public data set's files",
    "mine": "find related pairs of notes",
    "train": "train the model on the pairs",
    "embed": "turn notes into vectors",
    "evaluate": "compare the trained model with what it began as and with TF-IDF",
    "generate": "write categories and hashtags",
    "export": "write the model for transformers, sentence-transformers or llama.cpp, with a model card",
    "neighbours": "find the nearest notes",
    "index": "build, search and compare approximate indexes",
    "semantic-ids": "turn vectors into lists of codes, for generative recommenders",
    "sweep": "run a study: every row of a table with every seed",
    "table": "print the table of a study",
    "power": "say how many seeds and queries an effect needs",
    "plot": "draw the table of a study",
    "report": "write report.html from a run folder",
    "explore": "write explore.html: maps, search and neighbours of one run or two",
    "show-prompt": "show what the model sees of one pair, and both losses",
    "options": "list the keys of a configuration: default, meaning, range",
    "doctor": "look at this machine: what is there, what is missing, what that disables",
}
"""The verbs, each a module of ``notellm.app.commands``, and what they do."""

TOGETHER = ("train", "demo", "embed", "generate")
"""The verbs that can run in several processes, under ``torchrun``; the last two if they make a folder of shards."""

WRONG_INPUT = 2
"""Exit code after an error of the user's."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Args:
        arguments: The command line without the program's name; that of this process by default.

    Returns:
        The verb's own code, mostly 0; 2 after an error of the user's, or if PyTorch or the extension
        cannot be used (with one line on standard error); 130 after Ctrl-C, see `notellm.interrupts`.
    """
    is_whole_process = arguments is None
    _escape_what_has_no_bytes()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if is_whole_process:  # a warning is one line for the user, not a place in the code
        warnings.formatwarning = lambda message, *_, **__: f"notellm: {message}\n"
    verb = _parse_verb(arguments[:1])
    again = shlex.join(["notellm", *arguments])
    stopped = f"stopped; nothing is half-written, and `{again}` goes on from what is kept"
    try:
        with answered(stopped, is_silent=int(os.environ.get("RANK", "0")) > 0) as interrupts:
            if int(os.environ.get("WORLD_SIZE", "1")) > 1:
                return _run_together(verb, arguments[1:])
            return _run(verb, arguments[1:])
    except KeyboardInterrupt:
        if _speaks():
            print(f"\nnotellm: {stopped}", file=sys.stderr, flush=True)
        if is_whole_process and interrupts.must_stop:  # at once: a normal exit may take seconds
            os._exit(INTERRUPTED)
        return INTERRUPTED
    except Exception as error:
        if not _speaks():
            return WRONG_INPUT
        if not _is_ours(error):
            raise
        print(f"notellm: {_message(error)}", file=sys.stderr)
        return WRONG_INPUT


def _escape_what_has_no_bytes() -> None:
    """A terminal or file that is not in UTF-8 gets other characters as escapes, instead of a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not codecs.lookup(stream.encoding).name.startswith("utf"):
            stream.reconfigure(errors="backslashreplace")


def _message(error: Exception) -> str:
    """What is said of an error: the system's own ones get the form of ours, with the file before the fault."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: must be a file or folder that can be used here, but: {error.strerror}"
    return str(error)


def _run(verb: str, arguments: list[str]) -> int:
    module = importlib.import_module(f"notellm.app.commands.{verb.replace('-', '_')}")
    parser = _verb_parser(verb, module)
    # argparse mixes options and overrides, but not behind a verb of the verb's own, which then has no overrides.
    parse = parser.parse_args if hasattr(module, "HAS_VERBS") else parser.parse_intermixed_args
    code: int | None = module.run(parse(arguments))
    return code or 0


def _run_together(verb: str, arguments: list[str]) -> int:
    """Runs a verb as one of the processes that ``torchrun`` started; the first one prints."""
    from notellm.errors import ConfigError
    from notellm.processes import leave, started, work_apart

    work_apart(False)  # whatever a call before had
    if verb not in TOGETHER:
        raise ConfigError(
            f"notellm {verb} must run in one process, but torchrun started {started().count}; "
            f"the verbs for several are {', '.join(TOGETHER)}"
        )
    silence = None if started().is_first else open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    with silence or contextlib.nullcontext() as output, contextlib.redirect_stdout(output or sys.stdout):
        code = _run(verb, arguments)
    leave()
    return code


def _speaks() -> bool:
    """Whether this process should report an error: of several processes, the one that failed first does."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return True
    from notellm.processes import fails_first

    return fails_first()


def _parse_verb(arguments: list[str]) -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {summary}" for verb, summary in VERBS.items())
    parser = argparse.ArgumentParser(
        prog="notellm",
        usage="notellm VERB [options] [key=value ...]",
        description="NoteLLM: mine related notes, train one model to embed and describe them.",
        epilog=f"verbs:\n{verbs}\n\n`notellm VERB --help` says what a verb reads and writes, with examples.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=_version())
    parser.add_argument("verb", metavar="VERB", choices=list(VERBS), help="what to do, see below")
    return str(parser.parse_args(arguments or ["--help"]).verb)


def _verb_parser(verb: str, module: ModuleType) -> argparse.ArgumentParser:
    summary, _, description = (module.__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog=f"notellm {verb}",
        description=f"{summary}\n{description}".rstrip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return parser


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"notellm {version('notellm')}"
    except PackageNotFoundError:
        return "notellm (not installed)"


def _is_ours(error: Exception) -> bool:
    """Whether the message alone tells the user what to change; other errors show their traceback."""
    if isinstance(error, ExtensionError | OSError | UnicodeDecodeError | FloatingPointError):
        return True
    if isinstance(error, ValueError) and re.match(r"[^\s:]+: |.*: .*\bmust ", str(error)):
        return True  # the form of the library's messages: `where: what must hold`; a path may have spaces
    try:
        from notellm.errors import ConfigError, DataError, NotSupportedError
    except ExtensionError:  # without the core there are no errors from it
        return False
    return isinstance(error, ConfigError | DataError | NotSupportedError)


if __name__ == "__main__":
    sys.exit(main())

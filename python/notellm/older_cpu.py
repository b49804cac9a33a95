"""Lets a processor behave like an older one: our loops, and the libraries' products, without its newer instructions.

``python -m notellm.older_cpu avx2 COMMAND ...`` runs a command, and every process it starts, as on a processor with
AVX2 only.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

from notellm.machine import describe_machine

__all__ = ["PROCESSORS", "environment", "has_more_than", "played"]

PROCESSORS = {
    "avx2": {
        "NOTELLM_INSTRUCTION_SET": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "CT2_FORCE_CPU_ISA": "AVX2",
    },
    "avx512": {
        "NOTELLM_INSTRUCTION_SET": "avx512",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
        "ATEN_CPU_CAPABILITY": "avx512",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512",
        "CT2_FORCE_CPU_ISA": "AVX512",
    },
}
"""For each kind of processor that can be imitated, older ones first: the variables read by our own loops, oneDNN,
LibTorch's loops, MKL and CTranslate2 (which benchmarks compare with), each once and early. ``avx512`` has no bf16."""

LATE = "CT2_FORCE_CPU_ISA"
"""The variable that is read only when CTranslate2 is loaded: where it is not set, that can still be done."""

NEWER = {"avx2": {"AVX-512", "AVX-512 bf16", "AMX bf16"}, "avx512": {"AVX-512 bf16", "AMX bf16"}}
"""The instruction sets of `describe_machine` that only newer processors have."""


def environment(processor: str) -> dict[str, str]:
    """The environment variables that a process must have when it starts.

    Args:
        processor: ``"avx2"`` or ``"avx512"``.

    Raises:
        ValueError: If the name is another one.

    Example:
        >>> environment("avx2")["ONEDNN_MAX_CPU_ISA"]
        'AVX2'
    """
    if processor not in PROCESSORS:
        raise ValueError(
            f"environment: processor must be one of {', '.join(PROCESSORS)}, but is {processor!r}"
        )
    return dict(PROCESSORS[processor])


def played(variables: Mapping[str, str]) -> str:
    """The processor that a process with these environment variables imitates.

    Returns:
        A key of ``PROCESSORS``; ``""`` if it imitates none, or if the variables are not all of the same one. `LATE` may
        be missing.

    Example:
        >>> played(environment("avx2")), played({"NOTELLM_INSTRUCTION_SET": "avx2"})
        ('avx2', '')
    """
    for processor, wanted in PROCESSORS.items():
        if wanted.items() <= {LATE: wanted[LATE], **variables}.items():
            return processor
    return ""


def has_more_than(processor: str) -> bool:
    """Whether this process runs on a newer processor, real or imitated, so that imitating `processor` changes anything.

    Raises:
        ValueError: If the name is not in ``PROCESSORS``.
    """
    environment(processor)
    kinds, imitated = list(PROCESSORS), played(os.environ)
    if imitated and kinds.index(imitated) <= kinds.index(processor):
        return False
    return bool(NEWER[processor] & set(describe_machine()["instruction_sets"]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Replaces this process by the command; returns only if it cannot.

    Returns:
        0 if the command is skipped, 127 if it does not exist.
    """
    parser = argparse.ArgumentParser(prog="python -m notellm.older_cpu", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--if-newer",
        action="store_true",
        help="leave the command out where this processor has no more anyway",
    )
    parser.add_argument("processor", choices=PROCESSORS)
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND ...")
    options = parser.parse_args(arguments)
    if not options.command:
        parser.error("a command must follow")
    if options.if_newer and not has_more_than(options.processor):
        print(f"left out: this processor has no more than {options.processor}, so it would be the same again")
        return 0
    sys.stdout.flush()
    try:
        os.execvpe(options.command[0], options.command, os.environ | environment(options.processor))
    except FileNotFoundError:
        print(f"older_cpu: the command must be there, but {options.command[0]} is not", file=sys.stderr)
        return 127


if __name__ == "__main__":
    sys.exit(main())

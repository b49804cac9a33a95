"""A compiler launcher that notes what a job took: ``compile_job.py LOG COMPILER ARGUMENTS ...``.

It adds one JSON line to LOG: the source, the CPU seconds and the peak memory of the compiler and all below it.
"""

import json
import os
import resource
import subprocess
import sys


def main() -> int:
    """Runs the compiler; returns its exit status."""
    log, *command = sys.argv[1:]
    status = subprocess.call(command)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    source = command[command.index("-c") + 1] if "-c" in command else command[-1]
    line = {
        "source": os.path.basename(source),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_mib": used.ru_maxrss // 1024,
    }
    with open(log, "a") as file:  # one short write: lines of jobs side by side do not mix
        file.write(json.dumps(line) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())

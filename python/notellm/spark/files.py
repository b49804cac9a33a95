"""Small files beside a job's output, in whatever file system that is: Spark's own, by Hadoop's names for it."""

from typing import Any

from pyspark.sql import SparkSession

from notellm.errors import ConfigError

__all__ = ["refuse_existing", "write_text"]


def refuse_existing(session: SparkSession, path: str) -> None:
    """Refuses a path where there is something already: before the work, not after it.

    Raises:
        ConfigError: If there is.
    """
    system, there = _located(session, path)
    if system.exists(there):
        raise ConfigError(f"--output: must be a new folder, but {path} exists; try another one")


def write_text(session: SparkSession, path: str, text: str) -> None:
    """Writes a small file, complete or not at all."""
    system, there = _located(session, path)
    _, unfinished = _located(session, f"{path}.part")
    stream = system.create(unfinished, True)
    try:
        stream.write(bytearray(text.encode()))
    finally:
        stream.close()
    if not system.rename(unfinished, there):
        raise OSError(f"{path}: must be written, but its file system does not rename {path}.part")


def _located(session: SparkSession, path: str) -> tuple[Any, Any]:
    """Hadoop's file system of a path, and the path."""
    java: Any = session.sparkContext._jvm
    there = java.org.apache.hadoop.fs.Path(path)
    return there.getFileSystem(session._jsc.hadoopConfiguration()), there

"""Starts Spark for the command line."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from notellm.errors import ConfigError, NotSupportedError

__all__ = ["opened"]


@contextmanager
def opened(master: str, settings: Sequence[str] = ()) -> Iterator[SparkSession]:
    """Spark's session: the one of this process, or a new one, which is stopped in the end.

    Args:
        master: Spark's master, such as ``local[2]``, ``yarn`` or ``k8s://https://HOST:PORT``; empty: what Spark's own
            configuration or ``spark-submit`` says.
        settings: Spark's configuration, each ``key=value``.

    Raises:
        ConfigError: If a setting has another form, or Spark does not start with them.
        NotSupportedError: If there is no Java.
    """
    builder = SparkSession.builder.appName("notellm mine")
    builder = builder.config("spark.ui.showConsoleProgress", str(sys.stderr.isatty()).lower())
    builder = builder.master(master) if master else builder
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not (key and equals):
            raise ConfigError(f"--conf: must be KEY=VALUE, but is {setting!r}; try spark.executor.memory=8g")
        builder = builder.config(key, value)
    active = SparkSession.getActiveSession()
    if active is not None:
        yield active
        return
    before = signal.getsignal(
        signal.SIGINT
    )  # pyspark puts its own in the place: Ctrl-C then ends the jobs, too
    session = _start(builder, master)
    try:
        yield session
    finally:
        session.stop()
        signal.signal(signal.SIGINT, before)


def _start(builder: SparkSession.Builder, master: str) -> SparkSession:
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        raise NotSupportedError(
            "--engine spark: Java 17 or later must be installed, but there is neither JAVA_HOME nor a program java; "
            "try `apt-get install openjdk-17-jre-headless`"
        )
    try:
        session = builder.getOrCreate()
    except (Py4JError, PySparkException) as error:
        reason = str(getattr(error, "java_exception", None) or error).splitlines()[0]
        raise ConfigError(
            f"--master: Spark must start with {master or 'its own settings'!r}, but {reason}"
        ) from error
    session.sparkContext.setLogLevel("ERROR")
    return session

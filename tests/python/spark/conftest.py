"""One small Spark for all tests of a module."""

import signal

import pytest


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    from pyspark.sql import SparkSession

    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.session.timeZone": "Europe/Berlin",  # no result may depend on it
        "spark.sql.shuffle.partitions": "2",
        "spark.network.timeout": "3000s",  # on a busy machine Spark may be halted for minutes
        "spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse")),
    }
    builder = SparkSession.builder.master("local[2]").appName("tests")
    for key, value in settings.items():
        builder = builder.config(key, value)
    before = signal.getsignal(signal.SIGINT)  # pyspark puts its own in the place
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()
    signal.signal(signal.SIGINT, before)

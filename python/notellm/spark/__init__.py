"""Mining on a cluster: the pairs of `notellm.mine_pairs`, bit for bit, as a job of Spark DataFrames.

For logs that no single machine holds. Spark's own operators do all of the work, so the executors need neither this
package nor a C++ library; only ``score="pmi"`` needs Python on them, for its logarithm.

    from notellm.spark import mine_pairs_on_spark, read_log, read_notes

    notes, log = read_notes(session, "hdfs:///notes"), read_log(session, "hdfs:///log")
    mined = mine_pairs_on_spark(log, notes, lower=0.05)
    mined.pairs.write.parquet("hdfs:///pairs")
    print(mined.report.describe())

In the order of the work: `reading` (rows get numbers), `events` (what a log must be), `samples` (drawn by `words`),
`users` (what each one viewed and clicked), `sums` (of every pair) and `swing`, `scores`, `selecting` (bounds and the
best), `mining` (all of these). `session` starts Spark for the command line, and `files` writes beside a job's output.

pyspark is an optional package (``pip install 'notellm[spark]'``, and Java 17); nothing else of `notellm` imports it.
"""

from importlib.util import find_spec

from notellm.errors import NotSupportedError

if find_spec("pyspark") is None:
    raise NotSupportedError(
        "notellm.spark: pyspark must be installed, but is not; try `pip install 'notellm[spark]'`, and Java 17 or later"
    )

from notellm.spark.mining import SparkPairs, explain_on_spark, mine_pairs_on_spark
from notellm.spark.reading import log_frame, notes_frame, read_log, read_notes

__all__ = [
    "SparkPairs",
    "explain_on_spark",
    "log_frame",
    "mine_pairs_on_spark",
    "notes_frame",
    "read_log",
    "read_notes",
]

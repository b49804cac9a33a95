"""Finds related pairs of notes: equation 1 of the paper over the log.

Pairs within a group, and pairs across the split, are kept in the file but are neither trained on
nor evaluated.

With --engine spark the same pairs are found by a Spark job. It writes the run folder as always;
or, with --output, Spark reads the files itself and writes the pairs of the whole log: for logs
that this machine cannot hold. Then data.notes and data.interactions are Parquet files, or folders
of them, wherever Spark finds them.

reads:   the data, see `notellm data --help`
writes:  pairs.parquet (source, target, score, users) and data.json in the run folder; a run folder
         that has them is left as it is. With --output: pairs.parquet, a folder of parts, and
         mining.json (the report) in that folder, which must be new

for example:
  notellm mine
  notellm mine run_dir=runs/strict mining.min_users=2
  notellm mine --engine spark --master local[2]
  notellm mine --engine spark --output hdfs:///pairs data=files data.notes=hdfs:///notes
    data.interactions=hdfs:///log data.ordered=true  (in the same line)
"""

import argparse
from typing import TYPE_CHECKING

from notellm.app.commands.configured import add_run_arguments, open_run, read_config, show_config
from notellm.errors import ConfigError

if TYPE_CHECKING:
    from notellm.app.config import Config
    from notellm.app.pipeline import Miner
    from notellm.app.run import RunFolder

__all__ = ["add_arguments", "run"]

ENGINES = ("core", "spark")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help="who mines; core: this process")
    spark = parser.add_argument_group("with --engine spark")
    spark.add_argument(
        "--master",
        metavar="URL",
        default="",
        help="local[2], yarn, k8s://...; by default what Spark is set to",
    )
    spark.add_argument(
        "--conf",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a setting of Spark's; may be repeated",
    )
    spark.add_argument("--output", metavar="FOLDER", default="", help="Spark reads the files and writes here")
    spark.add_argument("--explain", action="store_true", help="print Spark's plan and do nothing else")
    add_run_arguments(parser, "mining", "data")


def run(arguments: argparse.Namespace) -> None:
    """Mines and prints what was found."""
    if arguments.engine == "spark":
        _run_on_spark(arguments)
        return
    for name in ("master", "conf", "output", "explain"):
        if getattr(arguments, name):
            raise ConfigError(
                f"--{name}: must come with --engine spark, but the engine is {arguments.engine}"
            )
    with open_run(arguments) as folder:
        if folder is not None:
            from notellm.app.pipeline import mine

            _mine_run(folder, mine)


def _run_on_spark(arguments: argparse.Namespace) -> None:
    if arguments.output or arguments.explain:  # no run folder is made
        config = read_config(arguments)
        if not show_config(arguments, config):
            _without_run_folder(arguments, config)
        return
    with open_run(arguments) as folder:
        if folder is None:
            return
        from functools import partial

        from notellm.app.pipeline.on_spark import mine_log
        from notellm.spark.session import opened

        with opened(arguments.master, arguments.conf) as session:
            _mine_run(folder, partial(mine_log, session))


def _without_run_folder(arguments: argparse.Namespace, config: "Config") -> None:
    from notellm.app.pipeline import load_data
    from notellm.app.pipeline.on_spark import explain_files, explain_log, mine_files
    from notellm.spark.session import opened

    with opened(arguments.master, arguments.conf) as session:
        if arguments.explain and arguments.output:
            print(explain_files(session, config))
        elif arguments.explain:
            print(explain_log(session, config, load_data(config).interactions))
        else:
            print(mine_files(session, config, arguments.output).describe())
            print(f"in {arguments.output}/pairs.parquet")


def _mine_run(folder: "RunFolder", miner: "Miner") -> None:
    from notellm.app.pipeline import load_data, prepare
    from notellm.io.json_files import read_json
    from notellm.io.json_tree import Node
    from notellm.mining import MiningReport

    prepare(folder, load_data(folder.config), miner)
    found = Node(read_json(folder.file("data.json")), str(folder.file("data.json")))
    print(MiningReport.read(found.at("mining")).describe())
    print(
        f"{found.count('pairs_train'):,} pairs to train on, {found.count('pairs_test'):,} to evaluate; left out: "
        f"{found.count('pairs_within_groups_left_out'):,} within a group, "
        f"{found.count('pairs_across_the_split_left_out'):,} across the split"
    )
    print(f"in {folder.file('pairs.parquet')}")

"""Makes notes and a log of the files of a public data set, as its makers publish them.

formats, and what their files are called:
  amazon-2018    meta_CATEGORY.json[.gz], CATEGORY[_5].json[.gz]
  amazon-2023    meta_CATEGORY.jsonl[.gz], CATEGORY.jsonl[.gz]
  amazon-items   NAME.item.json, NAME.inter.json
  kuairec        kuairec_caption_category.csv, big_matrix.csv
  microlens      MicroLens-50k_titles.csv, MicroLens-50k_pairs.csv (or .tsv), or MicroLens-100k_title_en.csv
                 with tags_to_summary.csv beside it, MicroLens-100k_pairs.csv (or .tsv)
  qilin          notes, recommendation_train: the folders, or a Parquet file of each
Tables of your own need no converting: `data=files` reads Parquet, CSV and JSONL with the columns id,
title, content, topics and category, and user and note; `--columns id=item_id ...` renames yours.

reads:   --items and --interactions
writes:  notes.parquet and log.parquet in --output

for example:
  notellm convert amazon-2023 --items meta_Books.jsonl.gz --interactions Books.jsonl.gz --output books
  notellm convert qilin --items Qilin/notes --interactions Qilin/recommendation_train --output qilin
  notellm convert columns --items items.csv --columns id=sku content=text --output mine
then: notellm demo data=files data.notes=books/notes.parquet data.interactions=books/log.parquet
"""

import argparse
from pathlib import Path

__all__ = ["add_arguments", "run"]

OWN = "columns"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("format", help=f"one of the above, or {OWN}: a table whose columns are to be renamed")
    parser.add_argument("--items", type=Path, required=True, metavar="PATH")
    parser.add_argument("--interactions", type=Path, metavar="PATH", help="default: no log is made")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--columns", nargs="*", default=[], metavar="OURS=YOURS", help=f"for {OWN}: what yours are called"
    )


def run(arguments: argparse.Namespace) -> None:
    """Converts, and prints what was found."""
    from notellm.data import Interactions, Notes
    from notellm.data.converters import CONVERTERS
    from notellm.errors import ConfigError
    from notellm.io.outputs import check_output

    if arguments.format != OWN and arguments.format not in CONVERTERS:
        raise ConfigError(
            f"convert: the format must be one of {', '.join((*CONVERTERS, OWN))}, but is {arguments.format!r}"
        )
    wrong = [text for text in arguments.columns if "=" not in text]
    if wrong or (arguments.columns and arguments.format != OWN):
        raise ConfigError(f"convert: --columns must be OURS=YOURS, and is for the format {OWN} only")
    ours = [text.split("=", 1)[0] for text in arguments.columns]
    if len(set(ours)) < len(ours):
        raise ConfigError(f"convert: --columns must name each of ours once, but names {', '.join(ours)}")
    for name in ("notes.parquet", "log.parquet"):  # before doing work that could not be saved
        check_output(arguments.output / name, [arguments.items, arguments.interactions])
    log: Interactions | None = None
    if arguments.format == OWN:
        names = dict(text.split("=", 1) for text in arguments.columns)
        of_log = {ours: yours for ours, yours in names.items() if ours in ("user", "note", "time", "event")}
        notes = Notes.read(arguments.items, columns={k: v for k, v in names.items() if k not in of_log})
        if arguments.interactions is not None:
            log = Interactions.read(arguments.interactions, notes=notes, columns=of_log)
    else:
        notes, log = CONVERTERS[arguments.format].convert(arguments.items, arguments.interactions)
    notes.write(arguments.output / "notes.parquet")
    categories, tagged = len({name for name in notes.categories if name}), sum(map(bool, notes.topics))
    print(
        f"{len(notes):,} notes, {tagged:,} with hashtags, {categories:,} categories: {arguments.output}/notes.parquet"
    )
    if log is not None:
        log.write(arguments.output / "log.parquet")
        print(f"{len(log):,} events of {len(log.user_ids):,} users: {arguments.output}/log.parquet")

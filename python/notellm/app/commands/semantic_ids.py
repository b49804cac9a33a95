"""Turns vectors into semantic ids by residual k-means: a code for each level, and a report of what they are good for.

--output may be repeated; the ending says the layout:
  .parquet      id, and codes: one for each level, and a last one that tells notes with equal codes apart
  .pt           for GRID (semantic_id_path): a tensor, a column for each note of *.items.txt
  .index.json   for MiniOneRec: tokens such as <a_60>, by number of the note, with *.item.json

reads:   vectors made by `notellm embed` (a file, or a folder of shards), and --notes for titles and categories
writes:  --output, --report (JSON), and a table on standard output

for example:
  notellm semantic-ids --vectors vectors.safetensors --notes notes.parquet --output ids.parquet
  notellm semantic-ids --vectors vectors/ --levels 4 --codes 512 --beam 8 --output ids.pt --output ids.index.json
"""

import argparse
from pathlib import Path
from typing import Any

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("--vectors", type=Path, required=True, metavar="FILE", help="the embedded notes")
    parser.add_argument(
        "--notes", type=Path, metavar="FILE", help="the notes: titles, and categories for the report"
    )
    parser.add_argument(
        "--output", type=Path, action="append", required=True, metavar="FILE", help="where the ids go"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="the report's numbers, as JSON")
    parser.add_argument("--levels", type=int, default=3, metavar="L", help="codes of an id (default: 3)")
    parser.add_argument("--codes", type=int, default=256, metavar="K", help="codes of a level (default: 256)")
    parser.add_argument(
        "--beam",
        type=int,
        default=1,
        metavar="B",
        help="beginnings kept in encoding; 1 (default): k-means' own codes",
    )
    parser.add_argument(
        "--iterations", type=int, default=25, metavar="N", help="of each k-means (default: 25)"
    )
    parser.add_argument(
        "--sample",
        type=int,
        default=65_536,
        metavar="N",
        help="vectors that it is trained on (default: 65,536)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sample and the beginnings (default: 0)")


def run(arguments: argparse.Namespace) -> None:
    """Computes the ids, writes them and prints the report."""
    from notellm import vector_files
    from notellm.app.stored import StoredVectors
    from notellm.data import Notes
    from notellm.errors import ConfigError
    from notellm.io.json_files import write_json
    from notellm.io.outputs import check_outputs
    from notellm.progress import console_progress
    from notellm.semantic import check_layout, describe, fit_codebooks, layouts, write_ids

    if arguments.beam < 1:
        raise ConfigError(f"notellm semantic-ids: beam must be at least 1, but is {arguments.beam}")
    written = [file for path in arguments.output for file in layouts.files_of(path)]
    written += [arguments.report] if arguments.report else []
    check_outputs(written, [*vector_files.files_of(arguments.vectors), arguments.notes])  # before any work
    stored = StoredVectors(arguments.vectors)
    ids, vectors = stored.ids(), stored.matrix()
    for path in arguments.output:
        check_layout(path, ids, arguments.levels)
    notes = None
    if arguments.notes is not None:
        every = Notes.read(arguments.notes)
        notes = every.take(every.index(ids))
    names = ("levels", "codes", "iterations", "sample", "seed")
    with console_progress("residual k-means", "levels") as progress:
        books = fit_codebooks(
            vectors, **{name: getattr(arguments, name) for name in names}, progress=progress
        )
    codes = books.encode(vectors, beam=arguments.beam)
    report = describe(vectors, books, codes, None if notes is None else notes.categories, seed=arguments.seed)
    for path in arguments.output:
        write_ids(path, ids, codes, notes)
    if arguments.report:
        write_json(arguments.report, report)
    _print(report)
    print(f"the ids are {', '.join(map(str, arguments.output))}")


def _print(report: dict[str, Any]) -> None:
    print(
        f"{report['notes']:,} notes, {report['distinct']:,} different ids; {report['colliding']:,} notes share theirs, "
        f"at most {report['largest']:,} one"
    )
    print("level\tcodes\tused\tperplexity\tvariance left\tgroups\tpurity\tby chance")
    for number, level in enumerate(report["levels"], 1):
        pure = [level.get(name) for name in ("purity", "purity_by_chance")]
        cells = [f"{share:.3f}" if share is not None else "-" for share in pure]
        print(
            f"{number}\t{level['codes']}\t{level['used']}\t{level['perplexity']:.1f}\t{level['error']:.3f}\t"
            f"{level['groups']}\t{cells[0]}\t{cells[1]}"
        )

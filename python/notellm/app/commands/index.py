"""Builds, searches and compares FAISS indexes, which find most neighbours in a fraction of the time or the memory.

build    an index of embedded notes, trained on a sample of them
search   the nearest notes of other vectors, or of notes in the index
report   recall against the exact search, queries/s, bytes and build time of indexes, by search parameters

reads:   vectors made by `notellm embed` (a file, or a folder of shards, which is read in place), and indexes
writes:  an index; tables on standard output; --plot and --json

for example:
  notellm index build --vectors vectors/ --factory IVF256,PQ16 --output notes.index
  notellm index search --index notes.index --id vim -k 5 --parameters nprobe=16
  notellm index report --index notes.index --vectors v.npy --queries q.npy --parameters nprobe=1,4,16 --plot r.svg
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from notellm.indexes.index import NeighbourIndex

__all__ = ["HAS_VERBS", "add_arguments", "run"]

HAS_VERBS = True
"""For the command line: options come behind a verb of this verb."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's own verbs, with their arguments."""
    verbs = parser.add_subparsers(dest="action", required=True, metavar="build|search|report")
    _add_build(verbs.add_parser("build", help="make an index", description="Makes an index of vectors."))
    _add_search(verbs.add_parser("search", help="find neighbours", description="Finds the nearest notes."))
    _add_report(verbs.add_parser("report", help="compare", description="Compares with the exact search."))


def _add_build(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vectors",
        type=Path,
        required=True,
        metavar="FILE",
        help="the embedded notes, a file or a folder",
    )
    parser.add_argument(
        "--factory",
        required=True,
        metavar="TEXT",
        help="FAISS's description: Flat, SQ8, PQ16, HNSW32, IVF256,Flat, IVF256,PQ16, OPQ16,IVF256,PQ16, ...",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="where the index goes")
    parser.add_argument(
        "--sample", type=int, metavar="N", help="vectors that it is trained on (default: 100,000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="decides which (default: 0)")


def _add_search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--index", type=Path, required=True, metavar="FILE", help="the index")
    parser.add_argument(
        "--vectors",
        type=Path,
        metavar="FILE",
        help="what is looked for; without it, --id as the index has it",
    )
    parser.add_argument(
        "--id",
        action="append",
        dest="ids",
        metavar="ID",
        help="a note; may be repeated (default: all of --vectors)",
    )
    parser.add_argument("-k", type=int, default=10, metavar="K", help="neighbours of each note (default: 10)")
    parser.add_argument(
        "--parameters", default="", metavar="P=N,...", help="such as nprobe=16 or efSearch=64"
    )
    parser.add_argument(
        "--rescore", type=Path, metavar="FILE", help="the index's notes: scores are then exact, not FAISS's"
    )
    _add_candidates(parser)


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--index",
        type=Path,
        required=True,
        nargs="+",
        metavar="FILE",
        help="the indexes, all of the same notes",
    )
    parser.add_argument("--vectors", type=Path, required=True, metavar="FILE", help="these notes")
    parser.add_argument("--queries", type=Path, required=True, metavar="FILE", help="what is looked for")
    parser.add_argument(
        "-k", type=int, default=10, metavar="K", help="neighbours of each query (default: 10)"
    )
    parser.add_argument(
        "--parameters",
        action="append",
        default=[],
        metavar="P=N,N,...",
        help="what is tried, such as nprobe=1,2,4; may be repeated: an index takes every combination of those "
        "that it has",
    )
    _add_candidates(parser, "with exact scores of these: ")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a picture: .svg, .png or .pdf")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the numbers")


def _add_candidates(parser: argparse.ArgumentParser, prefix: str = "with --rescore: ") -> None:
    parser.add_argument(
        "--candidates", type=int, metavar="C", help=f"{prefix}notes that FAISS proposes for each query"
    )


def run(arguments: argparse.Namespace) -> None:
    """Builds, searches or compares."""
    from notellm._core.retrieval import faiss_version

    faiss_version()  # without FAISS nothing is read first
    {"build": _build, "search": _search, "report": _report}[arguments.action](arguments)


def _build(arguments: argparse.Namespace) -> None:
    from notellm.app.stored import StoredVectors
    from notellm.indexes.index import SAMPLE, NeighbourIndex
    from notellm.io.outputs import check_output
    from notellm.pace import duration_text
    from notellm.progress import console_progress
    from notellm.vector_files import files_of

    check_output(arguments.output, files_of(arguments.vectors))
    blocks = StoredVectors(arguments.vectors).blocks()
    sample = SAMPLE if arguments.sample is None else arguments.sample
    with console_progress("building", "notes", part="block") as progress:
        index = NeighbourIndex.from_blocks(
            blocks, arguments.factory, sample=sample, seed=arguments.seed, progress=progress
        )
    index.save(arguments.output)
    size = arguments.output.stat().st_size
    print(
        f"{len(index):,} notes, {index.width} dimensions, {index.factory} trained on {index.training.sample:,} of "
        f"them; {size / 2**20:,.1f} MiB with the ids, in {duration_text(index.training.seconds)}: {arguments.output}"
    )


def _search(arguments: argparse.Namespace) -> None:
    from notellm.app.commands.neighbours import print_table
    from notellm.app.stored import StoredVectors
    from notellm.errors import ConfigError
    from notellm.indexes.index import NeighbourIndex

    if arguments.candidates is not None and arguments.rescore is None:
        raise ConfigError("--candidates: must come with --rescore, but does not")
    index = NeighbourIndex.load(arguments.index)
    index.set_parameters(arguments.parameters)
    asked, queries = _queries(index, arguments)
    own = index.rows_of(asked)  # a note is not its own neighbour
    rescore = None
    if arguments.rescore is not None:
        rescore = StoredVectors(arguments.rescore).of_index(index, arguments.index)
    found = index.search(queries, arguments.k, exclude=own, rescore=rescore, candidates=arguments.candidates)
    print_table(asked, index.ids_of(found.indices), found.scores.tolist(), "score")


def _queries(index: "NeighbourIndex", arguments: argparse.Namespace) -> "tuple[list[str], Tensor]":
    """What is looked for: ids, and vectors of shape ``(Q, d)``."""
    from notellm.app.stored import StoredVectors
    from notellm.errors import ConfigError

    if arguments.vectors is None and not arguments.ids:
        raise ConfigError("notellm index search: --vectors or --id must be given, but neither is")
    if arguments.vectors is None:
        rows = index.rows_of(arguments.ids)
        _refuse_missing(arguments.index, arguments.ids, rows)
        return arguments.ids, index.stored(rows)
    vectors = StoredVectors(arguments.vectors)
    vectors.check_width(index, arguments.index)
    if not arguments.ids:
        return vectors.ids(), vectors.matrix()
    rows = vectors.rows_of(arguments.ids)
    _refuse_missing(arguments.vectors, arguments.ids, rows)
    return arguments.ids, vectors.take(rows)


def _refuse_missing(path: Path, ids: list[str], rows: "Tensor") -> None:
    from notellm.errors import DataError

    for note, row in zip(ids, rows.tolist(), strict=True):
        if row < 0:
            raise DataError(f"{path}: must hold the note {note!r}, but does not")


def _report(arguments: argparse.Namespace) -> None:
    from notellm.app.index_report import check_picture, compare, draw_report, table_of
    from notellm.app.stored import StoredVectors
    from notellm.app.studies.printing import show
    from notellm.io.json_files import write_json
    from notellm.io.outputs import check_outputs
    from notellm.vector_files import files_of

    if arguments.plot is not None:
        check_picture(arguments.plot)
    reads = [*arguments.index, *files_of(arguments.vectors), *files_of(arguments.queries)]
    check_outputs([path for path in (arguments.plot, arguments.json) if path is not None], reads)
    report = compare(
        arguments.index,
        StoredVectors(arguments.vectors),
        StoredVectors(arguments.queries),
        arguments.k,
        arguments.parameters,
        candidates=arguments.candidates,
    )
    show(table_of(report))
    if arguments.json is not None:
        write_json(arguments.json, report)
        print(f"the numbers are {arguments.json}")
    if arguments.plot is not None:
        draw_report(report, arguments.plot)
        print(f"the picture is {arguments.plot}")

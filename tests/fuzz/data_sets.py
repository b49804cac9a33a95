"""Further files of public data sets."""

import json

import pyarrow as pa
import pyarrow.parquet as pq

from fuzz.target import Target, of_file, target
from notellm.data.converters import CONVERTERS

VIDEOS = (
    b"video_id,manual_cover_text,caption,topic_tag,first_level_category_name\n"
    b'1,UNKNOWN,#tea hot,"[tea,drink]",food\n2,cover,"a\rb",[],-124\n'
)


@target
def kuairec_videos(folder):
    return of_file(folder / "c.csv", [VIDEOS], lambda path: CONVERTERS["kuairec"].convert(path, None))


@target
def kuairec_events(folder):
    videos = folder / "c.csv"
    videos.write_bytes(VIDEOS)
    seed = b"user_id,video_id,timestamp\nu,1,1593878903.5\nu,2,1593878904\n"
    return of_file(folder / "m.csv", [seed], lambda path: CONVERTERS["kuairec"].convert(videos, path))


@target
def microlens_events(folder):
    return _microlens(folder, "l.csv", b"user,item,timestamp\nu,1,1593878903123\nu,2,1593878903124\n")


@target
def microlens_sequences(folder):
    return _microlens(folder, "l.tsv", b"u\t1 2\nv\t2\n")


def _microlens(folder, name, seed):
    titles = folder / "t.csv"
    titles.write_bytes(b"item,title\n1,a\n2,b\n")
    return of_file(folder / name, [seed], lambda path: CONVERTERS["microlens"].convert(titles, path))


@target
def qilin_requests(folder):
    """Values of any type in Parquet; what is no value that Arrow takes is never written."""
    notes, path = folder / "notes.parquet", folder / "r.parquet"
    texts = {"note_idx": [1, 2], "note_title": ["t", "u"], "note_content": ["#a[话题]#", "c"]}
    pq.write_table(pa.table(texts | {"taxonomy1_id": ["x", "y"]}), notes)

    def read(content: bytes) -> None:
        try:
            table = pa.table({name: [value] for name, value in json.loads(content).items()})
            pq.write_table(table, path)
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError, pa.ArrowException):
            return
        CONVERTERS["qilin"].convert(notes, path)

    shown = {"note_idx": 1, "position": 0, "request_timestamp": 5, "click": 1}
    seed = {"user_idx": 3, "rec_result_details_with_idx": [shown, shown | {"note_idx": 2}]}
    return Target([json.dumps(seed).encode()], read)

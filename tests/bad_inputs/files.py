"""Tables, vectors and data sets."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from bad_inputs import case, jsonl
from notellm.embedding import save_embeddings
from notellm.indexes.index import NeighbourIndex

HEADER = "id,title,content,topics,category"


def note(**fields):
    return {"id": "a", "title": "t", "content": "c", "topics": ["x"], "category": "k"} | fields


def table(*rows):
    return lambda path: pq.write_table(pa.Table.from_pylist(list(rows)), path)


def parquet(**columns):
    return lambda path: pq.write_table(pa.table(columns), path)


def vectors(value):
    return lambda path: save_embeddings(path, ["a", "b"], torch.tensor([[1.0, 0.0], [0.0, value]]))


NOTES_FILES = [
    case("data {d} data.notes=none.csv", "none.csv: must be a file, but does not exist"),
    case(
        "data {d} data.notes=folder.csv", "folder.csv: must be a file", folder__csv=lambda path: path.mkdir()
    ),
    case("data {d} data.notes=n.txt", "must end in .parquet, .csv or .jsonl", n__txt="x"),
    case(
        "data {d} data.notes=n.csv", "n.csv: must begin with a line of column names, but is empty", n__csv=""
    ),
    case(
        "data {d} data.notes=h.csv", "h.csv: must hold at least one row, but is empty", h__csv=f"{HEADER}\n"
    ),
    case("data {d} data.notes=c.csv", "column 'id' must be there", c__csv="title,content\na,b\n"),
    case("data {d} data.notes=m.csv", "try columns={'title': 'Titel'}", m__csv="id,Titel,content\na,b,c\n"),
    case(
        "data {d} data.notes=t.csv", "column names must differ, but 'id' comes 2 times", t__csv="id,id\na,b\n"
    ),
    case(
        "data {d} data.notes=r.csv",
        "r.csv:3: must have 5 columns, but has 6",
        r__csv=f"{HEADER}\na,,,,\nb,,,,,\n",
    ),
    case(
        "data {d} data.notes=q.csv",
        "q.csv:3: a quote that begins a field must be closed",
        q__csv=f'{HEADER}\na,,,,\nb,"c,,,\n',
    ),
    case(
        "data {d} data.notes=p.csv",
        "p.csv:2: a quote that closes a field must be its end",
        p__csv=f'{HEADER}\na,"b"c,,,\n',
    ),
    case(
        "data {d} data.notes=l.csv",
        "l.csv:2: must be UTF-8, but byte 3 is 0xe9",
        l__csv=f"{HEADER}\nx,é,,,\n".encode("latin-1"),
    ),
    case(
        "data {d} data.notes=u.csv",
        "must be UTF-8, but begins like UTF-16",
        u__csv="id,title\na,b\n".encode("utf-16"),
    ),
    case(
        "data {d} data.notes=e.csv",
        "e.csv:3: id must be given, but is empty",
        e__csv=f"{HEADER}\na,,,,\n,b,,,\n",
    ),
    case(
        "data {d} data.notes=d.csv",
        "d.csv:3: id must be unique, but 'a' is that of note 1",
        d__csv=f"{HEADER}\na,,,,\na,b,,,\n",
    ),
    case(
        "data {d} data.notes=s.csv",
        "s.csv:2: topics must be joined by '|' or a list",
        s__csv=f"{HEADER}\na,,,[tea],\n",
    ),
    case(
        "data {d} data.notes=j.jsonl", "j.jsonl:2: must be one JSON object", j__jsonl='{"id": "a"}\n{"id"\n'
    ),
    case(
        "data {d} data.notes=k.jsonl", "k.jsonl:1: must be one JSON object, but is a list", k__jsonl="[1]\n"
    ),
    case("data {d} data.notes=o.jsonl", "o.jsonl: must hold at least one row", o__jsonl=""),
    case("data {d} data.notes=v.jsonl", "title must hold text", v__jsonl=jsonl(note(title=5))),
    case("data {d} data.notes=w.jsonl", "id must hold text or integers", w__jsonl=jsonl(note(), note(id=5))),
    case("data {d} data.notes=x.jsonl", "must fit in 64 bits", x__jsonl=jsonl(note(id=5), note(id=10**20))),
    case(
        "data {d} data.notes=y.jsonl", "topics must hold lists of text", y__jsonl=jsonl(note(topics=[["b"]]))
    ),
    case(
        "data {d} data.notes=z.jsonl", "z.jsonl:1: must be one JSON object", z__jsonl='{"id": ' + "[" * 100000
    ),
    case("data {d} data.notes=a.parquet", "must be a Parquet file", a__parquet="not one"),
    case(
        "data {d} data.notes=b.parquet",
        "column 'title' must hold text, but holds int64",
        b__parquet=table(note(title=5)),
    ),
    case(
        "data {d} data.notes=c.parquet",
        "c.parquet: row 2: id must be given, but is null",
        c__parquet=table(note(), note(id=None)),
    ),
    case(
        "data {d} data.notes=e.parquet",
        "column 'topics' must hold lists of text",
        e__parquet=table(note(topics=[1])),
    ),
    case(
        "data {d} data.notes=one.csv",
        "log.csv:2: note must be an id of the notes",
        one__csv=f"{HEADER}\na,,,,\n",
    ),
]

LOG_FILES = [
    case("mine {d} data.interactions=none.csv", "none.csv: must be a file"),
    case("mine {d} data.interactions=a.csv", "column 'user' must be there", a__csv="who,note\na,n1\n"),
    case(
        "mine {d} data.interactions=b.csv",
        "b.csv:3: note must be an id of the notes, but is 'zz'",
        b__csv="user,note\na,n1\na,zz\n",
    ),
    case(
        "mine {d} data.interactions=c.csv",
        "c.csv:2: user must be given, but is empty",
        c__csv="user,note\n,n1\n",
    ),
    case(
        "mine {d} data.interactions=e.csv",
        "event must be view or click, but is 'like'",
        e__csv="user,note,event\na,n1,like\n",
    ),
    case(
        "mine {d} data.interactions=f.csv",
        "f.csv:3: time must be",
        f__csv="user,note,time\na,n1,5\na,n2,soon\n",
    ),
    case("mine {d} data.interactions=g.csv", "time must be", g__csv="user,note,time\na,n1,2024-13-45\n"),
    case(
        "mine {d} data.interactions=h.csv",
        "a time zone, as the first one has",
        h__csv="user,note,time\na,n1,2024-01-02T00:00:00Z\na,n2,2024-01-02 00:00:00\n",
    ),
    case(
        "mine {d} data.interactions=i.parquet",
        "time must be given, but is null",
        i__parquet=parquet(user=["a"], note=["n1"], time=pa.array([None], pa.int64())),
    ),
    case(
        "mine {d} data.interactions=j.parquet",
        "must hold times",
        j__parquet=parquet(user=["a"], note=["n1"], time=[True]),
    ),
    case("mine {d} data.interactions=k.csv", "time must be", k__csv="user,note,time\na,n1,0.12345678901\n"),
    case(
        "mine {d} data.interactions=l.csv",
        "must relate notes, but mining keeps no pair",
        l__csv="user,note\na,n1\nb,n2\n",
    ),
    case(
        "mine {d} data.interactions=m.jsonl",
        "m.jsonl:2: must be one JSON object",
        m__jsonl='{"user": "a", "note": "n1"}\nx\n',
    ),
]

VECTORS = [
    case("embed --notes notes.csv --output v.txt", "must end in .safetensors or .npy, but is v.txt"),
    case(
        "embed --notes br.jsonl --output v.npy --model model",
        "ids in a text file must be without line breaks",
        br__jsonl=jsonl(note(id="a\nb")),
    ),
    case("embed --notes notes.csv --output log.csv/v.npy --model saved dtype=fp32", "log.csv"),
    case("embed --notes notes.csv --output v.npy --model saved device=cuda", "device=cuda needs a GPU"),
    case("neighbours --vectors none.npy --id a", "none.npy: must be a file of save_embeddings"),
    case("neighbours --vectors bad.npy --id a", "bad.npy: must be a file of save_embeddings", bad__npy="x"),
    case(
        "neighbours --vectors bad.safetensors --id a",
        "bad.safetensors: must be a file of save_embeddings",
        bad__safetensors="x",
    ),
    case(
        "neighbours --vectors v.safetensors --id z",
        "must hold the note 'z', but does not",
        v__safetensors=vectors(1.0),
    ),
    case(
        "neighbours --vectors w.safetensors --id a",
        "vectors must be finite, but that of 'b' (row 1) is not",
        w__safetensors=vectors(float("nan")),
    ),
    case("neighbours --vectors v.safetensors --id a -k 0", "k must be", v__safetensors=vectors(1.0)),
    case(
        "neighbours --vectors v.safetensors --id a -k two",
        "invalid int value: 'two'",
        v__safetensors=vectors(1.0),
    ),
    case(
        "neighbours --vectors v.safetensors --id a --index Nonsense",
        "but is 'Nonsense'",
        v__safetensors=vectors(1.0),
    ),
]

BUILD = "index build --vectors v.safetensors --output o.index --factory"
SEARCH = "index search --index i.index"
REPORT = "index report --index i.index --vectors v.safetensors --queries v.safetensors"


def index(factory="Flat", width=2, ids=("a", "b")):
    """An index of two notes."""

    def make(path):
        made = NeighbourIndex.build(width, factory, torch.eye(2, width))
        made.add(torch.eye(2, width), list(ids))
        made.save(path)

    return make


def damaged(path):
    index()(path)
    path.write_bytes(path.read_bytes()[:-3] + b"xyz")


PAIR = {"v__safetensors": vectors(1.0)}
BOTH = PAIR | {"i__index": index()}
INDEXES = [
    case("index build --vectors none.npy --factory Flat --output o.index", "none.npy: must be a file of"),
    case(f"{BUILD} Tree9", "the factory string must be such as Flat, SQ8,", **PAIR),
    case(f"{BUILD} PQ3", "FAISS must accept the factory string 'PQ3' for width 2", **PAIR),
    case(f"{BUILD} PQ1", "'PQ1' needs at least 256 vectors to train, but the sample has 2", **PAIR),
    case(f"{BUILD} IVF2,Flat --sample 1", "needs at least 2 vectors to train, but the sample has 1", **PAIR),
    case(f"{BUILD} Flat --sample -1", "sample must be at least 0, but is -1", **PAIR),
    case(f"{BUILD} Flat --seed x", "invalid int value: 'x'", **PAIR),
    case(f"{BUILD} Flat --seed -1", "seed must be at least 0, but is -1", **PAIR),
    case("index build --vectors v.safetensors --factory Flat", "required: --output", **PAIR),
    case("index", "required: build|search|report"),
    case("index merge", "invalid choice: 'merge'"),
    case(f"{SEARCH} --id a", "i.index: must be an index of NeighbourIndex.save, but: No such file"),
    case(f"{SEARCH} --id a", "begins with b'x', not with", i__index="x"),
    case(f"{SEARCH} --id a", "i.index: must be an index of", i__index=damaged),
    case(SEARCH, "--vectors or --id must be given, but neither is", **BOTH),
    case(f"{SEARCH} --id z", "i.index: must hold the note 'z', but does not", **BOTH),
    case(f"{SEARCH} --vectors v.safetensors --id z", "v.safetensors: must hold the note 'z'", **BOTH),
    case(f"{SEARCH} --id a -k 0", "k must be at least 1, but is 0", **BOTH),
    case(f"{SEARCH} --id a --parameters speed=9", "one is 'speed=9'", **BOTH),
    case(f"{SEARCH} --id a --parameters nprobe=2", "FAISS must accept the search parameter", **BOTH),
    case(
        f"{SEARCH} --vectors v.safetensors",
        "v.safetensors: must have the width of i.index, 3, but has 2",
        **PAIR,
        i__index=index(width=3),
    ),
    case(
        f"{SEARCH} --id a --rescore v.safetensors",
        "v.safetensors: must hold the notes of i.index, but 'c' is not there",
        **PAIR,
        i__index=index(ids="ac"),
    ),
    case(f"{REPORT} --parameters nprobe=x", "must be a name and whole numbers, such as", **BOTH),
    case(f"{REPORT} --parameters nprobe=2", "FAISS must accept the search parameter 'nprobe=2'", **BOTH),
    case(f"{REPORT} --parameters speed=2", "search parameters must be among nprobe", **BOTH),
    case(f"{REPORT} -k 0", "k must be at least 1, but is 0", **BOTH),
    case(f"{REPORT} --plot r.txt", "--plot must end in .svg, .png, .pdf, but is r.txt", **BOTH),
    case(
        REPORT,
        "v.safetensors: must hold the notes of i.index, but 'c' is not there",
        **PAIR,
        i__index=index(ids="ac"),
    ),
]

CONVERTED = [
    case("convert nothing --items a --output out", "the format must be one of amazon-2018"),
    case("convert columns --items notes.csv --output out --columns id", "--columns must be OURS=YOURS"),
    case(
        "convert columns --items notes.csv --output out --columns idd=id",
        "columns: keys must be among id, title",
    ),
    case(
        "convert columns --items notes.csv --output out --columns title=name", "column 'name' must be there"
    ),
    case(
        "convert columns --items notes.csv --interactions x.csv --output out --columns user=who",
        "x.csv: column 'who' must be there",
        x__csv="user,note\na,n1\n",
    ),
    case(
        "convert qilin --items q --interactions q --output out",
        "q: must hold Parquet files, but holds none",
        q=lambda path: path.mkdir(),
    ),
    case("convert qilin --items none --output out", "none: must be a Parquet file or a folder"),
    case(
        "convert amazon-2023 --items a.jsonl --output out",
        "a.jsonl:1: must have 'parent_asin'",
        a__jsonl="{}\n",
    ),
    case(
        "convert amazon-2023 --items b.jsonl.gz --output out",
        "must be a whole gzip file",
        **{"b__jsonl__gz": gzip.compress(b'{"parent_asin": "a", "categories": []}\n' * 999)[:60]},
    ),
    case(
        "convert amazon-2023 --items c.jsonl.gz --output out",
        "must be a whole gzip file",
        **{"c__jsonl__gz": b"plain"},
    ),
    case(
        "convert amazon-items --items i.json --output out", "i.json: 1: must be an object", i__json='{"1": 5}'
    ),
    case("convert kuairec --items k.csv --output out", "k.csv: must have the columns", k__csv="a,b\n1,2\n"),
    case(
        "convert microlens --items m.csv --interactions p.txt --output out",
        "must be pairs as .csv or .tsv",
        m__csv="1,a\n",
        p__txt="",
    ),
    case(
        "convert microlens --items m.csv --output out",
        "must be the number of an item and a text",
        m__csv="x\n",
    ),
]

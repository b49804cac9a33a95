"""Tables, vectors and data sets."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file

from bad_inputs import case, jsonl
from notellm.vector_files import save_embeddings

HEADER = "id,title,content,topics,category"


def note(**fields):
    return {"id": "a", "title": "t", "content": "c", "topics": ["x"], "category": "k"} | fields


def table(*rows):
    return lambda path: pq.write_table(pa.Table.from_pylist(list(rows)), path)


def parquet(**columns):
    return lambda path: pq.write_table(pa.table(columns), path)


def vectors(value):
    """Two vectors, also such as are not saved."""

    def make(path):
        save_embeddings(path, ["a", "b"], torch.eye(2))
        rows = torch.tensor([[1.0, 0.0], [0.0, value]])
        save_file(load_file(path) | {"embeddings": rows}, path)

    return make


NOTES_FILES = [
    case("data {d} data.notes=none.csv", "none.csv: must be a file, but does not exist"),
    case(
        "data {d} data.notes=folder.csv",
        "folder.csv: must be a file, but is a folder",
        folder__csv=lambda path: path.mkdir(),
    ),
    case(
        "data {d} data.notes=n.txt",
        "n.txt: must end in .parquet, .csv or .jsonl, but ends in '.txt'",
        n__txt="x",
    ),
    case(
        "data {d} data.notes=n.csv", "n.csv: must begin with a line of column names, but is empty", n__csv=""
    ),
    case(
        "data {d} data.notes=h.csv", "h.csv: must hold at least one row, but is empty", h__csv=f"{HEADER}\n"
    ),
    case(
        "data {d} data.notes=c.csv",
        "c.csv: column 'id' must be there, but the columns are title, content",
        c__csv="title,content\na,b\n",
    ),
    case("data {d} data.notes=m.csv", "try columns={'title': 'Titel'}", m__csv="id,Titel,content\na,b,c\n"),
    case(
        "data {d} data.notes=t.csv",
        "t.csv: column names must differ, but 'id' comes 2 times",
        t__csv="id,id\na,b\n",
    ),
    case(
        "data {d} data.notes=r.csv",
        "r.csv:3: must have 5 columns, but has 6",
        r__csv=f"{HEADER}\na,,,,\nb,,,,,\n",
    ),
    case(
        "data {d} data.notes=q.csv",
        "q.csv:3: a quote that begins a field must be closed, but one of this row never is",
        q__csv=f'{HEADER}\na,,,,\nb,"c,,,\n',
    ),
    case(
        "data {d} data.notes=p.csv",
        "p.csv:2: a quote that closes a field must be its end, but text follows one of this row",
        p__csv=f'{HEADER}\na,"b"c,,,\n',
    ),
    case(
        "data {d} data.notes=l.csv",
        "l.csv:2: must be UTF-8, but byte 3 is 0xe9",
        l__csv=f"{HEADER}\nx,é,,,\n".encode("latin-1"),
    ),
    case(
        "data {d} data.notes=u.csv",
        "u.csv:1: must be UTF-8, but begins like UTF-16",
        u__csv="id,title\na,b\n".encode("utf-16"),
    ),
    case(
        "data {d} data.notes=e.csv",
        "e.csv:3: id must be given, but is empty",
        e__csv=f"{HEADER}\na,,,,\n,b,,,\n",
    ),
    case(
        "data {d} data.notes=d.csv",
        "d.csv:3: id must be unique, but 'a' is that of note 1 too",
        d__csv=f"{HEADER}\na,,,,\na,b,,,\n",
    ),
    case(
        "data {d} data.notes=s.csv",
        "s.csv:2: topics must be joined by '|' or a list like [\"tea\", \"hot drink\"], but is '[tea]'",
        s__csv=f"{HEADER}\na,,,[tea],\n",
    ),
    case(
        "data {d} data.notes=j.jsonl",
        "j.jsonl:2: must be one JSON object, but is damaged",
        j__jsonl='{"id": "a"}\n{"id"\n',
    ),
    case(
        "data {d} data.notes=k.jsonl", "k.jsonl:1: must be one JSON object, but is a list", k__jsonl="[1]\n"
    ),
    case("data {d} data.notes=o.jsonl", "o.jsonl: must hold at least one row, but is empty", o__jsonl=""),
    case(
        "data {d} data.notes=v.jsonl",
        "v.jsonl:1: title must hold text, but is 5",
        v__jsonl=jsonl(note(title=5)),
    ),
    case(
        "data {d} data.notes=w.jsonl",
        "w.jsonl:2: id must hold text or integers, as in the first row, but is 5",
        w__jsonl=jsonl(note(), note(id=5)),
    ),
    case(
        "data {d} data.notes=x.jsonl",
        "x.jsonl:2: id must fit in 64 bits, but is 100000000000000000000",
        x__jsonl=jsonl(note(id=5), note(id=10**20)),
    ),
    case(
        "data {d} data.notes=y.jsonl",
        'y.jsonl:1: topics must hold lists of text, but is [["b"]]',
        y__jsonl=jsonl(note(topics=[["b"]])),
    ),
    case(
        "data {d} data.notes=z.jsonl",
        "z.jsonl:1: must be one JSON object, but is nested too deeply",
        z__jsonl='{"id": ' + "[" * 100000,
    ),
    case("data {d} data.notes=a.parquet", "a.parquet: must be a Parquet file", a__parquet="not one"),
    case(
        "data {d} data.notes=b.parquet",
        "b.parquet: column 'title' must hold text, but holds int64",
        b__parquet=table(note(title=5)),
    ),
    case(
        "data {d} data.notes=c.parquet",
        "c.parquet: row 2: id must be given, but is null",
        c__parquet=table(note(), note(id=None)),
    ),
    case(
        "data {d} data.notes=e.parquet",
        "e.parquet: column 'topics' must hold lists of text, but holds list<",
        e__parquet=table(note(topics=[1])),
    ),
    case(
        "data {d} data.notes=one.csv",
        "log.csv:2: note must be an id of the notes, but is 'n0'",
        one__csv=f"{HEADER}\na,,,,\n",
    ),
]

VECTORS = [
    case(
        "semantic-ids --vectors none --output i.pt",
        "none: must be a file of save_embeddings, but does not exist",
    ),
    case(
        "semantic-ids --vectors v.safetensors --output i.csv",
        "write_ids: the file must end in .parquet, .pt, .index.json, but is i.csv",
        v__safetensors=vectors(1.0),
    ),
    case(
        "semantic-ids --vectors v.npy --output i.pt --report v.ids.txt",
        "v.ids.txt: must be another file than those read, but is one of them; try another name",
        v__npy=lambda path: save_embeddings(path, ["a", "b"], torch.eye(2)),
    ),
    case(
        "semantic-ids --vectors v.safetensors --output i.pt --notes i.items.txt",
        "i.items.txt: must be another file than those read, but is one of them; try another name",
        v__safetensors=vectors(1.0),
        i__items__txt="a\n",
    ),
    case(
        "semantic-ids --vectors v.safetensors --output b.index.json --report b.item.json",
        "b.item.json: must be written once, but is two of the outputs; try another name",
        v__safetensors=vectors(1.0),
    ),
    case(
        "semantic-ids --vectors v.safetensors --output i.pt --levels 0",
        "fit_codebooks: levels must be at least 1, but is 0",
        v__safetensors=vectors(1.0),
    ),
    case(
        "semantic-ids --vectors v.safetensors --output i.pt --beam 0",
        "notellm semantic-ids: beam must be at least 1, but is 0",
        v__safetensors=vectors(1.0),
    ),
    case(
        "semantic-ids --vectors v.safetensors --output i.pt --notes notes.csv",
        "Notes.index: ids must be those of notes, but one is 'a'",
        v__safetensors=vectors(1.0),
    ),
    case(
        "embed --notes notes.csv --output v.txt",
        "argument --output: must end in .safetensors or .npy, but is v.txt",
    ),
    case(
        "embed --notes br.jsonl --output v.npy --model model",
        "save_embeddings: ids in a text file must be without line breaks, but number 0 is 'a\\nb'",
        br__jsonl=jsonl(note(id="a\nb")),
    ),
    case(
        "embed --notes notes.csv --output log.csv/v.npy --model saved dtype=fp32",
        "log.csv: must be written, but: File exists",
    ),
    case(
        "embed --notes notes.csv --output saved/model.safetensors --model saved dtype=fp32",
        "saved/model.safetensors: must be another file than those read, but is one of them",
    ),
    case(
        "embed --notes 'my notes.txt' --output v.npy --model saved dtype=fp32",
        "my notes.txt: must end in .parquet, .csv or .jsonl, but ends in '.txt'",
        **{"my notes__txt": "x"},
    ),
    case(
        "embed --notes notes.csv --output v.npy --model saved device=cuda",
        "device=cuda needs a GPU that PyTorch can use",
    ),
    case(
        "neighbours --vectors none.npy --id a",
        "none.npy: must be a file of save_embeddings, but does not exist",
    ),
    case("neighbours --vectors bad.npy --id a", "bad.npy: must be a file of save_embeddings", bad__npy="x"),
    case(
        "neighbours --vectors bad.safetensors --id a",
        "bad.safetensors: must be a file of save_embeddings",
        bad__safetensors="x",
    ),
    case(
        "neighbours --vectors v.safetensors --id z",
        "v.safetensors: must hold the note 'z', but does not",
        v__safetensors=vectors(1.0),
    ),
    case(
        "neighbours --vectors w.safetensors --id a",
        "vectors must be finite, but that of 'b' (row 1) is not",
        w__safetensors=vectors(float("nan")),
    ),
    case(
        "neighbours --vectors r.safetensors --id a",
        "r.safetensors: must hold the note 'a' once, but holds it 2 times",
        r__safetensors=lambda path: save_embeddings(path, ["a", "a"], torch.eye(2)),
    ),
    case(
        "neighbours --vectors f.npy --id a",
        "f.npy/manifest.json: must be a JSON file, but is not there",
        f__npy=lambda path: path.mkdir(),
    ),
    case(
        "neighbours --vectors v.safetensors --id a -k 0",
        "neighbours: k must be at least 1, but is 0",
        v__safetensors=vectors(1.0),
    ),
    case(
        "neighbours --vectors v.safetensors --id a -k two",
        "argument -k: invalid int value: 'two'",
        v__safetensors=vectors(1.0),
    ),
    case(
        "neighbours --vectors v.safetensors --id a --index Nonsense",
        "but is 'Nonsense'",
        v__safetensors=vectors(1.0),
    ),
]

CONVERTED = [
    case(
        "convert nothing --items a --output out",
        "convert: the format must be one of amazon-2018, amazon-2023, amazon-items, kuairec, "
        "microlens, qilin, columns, but is 'nothing'",
    ),
    case(
        "convert columns --items notes.csv --output out --columns id",
        "convert: --columns must be OURS=YOURS, and is for the format columns only",
    ),
    case(
        "convert columns --items notes.csv --output out --columns id=id id=title",
        "convert: --columns must name each of ours once, but names id, id",
    ),
    case(
        "convert columns --items o/notes.parquet --output o",
        "o/notes.parquet: must be another file than those read, but is one of them",
        o=lambda path: (path.mkdir(), parquet(id=["a"])(path / "notes.parquet")),
    ),
    case("convert columns --items notes.csv --output log.csv", "log.csv: must be written, but: File exists"),
    case(
        "convert columns --items notes.csv --output out --columns idd=id",
        "columns: keys must be among id, title, content, topics, category, but one is 'idd'",
    ),
    case(
        "convert columns --items notes.csv --output out --columns title=name",
        "notes.csv: column 'name' must be there, but the columns are id, title, content, topics, category",
    ),
    case(
        "convert columns --items notes.csv --interactions x.csv --output out --columns user=who",
        "x.csv: column 'who' must be there, but the columns are user, note",
        x__csv="user,note\na,n1\n",
    ),
    case(
        "convert qilin --items q --interactions q --output out",
        "q: must hold Parquet files, but holds none",
        q=lambda path: path.mkdir(),
    ),
    case(
        "convert qilin --items none --output out",
        "none: must be a Parquet file or a folder of some, but does not exist",
    ),
    case(
        "convert amazon-2023 --items a.jsonl --output out",
        "a.jsonl:1: must have 'parent_asin', but has nothing",
        a__jsonl="{}\n",
    ),
    case(
        "convert amazon-2023 --items b.jsonl.gz --output out",
        "b.jsonl.gz: must be a whole gzip file, but after line 0",
        **{"b__jsonl__gz": gzip.compress(b'{"parent_asin": "a", "categories": []}\n' * 999)[:60]},
    ),
    case(
        "convert amazon-2023 --items c.jsonl.gz --output out",
        "c.jsonl.gz: must be a whole gzip file, but after line 0",
        **{"c__jsonl__gz": b"plain"},
    ),
    case(
        "convert amazon-items --items i.json --output out",
        "i.json: 1: must be an object, but is 5",
        i__json='{"1": 5}',
    ),
    case(
        "convert kuairec --items k.csv --output out",
        "k.csv: must have the columns video_id, manual_cover_text, caption, topic_tag, "
        "first_level_category_name, but has a, b",
        k__csv="a,b\n1,2\n",
    ),
    case(
        "convert microlens --items m.csv --interactions p.txt --output out",
        "p.txt: must be pairs as .csv or .tsv, but ends in '.txt'",
        m__csv="1,a\n",
        p__txt="",
    ),
    case(
        "convert microlens --items m.csv --output out",
        "m.csv:1: must be the number of an item and a text, but is 'x'",
        m__csv="x\n",
    ),
]

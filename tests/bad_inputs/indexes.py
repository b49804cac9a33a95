"""FAISS indexes: their files, their verbs."""

import torch

from bad_inputs import case
from bad_inputs.files import vectors
from notellm import NeighbourIndex
from notellm.vector_files import save_embeddings

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
    case(
        "index build --vectors v.safetensors --factory Flat --output v.safetensors",
        "v.safetensors: must be another file than those read, but is one of them; try another name",
        **PAIR,
    ),
    case(
        "index build --vectors v.npy --factory Flat --output v.ids.txt",
        "v.ids.txt: must be another file than those read",
        v__npy=lambda path: save_embeddings(path, ["a", "b"], torch.eye(2)),
    ),
    case(f"{BUILD} Tree9 --output saved", "saved: must be a file, but is a folder; try another name", **PAIR),
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
    case(f"{SEARCH} --id a --candidates 5", "--candidates: must come with --rescore, but does not", **BOTH),
    case(f"{REPORT} --parameters nprobe=x", "must be a name and whole numbers, such as", **BOTH),
    case(f"{REPORT} --parameters nprobe=2", "FAISS must accept the search parameter 'nprobe=2'", **BOTH),
    case(f"{REPORT} --parameters speed=2", "search parameters must be among nprobe", **BOTH),
    case(f"{REPORT} -k 0", "k must be at least 1, but is 0", **BOTH),
    case(f"{REPORT} --json v.safetensors", "v.safetensors: must be another file than those read", **BOTH),
    case(f"{REPORT} --json i.index -k 0", "i.index: must be another file than those read", **BOTH),
    case(
        f"{REPORT} --plot v.svg", "v.svg: must be a file, but is a folder", v__svg=lambda p: p.mkdir(), **BOTH
    ),
    case(f"{REPORT} --plot r.svg --json ./r.svg", "r.svg: must be written once, but is two of", **BOTH),
    case(f"{REPORT} --plot r.txt", "--plot must end in .svg, .png, .pdf, but is r.txt", **BOTH),
    case(
        REPORT,
        "v.safetensors: must hold the notes of i.index, but 'c' is not there",
        **PAIR,
        i__index=index(ids="ac"),
    ),
]

"""The readers, each with contents that it takes."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

import fuzz.data_sets
import fuzz.index_files
import fuzz.run_files
import fuzz.texts
import fuzz.vectors  # noqa: F401 - their targets
from fuzz.target import REFUSALS, TARGETS, Target, in_folder, of_file, target
from model_folders import write_tiny
from notellm.app.config import compose, load_config, to_yaml
from notellm.app.report.run_results import read_run_results
from notellm.app.studies import make_study
from notellm.app.studies.ledger import Ledger
from notellm.data import Interactions, Notes
from notellm.data.converters import CONVERTERS
from notellm.export import export_sentence_transformers
from notellm.loggers.json_lines import read_log
from notellm.models import backbone, peft_folder
from notellm.models import folder as model_folder
from notellm.models.adapter import LoraOptions
from notellm.models.gguf import gguf_to_folder
from notellm.models.notellm import NoteLLM
from notellm.models.notellm_folder import DENSE, EXTRA_WEIGHTS
from notellm.processes import Processes
from notellm.prompts import load_prompt, prompt_names
from notellm.training.checkpoint import load_checkpoint, save_checkpoint, saved_dtype
from notellm.training.optimizer import Optimizer
from notellm.training.options import TrainOptions
from samples import make_notes

__all__ = ["REFUSALS", "TARGETS"]


def tiny(folder: Path) -> Path:
    return write_tiny(folder / "model")


@target
def configuration(folder):
    return of_file(folder / "config.yaml", [to_yaml(compose()).encode()], load_config)


@target
def prompt(folder):
    packaged = Path(backbone.__file__).parents[1] / "conf" / "prompt"
    seeds = [(packaged / f"{name}.yaml").read_bytes() for name in prompt_names()]
    return of_file(folder / "prompt.yaml", seeds, load_prompt)


@target
def study(folder):
    node = {
        "title": "T",
        "columns": ["recall@10", "mrr"],
        "seeds": [0],
        "against": "a",
        "rows": {
            "a": {"name": "A", "set": ["loss.alpha=0.1"], "paper": {"mrr": 1.5}, "system": "trained"},
            "b": {},
        },
        "tune": {"key": "train.lr", "values": [1e-5, 1e-4], "by": "mrr", "set": [], "seed": 1},
    }

    def read(content: bytes) -> None:
        try:
            tree = json.loads(content)
        except (ValueError, RecursionError):  # read by Hydra
            return
        make_study("s", tree, folder=folder)

    return Target([json.dumps(node).encode()], read)


@target
def model_config(folder):
    llama3 = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    model = tiny(folder)
    hf = json.loads((model / "config.json").read_text())
    return in_folder(
        model, "config.json", backbone.read, hf, hf | {"rope_scaling": llama3, "layer_types": None}
    )


@target
def generation_config(folder):
    return in_folder(
        tiny(folder), "generation_config.json", backbone.read_outline, {"eos_token_id": [0, 5], "top_k": 3}
    )


@target
def tokenizer(folder):
    config, notes = load_prompt("paper"), make_notes(2)
    return in_folder(
        tiny(folder), "tokenizer.json", lambda model: backbone.read_prompt(model, config).tokenize(notes)
    )


@target
def model_index(folder):
    for number in (1, 2):
        save_file({f"t{number}": torch.ones(2)}, folder / f"s{number}.safetensors")
    index = {"metadata": {"total_size": 16}, "weight_map": {"t1": "s1.safetensors", "t2": "s2.safetensors"}}
    return in_folder(folder, "model.safetensors.index.json", model_folder.read_weights, index)


@target
def weights(folder):
    return in_folder(tiny(folder), "model.safetensors", backbone.read)


@target
def notellm_folder(folder):
    NoteLLM.from_pretrained(tiny(folder), dim=4).save_pretrained(folder / "saved")
    return in_folder(folder / "saved", "notellm.json", NoteLLM.from_pretrained)


@target
def notellm_weights(folder):
    """Projection and tau, beside the backbone's own files."""
    NoteLLM.from_pretrained(tiny(folder), dim=4).save_pretrained(folder / "saved")
    return in_folder(folder / "saved", EXTRA_WEIGHTS, NoteLLM.from_pretrained)


@target
def dense_module(folder):
    """The projection of a folder that sentence-transformers has saved."""
    export_sentence_transformers(NoteLLM.from_pretrained(tiny(folder), dim=4), folder / "exported")
    (folder / "exported" / EXTRA_WEIGHTS).unlink()
    return in_folder(
        folder / "exported" / DENSE, "model.safetensors", lambda dense: NoteLLM.from_pretrained(dense.parent)
    )


@target
def adapter(folder):
    fields = {
        "peft_type": "LORA",
        "r": 4,
        "lora_alpha": 8,
        "lora_dropout": 0.1,
        "target_modules": ["q_proj"],
        "bias": "none",
    }
    return in_folder(
        folder, "adapter_config.json", lambda f: peft_folder.read_options(f / "adapter_config.json"), fields
    )


@target
def adapter_weights(folder):
    options = LoraOptions(r=2, targets=("q_proj",))
    model = NoteLLM.from_pretrained(tiny(folder), dim=4).add_lora(options)
    model.save_peft(folder / "adapter")
    shapes = peft_folder._matrix_shapes(model.model, options)

    def read(there: Path) -> None:
        peft_folder._check(there, peft_folder._read_matrices(there), shapes)

    return in_folder(folder / "adapter", "adapter_model.safetensors", read)


@target
def gguf(folder):
    from ggufs import write_tiny_gguf

    out = folder / "out"

    def read(path: Path) -> None:
        shutil.rmtree(out, ignore_errors=True)
        gguf_to_folder(path, out)

    return of_file(folder / "m.gguf", [write_tiny_gguf(folder / "seed.gguf").read_bytes()], read)


@target
def checkpoint(folder):
    model = NoteLLM.from_pretrained(tiny(folder), dim=4)
    options = TrainOptions(dtype="fp32")
    optimizer = Optimizer(model, options, Processes.current())
    save_checkpoint(folder / "checkpoints", model, optimizer, 3, options, "data")
    saved = folder / "checkpoints" / "step-0000003"

    def read(path: Path) -> None:
        saved_dtype(path)
        load_checkpoint(path, model, optimizer, options, "data")

    return in_folder(saved, "state.json", read)


@target
def optimizer_state(folder):
    made = checkpoint(folder)
    saved = folder / "checkpoints" / "step-0000003"
    path = saved / "optimizer.safetensors"
    state = (saved / "state.json").read_bytes()
    whole = path.read_bytes()

    def read(content: bytes) -> None:
        path.write_bytes(content)
        made.read(state)

    return Target([whole], read)


@target
def train_log(folder):
    lines = [{"step": step, "loss": 1.0, "seconds": 0.1} for step in range(3)]
    return of_file(folder / "train.jsonl", [json_lines(lines)], read_log)


def json_lines(rows: list[object]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


NOTES = [
    {"id": "a", "title": "Tea", "content": "Green", "topics": ["drink", "hot tea"], "category": "food"},
    {"id": "b", "title": "Mud", "content": None, "topics": [], "category": ""},
]
CELLS = b'id,title,content,topics,category\na,"Tea; hot",Green,"[""x""]",food\nb,Mud,,a|b,\n'


@target
def notes_jsonl(folder):
    as_text = [row | {"topics": "a|b"} for row in NOTES]
    return of_file(folder / "n.jsonl", [json_lines(NOTES), json_lines(as_text)], Notes.read)


@target
def notes_csv(folder):
    seeds = [CELLS, CELLS.replace(b",", b";"), b"sep=\t\n" + CELLS.replace(b",", b"\t")]
    return of_file(folder / "n.csv", seeds, Notes.read)


@target
def log_jsonl(folder):
    def lines(*times):
        return json_lines(
            [{"user": "u", "note": f"n{i}", "time": time, "event": "click"} for i, time in enumerate(times)]
        )

    seeds = [lines(1700000000.25, 5), lines("2024-01-02 03:04:05.5", "2024-01-02"), lines("5", "1.7e9")]
    return of_file(folder / "l.jsonl", seeds, Interactions.read)


@target
def log_csv(folder):
    def lines(*times):
        return b"user,note,time,event\n" + b"".join(
            f"u,n{i},{time},view\n".encode() for i, time in enumerate(times)
        )

    seeds = [lines(1700000000.25, 5), lines("2024-01-02T03:04:05Z", "2024-01-02 11:04:06+08:00")]
    return of_file(folder / "l.csv", seeds, Interactions.read)


@target
def converted_items(folder):
    items = {str(i): {"title": "t", "description": ["d"], "categories": "a,b,c"} for i in range(2)}
    log = folder / "l.inter.json"
    log.write_text('{"u": [0, 1]}')
    return of_file(
        folder / "i.json",
        [json.dumps(items).encode()],
        lambda path: CONVERTERS["amazon-items"].convert(path, log),
    )


@target
def converted_sequences(folder):
    items = folder / "i.json"
    items.write_text(
        json.dumps({str(i): {"title": "", "description": "", "categories": "a"} for i in range(2)})
    )
    return of_file(
        folder / "l.json",
        [b'{"u": [0, 1], "v": [1]}'],
        lambda path: CONVERTERS["amazon-items"].convert(items, path),
    )


@target
def converted_reviews(folder):
    items = folder / "items.jsonl"
    items.write_text('{"parent_asin": "a", "categories": ["x", "y"], "title": "t"}\n')
    seed = json_lines([{"parent_asin": "a", "user_id": "u", "timestamp": 5000}])
    return of_file(folder / "r.jsonl", [seed], lambda path: CONVERTERS["amazon-2023"].convert(items, path))


@target
def converted_videos(folder):
    return of_file(
        folder / "t.csv",
        [b"item,title\n1,a\n2,b\n", b'1,"a, b"\n2,c\n'],
        lambda path: CONVERTERS["microlens"].convert(path, None),
    )


@target
def ledger(folder):
    entries = [{"study": "s", "row": "a", "seed": 0, "key": "k", "status": "done", "metrics": {"mrr": 0.5}}]
    return of_file(folder / "ledger.jsonl", [json_lines(entries * 2)], lambda path: Ledger(path).newest())


INTERVAL = {"value": 0.5, "low": 0.4, "high": 0.6}
AT_CUTOFFS = {"1": INTERVAL, "10": INTERVAL}
EVALUATION = {
    "pool": 9,
    "queries": 3,
    "ks": [1, 10],
    "ties": "mean",
    "exposure_fractions": {"low": 0.3},
    "systems": [
        {
            "key": "trained",
            "name": "NoteLLM",
            "recall": {"1": INTERVAL, "10": INTERVAL},
            "mrr": INTERVAL,
            "exposure": {"low": {"queries": 2, "recall": {"1": INTERVAL, "10": INTERVAL}}},
            "ndcg": AT_CUTOFFS,
            "map": AT_CUTOFFS,
            "log_score": INTERVAL,
            "by_target": {"recall": AT_CUTOFFS, "ndcg": AT_CUTOFFS, "mrr": INTERVAL, "log_score": INTERVAL},
            "lists": {"1": {"coverage": 0.5, "novelty": INTERVAL, "popularity": INTERVAL}},
        }
    ],
    "differences": [
        {"a": "trained", "b": "tfidf", "k": 10, **INTERVAL, "p": 0.1, "smallest": 0.2, "verdict": "undecided"}
    ],
    "targets": 2,
    "effective_targets": 1.5,
    "next_notes": {
        "pool": 9,
        "queries": 3,
        "ks": [1],
        "exposure_fractions": {},
        "systems": [{"key": "random", "name": "Random", "recall": {"1": INTERVAL}, "mrr": INTERVAL}],
    },
    "truncation": {"title": 20},
    "generation": {
        "notes": 3,
        "systems": [{"key": "trained", "name": "NoteLLM", "category_accuracy": INTERVAL, "hashtag_notes": 2}],
        "known_categories": ["a"],
        "known_hashtags": ["b"],
    },
}
"""What a run's ``evaluation.json`` holds."""


@target
def evaluation(folder):
    return in_folder(folder, "evaluation.json", read_run_results, EVALUATION)


@target
def run_data(folder):
    mining = {"histogram_edges": [0.1, 1.0, 10.0], "histogram_counts": [3, 4], "pairs": 7}
    return in_folder(folder, "data.json", read_run_results, {"pairs_train": 3, "mining": mining})


@target
def run_neighbours(folder):
    note = {"id": "a", "title": "t", "category": "c"}
    found = {"key": "trained", "name": "N", "neighbours": [note | {"score": 0.5}], "target_rank": 1}
    return in_folder(
        folder, "neighbours.json", read_run_results, [{"query": note, "target": note, "systems": [found]}]
    )


@target
def run_outputs(folder):
    row = {
        "title": "t",
        "category": "c",
        "topics": ["a"],
        "systems": {"trained": {"category": "c", "hashtags": ["a"]}},
    }
    return of_file(folder / "generation.jsonl", [json_lines([row, row])], lambda _: read_run_results(folder))

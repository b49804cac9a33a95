"""Model folders, and lists of names."""

import json

import torch
from safetensors.torch import load_file, save_file

from bad_inputs import case, jsonl
from model_folders import changed, write_json

EMBED = "embed --notes notes.csv --output v.npy dtype=fp32 --model"
GENERATE = "generate --notes notes.csv --model saved --output o.jsonl dtype=fp32"


def model(**how):
    """A copy of the saved model that is wrong in one way."""
    return lambda path: changed(path.parent / "saved", path, **how)


def broken(name, content):
    """A copy of the saved model with one other file."""

    def make(path):
        changed(path.parent / "saved", path)
        (path / name).write_bytes(content)

    return make


def without(name):
    def make(path):
        changed(path.parent / "saved", path)
        (path / name).unlink()

    return make


def tensors(**new):
    """A copy with some tensors made anew; ``...`` leaves one out."""
    names = {
        "q": "model.layers.0.self_attn.q_proj.weight",
        "norm": "model.norm.weight",
        "bias": "lm_head.bias",
    }

    def make(path):
        changed(path.parent / "saved", path)
        weights = load_file(path / "model.safetensors")
        for name, made in new.items():
            value = made(weights.get(names[name])) if made is not ... else ...
            weights = {k: v for k, v in weights.items() if k != names[name]}
            weights |= {} if value is ... else {names[name]: value}
        save_file(weights, path / "model.safetensors")

    return make


def saved_with(**fields):
    """A copy of the saved NoteLLM whose own file says something else."""

    def make(path):
        changed(path.parent / "saved", path)
        known = json.loads((path / "notellm.json").read_text()) | fields
        write_json(path / "notellm.json", {name: value for name, value in known.items() if value is not ...})

    return make


MODELS = [
    case(f"{EMBED} none", "none: must hold a trained NoteLLM, but has no notellm.json"),
    case(
        f"{EMBED} model",
        "model: must hold a trained NoteLLM, but has no notellm.json; try `notellm train` first",
    ),
    case(f"{EMBED} m1", "m1/config.json: must be a JSON file, but is not there", m1=without("config.json")),
    case(f"{EMBED} m2", "m2/config.json:1: must be JSON, but is damaged", m2=broken("config.json", b"{")),
    case(
        f"{EMBED} m3", "m3/config.json:1: must be an object, but is a list", m3=broken("config.json", b"[]")
    ),
    case(
        f"{EMBED} m4",
        "m4/config.json: model_type must be one of llama, mistral, qwen2, qwen3, but is 'gpt2'",
        m4=model(config={"model_type": "gpt2"}),
    ),
    case(
        f"{EMBED} m5",
        "m5/config.json: must have hidden_size, a whole number, but lacks it",
        m5=model(config={"hidden_size": ...}),
    ),
    case(
        f"{EMBED} m6",
        "m6/config.json: hidden_size must be a whole number in [1, 2147483647], but is '32'",
        m6=model(config={"hidden_size": "32"}),
    ),
    case(
        f"{EMBED} m7",
        "m7/config.json: num_key_value_heads must divide num_attention_heads, but 3 does not divide 4",
        m7=model(config={"num_key_value_heads": 3}),
    ),
    case(
        f"{EMBED} m8",
        "m8/config.json: head_dim must be even for rotary positions, but is 7",
        m8=model(config={"head_dim": 7}),
    ),
    case(
        f"{EMBED} m9",
        "m9/config.json: every field must be known here, but shiny is not (it is 1)",
        m9=model(config={"shiny": 1}),
    ),
    case(
        f"{EMBED} m10",
        "m10/config.json: weights must be stored as floating-point numbers, but quantization_config says 'gptq'",
        m10=model(config={"quantization_config": {"quant_method": "gptq"}}),
    ),
    case(
        f"{EMBED} m11",
        "m11/model.safetensors: must be a readable safetensors file",
        m11=without("model.safetensors"),
    ),
    case(
        f"{EMBED} m12",
        "m12/model.safetensors: must be a readable safetensors file",
        m12=broken("model.safetensors", b"x" * 40),
    ),
    case(
        f"{EMBED} m13",
        "m13: tensor model.norm.weight must be finite, but has 32 values that are not, of 32",
        m13=tensors(norm=lambda w: w * float("nan")),
    ),
    case(
        f"{EMBED} m14",
        "m14: must hold the tensor model.layers.0.self_attn.q_proj.weight, but lacks it",
        m14=tensors(q=...),
    ),
    case(
        f"{EMBED} m15",
        "m15: tensor model.layers.0.self_attn.q_proj.weight must have shape (32, 32), but has (8, 32)",
        m15=tensors(q=lambda w: w[:8].clone()),
    ),
    case(
        f"{EMBED} m16",
        "m16: tensor model.layers.0.self_attn.q_proj.weight must be of floating-point numbers of "
        "16 bits or more, but is int8",
        m16=tensors(q=lambda w: w.to(torch.int8)),
    ),
    case(
        f"{EMBED} m17",
        "m17: must hold what the model has a place for only, but holds lm_head.bias",
        m17=tensors(bias=lambda w: torch.zeros(3)),
    ),
    case(
        f"{EMBED} m18",
        "m18/tokenizer.json: must be a tokenizer of the `tokenizers` library, but is not there",
        m18=without("tokenizer.json"),
    ),
    case(
        f"{EMBED} m19",
        "m19/tokenizer.json: must be a tokenizer of the `tokenizers` library",
        m19=broken("tokenizer.json", b"{}"),
    ),
    case(
        f"{EMBED} m20",
        "m20/config.json: must name an eos_token_id, or generation_config.json must, but neither does",
        m20=model(config={"eos_token_id": None}, files={"generation_config.json": {}}),
    ),
    case(
        f"{EMBED} m21",
        "m21/config.json: eos_token_id must be in [0, 401), but is 4000",
        m21=model(config={"eos_token_id": 4000}),
    ),
    case(
        f"{EMBED} m22",
        "m22: each token of tokenizer.json must have one of the 40 rows of the embedding, but "
        "'Ġcompress' has the id 399",
        m22=model(config={"vocab_size": 40}),
    ),
    case(
        f"{EMBED} m23",
        "m23/config.json: rope_scaling: rope_type must be one of default, llama3, but is 'yarn'",
        m23=model(config={"rope_scaling": {"type": "yarn"}}),
    ),
    case(
        f"{EMBED} m24",
        "m24/config.json: sliding_window must be null, but is 7",
        m24=model(config={"model_type": "mistral", "sliding_window": 7}),
    ),
    case(
        f"{EMBED} m25",
        "m25/model.safetensors.index.json: weight_map['a'] must stay in the folder, but is '../b'",
        m25=lambda path: (
            broken("model.safetensors.index.json", b'{"weight_map": {"a": "../b"}}')(path),
            (path / "model.safetensors").unlink(),
        ),
    ),
    case(f"{EMBED} s1", "s1/notellm.json: format must be 2, but is 3", s1=saved_with(format=3)),
    case(
        f"{EMBED} s2",
        "s2/notellm.json: dim must be a whole number in [1, 65536], but is '8'",
        s2=saved_with(dim="8"),
    ),
    case(f"{EMBED} s3", "s3/notellm.json: prompt must be an object, but is []", s3=saved_with(prompt=[])),
    case(
        f"{EMBED} s4",
        "s4/notellm.json: pooling: must be one of compression, mean or a function of states and lengths, but is 'max'",
        s4=saved_with(pooling="max"),
    ),
    case(
        f"{EMBED} s5",
        "s5/notellm.json: must hold 'prompt', but holds format, dim, nested_dims, pooling",
        s5=saved_with(prompt=...),
    ),
]

GENERATED = [
    case(f"{GENERATE} --categories none.txt", "none.txt: must be a file, but does not exist"),
    case(
        f"{GENERATE} --categories f.txt",
        "f.txt: must be a file, but is a folder",
        f__txt=lambda path: path.mkdir(),
    ),
    case(
        "generate --notes n.jsonl --model saved --output n.jsonl dtype=fp32",
        "n.jsonl: must be another file than those read, but is one of them",
        n__jsonl=jsonl({"id": "a", "title": "t", "content": "c", "topics": [], "category": "k"}),
    ),
    case(
        "generate --notes notes.csv --categories c.txt --model saved --output c.txt dtype=fp32",
        "c.txt: must be another file than those read, but is one of them",
        c__txt="a\nb\n",
    ),
    case(
        f"{GENERATE} --categories c.txt", "c.txt: must hold one name a line, but holds none", c__txt="\n \n"
    ),
    case(
        f"{GENERATE} --categories l.txt",
        "l.txt:2: must be UTF-8, but byte 2 is not",
        l__txt="a\né".encode("latin-1"),
    ),
    case(
        f"{GENERATE} --categories twice.txt",
        "score_categories: categories must be given once each, but 'b' is given twice",
        twice__txt="b\na\nb\n",
    ),
    case(f"{GENERATE} --hashtags h.txt", "h.txt: must hold one name a line, but holds none", h__txt=""),
    case(
        f"{GENERATE} generation.hashtag_count=99",
        "generation.hashtag_count must be at most prompt.max_hashtags, but is 99 beside 10",
    ),
    case(f"{GENERATE} generation.beams=0", "generation.beams must be at least 1, but is 0"),
    case(
        "generate --notes notes.csv --model saved --output log.csv/o.jsonl dtype=fp32",
        "log.csv: must be written, but: File exists",
    ),
]


def trained_run(path):
    """A run folder that has a model and nothing else."""
    changed(path.parent / "saved", path / "model")


EXPORT = "export --to hf --output out --run"

EXPORTED = [
    case(
        f"{EXPORT} none",
        "none/model: must hold a trained NoteLLM, but has no notellm.json; try `notellm train`",
    ),
    case(f"{EXPORT} r1", "r1/config.yaml: must be a readable file, but", r1=trained_run),
    case(
        "export --to hf --output notes.csv --run r2",
        "notes.csv: must be a folder, but is a file",
        r2=trained_run,
    ),
    case(
        "export --to hf --output r3/model --run r3",
        "r3/model: must be another folder than",
        r3=trained_run,
    ),
    case(
        "export --to hf --output there --run r4",
        "there: must be absent, empty or a saved NoteLLM",
        r4=trained_run,
        there=lambda path: (path.mkdir(), (path / "x").touch()),
    ),
    case(
        "export --to gguf --takes text --output out --run none",
        "--takes: must go with --to sentence-transformers, but goes with gguf",
    ),
    case("export --to onnx --output out --run none", "argument --to: invalid choice: 'onnx'"),
]

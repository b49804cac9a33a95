"""Model folders that are damaged, contradict themselves, or hold what the core cannot compute: one clear error each."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from model_folders import changed, id_of, write_json
from notellm.errors import ConfigError, DataError, NotSupportedError
from notellm.models.backbone import read_prompt
from notellm.models.notellm import NoteLLM
from notellm.prompts import load_prompt

Q = "model.layers.0.self_attn.q_proj.weight"


def quantised(dtype, suffix=None):
    """One matrix in few bits, with its scales or without."""

    def tensors(weights):
        scales = {} if suffix is None else {f"{Q}{suffix}": torch.ones(1, 1)}
        values = weights[Q] / weights[Q].abs().max()
        return (
            weights | {Q: values.to(dtype) if dtype.is_floating_point else (values * 100).to(dtype)} | scales
        )

    return tensors


def set_value(name, value):
    def tensors(weights):
        weights[name].view(-1)[3] = value
        return weights

    return tensors


def without(*names):
    return lambda weights: {name: value for name, value in weights.items() if name not in names}


TENSORS = {
    "fp8": (
        quantised(torch.float8_e4m3fn),
        NotSupportedError,
        f"{Q} must be of floating-point .*float8_e4m3fn",
    ),
    "int8": (
        quantised(torch.int8),
        NotSupportedError,
        f"{Q} must be of floating-point numbers .*, but is int8",
    ),
    "fp8 with scales": (
        quantised(torch.float8_e4m3fn, "_scale_inv"),
        NotSupportedError,
        f"but holds {Q}_scale_inv",
    ),
    "int8 with scales": (quantised(torch.int8, "_scale"), NotSupportedError, f"but holds {Q}_scale"),
    "gptq": (
        lambda w: without(Q)(w) | {Q.replace("weight", "qweight"): torch.zeros(4, 4, dtype=torch.int32)},
        DataError,
        f"must hold the tensor {Q}, .*holds model.layers.0.self_attn.q_proj.qweight",
    ),
    "a bias that no field announces": (
        lambda w: w | {Q.replace("weight", "bias"): torch.zeros(32)},
        NotSupportedError,
        "must hold what the model has a place for only, but holds model.layers.0.self_attn.q_proj.bias",
    ),
    "a bias of the head": (
        lambda w: w | {"lm_head.bias": torch.zeros(9)},
        NotSupportedError,
        "holds lm_head.bias",
    ),
    "a tower beside it": (
        lambda w: w | {"vision_tower.weight": torch.ones(2), "x": torch.ones(2)},
        NotSupportedError,
        "holds vision_tower.weight and 1 others",
    ),
    "a layer too many": (
        lambda w: w | {f"model.layers.2.{n[15:]}": v.clone() for n, v in w.items() if "layers.1" in n},
        NotSupportedError,
        "holds model.layers.2.input_layernorm.weight",
    ),
    "missing": (
        without("model.norm.weight"),
        DataError,
        "must hold the tensor model.norm.weight, but lacks it",
    ),
    "no tensor at all": (lambda w: {"x": torch.ones(1)}, DataError, "must hold the tensors of 2 layers"),
    "another shape": (
        lambda w: w | {"model.norm.weight": torch.ones(31)},
        DataError,
        r"model.norm.weight must have shape \(32,\), but has \(31,\)",
    ),
    "one name twice": (
        lambda w: w | {"norm.weight": torch.ones(32)},
        DataError,
        "must hold model.norm.weight once, but holds it with and without",
    ),
    "a NaN": (set_value(Q, float("nan")), DataError, f"{Q} must be finite, but has 1 values .* of 1024"),
    "an infinity in the embedding": (
        set_value("model.embed_tokens.weight", float("-inf")),
        DataError,
        "model.embed_tokens.weight must be finite, but has 1 values",
    ),
    "an overflow of fp16": (
        lambda w: w | {"model.norm.weight": (w["model.norm.weight"] * 1e6).half()},
        DataError,
        "model.norm.weight must be finite, but has 32 values",
    ),
}


@pytest.mark.parametrize("case", TENSORS)
def test_bad_tensors(tiny_folder, tmp_path, case):
    tensors, error, message = TENSORS[case]
    folder = changed(tiny_folder, tmp_path / "bad", tensors=tensors)
    with pytest.raises(error, match=message):
        NoteLLM.from_pretrained(folder)


INDEXES = [
    ([], DataError, "index.json:1: must be an object, but is a list"),
    ({}, DataError, "must have weight_map, an object of file names by tensor, but has None"),
    ({"weight_map": []}, DataError, r"must have weight_map, an object .*, but has \[\]"),
    ({"weight_map": {}}, DataError, "must have weight_map, an object .*, but has {}"),
    ({"weight_map": {Q: 3}}, DataError, rf"weight_map\['{Q}'\] must be a file name, but is 3"),
    ({"weight_map": {Q: ""}}, DataError, "must be a file name, but is ''"),
    ({"weight_map": {Q: "../other/a.safetensors"}}, DataError, "must stay in the folder, but is '../other/a"),
    ({"weight_map": {Q: "/etc/passwd"}}, DataError, "must stay in the folder, but is '/etc/passwd'"),
    (
        {"weight_map": {Q: "gone.safetensors"}},
        DataError,
        "gone.safetensors: must be a readable safetensors file",
    ),
    ({"weight_map": {Q: "."}}, DataError, "must be a readable safetensors file"),
    (
        {"weight_map": {Q: "a.safetensors"}},
        DataError,
        "must hold tensors that .*index.json names, but holds model.",
    ),
    (
        {"weight_map": {"other": "a.safetensors"}},
        DataError,
        "must hold the tensor other, which .* takes from it",
    ),
]


@pytest.mark.parametrize(("index", "error", "message"), INDEXES)
def test_bad_indexes(tiny_folder, tmp_path, index, error, message):
    folder = changed(tiny_folder, tmp_path / "bad", files={"model.safetensors.index.json": index})
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    with pytest.raises(error, match=message):
        NoteLLM.from_pretrained(folder)


def test_each_tensor_comes_from_the_shard_that_the_index_names(tiny_folder, tiny, notes, tmp_path):
    folder = changed(tiny_folder, tmp_path / "sharded")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    wrong = {name: weights[name] + 1 for name in names[:9]}
    save_file({name: weights[name] for name in names[:9]}, folder / "a.safetensors")
    save_file({name: weights[name] for name in names[9:]} | wrong, folder / "b.safetensors")
    weight_map = {name: "a.safetensors" if name in wrong else "b.safetensors" for name in names}
    write_json(folder / "model.safetensors.index.json", {"weight_map": weight_map})
    assert torch.equal(NoteLLM.from_pretrained(folder, dim=6).embed(notes), tiny.embed(notes))


OTHER_FILES = [
    ("config.json", "{", DataError, r"config.json:1: must be JSON, but is damaged"),
    ("config.json", "[]", DataError, r"config.json:1: must be an object, but is a list"),
    (
        "config.json",
        None,
        DataError,
        r"config.json: must be a JSON file, but is not there",
    ),
    ("generation_config.json", "[0]", DataError, r"generation_config.json:1: must be an object"),
    ("generation_config.json", "{", DataError, r"generation_config.json:1: must be JSON"),
    (
        "generation_config.json",
        '{"eos_token_id": [0, 999]}',
        DataError,
        r"generation_config.json: eos_token_id must be in \[0, \d+\), but is 999",
    ),
    (
        "tokenizer.json",
        "{}",
        DataError,
        "tokenizer.json: must be a tokenizer of the `tokenizers` library, but",
    ),
    ("tokenizer.json", None, DataError, "tokenizer.json: must be a tokenizer .*, but is not there"),
    (
        "model.safetensors",
        "nonsense",
        DataError,
        "model.safetensors: must be a readable safetensors file, but",
    ),
    ("model.safetensors", None, DataError, "model.safetensors: must be a readable safetensors file, but"),
]


@pytest.mark.parametrize(("name", "content", "error", "message"), OTHER_FILES)
def test_files_that_are_damaged_or_missing(tiny_folder, tmp_path, name, content, error, message):
    folder = changed(tiny_folder, tmp_path / "bad")
    (folder / name).unlink(missing_ok=True)
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises(error, match=message):
        NoteLLM.from_pretrained(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "generation_config.json"])
def test_a_byte_order_mark_is_no_part_of_a_file(tiny_folder, tmp_path, name):
    folder = changed(tiny_folder, tmp_path / "marked", files={"generation_config.json": {"eos_token_id": 0}})
    (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes())
    assert NoteLLM.from_pretrained(folder).end_tokens == (0,)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"nowhere/config.json: must be a JSON file"):
        NoteLLM.from_pretrained(tmp_path / "nowhere")


def test_a_truncated_file(tiny_folder, tmp_path):
    folder = changed(tiny_folder, tmp_path / "bad")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"model.safetensors: must be a readable safetensors file"):
        NoteLLM.from_pretrained(folder)


def test_weights_of_another_form_are_named(tiny_folder, tmp_path):
    folder = changed(tiny_folder, tmp_path / "bad")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"pytorch_model.bin is another form, try model.save_pretrained"):
        NoteLLM.from_pretrained(folder)


@pytest.mark.parametrize("added", [["<pad>"], ["<pad>", "<|user|>"]])
def test_tokenizers_with_more_tokens_than_the_embedding_has_rows(tiny_folder, tmp_path, added):
    folder = changed(tiny_folder, tmp_path / "bad")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    rows = tokenizer.get_vocab_size()
    tokenizer.add_special_tokens(added)
    tokenizer.save(str(folder / "tokenizer.json"))
    last = rows + len(added) - 1
    name = added[-1].replace("|", ".")
    message = f"must have one of the {rows} rows of the embedding, but '{name}' has the id {last}"
    with pytest.raises(DataError, match=message):
        NoteLLM.from_pretrained(folder)
    with pytest.raises(DataError, match=message):  # before the weights are read, too
        read_prompt(folder, load_prompt("paper"))


def test_a_tokenizer_that_leaves_ids_out(tiny_folder, tmp_path):
    folder = changed(tiny_folder, tmp_path / "bad")
    spec = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = spec["model"]["vocab"]
    gone = spec["model"]["merges"].pop()
    del vocabulary["".join(gone)]
    (folder / "tokenizer.json").write_text(json.dumps(spec))
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    if sorted(vocabulary.values()) == list(
        range(len(vocabulary))
    ):  # the last one was taken out: put it further up
        vocabulary[max(vocabulary, key=vocabulary.get)] = rows - 1
        (folder / "tokenizer.json").write_text(json.dumps(spec))
    with pytest.raises(DataError, match=r"ids of tokenizer.json must leave none out, but \[EMB\] would get"):
        NoteLLM.from_pretrained(folder)


@pytest.mark.parametrize("layers", [3, -1])
def test_layers_that_are_not_there(tiny_folder, layers):
    with pytest.raises(DataError, match=rf"layers must be in \[0, 2\], but {layers} are asked for"):
        NoteLLM.from_pretrained(tiny_folder, layers=layers)


SAVED = [
    ({"dim": "6"}, DataError, "notellm.json: dim must be a whole number in .*, but is '6'"),
    ({"dim": ...}, DataError, "notellm.json: must have dim, a whole number, but lacks it"),
    (
        {"dim": 7},
        DataError,
        r"notellm.safetensors: tensor projection.weight must have shape \(7, 32\), but has \(6, 32\)",
    ),
    ({"format": "2"}, DataError, "format must be 2, but is '2'"),
    ({"format": ...}, DataError, "format must be 2, but is None"),
    ({"pooling": 3}, DataError, "pooling must be a name or null, but is 3"),
    ({"pooling": ...}, DataError, "must hold 'pooling', but holds"),
    ({"pooling": "best"}, DataError, "notellm.json: pooling: must be one of compression, mean"),
    ({"nested_dims": 3}, DataError, "notellm.json: nested_dims: must be a list, but is 3"),
    ({"nested_dims": [1.5]}, DataError, r"nested_dims\[0\]: must be a whole number, but is 1.5"),
    ({"nested_dims": [2, 2]}, DataError, r"nested_dims must ascend from at least 1, but are \[2, 2\]"),
    ({"nested_dims": [6]}, DataError, r"nested_dims must be below the width 6, but are \[6\]"),
    ({"prompt": ...}, DataError, "must hold 'prompt', but holds"),
    ({"prompt": "paper"}, DataError, "notellm.json: prompt must be an object, but is 'paper'"),
    ({"prompt": {}}, ConfigError, "notellm.json: name must not be empty"),
]


@pytest.mark.parametrize(("change", "error", "message"), SAVED, ids=id_of)
def test_bad_descriptions_of_a_saved_model(tiny, tmp_path, change, error, message):
    tiny.save_pretrained(tmp_path / "saved")
    path = tmp_path / "saved" / "notellm.json"
    extra = json.loads(path.read_text()) | change
    write_json(path, {name: value for name, value in extra.items() if value is not ...})
    with pytest.raises(error, match=message):
        NoteLLM.from_pretrained(tmp_path / "saved")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"tau": torch.tensor(float("nan"))}, DataError, "notellm.safetensors: tensor tau must be finite"),
        ({"tau": torch.tensor(3)}, NotSupportedError, "tensor tau must be of floating-point numbers"),
        ({"pooling.w": torch.ones(2)}, NotSupportedError, "has a place for only, but holds pooling.w"),
    ],
)
def test_bad_tensors_of_a_saved_model(tiny, tmp_path, change, error, message):
    tiny.save_pretrained(tmp_path / "saved")
    path = tmp_path / "saved" / "notellm.safetensors"
    save_file(load_file(path) | change, path)
    with pytest.raises(error, match=message):
        NoteLLM.from_pretrained(tmp_path / "saved")


def test_another_width_than_trained(tiny, tmp_path):
    tiny.save_pretrained(tmp_path / "saved")
    with pytest.raises(DataError, match="dim must be 6 as it was trained, but 7 is asked for"):
        NoteLLM.from_pretrained(tmp_path / "saved", dim=7)

"""GGUF files: read back by the `gguf` package, by our own reader, and by llama.cpp where xllamacpp is installed."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers

from model_folders import LLAMA3, changed, fitting
from notellm import NotSupportedError
from notellm.export import export_gguf, note_texts, text_form
from notellm.export.gguf_tokenizer import gguf_tokenizer
from notellm.models.gguf import gguf_to_folder
from notellm.models.notellm import NoteLLM

gguf = pytest.importorskip("gguf")

FAMILIES = {
    "llama": {},
    "untied": {"tie_word_embeddings": False},
    "wide_heads": {"head_dim": 12},
    "llama3_rope": {"rope_parameters": LLAMA3 | {"rope_type": "llama3", "rope_theta": 10000.0}},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "mistral": {"model_type": "mistral", "sliding_window": None},
    "qwen2": {"model_type": "qwen2"},
    "qwen3": {"model_type": "qwen3", "head_dim": 12},
}


@pytest.fixture
def make(tiny_folder, tmp_path):
    """Makes a model of a family, with biases and norms that are not trivial."""

    def make(family):
        config = FAMILIES[family]
        hf = json.loads((tiny_folder / "config.json").read_text()) | config
        folder = changed(tiny_folder, tmp_path / family, config=config, tensors=fitting(hf))
        return NoteLLM.from_pretrained(folder, dim=6)

    return make


def prompts_of(model, notes):
    """The ids of each note's embedding prompt."""
    packed = model.prompt.pack(model.prompt.tokenize(notes), range(len(notes)), mode="embed")
    return [packed.tokens[packed.path(row)].tolist() for row in range(len(notes))]


def test_the_file_becomes_the_same_model_again(tiny, notes, tmp_path):
    export_gguf(tiny, tmp_path / "exported")
    assert {path.name for path in (tmp_path / "exported").iterdir()} == {
        "model.gguf",
        "projection.npy",
        "notellm.json",
    }
    again = NoteLLM.from_pretrained(gguf_to_folder(tmp_path / "exported/model.gguf", tmp_path / "hf"), dim=6)
    states = again.embed(notes, projected=False, dtype="fp32")
    assert torch.equal(states, tiny.embed(notes, projected=False, dtype="fp32"))
    vectors = states.numpy() @ np.load(tmp_path / "exported/projection.npy").T
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert np.abs(vectors - tiny.embed(notes, dtype="fp32").numpy()).max() < 1e-5


def test_it_replaces_exports_but_no_saved_model(tiny, tmp_path):
    for _ in range(2):
        export_gguf(tiny, tmp_path / "exported")
    tiny.save_pretrained(tmp_path / "model")
    with pytest.raises(
        FileExistsError, match="or an export, but holds a model's weights; try another folder"
    ):
        export_gguf(tiny, tmp_path / "model")
    assert (tmp_path / "model/model.safetensors").exists()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_tensor_is_there_in_its_order(make, family, tmp_path):
    model = make(family)
    export_gguf(model, tmp_path / "exported", projected=False)
    assert not (tmp_path / "exported/projection.npy").exists()
    reader = gguf.GGUFReader(tmp_path / "exported/model.gguf")
    expected = dict(model.model.named_parameters())
    found = {tensor.name: tensor for tensor in reader.tensors}
    architecture = reader.fields["general.architecture"].contents()
    assert reader.fields[f"{architecture}.pooling_type"].contents() == gguf.PoolingType.LAST
    count = len(expected) + (model.lm_head is not None) + (family == "llama3_rope")
    assert len(found) == count
    # rotated pairs (0, E/2), (1, E/2 + 1), ... lie side by side where llama.cpp rotates neighbours
    width, rows = model.model.config.rope.head_dim, found["blk.1.attn_q.weight"].data
    ours = expected["layers.1.self_attn.q_proj.weight"].detach().numpy()
    pairs = [row for i in range(width // 2) for row in (i, i + width // 2)]
    order = pairs if architecture == "llama" else list(range(width))
    assert np.array_equal(rows[width : 2 * width], ours[width : 2 * width][order])
    assert np.array_equal(
        found["blk.0.ffn_down.weight"].data, expected["layers.0.mlp.down_proj.weight"].detach().numpy()
    )


def test_llama_3s_frequencies_are_those_of_transformers(make, tmp_path):
    from transformers import AutoConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    model = make("llama3_rope")
    export_gguf(model, tmp_path / "exported")
    config = AutoConfig.for_model(**model.hf_config)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    width = model.model.config.rope.head_dim
    plain = 10000.0 ** (-torch.arange(0, width, 2) / width)
    reader = gguf.GGUFReader(tmp_path / "exported/model.gguf")
    (found,) = (tensor.data for tensor in reader.tensors if tensor.name == "rope_freqs.weight")
    torch.testing.assert_close(plain / torch.from_numpy(np.array(found)), scaled)
    assert not torch.allclose(plain, scaled)


def test_bf16_is_for_matrices_alone(tiny, tmp_path):
    tiny.to(torch.bfloat16)
    export_gguf(tiny, tmp_path / "exported")
    reader = gguf.GGUFReader(tmp_path / "exported/model.gguf")
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert kinds["token_embd.weight"] == kinds["blk.0.attn_q.weight"] == "BF16"
    assert kinds["output_norm.weight"] == kinds["blk.0.ffn_norm.weight"] == "F32"
    folder = gguf_to_folder(tmp_path / "exported/model.gguf", tmp_path / "hf")
    again = NoteLLM.from_pretrained(folder).model.layers[1].self_attn.k_proj.weight
    assert torch.equal(again, tiny.model.layers[1].self_attn.k_proj.weight.float())


@pytest.mark.parametrize("family", FAMILIES)
def test_llama_cpp_gives_the_same_vectors(make, family, notes, tmp_path):
    xllamacpp = pytest.importorskip(
        "xllamacpp", reason="xllamacpp, a llama.cpp with wheels, is not installed"
    )
    model = make(family)
    export_gguf(model, tmp_path / "exported")
    params = xllamacpp.CommonParams()
    params.model.path, params.embedding, params.warmup = str(tmp_path / "exported/model.gguf"), True, False
    params.n_parallel = params.cpuparams.n_threads = 1
    params.n_ctx = params.n_batch = params.n_ubatch = 512
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(params)

    def vector(prompt):
        found = server.handle_embeddings({"input": prompt})
        found = np.array((json.loads(found) if isinstance(found, str) else found)["data"][0]["embedding"])
        found = np.load(tmp_path / "exported/projection.npy") @ found
        return found / np.linalg.norm(found)

    expected, form = model.embed(notes, dtype="fp32").numpy(), text_form(model.prompt)
    for row, (ids, text) in enumerate(zip(prompts_of(model, notes), note_texts(model, notes), strict=True)):
        assert np.abs(vector(ids) - expected[row]).max() < 1e-4
        if 0 < row < 11:  # nothing is cut, and no field is empty
            assert np.abs(vector(form.beginning + text + form.end_text) - expected[row]).max() < 1e-4


def split_by(pattern):
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@pytest.mark.parametrize(
    ("name", "pre_tokenizer"),
    [
        ("gpt-2", pre_tokenizers.ByteLevel(add_prefix_space=False)),
        (
            "smollm",
            pre_tokenizers.Sequence(
                [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
            ),
        ),
        ("qwen2", split_by(QWEN)),
    ],
)
def test_words_have_llama_cpps_name(tiny, name, pre_tokenizer):
    tokenizer = Tokenizer.from_str(tiny.tokenizer.to_str())
    tokenizer.pre_tokenizer, tokenizer.normalizer = pre_tokenizer, normalizers.NFC()
    keys = gguf_tokenizer(tokenizer, rows=405)
    assert keys.pre == name
    assert (keys.tokens[0], keys.tokens[400:]) == (
        "<|end|>",
        ["[EMB]", "[PAD401]", "[PAD402]", "[PAD403]", "[PAD404]"],
    )
    assert [keys.types[i] for i in (0, 1, 400, 404)] == [3, 1, 3, 5]


def test_llama_3_ignores_merges(tiny):
    tokenizer = Tokenizer.from_str(tiny.tokenizer.to_str())
    tokenizer.pre_tokenizer = split_by(QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|"))
    with pytest.raises(NotSupportedError, match="one that ignores merges if its words are llama-bpe's alone"):
        gguf_tokenizer(tokenizer, rows=401)
    spec = json.loads(tokenizer.to_str())
    spec["model"]["ignore_merges"] = True
    assert gguf_tokenizer(Tokenizer.from_str(json.dumps(spec)), rows=401).pre == "llama-bpe"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"normalizer": normalizers.Lowercase()},
            "without a normalizer other than NFC, but has .'Lowercase'.",
        ),
        ({"pre_tokenizer": pre_tokenizers.Whitespace()}, "a byte-level BPE without a space put before texts"),
        ({"pre_tokenizer": split_by(r"\w+")}, "one whose words llama.cpp has a name for .gpt-2, smollm"),
        (
            {"pre_tokenizer": pre_tokenizers.ByteLevel(add_prefix_space=True)},
            "without a space put before texts",
        ),
    ],
)
def test_another_tokenizer_is_refused(tiny, change, message, tmp_path):
    for name, value in change.items():
        setattr(tiny.tokenizer, name, value)
    with pytest.raises(NotSupportedError, match=f"export_gguf: the tokenizer must be .*{message}"):
        export_gguf(tiny, tmp_path / "exported")
    assert list(tmp_path.iterdir()) == []


def test_the_mean_is_refused(tiny, tmp_path):
    tiny.pooling = "mean"
    with pytest.raises(
        NotSupportedError, match="the pooling must be compression, but is mean: llama.cpp's mean"
    ):
        export_gguf(tiny, tmp_path / "exported")

"""GGUF files that tests write: a tiny Llama in the layout of llama.cpp."""

import gguf
import numpy as np
import torch
from tokenizers import pre_tokenizers

LAYERS, WIDTH, HEADS, KV_HEADS = 2, 32, 4, 2
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
TOKENS = ["<s>", "</s>", "<tool>", *BYTES, "he", "\u0120he"]
TYPES = [3, 3, 4] + [1] * (len(TOKENS) - 3)
MERGES = ["h e", "\u0120 he"]


def permute(weight, heads):
    """The row order of llama.cpp, as its convert_hf_to_gguf.py writes it."""
    rows = weight.shape[0]
    return weight.reshape(heads, 2, rows // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def make_model():
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=128,
        rope_theta=5000.0,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
    )
    return transformers.LlamaForCausalLM(config).eval()


def names(number):
    layer, block = f"model.layers.{number}", f"blk.{number}"
    pairs = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
    pairs |= {f"attn_{name}": f"self_attn.{name}_proj" for name in "qkv"}
    pairs |= {"attn_output": "self_attn.o_proj"}
    pairs |= {f"ffn_{name}": f"mlp.{name}_proj" for name in ("gate", "up", "down")}
    return {f"{block}.{ours}.weight": f"{layer}.{theirs}.weight" for ours, theirs in pairs.items()}


def add_keys(writer, more):
    """Further keys, by the kinds of their values."""
    kinds = {
        bool: writer.add_bool,
        int: writer.add_uint32,
        float: writer.add_float32,
        str: writer.add_string,
    }
    for name, value in more.items():
        kinds[type(value)](name, value)


def write_gguf(path, model, *, quantise=None, drop=(), extra=(), arch="llama", **keys):
    writer = gguf.GGUFWriter(path, arch)
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(64)
    writer.add_head_count(keys.get("heads", HEADS))
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(5000.0)
    writer.add_tokenizer_model(keys.get("tokenizer", "gpt2"))
    writer.add_tokenizer_pre(keys.get("pre", "smollm"))
    writer.add_token_list(TOKENS)
    writer.add_token_types(TYPES)
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(keys.get("add_bos", False))
    tensors = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    tensors |= {"output.weight": "lm_head.weight"}
    for number in range(LAYERS):
        tensors |= names(number)
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    for ours, theirs in tensors.items():
        value = state[theirs]
        if ".attn_q." in ours or ".attn_k." in ours:
            value = permute(value, HEADS if ".attn_q." in ours else KV_HEADS)
        if ours in drop:
            continue
        if ours == keys.get("nan"):
            value = np.where(np.arange(value.size).reshape(value.shape) == 5, np.nan, value).astype(
                value.dtype
            )
        if quantise is not None and value.ndim == 2:
            writer.add_tensor(ours, gguf.quants.quantize(value, quantise), raw_dtype=quantise)
        else:
            writer.add_tensor(ours, np.ascontiguousarray(value))
    add_keys(writer, keys.get("more", {}))
    for name in extra:
        writer.add_tensor(name, np.zeros(4, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_tiny_gguf(path):
    return write_gguf(path, make_model())

"""Folders of text encoders that tests write."""

import torch


def write_decoder(folder, tiny_folder):
    """A random Qwen3, as embedding models have it: a folder of transformers, whose last state is the vector."""
    import transformers

    torch.manual_seed(0)
    config = transformers.Qwen3Config(
        vocab_size=500,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
    )
    transformers.Qwen3Model(config).save_pretrained(folder)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(tiny_folder / "tokenizer.json"), pad_token="<|end|>", model_max_length=64
    )
    tokenizer.save_pretrained(folder)
    return folder

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from notellm.errors import DataError
from notellm.models.notellm import NoteLLM


def test_emb_is_a_new_row_the_mean_of_the_others(tiny, tiny_folder):
    old = load_file(tiny_folder / "model.safetensors")["model.embed_tokens.weight"]
    new = tiny.model.embed_tokens.weight
    assert tiny.emb_token_id == len(old)
    assert tiny.tokenizer.encode("[EMB]", add_special_tokens=False).ids == [len(old)]
    assert torch.equal(new[:-1], old)
    torch.testing.assert_close(new[-1], old.mean(0))


def test_a_spare_row_behind_the_tokenizer_is_used_for_emb(tiny_folder, tmp_path):
    shutil.copytree(tiny_folder, tmp_path / "padded")
    folder = tmp_path / "padded"
    weights = load_file(folder / "model.safetensors")
    rows = weights["model.embed_tokens.weight"]
    weights["model.embed_tokens.weight"] = torch.cat([rows, torch.zeros(16, rows.shape[1])])
    save_file(weights, folder / "model.safetensors")
    hf = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(hf | {"vocab_size": len(rows) + 16}))
    model = NoteLLM.from_pretrained(folder)
    assert model.emb_token_id == len(rows)
    assert len(model.model.embed_tokens.weight) == len(rows) + 16


def test_saved_and_loaded_is_the_same_model(tiny, notes, tmp_path):
    tiny.tau.data.fill_(2.5)
    tiny.save_pretrained(tmp_path / "saved")
    again = NoteLLM.from_pretrained(tmp_path / "saved")
    assert again.dim == 6
    assert again.tau.item() == 2.5
    assert again.prompt.config == tiny.prompt.config
    assert torch.equal(again.embed(notes), tiny.embed(notes))
    assert again.generate_category(notes.take([1, 2])) == tiny.generate_category(notes.take([1, 2]))


def test_the_first_layers_can_be_kept(tiny_folder, notes, tmp_path):
    whole = NoteLLM.from_pretrained(tiny_folder, dim=6)
    first = NoteLLM.from_pretrained(tiny_folder, dim=6, layers=1)
    assert (len(whole.model.layers), len(first.model.layers), first.model.config.layers) == (2, 1, 1)
    del whole.model.layers[1:]
    kept, expected = (dict(model.named_parameters()) for model in (first, whole))
    assert kept.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in kept.items())
    first.save_pretrained(tmp_path / "short")
    again = NoteLLM.from_pretrained(tmp_path / "short")
    assert torch.equal(again.embed(notes), first.embed(notes))
    with pytest.raises(DataError, match="layers must be 1 as it was trained, but 2 is asked for"):
        NoteLLM.from_pretrained(tmp_path / "short", layers=2)


def test_a_folder_of_another_format_is_refused(tiny, tmp_path):
    tiny.save_pretrained(tmp_path / "saved")
    path = tmp_path / "saved" / "notellm.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 3}))
    with pytest.raises(DataError, match="format must be 2, but is 3"):
        NoteLLM.from_pretrained(tmp_path / "saved")


def test_transformers_reads_the_saved_backbone(tiny, tmp_path):
    from transformers import AutoModelForCausalLM

    tiny.save_pretrained(tmp_path / "saved")
    hf = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    assert torch.equal(hf.model.embed_tokens.weight, tiny.model.embed_tokens.weight)
    assert torch.equal(hf.lm_head.weight, tiny.head_weight)


def test_sharded_folders_read_like_single_files(tiny, tiny_folder, notes, tmp_path):
    folder = tmp_path / "sharded"
    shutil.copytree(tiny_folder, folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    shards = {"a.safetensors": names[:7], "b.safetensors": names[7:]}
    for file, keys in shards.items():
        save_file({key: weights[key] for key in keys}, folder / file)
    index = {"weight_map": {key: file for file, keys in shards.items() for key in keys}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert torch.equal(NoteLLM.from_pretrained(folder, dim=6).embed(notes), tiny.embed(notes))


def test_an_untied_head_is_its_own_matrix(tiny_folder, notes, tmp_path):
    folder = tmp_path / "untied"
    shutil.copytree(tiny_folder, folder)
    hf = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(hf | {"tie_word_embeddings": False}))
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = torch.randn_like(weights["model.embed_tokens.weight"])
    save_file(weights, folder / "model.safetensors")
    model = NoteLLM.from_pretrained(folder, dim=6)
    assert torch.equal(model.head_weight[:-1], weights["lm_head.weight"])
    model.save_pretrained(tmp_path / "saved")
    assert torch.equal(NoteLLM.from_pretrained(tmp_path / "saved").head_weight, model.head_weight)


def test_saving_spares_folders_with_other_things(tiny, tmp_path):
    (tmp_path / "precious.txt").write_text("data")
    with pytest.raises(FileExistsError, match="must be absent, empty or a saved NoteLLM"):
        tiny.save_pretrained(tmp_path)
    assert (tmp_path / "precious.txt").exists()
    for _ in range(2):
        tiny.save_pretrained(tmp_path / "model")
    (tmp_path / "model/checkpoints").mkdir()
    (tmp_path / "model/train.jsonl").touch()
    with pytest.raises(FileExistsError, match=r"other files: checkpoints, train\.jsonl; try another folder"):
        tiny.save_pretrained(tmp_path / "model")
    assert (tmp_path / "model/checkpoints").is_dir()


def test_the_seed_decides_the_projection(tiny_folder):
    first, again, other = (NoteLLM.from_pretrained(tiny_folder, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.projection.weight, again.projection.weight)
    assert not torch.equal(first.projection.weight, other.projection.weight)

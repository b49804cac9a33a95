"""Exported folders in sentence-transformers: the vectors are those of `NoteLLM.embed`, there and back."""

import json
import pickle

import pytest
import torch

from model_folders import changed, fitting
from notellm import DataError, NotSupportedError
from notellm.export import export_sentence_transformers, note_texts, text_form
from notellm.models.adapter import LoraOptions
from notellm.models.notellm import NoteLLM
from notellm.prompts import PromptConfig, load_prompt

sentence_transformers = pytest.importorskip("sentence_transformers")

TOLERANCE = 1e-5  # fp32, two implementations of the same model


def loaded(folder, **options):
    return sentence_transformers.SentenceTransformer(
        str(folder), trust_remote_code=True, device="cpu", local_files_only=True, **options
    )


def as_dictionaries(notes):
    fields = zip(notes.ids, notes.titles, notes.contents, notes.topics, strict=True)
    return [{"id": i, "title": title, "content": text, "topics": tags} for i, title, text, tags in fields]


def encoded(model, notes, **options):
    return torch.from_numpy(model.encode(as_dictionaries(notes), batch_size=5, **options))


def close(found, expected, tolerance=TOLERANCE):
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


def with_begin_token(folder):
    """A tokenizer that puts a token before every text, and a space, as Llama's do."""
    path = folder / "tokenizer.json"
    spec = json.loads(path.read_text())
    spec["pre_tokenizer"]["add_prefix_space"] = True
    special = {"<|end|>": {"id": "<|end|>", "ids": [0], "tokens": ["<|end|>"]}}
    template = [{"SpecialToken": {"id": "<|end|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    spec["post_processor"] = {"type": "TemplateProcessing", "single": template, "pair": template}
    spec["post_processor"]["special_tokens"] = special
    path.write_text(json.dumps(spec))


@pytest.fixture(
    params=["llama", "untied", "begin_token", "qwen3", "emb_state", "mean", "repllama", "lora", "class"]
)
def model(request, tiny_folder, tmp_path):
    """Models that differ in what an export could lose."""
    kind = request.param
    hf = json.loads((tiny_folder / "config.json").read_text())
    config = {"untied": {"tie_word_embeddings": False}, "qwen3": {"model_type": "qwen3", "head_dim": 10}}.get(
        kind
    )
    tensors = fitting(hf | config) if config else None
    folder = changed(tiny_folder, tmp_path / "backbone", config=config or (), tensors=tensors)
    if kind == "class":  # of which transformers makes another tokenizer than the file says
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "Qwen2Tokenizer"}')
    if kind == "begin_token":
        with_begin_token(folder)
    prompt = load_prompt("repllama" if kind == "repllama" else "paper").to_dict()
    prompt = PromptConfig.from_dict(prompt | ({"state": "at"} if kind == "emb_state" else {}), where=kind)
    pooling = "mean" if kind == "mean" else "compression"
    made = NoteLLM.from_pretrained(folder, dim=6, prompt=prompt, pooling=pooling)
    if kind == "lora":
        made.add_lora(LoraOptions(r=2))
        for name, parameter in made.named_parameters():
            if "lora_B" in name or "emb_row" in name:
                torch.nn.init.normal_(parameter.data, std=0.1)
    return made


def test_notes_get_the_vectors_of_embed(model, notes, tmp_path):
    export_sentence_transformers(model, tmp_path / "exported")
    theirs, expected = loaded(tmp_path / "exported"), model.embed(notes, dtype="fp32")
    close(encoded(theirs, notes), expected)
    close(torch.from_numpy(theirs.encode(as_dictionaries(notes)[0])), expected[0])
    assert theirs.get_embedding_dimension() == model.dim
    ours = NoteLLM.from_pretrained(tmp_path / "exported")
    close(ours.embed(notes, dtype="fp32"), expected)


def test_sentence_transformers_saves_what_both_read(model, notes, tmp_path):
    export_sentence_transformers(model, tmp_path / "exported")
    loaded(tmp_path / "exported").save(str(tmp_path / "saved"), create_model_card=False)
    expected = model.embed(notes, dtype="fp32")
    close(encoded(loaded(tmp_path / "saved"), notes), expected)
    close(NoteLLM.from_pretrained(tmp_path / "saved").embed(notes, dtype="fp32"), expected)


def test_texts_get_nearly_the_same(model, notes, tmp_path):
    if model.pooling == "mean":
        with pytest.raises(
            NotSupportedError, match="for text the pooling must be one of compression, but is mean"
        ):
            export_sentence_transformers(model, tmp_path / "exported", takes="text")
        return
    export_sentence_transformers(model, tmp_path / "exported", takes="text")
    theirs, few = loaded(tmp_path / "exported"), notes.take(range(1, 11))  # the last note's fields are cut
    assert not any(
        "notellm" in entry["type"] for entry in json.loads((tmp_path / "exported/modules.json").read_text())
    )
    close(torch.from_numpy(theirs.encode(note_texts(model, few))), model.embed(few, dtype="fp32"))
    long = note_texts(model, notes)[11] * 9
    ids = theirs.preprocess([long], prompt=theirs.prompts.get("note"))["input_ids"][0].tolist()
    form = text_form(model.prompt)
    assert ids[-len(form.end) :] == list(form.end)  # is there although the text is cut
    assert len(ids) == min(form.most_tokens, model.model.config.max_positions)
    # names of special tokens in a text are text
    inside = theirs.preprocess(["a<|end|>b"], prompt="")["input_ids"][0].tolist()
    assert (
        inside[len(model.prompt.bos_token_ids) : -len(form.end)]
        == model.prompt.piece_tokenizer.encode_values(["a<|end|>b"], "")[0]
    )


@pytest.mark.parametrize("form", ["text", "object", "map"])
@pytest.mark.parametrize("name", ["<pad>", "<|end|>"])
def test_a_pad_token_that_the_tokenizer_lacks_is_not_taken(name, form, tiny_folder, notes, tmp_path):
    folder = changed(tiny_folder, tmp_path / "backbone")
    token = {"__type": "AddedToken", "content": name, "lstrip": False, "rstrip": False, "special": True}
    file = "special_tokens_map.json" if form == "map" else "tokenizer_config.json"
    (folder / file).write_text(json.dumps({"pad_token": token if form == "object" else name}))
    model = NoteLLM.from_pretrained(folder, dim=6)
    export_sentence_transformers(model, tmp_path / "exported", takes="text")
    theirs, few = loaded(tmp_path / "exported"), notes.take(range(1, 11))
    close(torch.from_numpy(theirs.encode(note_texts(model, few))), model.embed(few, dtype="fp32"))
    assert theirs.tokenizer.pad_token == "<|end|>"


def test_states_are_not_projected_where_no_projection_was_trained(tiny, notes, tmp_path):
    export_sentence_transformers(tiny, tmp_path / "exported", projected=False)
    close(encoded(loaded(tmp_path / "exported"), notes), tiny.embed(notes, projected=False, dtype="fp32"))
    loaded(tmp_path / "exported").save(str(tmp_path / "saved"), create_model_card=False)
    again = NoteLLM.from_pretrained(tmp_path / "saved")
    assert again.dim == tiny.dim
    close(again.embed(notes, dtype="fp32", projected=False), tiny.embed(notes, dtype="fp32", projected=False))
    assert again.projection_weight.std() > 0  # begins anew
    (tmp_path / "saved" / "modules.json").unlink()
    with pytest.raises(
        DataError, match=r"saved: must have notellm\.safetensors, or modules\.json of .* but has neither"
    ):
        NoteLLM.from_pretrained(tmp_path / "saved")


def test_the_first_numbers(tiny, notes, tmp_path):
    tiny.nested_dims = (2, 4)
    export_sentence_transformers(tiny, tmp_path / "exported")
    theirs = loaded(tmp_path / "exported", truncate_dim=4)
    close(encoded(theirs, notes, normalize_embeddings=True), tiny.embed(notes, dim=4, dtype="fp32"))
    assert json.loads((tmp_path / "exported/config.json").read_text())["matryoshka_dimensions"] == [2, 4, 6]
    assert NoteLLM.from_pretrained(tmp_path / "exported").nested_dims == (2, 4)


def test_weights_in_bf16(tiny, notes, tmp_path):
    tiny.to(torch.bfloat16)
    export_sentence_transformers(tiny, tmp_path / "exported")
    theirs = loaded(tmp_path / "exported")
    assert theirs.dtype == torch.bfloat16
    cosines = (torch.nn.functional.normalize(encoded(theirs, notes)) * tiny.embed(notes, dtype="fp32")).sum(1)
    assert cosines.min() > 0.98
    widened = loaded(tmp_path / "exported", model_kwargs={"dtype": torch.float32})
    close(encoded(widened, notes), tiny.float().embed(notes, dtype="fp32"))


def test_processes_of_a_pool_get_the_module(tiny, notes, tmp_path):
    export_sentence_transformers(tiny, tmp_path / "exported")
    theirs = loaded(tmp_path / "exported")
    before = encoded(theirs, notes)
    assert torch.equal(encoded(pickle.loads(pickle.dumps(theirs)), notes), before)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["a text"], r"each input must be a note .* but number 0 is 'a text'; try an export that takes text"),
        ([{"title": "a"}, {"title": 3}], r"title of a note must be a str, but that of number 1 is 3"),
        ([{"topics": "one"}], r"topics of a note must be a list, but that of number 0 is 'one'"),
        ([{"topics": ["a", 2024]}], r"topics of a note must be texts, but one of number 0 is 2024"),
        ([{"title": "a\ud800"}], r"title of note 0 must be Unicode text, but is 'a\\ud800'"),
    ],
)
def test_what_is_no_note_is_refused(inputs, message, tiny, tmp_path):
    export_sentence_transformers(tiny, tmp_path / "exported")
    with pytest.raises(DataError, match=message):
        loaded(tmp_path / "exported").encode(inputs)


def test_notes_have_their_own_prompt(tiny, tmp_path):
    export_sentence_transformers(tiny, tmp_path / "exported")
    with pytest.raises(ValueError, match="prompt must be none, since notes have their own, but is 'query: '"):
        loaded(tmp_path / "exported").encode([{"title": "a"}], prompt="query: ")


def test_who_lacks_notellm_is_told(tiny, tmp_path, monkeypatch):
    export_sentence_transformers(tiny, tmp_path / "exported")
    monkeypatch.setattr("sentence_transformers.util.environment.get_installed_version", lambda name: None)
    with pytest.raises(ImportError, match=r"notellm.*\n*.*It tokenises the notes"):
        loaded(tmp_path / "exported")


def test_what_cannot_be_exported_leaves_no_folder(tiny, tmp_path):
    with pytest.raises(ValueError, match="takes must be one of notes, text, but is 'files'"):
        export_sentence_transformers(tiny, tmp_path / "exported", takes="files")
    tiny.pooling = lambda states, lengths: states[: len(lengths)]
    with pytest.raises(
        NotSupportedError, match="the pooling must be one of compression, mean, but is .*lambda"
    ):
        export_sentence_transformers(tiny, tmp_path / "exported")
    assert list(tmp_path.iterdir()) == []

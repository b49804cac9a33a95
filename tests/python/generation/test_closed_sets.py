"""Outputs out of known categories and hashtags."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from model_folders import changed
from notellm import DecodingOptions, NoteLLM, _core
from notellm.data import Notes
from notellm.generation import (
    generate_category,
    generate_hashtags,
    hashtags,
    hashtags_in_text,
    score_categories,
)
from samples import CATEGORIES, closing_tokens

VOCABULARY = ["web", "web server", "audio", "c", "fonts", "scientific", "x11", "terminal games"]


def naive_choice(model, note, names):
    """The category that the most probable allowed token leads to, step by step, without a cache."""
    spelled = [
        [*ids, *closing_tokens(model), model.eos_token_id] for ids in model.prompt.encode_values(names)
    ]
    row = model.prompt.rows(model.prompt.tokenize(note), [0], mode="generate")[0]
    tokens = model.prompt.pack_rows(model.prompt.tokenize(note), [row], mode="generate").tokens.tolist()
    output = []
    while not output or output[-1] != model.eos_token_id:
        plan = model.model.plan(_core.models.Segments([0, len(tokens)], [-1]), torch.float32)
        with torch.no_grad():
            logits = model.model(torch.tensor(tokens), plan)[-1] @ model.head_weight.T
        begun = [ids for ids in spelled if ids[: len(output)] == output]
        best = max({ids[len(output)] for ids in begun}, key=lambda token: float(logits[token]))
        output.append(best)
        tokens.append(best)
    return names[spelled.index(output)]


@pytest.mark.parametrize("prompt", ["paper", "release_zh"])  # the second has text behind its outputs
@pytest.mark.parametrize("instruction_set", ["", "none"])
def test_categories_are_searched_along_their_trie(tiny_folder, notes, use, instruction_set, prompt):
    use(instruction_set)
    tiny = NoteLLM.from_pretrained(tiny_folder, dim=6, prompt=prompt)
    written = generate_category(tiny, notes, categories=CATEGORIES, dtype="fp32")
    assert written == [naive_choice(tiny, notes.take([i]), CATEGORIES) for i in range(len(notes))]
    assert len(set(written)) > 1
    assert set(
        generate_category(tiny, notes, categories=CATEGORIES, decoding=DecodingOptions(beams=3))
    ) <= set(CATEGORIES)
    assert set(
        generate_category(tiny, notes, categories=CATEGORIES, decoding=DecodingOptions(temperature=2.0))
    ) <= set(CATEGORIES)


@pytest.fixture
def lossy(tiny_folder, tmp_path):
    """A model whose tokenizer knows no capitals, and other letters than Latin ones as unknown only."""
    folder = changed(tiny_folder, tmp_path / "lossy", config={"vocab_size": 98})
    letters = {"<|end|>": 0, "<unk>": 1, "\u2581": 2} | {chr(code): code - 30 for code in range(33, 127)}
    tokenizer = Tokenizer(models.BPE(letters | {"\u00b7": 97}, [], unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
    tokenizer.add_special_tokens(["<|end|>", "<unk>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"][:98].clone()
    save_file(weights, folder / "model.safetensors")
    return NoteLLM.from_pretrained(folder, dim=4)


def test_known_names_come_back_as_they_were_given_whatever_the_tokenizer_makes_of_them(lossy, notes):
    names = ["Games", "WEB Server", "旅行"]
    assert set(generate_category(lossy, notes, categories=names, dtype="fp32")) <= set(names)
    assert all(generate_category(lossy, notes, categories=[name])[0] == name for name in names)
    assert generate_hashtags(lossy, notes.take([0]), 1, vocabulary=["旅行"]) == [["旅行"]]
    several = generate_hashtags(lossy, notes, 3, vocabulary=names, max_new_tokens=64)
    assert {name for tags in several for name in tags} == set(names)


def test_wide_beams_find_the_best_category(tiny, notes):
    wide = DecodingOptions(beams=30, length_penalty=0)
    written = generate_category(tiny, notes, categories=CATEGORIES, decoding=wide, dtype="fp32")
    assert written == score_categories(tiny, notes, CATEGORIES, dtype="fp32").best


@pytest.mark.parametrize("prompt", ["paper", "release_zh"])
@pytest.mark.parametrize(
    "decoding",
    [
        DecodingOptions(),
        DecodingOptions(beams=3),
        DecodingOptions(temperature=1.0),
        DecodingOptions(repetition_penalty=2.0),
    ],
)
@pytest.mark.parametrize("limit", [9, 48])
def test_hashtags_come_from_the_vocabulary(tiny_folder, notes, decoding, limit, prompt):
    tiny = NoteLLM.from_pretrained(tiny_folder, dim=6, prompt=prompt)
    for count in (1, 3):
        written = generate_hashtags(
            tiny, notes, count, vocabulary=VOCABULARY, decoding=decoding, max_new_tokens=limit
        )
        assert all(1 <= len(tags) <= count for tags in written)
        assert all(set(tags) <= set(VOCABULARY) and len(set(tags)) == len(tags) for tags in written)
    assert any(len(tags) > 1 for tags in written)


@pytest.mark.parametrize("dtype", ["bf16", "fp64"])
def test_known_values_in_other_dtypes(tiny, notes, dtype):
    for decoding in (
        DecodingOptions(),
        DecodingOptions(beams=2),
        DecodingOptions(temperature=1.0, top_p=0.9),
    ):
        tags = generate_hashtags(tiny, notes, 2, vocabulary=VOCABULARY, decoding=decoding, dtype=dtype)
        assert all(set(own) <= set(VOCABULARY) for own in tags)
    exact = score_categories(tiny, notes, CATEGORIES, dtype="fp32").log_probs
    other = score_categories(tiny, notes, CATEGORIES, dtype=dtype).log_probs
    torch.testing.assert_close(other, exact, rtol=0.05 if dtype == "bf16" else 1e-5, atol=0)


def test_stop_tokens_do_not_cut_known_values(tiny, notes):
    second = tiny.prompt.encode_values(["games and more"])[0][1]
    assert generate_category(tiny, notes, categories=["games and more"], stop=(second,)) == [
        "games and more"
    ] * len(notes)


def test_banned_hashtags_are_not_written(tiny, notes):
    free = generate_hashtags(tiny, notes, 2, vocabulary=VOCABULARY)
    banned = [set(tags) for tags in free]
    others = generate_hashtags(tiny, notes, 2, vocabulary=VOCABULARY, banned=banned)
    assert all(tags and not set(tags) & own for tags, own in zip(others, banned, strict=True))
    nothing = generate_hashtags(tiny, notes, 2, vocabulary=VOCABULARY, banned=[VOCABULARY] * len(notes))
    assert nothing == [[]] * len(notes)
    drawn = DecodingOptions(temperature=1.0)
    some = [VOCABULARY if i % 2 else [] for i in range(len(notes))]
    mixed = generate_hashtags(tiny, notes, 2, vocabulary=VOCABULARY, banned=some, decoding=drawn)
    assert [bool(tags) for tags in mixed] == [not own for own in some]


def test_entries_of_a_vocabulary_that_hold_several_hashtags_are_found_in_the_text(tiny, notes):
    some = replace(notes.take([0, 1]), titles=["all of the web", "nothing"], contents=["", ""])
    written = generate_hashtags(tiny, some, 2, vocabulary=["web,c", "x11"], ban_in_text=True, dtype="fp32")
    assert "web" not in written[0]
    assert {"web", "c", "x11"} >= {*written[0], *written[1]}
    assert generate_hashtags(tiny, some, 1, vocabulary=["web,nothing"], ban_in_text=True) == [
        ["nothing"],
        ["web"],
    ]


def test_equal_notes_may_have_different_bans(tiny, notes):
    same = notes.take([2, 2, 2, 3])
    first = generate_hashtags(tiny, same, 1, vocabulary=VOCABULARY)
    banned = [set(), set(first[0]), set(first[0]), set()]
    second = generate_hashtags(tiny, same, 1, vocabulary=VOCABULARY, banned=banned)
    assert second[0] == first[0]
    assert second[3] == first[3]
    assert second[1] == second[2] != first[0]


def test_hashtags_in_the_text_can_be_banned(tiny):
    notes = Notes(["a", "b"], ["web C", "fonts"], ["x11 and audio", ""], [[], []], ["", ""])
    present = hashtags_in_text(notes, VOCABULARY)
    assert present == [{"web", "c", "x11", "audio"}, {"fonts"}]
    written = generate_hashtags(tiny, notes, 4, vocabulary=VOCABULARY, ban_in_text=True)
    assert all(tags and not set(tags) & own for tags, own in zip(written, present, strict=True))


def test_what_is_written_freely_and_stands_in_the_text_is_left_out(tiny, monkeypatch):
    monkeypatch.setattr(hashtags, "write", lambda *_, **__: [" web,fonts", " web,fonts"])
    notes = Notes(["a", "b"], ["Fast Web server", "cobwebs"], ["", "fonts"], [[], []], ["", ""])
    assert generate_hashtags(tiny, notes, 2) == [["web", "fonts"]] * 2
    assert generate_hashtags(tiny, notes, 2, ban_in_text=True) == [["fonts"], ["web"]]


def test_bans_hold_for_what_is_written_freely(tiny, notes):
    said = generate_hashtags(tiny, notes, 3)
    banned = [set(tags[:1]) for tags in said]
    left = generate_hashtags(tiny, notes, 3, banned=banned)
    assert left == [tags[1:] for tags in said]
    assert left != said


def test_bans_are_cut_like_the_vocabulary(tiny):
    long = "role-playing-and-adventure"
    assert len(long) > tiny.prompt.config.max_hashtag_chars
    notes = Notes(["a"], ["Role playing and adventure"], [""], [[]], [""])
    for options in ({"banned": [{long}]}, {"banned": [{f" {long}"}]}, {"ban_in_text": True}):
        assert generate_hashtags(tiny, notes, 2, vocabulary=[long, "web"], **options) == [["web"]]


def test_hashtags_in_chinese_text():
    notes = Notes(["a"], ["上海咖啡店推荐"], ["周末去哪儿 coffee"], [[]], [""])
    assert hashtags_in_text(notes, ["咖啡", "啡咖", "周末", "Coffee", "去 哪"]) == [
        {"咖啡", "周末", "Coffee", "去 哪"}
    ]


def test_vocabulary_is_cut_as_the_prompt_cuts_hashtags(tiny, notes):
    long = "abcdefghijklmnopqrstuvwxyz"
    cut = long[: tiny.prompt.config.max_hashtag_chars]
    written = generate_hashtags(tiny, notes, 1, vocabulary=[long, cut, " \n"])
    assert written == [[cut]] * len(notes)


def test_a_hashtag_of_the_vocabulary_that_holds_the_separator_is_several(tiny, notes):
    whole = generate_hashtags(tiny, notes, 3, vocabulary=["web, c", "x11 "])
    assert whole == generate_hashtags(tiny, notes, 3, vocabulary=["web", "c", "x11"])
    assert all(tags for tags in whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocabulary": []}, "vocabulary must have a hashtag that can be written, but has none"),
        ({"vocabulary": ["", " "]}, "vocabulary must have a hashtag that can be written, but has none"),
        ({"vocabulary": "web"}, "vocabulary must be a list of hashtags, but is a text"),
        ({"vocabulary": [",", " , "]}, "vocabulary must have a hashtag that can be written, but has none"),
        ({"vocabulary": ["terminal games"], "max_new_tokens": 1}, "max_new_tokens must be at least"),
        ({"banned": [set()]}, "banned must hold a collection for each of 12 notes, but holds 1"),
    ],
)
def test_refuses_hashtags(tiny, notes, options, message):
    with pytest.raises(ValueError, match=message):
        generate_hashtags(tiny, notes, 2, **options)


def test_refuses_categories(tiny, notes):
    with pytest.raises(ValueError, match="generate_category: there must be categories to choose"):
        generate_category(tiny, notes, categories=[])
    with pytest.raises(ValueError, match="categories must be given once each, but 'a' is given twice"):
        generate_category(tiny, notes, categories=["a", "b", "a"])
    with pytest.raises(ValueError, match="categories must have text, but number 2 is ''"):
        generate_category(tiny, notes, categories=["a", ""])
    with pytest.raises(
        ValueError, match=r"must differ for the tokenizer, but 'a b' and 'a\\nb' have the same"
    ):
        generate_category(tiny, notes, categories=["a b", "a\nb"])
    with pytest.raises(ValueError, match="categories must be a list of names, but are a text"):
        generate_category(tiny, notes, categories="games")
    with pytest.raises(ValueError, match="max_new_tokens must be at least"):
        generate_category(tiny, notes, categories=["mailing lists"], max_new_tokens=1)

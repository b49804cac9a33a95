"""Batches against a naive reference that joins tokenised strings."""

import dataclasses
import gc
import unicodedata
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notellm._core.prompts import NotePrompt, Task
from notellm.errors import ConfigError
from notellm.models.notellm import NoteLLM
from notellm.prompts import PromptConfig, load_prompt
from samples import make_notes

CONFIGS = ["paper", "release_zh"]


class NaivePrompt:
    """The definition of a prompt, written as strings are joined."""

    def __init__(self, config, tokenizer, emb, eos):
        self.config, self.tokenizer, self.emb, self.eos = config, tokenizer, emb, eos

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def value(self, text):
        for newline in ("\r\n", *"\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"):
            text = text.replace(newline, " ")
        return self.encode(self.config.slot_lead + text) if text.strip() else []

    def tags(self, topics):
        tags = []
        for topic in topics:
            for part in topic.split(self.config.hashtag_separator):
                words = unicodedata.normalize("NFC", part).split()
                cut = " ".join(words)[: self.config.max_hashtag_chars].strip()
                if self.value(cut) and self.value(cut) not in tags:
                    tags.append(self.value(cut))
        return tags[: self.config.max_hashtags]

    def join(self, tags):
        joined = []
        for i, tag in enumerate(tags):
            joined += (self.encode(self.config.hashtag_separator) if i else []) + tag
        return joined

    def build(self, note, task, chosen=(), count=1):
        """Tokens of each part: before <emb>, from there to the output, the output."""
        title, content, topics, category = note
        tags = self.tags(topics)
        shown = [tag for i, tag in enumerate(tags) if i not in chosen]
        slots = {
            "<title>": self.value(title)[: self.config.title_tokens],
            "<content>": self.value(content)[: self.config.content_tokens],
            "<topics>": self.join(tags if task == "category" else shown if chosen else []),
            "<category>": self.value(category),
            "<hashtags>": self.join([tags[i] for i in chosen]),
            "<emb>": [self.emb],
        }
        parts, part = [[], [], []], 0
        for piece in getattr(self.config, task):
            part = {"<emb>": 1, "<category>": 2, "<hashtags>": 2}.get(piece, part)
            parts[part] += slots[piece] if piece in slots else self.encode(piece.replace("<j>", str(count)))
        return parts


@pytest.fixture(scope="session")
def naive(tokenizer):
    emb = tokenizer.token_to_id("[EMB]")
    return {name: NaivePrompt(load_prompt(name), tokenizer, emb, 0) for name in CONFIGS}


def own_tokens(batch, i):
    """The tokens of note i, read along its path."""
    return batch.tokens[batch.path(i)].tolist()


def labels_of(batch, i):
    mine = slice(batch.label_offsets[i], batch.label_offsets[i + 1])
    return batch.label_positions[mine], batch.labels[mine]


tag = st.one_of(st.sampled_from(["games", "role-playing-and-more", "note"]), st.text(max_size=20))
words = st.one_of(
    st.text(max_size=60), st.text(alphabet="ab \"'{},:\n\r", max_size=60), st.just("the note " * 40)
)
note = st.tuples(words, words, st.lists(tag, max_size=12), st.one_of(st.just(""), st.text(max_size=10)))


# Notes, and for each whether it takes the hashtag task and with which draws.
requests = st.lists(st.tuples(note, st.booleans(), st.integers(0, 2**31)), min_size=1, max_size=5)


def plan_rows(tokenized, requests):
    """Random choices, valid for the tokenised notes."""
    rows = []
    owned = np.diff(tokenized.hashtag_offsets)
    for i, (_, wants_hashtags, seed) in enumerate(requests):
        if wants_hashtags and owned[i]:
            count = 1 + seed % owned[i]
            chosen = np.random.default_rng(seed).permutation(owned[i])[:count].tolist()
            rows.append(NotePrompt(i, Task.hashtags, count, chosen))
        else:
            rows.append(NotePrompt(i, Task.category))
    return rows


def as_notes(requests):
    notes = [request[0] for request in requests]
    titles, contents, topics, categories = map(list, zip(*notes, strict=True))
    return SimpleNamespace(titles=titles, contents=contents, topics=topics, categories=categories)


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=60, deadline=None)
@given(requests=requests)
def test_every_mode_equals_the_naive_prompt(name, naive, compile_prompt, requests):
    prompt, reference = compile_prompt(name), naive[name]
    tokenized = prompt.tokenize(as_notes(requests))
    rows = plan_rows(tokenized, requests)
    batches = {mode: prompt.pack_rows(tokenized, rows, mode=mode) for mode in ("train", "embed", "generate")}
    for i, row in enumerate(rows):
        before, guidance, output = reference.build(requests[i][0], row.task.name, row.chosen, row.count)
        has_output = bool(row.chosen) or bool(reference.value(requests[i][0][3]))
        expected = {
            "embed": before,
            "generate": before + guidance,
            "train": before + guidance + output if has_output else before,
        }
        for mode, batch in batches.items():
            path = batch.path(i)
            assert batch.tokens[path].tolist() == expected[mode], mode
            assert batch.last[i] == path[-1]
            assert batch.compression[i] == path[len(before) - 1]
        positions, labels = labels_of(batches["train"], i)
        expected_labels = [*output, 0] if has_output else []
        assert labels.tolist() == expected_labels
        path = batches["train"].path(i)
        assert positions.tolist() == path[len(path) - len(expected_labels) :].tolist()
        assert not len(batches["embed"].labels)
        assert not len(batches["generate"].labels)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_token_after_the_compressed_position_is_emb(name, compile_prompt, notes):
    prompt = compile_prompt(name)
    tokenized = prompt.tokenize(notes)
    batch = prompt.pack(tokenized, range(4), mode="generate")
    for i in range(4):
        path = batch.path(i).tolist()
        after = path[path.index(batch.compression[i]) + 1]
        assert batch.tokens[after] == prompt.emb_token_id
    assert np.count_nonzero(batch.tokens == prompt.emb_token_id) == 4


def test_each_label_is_predicted_by_the_state_one_before(paper, notes):
    batch = paper.pack(paper.tokenize(notes), range(4))
    for i in range(2):
        positions, labels = labels_of(batch, i)
        path = batch.path(i)
        assert labels.tolist() == [*batch.tokens[path[-len(labels) + 1 :]], paper.eos_token_id]
        assert positions.tolist() == path[-len(labels) :].tolist()
        assert positions[-1] == batch.last[i]  # EOS after the last token
    assert np.diff(batch.label_offsets).tolist() == [len(batch.labels) // 2] * 2 + [0, 0]


def test_all_templates_share_what_they_begin_with(paper, notes):
    tokenized = paper.tokenize(notes)
    rows = [
        *paper.rows(tokenized, [0, 1, 2, 0]),
        *paper.rows(tokenized, [0, 1, 0], task="hashtags", count=1),
        *paper.rows(tokenized, [0], task="hashtags", count=3),
    ]
    batch = paper.pack_rows(tokenized, rows)
    assert batch.segment_parents.tolist().count(-1) == 1
    common = paper.piece_tokenizer.decode(batch.tokens[: batch.segment_offsets[1]].tolist())
    assert common.endswith("for recommendation, and generate")
    three = paper.pack_rows(tokenized, rows[-1:])
    assert batch.root_tokens[-1] == three.root_tokens[0]
    first_pieces = "".join(text for _, text in paper.config.pieces("hashtags", count=3)[:2])
    assert paper.piece_tokenizer.decode(three.tokens[: three.root_tokens[0]].tolist()) == first_pieces
    assert len(batch.tokens) < sum(len(batch.path(i)) for i in range(len(batch)))


def test_equal_prompts_share_positions_and_keep_their_labels(paper, notes):
    tokenized = paper.tokenize(notes)
    batch = paper.pack(tokenized, [1, 0, 1])
    assert batch.path(0).tolist() == batch.path(2).tolist() != batch.path(1).tolist()
    assert batch.compression[0] == batch.compression[2]
    for one, other in zip(labels_of(batch, 0), labels_of(batch, 2), strict=True):
        assert one.tolist() == other.tolist()
        assert len(one) > 1


@pytest.mark.parametrize("i", [-1, 2])
def test_a_path_is_of_a_prompt_of_the_batch(paper, notes, i):
    batch = paper.pack(paper.tokenize(notes), [0, 1])
    with pytest.raises(IndexError, match=rf"path: the prompt must be in \[0, 2\), but is {i}"):
        batch.path(i)


def test_generation_asks_for_more_hashtags_than_the_note_has(release_zh, notes):
    tokenized = release_zh.tokenize(notes)
    batch = release_zh.pack(tokenized, [1, 2], task="hashtags", mode="generate", count=5)
    for i in range(2):
        text = release_zh.piece_tokenizer.decode(own_tokens(batch, i))
        assert '"话题":""' in text
        assert text.endswith("生成笔记5个话题：")


def test_release_zh_is_exactly_the_release_string(release_zh, notes):
    tokenized = release_zh.tokenize(notes)
    category = own_tokens(release_zh.pack(tokenized, [0]), 0)
    assert release_zh.piece_tokenizer.decode(category) == (
        '笔记：{"标题":"A \'quoted\' title","话题":"games，role-playing-adv，note，x11",'
        '"内容":"First line second line"}，压缩为一个词：“[EMB]”。生成笔记类目：games。'
    )
    row = NotePrompt(0, Task.hashtags, 2, [2, 0])
    hashtags = own_tokens(release_zh.pack_rows(tokenized, [row]), 0)
    assert release_zh.piece_tokenizer.decode(hashtags) == (
        '笔记：{"标题":"A \'quoted\' title","话题":"role-playing-adv，x11",'
        '"内容":"First line second line"}，压缩为一个词：“[EMB]”。生成笔记2个话题：note，games。'
    )


def test_arrays_are_views_that_outlive_the_batch(paper, notes):
    tokenized = paper.tokenize(notes)
    tokens = paper.pack(tokenized, [0]).tokens
    expected = tokens.copy()
    assert not tokens.flags.owndata
    gc.collect()
    paper.pack(tokenized, [1, 2, 3])
    np.testing.assert_array_equal(tokens, expected)


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ({"task": "topics"}, "task must be one of category, hashtags, but is 'topics'"),
        ({"mode": "test"}, "mode must be one of train, embed, generate, but is 'test'"),
        ({"task": "hashtags", "count": 0}, "must be in [1, 10], but is 0"),
        ({"task": "hashtags", "count": 0, "mode": "generate"}, "must be in [1, 10], but is 0"),
        ({"task": "hashtags", "count": 11, "mode": "generate"}, "must be in [1, 10], but is 11"),
        ({"task": "hashtags", "notes": [2]}, "note 2 asks for 1 and chooses 0"),
    ],
)
def test_bad_requests_say_what_must_hold(paper, notes, arguments, fragment):
    tokenized = paper.tokenize(notes)
    with pytest.raises(ValueError, match="must") as caught:
        paper.pack(tokenized, arguments.pop("notes", [0]), **arguments)
    assert fragment in str(caught.value)


@pytest.mark.parametrize("index", [-1, 4])
def test_a_note_that_does_not_exist_is_an_index_error(paper, notes, index):
    with pytest.raises(IndexError, match=rf"note must be in \[0, 4\), but is {index}"):
        paper.pack(paper.tokenize(notes), [index])


def test_output_is_read_as_it_was_asked_for(paper, release_zh):
    assert release_zh.parse_category("games。") == "games"
    assert paper.parse_category(" games") == "games"
    assert paper.parse_hashtags(" games, role, games,, x11") == ["games", "role", "x11"]
    assert release_zh.parse_hashtags("a，b。") == ["a", "b"]


@pytest.mark.parametrize(
    ("behind", "output"),
    [
        ([".\n"], " games.\n"),
        ([".\n"], " games."),
        (['"} '], ' games"}'),
        ([".", "<eos>"], " games."),
        ([".", "<eos>", "<eos>", "!"], " games."),
        (["\n", " end "], "games\n end"),
        (["."], "games"),
    ],
)
def test_what_follows_the_slot_is_not_read(compile_prompt, behind, output):
    pieces = {task: ["<title>", "a", "<emb>", f"<{task}>", *behind] for task in ("category", "hashtags")}
    prompt = compile_prompt(PromptConfig(name="closed", **pieces))
    assert prompt.parse_category(output) == "games"
    assert prompt.parse_hashtags(output) == ["games"]


def test_the_number_behind_hashtags_is_not_read(compile_prompt):
    pieces = ["<title>", "a", "<emb>", "<hashtags>", " (<j> topics)"]
    prompt = compile_prompt(
        PromptConfig(name="counted", category=["<title>", "a", "<emb>", "<category>"], hashtags=pieces)
    )
    assert prompt.parse_hashtags(" rock, pop (2 topics)", count=2) == ["rock", "pop"]


def test_values_are_encoded_as_in_a_slot(paper, notes):
    tokenized = paper.tokenize(notes)
    offsets = tokenized.categories.offsets
    assert paper.encode_values(["games", ""]) == [tokenized.categories.ids[: offsets[1]].tolist(), []]


def test_changing_what_follows_emb_leaves_the_embedded_prefix(compile_prompt, paper, notes):
    pieces = [*load_prompt("paper").category[:-2], " Another guidance:", "<category>", " and more"]
    other = compile_prompt(dataclasses.replace(paper.config, category=tuple(pieces)))
    tokenized = paper.tokenize(notes)
    np.testing.assert_array_equal(
        other.pack(tokenized, [0, 1], mode="embed").tokens, paper.pack(tokenized, [0, 1], mode="embed").tokens
    )


def test_the_end_mark_is_the_model_s_end_token(tiny_folder):
    notes = make_notes(6)
    model = NoteLLM.from_pretrained(tiny_folder, dim=6, prompt="repllama")
    tokenized = model.prompt.tokenize(notes)
    for i in range(len(notes)):
        batch = model.prompt.pack(tokenized, [i], mode="embed")
        tokens = batch.tokens[batch.path(0)].tolist()
        assert tokens[-1] == model.eos_token_id
        assert model.eos_token_id not in tokens[:-1]
    with pytest.raises(ConfigError, match="<eos> must be a piece of its own, but is inside 'the <eos>'"):
        dataclasses.replace(
            load_prompt("repllama"), category=("the <eos>", "<title>", "<emb>", "x", "<category>")
        )


def test_the_state_can_be_that_of_emb_itself(compile_prompt, paper, notes):
    """Embedding prompts then go on through [EMB]; what is written is asked for as ever."""
    at = compile_prompt(dataclasses.replace(load_prompt("paper"), state="at"))
    nothing = dataclasses.replace(
        notes, categories=[""] * len(notes.titles), topics=[[] for _ in notes.titles]
    )
    for own in (notes, nothing):
        tokenized = paper.tokenize(own)
        for mode in ("train", "embed", "generate"):
            before, found = (prompt.pack(tokenized, range(4), mode=mode) for prompt in (paper, at))
            for i in range(4):
                ours, theirs = found.path(i), before.path(i)
                expected = before.tokens[theirs].tolist()
                if mode == "embed" or (mode == "train" and not own.categories[i]):
                    expected.append(paper.emb_token_id)
                assert found.tokens[ours].tolist() == expected
                assert found.tokens[found.compression[i]] == paper.emb_token_id
                place = theirs.tolist().index(before.compression[i])
                assert ours.tolist().index(found.compression[i]) == place + 1
            assert found.labels.tolist() == before.labels.tolist()

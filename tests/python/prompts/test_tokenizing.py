import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from notellm.data.notes import Notes
from notellm.errors import ConfigError, DataError
from notellm.prompts import Prompt, load_prompt
from notellm.prompts.tokenizing import (
    CHARS_PER_TOKEN,
    LEAST_CHARS,
    MOST_CHARS,
    NOTES_PER_CHUNK,
    PieceTokenizer,
)


def lists(tokens):
    return [tokens.ids[a:b].tolist() for a, b in zip(tokens.offsets, tokens.offsets[1:], strict=False)]


def encode(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False).ids


def test_fields_are_led_by_a_space_and_truncated(paper, tokenizer, notes):
    tokenized = paper.tokenize(notes)
    assert len(tokenized) == 4
    assert lists(tokenized.titles) == [encode(tokenizer, " " + t)[:20] if t else [] for t in notes.titles]
    assert len(lists(tokenized.contents)[2]) == 80
    assert lists(tokenized.categories)[0] == encode(tokenizer, " games")
    assert lists(tokenized.categories)[2] == []
    assert tokenized.hashtag_offsets.tolist() == [0, 4, 5, 5, 5]


def test_what_was_checked_cannot_be_changed(paper, notes):
    tokenized = paper.tokenize(notes)
    for array in (tokenized.titles.ids, tokenized.titles.offsets, tokenized.hashtag_offsets):
        before = array.tolist()
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 10**6
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
        assert array.tolist() == before


def test_newlines_become_spaces(paper, tokenizer, notes):
    assert lists(paper.tokenize(notes).contents)[0] == encode(tokenizer, " First line second line")


def test_hashtags_are_cut_limited_and_not_repeated(paper, tokenizer, notes):
    many = [f"t{i}" for i in range(20)]
    notes.topics = [["long-hashtag-name-1", "long-hashtag-name-2", "", " ", *many], [], [], []]
    tokenized = paper.tokenize(notes)
    expected = ["long-hashtag-nam", *many[:9]]
    assert lists(tokenized.hashtags) == [encode(tokenizer, " " + tag) for tag in expected]
    assert tokenized.hashtag_offsets.tolist() == [0, 10, 10, 10, 10]


def test_a_note_cannot_write_special_tokens(paper, tokenizer, notes):
    emb, eos = tokenizer.token_to_id("[EMB]"), tokenizer.token_to_id("</s>")
    notes.titles[0] = "x [EMB] y </s>"
    title = lists(paper.tokenize(notes).titles)[0]
    assert emb not in title
    assert eos not in title
    assert tokenizer.decode(title) == " x [EMB] y </s>"


def test_progress_ends_at_the_number_of_notes(paper, notes):
    copies = NOTES_PER_CHUNK
    for field in ("titles", "contents", "topics", "categories"):
        setattr(notes, field, getattr(notes, field) * copies)
    reports = []
    paper.tokenize(notes, progress=lambda done, total: reports.append((done, total)))
    assert reports == [(NOTES_PER_CHUNK * (i + 1), 4 * copies) for i in range(4)]


def test_the_callers_padding_and_truncation_are_ignored_and_kept(paper, tokenizer, notes):
    padded = Tokenizer.from_str(tokenizer.to_str())
    padded.enable_padding(length=50)
    padded.enable_truncation(3)
    prompt = Prompt(paper.config, padded, paper.emb_token_id, paper.eos_token_id)
    assert lists(prompt.tokenize(notes).titles) == lists(paper.tokenize(notes).titles)
    assert padded.padding["length"] == 50
    assert padded.truncation["max_length"] == 3


def word_tokenizer():
    """Knows single letters and the space mark of SentencePiece."""
    vocabulary = {token: i for i, token in enumerate(["<unk>", "<s>", "</s>", "\u2581", "a", "b"])}
    return Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))


@pytest.mark.parametrize("form", ["metaspace", "prepend", "sequence"])
def test_no_dummy_space_is_added(form):
    tokenizer = word_tokenizer()
    prepend = [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    if form == "metaspace":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    elif form == "prepend":
        tokenizer.normalizer = prepend[0]
    else:
        tokenizer.normalizer = normalizers.Sequence(prepend)
    assert encode(tokenizer, "ab") == [3, 4, 5]
    pieces = PieceTokenizer(tokenizer)
    assert pieces.encode_text("ab") == [4, 5]
    assert pieces.encode_values(["b"], "") == [[5]]
    if form != "prepend":
        assert pieces.encode_text(" ab") == [3, 4, 5]


def test_no_dummy_space_from_byte_level_bpe(tokenizer):
    spaced = Tokenizer.from_str(tokenizer.to_str())
    spaced.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.ByteLevel(add_prefix_space=True)])
    assert encode(spaced, "note") == encode(tokenizer, " note")
    assert PieceTokenizer(spaced).encode_text("note") == encode(tokenizer, "note")


@pytest.mark.parametrize(
    ("form", "expected"),
    [(None, []), ("$A </s>", []), ("<s> $A", [1]), ("<s> $A </s>", [1]), ("<s> </s> $A", [1, 2])],
)
def test_bos_is_what_the_tokenizers_configuration_puts_first(form, expected):
    tokenizer = word_tokenizer()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    if form:
        special = [("<s>", 1), ("</s>", 2)]
        tokenizer.post_processor = processors.TemplateProcessing(single=form, special_tokens=special)
    assert PieceTokenizer(tokenizer).bos() == expected


def test_bos_comes_first_in_every_root(tokenizer, paper, notes):
    led = Tokenizer.from_str(tokenizer.to_str())
    led.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 0)])
    prompt = Prompt(paper.config, led, paper.emb_token_id, paper.eos_token_id)
    tokenized = prompt.tokenize(notes)
    batch = prompt.pack(tokenized, [0, 1])
    plain = paper.pack(tokenized, [0, 1])
    assert batch.tokens.tolist() == [0, *plain.tokens.tolist()]
    override = Prompt(paper.config, led, paper.emb_token_id, paper.eos_token_id, bos_token_ids=[])
    assert override.pack(tokenized, [0, 1]).tokens.tolist() == plain.tokens.tolist()


def test_a_tokenizer_without_the_compression_token_is_refused(tokenizer):
    with pytest.raises(ValueError, match=r"must have the compression token 100000.*add_special_tokens"):
        Prompt(load_prompt("paper"), tokenizer, 100000, 0)


def whole(pieces, text, limit):
    """What tokenising all of a text keeps."""
    return pieces.encode_values([text], " ")[0][:limit]


LONG = {
    "words": "Notes of tea, 2024-01-02: green & black.\n" * 3000,
    "spaces before words": " " * 70_000 + "tea and mud " * 2000,
    "one word": "abcab" * 20_000,
    "no spaces": "\u7b14\u8bb0\u7684\u5185\u5bb9\uff0c" * 8000,
    "a letter": "a" * 50_000,
    "line breaks": "\r\n" * 30_000 + "tea",
    "combining": "e\u0301" * 20_000,
    "white space alone": " \n" * 20_000,
    "tokens of many letters": "\u7b14" * 30_000 + "ab\u7b14" * 200,
}


def fusing_tokenizer():
    """Makes one token of any run of letters that it does not know."""
    vocabulary = {token: i for i, token in enumerate(["<unk>", "\u2581", "a", "b", "ab"])}
    return Tokenizer(models.BPE(vocabulary, [("a", "b")], unk_token="<unk>", fuse_unk=True))


def long_tokenizer(form, byte_level):
    if form == "byte level":
        return byte_level
    tokenizer = fusing_tokenizer() if form == "fusing" else word_tokenizer()
    if form == "sentencepiece":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    return tokenizer


@pytest.mark.parametrize("form", ["byte level", "sentencepiece", "no words", "fusing"])
@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("limit", [1, 80, 400])
def test_what_is_kept_of_a_long_text_is_as_if_all_were_read(tokenizer, form, name, limit):
    pieces = PieceTokenizer(long_tokenizer(form, tokenizer))
    assert pieces.encode_values([LONG[name]], " ", limit)[0] == whole(pieces, LONG[name], limit)


def test_texts_within_the_bound_are_read_whole(paper, notes, monkeypatch):
    seen = []
    monkeypatch.setattr(PieceTokenizer, "_first_ids", lambda *arguments: seen.append(arguments))
    notes.contents[0] = "tea " * (CHARS_PER_TOKEN * paper.config.content_tokens // 4)
    notes.titles[0] = "tea " * (LEAST_CHARS // 4)
    paper.tokenize(notes)
    assert seen == []


def test_a_note_of_twenty_megabytes_is_read_in_part(paper, notes, monkeypatch):
    read = []
    monkeypatch.setattr("notellm.prompts.tokenizing.one_line", lambda text: read.append(len(text)) or text)
    expected = whole(paper.piece_tokenizer, "tea and mud " * 1000, paper.config.content_tokens)
    notes.contents = ["tea and mud " * (20_000_000 // 12)] * 4
    read.clear()
    assert lists(paper.tokenize(notes).contents)[0] == expected
    assert max(read) == CHARS_PER_TOKEN * paper.config.content_tokens
    notes.contents = ["tea" + " " * 20_000_000] * 4  # its tokens may not end before the text does
    read.clear()
    paper.tokenize(notes)
    assert max(read) <= MOST_CHARS


@pytest.mark.parametrize(
    "model", [models.WordLevel({"tea": 0}), models.Unigram([("tea", -1.0), ("\u2581", -2.0)], unk_id=None)]
)
def test_a_text_without_a_token_is_one_error(model):
    with pytest.raises(DataError, match=r"tokenizer\.json: must have tokens for any text, but: "):
        PieceTokenizer(Tokenizer(model)).encode_values(["mud"], " ")


def test_the_same_text_has_the_same_tokens_each_time():
    """Dropout of BPE draws other tokens at every call; it is for training."""
    letters = {letter: i for i, letter in enumerate("abcd")}
    merged = {"ab": 4, "cd": 5, "abcd": 6}
    merges = [("a", "b"), ("c", "d"), ("ab", "cd")]
    pieces = PieceTokenizer(Tokenizer(models.BPE(letters | merged, merges, dropout=0.5)))
    assert pieces.encode_values(["abcd"] * 100, "") == [[6]] * 100


def test_a_separator_without_tokens_is_refused(tokenizer):
    """Hashtags would be written without anything between them, and read back as one."""
    tokenizer = Tokenizer.from_str(tokenizer.to_str())  # others go on with it as it was
    tokenizer.normalizer = normalizers.Replace(",", "")
    emb, eos = tokenizer.token_to_id("[EMB]"), tokenizer.token_to_id("</s>")
    with pytest.raises(ConfigError, match="the tokenizer must have tokens for ','"):
        Prompt(load_prompt("paper"), tokenizer, emb_token_id=emb, eos_token_id=eos)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("titles", "a\ud800", r"title of note 1 must be Unicode text, but is 'a\\ud800'"),
        ("contents", "\udfff" + "b" * 5000, r"content of note 1 must be Unicode text, but is '\\udfffbbb"),
        ("categories", "\udc80", r"category of note 1 must be Unicode text, but is '\\udc80'"),
        ("topics", ["a", "\udc80"], r"hashtag of note 1 must be Unicode text, but is '\\udc80'"),
        ("topics", ["a", 2024], r"hashtag of note 1 must be text, but is 2024"),
        ("titles", None, r"title of note 1 must be text, but is None"),
    ],
)
def test_what_is_no_text_is_refused_by_its_note(field, value, problem, paper):
    columns = {"titles": ["", "b"], "contents": ["", "c"], "topics": [[], ["d"]], "categories": ["", "e"]}
    columns[field] = [columns[field][0], value]
    with pytest.raises(DataError, match=f"tokenize: {problem}"):
        paper.tokenize(Notes(["x", "y"], **columns))

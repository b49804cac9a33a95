import dataclasses
import re

import pytest

from notellm.errors import ConfigError
from notellm.prompts import PromptConfig, load_prompt, prompt_names


@pytest.fixture
def values():
    return load_prompt("paper").to_dict()


def error_of(values):
    with pytest.raises(ConfigError) as caught:
        PromptConfig.from_dict(values, where="mine.yaml")
    return str(caught.value)


@pytest.mark.parametrize("name", prompt_names())
def test_packaged_prompts_survive_a_round_trip(name):
    config = load_prompt(name)
    assert config.name == name
    assert PromptConfig.from_dict(config.to_dict()) == config


def test_paper_prompt_is_the_papers_string():
    config = load_prompt("paper")
    assert "".join(text for _, text in config.pieces("category")) == (
        "Extract the note information in json format, compress it into one word for recommendation, "
        "and generate the category of the note. {'title':<title>, 'topic':<topics>, 'content':<content>}. "
        'The compression word is:"<emb>". The category is:<category>'
    )
    assert "".join(text for _, text in config.pieces("hashtags", count=3)) == (
        "Extract the note information in json format, compress it into one word for recommendation, "
        "and generate 3 topics of the note. {'title':<title>, 'content':<content>}. "
        'The compression word is:"<emb>". The 3 topics are:<hashtags>'
    )


def test_reads_a_file_of_ones_own(tmp_path, values):
    text = "\n".join(f"{key}: {value!r}" for key, value in {**values, "name": "mine"}.items())
    (tmp_path / "mine.yaml").write_text(text)
    assert load_prompt(tmp_path / "mine.yaml") == dataclasses.replace(load_prompt("paper"), name="mine")


def test_unknown_prompt_names_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"'papr'.*did you mean 'paper'\?.*paper, release_zh"):
        load_prompt("papr")
    with pytest.raises(ConfigError, match="none.yaml"):
        load_prompt(tmp_path / "none.yaml")


@pytest.mark.parametrize("text", ["a: [1\n", "name: a\nname: b\n", "- a\n", ""])
def test_a_file_that_is_no_mapping_is_named(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path / "bad.yaml"))):
        load_prompt(tmp_path / "bad.yaml")


def test_what_has_no_default_must_be_given(values):
    del values["title_tokens"], values["state"]
    assert PromptConfig.from_dict(values).title_tokens == PromptConfig(**values).title_tokens == 20
    del values["name"]
    assert error_of(values) == "mine.yaml: name must not be empty"
    values["name"] = "mine"
    del values["category"]
    assert error_of(values).startswith("mine.yaml: prompt 'mine': category: ")


def test_misspelt_key_names_the_nearest(values):
    values["titel_tokens"] = values.pop("title_tokens")
    assert error_of(values) == "mine.yaml: unknown key titel_tokens; did you mean title_tokens?"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", 3),
        ("title_tokens", 0),
        ("content_tokens", "80"),
        ("max_hashtags", True),
        ("max_hashtag_chars", 1.5),
        ("hashtag_separator", ""),
        ("hashtag_count", "two"),
        ("topics_in_hashtag_prompt", "all"),
        ("category", "The category is:"),
        ("hashtags", [1, 2]),
    ],
)
def test_bad_value_names_file_key_and_value(values, key, value):
    values[key] = value
    message = error_of(values)
    assert message.startswith("mine.yaml: ")
    assert key in message


@pytest.mark.parametrize(
    ("pieces", "fragment"),
    [
        (["a", "<title>", "b", "<category>"], "exactly one <emb>, but there are 0"),
        (["a", "<title>", "b", "<emb>", "<emb>", "<category>"], "exactly one <emb>, but there are 2"),
        (["a", "<title>", "<category>", "b", "<emb>"], "<category> must come after <emb>"),
        (["a", "<title>", "b", "<emb>"], "exactly one <category>, but there are 0"),
        (["a", "<title>", "b", "<emb>", "<hashtags>"], "<hashtags> must not be in a prompt"),
        (["a", "b", "<emb>", "<category>"], "at least one of <title>"),
        (["a", "<title>", "<emb>", "<category>"], "just before <emb>"),
        (["a", "<titel>", "b", "<emb>", "<category>"], "no slot <titel>; did you mean '<title>'?"),
        (["a <title>", "<title>", "b", "<emb>", "<category>"], "<title> must be a piece of its own"),
        (["<j> a", "<title>", "b", "<emb>", "<category>"], "<j> belongs to the hashtag prompt"),
        (["", "<title>", "b", "<emb>", "<category>"], "at least one character"),
    ],
)
def test_pieces_that_are_no_prompt_are_explained(values, pieces, fragment):
    values["category"] = pieces
    message = error_of(values)
    assert message.startswith("mine.yaml: prompt 'paper': category: ")
    assert fragment in message


def test_the_topics_slot_must_agree_with_its_policy(values):
    values["topics_in_hashtag_prompt"] = "unsampled"
    assert "<topics> must be there" in error_of(values)
    release = {**load_prompt("release_zh").to_dict(), "topics_in_hashtag_prompt": "none"}
    assert "<topics> must not be there" in error_of(release)


def test_unknown_task_is_named():
    with pytest.raises(ValueError, match="one of category, hashtags, but is 'topics'"):
        load_prompt("paper").pieces("topics")

"""What is a hashtag: truth, prompts, vocabularies and outputs pass one function."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notellm.hashtags import HashtagRule, clean_hashtags
from notellm.metrics import hashtag_overlap
from notellm.prompts import load_prompt
from notellm.prompts.tokenizing import clean_hashtags as shown_hashtags

letters = st.sampled_from("abe\u0301 ,，;\u037e|\n\r\t\u2028#文é-")
tags = st.lists(st.one_of(st.text(letters, max_size=24), st.none()), max_size=6)


@settings(deadline=None)
@given(tags, st.sampled_from([",", "，", "; ", ", ", "\n", "|"]), st.integers(0, 18))
def test_what_is_written_perfectly_is_read_as_the_truth(topics, separator, max_chars):
    rule = HashtagRule((separator,), max_chars)
    truth = clean_hashtags(topics, rule)
    assert clean_hashtags(truth, rule) == truth
    assert clean_hashtags([separator.join(truth)], rule) == truth
    for tag in truth:
        assert tag == tag.strip() != ""
        assert separator not in tag
        assert not max_chars or len(tag) <= max_chars


@pytest.mark.parametrize(
    "topics",
    [
        ["science fiction and fantasy", "role-playing-and-adventure", "role-playing-and-action"],
        [" games ", "games", "", "  "],
        ["rock,pop", "jazz"],
        ["Salt Lake City, Utah", "#tea", "a|b", "two\nlines"],
    ],
)
def test_a_perfect_output_of_a_prompt_scores_one(paper, topics):
    truth = shown_hashtags(topics, paper.config)
    found = paper.parse_hashtags(paper.config.hashtag_separator.join(truth))
    assert found == truth != []
    scores = hashtag_overlap(found, truth)
    assert (scores.precision, scores.recall, scores.f1) == (1, 1, 1)


def test_an_output_is_cut_as_the_truth_is(paper):
    long = "role-playing-and-adventure"
    assert paper.parse_hashtags(f"{long}, tea") == shown_hashtags([long, "tea"], paper.config)


def test_changes_are_counted_once_each():
    changes = Counter()
    topics = ["a b", " a b", "x,y", "long one here", "", None, "x"]
    assert clean_hashtags(topics, HashtagRule(max_chars=5), changes) == ["a b", "x", "y", "long"]
    assert {what: count for what, count in changes.items() if count} == {
        "hashtags rid of needless white space, or put in normal form C": 1,
        "hashtags split at a separator": 1,
        "hashtags cut to the largest number of characters": 1,
        "hashtags left out as empty": 2,
        "hashtags left out as repeated": 2,
    }


def test_a_rule_that_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="separators must have a character each"):
        HashtagRule(("",))
    with pytest.raises(ValueError, match="max_chars must be at least 0, but is -1"):
        replace(HashtagRule(), max_chars=-1)


def test_a_note_keeps_the_first_ones_of_the_prompt():
    config = load_prompt("paper")
    assert len(shown_hashtags([",".join(f"t{i}" for i in range(30))], config)) == config.max_hashtags

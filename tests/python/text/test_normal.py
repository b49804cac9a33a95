"""Normal form and case: what reads the same is the same, what reads otherwise is not."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notellm.text import all_normalized, folded, hashtag_key, normalized


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Stra\u00dfe", "STRASSE"),
        ("\u039f\u0394\u039f\u03a3", "\u03bf\u03b4\u03bf\u03c2"),  # Greek, with the final sigma
        ("\u041f\u0420\u0418\u0412\u0415\u0422", "\u043f\u0440\u0438\u0432\u0435\u0442"),
        ("mu\u0308ll", "M\u00dcLL"),
        ("\ufb01ne", "FINE"),
        ("co\u00adoperate", "cooperate"),  # a soft hyphen
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u062e"),  # Persian, with a non-joiner
        ("\u2764\ufe0f", "\u2764"),  # a variation selector
    ],
)
def test_folds_to_the_same(one, other):
    assert folded(one) == folded(other)


@pytest.mark.parametrize(
    ("one", "other"), [("m\u00fcll", "mull"), ("\u0435\u043b", "\u0451\u043b"), ("\u304b", "\u304c")]
)
def test_accents_stay(one, other):
    assert folded(one) != folded(other)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=20))
def test_canonically_equal_texts_fold_and_normalise_alike(text):
    apart = unicodedata.normalize("NFD", text)
    assert normalized(apart) == normalized(text)
    assert folded(apart) == folded(text) == folded(folded(text))
    assert hashtag_key(apart) == hashtag_key(f" {text}\n")
    assert all_normalized([apart, text]) == [normalized(text)] * 2

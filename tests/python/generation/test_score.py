import pytest
import torch

from model_folders import changed
from notellm import NoteLLM, _core
from notellm.generation import score_categories
from samples import CATEGORIES, closing_tokens

pytestmark = pytest.mark.instruction_set


def separate_log_prob(model, notes, row, category):
    """One forward pass over note and category: log p of its tokens and of the end."""
    batch = model.prompt.pack_rows(model.prompt.tokenize(notes), [row], mode="generate")
    prompt = batch.tokens.tolist()
    labels = [*model.prompt.encode_values([category])[0], *closing_tokens(model), model.eos_token_id]
    tokens = torch.tensor(prompt + labels[:-1])
    plan = model.model.plan(_core.models.Segments([0, len(tokens)], [-1]), torch.float32)
    with torch.no_grad():
        states = model.model(tokens, plan)[len(prompt) - 1 :]
        log_probs = (states @ model.head_weight.T).double().log_softmax(1)
    return float(log_probs[torch.arange(len(labels)), labels].sum())


@pytest.mark.parametrize("limits", [(8192, 1 << 24), (1, 1), (600, 5000)])
@pytest.mark.parametrize("instruction_set", ["", "none"])
def test_one_pass_equals_separate_passes(tiny, notes, limits, instruction_set, use):
    some = notes.take([0, 3, 5, 3, 7])  # one twice
    use(instruction_set)
    actual = score_categories(
        tiny, some, CATEGORIES, dtype="fp32", batch_tokens=limits[0], max_logits=limits[1]
    )
    rows = tiny.prompt.rows(tiny.prompt.tokenize(some), range(5), mode="generate")
    expected = [[separate_log_prob(tiny, some, row, name) for name in CATEGORIES] for row in rows]
    torch.testing.assert_close(
        actual.log_probs, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-4
    )
    assert actual.best == [CATEGORIES[row.argmax()] for row in torch.tensor(expected)]


def test_two_thousand_categories(tiny, notes):
    names = [
        f"{first} {second} {third}"
        for first in "abcdefghij"
        for second in "klmnopqrst"
        for third in range(20)
    ]
    some = notes.take([1, 4])
    actual = score_categories(tiny, some, names, dtype="fp32").log_probs
    rows = tiny.prompt.rows(tiny.prompt.tokenize(some), range(2), mode="generate")
    for i in range(0, 2000, 137):
        for note, row in enumerate(rows):
            assert actual[note, i] == pytest.approx(separate_log_prob(tiny, some, row, names[i]), abs=1e-4)


def test_probabilities_are_over_the_closed_set(tiny, notes):
    scored = score_categories(tiny, notes, CATEGORIES)
    torch.testing.assert_close(scored.probabilities.sum(1), torch.ones(len(notes), dtype=torch.float64))
    assert scored.confidence.tolist() == scored.probabilities.max(1).values.tolist()
    by_length = score_categories(tiny, notes, CATEGORIES, normalise_length=True)
    counts = (scored.log_probs / by_length.log_probs).round()
    torch.testing.assert_close(scored.log_probs / by_length.log_probs, counts)
    assert counts[0].min() >= 2
    assert len(set(counts[0].tolist())) > 2


def test_no_note_and_one_category(tiny, notes):
    assert score_categories(tiny, notes.take([]), CATEGORIES).log_probs.shape == (0, len(CATEGORIES))
    only = score_categories(tiny, notes.take([2]), ["mail"])
    assert only.best == ["mail"]
    assert only.confidence.tolist() == [1]


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ([], "score_categories: there must be categories to choose from"),
        (["a", ""], "categories must have text, but number 2 is ''"),
        (["a", "b", "a"], "categories must be given once each, but 'a' is given twice"),
    ],
)
def test_refuses(tiny, notes, categories, message):
    with pytest.raises(ValueError, match=message):
        score_categories(tiny, notes, categories)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_sixty_categories_by_a_real_model(smollm2_folder, notes):
    model = NoteLLM.from_pretrained(smollm2_folder)
    subjects = [
        "sound",
        "sound and music",
        "web",
        "web servers",
        "games",
        "x11",
        "x11 fonts",
        "science",
        "mail",
        "c",
    ]
    names = [
        f"{subject}{kind}"
        for subject in subjects
        for kind in ("", " tools", " libraries", " data", "s", "/old")
    ]
    some = notes.take([0, 4, 11])  # one without content, one with all fields long
    actual = score_categories(model, some, names, dtype="fp32").log_probs
    rows = model.prompt.rows(model.prompt.tokenize(some), range(3), mode="generate")
    expected = [[separate_log_prob(model, some, row, name) for name in names] for row in rows]
    assert len(names) == 60
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-4)


def test_a_prompt_with_a_category_longer_than_the_models_context_is_refused(
    tiny, tiny_folder, tmp_path, notes
):
    some = notes.take([0])
    (row,) = tiny.prompt.rows(tiny.prompt.tokenize(some), [0], mode="generate")
    prompt = len(tiny.prompt.pack_rows(tiny.prompt.tokenize(some), [row], mode="generate").tokens)
    longest = max(map(len, tiny.prompt.encode_values(CATEGORIES))) + len(closing_tokens(tiny))
    fitting, shorter = (
        NoteLLM.from_pretrained(
            changed(tiny_folder, tmp_path / f"{context}", config={"max_position_embeddings": context}), dim=6
        )
        for context in (prompt + longest, prompt + longest - 1)
    )
    assert score_categories(fitting, some, CATEGORIES).log_probs.shape == (1, len(CATEGORIES))
    message = (
        f"score_categories: a prompt with the longest category must fit .* takes {prompt + longest}; try"
    )
    with pytest.raises(ValueError, match=message):
        score_categories(shorter, some, CATEGORIES)

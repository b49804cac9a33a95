"""Draws, beams, penalties and stop tokens."""

import pytest
import torch

from notellm import DecodingOptions, _core
from notellm.generation import generate_category, generate_hashtags

pytestmark = pytest.mark.instruction_set

DRAWN = {"decoding": DecodingOptions(temperature=1.5), "seed": 3}


def next_log_probs(model, notes, output=()):
    """(N, V) log-probabilities of the token after the category prompt and some output."""
    rows = model.prompt.rows(model.prompt.tokenize(notes), range(len(notes)), mode="generate")
    found = []
    for row in rows:
        batch = model.prompt.pack_rows(model.prompt.tokenize(notes), [row], mode="generate")
        tokens = torch.tensor([*batch.tokens.tolist(), *output])
        plan = model.model.plan(_core.models.Segments([0, len(tokens)], [-1]), torch.float32)
        with torch.no_grad():
            found.append(model.model(tokens, plan)[-1] @ model.head_weight.T)
    return torch.stack(found).double().log_softmax(1)


def decode(model, notes, limit, **options):
    """Token ids of outputs of the category prompt."""
    tokenized = model.prompt.tokenize(notes)
    of_the_call = {name: options.pop(name) for name in ("seed", "stop_tokens") if name in options}
    return _core.generation.generate(
        model.core_weights(),
        model.prompt.core,
        tokenized,
        model.prompt.rows(tokenized, range(len(notes)), mode="generate"),
        DecodingOptions(max_new_tokens=limit, **options),
        compute=torch.float32,
        **of_the_call,
    )


def test_draws_follow_the_probabilities(tiny, notes):
    some = notes.take([1, 2])
    draws, expected = 1500, next_log_probs(tiny, some).exp()
    counts = torch.zeros_like(expected)
    for seed in range(draws):
        for i, output in enumerate(decode(tiny, some, 1, temperature=1.0, seed=seed)):
            counts[i, output[0] if output else tiny.eos_token_id] += 1
    likely = expected * draws >= 5
    assert likely.sum() > 20
    rest = draws - (counts * likely).sum(1), draws * (1 - (expected * likely).sum(1))
    chi2 = ((counts - expected * draws) ** 2 / (expected * draws))[likely].sum()
    chi2 += ((rest[0] - rest[1]) ** 2 / rest[1]).sum()
    freedom = float(likely.sum())
    assert abs(chi2 - freedom) < 4 * (2 * freedom) ** 0.5


def test_draws_depend_on_seed_and_prompt_alone(tiny, notes):
    together = generate_category(tiny, notes, **DRAWN, dtype="fp32")
    assert generate_category(tiny, notes, **DRAWN, dtype="fp32", batch_tokens=300) == together
    alone = [generate_category(tiny, notes.take([i]), **DRAWN, dtype="fp32")[0] for i in range(len(notes))]
    assert alone == together
    twice = generate_category(tiny, notes.take([4, 2, 4]), **DRAWN, dtype="fp32")
    assert twice == [together[4], together[2], together[4]]
    other = generate_category(tiny, notes, decoding=DecodingOptions(temperature=1.5), seed=4)
    assert sum(a != b for a, b in zip(together, other, strict=True)) > len(notes) / 2


def test_a_narrow_draw_is_greedy(tiny, notes):
    greedy = generate_category(tiny, notes, dtype="fp32")
    for narrow in ({"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}, {"temperature": 1e-6}):
        decoding = DecodingOptions(**{"temperature": 1.0} | narrow)
        assert generate_category(tiny, notes, decoding=decoding, dtype="fp32") == greedy


def log_prob(model, notes, output, limit):
    """log p of one note's output, with its end if it was not cut."""
    wanted = output if len(output) == limit else [*output, model.eos_token_id]
    return sum(float(next_log_probs(model, notes, output[:i])[0, token]) for i, token in enumerate(wanted))


@pytest.mark.parametrize("instruction_set", ["", "none"])
def test_beams_find_what_a_naive_beam_search_finds(tiny, notes, use, instruction_set):
    use(instruction_set)
    limit, width = 4, 3
    for i in range(4):
        note = notes.take([i])
        running, finished = [([], 0.0)], []
        for _ in range(limit):
            grown = sorted(
                (
                    ([*output, token], score + log_p)
                    for output, score in running
                    for token, log_p in enumerate(next_log_probs(tiny, note, output)[0].tolist())
                ),
                key=lambda pair: -pair[1],
            )[: 2 * width]
            ends = [len(output) == limit or output[-1] == tiny.eos_token_id for output, _ in grown]
            finished += [pair for pair, end in zip(grown[:width], ends, strict=False) if end]
            running = [pair for pair, end in zip(grown, ends, strict=True) if not end][:width]
        best = max(finished, key=lambda pair: pair[1] / len(pair[0]))[0]
        best = [token for token in best if token != tiny.eos_token_id]
        assert decode(tiny, note, limit, beams=width) == [best]


def test_beams_do_not_depend_on_the_batch(tiny, notes):
    options = {"decoding": DecodingOptions(beams=3), "max_new_tokens": 6, "dtype": "fp32"}
    together = generate_hashtags(tiny, notes, 2, **options)
    small = generate_hashtags(tiny, notes, 2, batch_tokens=1, **options)
    assert small == together
    greedy = decode(tiny, notes, 5)
    beams = decode(tiny, notes, 5, beams=6, length_penalty=0)
    gains = [
        log_prob(tiny, notes.take([i]), beams[i], 5) - log_prob(tiny, notes.take([i]), greedy[i], 5)
        for i in range(len(notes))
    ]
    assert sum(gains) > 0
    assert sum(gain >= -1e-4 for gain in gains) > len(notes) / 2  # a greedy output can fall off the beams


def test_penalty_keeps_tokens_from_coming_again(tiny, notes):
    free, penalised = decode(tiny, notes, 8), decode(tiny, notes, 8, repetition_penalty=50.0)
    assert any(len(set(output)) < len(output) for output in free)
    assert all(len(set(output)) == len(output) for output in penalised)


def test_stop_tokens_end_an_output(tiny, notes):
    free = decode(tiny, notes, 8)
    stop = free[3][2]
    for beams in (1, 3):
        outputs = decode(tiny, notes, 8, beams=beams, stop_tokens=[stop])
        assert all(stop not in output for output in outputs)
        if beams == 1:
            assert outputs == [o[: o.index(stop)] if stop in o else o for o in free]
    name = tiny.tokenizer.id_to_token(stop)
    options = {"max_new_tokens": 8, "dtype": "fp32"}
    by_name = generate_category(tiny, notes, stop=(name,), **options)
    assert by_name == generate_category(tiny, notes, stop=(stop,), **options)
    assert by_name != generate_category(tiny, notes, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beams": 0}, "beams must be at least 1, but is 0"),
        ({"beams": 2, "temperature": 1.0}, "beams must be 1 where temperature is above 0"),
        ({"temperature": -1.0}, "temperature must be at least 0, but is -1"),
        ({"temperature": 1e-38}, "temperature must be 0 or at least 1e-6"),
        ({"top_k": -1}, "top_k must be at least 0, but is -1"),
        ({"top_p": 0.0}, "top_p must be above 0, but is 0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be above 0, but is 0"),
        ({"stop": ("no such token",)}, "stop tokens must be known .* 'no such token' is not; try"),
        ({"stop": (1 << 20,)}, "stop tokens must be known .* 1048576 is not"),
        ({"stop": "end"}, "stop must be a list of tokens, but is a text"),
    ],
)
def test_refuses(tiny, notes, options, message):
    with pytest.raises(ValueError, match=message):
        generate_category(tiny, notes, **options)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_has_64_bits(tiny, notes, seed):
    with pytest.raises(ValueError, match=rf"^generate: seed must be in \[0, 2\^64\), but is {seed}$"):
        decode(tiny, notes, 1, seed=seed)
    decode(tiny, notes, 1, seed=2**64 - 1)

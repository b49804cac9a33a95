import pytest

from notellm.data.notes import Notes
from notellm.export import note_texts, text_form
from notellm.models.notellm import NoteLLM
from notellm.prompts import prompt_names

NOTES = Notes(
    ["a", "b", "c"],
    ["Green {tea}", "", "it's"],
    ["How long\nto steep it.", "Mud", ""],
    [["drink", "hot drink"], [], ["x"]],
    [""] * 3,
)


@pytest.fixture(params=prompt_names())
def model(request, tiny_folder):
    return NoteLLM.from_pretrained(tiny_folder, dim=4, prompt=request.param)


def test_beginning_text_and_end_are_the_prompt(model):
    form, prompt = text_form(model.prompt), model.prompt
    packed = prompt.pack(prompt.tokenize(NOTES), range(3), mode="embed")
    for row, text in enumerate(note_texts(model, NOTES)):
        ids = packed.tokens[packed.path(row)].tolist()
        assert prompt.piece_tokenizer.decode(ids) == form.beginning + text + form.end_text
        assert ids[len(ids) - len(form.end) :] == list(form.end)
        assert len(ids) <= form.most_tokens


def test_the_function_in_model_cards_makes_the_same_texts(model):
    names = {}
    exec(text_form(model.prompt).source(model.prompt.config), names)
    fields = zip(NOTES.titles, NOTES.topics, NOTES.contents, strict=True)
    made = [names["as_text"](title, topics, content.replace("\n", " ")) for title, topics, content in fields]
    assert made == note_texts(model, NOTES)


@pytest.mark.parametrize(
    "letters",
    [
        "abcdefghijkl",
        "\u0e01\u0e02\u0e03\u0e04\u0e05\u0e06\u0e07\u0e08\u0e09\u0e0a",
        "\U0001f375\U0001f376\U0001f377",
    ],
)
def test_a_text_may_have_as_many_tokens_as_the_longest_note(letters, tiny):
    config = tiny.prompt.config
    long = "x" * 500
    tags = [f"{number}{letters}" * 9 for number in range(config.max_hashtags)]
    notes = Notes(["a"], [long], [long], [tags], [""])
    packed = tiny.prompt.pack(tiny.prompt.tokenize(notes), [0], mode="embed")
    assert len(packed.path(0)) <= text_form(tiny.prompt).most_tokens

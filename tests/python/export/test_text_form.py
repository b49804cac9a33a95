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


def test_a_text_may_have_as_many_tokens_as_the_longest_note(tiny):
    config = tiny.prompt.config
    long = "x" * 500
    tags = [f"{letter}" * 16 for letter in "abcdefghijkl"]
    notes = Notes(["a"], [long], [long], [tags], [""])
    packed = tiny.prompt.pack(tiny.prompt.tokenize(notes), [0], mode="embed")
    assert config.max_hashtags == 10
    assert len(packed.path(0)) <= text_form(tiny.prompt).most_tokens

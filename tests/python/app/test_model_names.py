"""Names of what is kept, by what it is made of."""

import pytest

from notellm.app.kept import folder_key


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "pytorch_model.bin",
        "config.json",
        "1_Pooling/config.json",
        "vocab.txt",
        "spm.model",
    ],
)
def test_a_model_s_name_changes_with_each_of_its_files(tmp_path, name):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"one")
    (tmp_path / "README.md").write_text("a model")
    before = folder_key(tmp_path)
    (tmp_path / "README.md").write_text("that model")
    assert folder_key(tmp_path) == before
    file.write_bytes(b"other")
    assert folder_key(tmp_path) != before

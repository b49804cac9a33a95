"""A folder of shards: complete or absent, refused for others, finished by whoever is last."""

import json

import pytest

from notellm.errors import DataError
from notellm.io.locks import locked
from notellm.pools.shards import MANIFEST, Plan, Shards, read_manifest


def plan(**changes):
    given = {"made_by": {"model": "a", "options": {"x": 1}}, "notes": "n", "rows": 10, "rows_per_shard": 4}
    return Plan("generations", **(given | changes))


def line(index):
    def write(path):
        path.write_text(f"shard {index}\n")
        return {"of": "all"}

    return write


def finished(folder, given=None):
    shards = Shards.begin(folder, given or plan())
    for index in shards.missing():
        shards.make(index, line(index))
    assert shards.finish()
    return shards


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_plan_covers_all_rows():
    for rows in (0, 1, 4, 10, 12):
        own = plan(rows=rows)
        assert [row for index in range(len(own)) for row in own.span(index)] == list(range(rows))
    assert plan().name(2) == "generations-00002-of-00003.jsonl"


def test_the_manifest_says_what_is_there(tmp_path):
    finished(tmp_path / "p")
    assert sorted(content(tmp_path / "p")) == [*(plan().name(i) for i in range(3)), MANIFEST]
    manifest = json.loads((tmp_path / "p" / MANIFEST).read_text())
    assert manifest["made_by"] == plan().made_by
    assert manifest["about"] == {"of": "all"}
    assert [(s["first_row"], s["last_row"], s["rows"]) for s in manifest["shards"]] == [
        (0, 3, 4),
        (4, 7, 4),
        (8, 9, 2),
    ]
    found, about, files = read_manifest(tmp_path / "p", "generations")
    assert (found, about.value, [file.first for file in files]) == (plan(), {"of": "all"}, [0, 4, 8])
    for file in files:
        file.check()


def test_goes_on_where_it_stopped(tmp_path):
    shards = Shards.begin(tmp_path / "p", plan())
    shards.make(1, line(1))
    assert not shards.finish()
    with pytest.raises(DataError, match="must list the shards, but they are not all there yet"):
        read_manifest(tmp_path / "p", "generations")
    (tmp_path / "p" / plan().name(2)).write_text("half")  # without a record
    assert Shards.begin(tmp_path / "p", plan()).missing() == [0, 2]
    finished(tmp_path / "p")
    finished(tmp_path / "q")
    assert content(tmp_path / "p") == content(tmp_path / "q")


def test_a_shard_that_was_removed_is_made_again(tmp_path):
    shards = finished(tmp_path / "p")
    before = content(tmp_path / "p")
    (tmp_path / "p" / plan().name(1)).unlink()
    assert shards.missing() == [1]
    with pytest.raises(DataError, match=r"00001-of-00003\.jsonl: must have 8 bytes, but is not there"):
        read_manifest(tmp_path / "p", "generations")
    finished(tmp_path / "p")
    assert content(tmp_path / "p") == before


def test_the_last_of_several_finishes(tmp_path):
    first, second = (Shards.begin(tmp_path / "p", plan()) for _ in range(2))
    first.make(0, line(0))
    second.make(1, line(1))
    assert not second.finish()
    first.make(2, line(2))
    assert first.finish()
    assert second.finish()  # finds it complete
    finished(tmp_path / "q")
    assert content(tmp_path / "p") == content(tmp_path / "q")


def test_what_killed_calls_left_is_removed(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / f"{MANIFEST}.lock").touch()
    shards = Shards.begin(tmp_path / "p", plan())
    for name in (".generations-00001-of-00003.jsonl.other-1-00000000.part", f"{plan().name(0)}.json.lock"):
        (tmp_path / "p" / name).touch()
    finished(tmp_path / "p")
    assert sorted(content(tmp_path / "p")) == [*(plan().name(i) for i in range(3)), MANIFEST]
    assert shards.finish()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"made_by": {"model": "b", "options": {"x": 1}}}, "made_by.model was 'a' and is 'b'"),
        ({"made_by": {"model": "a", "options": {"x": 2}}}, "made_by.options.x was 1 and is 2"),
        ({"made_by": {"model": "a", "options": {}}}, "made_by.options.x was 1 and is None"),
        ({"notes": "m"}, "notes was 'n' and is 'm'"),
        ({"rows": 11}, "rows was 10 and is 11"),
        ({"rows_per_shard": 5}, "rows_per_shard was 4 and is 5"),
    ],
)
@pytest.mark.parametrize("is_complete", [False, True])
def test_a_folder_of_others_is_refused(tmp_path, changes, message, is_complete):
    if is_complete:
        finished(tmp_path / "p")
    else:
        Shards.begin(tmp_path / "p", plan())
    before = content(tmp_path / "p")
    with pytest.raises(DataError, match=f"p: must be of the same model, options and notes.* {message}; try"):
        Shards.begin(tmp_path / "p", plan(**changes))
    assert content(tmp_path / "p") == before


def test_folders_of_something_else_are_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(
        DataError, match=r"must be empty, absent or have a manifest\.json, but holds thesis\.tex"
    ):
        Shards.begin(tmp_path, plan())
    with pytest.raises(DataError, match="must be a folder, but is a file"):
        Shards.begin(tmp_path / "thesis.tex", plan())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.tex"]


def test_two_processes_never_make_one_shard(tmp_path):
    shards = Shards.begin(tmp_path / "p", plan())
    with (
        locked(tmp_path / "p" / f"{plan().name(0)}.json"),
        pytest.raises(
            DataError, match=r"00000-of-00003\.jsonl: one process at a time must make it, but `.*process"
        ),
    ):
        shards.make(0, line(0))


def test_shards_that_differ_are_refused(tmp_path):
    shards = Shards.begin(tmp_path / "p", plan())
    for index in range(3):
        shards.make(index, lambda path, i=index: line(i)(path) | {"of": i})
    with pytest.raises(DataError, match="must be as the first shard"):
        shards.finish()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "embeddings"}, "must be of generations, but is of 'embeddings'"),
        ({"version": 2}, "version must be 1, but is 2"),
        ({"rows": 99}, "must list 25 shards, but lists 3"),
        ({"rows": -1}, "must be at least 0 and 1"),
        ({"rows_per_shard": 0}, "must be at least 0 and 1"),
        ({"rows": "ten"}, "rows: must be a number"),
        ({"shards": 5}, "shards: must be a list"),
        ({"shards": [{}, {}, {}]}, r"shards\[0\]: must hold 'name'"),
        ({"about": ...}, "must hold 'about'"),
    ],
)
def test_a_wrong_manifest_is_one_message(tmp_path, change, message):
    finished(tmp_path / "p")
    path = tmp_path / "p" / MANIFEST
    whole = json.loads(path.read_text()) | change
    path.write_text(json.dumps({key: value for key, value in whole.items() if value is not ...}))
    with pytest.raises(DataError, match=message):
        read_manifest(tmp_path / "p", "generations")


def test_a_path_in_the_manifest_stays_in_the_folder(tmp_path):
    finished(tmp_path / "p")
    path = tmp_path / "p" / MANIFEST
    path.write_text(path.read_text().replace('"generations-00001', '"../generations-00001'))
    with pytest.raises(DataError, match="with 4 rows from 4, but is '../generations"):
        read_manifest(tmp_path / "p", "generations")


def test_a_record_that_comes_while_it_is_looked_for_is_no_fault(tmp_path, monkeypatch):
    """As another process writes it between two calls of this one."""
    shards = Shards.begin(tmp_path, plan())
    read = type(tmp_path).read_bytes

    def late(path):
        try:
            return read(path)
        except FileNotFoundError:
            path.write_text("{}")
            raise

    monkeypatch.setattr(type(tmp_path), "read_bytes", late)
    assert shards.missing() == [0, 1, 2]

import os
import shutil
import stat

import numpy as np
import pytest

from notellm.data import apt, debian
from notellm.errors import DataError


def package(name, depends="", **fields):
    entry = {"Package": name, "Description-md5": name, "Section": "utils", "Depends": depends}
    return {**entry, **{key.replace("_", "-"): value for key, value in fields.items()}}


def text(name, value):
    return {"Package": name, "Description-md5": name, "Description-en": value}


def catalogue(*packages, **texts):
    names = [entry["Package"] for entry in packages]
    entries = [
        text(name, texts.get(name.replace("-", "_"), f"{name} tool\n Long of {name}.")) for name in names
    ]
    return debian.from_stanzas(packages, entries)


def baskets(result):
    log = result.interactions
    members = {user: [] for user in log.user_ids}
    for user, note in zip(log.users, log.notes, strict=True):
        members[log.user_ids[user]].append(log.note_ids[note])
    return members


def test_a_package_becomes_a_note_without_its_name():
    result = catalogue(
        package(
            "vim",
            "b",
            Tag="devel::editor, role::program,\n interface::x, use::editor",
            Section="universe/editors",
        ),
        package("b"),
        vim="Vi IMproved\n Almost compatible\n with Vi.\n .\n Features:\n  * syntax\n  * undo\n Enjoy.",
    )
    notes = result.notes.take(result.notes.index(["vim"]))
    assert notes.titles == ["Vi IMproved"]
    assert notes.contents == ["Almost compatible with Vi.\nFeatures:\n* syntax\n* undo\nEnjoy."]
    assert notes.topics == [["editor", "program", "x"]]
    assert notes.categories == ["editors"]


def test_what_says_nothing_of_its_own_is_dropped():
    names = ["a-dbg", "a-dbgsym", "a-doc", "a-l10n", "a-l10n-de", "a-locale", "a-locale-fr", "old", "stub"]
    packages = [package(name) for name in names]
    packages += [package(f"in-{section}", Section=section) for section in debian.DROPPED_SECTIONS]
    kept = ["docker", "a-docs", "localed", "dummyload"]
    result = catalogue(
        package("user", ", ".join(kept)),
        *packages,
        *(package(name) for name in kept),
        old="Transitional package for new",
        stub="a tool (dummy package)",
    )
    assert result.notes.ids == sorted([*kept, "user"])


def test_a_basket_is_what_the_package_names_and_itself():
    result = catalogue(
        package("a", "b:any (>= 1), virtual, c | d", Recommends="e [amd64]", Suggests="f<!x>", Enhances="g"),
        *(package(name) for name in "bcdefgh"),
        package("lib", "a, b", Section="libs"),
        package("alone", "b-dbg"),
        package("b-dbg"),
    )
    assert baskets(result) == {"a": list("abcdefg"), "lib": ["a", "b"]}
    assert not result.interactions.ordered


@pytest.mark.parametrize(("count", "is_kept"), [(99, True), (100, False)])
def test_baskets_beyond_a_hundred_are_dropped(count, is_kept):
    names = [f"p{number:03}" for number in range(count)]
    result = catalogue(package("all", ", ".join(names)), package("two", "all"), *map(package, names))
    assert ("all" in result.interactions.user_ids) is is_kept


def test_groups_join_sources_and_like_beginnings():
    same = "s" * debian.GROUP_PREFIX
    result = catalogue(
        package("a", "b", Source="src (1.0)"),
        package("b", Source="src"),
        package("c"),
        package("d"),
        package("src"),
        b=f"one\n {same} and then this",
        c=f"two\n {same} and then that",
        d=f"three\n x{same}",
    )
    groups = dict(zip(result.notes.ids, result.groups.tolist(), strict=True))
    assert groups["a"] == groups["b"] == groups["c"] == groups["src"] != groups["d"]


def test_the_first_entry_of_a_package_holds():
    entries = [package("a", "b", Section="net"), package("b"), package("a", "b", Section="mail")]
    result = debian.from_stanzas(entries, [text("a", "a tool\n Long."), text("b", "b tool\n Longer.")])
    assert result.notes.categories == ["net", "utils"]


def test_a_catalogue_without_packages_or_relations_is_an_error():
    with pytest.raises(DataError, match="must hold packages, but none is left"):
        debian.from_stanzas([], [])
    with pytest.raises(DataError, match="must name one another"):
        catalogue(package("a"), package("b"))


PACKAGES = """Package: a
Depends: b
Section: net
Description: a tool
Description-md5: 1

Package: b
Section: utils
Tag: role::program
Description-md5: 2
"""
TRANSLATIONS = """Package: a
Description-md5: 1
Description-en: a tool
 Long of \u00e5.

Package: b
Description-md5: 2
Description-en: b tool
 Long of b.
"""
APT_GET = """#!/bin/sh
echo "$*" >> {folder}/calls
if [ "$1" = update ]; then
  echo "dlstatus:1:50.0000:Retrieving"; echo "E: foreign source is down" >&2; exit 100
fi
printf 'Packages\\t{origin}\\tmain\\tstable\\t{folder}/Packages\\n'
printf 'Packages\\tElsewhere\\tmain\\tstable\\t{folder}/nothing\\n'
printf 'Packages\\tDebian\\tnon-free\\tstable\\t{folder}/nothing\\n'
printf 'Packages\\tDebian\\tmain\\tstable-security\\t{folder}/nothing\\n'
printf 'Packages\\tUbuntu\\tmain\\tnoble-updates\\t{folder}/nothing\\n'
printf 'Translations\\t{origin}\\tmain\\tstable\\t{folder}/Translation-en\\n'
"""


def executable(path, script):
    path.write_text(script)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine whose apt-get serves two packages, from a folder first in the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "Packages").write_text(PACKAGES)
    (folder / "Translation-en").write_text(TRANSLATIONS)
    executable(folder / "apt-get", APT_GET.format(folder=folder, origin="Debian"))
    executable(folder / "apt-helper", '#!/bin/sh\ncat "$2"\n')
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(apt, "APT_HELPER", str(folder / "apt-helper"))
    return folder


def test_the_distributions_own_main_is_fetched_once(machine, tmp_path):
    steps = []
    folder = tmp_path / "debian"
    first = debian.fetch(folder, lambda *step: steps.append(step))
    assert first.notes.ids == ["a", "b"]
    assert first.notes.contents == ["Long of \u00e5.", "Long of b."]
    assert baskets(first) == {"a": ["a", "b"]}
    assert steps == [(30, 100), (90, 100), (100, 100)]
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(debian._FILES)
    calls = (machine / "calls").read_text()
    assert "Acquire::Languages=en" in calls
    assert f"--config-file {folder.resolve()}/apt/apt.conf" in calls
    assert f"Dir::State::Lists={folder.resolve()}/apt/lists" in calls
    again = debian.fetch(folder)
    assert (machine / "calls").read_text() == calls
    assert again.notes == first.notes
    np.testing.assert_array_equal(again.interactions.notes, first.interactions.notes)
    np.testing.assert_array_equal(again.groups, first.groups)
    assert not again.interactions.ordered


@pytest.mark.parametrize("stage", [30, 90])
def test_an_interrupted_fetch_goes_on_and_leaves_nothing_half_written(machine, tmp_path, stage):
    def stop(done, total):
        if done == stage:
            raise KeyboardInterrupt

    folder = tmp_path / "debian"
    with pytest.raises(KeyboardInterrupt):
        debian.fetch(folder, stop)
    assert [entry.name for entry in folder.iterdir()] == ["apt"]
    assert debian.fetch(folder).notes.ids == ["a", "b"]
    assert not (folder / "apt").exists()


def test_without_a_list_of_the_distribution_the_error_says_what_apt_said(machine, tmp_path):
    executable(machine / "apt-get", APT_GET.format(folder=machine, origin="Mint"))
    with pytest.raises(DataError, match=r"a list of Debian or Ubuntu.*foreign source is down.*Notes\.read"):
        debian.fetch(tmp_path / "debian")


def test_a_list_that_cannot_be_read_to_its_end_is_an_error(machine, tmp_path):
    executable(machine / "apt-helper", '#!/bin/sh\nhead -n 5 "$2"; exit 1\n')
    with pytest.raises(DataError, match=r"Translation-en: must be readable by .*apt-helper"):
        debian.fetch(tmp_path / "debian")
    assert not (tmp_path / "debian" / "notes.parquet").exists()


def test_without_apt_the_error_names_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=r"needs apt.*try your own files instead: Notes\.read"):
        debian.fetch(tmp_path / "debian")
    assert not (tmp_path / "debian").exists()


def test_files_that_do_not_fit_together_are_an_error(machine, tmp_path):
    folder = tmp_path / "debian"
    catalogue = debian.fetch(folder)
    catalogue.notes.take([0, 1]).write(folder / "notes.parquet")
    debian.read(folder)
    (folder / "groups.parquet").unlink()
    debian.write_table(folder / "groups.parquet", debian.pa.table({"group": [0]}))
    with pytest.raises(DataError, match=r"groups\.parquet: must have 2 rows, one a note, but has 1"):
        debian.read(folder)


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt and a package mirror")
def test_the_real_catalogue_is_large_and_related(tmp_path):
    try:
        result = debian.fetch(tmp_path)
    except DataError as error:
        pytest.skip(str(error))
    notes, log = result.notes, result.interactions
    assert len(notes) > 20_000
    assert sum(map(bool, notes.topics)) > 5_000
    assert len(log.user_ids) > 15_000
    sizes = np.bincount(log.users)
    assert 2 <= sizes.min() <= sizes.max() <= 100
    assert np.bincount(log.notes).argmax() == notes.index(["python3"])[0]

"""The tag of a release is made only where all that names its version agrees, and everything is committed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[3] / "tools/tag.py"
CMAKE = "cmake_minimum_required(VERSION 3.25)\nproject(notellm VERSION 0.2.0 LANGUAGES C CXX)\n"
CHANGES = "# Changelog\n\n## 0.2.0 (2026-12-01)\n- A new thing.\n\n## 0.1.0 (2026-11-01)\nThe first.\n"


def git(root, *arguments):
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A repository that may be released."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "A")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "a@example.com")
    (tmp_path / "tools").mkdir()
    shutil.copy(TOOL, tmp_path / "tools")
    (tmp_path / "CMakeLists.txt").write_text(CMAKE)
    (tmp_path / "CITATION.cff").write_text("cff-version: 1.2.0\nversion: 0.2.0\n")
    (tmp_path / "CHANGELOG.md").write_text(CHANGES)
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    return tmp_path


def commit(root):
    git(root, "add", "-A")
    git(root, "commit", "-q", "--allow-empty", "-m", "all")


def call(root, *arguments):
    command = [sys.executable, root / "tools/tag.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_tag_carries_what_changed(root):
    done = call(root)
    assert (done.returncode, done.stderr) == (0, "")
    assert "git push origin v0.2.0" in done.stdout
    assert git(root, "tag", "--list", "--format=%(contents)", "v0.2.0").strip() == (
        "NoteLLM 0.2.0\n\n- A new thing."
    )
    assert call(root, "--check", "v0.2.0").returncode == 0
    assert call(root, "--notes").stdout == "- A new thing.\n"


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("CMakeLists.txt", "0.2.0", "0.2", "VERSION must be MAJOR.MINOR.PATCH, but is 0.2"),
        ("CMakeLists.txt", "notellm", "other", "CMakeLists.txt: must have a line like"),
        ("CITATION.cff", "0.2.0", "0.1.0", "CITATION.cff: version must be 0.2.0, as in CMakeLists.txt, but is 0.1.0"),
        ("CHANGELOG.md", "2026-12-01", "unreleased", "0.2.0 must have the date of its release, but has (unreleased)"),
        ("CHANGELOG.md", "## 0.2.0", "## 0.3.0", "the topmost part must be of 0.2.0, but is of 0.3.0"),
        ("CHANGELOG.md", "- A new thing.", "", "0.2.0 must say what changed, but is empty"),
        ("CHANGELOG.md", "## ", "# ", "must have a heading like ## 0.2.0 (2026-12-01)"),
    ],
)  # fmt: skip
def test_what_does_not_agree_is_refused(root, file, old, new, words):
    path = root / file
    path.write_text(path.read_text().replace(old, new))
    commit(root)
    for arguments in ([], ["--check", "v0.2.0"]):
        done = call(root, *arguments)
        assert done.returncode == 1
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    assert git(root, "tag") == ""


def test_what_is_not_committed_is_refused(root):
    (root / "new.txt").write_text("new")
    assert "everything must be committed, but is not:\n?? new.txt" in call(root).stderr
    assert git(root, "tag") == ""


def test_a_tag_is_not_moved(root):
    git(root, "tag", "v0.2.0")
    assert "the tag v0.2.0 must be new" in call(root).stderr


def test_another_tag_is_refused(root):
    assert (
        "the tag must be v0.2.0, as in CMakeLists.txt, but is v0.3.0"
        in call(root, "--check", "v0.3.0").stderr
    )

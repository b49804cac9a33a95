"""The site has every page of the repository, and what its tools make of sources and prose reads well."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
TOOLS = ROOT / "tools/site"


@pytest.fixture
def tools(monkeypatch):
    """Imports one of the tools, whose names are too common to stay on the path."""

    def get(name):
        monkeypatch.delitem(sys.modules, name, raising=False)
        module = __import__(name)
        monkeypatch.delitem(sys.modules, name)
        return module

    monkeypatch.syspath_prepend(str(TOOLS))
    return get


def leaves(nav):
    for entry in nav:
        for target in entry.values():
            yield from leaves(target) if isinstance(target, list) else [target]


def test_the_navigation_names_every_page_and_no_other():
    documents = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    documents |= {f"notebooks/{path.stem}.md" for path in (ROOT / "notebooks").glob("*.ipynb")}
    documents |= {path.name for path in ROOT.glob("*.md")}
    documents |= {"benchmarks/README.md", "experiments/README.md"}
    named = list(leaves(SITE["nav"]))
    assert sorted(named) == sorted(documents), "mkdocs.yml: nav must name each page once"


def test_the_configuration_names_what_is_there():
    handler = next(plugin for plugin in SITE["plugins"] if isinstance(plugin, dict))["mkdocstrings"]
    extensions = handler["handlers"]["python"]["options"]["extensions"]
    for path in [SITE["docs_dir"], *SITE["hooks"], *SITE["watch"], *extensions]:
        assert (ROOT / path).exists(), path
    assert SITE["validation"]["nav"]["omitted_files"] == SITE["validation"]["links"]["anchors"] == "warn"


def test_prose_is_made_for_the_site(tools):
    page = (
        "Text [a](b.md#c) [source](../python/x.py)\n[run](../notebooks/n.ipynb#one)\n[no](gone.md)\n"
        "- [x](y.json)\n- two\n\n```\ntext\n- [code](../python/x.py)\n```\n![picture](../p.svg)\n"
    )
    on_site = {"docs/b.md", "docs/y.json"}
    there = on_site | {"python/x.py", "notebooks/n.ipynb", "p.svg"}
    made = tools("prose").for_the_site(page, "docs", on_site.__contains__, there.__contains__)
    assert made == (
        "Text [a](b.md#c) source\n[run](../notebooks/n.md#one)\n[no](gone.md)\n\n"
        "- [x](y.json)\n- two\n\n```\ntext\n- [code](../python/x.py)\n```\n![picture](../p.svg)\n"
    )


HEADER = """#pragma once
namespace notellm {

/// The sum of some numbers, of a `list<T>` or a vector<T>.
///
///   s = a + b < 2
///
/// @param a  the first,
///           in metres.
/// @throws std::invalid_argument  if a < 0.
///
/// Cost: O(1).
double sum(double a,
           double b = 2);

/// A box.
struct Box {
  double side = 1;  ///< in metres
  double area() const { return side * side; }
};

/// Twice a number.
inline int twice(int x) {
  return 2 * x;
}

int not_documented();

/// About nothing.

}  // namespace notellm
"""


def test_headers_become_pages(tools, tmp_path):
    folder = tmp_path / "notellm/part"
    folder.mkdir(parents=True)
    (folder / "sum.h").write_text(HEADER)
    page = tools("headers").pages(tmp_path / "notellm")["reference/cpp/part.md"]
    assert re.findall("^#+ .*", page, re.MULTILINE) == [
        "# notellm/part",
        "## notellm/part/sum.h",
        "### `sum`",
        "### `Box`",
        "### `twice`",
    ]
    assert "\nThe sum of some numbers, of a `list<T>` or a vector&lt;T>.\n" in page
    assert "```text\n  s = a + b < 2\n\n```" in page
    assert "- `a`: the first,\n    in metres.\n- **Throws** std::invalid_argument  if a &lt; 0." in page
    assert "```cpp\ndouble sum(double a,\n           double b = 2);\n```" in page
    assert "  double area() const { return side * side; }\n};\n```" in page
    assert "```cpp\ninline int twice(int x);\n```" in page


def test_every_header_is_described(tools):
    folder = ROOT / "cpp/include/notellm"
    pages = "".join(tools("headers").pages(folder).values())
    sections = re.split("^## ", pages, flags=re.MULTILINE)
    described = {section.partition("\n")[0] for section in sections if "\n### `" in section}
    headers = {path.relative_to(folder.parent).as_posix() for path in folder.glob("*/*.h")}
    assert len(headers) > 50
    assert headers - described == set()


def test_every_public_name_of_python_is_in_the_reference(tools):
    import notellm

    pages = tools("modules").pages(ROOT / "python/notellm")
    first = pages["reference/python/index.md"]
    found = set(re.findall(r"^\| \[?`(\w+)`", first, re.MULTILINE))
    assert found == set(notellm.__all__)
    modules = {name for page in pages.values() for name in re.findall(r"^::: (\S+)", page, re.MULTILINE)}
    assert set(re.findall(r"\]\[([\w.]+)\.\w+\]", first)) <= modules
    assert "notellm.app.studies.sweep" in modules
    assert not any(name.startswith("notellm.app.pipeline") for name in modules)


def test_broken_links_of_a_site_are_found(tools, tmp_path):
    (tmp_path / "a.html").write_text(
        '<a id="one" href="#one"></a><a href="#two"></a><a href="b/"></a><a href="b/#x"></a><img src="p.svg">'
        '<a href="https://example.com/gone"></a><a href="q.svg"></a>'
    )
    (tmp_path / "b").mkdir()
    (tmp_path / "b/index.html").write_text('<h1 id="x"></h1><a href="../a.html#three"></a>')
    (tmp_path / "p.svg").write_text("<svg/>")
    found = sorted(tools("links").broken(tmp_path))
    assert found == ["a.html: #two", "a.html: q.svg", "b/index.html: ../a.html#three"]
    assert "has none" in next(tools("links").broken(tmp_path / "nothing"))


def test_pictures_are_as_drawn(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import pictures

    drawn = {f"{name}.svg": draw() for name, draw in pictures.PICTURES.items()}
    assert {path.name: path.read_text() for path in pictures.FOLDER.iterdir()} == drawn, "try `make format`"


@pytest.mark.skipif(find_spec("nbconvert") is None, reason="needs the extra docs")
@pytest.mark.filterwarnings("ignore")  # of Jupyter's own packages
def test_a_notebook_shows_its_outputs_only_if_they_are_of_its_cells(tools, tmp_path):
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook, new_output

    kept, executed = tmp_path / "kept", tmp_path / "executed"
    for folder, source in ((kept, "print(6 * 7)"), (executed, "print(6 * 7)")):
        folder.mkdir()
        picture = new_output("display_data", {"image/png": "iVBORw=="})
        outputs = [new_output("stream", text="42\n"), picture] if folder is executed else []
        nbformat.write(new_notebook(cells=[new_code_cell(source, outputs=outputs)]), folder / "n.ipynb")
    pages = tools("notebooks").pages
    assert "```python\nprint(6 * 7)\n```" in pages(kept, executed)["notebooks/n.md"]
    assert "    42" in pages(kept, executed)["notebooks/n.md"]
    ((name, picture),) = (
        (name, made) for name, made in pages(kept, executed).items() if name.endswith(".png")
    )
    assert picture == b"\x89PNG"
    assert f"]({name.removeprefix('notebooks/')})" in pages(kept, executed)["notebooks/n.md"]
    nbformat.write(new_notebook(cells=[new_code_cell("print(43)")]), kept / "n.ipynb")
    assert "42" not in pages(kept, executed)["notebooks/n.md"]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mkdocs") is None, reason="needs the extra docs")
def test_the_site_is_built_strictly_and_has_no_broken_link(tmp_path):
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    links = [sys.executable, TOOLS / "links.py", tmp_path / "site"]
    done = subprocess.run(links, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

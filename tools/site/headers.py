"""Pages of the C++ reference: each public header's declarations with the comments that stand before them."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

FIELD = re.compile(r"@(?P<kind>param|tparam|return|throws)\s+(?P<text>.*)")
TITLES = {"return": "Returns", "throws": "Throws"}


def pages(folder: Path) -> dict[str, str]:
    """A page for each folder of headers, by its path."""
    found = {}
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        described = [describe(path, folder) for path in sorted(part.glob("*.h"))]
        found[f"reference/cpp/{part.name}.md"] = "\n".join([f"# notellm/{part.name}\n", *described])
    return found


def describe(path: Path, folder: Path) -> str:
    """A header as Markdown."""
    lines = [f"## {path.relative_to(folder.parent).as_posix()}\n"]
    for comment, declaration in documented(path.read_text(encoding="utf-8").split("\n")):
        lines += [
            f"### {name_of(declaration)}\n",
            *paragraphs(comment),
            "",
            "```cpp",
            *declaration,
            "```",
            "",
        ]
    return "\n".join(lines)


def documented(lines: list[str]) -> Iterator[tuple[list[str], list[str]]]:
    """The comment and the declaration of everything that has a comment at the outermost level."""
    at = 0
    while at < len(lines):
        comment = take(lines, at, lambda line: line.startswith("///"))
        at += len(comment) or 1
        if comment:
            declaration = declaration_at(lines, at)
            at += len(declaration)
            if any(declaration):
                yield [line[3:].removeprefix(" ") for line in comment], declaration


def take(lines: list[str], begin: int, accepted: Callable[[str], bool]) -> list[str]:
    """The lines from `begin` as long as they are accepted."""
    end = begin
    while end < len(lines) and accepted(lines[end]):
        end += 1
    return lines[begin:end]


def declaration_at(lines: list[str], begin: int) -> list[str]:
    """A declaration, with its whole body if it is a type; without it if it is a function."""
    depth, found = 0, []
    for line in lines[begin:]:
        if not found and not line:
            break  # the comment was about the header
        found.append(line)
        depth += line.count("{") + line.count("(") - line.count("}") - line.count(")")
        if depth <= 0 and re.search(r"[;}]\s*(//.*)?$", line):
            break
    is_function = re.match(r"(?!.*\b(class|struct|enum|union)\b).*\(", " ".join(found))
    if is_function and (bodies := [n for n, line in enumerate(found) if line.endswith("{")]):
        return [*found[: bodies[0]], found[bodies[0]].removesuffix(" {") + ";"]
    return found


def name_of(declaration: list[str]) -> str:
    """The name that a declaration introduces, as code."""
    text = re.sub(r"\btemplate <[^>]*>\s*", "", " ".join(declaration))
    patterns = [
        r"\b(?:class|struct|enum class|enum|union|using|concept) ([\w:]+)",
        r"#define (\w+)",
        r"\b(operator\W+|~?\w+)\(",
        r"(\w+)\s*(?:=|\{|;|\[)",
    ]
    names = (re.search(pattern, text) for pattern in patterns)
    return next((f"`{match[1]}`" for match in names if match), f"`{text[:40]}`")


def paragraphs(comment: list[str]) -> Iterator[str]:
    """A comment as Markdown: fields become list items, indented lines formulas, the rest stays."""
    in_formula, in_list = False, False
    for line in comment:
        field = FIELD.match(line)
        is_formula = line.startswith("  ") and not in_list and not field
        if is_formula != in_formula and line:
            yield "\n```text" if is_formula else "```\n"
            in_formula = is_formula
        if field:
            yield ("" if in_list else "\n") + item(field)
            in_list = True
        elif in_list and not line:
            in_list = False
            yield ""
        else:
            yield f"    {escaped(line.strip())}" if in_list else line if in_formula else escaped(line)
    if in_formula:
        yield "```"


def item(field: re.Match[str]) -> str:
    """A field as an item of a list."""
    if field["kind"] in TITLES:
        return f"- **{TITLES[field['kind']]}** {escaped(field['text'].strip())}"
    name, _, rest = field["text"].partition(" ")
    return f"- `{name}`: {escaped(rest.strip())}"


def escaped(line: str) -> str:
    """A line whose < are no tags of HTML; what is between backticks stays."""
    parts = line.split("`")
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)

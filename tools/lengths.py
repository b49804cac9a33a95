"""Says which functions are over 50 lines, docstrings aside, and which files over 400; part of `make lint`.

python tools/lengths.py FILE ...
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

LONGEST_FUNCTION, LONGEST_FILE = 50, 400
FIRST = re.compile(
    r"(?P<indent>(?:  )?)(?=\S)(?P<no_function>namespace|class|struct|enum|union|extern|template|TEST|[}#/])?.*"
)
"""The first line of a statement of C++ at file or class level, as clang-format leaves it; deeper ones go on with it."""


def python_functions(text: str) -> Iterator[tuple[str, int]]:
    """Name and lines of every function without its docstring."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            documented = (first.end_lineno or 0) - first.lineno + 1 if is_docstring else 0
            yield node.name, (node.end_lineno or 0) - node.lineno + 1 - documented


def cpp_functions(text: str) -> Iterator[tuple[str, int]]:
    """First line of every block at file or class level, and its lines from the one that opens it to its last brace.

    So a signature is one line, however many parameters clang-format puts below each other.
    """
    begin, name, statement, indent, is_open = 0, "", "", "", False
    for number, line in enumerate(text.split("\n")):
        if is_open:
            if line.startswith(f"{indent}}}"):
                yield name, number - begin + 1
                statement, is_open = "", False
            continue
        if match := FIRST.fullmatch(line):
            name, indent = line.strip(), match["indent"]
            statement = "" if match["no_function"] else line
        elif statement:
            statement += line
        # in deeper lines braces may also be of a call's argument, whose parentheses are still open
        is_whole = bool(match) or statement.count("(") == statement.count(")")
        is_open, begin = is_whole and statement.endswith("{"), number


def complaints(path: Path) -> Iterator[str]:
    """What of a file is too long."""
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    if lines > LONGEST_FILE:
        yield f"{path}: must have at most {LONGEST_FILE} lines, but has {lines}"
    functions = python_functions(text) if path.suffix == ".py" else cpp_functions(text)
    for name, length in functions:
        if length > LONGEST_FUNCTION:
            yield f"{path}: {name} must have at most {LONGEST_FUNCTION} lines, but has {length}"


def main() -> None:
    """Prints every complaint; status 1 if there is one."""
    if len(sys.argv) < 2:
        sys.exit("usage: lengths.py FILE ...")
    found = [text for name in sys.argv[1:] for text in complaints(Path(name))]
    print("\n".join(found), file=sys.stderr)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()

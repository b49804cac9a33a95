"""Every stub of the extension says what its module has: names, parameters, which have defaults, which go by name."""

import ast
import enum
import importlib
import inspect
import re
from pathlib import Path

import pytest

import notellm

FOLDER = Path(notellm.__file__).parent / "_core"
STUBS = sorted(path.stem for path in FOLDER.glob("*.pyi") if path.stem != "__init__")


def stub_of(name):
    return ast.parse((FOLDER / f"{name}.pyi").read_text(encoding="utf-8")).body


def module_of(name):
    return importlib.import_module("notellm._core").__dict__[name]


def parameters(node):
    """What a stub says: (name, has default, goes by name only) of each parameter but self."""
    given = node.args
    positional = [*given.posonlyargs, *given.args]
    without = len(positional) - len(given.defaults)
    found = [(one.arg, i >= without, False) for i, one in enumerate(positional)]
    by_name = zip(given.kwonlyargs, given.kw_defaults, strict=True)
    found += [(one.arg, default is not None, True) for one, default in by_name]
    return [one for one in found if one[0] not in ("self", "cls")]


def signatures(function):
    """What pybind11 says of a function in its docstring, the same way; a list for each overload."""
    lines = (function.__doc__ or "").splitlines()
    name = function.__name__
    found = []
    for line in lines:
        text = re.match(rf"(?:\d+\. )?{name}(\(.*\)) -> ", line)
        if text and "**" not in text[1]:  # keyword arguments that the class itself checks
            found.append(from_text(text[1][1:-1]))
    return found


def from_text(text):
    parts, depth, part = [], 0, ""
    for character in text:
        depth += (character in "[({<") - (character in "])}>")
        if character == "," and depth == 0:
            parts.append(part.strip())
            part = ""
        else:
            part += character
    parts = [*parts, part.strip()] if part.strip() else parts
    by_name, found = False, []
    for one in parts:
        if one in ("*", "/"):
            by_name = by_name or one == "*"
        elif not one.startswith(("self", "**")):
            name = one.partition(":")[0].partition("=")[0].strip()
            found.append((name, " = " in one or "=" in one.partition(":")[0], by_name))
    return found


def public(things):
    return {name for name in things if not name.startswith("_") or name in ("__version__",)}


@pytest.mark.parametrize("name", STUBS)
def test_a_stub_names_what_its_module_has(name):
    only_typing = {"TypedDict"}
    stubbed = {
        node.name
        for node in stub_of(name)
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        and not (
            isinstance(node, ast.ClassDef) and {getattr(base, "id", "") for base in node.bases} & only_typing
        )
    }
    stubbed |= {node.target.id for node in stub_of(name) if isinstance(node, ast.AnnAssign)}
    assert stubbed == public(vars(module_of(name)))


@pytest.mark.parametrize("name", STUBS)
def test_functions_take_what_their_stubs_say(name):
    module = module_of(name)
    wanted: dict[str, list] = {}
    for node in stub_of(name):
        if isinstance(node, ast.FunctionDef):
            wanted.setdefault(node.name, []).append(parameters(node))
    for function, overloads in wanted.items():
        assert signatures(getattr(module, function)) == overloads, function


@pytest.mark.parametrize("name", STUBS)
def test_classes_have_what_their_stubs_say(name):
    module = module_of(name)
    for node in stub_of(name):
        if not isinstance(node, ast.ClassDef) or not hasattr(module, node.name):
            continue
        cls = getattr(module, node.name)
        stubbed = {one.name for one in node.body if isinstance(one, ast.FunctionDef)}
        stubbed |= {one.target.id for one in node.body if isinstance(one, ast.AnnAssign)}
        stubbed |= {target.id for one in node.body if isinstance(one, ast.Assign) for target in one.targets}
        if inspect.isclass(cls) and issubclass(cls, enum.Enum):
            assert public(stubbed) == set(cls.__members__), node.name
        elif inspect.isclass(cls) and not issubclass(cls, Exception):
            assert public(stubbed) == public(vars(cls)), node.name
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and not method.decorator_list:
                    bound = getattr(cls, method.name)
                    said = signatures(bound)
                    if said:
                        assert parameters(method) in said, f"{node.name}.{method.name}"

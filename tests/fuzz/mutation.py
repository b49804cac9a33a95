"""Changes of contents: of values in JSON, which stay JSON, and of single bytes."""

import json
import random
from typing import Any

ODD = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        7,
        255,
        2**31,
        2**63,
        -(2**63),
        10**400,
        0.5,
        -0.0,
        1e308,
        float("nan"),
    ),
    *(
        float("inf"),
        "",
        "a",
        "0",
        "../a",
        "/",
        "\0",
        "\ud800",
        "\u2028",
        "[EMB]",
        "<title>",
        "x" * 300,
        "1e5",
    ),
    *([], [None], [[]], {}, {"": None}, [1, "a"], {"a": {"a": []}}),
]
"""Values that readers do not expect."""

SPLICES = [
    b"\0",
    b"\n",
    b"\r",
    b'"',
    b"'",
    b"\\",
    b",",
    b":",
    b"[",
    b"{",
    b"}",
    b"&a ",
    b"*a",
    b"<<: *a",
    b"!!x ",
]
SPLICES += [
    b"- ",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"9" * 5000,
    b"[" * 3000,
    b"#",
    b"|",
    b"\t",
    b"-",
    b"1e999",
]


def changed(content: bytes, random_: random.Random) -> bytes:
    """The content with one to three changes; JSON and JSON lines mostly stay JSON."""
    for _ in range(random_.randint(1, 3)):
        content = (_changed_json(content, random_) if random_.random() < 0.7 else None) or _changed_bytes(
            content, random_
        )
    return content


def _changed_json(content: bytes, random_: random.Random) -> bytes | None:
    """With another value somewhere; None if the content is no JSON."""
    try:
        return _dumped(_changed_tree(json.loads(content), random_))
    except (ValueError, RecursionError):
        pass
    lines = content.split(b"\n")
    which = random_.randrange(len(lines))
    try:
        lines[which] = _dumped(_changed_tree(json.loads(lines[which]), random_))
    except (ValueError, RecursionError):
        return None
    return b"\n".join(lines)


def _dumped(tree: Any) -> bytes:
    return json.dumps(tree, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _changed_tree(tree: Any, random_: random.Random) -> Any:
    """A tree in which one value, at any depth, is another one, is gone, or is there twice."""
    if not isinstance(tree, dict | list) or not tree or random_.random() < 0.15:
        return random_.choice(ODD)
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    key = random_.choice(keys)
    tree = tree.copy()
    kind = random_.random()
    if kind < 0.08:
        del tree[key]
    elif kind < 0.14 and isinstance(tree, dict):
        tree[random_.choice(["a", "", "0", str(key) + "x", *map(str, keys)])] = random_.choice(ODD)
    elif kind < 0.14:
        tree.insert(random_.randrange(len(tree)), random_.choice([tree[key], *ODD]))
    else:
        tree[key] = _changed_tree(tree[key], random_)
    return tree


def _changed_bytes(content: bytes, random_: random.Random) -> bytes:
    """With some bytes replaced, removed, repeated or put in."""
    at = random_.randint(0, len(content))
    until = min(len(content), at + random_.choice([0, 1, 1, 2, 4, 16, 200]))
    piece = random_.choice(
        [
            b"",
            content[at:until] * 2,
            random_.choice(SPLICES),
            random_.choice(SPLICES),
            bytes([random_.randrange(256)]),
        ]
    )
    return content[:at] + piece + content[until:]

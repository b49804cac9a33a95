"""Texts that are not YAML in UTF-8."""

BAD_YAML = [
    (
        "seed: 1\ntrain: [1,\n  2\n",
        "3: the items of a list in [] must be separated by commas and end with ], but in that of line 2 neither is "
        "here",
    ),
    ("train: ['a' 'b']\n", "1: the items of a list in [] must be separated by commas and end with ]"),
    (
        "train: {lr: 1\n",
        "1: the keys of a group in {} must be separated by commas and end with }, but in that of line 1 neither is "
        "here",
    ),
    ("train: ]\n", "1: a ] or } must end a list or group that began with [ or {, but here it ends none"),
    (
        "train:\n  lr: 1\n  - 2\n",
        "3: the keys of the group of line 2 must stand below each other, as KEY: VALUE",
    ),
    (
        "name: 'a' b\n",
        "1: the keys of the group of line 1 must stand below each other, as KEY: VALUE, but here is ",
    ),
    (
        "train:\n  - - 1\n    b: 2\n",
        "3: the items of the list of line 2 must begin with - below each other, but here",
    ),
    ("name: a: b\n", "1: a colon with a space behind it must follow a key, but here it does not; try quotes"),
    ("name: - a\n", "1: an item that begins with - must begin a line of its list, but here it does not"),
    ("train:\n  a: 1\n\tlr: 1\n", "3: lines must be indented by spaces, but here is a tab"),
    ("seed: 1\nname: 'a\nlr: 1\n", "2: a text that begins with a quote must end with it, but does not"),
    ('seed: 1\nname: "a\\"', "2: a text that begins with a quote must end with it, but does not"),
    (
        "name: @a\n",
        "1: a text must be in quotes if it begins with a character like @, % or `, but one is not",
    ),
    ("name: |a\n", "1: the line must end behind | or >, but here it does not; try quotes"),
    (
        "name: *a\n",
        "1: what *NAME repeats must be marked by &NAME above, but is not; try quotes if it is a text",
    ),
    ("name: *\n", "1: a text that begins with * must be in quotes, but is not"),
    ('name: "C:\\data"\n', "1: a backslash in double quotes must be one of YAML's"),
    (
        'name: "\\u12"\n',
        "1: \\x, \\u and \\U in double quotes must be followed by 2, 4 and 8 hexadecimal digits",
    ),
    ("[" * 3000, "1: values must be at most 16 deep"),
    (
        "name: &x " + "y" * 100_000 + "\ntrain: [" + "*x, " * 1000 + "]\n",
        "1: a file must hold at most 67108864 bytes of text, repeated ones included",
    ),
    (
        "seed: 1\nname: é\n".encode("latin-1"),
        "2: text must be UTF-8, but byte 7 is 0xe9; try to save it as UTF-8",
    ),
    (
        "seed: 1\nname: 笔记\n".encode("gbk"),
        "2: text must be UTF-8, but byte 7 is 0xb1; try to save it as UTF-8",
    ),
    ("seed: 1\n".encode("utf-16"), "1: text must be UTF-8, but begins like UTF-16; try to save it as UTF-8"),
    ("seed: 1\n".encode("utf-16-le"), "1: text must be UTF-8, but byte 2 is 0x00; try to save it as UTF-8"),
    (b"seed: 1\nname: \xed\xa0\x80\n", "2: text must be UTF-8, but byte 7 is 0xed"),
]
"""Each with what is said of it behind the file's name."""

"""The tokens of a JavaScript module, to see that nothing but comments and space was left out of it.

A slash behind a value divides, any other begins a regular expression. Behind a `)` or a `}` it always counts as a
division; a module that begins an expression there cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

Kind = Literal["comment", "space", "token"]

COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
SPACE = re.compile(r"\s+")
TEMPLATE = re.compile(r"[`}](?:\\.|\$(?!\{)|[^`\\$])*(?:`|\$\{)", re.DOTALL)
"""A template, or a part of one: up to the next `${`, or from the `}` that ends an expression in it."""
EXPRESSION = re.compile(r"/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\[\n])+/\w*")
TOKEN = re.compile(r""""(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[\w$]+|\+\+|--|=>|[^\s"'`]""")
VALUE = re.compile(r"""(?s)[\w$]+|[)\]}]|.*["'`]|.+/\w*""")
NO_VALUE = frozenset({"return", "typeof", "case", "of", "in", "await", "yield", "void", "delete", "else", "do"})
"""Words that a regular expression may stand behind."""


def scan(source: str) -> Iterator[tuple[Kind, str]]:
    """Yield the parts of a module, which are the whole of it. Fails where it cannot be read."""
    position, before = 0, ""
    braces: list[int] = []  # how many are open in each `${…}` that we are in
    while position < len(source):
        kind: Kind = "token"
        if found := SPACE.match(source, position):
            kind = "space"
        elif found := COMMENT.match(source, position):
            kind = "comment"
        elif source[position] == "`" or (source[position] == "}" and braces[-1:] == [0]):
            found = TEMPLATE.match(source, position)
            if source[position] == "}":
                braces.pop()
            if found is not None and found[0].endswith("${"):
                braces.append(0)
        elif source[position] == "/" and (before in NO_VALUE or not VALUE.fullmatch(before)):
            found = EXPRESSION.match(source, position)
        else:
            found = TOKEN.match(source, position)
            if braces and source[position] in "{}":
                braces[-1] += 1 if source[position] == "{" else -1
        assert found is not None, f"no JavaScript: {source[position : position + 60]!r}"
        position = found.end()
        if kind == "token":
            before = found[0]
        yield kind, found[0]


def tokens(source: str) -> list[str]:
    """Return what a browser makes of a module."""
    return [text for kind, text in scan(source) if kind == "token"]

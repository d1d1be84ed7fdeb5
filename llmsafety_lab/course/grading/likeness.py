"""Answers that look alike: word for word, and with other names. A list to look at, never a verdict."""

from __future__ import annotations

import ast
import hashlib
import io
import keyword
import tokenize
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from itertools import combinations

Cells = list[tuple[int, str]]
LENGTH = 8
"""How many tokens a shingle has."""
FEWEST = 30
"""The fewest shingles that are compared: short answers are alike by themselves."""
ALIKE = 0.8
"""The part of the smaller set of shingles that two students must share to be listed."""
LONGEST = 100_000


def digest(cells: Cells) -> str:
    """Return the same for the same code, however it is spaced."""
    code = "".join("".join(source.split()) for _, source in cells)
    return hashlib.sha256(code.encode(errors="replace")).hexdigest()


def shingles(cells: Cells, answers: Collection[str]) -> set[str]:
    """Return the overlapping runs of tokens of some functions and classes: no comments, each name a place-holder."""
    found: set[str] = set()
    for _, source in cells:
        for text in _defined(source, answers):
            tokens = list(_tokens(text))
            found |= {" ".join(tokens[k : k + LENGTH]) for k in range(len(tokens) - LENGTH + 1)}
    return found


def alike(students: Mapping[str, set[str]]) -> list[tuple[float, str, str]]:
    """Return the pairs of students who share the most, beginning with the most alike.

    What more than a fifth of the class (and more than three) have in common is the exercise's, not theirs: it is left
    out.
    """
    often = max(3, len(students) // 5)
    held = Counter(shingle for own in students.values() for shingle in own)
    own = {who: {shingle for shingle in set_ if held[shingle] <= often} for who, set_ in students.items()}
    index: dict[str, list[str]] = defaultdict(list)
    for who in sorted(own):
        if len(own[who]) >= FEWEST:
            for shingle in own[who]:
                index[shingle].append(who)
    shared = Counter(pair for who in index.values() for pair in combinations(who, 2))
    pairs = [(count / min(len(own[a]), len(own[b])), a, b) for (a, b), count in shared.items()]
    return sorted((pair for pair in pairs if pair[0] >= ALIKE), reverse=True)


def _defined(source: str, answers: Collection[str]) -> Iterable[str]:
    lines = [line for line in source.split("\n") if not line.lstrip().startswith(("%", "!"))]
    code = "\n".join(lines)
    if len(code) > LONGEST:
        return
    try:
        tree = ast.parse(code)
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in answers:
                yield ast.unparse(_without_docstrings(node))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return


def _without_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _tokens(code: str) -> Iterable[str]:
    before = ""
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.NAME:
            yield token.string if before == "." or keyword.iskeyword(token.string) else "name"
        elif token.type in (tokenize.OP, tokenize.NUMBER):
            yield token.string
        elif token.type == tokenize.STRING:
            yield "text"
        before = token.string

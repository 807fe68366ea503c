"""Collects every message that a person can meet into tests/messages.txt: `python tests/messages.py` writes it.

Read it aloud after a change: it is the text of the product. `{...}` stands for what a message names.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILE = Path(__file__).with_name("messages.txt")
FOLDERS = ("cli/sploot", "splootd")
CALLS = frozenset(
    [
        "print",
        "print_stderr",
        "print_error",
        "MessageReply",
        "ActionRequired",
        "Finding",
        "Remedy",
        "Option",
        "Argument",
        "RuntimeError",
    ]
)
"""Functions and classes whose texts are shown. Errors are found by their names, see `_is_shown`."""
NOT_SHOWN = (
    "cli/sploot/examples.py",
    "splootd/protocol/__init__.py",
    "splootd/store/schema.py",
    "splootd/store/queries.py",
)
MARKUP = ("<", "PRAGMA", "HTTP/1.1 {", "Content-", "default-src", "Max-Age", "charset=")
ERRORS = frozenset(
    ["AlreadyRunning", "FileMissing", "EmptyFile", "NotAnImage", "RateLimited", "Unauthenticated", "TagsRejected"]
)
WORDS_MIN = 3  # shorter texts are names and labels


def collect() -> str:
    """Return all messages, by module."""
    sections = []
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            if str(file.relative_to(ROOT)) in NOT_SHOWN:
                continue
            found = dict.fromkeys(_messages(ast.parse(file.read_text("utf-8"))))
            if found:
                sections.append("\n".join([f"# {file.relative_to(ROOT)}", *found]))
    return "\n\n".join(sections) + "\n"


def _messages(tree: ast.Module) -> Iterator[str]:
    for node in _walk(tree):
        if isinstance(node, ast.Call) and _is_shown(node):
            for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
                yield from _texts(argument)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.Return | ast.Yield | ast.AugAssign) and node.value:
            # Sentences are also built step by step: in tables, in variables, and as results of functions.
            yield from (text for text in _texts(node.value) if " " in text.strip())


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a module except those of `__repr__`, which only a developer sees."""
    if not (isinstance(node, ast.FunctionDef) and node.name == "__repr__"):
        yield node
        for child in ast.iter_child_nodes(node):
            yield from _walk(child)


def _is_shown(call: ast.Call) -> bool:
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    return name in CALLS or name in ERRORS or name.endswith("Error")


def _texts(node: ast.expr) -> Iterator[str]:
    """Yield the texts in an expression, with placeholders for what they name."""
    match node:
        case ast.Constant(value=str(text)):
            shown = text
        case ast.JoinedStr(values=parts):
            shown = "".join(
                part.value if isinstance(part, ast.Constant) else "{...}"
                for part in parts
                if not isinstance(part, ast.Constant) or isinstance(part.value, str)
            )
        case ast.Call():
            return
        case _:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    yield from _texts(child)
            return
    if len(shown.split()) >= WORDS_MIN and not shown.isupper() and not any(each in shown for each in MARKUP):
        yield " ".join(shown.split())


if __name__ == "__main__":
    FILE.write_text(collect(), "utf-8")

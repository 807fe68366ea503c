"""File names from clients, which are shown, searched and offered for downloads; no path is built from them."""

import re

NAME_CHARS_MAX = 255
# Control characters; those that change the direction of text, by which `gpj.exe` looks like `exe.jpg` (Unicode Standard
# Annex 9, section 2); and spaces without width. The joiners U+200C and U+200D stay: emoji, Persian and Indic scripts
# need them.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def split_file_name(name: str) -> tuple[str, str]:
    """Return the last folder, '' if there is none, and the last component of a client's file name, both printable."""
    *folders, base = ["", *name.replace("\\", "/").split("/")]
    return _clean(folders[-1]), _clean(base) or "untitled"


def _clean(name: str) -> str:
    """Remove unprintable characters and lone surrogates, and keep the end of a long name: it has the extension."""
    return UNPRINTABLE.sub("", name).encode("utf-8", "replace").decode()[-NAME_CHARS_MAX:]

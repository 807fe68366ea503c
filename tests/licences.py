"""List the licences of everything that an install brings: python tests/licences.py > docs/licences.md.

The packages are those that `pyproject.toml` requires, and what they require in turn, on the machine it is run on.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

HEAD = """\
# Licences

Sploot is under the MIT licence (`LICENSE`). What its install brings, in the words of each package's own metadata; the
packages of the extra `local` bring the embedded library. Made by `python tests/licences.py`.
"""
ROOT = Path(__file__).parent.parent
CLASSIFIER = "License :: OSI Approved :: "
LONGEST = 60  # some put the whole text where its name belongs


def required(lines: Iterable[str]) -> dict[str, Distribution]:
    """Every package that the requirements in `lines` bring on this machine, by its normal name."""
    found: dict[str, Distribution] = {}
    left = [(line, "") for line in lines]
    seen = set[tuple[str, str]]()
    while left:
        line, extra = left.pop()
        if (line, extra) in seen:
            continue
        seen.add((line, extra))
        requirement = Requirement(line)
        name = normal(requirement.name)
        if not applies(requirement, extra) or (name in found and not requirement.extras):
            continue
        found[name] = package = distribution(name)
        for inner in package.requires or []:
            left += [(inner, wanted) for wanted in ("", *requirement.extras) if applies(Requirement(inner), wanted)]
    return found


def applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def licence(package: Distribution) -> str:
    """What a package says it is under: an SPDX expression, else its classifiers, else its own words."""
    meta = package.metadata
    if expression := meta.get("License-Expression"):
        return str(expression)
    classifiers = [each.removeprefix(CLASSIFIER) for each in meta.get_all("Classifier") or [] if CLASSIFIER in each]
    words = str(meta.get("License") or "").strip().partition("\n")[0]
    return ", ".join(classifiers) or (words if 0 < len(words) <= LONGEST else "see the package")


def table(packages: dict[str, Distribution]) -> Iterator[str]:
    yield "| package | licence |"
    yield "|---|---|"
    for name, package in sorted(packages.items()):
        yield f"| {name} | {licence(package)} |"


def page() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    small = required(project["dependencies"])
    whole = required(project["dependencies"] + project["optional-dependencies"]["local"])
    extra = {name: package for name, package in whole.items() if name not in small}
    parts = [HEAD, "## The default install\n", *table(small), "\n## `sploot[local]`\n", *table(extra)]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    print(page(), end="")

"""The shape of the source: imports go one way, every file says its subject, and the checkers find nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("secure_fair", "parties", "scenarios")

# what each part may import of the others, besides itself; the longest name that fits a module is its part
ALLOWED = {
    "scenarios": {"parties", "secure_fair"},
    "parties": {"secure_fair"},
    "secure_fair": set(),  # the package itself, without its parts
    "secure_fair.errors": set(),
    "secure_fair.compat": {"secure_fair.errors"},
    "secure_fair.data": {"secure_fair.errors"},
    "secure_fair.mpc": {"secure_fair.errors", "secure_fair.compat"},
    "secure_fair.privacy": {"secure_fair.errors", "secure_fair.compat", "secure_fair.mpc"},
    "secure_fair.learning": {
        *("secure_fair.errors", "secure_fair.compat", "secure_fair.data"),
        *("secure_fair.mpc", "secure_fair.privacy"),
    },
}
ABOVE_LEARNING = {
    *("secure_fair.errors", "secure_fair.compat", "secure_fair.data"),
    *("secure_fair.mpc", "secure_fair.privacy", "secure_fair.learning"),
}
ALLOWED |= {
    "secure_fair.fairness": ABOVE_LEARNING,
    "secure_fair.attacks": ABOVE_LEARNING | {"secure_fair.fairness"},
    "secure_fair.report": ABOVE_LEARNING | {"secure_fair.fairness", "secure_fair.attacks"},
}


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str | None:
    """The part of the program that a module belongs to; None for everything outside."""
    fitting = [part for part in ALLOWED if module == part or module.startswith(part + ".")]
    return max(fitting, key=len, default=None)


def imports_of(tree: ast.Module, package: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported anywhere in a file, inside functions and TYPE_CHECKING too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            # `from secure_fair import mpc` names a package: without the alias the part would not be seen
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def violations(source: str, module: str, package: str) -> list[str]:
    own = part_of(module)
    assert own is not None
    found = []
    for line, name in imports_of(ast.parse(source), package):
        part = part_of(name)
        if part is None or part == own:
            continue
        if not any(part == allowed or part.startswith(allowed + ".") for allowed in ALLOWED[own]):
            found.append(f"{module}:{line}: {own} may not import {name}")
    return found


def test_imports_go_one_way():
    found = []
    for path in sources():
        module = module_of(path)
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        found += violations(path.read_text(), module, package)
    assert found == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("secure_fair.mpc.session", "import secure_fair.privacy.gate"),
        ("secure_fair.mpc.session", "def f():\n    from secure_fair.learning import lora"),
        ("secure_fair.privacy.gate", "from secure_fair import learning"),
        ("secure_fair.privacy.gate", "from ..report import html"),
        ("secure_fair.data.faces", "from secure_fair.compat import repair"),
        ("secure_fair.errors", "from .mpc import session"),
        ("secure_fair.learning.train", "from parties.messages import send"),
        ("parties.developer", "if TYPE_CHECKING:\n    from scenarios.schema import Scenario"),
        ("secure_fair.fairness.metrics", "from secure_fair.report import tables"),
    ],
)
def test_a_planted_wrong_import_is_found(module, source):
    assert len(violations(source, module, module.rpartition(".")[0])) == 1


def test_every_source_file_says_its_subject_first():
    silent = [module_of(path) for path in sources() if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def test_the_project_names_no_place_of_a_machine():
    """Sources, scenarios and build files hold neither absolute home or work folders nor package hosts."""
    texts = [*sources(), *(ROOT / "scenarios" / "library").glob("*.toml"), *ROOT.glob("*.txt"), ROOT / "Makefile"]
    marks = (*(f"/{folder}/" for folder in ("home", "root", "work")), "pypi" + ".org", "index" + "-url")
    found = [f"{path.relative_to(ROOT)}: {mark}" for path in texts for mark in marks if mark in path.read_text()]
    assert found == []


@pytest.mark.parametrize(
    "command",
    [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]],
    ids=["ruff-check", "ruff-format", "mypy"],
)
def test_the_checkers_find_nothing(command):
    result = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr

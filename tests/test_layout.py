"""The shape of the source: imports go one way, every file says its subject, and the checkers find nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("secure_fair", "tools")

# what each part imports of the others, and may, besides itself; the longest name that fits a module is its part
PARTS: dict[str, set[str]] = {
    "errors": set(),
    "compat": set(),
    "defaults": set(),
    "files": set(),
    "ids": set(),
    "sections": set(),
    "stopping": set(),
    "randomness": set(),
    "toml_text": {"errors"},
    "data": {"errors", "files", "ids"},
    "groups": {"data"},
    "mpc": {"errors", "compat", "defaults", "randomness", "sections", "stopping"},
    "privacy": {"defaults", "errors", "files", "ids", "randomness", "sections", "toml_text"},
    "operations": {"errors", "groups", "ids", "mpc", "privacy"},
    "learning": {"errors", "compat", "files", "groups", "operations", "privacy", "sections"},
    "fairness": set(),
    "attacks": {"data", "errors", "files", "groups", "learning", "mpc", "operations", "privacy", "randomness"},
    "report": {"errors", "fairness", "files", "privacy"},
    "parties": {
        "attacks",
        "data",
        "defaults",
        "errors",
        "fairness",
        "files",
        "groups",
        "ids",
        "learning",
        "mpc",
        "operations",
        "privacy",
        "randomness",
        "stopping",
        "toml_text",
    },
    "bench": {
        "compat",
        "data",
        "errors",
        "fairness",
        "groups",
        "learning",
        "mpc",
        "operations",
        "parties",
        "privacy",
        "report",
    },
    "__main__": {"scenarios"},
}
ALLOWED: dict[str, set[str]] = {
    "secure_fair": {"secure_fair.scenarios"},  # the package without its parts: the interface, imported when asked
    "secure_fair.scenarios": {"secure_fair"},
    "tools": {"secure_fair"},
    **{f"secure_fair.{part}": {f"secure_fair.{other}" for other in others} for part, others in PARTS.items()},
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


def crossings(source: str, module: str, package: str) -> Iterator[tuple[int, str, str]]:
    """Line, name and part of everything that a file imports of other parts."""
    for line, name in imports_of(ast.parse(source), package):
        part = part_of(name)
        if part is not None and part != part_of(module):
            yield line, name, part


def covering(own: str, part: str) -> str | None:
    """What allows ``own`` to import of ``part``."""
    fitting = (allowed for allowed in ALLOWED[own] if part == allowed or part.startswith(allowed + "."))
    return next(fitting, None)


def violations(source: str, module: str, package: str) -> list[str]:
    own = part_of(module)
    assert own is not None
    return [
        f"{module}:{line}: {own} may not import {name}"
        for line, name, part in crossings(source, module, package)
        if covering(own, part) is None
    ]


def package_of(path: Path) -> str:
    return module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]


def test_imports_go_one_way():
    found = [v for path in sources() for v in violations(path.read_text(), module_of(path), package_of(path))]
    assert found == []


def test_nothing_is_allowed_that_is_not_used():
    used = {
        (part_of(module_of(path)), covering(part_of(module_of(path)), part))
        for path in sources()
        for _, _, part in crossings(path.read_text(), module_of(path), package_of(path))
    }
    assert {(own, other) for own, others in ALLOWED.items() for other in others} - used == set()


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Every file that imports itself through others, with the way."""
    found = []
    for start in graph:
        ways, seen = [[start]], set()
        while ways:
            way = ways.pop()
            for following in graph.get(way[-1], ()):
                if following == start:
                    found.append([*way, start])
                elif following not in seen:
                    seen.add(following)
                    ways.append([*way, following])
    return found


def test_no_file_imports_itself_through_others():
    """In functions and under TYPE_CHECKING too."""
    modules = {module_of(path) for path in sources()}
    graph = {}
    for path in sources():
        named = {name for _, name in imports_of(ast.parse(path.read_text()), package_of(path))}
        targets = {name if name in modules else name.rpartition(".")[0] for name in named}
        graph[module_of(path)] = (targets & modules) - {module_of(path)}
    assert circles(graph) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c", "b"], ["c", "b", "c"]]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("secure_fair.mpc.session", "import secure_fair.privacy.gate"),
        ("secure_fair.mpc.session", "def f():\n    from secure_fair.learning import lora"),
        ("secure_fair.privacy.gate", "from secure_fair import learning"),
        ("secure_fair.privacy.gate", "from ..report import html"),
        ("secure_fair.data.faces", "from secure_fair.compat import repair"),
        ("secure_fair.errors", "from .mpc import session"),
        ("secure_fair.mpc.session", "from secure_fair.operations.moment import Moment"),
        ("secure_fair.privacy.noise", "from secure_fair.mpc import session"),
        ("secure_fair.learning.train", "def f():\n    import secure_fair.mpc.session"),
        ("secure_fair.learning.train", "from secure_fair.parties.messages import send"),
        ("secure_fair.parties.developer", "from secure_fair.bench import work"),
        ("secure_fair.parties.developer", "if TYPE_CHECKING:\n    from secure_fair.scenarios.schema import Scenario"),
        ("secure_fair.fairness.metrics", "from secure_fair.report import tables"),
    ],
)
def test_a_planted_wrong_import_is_found(module, source):
    assert len(violations(source, module, module.rpartition(".")[0])) == 1


def test_every_source_file_says_its_subject_first():
    silent = [module_of(path) for path in sources() if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def test_docstrings_begin_with_a_verb_or_with_their_subject():
    found = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                first = (ast.get_docstring(node) or "Nothing").split()[0]
                if first in ("Of", "What"):
                    found.append(f"{path.relative_to(ROOT)}: {first} ...")
    assert found == []


def defined(kinds: tuple[type, ...]) -> Iterator[tuple[Path, ast.AST]]:
    """Every definition of these kinds, with its file."""
    for path in sources():
        yield from ((path, node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds))


def test_a_class_name_has_one_meaning():
    named: dict[str, list[str]] = {}
    for path, node in defined((ast.ClassDef,)):
        named.setdefault(node.name, []).append(module_of(path))
    assert {name: modules for name, modules in named.items() if len(modules) > 1} == {}


def test_functions_and_operations_can_be_seen_at_once():
    """Sixty lines a function, with its signature and what it says; 150 a file of an operation, with its plain twin."""
    functions = {
        f"{module_of(path)}.{node.name}": node.end_lineno - node.lineno + 1
        for path, node in defined((ast.FunctionDef, ast.AsyncFunctionDef))
    }
    rooms = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "secure_fair/operations").glob("*.py")}
    assert {name: lines for name, lines in functions.items() if lines > 60} == {}
    assert {name: lines for name, lines in rooms.items() if lines > 150} == {}


def test_the_project_names_no_place_of_a_machine():
    """Sources, scenarios and build files hold neither absolute home or work folders nor package hosts."""
    texts = [
        *sources(),
        *(ROOT / "secure_fair" / "scenarios" / "library").glob("*.toml"),
        *ROOT.glob("*.txt"),
        ROOT / "Makefile",
    ]
    marks = (*(f"/{folder}/" for folder in ("home", "root", "work")), "pypi" + ".org", "index" + "-url")
    found = [f"{path.relative_to(ROOT)}: {mark}" for path in texts for mark in marks if mark in path.read_text()]
    assert found == []


@pytest.mark.parametrize(
    "command",
    [["ruff", "check"], ["ruff", "format", "--check"], pytest.param(["mypy"], marks=pytest.mark.slow)],
    ids=["ruff-check", "ruff-format", "mypy"],
)
def test_the_checkers_find_nothing(command):
    result = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr

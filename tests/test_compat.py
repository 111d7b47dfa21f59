"""The import repairs hold in a fresh interpreter, cost nothing but torch, and can be made twice.

There are two kinds of install: a torchvision that matches torch and has its own operators, and one built for another
torch, whose operators the repair declares. Every test states what holds on the kind that it runs on; what holds for a
torchvision without operators is tested on both, for where they would load the program refuses to load them.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

OPERATORS = (
    "import torch\n"
    "def operators():\n"
    "    names = torch._C._dispatch_get_all_op_names()\n"
    "    return sorted(n.removeprefix('torchvision::') for n in names if n.startswith('torchvision::'))\n"
)
REFUSE = (
    "import torch\n"
    "def refuse(path):\n"
    "    raise OSError(f'{path} is made for another build of torch')\n"
    "torch.ops.load_library = refuse\n"
)


def run(program: str) -> str:
    """Run a program in a fresh interpreter and return what it prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="session")
def without_operators(own_operators: bool) -> str:
    """Lines after which torchvision has no operators: none where it has none anyway."""
    return REFUSE if own_operators else ""


def test_crypten_and_timm_import_after_the_repair() -> None:
    program = "import secure_fair.compat\nimport crypten, torchvision, timm\nprint(crypten.__version__)"
    assert run(program) == "0.4.1"


def test_crypten_first_or_torchvision_first() -> None:
    assert run("import secure_fair.compat\nimport timm\nimport crypten\nprint('ok')") == "ok"


def test_only_torch_is_imported() -> None:
    program = (
        "import sys, torch\nbefore = set(sys.modules)\nimport secure_fair.compat\n"
        "print({m.split('.')[0] for m in set(sys.modules) - before} - {'torch', 'secure_fair'} & "
        "{'crypten', 'torchvision', 'timm', 'peft', 'opacus'})"
    )
    assert run(program) == "set()"


def test_torchvision_has_its_own_operators_or_two_declared_ones(own_operators: bool, without_operators: str) -> None:
    """Nothing is added to operators that load, and they compute; where none load, two are declared for the fakes."""
    program = OPERATORS + (
        "import secure_fair.compat\n"
        "import torchvision\n"
        "print(torchvision.extension._has_ops(), *operators())\n"
        "boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.9], [2.0, 2.0, 3.0, 3.0]])\n"
        "try:\n"
        "    print(torchvision.ops.nms(boxes, torch.tensor([0.5, 0.9, 0.7]), 0.5).tolist())\n"
        "except RuntimeError as error:\n"
        "    print(str(error).partition('.')[0])"
    )
    assert run(without_operators + program).splitlines() == ["False nms qnms", "Couldn't load custom C++ ops"]
    if own_operators:
        untouched = run(OPERATORS + "import torchvision\nprint(True, *operators())")
        assert run(program).splitlines() == [untouched, "[1, 2]"]


def test_torchvision_imported_before_the_repair(own_operators: bool) -> None:
    """A torchvision with operators stays as it is, and one that could not be imported can be after the repair."""
    program = OPERATORS + (
        "try:\n"
        "    import torchvision\n"
        "    print('imported')\n"
        "except RuntimeError as error:\n"
        "    print(error)\n"
        "before = operators()\n"
        "import secure_fair.compat\n"
        "import torchvision\n"
        "print(*[name for name in operators() if name not in before])"
    )
    if own_operators:
        assert run(program) == "imported"
    else:
        assert run(program).splitlines() == ["operator torchvision::nms does not exist", "nms qnms"]


def test_repair_is_idempotent() -> None:
    """The operators and their fakes outlive a second repair, before and after torchvision is imported."""
    program = OPERATORS + (
        "import importlib, secure_fair.compat as compat\n"
        "first, nms = operators(), torch.ops.torchvision.nms\n"
        "importlib.reload(compat)\n"
        "import torchvision\n"
        "importlib.reload(compat)\n"
        "print(operators() == first, torch.ops.torchvision.nms is nms)\n"
        "from torch._subclasses.fake_tensor import FakeTensorMode\n"
        "from torch.fx.experimental.symbolic_shapes import ShapeEnv\n"
        "with FakeTensorMode(shape_env=ShapeEnv()):\n"
        "    kept = torch.ops.torchvision.nms(torch.empty(3, 4), torch.empty(3), 0.5)\n"
        "print(kept.dtype)"
    )
    assert run(program).splitlines() == ["True True", "torch.int64"]


def test_repair_is_idempotent_and_leaves_existing_operators_alone(without_operators: str) -> None:
    """An operator that somebody else declared where none load is not declared again.

    Where torchvision's own operators load, such a declaration would end the process when they do, with or without
    the repair.
    """
    program = (
        without_operators + "import torch\n"
        "kept = torch.library.Library('torchvision', 'DEF')\n"
        "kept.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')\n"
        "import importlib, secure_fair.compat as compat\n"
        "importlib.reload(compat)\n"
        "import torchvision, crypten\n"
        "print('ok')"
    )
    assert run(program) == "ok"

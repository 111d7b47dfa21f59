"""The import repairs hold in a fresh interpreter, cost nothing but torch, and can be made twice."""

from __future__ import annotations

import subprocess
import sys


def run(program: str) -> str:
    """Run a program in a fresh interpreter and return what it prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


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


def test_repair_is_idempotent_and_leaves_existing_operators_alone() -> None:
    program = (
        "import torch\n"
        "kept = torch.library.Library('torchvision', 'DEF')\n"
        "kept.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')\n"
        "import importlib, secure_fair.compat as compat\n"
        "importlib.reload(compat)\n"
        "import torchvision, crypten\n"
        "print('ok')"
    )
    assert run(program) == "ok"

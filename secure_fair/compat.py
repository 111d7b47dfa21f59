"""Repairs the imports of CrypTen and torchvision on current CPU builds of torch; importing this module does it.

Both repairs are made only where they are needed, and importing this module twice changes nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import torch

_MOVED = "torch.onnx._internal.registration"
_MOVED_TO = "torch.onnx._internal.torchscript_exporter.registration"
_DETECTION_OPERATORS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def _alias_onnx_registration() -> None:
    """CrypTen 0.4.1 imports the ONNX registration module under the name it had before torch 2.9."""
    if _MOVED in sys.modules or importlib.util.find_spec(_MOVED) is not None:
        return
    sys.modules[_MOVED] = importlib.import_module(_MOVED_TO)


def _missing_operators() -> list[str]:
    return [name for name in _DETECTION_OPERATORS if not hasattr(torch.ops.torchvision, name)]


def _declare_detection_operators() -> None:
    """A torchvision built for CUDA has no operators beside a CPU torch, but registers fakes for two of them.

    Where torchvision matches torch its own operators are loaded and nothing is declared: a declaration before they
    load would end the process, for one operator can be defined only once.
    """
    if not _missing_operators():
        return  # torchvision was imported before, or the repair was made before
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    for extension in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(extension))
        except OSError:
            continue  # made for another build of torch: torchvision goes on without its operators, and so do we
    for name in _missing_operators():
        torch.library.define(f"torchvision::{name}", _DETECTION_OPERATORS[name])  # kept as long as the process lives


_alias_onnx_registration()
_declare_detection_operators()

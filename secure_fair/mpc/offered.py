"""Functions of CrypTen that this engine has not: refused by name, before anything is sent, with what to use instead.

A function that sets one of CrypTen's settings for a while is among them: settings here are plain attributes, the same
at every access, and what such functions return is wrong outside of ranges that they do not check.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import secure_fair.compat  # noqa: F401
from secure_fair.errors import NotOffered

import crypten  # isort: skip
import crypten.nn  # isort: skip
from crypten import gradients  # isort: skip
from crypten.mpc import MPCTensor  # isort: skip
from crypten.mpc.primitives import ArithmeticSharedTensor  # isort: skip

_UNFOLD = "unfold the input in the clear, before it is shared, and use matmul"
_BOUNDED = "bound the argument and use secure_fair.mpc.approximations.{}"
_DROPOUT = "it draws from torch's generator; drop out in the clear, before values are shared"
_POLYNOMIAL = _BOUNDED.format("polynomial")
_COMPARE = "compare what is to be compared (x > y) and multiply by the result, or open the values with noise"

FUNCTIONS = {
    **dict.fromkeys(("conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d"), _UNFOLD),
    **dict.fromkeys(("log", "reciprocal"), _POLYNOMIAL),
    **dict.fromkeys(("sigmoid", "tanh"), _BOUNDED.format("sigmoid")),
    **dict.fromkeys(("softmax", "log_softmax"), _BOUNDED.format("softmax")),
    **dict.fromkeys(("argmax", "argmin", "max", "min", "max_pool2d"), _COMPARE),
}
"""Functions of shared tensors by their names, and what to use in place of each."""

OBJECTS = "it would travel as a pickle; agree on it before the session, and share its tensors"
FILES = "they are pickles; keep each party's share (an int64 tensor) and use secure_fair.mpc.shares.from_share"
MESSAGES = "share a value with Session.share, and open one to a party with Session.reveal_to"
COUNTS = "the session's meter counts rounds and bytes of every operation"
SCHEDULES = "the dealer is asked ahead with Session.prefetch"
MODELS = "a model runs in the clear at its owner; share its features"
SEEDS = "a seed of torch's generator has 32 bits; keys come from the operating system"


def not_offered(what: str, instead: str) -> Callable[..., NoReturn]:
    """Make a function, or a method, that raises ``NotOffered`` whatever it is given."""

    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotOffered(f"{what} is not offered by this engine: {instead}")

    return refuse


def refuse_the_rest() -> None:
    """Put a refusal in the place of everything of CrypTen's tensors and settings that is not offered."""
    for name, instead in FUNCTIONS.items():
        for tensor in (MPCTensor, ArithmeticSharedTensor):
            if hasattr(tensor, name):
                setattr(tensor, name, not_offered(name, instead))
    dropout = not_offered("dropout", _DROPOUT)
    for drawn in (gradients.AutogradDropout, gradients.AutogradFeatureDropout):
        drawn.forward = staticmethod(dropout)
    for name in ("dropout", "dropout2d", "dropout3d"):
        setattr(MPCTensor, name, dropout)
    for name in ("save", "load", "save_from_party", "load_from_party"):
        setattr(crypten, name, not_offered(f"crypten.{name}", FILES))
    for name in ("trace", "trace_once", "fill_cache"):
        setattr(crypten, name, not_offered(f"crypten.{name}", SCHEDULES))
    for name in ("from_pytorch", "from_onnx"):
        setattr(crypten.nn, name, not_offered(f"crypten.nn.{name}", MODELS))
    crypten.manual_seed = not_offered("crypten.manual_seed", SEEDS)
    type(crypten.cfg).temp_override = not_offered(
        "a setting of CrypTen's for a while", "this engine's settings are those of Session.open"
    )

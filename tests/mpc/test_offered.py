"""The engine's edges: what CrypTen has and the engine has not is refused by name, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from secure_fair.errors import NotOffered, UsageError
from secure_fair.mpc.menu import MAX_ELEMENTS, Conjunctions, Digits, Fresh, Product, Square
from secure_fair.mpc.offered import FUNCTIONS
from secure_fair.mpc.session import Session
from tests.mpc.harness import run
from tests.mpc.values import AUDITOR, DEVELOPER, of_norm, open_to, share

REFUSED: dict[str, Callable[[Any], Any]] = {
    **{name: lambda x, name=name: getattr(x, name)() for name in FUNCTIONS if name != "dropout"},
    "dropout": lambda x: x.dropout(),
    "sending an object": lambda x: _crypten().communicator.get().broadcast_obj({}, 0),
    "a message to one party": lambda x: _crypten().communicator.get().send(torch.zeros(1), 0),
    "a count of CrypTen's": lambda x: _crypten().communicator.get().get_communication_stats(),
    "crypten.save": lambda x: _crypten().save(x, "nowhere"),
    "crypten.trace": lambda x: _crypten().trace(),
    "crypten.manual_seed": lambda x: _crypten().manual_seed(1, 2, 3),
    "crypten.nn.from_pytorch": lambda x: _crypten().nn.from_pytorch(torch.nn.Linear(2, 2), torch.zeros(1, 2)),
    "a setting of CrypTen's for a while": lambda x: _crypten().cfg.temp_override({"functions.exp_iterations": 8}),
}
BEYOND: list[tuple[str, Callable[[Session], Any]]] = [
    ("at most", lambda s: s.provider.take(Square((MAX_ELEMENTS + 1,)))),
    ("at most", lambda s: s.provider.take(Digits(MAX_ELEMENTS // 2))),
    ("at most", lambda s: s.provider.take(Conjunctions(4 * MAX_ELEMENTS, 3, (3, 5, 6)))),
    ("6 dimensions", lambda s: s.provider.take(Square((1,) * 7))),
    ("do not fit", lambda s: s.provider.take(Product("matmul", Fresh((2, 3)), Fresh((4, 2))))),
    ("do not fit", lambda s: s.provider.take(Product("mul", Fresh((3,)), Fresh((4,))))),
    ("at most 4096", lambda s: s.provider.ask([Square((1,))] * 4097)),
    ("cut the work", lambda s: s.provider.ask([Square((MAX_ELEMENTS,))] * 3)),
]


def _crypten() -> Any:
    import crypten

    return crypten


def sent_by(session: Session) -> int:
    """Bytes to peers and the dealer, without what links tell one another of themselves."""
    channels = ("compute", "opening", "dealer")
    return sum(
        traffic.bytes_sent for (_, channel), traffic in session._network.traffic().items() if channel in channels
    )


def refusals(session: Session) -> dict[str, tuple[str, str]]:
    """The class and the message of every refusal, and that nothing was sent for it."""
    x, found = share(session, DEVELOPER, of_norm((4, 4), 1.0, 1)), {}
    before = sent_by(session)
    for name, action in REFUSED.items():
        try:
            found[name] = ("none", str(action(x)))
        except Exception as error:
            found[name] = (type(error).__name__, str(error))
    return {**found, "sent": (str(sent_by(session) - before), "")}


def test_what_is_not_offered_is_refused_by_its_name_with_what_to_use() -> None:
    for found in run(refusals):
        assert found.pop("sent") == ("0", "")
        for name, (kind, message) in found.items():
            assert kind == NotOffered.__name__, (name, kind, message)
            assert message.startswith(f"{name} is not offered by this engine: ")


def beyond(session: Session) -> list[str]:
    before, found = sent_by(session), []
    for _, action in BEYOND:
        with pytest.raises(UsageError) as error:
            action(session)
        found.append(str(error.value))
    assert sent_by(session) == before
    share_and_open = open_to(session, DEVELOPER, share(session, DEVELOPER, torch.ones(2)))  # the session goes on
    assert share_and_open is None or share_and_open.tolist() == [1.0, 1.0]
    return found


def test_a_request_beyond_the_dealers_bounds_is_not_sent() -> None:
    for found in run(beyond):
        for (text, _), message in zip(BEYOND, found, strict=True):
            assert text in message


def vectors(session: Session) -> list[Tensor | None]:
    v, w = share(session, DEVELOPER, of_norm((5,), 2.0, 1)), share(session, AUDITOR, of_norm((5,), 2.0, 2))
    m = share(session, AUDITOR, of_norm((3, 5, 5), 2.0, 3))
    return [open_to(session, DEVELOPER, product) for product in (v.matmul(w), v.matmul(m), m.matmul(v))]


@pytest.mark.parametrize("parties", [2, 3])
def test_products_of_vectors_are_as_torch_has_them(parties: int) -> None:
    v, w, m = of_norm((5,), 2.0, 1), of_norm((5,), 2.0, 2), of_norm((3, 5, 5), 2.0, 3)
    for value, expected in zip(run(vectors, parties=parties)[0], (v @ w, v @ m, m @ v), strict=True):
        assert value is not None
        assert value.shape == expected.shape
        assert float((value - expected).abs().max()) < 3e-4


def collectives(session: Session) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    communicator, own = session.communicator, torch.tensor([1.5, -2.0]) * (session.rank + 1)
    single = communicator.broadcast(own.clone(), 1)
    several = communicator.broadcast([own.clone(), own.double(), own.long()], 0, batched=True)
    gathered = communicator.all_gather(own)
    own += 100  # what was gathered does not change with it
    return single, several, gathered


def test_numbers_of_any_type_are_broadcast_and_gathered() -> None:
    for single, several, gathered in run(collectives, parties=3):
        assert single.tolist() == [3.0, -4.0]
        assert [part.dtype for part in several] == [torch.float32, torch.float64, torch.int64]
        assert [part.tolist() for part in several] == [[1.5, -2.0], [1.5, -2.0], [1, -2]]
        assert [part.tolist() for part in gathered] == [[1.5, -2.0], [3.0, -4.0], [4.5, -6.0]]

"""The adversary's step and the comparison by SPU's SEMI2K, two parties, for comparison: a program of its own.

``PYTHON FILE SETTINGS``, by an interpreter that has ``spu``; the settings are JSON. Both parties are processes of one
thread on this machine and talk over TCP in the clear. The masks are made by the first party (SPU's trusted first
party), as its wheel has no other server: that saves the messages of a dealer, and hides nothing from that party.
The step is measured twice: all that ours computes, and without what keeps the weights in their ball.
The names of its programs are those of ``semi2k.py``.
First it prints its version and the largest error of each program, as JSON, then for each program named on a line of
its input the seconds of a call.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing.connection import Connection
from typing import Any

import jax.numpy as jnp
import numpy as np
import spu
import spu.utils.frontend as frontend

CONFIG = {"protocol": spu.ProtocolKind.SEMI2K, "field": spu.FieldType.FM64, "fxp_fraction_bits": 16}


@dataclass(frozen=True)
class StepSettings:
    """Sizes, calls in a row, the first of two free ports, and the constants of the step, as ours has them."""

    batch: int
    dim: int
    calls: int
    port: int
    ball: float
    rate: float
    pull: float
    coefficients: list[float]

    def sigmoid(self, logits: Any) -> Any:
        """The Chebyshev polynomial of ours (B, 1): at once faster here and nearer to it than SPU's own sigmoid."""
        unit = (logits / self.ball).T
        known = unit  # T_1 .. T_m; T_(m+j) = 2 T_m T_j - T_(m-j)
        while len(known) < len(self.coefficients) - 1:
            zeroth = jnp.ones_like(unit)
            known = jnp.concatenate([known, 2 * known[-1:] * known - jnp.concatenate([known[:-1][::-1], zeroth])])
        first, *others = self.coefficients
        return (first + jnp.asarray(others) @ known[: len(others)])[:, None]

    def step(self, features: Any, members: Any, weights: Any) -> Any:
        """Gradient rows of the binary cross entropy by the features, and the weights after a step, in their ball."""
        rows, moved = self.free_step(features, members, weights)
        fourth = (jnp.sum(moved * moved) / self.ball**2) ** 2
        return rows, moved * (1 - self.pull * fourth * fourth)

    def free_step(self, features: Any, members: Any, weights: Any) -> Any:
        """The same, but nothing keeps the weights in the ball."""
        error = self.sigmoid(features @ weights) - members
        return error @ weights.T, weights - self.rate * (features.T @ error)

    def programs(self) -> dict[str, tuple[Any, list[np.ndarray]]]:
        """Each program and its inputs: rows of norm 1, memberships, weights at the edge of their ball; logits."""
        draw = np.random.default_rng(0)
        features, weights = draw.standard_normal((self.batch, self.dim)), draw.standard_normal((self.dim, 1))
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        members = draw.integers(0, 2, (self.batch, 1)).astype(np.float64)
        held = [features, members, self.ball * weights / np.linalg.norm(weights)]
        numbers = [draw.uniform(-8, 8, (self.batch, 1))]
        return {"adversary": (self.step, held), "no ball": (self.free_step, held), "comparison": (comparison, numbers)}


def comparison(numbers: Any) -> Any:
    """Which of the numbers are positive."""
    return numbers > 0


def party(rank: int, addresses: list[str], pipe: Connection) -> None:
    """Take programs with this party's shares of their inputs, each under a name, and run what is named, so often."""
    desc = spu.link.Desc()
    for place, address in enumerate(addresses):
        desc.add_party(f"party {place}", address)
    config = spu.RuntimeConfig(**CONFIG)
    config.max_concurrency = 1
    link = spu.link.create_brpc(desc, rank)
    runtime = spu.Runtime(link, config)
    programs: dict[str, Any] = {}
    while (task := pipe.recv()) is not None:
        name, given = task
        if isinstance(given, int):
            link.barrier()
            began = time.perf_counter()
            for _ in range(given):
                runtime.run(programs[name])
            pipe.send((time.perf_counter() - began) / given)
            continue
        programs[name], shares = given
        for held, share in zip(programs[name].input_names, shares, strict=True):
            runtime.set_var(held, share)
        runtime.run(programs[name])
        pipe.send([runtime.get_var(held) for held in programs[name].output_names])


def main(settings: StepSettings) -> None:
    """Start both, give them the programs, and have run what is asked for."""
    context = multiprocessing.get_context("spawn")
    addresses = [f"127.0.0.1:{settings.port + rank}" for rank in range(2)]
    pipes, processes = [], []
    for rank in range(2):
        near, far = context.Pipe()
        processes.append(context.Process(target=party, args=(rank, addresses, far), daemon=True))
        processes[-1].start()
        pipes.append(near)
    errors = {name: loaded(pipes, name, *program) for name, program in settings.programs().items()}
    print(json.dumps({"version": version("spu"), "errors": errors}), flush=True)
    for line in sys.stdin:
        for pipe in pipes:
            pipe.send((line.strip(), settings.calls))
        print(max(pipe.recv() for pipe in pipes), flush=True)
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.send(None)
        process.join(10)


def loaded(pipes: list[Connection], name: str, function: Any, values: list[np.ndarray]) -> float:
    """Give both the program and run it once: the largest difference of its outputs from the clear."""
    secret, io = spu.Visibility.VIS_SECRET, spu.Io(2, spu.RuntimeConfig(**CONFIG))
    program, _ = frontend.compile(
        frontend.Kind.JAX,
        function,
        values,
        {},
        [f"{name} in {place}" for place in range(len(values))],
        [secret] * len(values),
        lambda outputs: [f"{name} out {place}" for place in range(len(outputs))],
    )
    shares = [io.make_shares(value, secret) for value in values]
    for rank, pipe in enumerate(pipes):
        pipe.send((name, (program, [share[rank] for share in shares])))
    outputs = zip(*(pipe.recv() for pipe in pipes), strict=True)  # both parties' shares of each
    opened = [np.float64(io.reconstruct(list(held))) for held in outputs]
    plain = function(*values)
    expected = plain if isinstance(plain, tuple) else (plain,)
    return max(float(np.abs(found - np.float64(one)).max()) for found, one in zip(opened, expected, strict=True))


if __name__ == "__main__":
    main(StepSettings(**json.loads(sys.argv[1])))

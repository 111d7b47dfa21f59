"""The adversary's step and the comparison by SPU's SEMI2K, two parties, for comparison: a program of its own.

``PYTHON FILE BATCH DIM REPEAT CALLS PORT``, by an interpreter that has ``spu``: both parties are processes of one
thread on this machine and talk over TCP in the clear. The masks are made by the first party (SPU's trusted first
party), as its wheel has no other server: that saves the messages of a dealer, and hides nothing from that party.
Prints seconds of each turn and the largest error, by operation, as JSON.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from importlib.metadata import version
from multiprocessing.connection import Connection
from typing import Any

import jax.numpy as jnp
import numpy as np
import spu
import spu.utils.frontend as frontend

BALL, RATE = 4.0, 0.05
CONFIG = {"protocol": spu.ProtocolKind.SEMI2K, "field": spu.FieldType.FM64, "fxp_fraction_bits": 16}


def adversary(features: Any, members: Any, weights: Any) -> Any:
    """Gradient rows of the binary cross entropy by the features, and the weights after a step; no ball keeps them."""
    error = 1 / (1 + jnp.exp(-(features @ weights))) - members
    return error @ weights.T, weights - RATE * (features.T @ error)


def comparison(numbers: Any) -> Any:
    """Which of the numbers are positive."""
    return numbers > 0


def inputs(batch: int, dim: int) -> dict[str, tuple[Any, list[np.ndarray]]]:
    """Each operation and its inputs: rows of norm 1, memberships, weights at the edge of their ball; logits."""
    draw = np.random.default_rng(0)
    features, weights = draw.standard_normal((batch, dim)), draw.standard_normal((dim, 1))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    members = draw.integers(0, 2, (batch, 1)).astype(np.float64)
    held = [features, members, BALL * weights / np.linalg.norm(weights)]
    return {"adversary": (adversary, held), "comparison": (comparison, [draw.uniform(-8, 8, (batch, 1))])}


def party(rank: int, addresses: list[str], pipe: Connection) -> None:
    """Run what comes: an operation's program, this party's shares of its inputs, and how often, in turns."""
    desc = spu.link.Desc()
    for place, address in enumerate(addresses):
        desc.add_party(f"party {place}", address)
    config = spu.RuntimeConfig(**CONFIG)
    config.max_concurrency = 1
    link = spu.link.create_brpc(desc, rank)
    runtime = spu.Runtime(link, config)
    while (task := pipe.recv()) is not None:
        program, shares, repeat, calls = task
        for name, share in zip(program.input_names, shares, strict=True):
            runtime.set_var(name, share)
        runtime.run(program)
        seconds = []
        for _ in range(repeat):
            link.barrier()
            began = time.perf_counter()
            for _ in range(calls):
                runtime.run(program)
            seconds.append((time.perf_counter() - began) / calls)
        pipe.send((seconds, [runtime.get_var(name) for name in program.output_names]))


def main(batch: int, dim: int, repeat: int, calls: int, port: int) -> None:
    """Start both, give them the operations, and print what it cost."""
    context = multiprocessing.get_context("spawn")
    addresses = [f"127.0.0.1:{port + rank}" for rank in range(2)]
    pipes, processes = [], []
    for rank in range(2):
        near, far = context.Pipe()
        processes.append(context.Process(target=party, args=(rank, addresses, far), daemon=True))
        processes[-1].start()
        pipes.append(near)
    io, found = spu.Io(2, spu.RuntimeConfig(**CONFIG)), {}
    for name, (function, values) in inputs(batch, dim).items():
        found[name] = measured(io, pipes, function, values, (repeat, calls))
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.send(None)
        process.join(10)
    print(json.dumps({"version": version("spu"), "operations": found}))


def measured(
    io: Any, pipes: list[Connection], function: Any, values: list[np.ndarray], turns: tuple[int, int]
) -> dict[str, Any]:
    """One operation: seconds of its turns, each by the slower party, and the largest difference from the clear."""
    secret = spu.Visibility.VIS_SECRET
    names = [f"in{place}" for place in range(len(values))]
    visible = [secret] * len(values)
    program, _ = frontend.compile(
        frontend.Kind.JAX,
        function,
        values,
        {},
        names,
        visible,
        lambda outputs: [f"out{i}" for i in range(len(outputs))],
    )
    shares = [io.make_shares(value, secret) for value in values]
    for rank, pipe in enumerate(pipes):
        pipe.send((program, [share[rank] for share in shares], *turns))
    answers = [pipe.recv() for pipe in pipes]
    seconds = [max(times) for times in zip(*(answer[0] for answer in answers), strict=True)]
    opened = io.reconstruct([answer[1][0] for answer in answers])
    first = function(*values)
    plain = np.asarray(first[0] if isinstance(first, tuple) else first)
    return {"seconds": seconds, "error": float(np.abs(np.float64(opened) - np.float64(plain)).max())}


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:6]))

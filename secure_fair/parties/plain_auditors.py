"""The auditors in the clear: an in-process oracle behind the same gates as the parties on shares.

It is for parity tests, upper bounds and sweeps. It protects nothing from the process that it runs in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from secure_fair.attacks.common.strongest import Strongest
from secure_fair.groups import membership_matrix
from secure_fair.operations import OPERATIONS, requests
from secure_fair.operations.common.adapters import Adapter, row_matrices
from secure_fair.operations.common.ask import Ask, Release
from secure_fair.operations.common.operation import Update
from secure_fair.operations.common.state import PlainState, plain_intersection
from secure_fair.parties.auditors import KnownAuditors
from secure_fair.parties.config import RunConfig
from secure_fair.parties.enrolment import Enrolment, public_facts
from secure_fair.parties.holdings import Holdings
from secure_fair.privacy.gate import Gate
from secure_fair.privacy.openings import PlainOpening
from secure_fair.privacy.release_cache import ReleaseCache
from secure_fair.privacy.request import Grant, Request, charged_on

Admitted = list[tuple[Gate, list[Grant]]]  # what each gate has granted for one opening


class PlainAuditors(KnownAuditors):
    """``Auditors`` without shares: the plain twins of the operations, the same releases, the same noise."""

    def __init__(
        self,
        config: RunConfig,
        holders: Mapping[str, Holdings],
        enrolment: Enrolment,
        cache: ReleaseCache,
        attacker: Strongest | None = None,
    ) -> None:
        """``holders``: every auditor's holdings, by its name; ``attacker`` sees all that the developer is told."""
        super().__init__(config, enrolment, cache)
        self.attacker = attacker
        self.holders = holders
        self.scale = 2**config.precision_bits
        self.state = PlainState(public_facts(config, enrolment))
        for attribute, names in config.holders.items():
            codes = np.max([holders[name].codes[attribute] for name in names], axis=0)
            self.state.memberships[attribute] = membership_matrix(codes, len(enrolment.groups[attribute]))
        for name in config.computed_intersections if len(enrolment.ids) else ():
            parts = [self.state.memberships[component] for component in self.components(name)]
            self.state.memberships[name] = reduce(plain_intersection, parts)
        for holder in holders.values():
            self.state.sensitive |= {name: row_matrices(adapter) for name, adapter in holder.adapters.items()}

    def release(self, ask: Ask, records: np.ndarray, private: Sequence[Tensor] = ()) -> Release:
        """Every holder admits all that is wanted before anybody spends anything; then one gate after the other."""
        released = self._released(ask, records, private)
        if self.attacker is not None:
            self.attacker.saw(ask.operation, records, private, released.sigma)
        return released

    def _released(self, ask: Ask, records: np.ndarray, private: Sequence[Tensor]) -> Release:
        operation = OPERATIONS[ask.operation]
        *updates, openings = self._admit(requests(ask, records, self.state.facts))
        if not operation.rule.on_shares:
            return Release(self._sent(ask, records, openings))
        update = Update()
        for admitted in updates:
            shape = admitted[0][1][0].request.shape
            noise, sigma = self._open(admitted, torch.zeros(shape, dtype=torch.float64), self.scale**2)
            update = Update(sigma, noise if sigma else None)
        value = operation.plain(self.state, ask, records, [part.double() for part in private], update)
        return Release(*self._open(openings, value, self.scale))

    def _admit(self, wanted: Sequence[Request]) -> list[Admitted]:
        """By request, what each gate has granted."""
        admitted: list[Admitted] = [[] for _ in wanted]
        components = self.components(wanted[0].attribute)
        for name in self.answering(wanted[0].attribute):
            gate = self.holders[name].gate
            here = [component for component in components if component in self.holders[name].attributes]
            grants = gate.admit_together([charged_on(request, held) for request in wanted for held in here])
            for place, into in enumerate(admitted):
                into.append((gate, grants[place * len(here) : (place + 1) * len(here)]))
        return admitted

    def _open(self, admitted: Admitted, value: Tensor, scale: int) -> tuple[Tensor, float]:
        """One gate after the other adds its noise, as the holders' shares would; the sigma of all noise."""
        opened = value.double()
        for gate, grants in admitted:
            noised = gate.release_together(grants, PlainOpening(opened, scale))
            assert noised is not None  # the receiver is in this process
            opened = noised
        return opened, math.hypot(*(grant.receipt.sigma or 0.0 for _, grants in admitted for grant in grants))

    def _sent(self, ask: Ask, records: np.ndarray, admitted: Admitted) -> Tensor:
        """The holders' own values."""
        sent = []
        for gate, (grant,) in admitted:
            values, scale = OPERATIONS[ask.operation].send(self.holders[gate.auditor], ask, records, grant)
            opened = gate.release(grant, PlainOpening(values, scale))
            assert opened is not None  # the receiver is in this process
            sent.append((gate.auditor, opened.numpy()))
        return torch.from_numpy(self.joined(sent, records))

    def train_adversary(self, attribute: str, width: int, adapter: Adapter | None) -> None:
        """The auditor's own training, accounted at its gate."""
        (holder,) = self.config.holders[attribute]
        self.state.adversaries[attribute] = self.holders[holder].trainings[attribute](adapter)

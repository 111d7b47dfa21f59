"""Many records of one person in one release: each adds the same attribute, and noise for one record hides none."""

from __future__ import annotations

import numpy as np
import torch

from secure_fair.attacks.common.attack import Context, ScoredAttack, balanced
from secure_fair.attacks.common.auditor import AttackedPeople, auditor, training_plan
from secure_fair.attacks.common.statistics import Scores
from secure_fair.privacy.policy import Policy

NAME = "moment"
PERSONS, RECORDS = 400, 20  # and so many of each


class RecordsOfOnePerson(ScoredAttack):
    """A column of the query for each person, 1 for all of its records: the answer moves by their number."""

    claim = "all records of one person in a release tell no more than epsilon allows, where persons are known"
    view = "developer"
    needs = f"{RECORDS} records of a person"
    twin = "a store without a column of persons"

    def scores(self, context: Context, *, protected: bool) -> Scores:
        """One release about everybody."""
        known = protected
        attributes, count = balanced(PERSONS), PERSONS * RECORDS
        query = torch.eye(PERSONS, dtype=torch.float64).repeat_interleave(RECORDS, dim=0)
        persons = [f"person {number // RECORDS}" for number in range(count)]
        people = AttackedPeople(AttackedPeople.numbered(count).ids, persons if known else None)
        plan = training_plan(NAME, context.terms, exact=False, records_per_person=RECORDS if known else None)
        with auditor(attributes.repeat(RECORDS), plan, Policy(), people=people) as asked:
            told = asked.ask(NAME, np.arange(count, dtype=np.int64), query, context.terms.precision_bits)
        return Scores.of(told[:, 0], attributes, context.generator("records_of_one_person"))


ATTACK = RecordsOfOnePerson()

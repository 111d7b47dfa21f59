"""People's rows: who is whose is remembered as a dictionary would, over any number of tables."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from secure_fair.errors import UsageError
from secure_fair.privacy.spending import Spending

RECORD, PERSON = st.sampled_from("abcdefg"), st.sampled_from(["", "x", "y", "a"])
TABLES = st.lists(st.lists(st.tuples(RECORD, PERSON), max_size=8), max_size=5)


class Remembered:
    """The same, of strings: a record is its person's, or by itself, for ever."""

    def __init__(self) -> None:
        self.owner: dict[str, str] = {}

    def enrol(self, table: list[tuple[str, str]]) -> list[str] | None:
        """The names of the owners; None where a record was another's before."""
        for record, person in table:
            owner = f"person {person}" if person else record
            if self.owner.setdefault(record, owner) != owner:
                return None
        return [self.owner[record] for record, _ in table]


@given(TABLES)
def test_rows_are_peoples(tables: list[list[tuple[str, str]]]) -> None:
    """Records of one person share a row, others have other rows, and a record that changes hands is refused."""
    spending, remembered, row_of = Spending([], lambda name: []), Remembered(), dict[str, int]()
    for table in tables:
        records, persons = [record for record, _ in table], [person for _, person in table]
        owners = remembered.enrol(table)
        try:
            rows = spending.enrol(records, persons).tolist()
        except UsageError:
            assert owners is None
            return
        assert owners is not None
        assert spending.names(records) == owners
        for owner, row in zip(owners, rows, strict=True):
            assert row_of.setdefault(owner, row) == row
        assert len(set(row_of.values())) == len(row_of)

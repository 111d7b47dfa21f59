"""Data sets as files: pictures, labels, attributes, splits and the parties' stores."""

from secure_fair.data.check import Report, check, describe
from secure_fair.data.records import Attribute, Problem
from secure_fair.data.split import split
from secure_fair.data.store import AuditorStore, DeveloperStore
from secure_fair.data.table import Table, load_table

__all__ = [
    "Attribute",
    "AuditorStore",
    "DeveloperStore",
    "Problem",
    "Report",
    "Table",
    "check",
    "describe",
    "load_table",
    "split",
]

"""Data sets as files: pictures, labels, attributes, splits and the parties' stores."""

from secure_fair.data.check import DataReport, check, describe
from secure_fair.data.records import Attribute, Problem
from secure_fair.data.split import split
from secure_fair.data.store import AuditorStore, DeveloperStore
from secure_fair.data.table import Dataset, load_table

__all__ = [
    "Attribute",
    "AuditorStore",
    "DataReport",
    "Dataset",
    "DeveloperStore",
    "Problem",
    "check",
    "describe",
    "load_table",
    "split",
]

"""The kinds of data sets, and the keys that each has of its own; whoever names a kind need not read one."""

from __future__ import annotations

from collections.abc import Mapping

_LABELLED = ("file", "id_column", "split_column", "person_column", "classes")
KEYS: Mapping[str, tuple[str, ...]] = {
    "faces": ("records", "correlation", "base_rate"),
    "utkface": (),
    "celeba": ("partition", "identities"),
    "manifest": ("path_column", *_LABELLED),
    "huggingface": ("path_column", *_LABELLED),
    "table": ("evaluation_file", "features", "categories", *_LABELLED),
}

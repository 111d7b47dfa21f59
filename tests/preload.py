# ruff: noqa: F401
"""Imported once by the server that all parties are forked from; nothing here may start gRPC or a thread."""

import gc

import pytest
import scipy.stats

import secure_fair.learning.adversary
import secure_fair.learning.model
import secure_fair.learning.sensitive
import secure_fair.parties.auditor
import secure_fair.parties.dealer
import secure_fair.parties.developer
import secure_fair.parties.training
import secure_fair.scenarios.cli.main
import secure_fair.scenarios.party_process
import tests.parties.company

gc.freeze()  # a collection in a fork would write to, and so copy, every page of what they share

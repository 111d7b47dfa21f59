"""Imported once by the server that the test parties are forked from."""

import secure_fair.mpc.dealer
import secure_fair.mpc.operations  # noqa: F401

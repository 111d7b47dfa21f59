"""Imported once by the server that the parties are forked from; nothing here may start gRPC or a thread."""

import parties.auditor
import parties.dealer
import parties.developer  # noqa: F401
import scenarios.cli.main
import scenarios.party_process  # noqa: F401

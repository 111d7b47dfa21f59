"""Imported once by the server that the parties are forked from; nothing here may start gRPC or a thread."""

import parties.auditor
import parties.dealer
import parties.developer
import parties.training  # noqa: F401
import secure_fair.learning.adversary
import secure_fair.learning.model
import secure_fair.learning.sensitive  # noqa: F401 (a party imports these when it needs them)

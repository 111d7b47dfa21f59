"""The values that all parties of a run agree on beforehand, and where each of them stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from secure_fair.defaults import TIMEOUT
from secure_fair.learning.settings import MethodSettings, ModelSettings, TrainingLoop
from secure_fair.mpc.transport import Credentials, LinkSettings, Network
from secure_fair.parties.health import Pulse
from secure_fair.privacy.target import Privacy

CONFIRMED = "evaluation_counts"
RESUMED = "--resume"  # of an agreement: whether the parties go on with a run
FINGERPRINTS = "the parties' fingerprints"  # and of all their certificates


@dataclass(frozen=True)
class Promise:
    """The part of an auditor's policy that all parties of an audit know beforehand, and the digest of its file."""

    digest: str  # SHA-256, hex
    answer: str  # "counts" or "verdict"
    claims: tuple[str, ...]
    smallest_share: float
    sample: int | None = None  # records that the auditor draws; None: all take part
    coverage: float = 0.0  # the part of its records that a sample must be drawn from


@dataclass(frozen=True)
class RunConfig:
    """The part of a scenario that every party needs."""

    seed: int
    developer: str
    dealer: str
    auditors: tuple[str, ...]
    holders: dict[str, tuple[str, ...]]  # attribute: the auditors that hold it, each of its own part of the people
    model: ModelSettings
    train: TrainingLoop
    method: MethodSettings
    precision_bits: int
    privacy: Privacy | None = None
    own_records: bool = False  # the auditors hold nothing of the developer's records, only pictures of their own
    parted: tuple[str, ...] = ()  # auditors that hold a part of the people
    intersections: dict[str, tuple[str, ...]] = field(default_factory=dict)  # name: its attributes
    penalised: tuple[str, ...] = ()  # attributes and intersections that the method is to be fair to
    promises: dict[str, Promise] = field(default_factory=dict)  # by auditor, in an audit of given decisions
    bins: int | None = None  # in which scores are compared with labels, in an audit of given scores
    matched: bool = False  # ids come of a private set intersection, in an audit of given decisions
    claims: tuple[str, ...] = ()  # of a training: what is decided and certified of its test records
    certified: bool = False  # counts are confirmed by who holds all of the attribute, and the answer is signed

    @property
    def alone(self) -> bool:
        """Whether there is one auditor only."""
        return len(self.auditors) == 1

    @property
    def evaluated(self) -> bool:
        """Whether counts of test records are released at the end."""
        if self.own_records:  # nobody holds attributes of them
            return False
        return self.privacy is None or self.privacy.evaluation_epsilon is not None

    @property
    def audited(self) -> tuple[str, ...]:
        """The names that the result is judged by: every attribute, every intersection."""
        return (*self.holders, *self.intersections)

    @property
    def computed_intersections(self) -> tuple[str, ...]:
        """The intersections whose memberships are needed in this run."""
        return tuple(name for name in self.intersections if self.evaluated or name in self.penalised)

    @property
    def products(self) -> tuple[str, ...]:
        """Those of them that are multiplied on shares, for no auditor holds all of their attributes."""
        return tuple(name for name in self.computed_intersections if self.joint_holder(name) is None)

    def joint_holder(self, name: str) -> str | None:
        """The auditor that alone holds every attribute of an intersection, of everybody: it commits to the combinations
        itself, as to an attribute."""
        holders = {self.holders[component] for component in self.components(name)}
        return next(iter(holders))[0] if len(holders) == 1 and len(next(iter(holders))) == 1 else None

    def counted(self, operation: str) -> bool:
        """Whether a statement rests on what this operation opens."""
        return operation == CONFIRMED

    def confirms(self, operation: str, name: str) -> str | None:
        """The auditor to whom the developer proves what it was told, so that it can sign for it; None where nobody
        is."""
        return self.joint_holder(name) if self.certified and self.counted(operation) else None

    def sample_of(self, name: str) -> int | None:
        """How many records are drawn for the counts of an attribute or intersection; None where all take part."""
        holder = self.joint_holder(name)
        return self.promises[holder].sample if holder in self.promises else None

    def components(self, name: str) -> tuple[str, ...]:
        """The attributes of an intersection; an attribute is its own."""
        return self.intersections.get(name, (name,))

    def answering(self, name: str) -> tuple[str, ...]:
        """The auditors that must admit whatever tells of this attribute or intersection."""
        holders = {holder for component in self.components(name) for holder in self.holders.get(component, ())}
        return tuple(auditor for auditor in self.auditors if auditor in holders)

    @property
    def compute_parties(self) -> tuple[str, ...]:
        """Developer first, then the auditors; the index is a party's rank."""
        return (self.developer, *self.auditors)


@dataclass(frozen=True)
class Endpoint:
    """Where one party stands: its identity, its address and its peers'."""

    credentials: Credentials
    listen: str
    peers: dict[str, str]
    agreement: dict[str, str] = field(default_factory=dict)
    fingerprints: dict[str, str] | None = None  # of every party's certificate; None: whatever the authority has signed
    timeout: float = TIMEOUT  # seconds that a peer may be silent
    wait: float | None = None  # seconds for all to come; None: as many
    link: LinkSettings = field(default_factory=LinkSettings)
    simulated: bool = False
    resumed: bool = False  # the parties go on with a run
    pulse: Pulse = field(default_factory=Pulse)  # for whoever asks about its health
    lost: frozenset[str] = frozenset()  # parties whose ledgers are said to be lost, and are gone on with

    def network(self) -> Network:
        """The party's connections, not yet made, of which its pulse tells."""
        made = Network(self.credentials, self.listen, timeout=self.timeout, link=self.link, wait=self.wait)
        self.pulse.network = made
        return made


@dataclass(frozen=True)
class Folders:
    """The folders that one party may read and write."""

    store: Path
    out: Path
    state: Path

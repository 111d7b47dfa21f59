"""The developer's column of the protocol: meet, take up or go on, enrol, train with the auditors' answers, end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from secure_fair.data.store import DeveloperStore
from secure_fair.files import write_bytes
from secure_fair.ids import Ids
from secure_fair.mpc.session import Session
from secure_fair.parties.checkpoints import BEGINNING, Checkpoints, Place, check_ledger, forget_end, unfinished
from secure_fair.parties.commitments import hear_committed
from secure_fair.parties.config import Endpoint, Folders, RunConfig
from secure_fair.parties.continuity import Memory
from secure_fair.parties.ending import end, ended_before, finish, tell_ended
from secure_fair.parties.enrolment import collect, enrol
from secure_fair.parties.kept_answers import KeptAnswers, receipts_in
from secure_fair.parties.messages import Bound, Committed
from secure_fair.parties.preflight import wait_for_all
from secure_fair.parties.progress import Progress
from secure_fair.parties.reports import leave, write_party_report
from secure_fair.parties.resuming import agree_on_place, note_missed
from secure_fair.parties.sealing import CERTIFICATE, seal
from secure_fair.parties.secure_auditors import SecureAuditors
from secure_fair.parties.statement import Facts
from secure_fair.parties.tables import answer_of, check_classes
from secure_fair.parties.training import Evaluated, develop, prepare
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.release_cache import ReleaseCache


def main(config: RunConfig, endpoint: Endpoint, folders: Folders, run: str, progress: Progress) -> None:
    """Train once with the scenario's method: connect, enrol the records, train, say goodbye. ``run``: a new name."""
    DeveloperRun(config, endpoint, folders, progress).go(run)


@dataclass(frozen=True)
class TakenUp:
    """A run that begins, or goes on from the ``place`` that all parties have."""

    kept: Checkpoints
    place: Place
    heard: Mapping[str, Committed]  # each auditor's commitment to its store; none where the run is not certified


class DeveloperRun:
    """One run at the developer, from connecting to leaving."""

    def __init__(self, config: RunConfig, endpoint: Endpoint, folders: Folders, progress: Progress) -> None:
        self.config = config
        self.endpoint = endpoint
        self.folders = folders
        self.progress = progress
        self.store = DeveloperStore.open(folders.store)
        check_classes(config, self.store.classes)
        self.network = endpoint.network()
        self.ledger = Ledger(folders.state / "ledger", self.network.name, simulated=endpoint.simulated)
        self.memory = Memory(endpoint, self.network, self.ledger)

    def go(self, run: str) -> None:
        """Go down the column; who cannot go on says why before it leaves."""
        try:
            session = self._connect()
            taken = self._take_up(session, run)
            if taken is None:
                return
            found, bound = self._train(session, taken, self._enrol(taken))
            self._end(session, taken, found, bound)
        except BaseException as error:
            leave(self.network, error)
            raise
        finally:
            self.network.close()
            self.ledger.close()

    def _connect(self) -> Session:
        config, endpoint = self.config, self.endpoint
        self.progress.stage(f"connecting to {', '.join(endpoint.peers)}")
        self.network.connect(endpoint.peers, endpoint.agreement, endpoint.fingerprints)
        check_ledger(self.folders.state, self.ledger)
        return Session.open(
            self.network, parties=config.compute_parties, dealer=config.dealer, precision_bits=config.precision_bits
        )

    def _take_up(self, session: Session, run: str) -> TakenUp | None:
        """Begin the run, or find with all others the place to go on from; None where that run has ended."""
        config, endpoint, state = self.config, self.endpoint, self.folders.state
        self.memory.check(config.auditors, self.progress)
        if endpoint.resumed:
            ended = ended_before(state, self.ledger, endpoint.agreement)
            if ended is not None:
                tell_ended(config, self.network, session, self.memory, ended, state, self.progress)
                self.progress.done(f"done: run {ended.run} has ended everywhere", {"run": ended.run, "out": ended.out})
                return None
            kept = Checkpoints.reopen(state, unfinished(state, self.ledger), endpoint.agreement, self.ledger)
            place, opened = agree_on_place(config, self.network, kept, len(self.store.training))
            note_missed(self.ledger, kept.run, opened, receipts_in(kept.answers))
            self.progress.stage(f"going on with run {kept.run} after {place.told(config.train.epochs)}")
        else:
            forget_end(state, self.ledger)
            kept, place = Checkpoints.begin(state, run, endpoint.agreement, self.ledger), BEGINNING
        out, resumed = self.folders.out, endpoint.resumed
        heard = hear_committed(config, self.network, out, resumed=resumed) if config.certified else {}
        return TakenUp(kept, place, heard)

    def _enrol(self, taken: TakenUp) -> Ids:
        """Tell everybody whose records take part; it fits the store and the policy of each."""
        run = taken.kept.run
        self.endpoint.pulse.follow(run, taken.kept.newest)
        self.ledger.start(run)
        ids = enrol(self.config, self.network, self.store, run, taken.place)
        wait_for_all(self.config, self.network, self.memory, run)
        return ids

    def _train(self, session: Session, taken: TakenUp, ids: Ids) -> tuple[Evaluated, list[Bound]]:
        """Train with the auditors' answers, and count the test records; the model bound before, in a certified run."""
        config, network, folders, kept = self.config, self.network, self.folders, taken.kept
        self.progress.stage("features")
        data = prepare(config, self.store, folders.store / "cache", self.progress)
        cache = ReleaseCache(folders.state / "answers", terms=str(config.privacy))
        told = KeptAnswers(kept.answers, taken.place)
        enrolment = collect(config, network, ids)
        auditors = SecureAuditors(config, network, session, self.ledger, cache, kept.run, enrolment, told)
        begun = auditors.take_up(kept, told)
        self.progress.stage(f"training: {config.method.name}, {len(data.training)} records{_asking(config)}")
        bound: list[Bound] = []
        found = develop(
            config,
            data,
            auditors,
            folders.out,
            self.progress,
            keep=partial(auditors.keep, kept),
            begun=begun,
            bind=lambda: bound.extend(auditors.bind(folders)),
        )
        return found, bound

    def _end(self, session: Session, taken: TakenUp, found: Evaluated, bound: list[Bound]) -> None:
        """Have the run end everywhere, sealed where it is certified, and give its state up."""
        config, network, run, out = self.config, self.network, taken.kept.run, self.folders.out
        finish(config, network, self.memory, run)
        session.close()
        for one in bound:
            self.progress.stage("certificate")
            answer = answer_of(config, found.audits, found.releases, one.model, len(self.store.test))
            facts = Facts(one.commitment, self.ledger.head)
            write_bytes(out / CERTIFICATE, seal(config, self.endpoint, network, run, answer, facts, taken.heard))
        self.ledger.extract(run, out / "ledger.jsonl")
        write_party_report(out, network.name, session.meter, network, None)
        self.ledger.settled()  # the last that could fail: a run whose state is gone is not gone on with
        end(config, network, self.folders, run, self.endpoint.agreement)
        taken.kept.remove()
        self.progress.done(f"done: model, predictions, ledger: {out}", {"run": run, "out": str(out)})


def _asking(config: RunConfig) -> str:
    """Who is asked for attributes in training, for the user."""
    if config.method.release is None:
        return ", without attributes"
    return f"; {', '.join(config.auditors)} answer{'s' if len(config.auditors) == 1 else ''} on shares"

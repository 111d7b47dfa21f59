"""The auditor's column of the protocol: meet, commit, take the table, answer its requests, end."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from secure_fair.data.store import ATTRIBUTES, META, AuditorStore
from secure_fair.errors import BudgetExceeded, ProtocolError, Refusal
from secure_fair.mpc.session import Session
from secure_fair.parties import messages
from secure_fair.parties.checkpoints import Checkpoints, Place, check_ledger
from secure_fair.parties.commitments import commit_to, committed_again, say_committed
from secure_fair.parties.config import Endpoint, Folders, RunConfig
from secure_fair.parties.continuity import Memory
from secure_fair.parties.ending import conclude, wait_for_end
from secure_fair.parties.enrolment import Enrolment, announce, receive_table, share_holdings
from secure_fair.parties.holdings import Enrolled, Holdings
from secure_fair.parties.meeting import Offered, tell_known
from secure_fair.parties.messages import Enrol, Finished
from secure_fair.parties.preflight import say_it_fits
from secure_fair.parties.progress import Progress
from secure_fair.parties.reports import leave, write_party_report
from secure_fair.parties.resuming import answer_resume, check_epoch, restore_shares, shares_at
from secure_fair.parties.sealing import AuditorsView, MetBy, countersign
from secure_fair.parties.service import AuditorService
from secure_fair.parties.statement import Facts
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.outlook import Outlook
from secure_fair.privacy.policy import Policy


@dataclass(frozen=True)
class Entered:
    """An auditor's side of a run whose table fits its store and its policy."""

    enrol: Enrol
    holdings: Holdings
    enrolment: Enrolment
    offered: Offered
    committed: str  # the commitment to its store; empty where the run is not certified


def main(
    config: RunConfig, endpoint: Endpoint, folders: Folders, policy: Policy, progress: Progress, digest: str = ""
) -> None:
    """Serve one run: connect, check the developer's table, train where the method needs it, answer until the end.

    ``digest``: SHA-256 of the policy's file; empty where a simulation has none.
    """
    AuditorRun(config, endpoint, folders, policy, progress, digest).go()


class AuditorRun:
    """One run at an auditor, from connecting to leaving."""

    def __init__(
        self, config: RunConfig, endpoint: Endpoint, folders: Folders, policy: Policy, progress: Progress, digest: str
    ) -> None:
        self.config = config
        self.endpoint = endpoint
        self.folders = folders
        self.policy = policy
        self.progress = progress
        self.digest = digest
        self.network = endpoint.network()
        self.ledger = Ledger(folders.state / "ledger", self.network.name, simulated=endpoint.simulated)
        self.memory = Memory(endpoint, self.network, self.ledger)
        self.kept: Checkpoints | None = None  # the run's state, until it has ended

    def go(self) -> None:
        """Go down the column; who cannot go on says why before it leaves."""
        try:
            session = self._connect()
            entered = self._enter(session)
            if entered is None:
                self.progress.done("done: the run has ended here", {})
                return
            service = self._begin(session, entered)
            self._end(session, entered, service, service.serve())
        except BaseException as error:
            leave(self.network, error)
            raise
        finally:
            self.network.close()
            self.ledger.close()
            if self.kept is not None:
                self.kept.note_ledger()  # to its last entry: what is noted at whole epochs is for those that are killed

    def _connect(self) -> Session:
        config, endpoint = self.config, self.endpoint
        self.progress.stage("connecting")
        self.network.connect(endpoint.peers, endpoint.agreement, endpoint.fingerprints)
        check_ledger(self.folders.state, self.ledger)
        return Session.open(
            self.network, parties=config.compute_parties, dealer=config.dealer, precision_bits=config.precision_bits
        )

    def _enter(self, session: Session) -> Entered | None:
        """Take the developer's table and find that it fits, or tell the developer why not; None where the run that was
        to be gone on with has ended."""
        config, network, endpoint = self.config, self.network, self.endpoint
        try:
            self.memory.check([config.developer], self.progress)
            store = AuditorStore.open(self.folders.store)
            if endpoint.resumed:
                self.kept = answer_resume(config, self.folders, self.memory, self.progress)
                if self.kept is None:
                    session.close()
                    return None
            committed, seed, offered = self._commit(store)
            enrol, ids = receive_table(config, network, offered.ids)
            told = f"{enrol.training} training and {enrol.test} test records are enrolled"
            self.progress.stage(f"run {enrol.run}: {told}")
            check_epoch(enrol, self.kept)
            if self.kept is None and not config.promises:
                self.kept = Checkpoints.begin(self.folders.state, enrol.run, endpoint.agreement, self.ledger)
            endpoint.pulse.follow(enrol.run, int if self.kept is None else self.kept.newest)
            holdings = Holdings.open(
                config,
                network.name,
                store,
                self.folders.state,
                self.ledger,
                self.policy,
                Enrolled(enrol.run, ids, enrol.training, seed, enrol.nonce),
                self.progress,
                tell=partial(tell, self.progress, network.name),
                kept=self.kept,
            )
            say_it_fits(config, network, self.memory, enrol.run)
            holdings.train(self.folders.store, self.progress)
        except (BudgetExceeded, Refusal, ProtocolError) as error:
            messages.refuse(network, config.developer, error)
            raise
        return Entered(enrol, holdings, announce(config, network, holdings), offered, committed)

    def _commit(self, store: AuditorStore) -> tuple[str, str, Offered]:
        """Say what must be fixed before the developer's table is seen: the commitment to the store and the draw's
        seed, and, in an audit, who is known."""
        config, committed, seed, offered = self.config, "", "", Offered()
        if config.certified:
            commit = committed_again if self.endpoint.resumed else commit_to
            committed = commit(self.folders.store, (ATTRIBUTES, META), self.folders.out)
        if config.certified or config.promises:
            seed = say_committed(config, self.network, committed, self.digest)
        if config.promises:
            offered = tell_known(config, self.network, store)
        return committed, seed, offered

    def _begin(self, session: Session, entered: Entered) -> AuditorService:
        """Share what is held, anew or from where the run stood."""
        config, network, enrol = self.config, self.network, entered.enrol
        place = Place(enrol.epoch, enrol.step)
        state = share_holdings(config, session, entered.enrolment, entered.holdings, run=enrol.run, place=place)
        if self.kept is not None:
            restore_shares(state, shares_at(self.kept, enrol))
        self.progress.stage("answering the developer")
        return AuditorService(config, network, state, entered.holdings, self.progress, self.kept, place)

    def _end(self, session: Session, entered: Entered, service: AuditorService, finished: Finished) -> None:
        """Write down what was let out, sign it where the run is certified, and give the run's state up."""
        config, network, run, out = self.config, self.network, entered.enrol.run, self.folders.out
        report = partial(write_party_report, out, network.name, session.meter, network, entered.holdings.gate)

        def write() -> None:
            self.ledger.extract(run, out / "ledger.jsonl")
            report()
            if entered.holdings.draw is not None:
                entered.holdings.draw.keep(out)
            if self.kept is not None:
                self.kept.conclude(out)

        conclude(config, network, self.memory, run, finished, write)
        session.close()
        if config.certified:
            self._sign(entered, service)
        report()  # with all that was sent since
        self.ledger.settled()  # the last that could fail: a run whose state is gone is not gone on with
        if self.kept is not None:
            wait_for_end(config, network, run)
            ended, self.kept = self.kept, None
            ended.remove()
        state = self.folders.state
        self.progress.done(
            f"done: {service.made} releases; the developer compares {out / 'ledger.jsonl'}, and budgets are "
            f"kept in {state} (secure-fair ledger status)",
            {"run": run, "releases": service.made, "out": str(out), "state": str(state)},
        )

    def _sign(self, entered: Entered, service: AuditorService) -> None:
        """Countersign what the developer has sealed, as this auditor saw it."""
        enrol, bound = entered.enrol, service.bound
        met = MetBy(
            self.network.name,
            enrol.run,
            enrol.test,
            entered.offered.commitment if bound is None else bound.commitment,
            entered.holdings.draw,
            {} if bound is None else bound.model,
        )
        facts = Facts(entered.committed, self.ledger.head, self.digest)
        view = AuditorsView(self.config, met, entered.enrolment.groups, entered.holdings.confirmed)
        countersign(self.config, self.endpoint, self.network, facts, view)


def tell(progress: Progress, auditor: str, outlook: Outlook) -> None:
    """Say what the run may take and what has been spent, before anything is served."""
    progress.stage(f"what this run may take of {auditor}, and what has been spent")
    progress.outlook(outlook.lines(), {"auditor": auditor, **outlook.facts()})
    exact = sorted({use.operation for use in outlook.uses if use.epsilon is None})
    if exact:
        progress.warn(f"exact releases ({', '.join(exact)}) are planned: attributes can be computed from them")

"""What a party gets to know: tokens planted in the data, every file that it opens, and every message that it receives.

The same checks are made of builds that leak on purpose, which they must catch.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import secure_fair.parties.auditor
import secure_fair.parties.developer
import secure_fair.parties.enrolment
from secure_fair.data.store import AuditorStore
from secure_fair.mpc.transport import Network
from secure_fair.parties.messages import Held
from secure_fair.scenarios.people import People, load
from secure_fair.scenarios.progress import LineReporter
from tests.parties.company import Company, Entry, program, tiny, write_stores
from tests.parties.planted import Planted, found_in, plant

ROOT = Path(__file__).resolve().parents[2]
OPENED = re.compile(r'\bopen(?:at2?)?\((?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')  # below which folder, what


# --- a party that is watched ------------------------------------------------------------------------------------------


def watched(entry: Entry, folder: str, strace: bool, arguments: list[str]) -> None:
    """Note every path that this process opens and every message that it receives, from here on."""
    record = Path(folder)
    os.environ["HOME"] = os.environ["TMPDIR"] = str(record / "own")
    if strace:
        (record / "pid").write_text(str(os.getpid()))
        while "TracerPid:\t0\n" in Path("/proc/self/status").read_text():
            time.sleep(0.01)
    else:
        paths = (record / "opened").open("a")

        def note(event: str, values: tuple[Any, ...]) -> None:
            """A number is a file that is open already; of a folder that is removed, the folder is noted."""
            inside = event == "open" and sys._getframe(1).f_code.co_filename == shutil.__file__  # names below it
            if event in ("open", "shutil.rmtree") and not isinstance(values[0], int) and not inside:
                print(json.dumps(str(values[0])), file=paths, flush=True)

        sys.addaudithook(note)
    received = (record / "received").open("ab")
    plainly = Network.receive

    def receive(network: Network, peer: str, channel: str, *, limit: int) -> bytes:
        message = plainly(network, peer, channel, limit=limit)
        received.write(f"\n{peer} {channel} {len(message)}: ".encode() + message)
        received.flush()
        return message

    Network.receive = receive  # type: ignore[method-assign]
    entry(arguments)


class Watch:
    """Watches one party of a company from outside; made before the company is entered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "own").mkdir(parents=True)
        self.strace = shutil.which("strace")

    def entry(self, entry: Entry = program) -> Entry:
        """``entry``, watched."""
        return partial(watched, entry, str(self.folder), self.strace is not None)

    def run(self, company: Company) -> None:
        """The whole company, to its end."""
        tracer = None
        if self.strace:
            pid = self.folder / "pid"
            while not (pid.exists() and pid.read_text()):
                time.sleep(0.01)
            command = [
                self.strace,
                "-f",
                "-y",
                "-qq",
                "-s",
                "4096",
                "-e",
                "trace=open,openat,openat2",
                "-e",
                "signal=none",
            ]
            command += ["-o", str(self.folder / "strace"), "-p", pid.read_text()]
            tracer = subprocess.Popen(command)
        try:
            self.ended = company.wait(100)
        finally:
            if tracer is not None:
                try:
                    tracer.wait(10)
                except subprocess.TimeoutExpired:
                    tracer.send_signal(signal.SIGKILL)
                    tracer.wait()

    def opened(self) -> set[Path]:
        """Every path that was opened, or tried."""
        if not self.strace:
            return {Path(json.loads(line)) for line in (self.folder / "opened").read_text().splitlines()}
        text = (self.folder / "strace").read_text()
        return {Path(plain(folder), plain(name)) for folder, name in OPENED.findall(text)}


def plain(escaped: str) -> str:
    """A name as it was before strace wrote it down."""
    return os.fsdecode(escaped.encode().decode("unicode_escape"))


def outside(opened: set[Path], *, own: list[Path]) -> list[str]:
    """The paths among ``opened`` that belong neither to the party, nor to the program, nor to the system."""
    program = [ROOT / "secure_fair", ROOT / "tests", Path(sys.prefix)]
    program += [ROOT / "secure_fair.egg-info", Path(sys.base_prefix), Path(np.__file__).resolve().parents[1]]
    system = [Path(place) for place in ("/proc", "/sys", "/dev", "/etc", "/usr", "/lib", "/lib64", "/bin", "/run")]
    allowed = [*own, *program, *system]
    found = []
    for path in opened:
        real = Path(os.path.abspath(path))
        searched = real in (ROOT, Path.cwd()) or real.name.startswith("__editable__")  # for modules
        if not searched and not any(real == place or place in real.parents for place in allowed):
            found.append(str(real))
    return sorted(found)


def telling_lines(stores: Path) -> list[str]:
    """Lines "id,group" of the auditor's table, but for those that are by chance the developer's "id,label"."""
    held = (stores / "auditor" / "attributes.csv").read_text().splitlines()[1:]
    own = (stores / "developer" / "records.csv").read_text()
    telling = [line for line in held if line not in own]
    assert len(telling) > len(held) / 4
    return telling


# --- one run and what the checks find in it ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("data set") / "people")


def leaks(
    folder: Path,
    planted: Planted,
    weights: Path,
    *,
    developer: Entry = program,
    auditor: Entry = program,
    launcher: Callable[[Planted, Path], None] = lambda planted, stores: None,
) -> list[str]:
    """Run the parties over the planted data set; everything that the developer got and should not have.

    ``developer`` and ``auditor`` are what these run, ``launcher`` is done with the stores before.
    """
    scenario = tiny(weights, data=planted.data, lora={"last_blocks": 1})
    stores = folder / "stores"
    write_stores(scenario, stores)
    launcher(planted, stores)
    tokens = [*planted.personal, *telling_lines(stores)]
    watch = Watch(folder / "watch")
    entries = {"developer": watch.entry(developer), "auditor": auditor}
    with Company(scenario, stores, folder / "company", entries=entries) as company:
        watch.run(company)
    own = [stores / "developer", company.out("developer"), company.folder / "states" / "developer"]
    own += [company.folder / "identities" / "developer", watch.folder / "own", watch.folder / "received"]
    kept = [*own[:3], company.log("developer"), watch.folder / "own", watch.folder / "received"]
    found = [
        f"opened {path}" for path in outside(watch.opened(), own=[*own, company.folder / "scenario.toml", weights])
    ]
    found += [f"holds {place}" for place in found_in(tokens, *kept)]
    if not found:
        assert {name: end.code for name, end in watch.ended.items()} == dict.fromkeys(company.names, 0), watch.ended
        assert (stores / "developer" / "pictures.npy") in watch.opened()  # it did look
        assert b'"kind":"held"' in (watch.folder / "received").read_bytes()  # and listen
        assert found_in(planted.groups, company.out("developer"))  # what is announced does get there
    return found


def test_the_developer_gets_nothing_of_anybody(tmp_path: Path, planted: Planted, weights: Path) -> None:
    assert leaks(tmp_path, planted, weights) == []


def test_auditor_and_dealer_get_nothing_of_the_developer_s(tmp_path: Path, planted: Planted, weights: Path) -> None:
    """Neither labels nor pictures; and the dealer not even ids or groups."""
    scenario = tiny(weights, data=planted.data, lora={"last_blocks": 1})
    write_stores(scenario, tmp_path / "stores")
    watches = {name: Watch(tmp_path / f"watch {name}") for name in ("auditor", "dealer")}
    for watch in watches.values():
        watch.strace = None  # the other way of watching, which every machine has
    entries = {name: watch.entry() for name, watch in watches.items()}
    with Company(scenario, tmp_path / "stores", tmp_path / "company", entries=entries) as company:
        company.succeed()
    ids = [line.split(",")[0] for line in (tmp_path / "stores/developer/records.csv").read_text().splitlines()[1:]]
    labelled = (tmp_path / "stores/developer/records.csv").read_text().splitlines()[1:]
    auditors = [tmp_path / "stores" / "auditor", company.out("auditor"), company.folder / "states" / "auditor"]
    auditors += [company.log("auditor"), watches["auditor"].folder / "received"]
    assert found_in([*planted.personal, *planted.classes, *labelled], *auditors) == []
    dealers = [company.out("dealer"), company.log("dealer"), watches["dealer"].folder / "received"]
    assert found_in([*planted.personal, *planted.classes, *planted.groups, *ids], *dealers) == []
    for name, store in (("auditor", [tmp_path / "stores" / "auditor", company.folder / "states"]), ("dealer", [])):
        own = [*store, company.out(name), company.folder / "identities" / name, company.folder / "scenario.toml"]
        assert outside(watches[name].opened(), own=[*own, watches[name].folder, weights]) == []


# --- builds that leak -------------------------------------------------------------------------------------------------


def peeking_developer(arguments: list[str]) -> None:
    """Looks into the auditor's store, which is on the same machine."""
    prepare = secure_fair.parties.developer.prepare

    def peek(config: object, store: object, cache: Path, progress: object) -> object:
        (cache.parents[1] / "auditor" / "attributes.csv").read_text()
        return prepare(config, store, cache, progress)  # type: ignore[arg-type]

    secure_fair.parties.developer.prepare = peek  # type: ignore[assignment]
    program(arguments)


def curious_developer(arguments: list[str]) -> None:
    """Lists the folder of the data set, whose path is in the agreed scenario."""
    scenario = Path(arguments[arguments.index("--scenario") + 1]).read_text()
    match = re.search(r'root = "(.*)"', scenario)
    assert match
    os.listdir(match[1])
    (Path(match[1]) / "people.csv").read_bytes()
    program(arguments)


def talking_auditor(arguments: list[str]) -> None:
    """Sends who is in which group in the shapes of an adapter of its own."""
    opened = AuditorStore.open
    lines: list[str] = []

    def note(folder: Path) -> AuditorStore:
        lines.extend((folder / "attributes.csv").read_text().splitlines())
        return opened(folder)

    def talk(attributes: Mapping[str, list[str]], **rest: object) -> Held:
        shapes = dict.fromkeys(lines, ((1, 1), (1, 1)))
        return Held(attributes=dict(attributes), adapters={next(iter(attributes)): shapes})

    AuditorStore.open = note  # type: ignore[method-assign, assignment]
    secure_fair.parties.enrolment.Held = talk  # type: ignore[misc, assignment]
    program(arguments)


def blabbing_auditor(arguments: list[str]) -> None:
    """Stops with people's groups as the reason."""
    store = Path(arguments[arguments.index("--store") + 1])
    lines = (store / "attributes.csv").read_text().splitlines()[1:41]

    def stop(*arguments: object, **named: object) -> None:
        raise secure_fair.parties.auditor.Refusal(f"not welcome: {' '.join(lines)}")

    secure_fair.parties.auditor.Holdings.open = stop  # type: ignore[assignment, method-assign]
    program(arguments)


def careless_launcher(planted: Planted, stores: Path) -> None:
    """Leaves the data set's table in the developer's store."""
    (stores / "developer" / "cache").mkdir()
    shutil.copy(planted.root / "people.csv", stores / "developer" / "cache" / "people.csv")


def launcher_that_keeps_names(planted: Planted, stores: Path) -> None:
    """Leaves one picture under its own name, with what is inside."""
    (stores / "developer" / "cache").mkdir()
    picture = next((planted.root / "pictures").iterdir())
    shutil.copy(picture, stores / "developer" / "cache" / "0.png")


@pytest.mark.parametrize(
    ("build", "caught"),
    [
        ({"developer": peeking_developer}, "opened .*/stores/auditor/attributes.csv"),
        ({"developer": curious_developer}, "opened .*/people"),
        ({"auditor": talking_auditor}, "holds .*/received: [0-9a-f]{32},[01]"),
        ({"auditor": blabbing_auditor}, "holds .*: [0-9a-f]{32},[01]"),
        ({"launcher": careless_launcher}, "holds .*/people.csv: ZQ"),
        ({"launcher": launcher_that_keeps_names}, "holds .*/0.png: ZQinside"),
    ],
    ids=lambda value: next(iter(value.values())).__name__ if isinstance(value, dict) else "",
)
def test_a_build_that_leaks_is_caught(
    tmp_path: Path, planted: Planted, weights: Path, build: dict[str, Callable[..., None]], caught: str
) -> None:
    found = leaks(tmp_path, planted, weights, **build)
    assert any(re.match(caught, leak) for leak in found), found


# --- nothing depends on an attribute unless it is released ------------------------------------------------------------


def comparable(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The developer's artefacts without times and costs."""
    for file in sorted(folder.rglob("*")):
        if not file.is_file() or file.name in ("party.json", "ledger.jsonl", "log.jsonl"):
            continue
        content = file.read_bytes()
        if file.suffix in (".json", ".jsonl"):
            content = re.sub(rb'"(training_)?seconds": [0-9.e-]+', b"", content)
        yield str(file.relative_to(folder)), content


def test_without_releases_the_attributes_change_nothing(tmp_path: Path, weights: Path) -> None:
    """Two companies that differ in everybody's attribute: the developer ends with the same bytes, and as many of them
    received."""
    privacy = {"epsilon": 1.0}  # no evaluation is released then
    scenario = tiny(weights, method={"name": "erm"}, privacy=privacy)
    tables = load(scenario, LineReporter())
    people = People(scenario, tables)
    ends, held = {}, {}
    for name in ("as they are", "the other way round"):
        people.write_stores(tmp_path / name / "stores")
        with Company(scenario, tmp_path / name / "stores", tmp_path / name / "company") as company:
            company.succeed()
        traffic = json.loads((company.out("developer") / "party.json").read_text())["traffic"]
        sizes = {link: (seen["messages_received"], seen["bytes_received"]) for link, seen in traffic.items()}
        ends[name] = dict(comparable(company.out("developer"))), sizes
        store = AuditorStore.open(tmp_path / name / "stores" / "auditor")
        held[name] = store.codes("male", store.ids)
        codes = tables.table.sensitive["male"].codes
        codes[:] = 1 - codes
    assert np.array_equal(held["as they are"], 1 - held["the other way round"])
    assert len(ends["as they are"][0]) >= 5
    assert ends["as they are"] == ends["the other way round"]

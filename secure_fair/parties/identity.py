"""Identities: each party makes its own key, a small authority signs a certificate whose subject is the party's name.

A key never leaves the folder that it was made in. On the authority's machine::

    DIR/authority/   certificate.pem  key.pem  signed/NAME.pem  (what was signed, to be sent to NAME)

and on the machine of the party NAME::

    DIR/NAME/        key.pem  request.pem                       (the request is sent to the authority)
                     certificate.pem  authority.pem             (once the answer was accepted)

Simulations have the keys of all parties on one machine anyway; their certificates say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from secure_fair.errors import UsageError
from secure_fair.files import write_bytes
from secure_fair.mpc.transport import Credentials, check_party_name
from secure_fair.parties import certificates

AUTHORITY = "authority"
SIGNED = "signed"
CERTIFICATE_FILE = "certificate.pem"
KEY_FILE = "key.pem"
REQUEST_FILE = "request.pem"
AUTHORITY_FILE = "authority.pem"

AUTHORITY_DAYS = 3650
PARTY_DAYS = 365
MAX_DAYS = 3650


@dataclass(frozen=True)
class Description:
    """A folder's certificate in words, and every reason why it cannot be used."""

    name: str
    issuer: str
    valid_from: datetime
    valid_until: datetime
    fingerprint: str  # SHA-256 of the certificate, hex
    simulated: bool  # the authority has had the key
    problems: tuple[str, ...]


def create_authority(directory: Path, days: int = AUTHORITY_DAYS) -> Path:
    """Make a new authority in ``directory``/authority, valid for ``days``; returns that folder.

    UsageError where it exists already.
    """
    _check_days(days)
    folder = Path(directory) / AUTHORITY
    certificates.make_folder(folder, "delete it to start anew; every certificate that it issued is then void")
    key = certificates.new_key()
    certificates.write_key(folder / KEY_FILE, key)
    (folder / CERTIFICATE_FILE).write_bytes(certificates.pem(certificates.authority_certificate(key, days)))
    return folder


def request(directory: Path, name: str) -> Path:
    """Make a key for the party ``name``, and a request for its certificate, in ``directory``/``name``.

    Returns that folder. UsageError where the name cannot be a party's or has a folder already.
    """
    _check_name(name)
    folder = Path(directory) / name
    certificates.make_folder(folder, "delete it to start anew, with another key")
    key = certificates.new_key()
    asked = x509.CertificateSigningRequestBuilder().subject_name(certificates.subject(name)).sign(key, hashes.SHA256())
    certificates.write_key(folder / KEY_FILE, key)
    (folder / REQUEST_FILE).write_bytes(certificates.pem(asked))
    return folder


def sign(directory: Path, name: str, request: Path, days: int = PARTY_DAYS, *, again: bool = False) -> Path:
    """Sign a request that is to be the party ``name``'s, with the authority in ``directory``.

    Returns the file to send to the party: its certificate and the authority's. UsageError where the request is broken,
    somebody else's, or not signed with its key; where the name cannot be a party's or has been signed already, unless
    ``again``; where the days are out of bounds or would outlive the authority.
    """
    _check_name(name)
    authority, authority_key = _authority(directory, name, days)
    asked = certificates.read_request(request)
    if asked.subject != certificates.subject(name):
        raise UsageError(
            f"{request}: asks for {certificates.common_name(asked.subject)!r}, where {name!r} was to be signed; "
            "sign for each party the request that it made itself"
        )
    signed = Path(directory) / AUTHORITY / SIGNED / f"{name}.pem"
    if signed.exists() and not again:
        raise UsageError(
            f"{signed}: {name!r} has been signed already, and two holders of a name could pose as each other; "
            "to replace its certificate, sign with --again and have the parties agree anew"
        )
    public_key = certificates.public_key_of(request, asked)
    certificate = certificates.party_certificate(name, public_key, authority, authority_key, days)
    signed.parent.mkdir(mode=0o700, exist_ok=True)
    write_bytes(signed, certificates.pem(certificate) + certificates.pem(authority))
    return signed


def accept(folder: Path, signed: Path) -> Description:
    """Put what the authority has signed beside the key that the party has made; returns its description.

    UsageError listing why it cannot be the answer to the folder's request: it is for another key or name, not signed by
    the authority that it brings, or not valid now. The folder is then as it was.
    """
    asked = certificates.read_request(folder / REQUEST_FILE)
    certificate, authority = _answer(signed)
    problems = certificates.validity_problems(signed, certificate)
    problems += certificates.party_problems(signed, certificate)
    problems += certificates.issuer_problems(signed, certificate, authority)
    problems += certificates.key_problems(folder / KEY_FILE, certificate)
    name, wanted = (certificates.common_name(one.subject) for one in (certificate, asked))
    if name != wanted:
        problems.append(f"{signed}: the certificate of {name!r}, where {wanted!r} was asked for; use the right answer")
    if problems:
        raise UsageError(problems)
    write_bytes(folder / AUTHORITY_FILE, certificates.pem(authority))
    write_bytes(folder / CERTIFICATE_FILE, certificates.pem(certificate))
    return describe(folder)


def issue_for_simulation(directory: Path, name: str, days: int = PARTY_DAYS) -> Path:
    """Make key and certificate of the party ``name`` at once, where all parties are on one machine anyway.

    The certificate says so, and a party that is not simulated refuses it. Returns the folder, ``directory``/``name``.
    """
    _check_name(name)
    authority, authority_key = _authority(directory, name, days)
    folder = Path(directory) / name
    certificates.make_folder(folder, "delete it to issue anew")
    key = certificates.new_key()
    certificate = certificates.party_certificate(
        name, key.public_key(), authority, authority_key, days, simulation=True
    )
    certificates.write_key(folder / KEY_FILE, key)
    (folder / CERTIFICATE_FILE).write_bytes(certificates.pem(certificate))
    (folder / AUTHORITY_FILE).write_bytes(certificates.pem(authority))
    return folder


def load(directory: Path, name: str | None = None) -> Credentials:
    """The credentials in a party's folder, of the party ``name`` if one is expected.

    UsageError listing everything that is wrong: a missing or unreadable file, a key that others can read or that
    belongs to another certificate, an unknown issuer, another name, a certificate not valid by this machine's clock.
    """
    folder = Path(directory)
    missing = [file for file in (CERTIFICATE_FILE, KEY_FILE, AUTHORITY_FILE) if not (folder / file).is_file()]
    if missing:
        raise UsageError(
            [
                f"{folder / file}: missing; a party's folder is made by `secure-fair identity request` and `accept`"
                for file in missing
            ]
        )
    description = describe(folder)
    problems = list(description.problems)
    if name is not None and description.name != name:
        problems.append(
            f"{folder / CERTIFICATE_FILE}: the certificate of {description.name!r}, where {name!r} was expected; "
            f"use the folder of {name!r}"
        )
    if problems:
        raise UsageError(problems)
    return Credentials(
        name=description.name,
        certificate=(folder / CERTIFICATE_FILE).read_bytes(),
        key=(folder / KEY_FILE).read_bytes(),
        authority=(folder / AUTHORITY_FILE).read_bytes(),
    )


def describe(directory: Path) -> Description:
    """Describe the certificate in a party's or the authority's folder, and whether it can be used.

    UsageError where the certificate itself cannot be read.
    """
    folder = Path(directory)
    path = folder / CERTIFICATE_FILE
    certificate = certificates.read_certificate(path)
    problems = certificates.validity_problems(path, certificate)
    if (folder / AUTHORITY_FILE).exists():  # a party's folder
        authority = certificates.read_certificate(folder / AUTHORITY_FILE)
        problems += certificates.party_problems(path, certificate)
        problems += certificates.validity_problems(folder / AUTHORITY_FILE, authority)
        problems += certificates.issuer_problems(path, certificate, authority)
    if (folder / KEY_FILE).exists():
        problems += certificates.key_problems(folder / KEY_FILE, certificate)
    return _described(certificate, problems)


def describe_shown(path: Path) -> Description:
    """Describe a party's certificate alone, as it is shown to others: in its folder, or in a file of its own."""
    path = path / CERTIFICATE_FILE if path.is_dir() else path
    certificate = certificates.read_certificate(path)
    problems = certificates.validity_problems(path, certificate) + certificates.party_problems(path, certificate)
    return _described(certificate, problems)


def _described(certificate: x509.Certificate, problems: list[str]) -> Description:
    return Description(
        name=certificates.common_name(certificate.subject),
        issuer=certificates.common_name(certificate.issuer),
        valid_from=certificate.not_valid_before_utc,
        valid_until=certificate.not_valid_after_utc,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        simulated=certificates.is_simulated(certificate),
        problems=tuple(problems),
    )


def _authority(directory: Path, name: str, days: int) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The authority's certificate and key; UsageError unless it may sign for so many days."""
    _check_days(days)
    folder = Path(directory) / AUTHORITY
    authority = certificates.read_certificate(folder / CERTIFICATE_FILE)
    now = datetime.now(UTC)
    if now + timedelta(days=days) > authority.not_valid_after_utc:
        left = (authority.not_valid_after_utc - now).days
        raise UsageError(
            f"{days} days for {name}: the authority in {folder} is valid for {left} days more; "
            f"use at most {left}, or make a new authority"
        )
    return authority, certificates.read_key(folder / KEY_FILE)


def _answer(signed: Path) -> tuple[x509.Certificate, x509.Certificate]:
    """The party's and the authority's certificate in what the authority has sent."""
    certificates.read_certificate(signed)
    found = x509.load_pem_x509_certificates(signed.read_bytes())
    if len(found) != 2:
        raise UsageError(
            f"{signed}: {len(found)} certificates, where 2 are expected (the party's, the authority's); "
            "use the file that `secure-fair identity sign` has written"
        )
    return found[0], found[1]


def _check_name(name: str) -> None:
    check_party_name(name)
    if name == AUTHORITY:
        raise UsageError(f"party name {name!r} is taken by the authority's folder: choose another name")


def _check_days(days: int) -> None:
    if not 1 <= days <= MAX_DAYS:
        raise UsageError(f"{days} days of validity: use 1 to {MAX_DAYS}")

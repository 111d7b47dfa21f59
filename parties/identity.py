"""Certificates: a small authority, and for each party a certificate whose subject is the party's name.

Layout of an identity folder, made on one machine; each party's own folder is then taken to where that party runs::

    DIR/authority/   certificate.pem  key.pem                   (who holds this key can pose as anybody)
    DIR/NAME/        certificate.pem  key.pem  authority.pem    (what the party NAME needs, and nothing else)
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from secure_fair.errors import UsageError
from secure_fair.mpc.transport import Credentials, check_party_name

AUTHORITY = "authority"
CERTIFICATE_FILE = "certificate.pem"
KEY_FILE = "key.pem"
AUTHORITY_FILE = "authority.pem"

AUTHORITY_DAYS = 3650
PARTY_DAYS = 365
MAX_DAYS = 3650
CLOCK_SKEW = timedelta(minutes=5)
"""Certificates begin to be valid this much before they are issued: the parties' clocks differ."""


@dataclass(frozen=True)
class Description:
    """A folder's certificate in words, and every reason why it cannot be used."""

    name: str
    issuer: str
    valid_from: datetime
    valid_until: datetime
    fingerprint: str  # SHA-256 of the certificate, hex
    problems: tuple[str, ...]


def create_authority(directory: Path, days: int = AUTHORITY_DAYS) -> Path:
    """Makes a new authority in ``directory``/authority, valid for ``days``; returns that folder.

    UsageError where it exists already.
    """
    _check_days(days)
    folder = Path(directory) / AUTHORITY
    _make_folder(folder, "delete it to start anew; every certificate that it issued is then void")
    key = ec.generate_private_key(ec.SECP256R1())
    # the number keeps the authorities of different runs apart in messages
    subject = _subject(f"secure_fair authority {x509.random_serial_number() % 10**8:08d}")
    now = datetime.now(UTC)
    public_key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _builder(subject, subject, key, now, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(public_key_id, critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_key(folder / KEY_FILE, key)
    (folder / CERTIFICATE_FILE).write_bytes(_pem(certificate))
    return folder


def issue(directory: Path, name: str, days: int = PARTY_DAYS) -> Path:
    """Issues a key and a certificate for the party ``name``, valid for ``days``, into ``directory``/``name``.

    Returns that folder. UsageError where the name cannot be a party's, the days are out of bounds or would outlive the
    authority, the party has a folder already, or there is no authority.
    """
    check_party_name(name)
    if name == AUTHORITY:
        raise UsageError(f"party name {name!r} is taken by the authority's folder: choose another name")
    _check_days(days)
    authority_folder = Path(directory) / AUTHORITY
    authority = _read_certificate(authority_folder / CERTIFICATE_FILE)
    authority_key = _read_key(authority_folder / KEY_FILE)
    now = datetime.now(UTC)
    end = now + timedelta(days=days)
    if end > authority.not_valid_after_utc:
        left = (authority.not_valid_after_utc - now).days
        raise UsageError(
            f"{days} days for {name}: the authority in {authority_folder} is valid for {left} days more; "
            f"use at most {left}, or make a new authority"
        )
    folder = Path(directory) / name
    _make_folder(folder, "delete it to issue anew")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_subject(name), authority.subject, key, now, days)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    _write_key(folder / KEY_FILE, key)
    (folder / CERTIFICATE_FILE).write_bytes(_pem(certificate))
    (folder / AUTHORITY_FILE).write_bytes(_pem(authority))
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
            [f"{folder / file}: missing; a party's folder is made by `secure-fair identity init`" for file in missing]
        )
    description = describe(folder)
    problems = list(description.problems)
    if name is not None and description.name != name:
        problems.append(
            f"{folder / CERTIFICATE_FILE}: the certificate of {description.name!r}, where {name!r} was expected; "
            f"use the folder issued for {name!r}"
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
    certificate = _read_certificate(path)
    is_party = (folder / AUTHORITY_FILE).exists()
    problems = _validity_problems(path, certificate)
    if is_party:
        problems += _party_problems(folder, certificate)
    if (folder / KEY_FILE).exists():
        problems += _key_problems(folder / KEY_FILE, certificate)
    return Description(
        name=_common_name(certificate.subject),
        issuer=_common_name(certificate.issuer),
        valid_from=certificate.not_valid_before_utc,
        valid_until=certificate.not_valid_after_utc,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        problems=tuple(problems),
    )


def _validity_problems(path: Path, certificate: x509.Certificate) -> list[str]:
    now = datetime.now(UTC)
    if now < certificate.not_valid_before_utc:
        return [
            f"{path}: valid from {_time(certificate.not_valid_before_utc)} on, and this machine's clock says "
            f"{_time(now)}; set the clock"
        ]
    if now > certificate.not_valid_after_utc:
        return [
            f"{path}: expired at {_time(certificate.not_valid_after_utc)}, and this machine's clock says {_time(now)}; "
            "have a new one issued"
        ]
    return []


def _party_problems(folder: Path, certificate: x509.Certificate) -> list[str]:
    problems: list[str] = []
    path = folder / CERTIFICATE_FILE
    name = _common_name(certificate.subject)
    try:
        check_party_name(name)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if names != x509.SubjectAlternativeName([x509.DNSName(name)]):
            problems.append(f"{path}: subject {name!r} and another alternative name; have it issued by this program")
    except UsageError as error:
        problems.append(f"{path}: {error}")
    except x509.ExtensionNotFound:
        problems.append(f"{path}: no alternative name beside the subject {name!r}; have it issued by this program")
    authority = _read_certificate(folder / AUTHORITY_FILE)
    problems += _validity_problems(folder / AUTHORITY_FILE, authority)
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        problems.append(
            f"{path}: not issued by the authority in {AUTHORITY_FILE} ({_common_name(authority.subject)!r}) but by "
            f"{_common_name(certificate.issuer)!r} or another of that name; use files of one and the same authority"
        )
    return problems


def _key_problems(path: Path, certificate: x509.Certificate) -> list[str]:
    problems: list[str] = []
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        problems.append(f"{path}: others may read the key (mode {mode:o}, at most 600); run chmod 600 on it")
    if _read_key(path).public_key() != certificate.public_key():
        problems.append(f"{path}: the key of another certificate; use the two files that were issued together")
    return problems


def _check_days(days: int) -> None:
    if not 1 <= days <= MAX_DAYS:
        raise UsageError(f"{days} days of validity: use 1 to {MAX_DAYS}")


def _make_folder(folder: Path, remedy: str) -> None:
    if folder.exists():
        raise UsageError(f"{folder}: exists already; {remedy}")
    folder.mkdir(parents=True, mode=0o700)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Never readable by others, not even for a moment."""
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)


def _read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); is this an identity folder?") from error
    except ValueError as error:
        raise UsageError(f"{path}: not a certificate in PEM; have it issued anew") from error


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); is this an identity folder?") from error
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path}: not an unencrypted private key in PEM; have it issued anew") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UsageError(f"{path}: not a key on the curve P-256; have it issued by this program")
    return key

"""Certificates, requests and keys as files: how they are built, written, read and held against each other."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from secure_fair.errors import UsageError
from secure_fair.mpc.transport import check_party_name

CLOCK_SKEW = timedelta(minutes=5)
"""Certificates begin to be valid this much before they are issued: the parties' clocks differ."""

SIMULATION = "simulation: the key was made by the authority"
"""The organisation in the subject of a certificate whose key its authority has had."""


# making


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh key on the curve P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def authority_certificate(key: ec.EllipticCurvePrivateKey, days: int) -> x509.Certificate:
    """The certificate of a new authority, signed with its own key."""
    # the number keeps the authorities of different runs apart in messages
    name = subject(f"secure_fair authority {x509.random_serial_number() % 10**8:08d}")
    return (
        _builder(name, name, key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def party_certificate(
    name: str,
    public_key: ec.EllipticCurvePublicKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    days: int,
    *,
    simulation: bool = False,
) -> x509.Certificate:
    """The certificate of the party ``name``, for server and client alike."""
    whole = subject(name, SIMULATION if simulation else None)
    usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        _builder(whole, authority.subject, public_key, days)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(usages, critical=False)
        .add_extension(issuer_id, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def subject(name: str, organisation: str | None = None) -> x509.Name:
    """The common name, and an organisation if there is one."""
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if organisation is not None:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(attributes)


def _builder(
    name: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(public_key)
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


# files


def pem(certificate: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    """A certificate or a request in PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def make_folder(folder: Path, remedy: str) -> None:
    """Make a folder that its owner alone can look into; UsageError with the remedy where it exists already."""
    if folder.exists():
        raise UsageError(f"{folder}: exists already; {remedy}")
    try:
        folder.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made: {error.strerror}; name another folder") from error


def write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a key to a new file, never readable by others, not even for a moment."""
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(text)


def read_certificate(path: Path) -> x509.Certificate:
    """The certificate in a file, of several the first; UsageError where there is none."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); is this an identity folder?") from error
    except ValueError as error:
        raise UsageError(f"{path}: not a certificate in PEM; have it signed anew") from error


def read_request(path: Path) -> x509.CertificateSigningRequest:
    """The request in a file; UsageError unless it is signed with the key that it asks a certificate for."""
    try:
        request = x509.load_pem_x509_csr(path.read_bytes())
        valid = request.is_signature_valid
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); is it the request that a party made?") from error
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise UsageError(
            f"{path}: not a request in PEM; use the request.pem of `secure-fair identity request`"
        ) from error
    if not valid:
        raise UsageError(f"{path}: not signed with the key that it is for, or altered on the way; have it sent again")
    return request


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The private key in a file; UsageError unless it is an unencrypted one on the curve P-256."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); is this an identity folder?") from error
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path}: not an unencrypted private key in PEM; make a new one") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UsageError(f"{path}: not a key on the curve P-256; have it made by this program")
    return key


def public_key_of(path: Path, request: x509.CertificateSigningRequest) -> ec.EllipticCurvePublicKey:
    """The public key that a request is for; UsageError unless it is on the curve P-256."""
    key = request.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UsageError(f"{path}: not for a key on the curve P-256; have it made by this program")
    return key


def common_name(name: x509.Name) -> str:
    """The common name in a subject or issuer; an empty text where it has none."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def is_simulated(certificate: x509.Certificate) -> bool:
    """Whether the certificate says that its authority has had its key."""
    found = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return any(attribute.value == SIMULATION for attribute in found)


# judging


def validity_problems(path: Path, certificate: x509.Certificate) -> list[str]:
    """The reason why a certificate cannot be used at this time, if it cannot."""
    now = datetime.now(UTC)
    if now < certificate.not_valid_before_utc:
        return [
            f"{path}: valid from {time_text(certificate.not_valid_before_utc)} on, and this machine's clock says "
            f"{time_text(now)}; set the clock"
        ]
    if now > certificate.not_valid_after_utc:
        return [
            f"{path}: expired at {time_text(certificate.not_valid_after_utc)}, and this machine's clock says "
            f"{time_text(now)}; have a new one signed"
        ]
    return []


def party_problems(path: Path, certificate: x509.Certificate) -> list[str]:
    """Every reason why a certificate, from the file ``path``, cannot be a party's."""
    name = common_name(certificate.subject)
    try:
        check_party_name(name)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except UsageError as error:
        return [f"{path}: {error}"]
    except x509.ExtensionNotFound:
        return [f"{path}: no alternative name beside the subject {name!r}; have it signed by this program"]
    if names != x509.SubjectAlternativeName([x509.DNSName(name)]):
        return [f"{path}: subject {name!r} and another alternative name; have it signed by this program"]
    return []


def issuer_problems(path: Path, certificate: x509.Certificate, authority: x509.Certificate) -> list[str]:
    """The reason why a certificate is not the authority's, if it is not."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return [
            f"{path}: not issued by the authority beside it ({common_name(authority.subject)!r}) but by "
            f"{common_name(certificate.issuer)!r} or another of that name; use files of one and the same authority"
        ]
    return []


def key_problems(path: Path, certificate: x509.Certificate) -> list[str]:
    """Every reason why the key in a file cannot be used with a certificate."""
    problems: list[str] = []
    key = read_key(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        problems.append(f"{path}: others may read the key (mode {mode:o}, at most 600); run chmod 600 on it")
    if key.public_key() != certificate.public_key():
        problems.append(f"{path}: the key of another certificate; use the key that its request was made with")
    return problems


def time_text(moment: datetime) -> str:
    """A moment for people, in UTC."""
    return moment.strftime("%Y-%m-%d %H:%M UTC")

"""Certificates that no authority of the program would sign: on other days, for other names, with other keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from secure_fair.parties import certificates


def signed(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    key: ec.EllipticCurvePrivateKey,
    *,
    days: tuple[float, float] = (-1, 1),
    alternative: str | None = None,
) -> bytes:
    """A certificate in PEM; ``days``: its first and last, from now."""
    first, last = (datetime.now(UTC) + timedelta(days=day) for day in days)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(first).not_valid_after(last)
    if alternative is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(alternative)]), critical=False)
    return certificates.pem(builder.sign(key, hashes.SHA256()))


def rewrite(
    folder: Path,
    authority: Path,
    *,
    name: str | None = None,
    alternative: str | None = "the same",
    days: tuple[float, float] = (-1, 1),
) -> None:
    """Replace a party's certificate by another of its authority: as good, but for what is given."""
    file = folder / "certificate.pem"
    before = certificates.read_certificate(file)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name or folder.name)])
    public_key = certificates.read_key(folder / "key.pem").public_key()
    key = certificates.read_key(authority / "key.pem")
    said = folder.name if alternative == "the same" else alternative
    file.write_bytes(signed(subject, before.issuer, public_key, key, days=days, alternative=said))

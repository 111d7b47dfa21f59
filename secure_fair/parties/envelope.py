"""A signed envelope: a payload under the signatures of several parties, as DSSE v1 has it, with their certificates.

What is signed is the payload with its type and their lengths (``pae``), by ECDSA on P-256 with SHA-256. The file is
JSON in one form alone, so that a changed byte anywhere is noticed. Specification: github.com/secure-systems-lab/dsse.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from secure_fair.errors import ProtocolError
from secure_fair.parties import certificates

PAYLOAD_TYPE = "application/vnd.in-toto+json"
UNREADABLE = (ValueError, TypeError, x509.InvalidVersion, UnsupportedAlgorithm)  # a certificate that somebody altered


class NotGenuine(ProtocolError):
    """An envelope, or what is in it, is not what its signers signed."""


@dataclass(frozen=True)
class Signature:
    """A signature in DER, and the certificate, in PEM, of the key that made it."""

    signature: bytes
    certificate: str

    @property
    def parsed(self) -> x509.Certificate:
        """The certificate; NotGenuine where it is none, or written in another form than its own."""
        try:
            found = x509.load_pem_x509_certificate(self.certificate.encode())
        except UNREADABLE as error:
            raise NotGenuine("a certificate in the envelope is none") from error
        if certificates.pem(found).decode() != self.certificate:
            raise NotGenuine("a certificate in the envelope was written anew")
        return found

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, hex: the key's name."""
        return self.parsed.fingerprint(hashes.SHA256()).hex()


def canonical(tree: Any) -> bytes:
    """JSON in one form: keys sorted, no blanks."""
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def pae(payload: bytes) -> bytes:
    """The bytes that are signed."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, key: bytes, certificate: bytes) -> Signature:
    """Sign with a party's key; both in PEM."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    private = load_pem_private_key(key, None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ProtocolError("a party's key is one on the curve P-256")
    own = x509.load_pem_x509_certificate(certificate)
    return Signature(private.sign(pae(payload), ec.ECDSA(hashes.SHA256())), certificates.pem(own).decode())


def check(payload: bytes, signature: Signature) -> None:
    """NotGenuine unless it is the signature of the payload by the key of its certificate."""
    try:
        key = signature.parsed.public_key()
    except UNREADABLE as error:
        raise NotGenuine("a certificate in the envelope is of a key that cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise NotGenuine("a signature by a key that is none on the curve P-256")
    try:
        key.verify(signature.signature, pae(payload), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        name = certificates.common_name(signature.parsed.subject)
        raise NotGenuine(f"the signature of {name!r} is not of this payload, or not by its key") from None


def write(payload: bytes, signatures: Sequence[Signature]) -> bytes:
    """The envelope's file."""
    signed = [
        {"cert": one.certificate, "keyid": one.fingerprint, "sig": base64.b64encode(one.signature).decode()}
        for one in signatures
    ]
    encoded = base64.b64encode(payload).decode()
    return canonical({"payload": encoded, "payloadType": PAYLOAD_TYPE, "signatures": signed}) + b"\n"


def read(content: bytes) -> tuple[bytes, dict[str, Signature]]:
    """The payload and its signatures by the fingerprints of their certificates, every one of them checked.

    NotGenuine for anything that ``write`` does not write, or that was not signed.
    """
    try:
        tree = json.loads(content)
        payload = base64.b64decode(tree["payload"], validate=True)
        found = [Signature(base64.b64decode(one["sig"], validate=True), one["cert"]) for one in tree["signatures"]]
        # before anything parses them
        altered = [one for one in tree["signatures"] if one["keyid"] != _name_of(one["cert"])]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise NotGenuine(f"not an envelope of signatures: {type(error).__name__}") from error
    if altered:
        raise NotGenuine("a certificate in the envelope is not the one that its name says")
    for one in found:
        check(payload, one)
    if not found or write(payload, found) != content:
        raise NotGenuine("the envelope was written anew, or changed: not in the form in which it was signed")
    if len({one.fingerprint for one in found}) != len(found):
        raise NotGenuine("one key has signed twice")
    return payload, {one.fingerprint: one for one in found}


def _name_of(certificate: str) -> str:
    """SHA-256 of a certificate's bytes, hex, whatever is in them; ValueError for what is not in PEM."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest()


def names_of(signatures: Mapping[str, Signature]) -> dict[str, str]:
    """The name in each signer's certificate, by its fingerprint."""
    return {mark: certificates.common_name(one.parsed.subject) for mark, one in signatures.items()}

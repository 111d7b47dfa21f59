"""Mutually authenticated TLS 1.3 for gRPC: who a party is, and how its certificate is held against its name.

gRPC's Python API has no setting for the lowest TLS version. The list of cipher suites that it does have governs TLS 1.2
only (suites of TLS 1.3 are fixed by the library), so the list is set to one suite that needs a pre-shared key. Nobody
has one: TLS 1.2 has no suite left and is refused by server and client, TLS 1.3 is unaffected. The setting is read once
per process, when the first credentials are made; ``check_version`` tries a TLS 1.2 hello to see that it holds.

Nor does it show a client the server's certificate. Where a peer's is agreed on by its fingerprint,
``shown_certificate`` fetches what the peer shows, over a connection that carries nothing; if it has the fingerprint,
the channel trusts that very certificate and no authority: whoever answers the channel must hold its key.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
from dataclasses import dataclass, field

os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-PSK-AES128-CBC-SHA"
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # failures are raised, with their reasons

import grpc  # after the environment: gRPC reads it when it is loaded
import grpc.experimental
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from secure_fair.errors import ProtocolError, UsageError

_PARTY_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")


_HANDSHAKE_RECORD = b"\x16"  # RFC 5246, 6.2.1: a server that goes on sends its hello; a refusal is an alert or the end


_CORRUPTED = "TSI_DATA_CORRUPTED"  # gRPC's word for it


@dataclass(frozen=True)
class Credentials:
    """A party's name and what proves it, in PEM: its certificate, its private key, and the authority's certificate."""

    name: str
    certificate: bytes
    key: bytes = field(repr=False)
    authority: bytes


def check_party_name(name: str) -> None:
    """UsageError unless ``name`` can stand in a certificate: 1 to 63 of a-z, 0-9, '-', '_', ends alphanumeric."""
    if not _PARTY_NAME.fullmatch(name):
        raise UsageError(
            f"party name {name!r}: use 1 to 63 lower-case letters, digits, '-' and '_', "
            "beginning and ending with a letter or digit"
        )


def server_credentials(credentials: Credentials) -> grpc.ServerCredentials:
    """A server that shows the party's certificate and demands one of the same authority from every client."""
    return grpc.ssl_server_credentials(
        [(credentials.key, credentials.certificate)],
        root_certificates=credentials.authority,
        require_client_auth=True,
    )


def channel_credentials(credentials: Credentials, trusted: bytes | None = None) -> grpc.ChannelCredentials:
    """A client that shows the party's certificate and trusts ``trusted`` alone: by default the party's authority."""
    return grpc.ssl_channel_credentials(trusted or credentials.authority, credentials.key, credentials.certificate)


def fingerprint(certificate: bytes) -> str:
    """The SHA-256 of a certificate that is given in PEM, in hex."""
    return x509.load_pem_x509_certificate(certificate).fingerprint(SHA256()).hex()


def peer_name(context: grpc.ServicerContext) -> str:
    """The client's name: its certificate's common name and one alternative name. ProtocolError where they differ."""
    authenticated = context.auth_context()
    common_names = [name.decode() for name in authenticated.get("x509_common_name", [])]
    alternative_names = [name.decode() for name in authenticated.get("x509_subject_alternative_name", [])]
    if len(common_names) != 1 or alternative_names != common_names:
        raise ProtocolError(f"a certificate with common name {common_names} and alternative names {alternative_names}")
    return common_names[0]


def peer_fingerprint(context: grpc.ServicerContext) -> str:
    """The fingerprint of the certificate whose key the client has proved to hold. ProtocolError where there is none."""
    shown = context.auth_context().get("x509_pem_cert", [])
    if len(shown) != 1:
        raise ProtocolError(f"{len(shown)} certificates shown; use exactly one")
    return fingerprint(shown[0])


def shown_certificate(address: str, timeout: float) -> bytes:
    """The certificate, in PEM, that the server at ``address`` shows to anybody; OSError where it shows none."""
    host, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = (
        ssl.CERT_NONE
    )  # nothing is believed yet: whoever is connected to later must hold the key of it
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((host.strip("[]"), int(port)), timeout) as connection,
        context.wrap_socket(connection) as secured,
    ):
        return ssl.DER_cert_to_PEM_cert(secured.getpeercert(binary_form=True) or b"").encode()


def was_altered(error: grpc.RpcError) -> bool:
    """Whether a stream has ended because a TLS record that came on it does not verify: it was changed on its way.

    What a client reads alone: where a record that goes to a server is changed, the server ends the connection, and both
    see no more than that it has ended.
    """
    return _CORRUPTED in (error.details() or "")


def check_version(address: str, timeout: float) -> None:
    """ProtocolError if the server at ``address`` (host:port) answers a TLS 1.2 hello with anything but a refusal."""
    host, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only the version of the answer matters, nothing is sent over the connection
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing).do_handshake()
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout) as connection:
            connection.sendall(outgoing.read())
            answer = _first_byte(connection)
    except OSError as error:
        raise ProtocolError(f"the TLS version at {address} could not be checked: {error}") from error
    if answer == _HANDSHAKE_RECORD:
        raise ProtocolError(
            f"the TLS library at {address} accepts TLS 1.2; the bound is TLS 1.3: "
            "import secure_fair.mpc.transport before anything else uses gRPC"
        )


def _first_byte(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1)
    except ConnectionError:  # a refusal, too
        return b""

"""Certificates: who gets one, who can read the key, and every reason for which a folder is not accepted."""

from __future__ import annotations

import os
import shutil
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from secure_fair.errors import UsageError
from secure_fair.parties import certificates, identity
from tests.parties.handmade import rewrite, signed


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    identity.create_authority(tmp_path)
    identity.issue_for_simulation(tmp_path, "auditor")
    return tmp_path


def test_what_is_issued_loads(directory: Path) -> None:
    credentials = identity.load(directory / "auditor", "auditor")
    assert credentials.name == "auditor"
    assert credentials.authority == (directory / "authority" / "certificate.pem").read_bytes()
    assert credentials.certificate.startswith(b"-----BEGIN CERTIFICATE-----")
    assert "PRIVATE" not in repr(credentials)


# a key that the authority never sees


@pytest.fixture
def own(directory: Path) -> Path:
    """The folder of the party dealer, which has made its key and a request."""
    return identity.request(directory / "own", "dealer")


def answer(directory: Path, own: Path, **settings: int) -> Path:
    """What the authority signs of the request in ``own``."""
    return identity.sign(directory, "dealer", own / "request.pem", **settings)


def test_a_signed_request_loads_beside_its_key(directory: Path, own: Path) -> None:
    key = (own / "key.pem").read_bytes()
    described = identity.accept(own, answer(directory, own))
    assert identity.load(own, "dealer").authority == (directory / "authority" / "certificate.pem").read_bytes()
    assert (described.name, described.problems, described.simulated) == ("dealer", (), False)
    assert (own / "key.pem").read_bytes() == key
    seen = [path for path in directory.rglob("*") if path.is_file() and own not in path.parents]
    assert all(key not in path.read_bytes() for path in seen)
    assert identity.describe(directory / "auditor").simulated


def test_a_request_for_another_name_is_not_signed(directory: Path, own: Path) -> None:
    with pytest.raises(UsageError, match="asks for 'dealer', where 'auditor' was to be signed"):
        identity.sign(directory, "auditor", own / "request.pem")
    assert not (directory / "authority" / "signed").exists()


def test_a_request_that_is_not_signed_with_its_key_is_refused(directory: Path, own: Path) -> None:
    path = own / "request.pem"
    der = bytearray(x509.load_pem_x509_csr(path.read_bytes()).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    text = ssl.DER_cert_to_PEM_cert(bytes(der)).replace("CERTIFICATE", "CERTIFICATE REQUEST")
    path.write_text(text)
    with pytest.raises(UsageError, match="not signed with the key that it is for"):
        answer(directory, own)
    path.write_text("nothing")
    with pytest.raises(UsageError, match="not a request in PEM"):
        answer(directory, own)


def test_a_name_is_signed_once(directory: Path, own: Path) -> None:
    first = identity.accept(own, answer(directory, own)).fingerprint
    with pytest.raises(UsageError, match="'dealer' has been signed already"):
        answer(directory, own)
    assert identity.accept(own, answer(directory, own, again=True)).fingerprint != first


def test_only_the_answer_to_its_own_request_is_accepted(directory: Path, own: Path) -> None:
    before = {path: path.read_bytes() for path in own.iterdir()}
    other = identity.request(directory / "other", "third")
    signed = identity.sign(directory, "third", other / "request.pem")
    with pytest.raises(UsageError) as refused:
        identity.accept(own, signed)
    found = "\n".join(refused.value.problems)
    assert len(refused.value.problems) == 2
    assert "the key of another certificate" in found
    assert "the certificate of 'third', where 'dealer' was asked for" in found
    with pytest.raises(UsageError, match="1 certificates, where 2 are expected"):
        identity.accept(own, directory / "auditor" / "certificate.pem")
    identity.create_authority(directory / "stranger")
    pieces = (answer(directory, own), directory / "stranger" / "authority" / "certificate.pem")
    forged = directory / "forged.pem"
    forged.write_bytes(certificates.pem(certificates.read_certificate(pieces[0])) + pieces[1].read_bytes())
    with pytest.raises(UsageError, match="not issued by the authority beside it"):
        identity.accept(own, forged)
    assert before == {path: path.read_bytes() for path in own.iterdir()}


def test_a_folder_works_wherever_it_is_taken(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "keys"
    shutil.copytree(directory / "auditor", elsewhere)
    assert identity.load(elsewhere, "auditor").name == "auditor"


def test_a_party_gets_only_what_is_its_own(directory: Path) -> None:
    assert sorted(path.name for path in (directory / "auditor").iterdir()) == [
        "authority.pem",
        "certificate.pem",
        "key.pem",
    ]
    authority_key = (directory / "authority" / "key.pem").read_bytes()
    assert all(authority_key not in path.read_bytes() for path in (directory / "auditor").iterdir())


@pytest.mark.parametrize("umask", [0o022, 0])  # the ordinary and the most careless setting
def test_keys_are_for_their_owner_only(directory: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        identity.create_authority(directory / "other")
        folder = identity.request(directory / "own", "developer")
        identity.accept(folder, identity.sign(directory / "other", "developer", folder / "request.pem"))
        simulated = identity.issue_for_simulation(directory, "developer")
    finally:
        os.umask(before)
    authority = directory / "other" / "authority"
    for key in (authority / "key.pem", folder / "key.pem", simulated / "key.pem"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    for private in (authority, authority / "signed", folder, simulated):
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
    (folder / "key.pem").chmod(0o640)
    with pytest.raises(UsageError, match="mode 640, at most 600"):
        identity.load(folder)


def test_certificates_say_what_they_are_for(directory: Path) -> None:
    certificate = x509.load_pem_x509_certificate((directory / "auditor" / "certificate.pem").read_bytes())
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    extensions = certificate.extensions
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["auditor"]
    usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


@pytest.mark.parametrize(
    "name", ["", "Auditor", "two words", "a.b", "-a", "a-", "x" * 64, "../auditor", "a\n", "ö", "*"]
)
def test_names_that_cannot_be_a_partys_are_refused(directory: Path, name: str) -> None:
    with pytest.raises(UsageError, match="party name"):
        identity.issue_for_simulation(directory, name)


def test_the_authoritys_name_is_taken(directory: Path) -> None:
    with pytest.raises(UsageError, match="taken by the authority"):
        identity.issue_for_simulation(directory, "authority")


@pytest.mark.parametrize("name", ["a", "auditor_2", "hospital-north", "7", "x" * 63])
def test_ordinary_names_are_fine(directory: Path, name: str) -> None:
    assert identity.load(identity.issue_for_simulation(directory, name)).name == name


def test_nothing_is_overwritten(directory: Path) -> None:
    before = {path: path.read_bytes() for path in directory.rglob("*.pem")}
    with pytest.raises(UsageError, match="exists already; delete it to issue anew"):
        identity.issue_for_simulation(directory, "auditor")
    with pytest.raises(UsageError, match="exists already; delete it to start anew"):
        identity.create_authority(directory)
    assert before == {path: path.read_bytes() for path in directory.rglob("*.pem")}


@pytest.mark.parametrize("days", [0, -1, 3651])
def test_days_out_of_bounds_are_refused(directory: Path, days: int) -> None:
    with pytest.raises(UsageError, match=f"{days} days of validity: use 1 to 3650"):
        identity.issue_for_simulation(directory, "developer", days)


def test_a_certificate_does_not_outlive_its_authority(tmp_path: Path) -> None:
    identity.create_authority(tmp_path, days=10)
    with pytest.raises(
        UsageError, match=r"11 days for auditor: the authority .* is valid for 9 days more; use at most 9"
    ):
        identity.issue_for_simulation(tmp_path, "auditor", 11)
    assert identity.load(identity.issue_for_simulation(tmp_path, "auditor", 9)).name == "auditor"


def test_without_an_authority_nothing_is_issued(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"authority/certificate\.pem: cannot be read"):
        identity.issue_for_simulation(tmp_path, "auditor")


def test_the_expected_name_must_be_in_the_certificate(directory: Path) -> None:
    with pytest.raises(UsageError, match="the certificate of 'auditor', where 'developer' was expected"):
        identity.load(directory / "auditor", "developer")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"days": (-1, -0.1)}, "expired at .* and this machine's clock says"),
        ({"days": (0.1, 1)}, "valid from .* set the clock"),
        ({"alternative": "developer"}, "another alternative name"),
        ({"alternative": None}, "no alternative name"),
        ({"name": "Auditor", "alternative": "Auditor"}, "party name 'Auditor'"),
    ],
)
def test_a_certificate_that_is_wrong_is_not_loaded(directory: Path, changes: dict[str, Any], message: str) -> None:
    rewrite(directory / "auditor", directory / "authority")
    identity.load(directory / "auditor")  # made by hand, and right
    rewrite(directory / "auditor", directory / "authority", **changes)
    with pytest.raises(UsageError, match=message):
        identity.load(directory / "auditor")


@pytest.mark.parametrize("same_name", [False, True])
def test_an_unknown_issuer_is_named(directory: Path, tmp_path: Path, same_name: bool) -> None:
    other = tmp_path / "other"
    identity.create_authority(other)
    foreign = (other / "authority" / "certificate.pem").read_bytes()
    if same_name:  # an authority that only calls itself the same
        key = ec.generate_private_key(ec.SECP256R1())
        ours = certificates.read_certificate(directory / "authority" / "certificate.pem")
        foreign = signed(ours.subject, ours.subject, key.public_key(), key)
    (directory / "auditor" / "authority.pem").write_bytes(foreign)
    with pytest.raises(UsageError, match=r"not issued by the authority beside it"):
        identity.load(directory / "auditor")


def test_an_expired_authority_is_found(directory: Path) -> None:
    authority = directory / "authority"
    ours, key = (
        certificates.read_certificate(authority / "certificate.pem"),
        certificates.read_key(authority / "key.pem"),
    )
    expired = signed(ours.subject, ours.subject, key.public_key(), key, days=(-2, -1))
    (directory / "auditor" / "authority.pem").write_bytes(expired)
    with pytest.raises(UsageError, match=r"authority\.pem: expired"):
        identity.load(directory / "auditor")


def test_all_that_is_wrong_is_listed_at_once(directory: Path) -> None:
    identity.issue_for_simulation(directory, "developer")
    rewrite(directory / "auditor", directory / "authority", days=(-1, -0.1))
    shutil.copy(directory / "developer" / "key.pem", directory / "auditor" / "key.pem")
    (directory / "auditor" / "key.pem").chmod(0o644)
    with pytest.raises(UsageError) as refused:
        identity.load(directory / "auditor", "developer")
    found = "\n".join(refused.value.problems)
    assert len(refused.value.problems) == 4
    for part in ("expired", "mode 644", "the key of another certificate", "where 'developer' was expected"):
        assert part in found


@pytest.mark.parametrize("file", ["certificate.pem", "key.pem", "authority.pem"])
def test_missing_and_broken_files_are_named(directory: Path, file: str) -> None:
    path = directory / "auditor" / file
    content = path.read_bytes()
    path.write_bytes(b"-----BEGIN NOTHING-----\n")
    with pytest.raises(UsageError, match=file):
        identity.load(directory / "auditor")
    path.write_bytes(content)
    identity.load(directory / "auditor")
    path.unlink()
    with pytest.raises(UsageError, match=f"{file}: missing"):
        identity.load(directory / "auditor")


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        identity.load(tmp_path / "nowhere")
    assert len(refused.value.problems) == 3


def test_keys_of_another_kind_are_refused(directory: Path) -> None:
    """Among them the RSA keys with which older versions of TLS could be spoken."""
    for key in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())):
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (directory / "auditor" / "key.pem").write_bytes(pem)
        with pytest.raises(UsageError, match="not a key on the curve P-256"):
            identity.load(directory / "auditor")


def test_describe_says_what_load_would(directory: Path) -> None:
    good = identity.describe(directory / "auditor")
    assert (good.name, good.problems) == ("auditor", ())
    assert good.valid_from < datetime.now(UTC) < good.valid_until
    assert good.valid_until - datetime.now(UTC) <= timedelta(days=identity.PARTY_DAYS)
    certificate = x509.load_pem_x509_certificate((directory / "auditor" / "certificate.pem").read_bytes())
    assert bytes.fromhex(good.fingerprint) == certificate.fingerprint(hashes.SHA256())
    authority = identity.describe(directory / "authority")
    assert authority.name == authority.issuer == good.issuer
    assert authority.problems == ()
    rewrite(directory / "auditor", directory / "authority", days=(-1, -0.1))
    assert "expired" in identity.describe(directory / "auditor").problems[0]

"""Streams are AES-256 in counter mode, as its standard says; keys for different purposes have nothing in common."""

from __future__ import annotations

import time

import pytest
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from scipy.stats import chi2

from secure_fair.randomness import KEY_BYTES, PRG, KeySource, derive


def reference(key: bytes, count: int) -> bytes:
    """Counter mode from the block cipher alone (NIST SP 800-38A): E(0), E(1), ..."""
    encrypt = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    blocks = b"".join(encrypt.update(i.to_bytes(16, "big")) for i in range(-(-count // 16)))
    return blocks[:count]


def test_block_cipher_of_the_reference_meets_its_standard() -> None:
    key = bytes(range(32))  # FIPS 197, appendix C.3
    encrypted = (
        Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(bytes.fromhex("00112233445566778899aabbccddeeff"))
    )
    assert encrypted.hex() == "8ea2b7ca516745bfeafc49904b496089"


@pytest.mark.parametrize("pieces", [[1], [16], [5, 11, 16], [8, 8, 1000], [200_000, 3, 70_000]])
def test_stream_is_counter_mode_however_it_is_read(pieces: list[int]) -> None:
    key = derive(bytes(range(32)), "a test")
    stream = PRG(key)
    assert b"".join(stream.bytes(n) for n in pieces) == reference(key, sum(pieces))


@pytest.mark.parametrize("start", [0, 1, 8, 16, 24, 70_001])
def test_a_stream_is_read_from_anywhere(start: int) -> None:
    key = derive(bytes(range(32)), "anywhere")
    assert PRG(key, start).bytes(100) == reference(key, start + 100)[start:]


def test_ring_elements_are_the_little_endian_words_of_the_stream() -> None:
    key = derive(bytes(range(32)), "ring")
    ring = PRG(key).ring((3, 5))
    words = [int.from_bytes(reference(key, 120)[8 * i : 8 * i + 8], "little", signed=True) for i in range(15)]
    assert ring.dtype == torch.int64
    assert ring.tolist() == torch.tensor(words).reshape(3, 5).tolist()
    assert PRG(key).ring(()).shape == ()
    assert PRG(key).ring((0, 4)).shape == (0, 4)


@pytest.mark.parametrize("bitlength", [1, 7, 63, 64])
def test_bits_fill_exactly_their_length(bitlength: int) -> None:
    bits = PRG(derive(bytes(32), "bits")).bits((4000,), bitlength)
    seen = torch.zeros((), dtype=torch.int64)
    for value in bits:
        seen |= value
    assert seen.item() == (-1 if bitlength == 64 else (1 << bitlength) - 1)
    for bit in range(bitlength):
        ones = int(((bits >> bit) & 1).sum())
        assert abs(ones - 2000) < 200  # 6 standard deviations


def test_bytes_are_uniform() -> None:
    counts = torch.bincount(
        torch.frombuffer(bytearray(PRG(derive(bytes(32), "u")).bytes(1 << 20)), dtype=torch.uint8), minlength=256
    )
    expected = (1 << 20) / 256
    assert 1e-6 < chi2.sf(float(((counts - expected) ** 2 / expected).sum()), 255) < 1 - 1e-6


def test_keys_of_different_purposes_differ_and_labels_do_not_run_together() -> None:
    lists = [("a",), ("b",), ("a", "b"), ("ab",), ("a", ""), ("", "a"), ("a", 1), ("a", 12), ("a", 1, 2), ()]
    keys = {derive(bytes(32), *labels) for labels in lists}
    assert len(keys) == len(lists)
    assert all(len(key) == KEY_BYTES for key in keys)
    assert derive(bytes(32), "a") == derive(bytes(32), "a")
    assert derive(bytes(32), "a") != derive(bytes(31) + b"\x01", "a")


def test_fresh_roots_are_private_and_differ_whatever_torch_is_seeded_with() -> None:
    torch.manual_seed(0)
    first = KeySource.fresh()
    torch.manual_seed(0)
    second = KeySource.fresh()
    assert first.private
    assert second.private
    assert first.key != second.key


def test_seeded_root_repeats_and_says_that_it_is_not_private() -> None:
    assert not KeySource.seeded(7).private
    assert KeySource.seeded(7).key == KeySource.seeded(7).key != KeySource.seeded(8).key


def test_a_root_does_not_print_its_key() -> None:
    root = KeySource.fresh()
    assert str(root.key) not in repr(root)
    assert root.key.hex() not in repr(root)


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        PRG(b"short")
    with pytest.raises(ValueError, match="between 1 and 64"):
        PRG(bytes(32)).bits((1,), 65)


def test_half_a_gigabyte_of_ring_elements_a_second() -> None:
    stream = PRG(bytes(32))
    best = 0.0
    for _ in range(20):
        started = time.process_time()
        stream.ring((1_000_000,))
        best = max(best, 8e6 / (time.process_time() - started))
    assert best >= 500e6

"""Keys from the operating system, and the AES-256-CTR streams of ring elements, bits and bytes grown from them.

Every mask of the protocol comes from here. A key has 256 bits; keys for different purposes and pairs of parties are
derived with HKDF-SHA256 (RFC 5869), so that no two streams share a key and none says anything about another.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
_VERSION = b"secure_fair randomness 1"
_ZEROS = memoryview(bytes(1 << 16))  # the plaintext under which CTR yields its keystream, a piece at a time
_BLOCK = 16  # bytes of keystream for each value of the counter
_TAIL = 16  # room the cipher asks for beyond the bytes that it writes


def derive(key: bytes, *labels: str | int) -> bytes:
    """A 256-bit key for the purpose that ``labels`` spell out; labels are length-prefixed, so no two lists collide."""
    encoded = [str(label).encode() for label in labels]
    info = _VERSION + b"".join(len(label).to_bytes(4, "big") + label for label in encoded)
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(key)


class PRG:
    """The AES-256-CTR keystream of one key, read in order; holders of the key who read alike hold the same numbers."""

    def __init__(self, key: bytes, start: int = 0) -> None:
        """``start``: the byte of the stream that is read first."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"a stream's key has {KEY_BYTES} bytes, not {len(key)}")
        # A key is used for one stream only, so the counter may start at zero (NIST SP 800-38A, section 6.5).
        block, within = divmod(start, _BLOCK)
        self._cipher = Cipher(algorithms.AES(key), modes.CTR(block.to_bytes(_BLOCK, "big"))).encryptor()
        self._fill(within)

    def _fill(self, count: int) -> np.ndarray:
        """``count`` bytes of keystream in a fresh, writable array."""
        array = np.empty(count + _TAIL, dtype=np.uint8)
        view = array.data
        for start in range(0, count, len(_ZEROS)):
            size = min(len(_ZEROS), count - start)
            self._cipher.update_into(_ZEROS[:size], view[start : start + size + _TAIL])
        return array[:count]

    def bytes(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        return self._fill(count).tobytes()

    def ring(self, size: Sequence[int]) -> torch.Tensor:
        """Uniform elements of Z/2^64 as int64, of shape ``size``."""
        words = self._fill(8 * prod(size)).view("<i8")
        return torch.from_numpy(words).reshape(tuple(size))

    def bits(self, size: Sequence[int], bitlength: int = 1) -> torch.Tensor:
        """Uniform ``bitlength``-bit numbers (1 to 64) as int64, of shape ``size``; 64 bits fill the sign bit too."""
        if not 1 <= bitlength <= 64:
            raise ValueError(f"bit length {bitlength} is not between 1 and 64")
        words = self.ring(size)
        return words if bitlength == 64 else words.bitwise_and_((1 << bitlength) - 1)


@dataclass(frozen=True)
class KeySource:
    """Where a party's keys come from. ``private`` is False only for a seeded source, whose runs protect nothing."""

    key: bytes = field(repr=False)
    private: bool

    @classmethod
    def fresh(cls) -> KeySource:
        """256 bits from the operating system."""
        return cls(secrets.token_bytes(KEY_BYTES), private=True)

    @classmethod
    def seeded(cls, seed: int) -> KeySource:
        """NOT PRIVATE: whoever knows the small ``seed`` knows every mask. For repeatable experiments only."""
        return cls(hashlib.sha256(_VERSION + b" NOT PRIVATE " + str(seed).encode()).digest(), private=False)

    def derive(self, *labels: str | int) -> bytes:
        """A key of this source for the purpose that ``labels`` spell out."""
        return derive(self.key, *labels)

"""Paillier's encryption (1999), under which sums can be taken without the key. For learning: it is not hardened."""

import secrets
from dataclasses import dataclass
from math import gcd, lcm

from sympy import isprime


@dataclass(frozen=True)
class PublicKey:
    """The modulus n, a product of two primes. Whoever knows it can encrypt, and add what is encrypted."""

    n: int

    def encrypt(self, message: int) -> int:
        """Encrypt a whole number as (1 + n)^m r^n modulo n^2, with a fresh random r.

        Raises
        ------
        ValueError
            If this is no whole number, or its absolute value is n / 2 or more.
        """
        if not isinstance(message, int):
            raise ValueError(f"a message is a whole number; got {message!r}: multiply real numbers and round them")
        if not 2 * abs(message) < self.n:
            raise ValueError(f"a message's absolute value is below n / 2, a number of {self.n.bit_length() - 1} bits")
        square = self.n**2
        return (1 + self.n * message) * pow(self._unit(), self.n, square) % square

    def add(self, first: int, second: int) -> int:
        """Return an encryption of the sum: the product of the two ciphertexts."""
        return first * second % self.n**2

    def scale(self, ciphertext: int, factor: int) -> int:
        """Return an encryption of the message times a factor that is not secret: the ciphertext to that power."""
        return pow(ciphertext, factor, self.n**2)

    def _unit(self) -> int:
        while gcd(r := secrets.randbelow(self.n - 1) + 1, self.n) != 1:
            pass
        return r


@dataclass(frozen=True)
class PrivateKey:
    """The two primes."""

    p: int
    q: int

    @property
    def public(self) -> PublicKey:
        """The key that may be published."""
        return PublicKey(self.p * self.q)

    def decrypt(self, ciphertext: int) -> int:
        """Return the message, between -n / 2 and n / 2.

        Raises
        ------
        ValueError
            If this is no ciphertext of this key.
        """
        n, order = self.p * self.q, lcm(self.p - 1, self.q - 1)
        if not 0 < ciphertext < n**2 or gcd(ciphertext, n) != 1:
            raise ValueError("a ciphertext is a number between 0 and n^2 that has no factor in common with n")
        message = (pow(ciphertext, order, n**2) - 1) // n * pow(order, -1, n) % n
        return message - n if 2 * message > n else message


def keys(bits: int) -> PrivateKey:
    """Draw a private key whose modulus has `bits` bits.

    Numbers of 2,048 bits or more are in use; smaller ones are for experiments.

    Raises
    ------
    ValueError
        If `bits` is below 32 or odd.
    """
    if bits < 32 or bits % 2:
        raise ValueError(f"a modulus has an even number of bits, 32 or more; got {bits}")
    p = _prime(bits // 2)
    while (q := _prime(bits // 2)) == p:
        pass
    return PrivateKey(p, q)


def _prime(bits: int) -> int:
    top = 0b11 << (bits - 2)
    while not isprime(candidate := secrets.randbits(bits) | top | 1):
        pass
    return candidate

"""Right answers to the lab on encrypted computation, in other styles than the solutions'."""

RIGHT: dict[str, list[str]] = {
    "encrypted_computation.share": [
        """
def share(secret, parties, modulus=MODULUS):
    left, shares = secret, []
    for _ in range(parties - 1):
        one = secrets.randbelow(modulus)
        shares.append(one)
        left -= one
    shares.append(left % modulus)
    return shares
""",
        """
import os

def share(secret, parties, modulus=MODULUS):
    drawn = [int.from_bytes(os.urandom(40), "little") % modulus for _ in range(parties)]
    drawn[0] = (secret - sum(drawn[1:])) % modulus
    return tuple(drawn)
""",
        """
def _fair(below):
    while True:
        number = secrets.randbits(below.bit_length())
        if number < below:
            return number

def share(secret, parties, modulus=MODULUS):
    numbers = np.empty(parties, dtype=object)
    numbers[:-1] = [_fair(modulus) for _ in range(parties - 1)]
    numbers[-1] = (secret - sum(numbers[:-1].tolist())) % modulus
    return numbers.tolist()
""",
        """
def share(secret, parties, modulus=MODULUS):
    if parties == 1:
        return [secret % modulus]
    mine = int(secrets.token_hex(64), 16) % modulus
    return [mine, *share((secret - mine) % modulus, parties - 1, modulus)]
""",
    ],
    "encrypted_computation.recover": [
        """
from math import prod

def recover(shares, prime):
    return sum(
        s * prod(x * pow(x - here, -1, prime) for x in shares if x != here) for here, s in shares.items()
    ) % prime
""",
        """
def recover(shares, prime):
    points, rows = list(shares), []
    for x in points:
        rows.append([pow(x, power, prime) for power in range(len(points))] + [shares[x] % prime])
    size = len(rows)
    for at in range(size):  # Gauss and Jordan modulo the prime
        pivot = next(row for row in range(at, size) if rows[row][at] % prime)
        rows[at], rows[pivot] = rows[pivot], rows[at]
        by = pow(rows[at][at], -1, prime)
        rows[at] = [value * by % prime for value in rows[at]]
        for row in range(size):
            if row != at:
                factor = rows[row][at]
                rows[row] = [(a - factor * b) % prime for a, b in zip(rows[row], rows[at])]
    return rows[0][-1]
""",
        """
from fractions import Fraction

def recover(shares, prime):
    exact = Fraction(0)
    for i, (x, value) in enumerate(shares.items()):
        weight = Fraction(1)
        for other in shares:
            if other != x:
                weight *= Fraction(other, other - x)
        exact += weight * value
    return exact.numerator * pow(exact.denominator, prime - 2, prime) % prime
""",
    ],
    "encrypted_computation.multiply": [
        """
def multiply(x, y, a, b, c):
    d, e = sum(x) - sum(a), sum(y) - sum(b)
    shares = []
    for i, (ai, bi, ci) in enumerate(zip(a, b, c)):
        share = ci + d * bi + e * ai
        if i == len(x) - 1:  # the last party adds it
            share += d * e
        shares.append(share % MODULUS)
    return shares
""",
        """
def multiply(x, y, a, b, c):
    x, y, a, b, c = (np.array(one, dtype=np.uint64) for one in (x, y, a, b, c))
    d, e = np.sum(x - a, dtype=np.uint64), np.sum(y - b, dtype=np.uint64)
    with np.errstate(over="ignore"):
        shares = c + d * b + e * a
        shares[0] += d * e
    return shares.tolist()
""",
        """
def multiply(x, y, a, b, c):
    d = sum(map(int.__sub__, x, a))
    e = sum(map(int.__sub__, y, b))
    return [(ci + d * bi + e * (ai + d * (i == 0))) % MODULUS for i, (ai, bi, ci) in enumerate(zip(a, b, c))]
""",
        """
def multiply(x, y, a, b, c):
    d = sum(x[i] - a[i] for i in range(len(x)))
    e = sum(y[i] - b[i] for i in range(len(y)))
    # xy = ab + d y + e x - d e, since both factors are there in shares
    shares = [(c[i] + d * y[i] + e * x[i]) % MODULUS for i in range(len(x))]
    shares[0] = (shares[0] - d * e) % MODULUS
    return shares
""",
    ],
    "encrypted_computation.masked": [
        """
def masked(update, me, own, seeds, round):
    result = list(update)
    for at, number in enumerate(expand(own, round, len(update))):
        result[at] += number
    for other in sorted(seeds):
        sign = 1 if me < other else -1
        for at, number in enumerate(expand(seeds[other], round, len(update))):
            result[at] += sign * number
    return [number % MODULUS for number in result]
""",
        """
def masked(update, me, own, seeds, round):
    total = np.array(update, dtype=np.uint64) + np.array(expand(own, round, len(update)), dtype=np.uint64)
    for other, seed in seeds.items():
        mask = np.array(expand(seed, round, len(update)), dtype=np.uint64)
        total = total + mask if other > me else total - mask
    return [int(number) for number in total]
""",
        """
import pandas as pd

def masked(update, me, own, seeds, round):
    frame = pd.DataFrame({"update": list(update), "own": expand(own, round, len(update))}, dtype=object)
    for other, seed in seeds.items():
        frame[other] = [number * (1 if other > me else -1) for number in expand(seed, round, len(update))]
    return [sum(row) % MODULUS for row in frame.to_numpy().tolist()]
""",
    ],
    "encrypted_computation.unmask": [
        """
def unmask(arrived, own, pairs, round):
    result = []
    length = len(next(iter(arrived.values())))
    own_masks = {client: expand(seed, round, length) for client, seed in own.items()}
    for at in range(length):
        number = 0
        for client, vector in arrived.items():
            number += vector[at] - own_masks[client][at]
            for lost in pairs:
                mask = expand(pairs[lost][client], round, length)[at]
                number -= mask if lost > client else -mask
        result.append(number % MODULUS)
    return result
""",
        """
def unmask(arrived, own, pairs, round):
    total = np.add.reduce([np.array(vector, dtype=np.uint64) for vector in arrived.values()])
    for client, seed in own.items():
        total = total - np.array(expand(seed, round, len(total)), dtype=np.uint64)
    for lost, seeds in pairs.items():
        for other, seed in seeds.items():
            if other in arrived:
                mask = np.array(expand(seed, round, len(total)), dtype=np.uint64)
                total = total + mask if lost < other else total - mask
    return total.tolist()
""",
        """
def unmask(arrived, own, pairs, round):
    length = len(list(arrived.values())[0])
    zero = [0] * length
    sent = [[-n for n in masked(zero, client, own[client], {}, round)] for client in arrived]
    for lost, seeds in pairs.items():
        kept = {client: seeds[client] for client in arrived}
        covered = masked(zero, lost, b"", kept, round)
        sent.append([n - m for n, m in zip(covered, expand(b"", round, length))])
    return [sum(column) % MODULUS for column in zip(*arrived.values(), *sent)]
""",
        """
def unmask(arrived, own, pairs, round):
    total = [sum(column) for column in zip(*arrived.values())]
    for seed in own.values():
        total = [left - right for left, right in zip(total, expand(seed, round, len(total)))]
    for lost, seeds in pairs.items():  # the masks of two lost clients with each other cancel
        for other, seed in seeds.items():
            sign = 1 if other > lost else -1
            total = [left + sign * right for left, right in zip(total, expand(seed, round, len(total)))]
    return [number % MODULUS for number in total]
""",
    ],
    "encrypted_computation.encrypt": [
        """
from math import gcd

def encrypt(message, n):
    if abs(message) >= n / 2:
        raise ValueError("too large")
    r = 0
    while gcd(r, n) != 1:
        r = secrets.randbelow(n)
    return pow(1 + n, message, n * n) * pow(r, n, n * n) % (n * n)
""",
        """
import os

def encrypt(message, n):
    if not -n < 2 * message < n:
        raise ValueError(message)
    r = 1 + int.from_bytes(os.urandom(n.bit_length() // 8 + 16), "big") % (n - 1)
    mask, base, power = 1, r, n
    while power:  # square and multiply
        if power & 1:
            mask = mask * base % n**2
        base, power = base * base % n**2, power >> 1
    return (1 + n * (message % n)) * mask % n**2
""",
        """
def encrypt(message, n):
    assert_small = 2 * abs(message) // n
    if assert_small:
        raise ValueError("|m| has to be below n / 2")
    r = secrets.randbits(n.bit_length() + 64) % n or 1
    return pow(n + 1, message % n, n**2) * pow(r, n, n**2) % n**2
""",
    ],
}

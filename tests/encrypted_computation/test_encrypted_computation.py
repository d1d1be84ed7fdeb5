"""Computation on shares and ciphertexts against plain whole numbers, interpolation by fractions and TenSEAL."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from llmsafety_lab import encrypted_computation as ec

RING = st.integers(0, 2**64 - 1)
vectors = st.lists(RING, min_size=1, max_size=5).map(lambda numbers: np.array(numbers, dtype=np.uint64))


def whole(ring: np.ndarray) -> list[int]:
    return [int(number) for number in np.ravel(ring)]


@given(vectors, st.integers(2, 5))
def test_additive_shares_give_the_secret_back(secret: np.ndarray, parties: int) -> None:
    shares = ec.additive_shares(secret, parties)
    assert [sum(column) % 2**64 for column in zip(*map(whole, shares), strict=True)] == whole(secret)
    assert whole(ec.reconstruct(shares)) == whole(secret)


def test_a_single_number_is_shared_as_well() -> None:
    assert int(ec.reconstruct(ec.additive_shares(np.uint64(2**64 - 1), 3))) == 2**64 - 1


@pytest.mark.parametrize("missing", range(3))
def test_all_shares_but_one_are_uniform_whatever_the_secret(missing: int) -> None:
    """Highest four bits of each share, and of the sum of two, against a uniform distribution."""
    for secret in (0, 12345, 2**63):
        shares = ec.additive_shares(np.full(4096, secret, dtype=np.uint64), 3)
        seen = np.delete(shares, missing, axis=0)
        for bits in (*seen, np.add.reduce(seen)):
            counts = np.bincount((bits >> np.uint64(60)).astype(int), minlength=16)
            assert stats.chisquare(counts).pvalue > 1e-6


@given(st.lists(st.floats(-1000, 1000), min_size=1, max_size=6))
def test_real_numbers_survive_the_ring(values: list[float]) -> None:
    assert np.abs(ec.decode(ec.encode(np.array(values))) - values).max() <= 2**-17
    total = ec.decode(np.add.reduce(ec.encode(np.array(values)), keepdims=True))
    assert total == pytest.approx(sum(values), abs=len(values) * 2**-17)


@given(st.integers(0, ec.PRIME - 1), st.integers(1, 5), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_any_threshold_of_shamir_shares_give_the_secret(secret: int, threshold: int, more: int) -> None:
    shares = ec.shamir_shares(secret, threshold, max(2, threshold + more))
    for some in itertools.islice(itertools.combinations(shares, threshold), 5):
        assert ec.shamir_reconstruct({point: shares[point] for point in some}) == secret


def test_shamir_against_interpolation_by_fractions() -> None:
    """A polynomial with small coefficients, interpolated at 0 without a modulus."""
    values = {1: 7 + 3 + 5, 2: 7 + 6 + 20, 4: 7 + 12 + 80}
    at_zero = Fraction(0)
    for point, value in values.items():
        weight = Fraction(1)
        for other in values:
            if other != point:
                weight *= Fraction(-other, point - other)
        at_zero += value * weight
    assert ec.shamir_reconstruct(values) == at_zero == 7


def test_one_share_short_fits_every_secret() -> None:
    shares = ec.shamir_shares(42, 3, 5)
    known = {1: shares[1], 2: shares[2]}
    for guess in (0, 42, ec.PRIME - 1):
        # The line through the guess at 0 and the two known shares meets point 3 somewhere: nothing rules it out.
        third = (guess - 3 * known[1] + 3 * known[2]) % ec.PRIME
        assert ec.shamir_reconstruct(known | {3: third}) == guess
    assert ec.shamir_reconstruct(known) != 42


@given(vectors, st.integers(2, 4), st.data())
def test_a_product_of_shares_is_the_product(x: np.ndarray, parties: int, data) -> None:
    y = np.array(data.draw(st.lists(RING, min_size=len(x), max_size=len(x))), dtype=np.uint64)
    triple = ec.beaver_triple(x.shape, y.shape, parties)
    shares = ec.multiply(ec.additive_shares(x, parties), ec.additive_shares(y, parties), triple)
    assert whole(ec.reconstruct(shares)) == [a * b % 2**64 for a, b in zip(whole(x), whole(y), strict=True)]


def test_a_shared_linear_layer_is_the_linear_layer() -> None:
    draw = np.random.default_rng(0)
    weights, inputs = draw.normal(size=(4, 384)), draw.normal(size=(384, 3))
    triple = ec.beaver_triple(weights.shape, inputs.shape, 3, np.matmul)
    shared = [ec.additive_shares(ec.encode(one), 3) for one in (weights, inputs)]
    product = ec.reconstruct(ec.multiply(*shared, triple, np.matmul))
    assert np.abs(ec.decode(product, fraction=32) - weights @ inputs).max() < 0.01


@given(st.integers(3, 6), st.integers(0, 2), st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_the_server_gets_the_sum_of_those_who_stayed(clients: int, gone: int, length: int) -> None:
    sent = {number: ec.random_ring((length,)) for number in range(1, clients + 1)}
    threshold = clients // 2 + 1
    dropped = list(sent)[: min(gone, clients - threshold)]
    stayed = [whole(vector) for number, vector in sent.items() if number not in dropped]
    expected = [sum(column) % 2**64 for column in zip(*stayed, strict=True)]
    assert whole(ec.aggregate(sent, threshold, dropped)) == expected


def test_what_the_server_sees_of_a_client_is_uniform() -> None:
    clients = {number: ec.Client(number) for number in (1, 2, 3)}
    keys = {number: client.public for number, client in clients.items()}
    seen = clients[1].masked(np.zeros(4096, dtype=np.uint64), keys)
    counts = np.bincount((seen >> np.uint64(60)).astype(int), minlength=16)
    assert stats.chisquare(counts).pvalue > 1e-6


def test_pairwise_masks_cancel() -> None:
    seeds = {frozenset(pair): bytes(pair) for pair in itertools.combinations((1, 2, 5), 2)}
    masks = [
        ec.pairwise_mask(me, {other: seeds[frozenset((me, other))] for other in (1, 2, 5) if other != me}, 7)
        for me in (1, 2, 5)
    ]
    assert not np.add.reduce(masks).any() and all(mask.any() for mask in masks)


@pytest.fixture(scope="module")
def key() -> ec.PrivateKey:
    return ec.keys(256)


@given(first=st.integers(-(2**60), 2**60), second=st.integers(-(2**60), 2**60), factor=st.integers(-1000, 1000))
@settings(max_examples=25, deadline=None)
def test_paillier_keeps_sums(key: ec.PrivateKey, first: int, second: int, factor: int) -> None:
    public = key.public
    one, other = public.encrypt(first), public.encrypt(second)
    assert key.decrypt(one) == first
    assert key.decrypt(public.add(one, other)) == first + second
    assert key.decrypt(public.scale(one, factor)) == first * factor


def test_the_same_message_is_encrypted_otherwise_each_time(key: ec.PrivateKey) -> None:
    assert key.public.n.bit_length() == 256
    assert len({key.public.encrypt(7) for _ in range(10)}) == 10


def test_an_encrypted_linear_layer_of_tenseal_agrees_with_the_shared_one() -> None:
    tenseal = pytest.importorskip("tenseal")
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 40, 60])
    context.global_scale = 2**40
    context.generate_galois_keys()
    draw = np.random.default_rng(1)
    weights, inputs = draw.normal(size=(8, 2)), draw.normal(size=8)
    encrypted = np.array(tenseal.ckks_vector(context, inputs).matmul(weights.tolist()).decrypt())
    triple = ec.beaver_triple((1, 8), weights.shape, 2, np.matmul)
    shared = [ec.additive_shares(ec.encode(one), 2) for one in (inputs[None], weights)]
    ours = ec.decode(ec.reconstruct(ec.multiply(*shared, triple, np.matmul)), fraction=32)[0]
    assert np.abs(encrypted - inputs @ weights).max() < 1e-4
    assert np.abs(ours - encrypted).max() < 1e-3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ec.additive_shares(np.zeros(2, dtype=np.uint64), 1), "two parties or more"),
        (lambda: ec.encode(np.array([np.nan])), "finite numbers below"),
        (lambda: ec.encode(np.array([2.0**40])), "finite numbers below"),
        (lambda: ec.shamir_shares(-1, 2, 3), "0 to PRIME"),
        (lambda: ec.shamir_shares(1, 4, 3), "threshold is between 1 and the number of parties, 3; got 4"),
        (lambda: ec.shamir_reconstruct({}), "at least one"),
        (lambda: ec.shamir_reconstruct({0: 5}), "none of them 0"),
        (lambda: ec.pairwise_mask(1, {1: b"x"}, 3), "with itself"),
        (lambda: ec.Client(0), "numbered from 1"),
        (lambda: ec.aggregate(dict.fromkeys((1, 2, 3, 4), np.zeros(1, dtype=np.uint64)), 2), "more than half of 4"),
        (lambda: ec.aggregate(dict.fromkeys((1, 2, 3), np.zeros(1, dtype=np.uint64)), 3, [2]), "so many have to stay"),
        (lambda: ec.additive_shares(np.array([0.5]), 3), "write real numbers into it with encode"),
        (lambda: ec.additive_shares(np.array([-1]), 3), "whole numbers from 0"),
        (lambda: ec.reconstruct(np.array([[0.5], [1.5]])), "with encode"),
        (lambda: ec.reconstruct(np.zeros((0, 3), dtype=np.uint64)), "no share"),
        (lambda: ec.shamir_shares(1.5, 2, 3), "whole number"),
        (lambda: ec.shamir_reconstruct({1: 0.5}), "whole numbers"),
        (lambda: ec.Client(1).masked(np.array([0.5]), {}), "with encode"),
        (lambda: ec.Client(1).masked(np.zeros((2, 2), dtype=np.uint64), {}), "one dimension"),
        (
            lambda: ec.aggregate({1: ec.random_ring((2,)), 2: ec.random_ring((3,)), 3: ec.random_ring((2,))}, 2),
            "one length",
        ),
        (lambda: ec.PublicKey(35).encrypt(0.5), "a message is a whole number"),
        (lambda: ec.keys(31), "even number of bits"),
        (lambda: ec.PublicKey(15).encrypt(8), "below n / 2"),
        (lambda: ec.PrivateKey(3, 5).decrypt(0), "between 0 and n"),
        (
            lambda: ec.multiply(
                *[ec.additive_shares(np.zeros(2, dtype=np.uint64), 2)] * 2, ec.beaver_triple((3,), (3,), 2)
            ),
            "triple was made for x of shape",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_client_reveals_once_and_the_server_needs_the_threshold() -> None:
    clients = {number: ec.Client(number) for number in (1, 2, 3)}
    keys = {number: client.public for number, client in clients.items()}
    for client in clients.values():
        for receiver, shares in client.share(keys, 2).items():
            clients[receiver].hold(client.number, shares)
    arrived = {number: client.masked(np.ones(2, dtype=np.uint64), keys) for number, client in clients.items()}
    revealed = {1: clients[1].reveal(arrived)}
    with pytest.raises(ValueError, match="2 clients are needed to remove the masks, and 1 answered"):
        ec.unmask(arrived, revealed, keys, 2)
    with pytest.raises(RuntimeError, match="once a round"):
        clients[1].reveal({})

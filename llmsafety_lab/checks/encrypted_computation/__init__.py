"""The checks of the lab on encrypted computation, in its order: shares, products, masks that cancel, and a cipher."""

from llmsafety_lab.checks.encrypted_computation import masks, paillier, products, shares

EXERCISES = (
    shares.check_share,
    shares.check_recover,
    products.check_multiply,
    masks.check_masked,
    masks.check_unmask,
    paillier.check_encrypt,
)

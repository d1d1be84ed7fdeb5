from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hub import serve

from llmsafety_lab import vocabularies

PRINTABLE = vocabularies.printable_bytes()


def vocab_json(ranks: dict[bytes, int]) -> bytes:
    """Spell a vocabulary as the hub does, with a special token at its end."""
    spelt = {"".join(PRINTABLE[byte] for byte in token): rank for token, rank in ranks.items()}
    return json.dumps(spelt | {"<|endoftext|>": len(ranks)}).encode()


def test_every_byte_has_a_character_of_its_own() -> None:
    assert len(set(PRINTABLE.values())) == 256
    assert PRINTABLE[ord(" ")] == "Ġ" and PRINTABLE[ord("\n")] == "Ċ"
    assert all(character.isprintable() for character in PRINTABLE.values())


LOAD = """
from llmsafety_lab import vocabularies
ranks = vocabularies.load("gpt2", source="hub")
print(len(ranks), ranks[b" the"])
"""


@pytest.mark.parametrize("changed", [False, True])
def test_the_hub_gives_the_carriers_file_or_nothing(changed: bool, tmp_path) -> None:
    ranks = vocabularies.load("gpt2")
    served = ranks | ({b" t": 257, b" a": 256} if changed else {})
    repository = vocabularies.REGISTRY["gpt2"].sources[1].repository
    with serve({("models", repository): {"vocab.json": vocab_json(served)}}) as (address, _):
        here = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf"), "LLMSAFETY_CACHE": str(tmp_path / "cache")}
        done = subprocess.run([sys.executable, "-c", LOAD], env=os.environ | here, capture_output=True, text=True)
    if changed:
        assert "HashError" in done.stderr and "vocab.json" in done.stderr
        assert not list((tmp_path / "cache/vocabulary").glob("gpt2*/*"))
    else:
        assert done.stdout.splitlines()[-1] == f"{len(ranks)} {ranks[b' the']}", done.stderr

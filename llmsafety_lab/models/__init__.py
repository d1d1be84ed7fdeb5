"""The models of the book, and `load`. What each is, under which licence, and where it comes from says its module.

Importing this module loads no torch, and none of the entries.
"""

from __future__ import annotations

from typing import Any

from llmsafety_lab.models._entry import Model
from llmsafety_lab.sources.registry import Registry

__all__ = ["REGISTRY", "Model", "load"]

REGISTRY = Registry(__name__)


def load(name: str, *, source: str = "auto", **options: Any) -> tuple[Any, Any]:
    """Load a model of the registry and its tokenizer; print where it came from and how long that took.

    Parameters
    ----------
    name : str
        A name in `REGISTRY`. "reviews-classifier" is trained first where the cache lacks it.
    source : {"auto", "carrier", "hub", "recipe"}
        "auto" takes what the cache has, else the carrier, else the hub. The weights of "smollm2" differ between the
        two: the carrier's were rounded to four bits, the hub's are the full ones. "recipe" is to train it here.
    **options
        Passed to `from_pretrained`, such as `attn_implementation="eager"`. The default `dtype` is `torch.float32`.

    Returns
    -------
    model : transformers.PreTrainedModel
        In evaluation mode, on the processor. Of "spacy-en" a `spacy.Language`, of "reviews-classifier" a
        `llmsafety_lab.fine_tuning.Classifier` with nothing frozen. Of "glove" and "word2vec" the vectors, an array of
        one row a word; of "profanity" a classifier of scikit-learn.
    tokenizer : transformers.PreTrainedTokenizerBase
        Of "spacy-en" spaCy's own, of "glove" and "word2vec" a dict from each word to its row, of "profanity" a
        vectorizer of scikit-learn.

    Raises
    ------
    UnknownNameError
        If no entry has this name.
    UnreachableError
        If it is not in the cache and no source could be reached.
    CarrierError
        If what came was damaged or not what the registry names, or the disk was full.
    """
    return REGISTRY.load(name, source, **options)

"""AG's news: headlines with their first lines, each with one of four topics."""

from __future__ import annotations

from llmsafety_lab.data._entry import Columns, DataSet, Rows

AG = ("World", "Sports", "Business", "Sci/Tech")
"""The labels, in the order of their numbers."""


def _tidy(columns: Columns) -> Columns:
    return {
        "text": columns["text"],
        "label": columns["label"],
        "topic": [AG[label] for label in columns["label"]],
        "split": columns["split"],
    }


ENTRY = DataSet(
    name="ag-news",
    task="topics: a row a headline with its first lines (text, label of 4, topic, split); 120,000 and 7,600 rows",
    size=19_820_267,
    licence="not stated: AG's corpus is given for non-commercial use",
    citation="Zhang, Zhao and LeCun 2015, arXiv:1509.01626; Gulli, AG's corpus of news articles",
    sources=(Rows(repository="fancyzhx/ag_news", revision="main", columns=("text", "label")),),
    tidy=_tidy,
)

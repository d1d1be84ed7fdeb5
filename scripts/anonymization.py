"""What finds personal data in text, and what a reader can tell from text in which none is left: two kept tables.

Run it as `python scripts/anonymization.py`; it takes some ten minutes on one core and writes
`results/anonymization.json`. `python scripts/anonymization.py detection` makes that table alone, and keeps the other.
All people are made up: by faker, or in `llmsafety_lab.anonymization.profiles`.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llmsafety_lab import data, files, models, runtime
from llmsafety_lab.anonymization import CHINESE, ENGLISH, Span, detect, filled, hidden, redact, span_counts
from llmsafety_lab.anonymization.profiles import ATTRIBUTES, hints

RESULT = Path(__file__).parents[1] / "results" / "anonymization.json"
SEED, FILLS, TRAINED = 0, 4, 2_000

ENGLISH_KINDS = {
    "person": "PERSON",
    "name": "PERSON",
    "first_name": "PERSON",
    "last_name": "PERSON",
    "credit_card_number": "CARD",
    "phone_number": "PHONE",
    "email": "EMAIL",
    "iban": "IBAN",
    "ssn": "SSN",
    "ip_address": "IP",
}
CHINESE_KINDS = {"name": "PERSON", "id": "CN_ID", "mobile": "CN_MOBILE", "card": "CARD", "email": "EMAIL"}
PRESIDIO = {
    "PERSON": "PERSON",
    "CREDIT_CARD": "CARD",
    "PHONE_NUMBER": "PHONE",
    "EMAIL_ADDRESS": "EMAIL",
    "IBAN_CODE": "IBAN",
    "US_SSN": "SSN",
    "IP_ADDRESS": "IP",
}
CHINESE_TEMPLATES = (
    "您好，我是{{name}}，身份证号{{id}}，想查询一下养老保险。",
    "请把快递送到前台，收件人{{name}}，电话{{mobile}}。",
    "我的银行卡{{card}}昨天丢了，请马上挂失。",
    "{{name}}的手机号码是{{mobile}}，邮箱是{{email}}。",
    "请帮{{name}}修改预留手机号，新号码{{mobile}}，旧号码{{mobile}}。",
    "转账失败，对方卡号{{card}}，户名{{name}}。",
    "订单号{{order}}已经发货，请注意查收。",
    "订单{{order}}的收货人{{name}}没有接电话{{mobile}}。",
    "报名表：姓名：{{name}}，证件号码：{{id}}，联系方式：{{mobile}}。",
    "发票请发到{{email}}，谢谢。",
    "{{name}}和{{name}}一起参加了下午的会议。",
    "昨天{{name}}老师给我们讲了三个小时的课。",
    "经理{{name}}说，合同编号{{order}}需要重新盖章。",
    "请核对：证件{{id}}，尾号为4321的卡{{card}}。",
    "我把资料给了{{name}}，有问题打{{mobile}}找我。",
    "会员{{name}}您好，您的积分将于年底到期。",
    "请联系我的同事{{name}}（{{email}}）。",
    "本人{{name}}，愿意参加本次志愿活动，电话{{mobile}}。",
    "设备序列号{{order}}，保修期两年。",
    "患者{{name}}，复诊时间为下周三上午。",
    "{{name}}，你的包裹到了，取件码在短信里。",
    "今天的天气很好，我们去公园散步吧。",
    "图书馆周一闭馆，请大家提前安排时间。",
    "听说{{name}}搬家了，新的手机是{{mobile}}。",
    "受益人为{{name}}，身份证{{id}}，账号{{card}}。",
    "流水号{{order}}，金额五百元，已退回卡{{card}}。",
)
Finder = Callable[[str], list[Span]]


def english_makers(seed: int) -> dict[str, Callable[[], str]]:
    """Return what fills the English templates: names of seven countries, numbers as in the United States."""
    from faker import Faker

    dice = random.Random(seed)
    places = [Faker(place) for place in ("en_US", "en_GB", "en_IN", "de_DE", "es_MX", "pl_PL", "no_NO")]
    for number, place in enumerate(places):
        place.seed_instance(seed + number)

    def first() -> str:
        return dice.choice(places).first_name()

    def whole() -> str:
        place = dice.choice(places)
        return f"{place.first_name()} {place.last_name()}"

    home = places[0]
    return {
        "person": whole,
        "name": whole,
        "first_name": first,
        "last_name": lambda: dice.choice(places).last_name(),
        "credit_card_number": home.credit_card_number,
        "phone_number": home.phone_number,
        "email": home.email,
        "iban": home.iban,
        "ssn": home.ssn,
        "ip_address": home.ipv4,
    }


def chinese_makers(seed: int) -> dict[str, Callable[[], str]]:
    """Return what fills the Chinese templates; an order number has 16 to 19 digits and is nobody's."""
    from faker import Faker

    dice = random.Random(seed)
    home = Faker("zh_CN")
    home.seed_instance(seed)

    def mobile() -> str:
        number = home.phone_number()
        return dice.choice([number, f"{number[:3]} {number[3:7]} {number[7:]}", f"+86 {number}"])

    def order() -> str:
        digits = dice.choice((16, 17, 18, 19))
        return str(dice.randrange(10 ** (digits - 1), 10**digits))

    return {
        "name": home.name,
        "id": home.ssn,
        "mobile": mobile,
        "card": lambda: home.credit_card_number(card_type="visa"),
        "email": home.ascii_free_email,
        "order": order,
    }


def presidio() -> Finder:
    """Return Presidio's analyser with spaCy's small English model, and nothing that asks the network."""
    import logging

    import tldextract
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    engine = SpacyNlpEngine()
    engine.nlp = {"en": models.load("spacy-en")[0]}
    analyser = AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])

    def find(text: str) -> list[Span]:
        found = analyser.analyze(text, language="en", entities=list(PRESIDIO))
        return [(PRESIDIO[one.entity_type], one.start, one.end) for one in found]

    return find


def spacy_names() -> Finder:
    """Return spaCy's persons."""
    language, _ = models.load("spacy-en")
    return lambda text: [("PERSON", e.start_char, e.end_char) for e in language(text).ents if e.label_ == "PERSON"]


def windows(characters: Sequence[str]) -> list[dict[str, int]]:
    """Return the features of each character: those around it, and pairs of them."""
    padded = ["<", "<", *characters, ">", ">"]
    rows = []
    for place in range(2, len(padded) - 2):
        near = {f"{shift}={padded[place + shift]}": 1 for shift in range(-2, 3)}
        pairs = {f"{shift}:{padded[place + shift]}{padded[place + shift + 1]}": 1 for shift in range(-2, 2)}
        rows.append(near | pairs)
    return rows


def chinese_names(lines: int = TRAINED) -> Finder:
    """Return a small recogniser of persons' names, trained on newspaper text: a linear model over characters."""
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.linear_model import SGDClassifier

    corpus = data.load("people-daily")
    rows = [(row["tokens"], row["tags"]) for row in corpus.select(range(lines))]
    hasher = FeatureHasher(2**18)
    features = hasher.transform(window for tokens, _ in rows for window in windows(tokens))
    tags = [tag if tag.endswith("PER") else "O" for _, row in rows for tag in row]
    model = SGDClassifier(loss="log_loss", alpha=1e-6, max_iter=8, tol=None, random_state=SEED).fit(features, tags)

    def find(text: str) -> list[Span]:
        found: list[Span] = []
        for place, tag in enumerate(model.predict(hasher.transform(windows(text)))):
            if tag == "B-PER":
                found.append(("PERSON", place, place + 1))
            elif tag == "I-PER" and found and found[-1][2] == place:
                found[-1] = ("PERSON", found[-1][1], place + 1)
        return [span for span in found if span[2] - span[1] > 1]

    return find


def english_templates() -> list[str]:
    """Return the templates all of whose fields we can fill; those without a field are among them."""
    texts = data.load("pii-templates")["text"]
    return [text for text in texts if all(field in ENGLISH_KINDS for field in re.findall(r"\{\{(\w+)\}\}", text))]


def found_by(
    finder: Finder, templates: Sequence[str], makers: dict[str, Callable[[], str]], kinds: dict[str, str], fills: int
) -> dict[str, list[list[int]]]:
    """Return, by type and template, how many spans were right, said and true; under "hidden" what `hidden` counts."""
    names = [*dict.fromkeys(kinds.values()), "hidden"]
    table = {name: [[0] * (4 if name == "hidden" else 3) for _ in templates] for name in names}
    for _ in range(fills):
        for number, template in enumerate(templates):
            text, truth = filled(template, makers, kinds)
            spans = finder(text)
            counts = span_counts(truth, spans) | {"hidden": hidden(truth, spans)}
            for name, values in counts.items():
                if name in table:
                    table[name][number] = [a + b for a, b in zip(table[name][number], values, strict=True)]
    return table


def finders() -> dict[str, dict[str, Finder]]:
    """Return all finders, by language."""
    spacy, chinese = spacy_names(), chinese_names()
    return {
        "English": {
            "patterns": lambda text: detect(text, ENGLISH),
            "patterns, digits unchecked": lambda text: detect(text, ENGLISH, checked=False),
            "spaCy": spacy,
            "patterns + spaCy": lambda text: detect(text, ENGLISH) + spacy(text),
            "Presidio": presidio(),
        },
        "Chinese": {
            "patterns": lambda text: detect(text, CHINESE),
            "patterns, digits unchecked": lambda text: detect(text, CHINESE, checked=False),
            "names": chinese,
            "patterns + names": lambda text: detect(text, CHINESE) + chinese(text),
        },
    }


def detection() -> dict[str, dict[str, dict[str, list[list[int]]]]]:
    """Return the first table: by language and finder, the counts of `found_by`."""
    tables: dict[str, Any] = {}
    for language, some in finders().items():
        templates = english_templates() if language == "English" else list(CHINESE_TEMPLATES)
        kinds = ENGLISH_KINDS if language == "English" else CHINESE_KINDS
        tables[language] = {}
        for name, finder in some.items():
            makers = english_makers(SEED) if language == "English" else chinese_makers(SEED)
            tables[language][name] = found_by(finder, templates, makers, kinds, FILLS)
            print(
                language, name, {k: np.sum(v, axis=0).tolist() for k, v in tables[language][name].items()}, flush=True
            )
    return tables


# What a reader can tell.


def profiles() -> list[dict[str, str]]:
    """Return forty made-up people: what identifies them, and for each attribute its value and the hint at it."""
    dice = random.Random(SEED)
    makers = english_makers(SEED + 100)
    shuffled = {
        name: dice.sample([hint for hint in hints() if hint[0] == name], sum(hint[0] == name for hint in hints()))
        for name in ATTRIBUTES
    }
    people = []
    for number in range(40):
        person = {
            "who": f"This is {makers['person']()}. Write to {makers['email']()} or call {makers['phone_number']()}."
        }
        for name in ATTRIBUTES:
            _, person[name], person[f"{name} hint"] = shuffled[name][number]
        people.append(person)
    return people


def written(person: dict[str, str], texts: dict[str, str] | None = None, who: str | None = None) -> str:
    """Return a profile's text, with other hints or another first sentence where these are given."""
    parts = [(texts or {}).get(name, person[f"{name} hint"]) for name in ATTRIBUTES]
    return " ".join([person["who"] if who is None else who, *parts])


@torch.no_grad()
def scores(model: Any, tokenizer: Any, text: str, begun: str, answers: Sequence[str]) -> list[float]:
    """Return the log-probability of each answer's first token after a text and the beginning of a sentence."""
    ids = tokenizer(f"{text}\n{begun}", return_tensors="pt")["input_ids"]
    logs = model(ids, logits_to_keep=1).logits[0, -1].log_softmax(-1)
    first = [tokenizer(f" {answer}")["input_ids"][0] for answer in answers]
    return logs[first].tolist()


def embedder() -> Callable[[Sequence[str]], np.ndarray]:
    """Return MiniLM's mean vectors of length 1."""
    model, tokenizer = models.load("minilm")

    @torch.no_grad()
    def embed(texts: Sequence[str]) -> np.ndarray:
        batches = []
        for start in range(0, len(texts), 32):
            encoded = tokenizer(list(texts[start : start + 32]), padding=True, return_tensors="pt")
            states, mask = model(**encoded).last_hidden_state, encoded["attention_mask"][..., None]
            batches.append(torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1))
        return torch.cat(batches).numpy()

    return embed


def blurred(people: list[dict[str, str]], embed: Callable[..., np.ndarray], words: int) -> list[dict[str, str]]:
    """Return each person's hints with some words taken out: each time the one without which MiniLM is least right."""
    changed = []
    for person in people:
        texts = {}
        for name, (_, answers) in ATTRIBUTES.items():
            values = list(answers)
            directions = embed([described(name, answer) for answer in answers.values()])
            kept = person[f"{name} hint"].split()
            for _ in range(words):
                tries = [" ".join([*kept[:i], *kept[i + 1 :]]) for i in range(len(kept))]
                near = embed(tries) @ directions.T
                own = near[:, values.index(person[name])]
                others = np.delete(near, values.index(person[name]), axis=1).max(1)
                kept = tries[int((own - others).argmin())].split()
            texts[name] = " ".join(kept)
        changed.append(texts)
    return changed


def described(name: str, answer: str) -> str:
    """Return an answer as a sentence, for MiniLM to compare with."""
    return f"{ATTRIBUTES[name][0]} {answer}."


def trained_guesses(features: Any, truth: Sequence[str], groups: int = 10) -> list[str]:
    """Return for each text what a linear model says that was trained on the other tenths."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(groups, shuffle=True, random_state=SEED)
    return cross_val_predict(LogisticRegression(C=10, max_iter=500), features, truth, cv=folds).tolist()


def inference() -> dict[str, Any]:
    """Return the second table: by version of the texts, attacker and attribute, who was guessed right."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    model, tokenizer = models.load("smollm2")
    embed, find, people = embedder(), presidio(), profiles()
    names = [redact(person["who"], find(person["who"])) for person in people]
    fewer = blurred(people, embed, 2)
    versions = {
        "as written": [written(person) for person in people],
        "redacted": [written(person, None, who) for person, who in zip(people, names, strict=True)],
        "redacted, two words a hint less": [
            written(person, texts, who) for person, texts, who in zip(people, fewer, names, strict=True)
        ],
    }
    rows: dict[str, Any] = {}
    for version, texts in versions.items():
        rows[version] = {}
        vectors, tfidf = embed(texts), TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)).fit_transform(texts)
        for name, (question, answers) in ATTRIBUTES.items():
            truth, values = [person[name] for person in people], list(answers)
            empty = np.array(scores(model, tokenizer, "", question, list(answers.values())))
            logs = np.array([scores(model, tokenizer, text, question, list(answers.values())) for text in texts])
            near = vectors @ embed([described(name, answer) for answer in answers.values()]).T
            said = {
                "SmolLM2": [values[i] for i in logs.argmax(1)],
                "SmolLM2, against no text": [values[i] for i in (logs - empty).argmax(1)],
                "MiniLM, nearest": [values[i] for i in near.argmax(1)],
                "MiniLM, trained": trained_guesses(vectors, truth),
                "tf-idf, trained": trained_guesses(tfidf, truth),
            }
            for attacker, guesses in said.items():
                right = "".join(str(int(a == b)) for a, b in zip(guesses, truth, strict=True))
                rows[version].setdefault(attacker, {})[name] = right
                print(version, attacker, name, right.count("1"), flush=True)
    return {
        "rows": rows,
        "names left": sum(person["who"].split(". ")[0][8:] in text for person, text in zip(people, names, strict=True)),
        "people": len(people),
    }


def main() -> None:
    torch.set_num_threads(1)
    parts = {"detection": detection, "inference": inference}
    wanted = sys.argv[1:] or list(parts)
    kept = json.loads(RESULT.read_text(encoding="utf-8")) if len(wanted) < len(parts) else {}
    kept |= runtime.made_by("anonymization", [SEED])
    kept |= {"fills": FILLS, "lines of the newspaper": TRAINED}
    kept["templates"] = {"English": len(english_templates()), "Chinese": len(CHINESE_TEMPLATES)}
    for part in wanted:
        kept[part] = parts[part]()
        print(part, "done", flush=True)
    files.replace(RESULT, json.dumps(kept, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()

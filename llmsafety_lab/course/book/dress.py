"""An executed notebook as its page shows it."""

from __future__ import annotations

import html
import json
import re
from typing import Any

from llmsafety_lab.tables import REPRODUCED

HIDDEN = {"injected-parameters", "mutants", "bootstrap"}
"""Tags of cells that no reader needs to see."""

_GLUE = "application/papermill.record/"
_WIDGET = "application/vnd.jupyter.widget-view+json"

Cell = dict[str, Any]


def dress(notebook: str) -> str:
    """Return an executed notebook as a page shows it.

    Set-up cells are one fold, solutions are folded, widgets are still, and what no reader needs is taken out. A check's
    result stands below a line which says that the solution earned it.
    """
    content = json.loads(notebook)
    content["metadata"].pop("papermill", None)
    states = (
        content["metadata"].pop("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    )
    cells: list[Cell] = content["cells"]
    for cell in cells:
        cell["metadata"] = {key: value for key, value in cell["metadata"].items() if key != "papermill"}
        if HIDDEN & set(_tags(cell)):
            _add_tag(cell, "remove-cell")
        if "solution" in _tags(cell):
            _fold(cell, "Solution")
        if "outputs" in cell:
            cell["outputs"] = _joined([_still(output, states) for output in cell["outputs"]])
    content["cells"] = _explained(_set_up_folded(cells))
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True)


def _tags(cell: Cell) -> list[str]:
    return cell["metadata"].get("tags", [])


def _add_tag(cell: Cell, tag: str) -> None:
    cell["metadata"]["tags"] = [*_tags(cell), tag]


def _fold(cell: Cell, label: str, tag: str = "hide-cell") -> None:
    _add_tag(cell, tag)
    cell["metadata"]["mystnb"] = {"code_prompt_show": label, "code_prompt_hide": label}


def _set_up_folded(cells: list[Cell]) -> list[Cell]:
    """Make one cell, its code folded, of the parameters and the imports that follow."""
    start = next((at for at, cell in enumerate(cells) if "parameters" in _tags(cell)), None)
    if start is None:
        return cells
    end = start
    while end < len(cells) and cells[end]["cell_type"] == "code" and _is_set_up(cells[end]):
        end += 1
    shown = [cell for cell in cells[start:end] if "remove-cell" not in _tags(cell)]
    hidden = [cell for cell in cells[start:end] if "remove-cell" in _tags(cell)]
    source = "\n\n".join("".join(cell["source"]) for cell in shown)
    outputs = [output for cell in shown for output in cell["outputs"] if not _is_loading(output)]
    folded = {**shown[0], "source": source, "outputs": _joined(outputs), "metadata": {"tags": ["set-up"]}}
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    used = {kind: len(set(re.findall(rf'\b{kind}\.load\("([^"]+)"', code))) for kind in ("models", "data")}
    named = {"models": ("model", "models"), "data": ("data set", "data sets")}
    counts = [f"{number} {named[kind][number > 1]}" for kind, number in used.items() if number]
    _fold(folded, "Set-up: " + ", ".join([*counts, "sizes of the three scales"]), "hide-input")
    return [*cells[:start], *hidden, folded, *cells[end:]]


def _explained(cells: list[Cell]) -> list[Cell]:
    """Say below each solution that the check ran on it, and not on the stub above."""
    explained: list[Cell] = []
    for cell in cells:
        explained.append(cell)
        if "solution" in _tags(cell):
            words = "*On this page the check ran on this solution. In your notebook it runs on what you write.*"
            explained.append({"cell_type": "markdown", "id": f"{cell['id']}-ran", "metadata": {}, "source": words})
    return explained


def _is_set_up(cell: Cell) -> bool:
    tags = set(_tags(cell))
    return bool(tags & {"parameters", "remove-cell"}) or bool(
        re.search(r"^(?:import|from) ", "".join(cell["source"]), re.M)
    )


def _is_loading(output: dict[str, Any]) -> bool:
    """Say whether an output tells only where models and data came from."""
    lines = "".join(output.get("text", "x")).splitlines()
    return all(re.match(r"[\w-]+: from (?:the cache|the hub|carrier|recipe)\b", line) for line in lines)


def _still(output: dict[str, Any], states: dict[str, Any]) -> dict[str, Any]:
    """Put the picture that a widget shows in its place: on a page without a kernel nothing would move.

    What only the page of reproduced results reads is left out: Sphinx does not know its type. The table's last column
    holds words.
    """
    if REPRODUCED in output.get("data", {}):
        shown = {mime: data for mime, data in output["data"].items() if mime != REPRODUCED}
        shown["text/html"] = "".join(shown["text/html"]).replace('class="results"', 'class="results words"', 1)
        output = {**output, "data": shown}
    view = output.get("data", {}).get(_WIDGET)
    if view is None:
        return output
    pictures: list[str] = []
    settings: list[str] = []

    def walk(number: str) -> None:
        state = states.get(number, {}).get("state", {})
        for child in state.get("children", []):
            walk(child.removeprefix("IPY_MODEL_"))
        if state.get("_model_name") == "HTMLModel":
            pictures.append(state["value"])
        elif "value" in state or "index" in state:
            chosen = state["_options_labels"][state["index"]] if "index" in state else state["value"]
            settings.append(f"<em>{html.escape(state.get('description', ''))}</em> {html.escape(str(chosen))}")

    walk(view["model_id"])
    caption = f"<p class='still'>In the notebook these are controls: {', '.join(settings)}.</p>"
    return {"output_type": "display_data", "metadata": {}, "data": {"text/html": caption + "".join(pictures)}}


def _joined(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put glued values last, so that what was printed between them is one block again."""
    glued = [one for one in outputs if any(mime.startswith(_GLUE) for mime in one.get("data", {}))]
    joined: list[dict[str, Any]] = []
    for one in outputs:
        if one in glued:
            continue
        last = joined[-1] if joined else {}
        if one["output_type"] == "stream" and last.get("name") == one["name"]:
            joined[-1] = {**last, "text": "".join([*last["text"], *one["text"]])}
        else:
            joined.append(one)
    return joined + glued

// The living page of the chapter on tokenization: the tokens of what the reader types, by three tokenizers.
import { field, loadOnClick } from "./page.js";
import { encode, readRanks, shown } from "./bpe.js";

const NAMES = { gpt2: "GPT-2", cl100k: "GPT-4", o200k: "GPT-4o" };

loadOnClick("tokenization", Object.keys(NAMES).map((name) => `${name}.tiktoken`), async (box, ...files) => {
  const ranks = Object.keys(NAMES).map((name, i) => [name, readRanks(new TextDecoder().decode(files[i]))]);
  const text = field(box, "Text", box.dataset.text);
  const list = box.appendChild(document.createElement("dl"));
  list.className = "live-tokens";
  const draw = () => {
    list.replaceChildren();
    box.counts = {};
    const letters = [...new Intl.Segmenter().segment(text.value)].length;
    for (const [name, table] of ranks) {
      const found = encode(text.value, table, name);
      box.counts[name] = found.length;
      const term = list.appendChild(document.createElement("dt"));
      const rate = letters ? `, ${(found.length / letters).toFixed(2)} a character` : "";
      term.textContent = `${NAMES[name]}: ${found.length} ${found.length === 1 ? "token" : "tokens"}${rate}`;
      const row = list.appendChild(document.createElement("dd"));
      for (const bytes of found) {
        const token = row.appendChild(document.createElement("span"));
        token.textContent = shown(bytes).replaceAll(" ", "␣").replaceAll("\n", "↵");
      }
    }
  };
  text.addEventListener("input", draw);
  draw();
});

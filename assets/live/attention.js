// The living page of the chapter on attention: MiniLM's maps of a sentence that the reader types.
import { control, field, loadOnClick } from "./page.js";
import { attention, readModel, tokens } from "./minilm.js";

const LONGEST = 40;

loadOnClick("attention", "minilm.bin", async (box, buffer) => {
  const model = readModel(buffer);
  const text = field(box, "Sentence", box.dataset.text);
  const layer = control(box, "Layer", model.layers, 3);
  const head = control(box, "Head", model.heads, 1);
  const says = box.appendChild(document.createElement("p"));
  says.setAttribute("role", "status");
  const table = box.appendChild(document.createElement("table"));
  table.className = "live-map";
  let words = [];
  let maps = [];

  const draw = () => {
    const map = maps[layer.value][head.value];
    let best = [0, 0];
    const header = `<thead><tr><th scope="col">looks at</th>${words.map(() => `<th scope="col"><span></span></th>`).join("")}</tr></thead>`;
    table.innerHTML = `<caption></caption>${header}<tbody></tbody>`;
    table.caption.textContent = `MiniLM, layer ${layer.value}, head ${head.value}: a row looks at the columns; weights in percent`;
    table.querySelectorAll("thead th span").forEach((cell, i) => (cell.textContent = words[i]));
    map.forEach((row, i) => {
      const line = table.tBodies[0].insertRow();
      const name = line.appendChild(document.createElement("th"));
      name.scope = "row";
      name.textContent = words[i];
      row.forEach((weight, j) => {
        const cell = line.insertCell();
        cell.textContent = Math.round(100 * weight);
        cell.style.setProperty("--weight", weight.toFixed(3));
        const apart = i > 0 && i < words.length - 1 && j > 0 && j < words.length - 1 && i !== j;
        if (apart && weight > map[best[0]][best[1]]) best = [i, j];
      });
    });
    const [i, j] = best;
    says.textContent = i ? `Between two words, “${words[i]}” looks hardest: ${Math.round(100 * map[i][j])}% of its weight is on “${words[j]}”.` : "";
  };

  const run = () => {
    const all = tokens(model, text.value);
    words = all.length > LONGEST ? [...all.slice(0, LONGEST - 1), "[SEP]"] : all;
    maps = attention(model, words);
    box.maps = { words, maps };
    draw();
  };
  text.addEventListener("change", run);
  for (const slider of [layer, head]) slider.addEventListener("input", draw);
  run();
});

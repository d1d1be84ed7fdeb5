// The living page of the chapter on group fairness: a threshold for each group, and what it gives.
import { gapOf, ratesAt } from "./thresholds.js";

const COLUMNS = { selection: "called risky", fpr: "FPR", fnr: "FNR", ppv: "PPV", accuracy: "right" };
const percent = (value) => (value === null ? "none" : `${(100 * value).toFixed(1)}%`);
const gapWords = (value) => (value === null ? "not defined, as nobody of a group is called risky" : percent(value));

const box = document.querySelector('.live[data-live="group_fairness"]');
const source = document.querySelector('[data-live-data="group_fairness"]');
if (box && source) {
  const { groups, scores, counts } = JSON.parse(source.dataset.value);
  const last = scores.length;
  const value = (slider) => (Number(slider.value) < last ? scores[slider.value] : Infinity);
  const words = (slider) => (Number(slider.value) < last ? `from ${scores[slider.value]} on` : "nobody");
  const sliders = groups.map((group) => {
    const line = box.appendChild(document.createElement("label"));
    const slider = document.createElement("input");
    line.append(`Called risky, ${group}`, slider);
    Object.assign(slider, { type: "range", min: 0, max: last, step: 1, value: Math.max(0, scores.indexOf(5)) });
    line.appendChild(document.createElement("output"));
    return slider;
  });
  const table = box.appendChild(document.createElement("table"));
  table.className = "live-map live-rates";
  const says = box.appendChild(document.createElement("p"));
  says.setAttribute("role", "status");

  const draw = () => {
    const rates = ratesAt(counts, scores, sliders.map(value));
    box.rates = { thresholds: sliders.map((slider) => Number(slider.value)), rates };
    sliders.forEach((slider) => {
      slider.setAttribute("aria-valuetext", words(slider));
      slider.parentElement.querySelector("output").textContent = words(slider);
    });
    table.innerHTML = "<caption></caption><thead><tr><td></td></tr></thead><tbody></tbody>";
    table.caption.textContent = "Rates of each group at its threshold, and the largest gap";
    for (const name of Object.values(COLUMNS)) {
      const head = table.tHead.rows[0].appendChild(document.createElement("th"));
      head.scope = "col";
      head.textContent = name;
    }
    const row = (name, cells) => {
      const line = table.tBodies[0].insertRow();
      const head = line.appendChild(document.createElement("th"));
      head.scope = "row";
      head.textContent = name;
      cells.forEach((cell) => {
        const place = line.insertCell();
        place.textContent = percent(cell);
        place.style.setProperty("--weight", (cell ?? 0).toFixed(3));
      });
    };
    groups.forEach((group, i) => row(group, Object.keys(COLUMNS).map((key) => rates[i][key])));
    row("gap", Object.keys(COLUMNS).map((key) => gapOf(rates, key)));
    const right = rates.reduce((sum, one) => sum + one.right, 0) / rates.reduce((sum, one) => sum + one.n, 0);
    says.textContent = `${percent(right)} of all decisions are right. Gap in FPR ${percent(gapOf(rates, "fpr"))}, in FNR ${percent(gapOf(rates, "fnr"))}, in PPV ${gapWords(gapOf(rates, "ppv"))}.`;
  };
  sliders.forEach((slider) => slider.addEventListener("input", draw));
  draw();
}

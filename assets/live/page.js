// What living pages share: nothing is loaded before the reader asks for it, and the browser keeps what came.
const here = new URL(".", import.meta.url);

const fetched = async (name, progress) => {
  const address = new URL(name, here);
  const shelf = window.caches && (await caches.open("live-pages").catch(() => null));
  const kept = await shelf?.match(address);
  if (kept) return kept.arrayBuffer();
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${name}: ${response.status}`);
  const parts = [];
  const reader = response.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    progress(part.value.length);
  }
  const whole = new Blob(parts);
  await shelf?.put(address, new Response(whole)).catch(() => {});
  return whole.arrayBuffer();
};

// Put a button into the box of a page; on a click load the files and hand them to `start`.
export const loadOnClick = (name, files, start) => {
  const box = document.querySelector(`.live[data-live="${name}"]`);
  if (!box) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "lab-button";
  button.textContent = `Try it here (loads ${(box.dataset.bytes / 1e6).toFixed(0)} MB once)`;
  box.append(button);
  button.addEventListener("click", async () => {
    button.disabled = true;
    let come = 0;
    const progress = (bytes) => {
      come += bytes;
      button.textContent = `Loading: ${Math.min(100, Math.round((100 * come) / box.dataset.bytes))}%`;
    };
    try {
      const buffers = await Promise.all([files].flat().map((file) => fetched(file, progress)));
      await start(box, ...buffers);
      box.querySelector("textarea, input").focus();
      button.remove();
    } catch (error) {
      button.disabled = false;
      button.textContent = "That did not load. Try again";
      console.warn(error);
    }
  });
};

const labelled = (box, label, element) => {
  const line = box.appendChild(document.createElement("label"));
  line.append(label, element);
  return element;
};

export const field = (box, label, text) => {
  const area = labelled(box, label, document.createElement("textarea"));
  Object.assign(area, { value: text, rows: 2, maxLength: 400, spellcheck: false });
  return area;
};

export const control = (box, label, count, value) => {
  const slider = labelled(box, label, document.createElement("input"));
  Object.assign(slider, { type: "range", min: 0, max: count - 1, value });
  const shown = slider.parentElement.appendChild(document.createElement("output"));
  const tell = () => (shown.textContent = slider.value);
  slider.addEventListener("input", tell);
  tell();
  return slider;
};

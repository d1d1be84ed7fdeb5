// MiniLM's encoder in the browser: WordPiece, six layers, and the attention weights of every head.
// The weights are whole numbers of eight bits with a scale for each row.
const decoder = new TextDecoder();

export const readModel = (buffer) => {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(decoder.decode(new Uint8Array(buffer, 4, length)));
  const start = 4 + length;
  const arrays = {};
  for (const [name, { kind, offset, shape }] of Object.entries(head.arrays)) {
    const size = shape.reduce((a, b) => a * b, 1);
    arrays[name] =
      kind === "int8" ? new Int8Array(buffer, start + offset, size) : new Float32Array(buffer.slice(start + offset, start + offset + 4 * size));
  }
  return { ...head, arrays, ids: new Map(head.vocabulary.map((token, id) => [token, id])) };
};

// BERT's uncased WordPiece: lower case, no accents, punctuation apart, the longest piece first.
export const tokens = (model, text) => {
  const plain = text.toLowerCase().normalize("NFD").replace(/\p{Mn}/gu, "").replace(/[\p{Cc}\p{Cf}]/gu, " ");
  const words = plain.match(/[\p{P}$+<=>^`|~]|[\u4e00-\u9fff]|[^\s\p{P}$+<=>^`|~\u4e00-\u9fff]+/gu) ?? [];
  const found = ["[CLS]"];
  for (const word of words) {
    const pieces = [];
    let rest = word;
    while (rest) {
      let end = rest.length;
      const mark = pieces.length ? "##" : "";
      while (end && !model.ids.has(mark + rest.slice(0, end))) end--;
      if (!end) break;
      pieces.push(mark + rest.slice(0, end));
      rest = rest.slice(end);
    }
    found.push(...(rest ? ["[UNK]"] : pieces));
  }
  return [...found, "[SEP]"];
};

const layerNorm = (x, scale, shift) => {
  const mean = x.reduce((a, b) => a + b, 0) / x.length;
  const spread = Math.sqrt(x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length + 1e-12);
  return x.map((value, i) => ((value - mean) / spread) * scale[i] + shift[i]);
};

const linear = ({ arrays }, name, rows) => {
  const weight = arrays[`${name}.weight`];
  const scale = arrays[`${name}.scale`];
  const bias = arrays[`${name}.bias`];
  const width = rows[0].length;
  return rows.map((row) => {
    const out = new Float32Array(bias.length);
    for (let o = 0; o < bias.length; o++) {
      let sum = 0;
      for (let i = 0, at = o * width; i < width; i++) sum += weight[at + i] * row[i];
      out[o] = sum * scale[o] + bias[o];
    }
    return out;
  });
};

// Abramowitz and Stegun 7.1.26: right to 1.5e-7.
const erf = (x) => {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const y = 1 - t * Math.exp(-x * x) * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return x < 0 ? -y : y;
};
const gelu = (x) => 0.5 * x * (1 + erf(x / Math.SQRT2));
const sum = (a, b) => a.map((value, i) => value + b[i]);

// The attention weights, by layer, head, looking token and token looked at.
export const attention = (model, words) => {
  const { arrays, layers, heads, width } = model;
  const size = width / heads;
  const norm = (name, rows) => rows.map((row) => layerNorm(row, arrays[`${name}.weight`], arrays[`${name}.bias`]));
  const embedding = arrays["words.weight"];
  let x = words.map((word, place) => {
    const id = model.ids.get(word);
    const scale = arrays["words.scale"][id];
    return Float32Array.from({ length: width }, (_, i) => embedding[id * width + i] * scale + arrays.places[place * width + i] + arrays.kinds[i]);
  });
  x = norm("first", x);
  const maps = [];
  for (let layer = 0; layer < layers; layer++) {
    const [q, k, v] = ["query", "key", "value"].map((part) => linear(model, `${layer}.${part}`, x));
    const mixed = x.map(() => new Float32Array(width));
    maps.push(
      Array.from({ length: heads }, (_, head) => {
        const from = head * size;
        return q.map((query, row) => {
          const scores = k.map((key) => {
            let score = 0;
            for (let i = from; i < from + size; i++) score += query[i] * key[i];
            return score / Math.sqrt(size);
          });
          const largest = Math.max(...scores);
          const raised = scores.map((score) => Math.exp(score - largest));
          const total = raised.reduce((a, b) => a + b, 0);
          const weights = raised.map((value) => value / total);
          for (const [column, weight] of weights.entries())
            for (let i = from; i < from + size; i++) mixed[row][i] += weight * v[column][i];
          return weights;
        });
      }),
    );
    const looked = norm(`${layer}.attended`, linear(model, `${layer}.out`, mixed).map((row, i) => sum(row, x[i])));
    const inner = linear(model, `${layer}.up`, looked).map((row) => row.map(gelu));
    x = norm(`${layer}.done`, linear(model, `${layer}.down`, inner).map((row, i) => sum(row, looked[i])));
  }
  return maps;
};

// Turns TeX into MathML: node formulas.mjs MODULES < [[tex, display], ...]
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const temml = createRequire(join(process.argv[2], "index.js"))("temml");
const set = ([tex, displayMode]) => {
  try {
    return temml.renderToString(tex, { displayMode, throwOnError: true });
  } catch (error) {
    return { error: String(error.message ?? error) };
  }
};
process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(set)));

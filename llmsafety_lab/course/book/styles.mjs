// Keeps of a style sheet what the pages and scripts can use: node styles.mjs MODULES < {"css": "...", "content": [{raw, extension}]}
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const { PurgeCSS } = createRequire(join(process.argv[2], "index.js"))("purgecss");
const { css, content } = JSON.parse(readFileSync(0, "utf8"));
const [kept] = await new PurgeCSS().purge({
  css: [{ raw: css }],
  content,
  safelist: { standard: [/^data-/, /-theme$/], greedy: [/data-theme/, /data-bs-theme/] },
  keyframes: true,
});
process.stdout.write(JSON.stringify([kept.css]));

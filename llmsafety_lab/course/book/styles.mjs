// One style sheet of two, without what no page or script can use, and as short as it can be written:
// node styles.mjs MODULES < {"theirs": "...", "ours": "...", "content": [{raw, extension}]}
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.argv[2], "index.js"));
const { PurgeCSS } = require("purgecss");
const postcss = require("postcss");
const parser = require("postcss-selector-parser");

const { theirs, ours, content } = JSON.parse(readFileSync(0, "utf8"));
const words = new Set(content.flatMap(({ raw }) => raw.match(/[\w-]+/g)));
const [purged] = await new PurgeCSS().purge({
  css: [{ raw: theirs }],
  content: [{ raw: [...words].join(" "), extension: "txt" }, ...content.filter(({ extension }) => extension === "js")],
  safelist: { standard: [/^data-/, /-theme$/], greedy: [/data-theme/, /data-bs-theme/] },
  keyframes: true,
});
const sheet = postcss.parse(purged.css + ours);

// PurgeCSS drops rules with :is(); ours are asked only for classes that they need outside of any bracket.
const used = (selector) => {
  let all = true;
  parser((root) => root.walkClasses((part) => {
    let above = part.parent;
    while (above && above.type !== "pseudo") above = above.parent;
    if (!above && !words.has(part.value)) all = false;
  })).processSync(selector);
  return all;
};
sheet.walkRules((rule) => {
  if (rule.parent.name?.endsWith("keyframes")) return;
  const kept = rule.selectors.filter(used);
  if (!kept.length) rule.remove();
  else if (kept.length < rule.selectors.length) rule.selectors = kept;
});

// Variables that nothing reads, and those that only they read.
for (let gone = true; gone; ) {
  gone = false;
  const read = new Set(words);
  sheet.walkDecls(({ value }) => value.match(/--[\w-]+/g)?.forEach((name) => read.add(name)));
  sheet.walkDecls(/^--/, (declaration) => {
    if (read.has(declaration.prop)) return;
    declaration.remove();
    gone = true;
  });
}

sheet.walkComments((comment) => comment.remove());
sheet.walk((node) => {
  if (node.nodes && !node.nodes.length) node.remove();
  node.raws = { before: "", after: "", between: node.type === "decl" ? ":" : "", semicolon: false };
  if (node.type === "rule") node.selector = node.selector.replace(/\s+/g, " ").replace(/\s*([,>])\s*/g, "$1");
  if (node.type === "decl") node.value = node.value.trim().replace(/\s+/g, " ").replace(/, /g, ",");
  if (node.type === "atrule") {
    node.raws.afterName = node.params ? " " : "";
    node.params = node.params.replace(/\s+/g, " ").replace(/\s*([:,])\s*/g, "$1");
  }
});
process.stdout.write(JSON.stringify([sheet.toString()]));

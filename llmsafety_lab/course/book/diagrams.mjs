// Draws mermaid diagrams once, in a browser, and prints them as SVG: node diagrams.mjs MODULES BROWSER WEB < codes.json
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [, , modules, executablePath, web] = process.argv;
const { chromium } = createRequire(join(modules, "index.js"))("playwright-core");
const { codes, colours } = JSON.parse(readFileSync(0, "utf8"));
const font = readFileSync(join(web, "fonts/source-sans-3/source-sans-3-latin-wght-normal.woff2")).toString("base64");

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
try {
  const page = await browser.newPage({ viewport: { width: 1000, height: 900 } });
  await page.setContent(
    `<style>@font-face { font-family: "Source Sans 3 Variable"; font-weight: 200 900; src: url(data:font/woff2;base64,${font}); }
    body { font: 16px/1.5 "Source Sans 3 Variable"; }</style><body>a<b>b</b></body>`,
  );
  await page.addScriptTag({ path: join(web, "mermaid/mermaid.min.js") });
  const drawn = await page.evaluate(
    async ({ codes, colours }) => {
      await document.fonts.ready;
      window.mermaid.initialize({
        startOnLoad: false,
        theme: "base",
        look: "classic",
        fontFamily: "Source Sans 3 Variable, Arial, sans-serif",
        themeVariables: {
          fontSize: "16px",
          background: colours.paper,
          primaryColor: colours.surface,
          primaryTextColor: colours.ink,
          primaryBorderColor: colours.muted,
          secondaryColor: colours.surface,
          tertiaryColor: colours.paper,
          tertiaryBorderColor: colours.rule,
          tertiaryTextColor: colours.ink,
          clusterBkg: colours.paper,
          clusterBorder: colours.rule,
          titleColor: colours.ink,
          lineColor: colours.muted,
          textColor: colours.ink,
          edgeLabelBackground: colours.paper,
        },
      });
      const svgs = [];
      for (const [number, code] of codes.entries()) {
        try {
          svgs.push((await window.mermaid.render(`diagram-${number}`, code)).svg);
        } catch (error) {
          svgs.push({ error: String(error.message ?? error) });
        }
      }
      return svgs;
    },
    { codes, colours },
  );
  process.stdout.write(JSON.stringify(drawn));
} finally {
  await browser.close();
}

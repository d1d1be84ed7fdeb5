// Prints pages of the site, each to a PDF: node pdf.mjs MODULES BROWSER BASE FOLDER PAGE...
import { createRequire } from "node:module";
import { join } from "node:path";

const [, , modules, executablePath, base, folder, ...pages] = process.argv;
const { chromium } = createRequire(join(modules, "index.js"))("playwright-core");
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
try {
  const page = await browser.newPage({ colorScheme: "light" });
  const titles = [];
  for (const [number, name] of pages.entries()) {
    await page.goto(`${base}${name}.html`);
    await page.evaluate(() => document.fonts.ready);
    titles.push(await page.evaluate(() => document.querySelector("h1").firstChild.textContent.trim()));
    await page.pdf({
      path: join(folder, `${number}.pdf`),
      format: "A4",
      printBackground: true,
      margin: { top: "20mm", bottom: "18mm", left: "20mm", right: "20mm" },
    });
  }
  process.stdout.write(JSON.stringify(titles));
} finally {
  await browser.close();
}

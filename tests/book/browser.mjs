// Visits every page of the site with one Chromium and prints what it saw as JSON; test_site.py judges it.
// node browser.mjs MODULES BROWSER BASE PAGE...
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [, , modules, executablePath, base, ...names] = process.argv;
const { chromium } = createRequire(join(modules, "index.js"))("playwright-core");
const axe = readFileSync(join(modules, "axe-core", "axe.min.js"), "utf8");
const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 390, height: 844 };

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });

const open = async (options = {}) => {
  const context = await browser.newContext({ viewport: WIDE, colorScheme: "light", reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(30000);
  const seen = { console: [], offsite: [], failed: [], requests: 0, bytes: 0 };
  page.on("console", (message) => message.type() === "error" && seen.console.push(message.text()));
  page.on("pageerror", (error) => seen.console.push(String(error)));
  page.on("request", (request) => /^(data|blob):/.test(request.url()) || request.url().startsWith(base) || seen.offsite.push(request.url()));
  page.on("response", async (response) => {
    if (response.status() >= 400) seen.failed.push(`${response.status()} ${response.url()}`);
    seen.requests += 1;
    seen.bytes += (await response.body().catch(() => "")).length;
  });
  page.on("requestfailed", (request) => seen.failed.push(`${request.failure().errorText} ${request.url()}`));
  return { page, seen, close: () => context.close() };
};

const settle = async (page) => {
  await page.waitForFunction(() => document.readyState === "complete");
  await page.evaluate(() => document.fonts.ready);
};

// What the light page has passed, the dark one need not be asked again but for its colours, nor the narrow one but for the rest.
const EVERYTHING = {};
const COLOURS = { runOnly: ["color-contrast", "link-in-text-block"] };
const LAYOUT = { rules: { "color-contrast": { enabled: false } } };

const violations = async (page, options) => {
  const found = await page.evaluate((chosen) => window.axe.run(document, { resultTypes: ["violations"], ...chosen }), options);
  return found.violations.map(
    ({ id, nodes }) => `${id} (${nodes.length}): ${nodes.slice(0, 3).map((node) => `${node.target.join(" ")} ${node.any[0]?.message ?? ""}`).join(" | ")}`,
  );
};

const facts = () => ({
  title: document.title,
  ids: [...document.querySelectorAll("[id]")].map((element) => element.id),
  links: [...document.querySelectorAll("a[href]")].map((link) => link.href),
  images: [...document.images].filter((image) => !image.complete || !image.naturalWidth).map((image) => image.src),
  mute: [...document.querySelectorAll("img:not([alt]), svg[role=img]:not([aria-label], [aria-hidden=true])")].map((image) => image.outerHTML.slice(0, 80)),
  raw: [
    ...[...document.querySelectorAll("merror, .problematic, .system-message, .math:not(:has(math)), .mermaid:not(:has(svg))")],
    ...document.querySelectorAll("script[type*=widget]"),
  ].map((element) => element.textContent.trim().slice(0, 80)),
  codeColours: new Set([...document.querySelectorAll(".highlight span")].map((element) => getComputedStyle(element).color)).size,
  dark: getComputedStyle(document.body).backgroundColor,
});

const visit = async (name) => {
  const { page, seen, close } = await open();
  try {
    await page.goto(base + name);
    await settle(page);
    await page.waitForLoadState("networkidle");
    const weight = { requests: seen.requests, bytes: seen.bytes };
    const wide = await page.evaluate(facts);
    await page.evaluate(() => document.querySelectorAll("details").forEach((fold) => (fold.open = true)));
    await page.addScriptTag({ content: axe });
    const light = await violations(page, EVERYTHING);
    await page.emulateMedia({ colorScheme: "dark" });
    await page.waitForFunction(() => document.documentElement.dataset.theme === "dark");
    await settle(page);
    const dark = await violations(page, COLOURS);
    const night = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.setViewportSize(NARROW);
    await page.waitForTimeout(100);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    const spilling = await page.evaluate(() =>
      [...document.querySelectorAll("main *")]
        .filter((element) => element.getBoundingClientRect().right > window.innerWidth + 1)
        .slice(0, 5)
        .map((element) => element.outerHTML.slice(0, 100)),
    );
    const narrow = await violations(page, LAYOUT);
    return { ...seen, ...wide, ...weight, axe: { light, dark, narrow }, overflow, spilling, day: wide.dark, night };
  } catch (error) {
    return { ...seen, crash: String(error) };
  } finally {
    await close();
  }
};

const behaviour = async () => {
  const { page, seen, close } = await open();
  const result = { ...seen };
  try {
    await page.goto(`${base}search.html?q=softmax`);
    await page.waitForSelector("#search-results li a");
    result.found = await page.$$eval("#search-results li a", (links) => links.map((link) => link.getAttribute("href")));

    await page.goto(`${base}search.html?q=perplexty`);
    await page.waitForSelector("#search-results li a");
    result.misspelt = await page.$$eval("#search-results li a", (links) => links.map((link) => link.textContent));
    result.excerpts = await page.$$eval("#search-results li p", (texts) => texts.map((text) => text.textContent).join("\n"));

    await page.goto(`${base}chapters/attention.html`);
    const quiz = page.locator(".quiz").first();
    await quiz.locator(".quiz-option.wrong summary").first().click();
    await quiz.locator(".quiz-option.right summary").first().click();
    result.score = await page.locator(".quiz-score").innerText();
    await page.locator(".prev-next-footer").scrollIntoViewIfNeeded();
    await page.waitForFunction(() => localStorage.getItem("reading")?.includes('"read":true'));
    await page.goto(`${base}chapters/introduction.html`);
    result.read = await page.$$eval("nav.bd-links a[data-read]", (links) => links.map((link) => link.getAttribute("href")));
    result.parts = await page.$$eval("nav.bd-links details.part", (parts) => parts.map((part) => [part.querySelector("summary").textContent, part.open]));
    result.labLine = await page.$$eval("nav.bd-links li", (items) => items.filter((item) => item.querySelectorAll("a").length === 2).length);

    await page.goto(base + names[0]);
    const themes = [];
    for (let turn = 0; turn < 3; turn++) {
      await page.click("button.theme-switch-button");
      themes.push(await page.evaluate(() => [document.documentElement.dataset.mode, document.documentElement.dataset.theme]));
    }
    result.themes = themes;
    await page.keyboard.press("Tab");
    result.focus = await page.evaluate(() => parseFloat(getComputedStyle(document.activeElement).outlineWidth));

    result.folds = {};
    for (const lab of names.filter((name) => name.startsWith("labs/"))) {
      await page.goto(base + lab);
      await settle(page);
      const solutions = page.locator(".tag_solution details");
      const summary = solutions.first().locator("summary");
      const code = solutions.first().locator("pre");
      const before = await code.isVisible();
      await summary.focus();
      await page.keyboard.press("Enter");
      result.folds[lab] = { count: await solutions.count(), label: await summary.innerText(), before, after: await code.isVisible() };
    }
  } catch (error) {
    result.crash = String(error);
  } finally {
    await close();
  }
  return result;
};

// Each living page, started by keyboard: what it computed for the text in its field, and for another one.
const living = async (name) => {
  const { page, seen, close } = await open();
  try {
    await page.goto(`${base}chapters/${name}.html`);
    const before = seen.bytes;
    const box = page.locator(".live");
    await box.locator("button").focus();
    await page.keyboard.press("Enter");
    const text = box.locator("textarea");
    await text.waitFor({ timeout: 120000 });
    await box.locator("table td, dd span").first().waitFor();
    const read = () => box.evaluate((element) => ({ maps: element.maps, counts: element.counts }));
    const first = { text: await text.inputValue(), ...(await read()) };
    await text.fill("A model reads what you type, and so do you.");
    await text.blur();
    await page.waitForTimeout(3000);
    await page.addScriptTag({ content: axe });
    const second = { text: await text.inputValue(), ...(await read()) };
    return { before, runs: [first, second], axe: await violations(page, EVERYTHING), console: seen.console, offsite: seen.offsite };
  } catch (error) {
    return { crash: String(error) };
  } finally {
    await close();
  }
};

// The sliders of thresholds, moved by keyboard: what they show before and after.
const thresholds = async () => {
  const { page, seen, close } = await open();
  try {
    await page.goto(`${base}chapters/group_fairness.html`);
    const box = page.locator(".live");
    const sliders = box.locator("input[type=range]");
    await sliders.first().waitFor({ timeout: 120000 });
    const read = () => box.evaluate((element) => ({ ...element.rates, said: element.querySelector("[role=status]").textContent }));
    const first = await read();
    await sliders.nth(0).focus();
    for (const key of ["ArrowRight", "ArrowRight"]) await page.keyboard.press(key);
    await sliders.nth(1).focus();
    await page.keyboard.press("End");
    const second = await read();
    const spoken = await sliders.evaluateAll((found) => found.map((slider) => slider.getAttribute("aria-valuetext")));
    await page.addScriptTag({ content: axe });
    return { runs: [first, second], spoken, axe: await violations(page, EVERYTHING), console: seen.console, offsite: seen.offsite };
  } catch (error) {
    return { crash: String(error) };
  } finally {
    await close();
  }
};

// Without JavaScript, and on paper.
const plain = async (name) => {
  const { page, close } = await open({ javaScriptEnabled: false });
  try {
    await page.goto(base + name);
    const still = {
      formulas: await page.locator(".math:not(:has(math))").count(),
      diagrams: await page.locator(".mermaid:not(:has(svg))").count(),
      font: await page.locator("article section > p:not(.page-facts)").first().evaluate((text) => getComputedStyle(text).fontFamily),
    };
    const pdf = await page.pdf({ format: "A4", printBackground: true });
    return { ...still, pdf: pdf.toString("base64") };
  } finally {
    await close();
  }
};

const pages = {};
const queue = [...names];
const worker = async () => {
  for (let name = queue.shift(); name; name = queue.shift()) pages[name] = await visit(name);
};
await Promise.all([worker(), worker()]);
const report = { pages, behaviour: await behaviour(), plain: await plain("chapters/attention.html"), living: {} };
for (const name of ["attention", "tokenization"]) report.living[name] = await living(name);
if (names.includes("chapters/group_fairness.html")) report.thresholds = await thresholds();
await browser.close();
process.stdout.write(JSON.stringify(report));

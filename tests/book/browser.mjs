// Visits every page of the site with one Chromium and prints what it saw as JSON; test_site.py judges it.
// node browser.mjs MODULES BROWSER BASE FOLDER PAGE...: FOLDER is for the pages as they print.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [, , modules, executablePath, base, folder, ...names] = process.argv;
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
  const bodies = [];
  page.on("console", (message) => message.type() === "error" && seen.console.push(message.text()));
  page.on("pageerror", (error) => seen.console.push(String(error)));
  page.on("request", (request) => /^(data|blob):/.test(request.url()) || request.url().startsWith(base) || seen.offsite.push(request.url()));
  page.on("response", (response) => {
    if (response.status() >= 400) seen.failed.push(`${response.status()} ${response.url()}`);
    seen.requests += 1;
    bodies.push(response.body().then((body) => (seen.bytes += body.length), () => {}));
  });
  page.on("requestfailed", (request) => seen.failed.push(`${request.failure().errorText} ${request.url()}`));
  return { page, seen, weighed: () => Promise.all(bodies), close: () => context.close() };
};

const settle = async (page) => {
  await page.waitForFunction(() => document.readyState === "complete");
  await page.evaluate(() => document.fonts.ready);
};

// Contrast is asked of one of all elements that have the same ink on the same ground, on whichever page it stands first;
// the other rules of every page once, wide; and again, on a phone, of what looks new there.
const CONTRAST = { runOnly: ["color-contrast", "link-in-text-block"] };
const REST = { rules: { "color-contrast": { enabled: false }, "link-in-text-block": { enabled: false } } };

const prepare = () => {
  const wide = new Set();
  const all = () => [...document.body.querySelectorAll("*")].filter((element) => element.checkVisibility({ checkVisibilityCSS: true }));
  const grounds = new Map();
  const ground = (element) => {
    if (!element) return "";
    if (grounds.has(element)) return grounds.get(element);
    const { backgroundColor, backgroundImage, opacity, position } = getComputedStyle(element);
    const own = [backgroundColor, backgroundImage, opacity, position].join();
    const opaque = /^rgb\(|^color\(srgb [^/]*\)/.test(backgroundColor) && position === "static" && opacity === "1";
    const found = opaque ? own : own + ground(element.parentElement);
    grounds.set(element, found);
    return found;
  };
  const firsts = (elements, look, known) => {
    const found = new Map();
    for (const element of elements) {
      const key = look(element);
      if (!known.includes(key) && !found.has(key)) found.set(key, element);
    }
    return { include: [...found.values()], looks: [...found.keys()] };
  };
  window.noteWide = () => all().forEach((element) => wide.add(element));
  window.inks = (known) => {
    grounds.clear();
    const written = all().filter((element) => [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()));
    return firsts(written, (element) => {
      const { color, fill, fontSize, fontWeight, textDecorationLine } = getComputedStyle(element);
      const around = element.localName === "a" && getComputedStyle(element.parentElement).color;
      return [color, fill, fontSize, fontWeight, textDecorationLine, around, ground(element)].join();
    }, known);
  };
  window.onlyNarrow = (known) => {
    const scrolls = (element) => element.scrollWidth > element.clientWidth && getComputedStyle(element).overflowX !== "visible";
    const look = (element) => [element.localName, element.className, element.tabIndex, element.role, element.ariaLabel, scrolls(element)].join();
    return firsts(all().filter((element) => !wide.has(element) || scrolls(element)), look, known);
  };
};

const known = { light: [], dark: [], narrow: [] };

const violations = async (page, options, look = "", choose = "") => {
  const { found, looks } = await page.evaluate(
    async ([options, choose, known]) => {
      const { include, looks } = choose ? window[choose](known) : { include: document, looks: [] };
      if (choose && !looks.length) return { found: [], looks };
      const { violations } = await window.axe.run(choose ? { include } : document, { resultTypes: ["violations"], ...options });
      return { found: violations, looks: violations.length ? [] : looks };
    },
    [options, choose, known[look] ?? []],
  );
  known[look]?.push(...looks);
  return found.map(
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
  const { page, seen, weighed, close } = await open();
  try {
    await page.goto(base + name);
    await settle(page);
    await weighed();
    const weight = { requests: seen.requests, bytes: seen.bytes };
    const wide = await page.evaluate(facts);
    await page.pdf({ path: join(folder, `${names.indexOf(name)}.pdf`), format: "A4" });
    await page.evaluate(() => document.querySelectorAll("details").forEach((fold) => (fold.open = true)));
    await page.addScriptTag({ content: axe });
    await page.evaluate(prepare);
    await page.evaluate(() => window.noteWide());
    const light = [...(await violations(page, REST)), ...(await violations(page, CONTRAST, "light", "inks"))];
    await page.emulateMedia({ colorScheme: "dark" });
    await page.waitForFunction(() => document.documentElement.dataset.theme === "dark");
    const dark = await violations(page, CONTRAST, "dark", "inks");
    const night = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.setViewportSize(NARROW);
    await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    const spilling = await page.evaluate(() =>
      [...document.querySelectorAll("main *")]
        .filter((element) => element.getBoundingClientRect().right > window.innerWidth + 1)
        .slice(0, 5)
        .map((element) => element.outerHTML.slice(0, 100)),
    );
    const narrow = await violations(page, REST, "narrow", "onlyNarrow");
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
    await box.evaluate((element) => (element.first = element.maps ?? element.counts));
    await text.fill("A model reads what you type, and so do you.");
    await text.blur();
    await page.waitForFunction(() => ((box) => (box.maps ?? box.counts) !== box.first)(document.querySelector(".live")));
    await page.addScriptTag({ content: axe });
    const second = { text: await text.inputValue(), ...(await read()) };
    return { before, runs: [first, second], axe: await violations(page, {}), console: seen.console, offsite: seen.offsite };
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
    return { runs: [first, second], spoken, axe: await violations(page, {}), console: seen.console, offsite: seen.offsite };
  } catch (error) {
    return { crash: String(error) };
  } finally {
    await close();
  }
};

// Without JavaScript.
const plain = async (name) => {
  const { page, close } = await open({ javaScriptEnabled: false });
  try {
    await page.goto(base + name);
    return {
      formulas: await page.locator(".math:not(:has(math))").count(),
      diagrams: await page.locator(".mermaid:not(:has(svg))").count(),
      codeColours: await page.locator(".highlight span").evaluateAll((marks) => new Set(marks.map((mark) => getComputedStyle(mark).color)).size),
      font: await page.locator("article section > p:not(.page-facts)").first().evaluate((text) => getComputedStyle(text).fontFamily),
    };
  } finally {
    await close();
  }
};

// What takes longest goes first; two tabs work side by side.
const report = { pages: {}, living: {} };
const queue = [
  ...["attention", "tokenization"].map((name) => async () => (report.living[name] = await living(name))),
  async () => (report.thresholds = await thresholds()),
  async () => (report.behaviour = await behaviour()),
  async () => (report.plain = await plain("chapters/attention.html")),
  ...names.map((name) => async () => (report.pages[name] = await visit(name))),
];
const worker = async () => {
  for (let task = queue.shift(); task; task = queue.shift()) await task();
};
await Promise.all([worker(), worker()]);
await browser.close();
process.stdout.write(JSON.stringify(report));

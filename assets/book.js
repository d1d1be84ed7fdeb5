// What the pages need beyond the theme: diagrams in the page's colours, and names and focus for what the theme leaves mute.
(() => {
  const root = document.documentElement;

  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  const drawAll = async () => {
    const diagrams = [...document.querySelectorAll("div.mermaid")];
    if (!window.mermaid || !diagrams.length || root.dataset.drawn === root.dataset.theme) return;
    root.dataset.drawn = root.dataset.theme;
    await document.fonts.ready;
    for (const diagram of diagrams) {
      diagram.textContent = diagram.dataset.source;
      diagram.removeAttribute("data-processed");
    }
    window.mermaid.initialize({
      startOnLoad: false,
      theme: "base",
      look: "classic",
      fontFamily: "Source Sans 3 Variable, Arial, sans-serif",
      themeVariables: {
        darkMode: root.dataset.theme === "dark",
        fontSize: "16px",
        background: colour("--paper"),
        primaryColor: colour("--surface"),
        primaryTextColor: colour("--ink"),
        primaryBorderColor: colour("--muted"),
        secondaryColor: colour("--surface"),
        tertiaryColor: colour("--paper"),
        tertiaryBorderColor: colour("--rule"),
        tertiaryTextColor: colour("--ink"),
        clusterBkg: colour("--paper"),
        clusterBorder: colour("--rule"),
        titleColor: colour("--ink"),
        lineColor: colour("--muted"),
        textColor: colour("--ink"),
        edgeLabelBackground: colour("--paper"),
      },
    });
    await window.mermaid.run({ nodes: diagrams });
  };

  let drawing = Promise.resolve();
  const draw = () => (drawing = drawing.then(drawAll));

  const name = (selector, label) => {
    for (const element of document.querySelectorAll(selector)) {
      if (!element.getAttribute("aria-label")) element.setAttribute("aria-label", label);
    }
  };

  const mend = () => {
    name("button.primary-toggle", "Contents of the book");
    name("button.secondary-toggle", "Contents of this page");
    name("nav.bd-toc-nav", "Contents of this page");
    name(".bd-sidebar-primary", "Book");
    document.querySelector(".bd-sidebar-primary")?.setAttribute("role", "complementary");
    document.querySelector(".search-button-field")?.removeAttribute("aria-label");
    for (const box of document.querySelectorAll("input.sidebar-toggle")) box.hidden = true;
    for (const wide of document.querySelectorAll("pre, .cell_output, .cell_output .output, .pst-scrollable-table-container, div.math, .mermaid")) {
      if (wide.scrollWidth > wide.clientWidth) wide.tabIndex = 0;
      else if (wide.tabIndex === 0 && wide.matches("pre")) wide.removeAttribute("tabindex");
    }
  };

  // What a reader has read and answered stays in this browser.
  const page = location.pathname.split("/").slice(-2).join("/");
  const kept = () => JSON.parse(localStorage.getItem("reading") ?? "{}");
  const keep = (change) => {
    try {
      const all = kept();
      all[page] = { ...all[page], ...change(all[page] ?? {}) };
      localStorage.setItem("reading", JSON.stringify(all));
    } catch {
      // A browser that keeps nothing shows no marks.
    }
  };

  const markRead = () => {
    const all = kept();
    for (const link of document.querySelectorAll("nav.bd-links a"))
      if (all[new URL(link.href).pathname.split("/").slice(-2).join("/")]?.read) link.dataset.read = "";
  };

  const watchEnd = () => {
    const end = document.querySelector(".prev-next-footer");
    if (!end || !/^(chapters|labs)\//.test(page)) return;
    new IntersectionObserver((seen, observer) => {
      if (!seen.some(({ isIntersecting }) => isIntersecting)) return;
      observer.disconnect();
      keep(() => ({ read: true }));
      markRead();
    }).observe(end);
  };

  // The first option that is opened counts.
  const score = () => {
    const quizzes = [...document.querySelectorAll(".quiz")];
    if (!quizzes.length) return;
    const line = document.createElement("p");
    line.className = "quiz-score";
    line.setAttribute("role", "status");
    quizzes.at(-1).after(line);
    const show = () => {
      const first = Object.values(kept()[page]?.quiz ?? {});
      line.textContent = first.length
        ? `${first.filter(Boolean).length} of ${first.length} right at the first try; ${quizzes.length - first.length} to go.`
        : "";
    };
    for (const [number, quiz] of quizzes.entries())
      for (const option of quiz.querySelectorAll(".quiz-option"))
        option.addEventListener("toggle", () => {
          if (!option.open) return;
          keep((mine) => ({ quiz: { [number]: option.classList.contains("right"), ...mine.quiz } }));
          show();
        });
    show();
  };

  document.addEventListener("DOMContentLoaded", () => {
    markRead();
    watchEnd();
    score();
    window.mermaid?.initialize({ startOnLoad: false });
    for (const diagram of document.querySelectorAll("div.mermaid")) diagram.dataset.source = diagram.textContent;
    mend();
    draw();
    addEventListener("resize", mend);
    new MutationObserver(draw).observe(root, {
      attributes: true,
      attributeFilter: ["data-theme"],
    });
  });
})();

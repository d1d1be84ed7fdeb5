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

  document.addEventListener("DOMContentLoaded", () => {
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

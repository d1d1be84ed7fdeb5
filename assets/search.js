// The search page: sections of the book, found also where a word is misspelt.
document.addEventListener("DOMContentLoaded", () => {
  const list = document.querySelector("#search-results");
  const count = document.querySelector("#search-count");
  const field = document.querySelector(".bd-search-container input[name=q]");
  if (!list || !field) return;
  const asked = new URLSearchParams(location.search).get("q") ?? "";
  field.value = asked;
  field.focus();

  // The sections of the whole book are loaded once somebody asks.
  let loaded;
  const load = async () => {
    const sections = await (await fetch(list.dataset.index)).json();
    const search = new MiniSearch({ fields: ["title", "page", "text"], storeFields: ["id"] });
    search.addAll(sections.map((section, id) => ({ ...section, id })));
    return { sections, search };
  };

  // The sentence around the first word that was found.
  const excerpt = (text, terms) => {
    const lower = text.toLowerCase();
    const places = terms.map((term) => lower.indexOf(term)).filter((place) => place >= 0);
    const start = Math.max(0, Math.min(...(places.length ? places : [0])) - 80);
    const from = start ? text.indexOf(" ", start) + 1 : 0;
    return (from ? "… " : "") + text.slice(from, from + 220) + (text.length > from + 220 ? " …" : "");
  };

  const show = async (query) => {
    if (!query) return;
    const { sections, search } = await (loaded ??= load());
    list.replaceChildren();
    const found = search.search(query, {
      combineWith: "AND",
      prefix: (term) => term.length > 2,
      fuzzy: (term) => (term.length > 3 ? 0.25 : false),
      boost: { title: 4, page: 2 },
      boostDocument: (id) => sections[id].weight,
    });
    count.textContent = `${found.length || "No"} ${found.length === 1 ? "place" : "places"} for “${query}”`;
    for (const { id, terms } of found.slice(0, 40)) {
      const { url, title, page, text } = sections[id];
      const item = document.createElement("li");
      const link = document.createElement("a");
      link.href = url;
      link.textContent = title;
      const where = document.createElement("span");
      where.textContent = page === title ? "" : ` in ${page}`;
      const shown = document.createElement("p");
      shown.textContent = excerpt(text, terms);
      item.append(link, where, shown);
      list.append(item);
    }
  };

  show(asked);
  field.form.addEventListener("submit", (event) => {
    event.preventDefault();
    history.replaceState(null, "", `?q=${encodeURIComponent(field.value)}`);
    show(field.value);
  });
});

"use strict";
{ // a block: names here must not meet those of charts.js
  const root = document.documentElement, up = document.body.dataset.up;

  // Theme: the system's until the reader chooses; choosing the system's again forgets the choice.
  const button = document.getElementById("theme"), dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const showTheme = () => button.setAttribute("aria-pressed", isDark());
  button.addEventListener("click", () => {
    const chosen = isDark() ? "light" : "dark", followed = (chosen === "dark") === dark.matches;
    if (followed) delete root.dataset.theme;
    else root.dataset.theme = chosen;
    try {
      if (followed) localStorage.removeItem("theme");
      else localStorage.setItem("theme", chosen);
    } catch {} // a browser that keeps nothing still switches
    showTheme();
  });
  dark.addEventListener("change", showTheme);
  showTheme();
  button.hidden = false;

  // Code and commands are copied with one click.
  for (const block of document.querySelectorAll("div.sourceCode, .command")) {
    const copy = document.createElement("button");
    copy.className = "copy";
    copy.type = "button";
    copy.textContent = "Copy";
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(block.querySelector("code").textContent.trimEnd());
        copy.textContent = "Copied";
      } catch {
        copy.textContent = "Not allowed";
      }
      setTimeout(() => (copy.textContent = "Copy"), 2000);
    });
    block.append(copy);
  }

  // Charts are pictures until one comes near: then the script that makes them interactive is fetched, once.
  const charts = document.querySelectorAll(".offline-chart");
  const watch = new IntersectionObserver((seen) => {
    if (!seen.some((chart) => chart.isIntersecting)) return;
    watch.disconnect();
    const script = document.createElement("script");
    script.src = up + "charts.js";
    document.head.append(script);
  }, { rootMargin: "100% 0px" });
  for (const chart of charts) watch.observe(chart);

  // What is larger than its place can be scrolled by keyboard too.
  function reachable() {
    const wide = ".scroll, pre, .offline-chart, p:has(> math[display='block'])";
    for (const part of document.querySelectorAll(wide)) {
      const scrolls = part.scrollWidth > part.clientWidth || part.scrollHeight > part.clientHeight + 2;
      const marks = { tabindex: "0", role: "group", "aria-label": "Scrolls to show all of it" };
      for (const [name, value] of Object.entries(marks)) part.toggleAttribute(name, scrolls) && part.setAttribute(name, value);
    }
  }
  addEventListener("load", reachable);
  addEventListener("resize", reachable);
  for (const details of document.querySelectorAll("details")) details.addEventListener("toggle", reachable);

  // The home page shows one category with ?category=NAME.
  const category = new URLSearchParams(location.search).get("category");
  if (category !== null)
    for (const post of document.querySelectorAll(".posts > li")) post.hidden = !JSON.parse(post.dataset.categories).includes(category);
  for (const link of document.querySelectorAll(".filter a")) {
    const its = new URL(link.href).searchParams.get("category");
    if (its === category) link.setAttribute("aria-current", "true");
  }

  // Search: a script with all texts, loaded on first use; a script, because a page opened from disk may not fetch.
  const input = document.getElementById("search"), found = document.getElementById("found");
  const count = document.getElementById("found-count");
  let loading;
  const load = () =>
    (loading ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = up + "search.js";
      script.onload = () => resolve(window.searchIndex);
      script.onerror = reject;
      document.head.append(script);
    }));

  function ranked(sections, query) {
    const words = query.split(/\s+/), scored = [];
    for (const section of sections) {
      const title = (section.page + " " + section.title).toLowerCase(), text = section.text.toLowerCase();
      if (!words.every((word) => title.includes(word) || text.includes(word))) continue;
      const phrase = (title.includes(query) ? 20 : 0) + (text.includes(query) ? 5 : 0);
      scored.push([phrase + words.filter((word) => title.includes(word)).length, section]);
    }
    return scored.sort((a, b) => b[0] - a[0]).map(([, section]) => section);
  }

  function excerpt(text, query) {
    const lower = text.toLowerCase(), word = lower.includes(query) ? query : query.split(/\s+/).find((w) => lower.includes(w));
    const line = document.createElement("small"), at = word ? lower.indexOf(word) : 0, from = Math.max(0, at - 50);
    line.append((from ? "…" : "") + text.slice(from, at));
    if (word) {
      const mark = document.createElement("mark");
      mark.textContent = text.slice(at, at + word.length);
      line.append(mark);
    }
    line.append(text.slice(at + (word ?? "").length, at + 90) + (text.length > at + 90 ? "…" : ""));
    return line;
  }

  async function search() {
    const query = input.value.trim().toLowerCase();
    found.hidden = query.length < 2;
    if (found.hidden) return (count.textContent = "");
    const hits = ranked(await load(), query);
    found.replaceChildren(
      ...hits.slice(0, 8).map((hit) => {
        const item = document.createElement("li"), link = document.createElement("a");
        link.href = up + hit.href;
        link.append(hit.title && hit.title !== hit.page ? `${hit.page}: ${hit.title}` : hit.page, excerpt(hit.text, query));
        item.append(link);
        return item;
      }),
    );
    if (!hits.length) found.innerHTML = "<li><small>Nothing found</small></li>";
    count.textContent = `${hits.length} found`;
  }
  input.addEventListener("input", search);
  input.addEventListener("focus", load, { once: true });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") found.hidden = true;
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      input.focus();
    }
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest(".search")) found.hidden = true;
  });
  input.closest(".search").hidden = false;
}

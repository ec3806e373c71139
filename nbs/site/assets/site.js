"use strict";
{ // a block: names here must not meet those of charts.js
  const root = document.documentElement, up = document.body.dataset.up;

  // Theme: the system's until the reader chooses; choosing the system's again forgets the choice.
  const button = document.getElementById("siteTheme"), dark = matchMedia("(prefers-color-scheme: dark)");
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

  // One switch for all folded code of a page.
  const folded = document.querySelectorAll("main details.code"), doors = document.querySelector(".doors");
  if (folded.length && doors) {
    const all = document.createElement("button"), item = document.createElement("li");
    const show = () => (all.textContent = [...folded].every((part) => part.open) ? "Hide all code" : "Show all code");
    all.type = "button";
    all.id = "siteCode";
    all.addEventListener("click", () => {
      const open = ![...folded].every((part) => part.open);
      for (const part of folded) part.open = open;
    });
    for (const part of folded) part.addEventListener("toggle", show);
    show();
    item.append(all);
    doors.insertBefore(item, doors.querySelector("li:has(.run)"));
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

  // The library shows one category with ?category=NAME.
  const category = new URLSearchParams(location.search).get("category");
  if (category !== null)
    for (const post of document.querySelectorAll(".posts > li")) post.hidden = !JSON.parse(post.dataset.categories).includes(category);
  for (const link of document.querySelectorAll(".filter a")) {
    const its = new URL(link.href).searchParams.get("category");
    if (its === category) link.setAttribute("aria-current", "true");
  }

  // Search: a script with all texts, loaded on first use; a script, because a page opened from disk may not fetch.
  const input = document.getElementById("siteSearch"), found = document.getElementById("siteFound");
  const count = document.getElementById("siteCount");
  const STOP = new Set(("a about after all also an and any are as at be been but by can could did do does each for from had has have " +
    "how i if in into is it its me my no not of on one or our so than that the their them then there these they this to use was we " +
    "were what when where which while who why will with would you your").split(" "));
  const ENDINGS = /(?:ations?|ating|ated|ate|ators?|ings?|edly|ed|ers?|ly|e)$/;

  // A light stemmer: the forms of a word meet, as in distill, distilled, distilling, distillation.
  function stem(word) {
    if (/^[a-z]{4,}$/.test(word)) {
      word = word.replace(/ies$/, "y").replace(/sses$/, "ss").replace(/([^aius])s$/, "$1");
      const short = word.replace(ENDINGS, "");
      if (short.length > 3 || (short.length > 2 && word.endsWith("e"))) word = short;
    }
    return word.replace(/([b-df-hj-np-tv-z])\1$/, "$1");
  }
  const split = (text) => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];

  // Where each stem stands: page -> [times in title, description, headings, text; its best section].
  function indexed(pages) {
    const stems = new Map(), known = new Map();
    const add = (text, page, field, section) => {
      for (const word of split(text)) {
        if (!known.has(word)) known.set(word, stem(word));
        const key = known.get(word);
        if (!stems.has(key)) stems.set(key, new Map());
        const places = stems.get(key);
        if (!places.has(page)) places.set(page, { times: [0, 0, 0, 0], sections: new Map() });
        const place = places.get(page);
        place.times[field] += 1;
        if (section !== undefined) place.sections.set(section, (place.sections.get(section) ?? 0) + (field === 2 ? 5 : 1));
      }
    };
    pages.forEach((page, n) => {
      add(page.title, n, 0);
      add(page.text, n, 1);
      page.sections.forEach(([, heading, prose], s) => (add(heading, n, 2, s), add(prose, n, 3, s)));
      page.plain = [page.title, ...page.sections.map(([, heading, prose]) => `${heading} ${prose}`)].map((text) => split(text).join(" "));
    });
    return { pages, stems };
  }
  let loading;
  const load = () =>
    (loading ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = up + "search.js";
      script.onload = () => resolve(indexed(window.searchIndex));
      script.onerror = reject;
      document.head.append(script);
    }));

  // Pages by how well they answer: title before description before headings before text, rare words before common ones.
  function ranked({ pages, stems }, query) {
    const all = split(query), words = all.some((word) => !STOP.has(word)) ? all.filter((word) => !STOP.has(word)) : all;
    const scores = new Map(), typing = /[\p{L}\p{N}]$/u.test(query) && all.at(-1) === words.at(-1);
    words.forEach((word, n) => {
      const keys = new Set([stem(word)]);
      if (typing && n === words.length - 1) for (const key of stems.keys()) if (key.startsWith(word)) keys.add(key);
      const best = new Map();
      for (const key of keys) {
        const places = stems.get(key) ?? new Map(), rare = Math.log(1 + pages.length / (places.size || 1));
        for (const [page, { times: [title, about, headings, text], sections }] of places) {
          const short = 1 / split(pages[page].title).length; // a title says more, the fewer words it has
          const score = rare * (60 * (1 + short) * !!title + 20 * !!about + 6 * Math.min(headings, 3) / 3 + (2 * text) / (text + 3));
          if (score > (best.get(page)?.score ?? 0)) best.set(page, { score, sections, rare });
        }
      }
      for (const [page, { score, sections, rare }] of best) {
        if (!scores.has(page)) scores.set(page, { score: 0, words: 0, sections: new Map() });
        const hit = scores.get(page);
        hit.score += score;
        hit.words += 1;
        for (const [section, times] of sections) hit.sections.set(section, (hit.sections.get(section) ?? 0) + 10 * rare + Math.min(times, 9));
      }
    });
    const phrase = all.join(" "), hits = [];
    for (const [n, { score, words: matched, sections }] of scores) {
      const page = pages[n], exact = new Set(); // sections with all of it in this order; -1 is the title
      if (all.length > 1) page.plain.forEach((text, s) => text.includes(phrase) && exact.add(s - 1));
      const bonus = 200 * exact.has(-1) + 40 * (exact.size > exact.has(-1));
      const order = [...sections].sort((a, b) => exact.has(b[0]) - exact.has(a[0]) || b[1] - a[1]).map(([s]) => page.sections[s]);
      if (2 * matched >= words.length) hits.push({ page, score: (score + bonus) * (matched / words.length) ** 2, sections: order });
    }
    return { hits: hits.sort((a, b) => b.score - a.score), words: words.map(stem) };
  }

  // What stands around the first of the words, which are marked.
  function excerpt(text, stems) {
    const line = document.createElement("small"), places = [];
    for (const match of text.matchAll(/[\p{L}\p{N}]+/gu)) {
      const word = stem(match[0].toLowerCase());
      if (stems.some((one) => word.startsWith(one))) places.push(match);
    }
    const from = text.lastIndexOf(" ", (places[0]?.index ?? 0) - 50) + 1, end = (text + " ").indexOf(" ", from + 130);
    const to = end < 0 ? text.length : end;
    let at = from;
    line.append(from ? "…" : "");
    for (const { 0: word, index } of places.filter((place) => place.index < to)) {
      const mark = document.createElement("mark");
      mark.textContent = word;
      line.append(text.slice(at, index), mark);
      at = index + word.length;
    }
    line.append(text.slice(at, to) + (to < text.length ? "…" : ""));
    return line;
  }

  function listed({ page, sections }, stems) {
    const item = document.createElement("li"), link = document.createElement("a"), shown = sections[0];
    link.href = up + page.href;
    link.append(page.title, excerpt(shown ? shown[2] || page.text : page.text, stems));
    item.append(link);
    for (const [anchor, heading] of sections.filter(([anchor]) => anchor).slice(0, 2)) {
      const part = document.createElement("a");
      part.className = "part-of-page";
      part.href = `${up}${page.href}#${encodeURIComponent(anchor)}`;
      part.textContent = heading;
      item.append(part);
    }
    return item;
  }

  async function search() {
    const query = input.value.trim();
    found.hidden = query.length < 2;
    if (found.hidden) return (count.textContent = "");
    const index = await load();
    if (query !== input.value.trim()) return;
    const { hits, words } = ranked(index, query);
    found.replaceChildren(...hits.slice(0, 8).map((hit) => listed(hit, words)));
    if (!hits.length) found.innerHTML = "<li><small>Nothing found</small></li>";
    count.textContent = `${hits.length} found`;
  }
  input.addEventListener("input", search);
  input.addEventListener("focus", load, { once: true });
  input.closest(".search").addEventListener("keydown", async (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Enter" && event.target === input) {
      await search();
      if (!found.hidden) found.querySelector("a")?.click();
    } else if (step) {
      event.preventDefault();
      const stops = [input, ...(found.hidden ? [] : found.querySelectorAll("a"))];
      stops[(stops.indexOf(document.activeElement) + step + stops.length) % stops.length].focus();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !found.hidden) {
      if (found.contains(document.activeElement)) input.focus();
      found.hidden = true;
    }
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

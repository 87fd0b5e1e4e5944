// Makes whole pages live and quick by keyboard. Without this file every page still works; it is only not fetched again by itself.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  const $ = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const make = (tag, given = {}, ...inside) => { const made = Object.assign(document.createElement(tag), given); made.append(...inside); return made; };

  // ---- news: one stream for all tabs. The tab that holds the lock listens and tells the others.
  const APART = 600, UNHEARD = 2, LOST = 5000, FALLEN = 1500, LONGEST = 30;
  const channel = new BroadcastChannel("quarterdeck");
  const fell = new Map();
  let last = 0, waiting = 0, fetched = Date.now(), busy = false, again = false, source = null, heard = false, lost = 0, renewed = new Date(), misses = 0, out = false, retry = 0, leave = null;

  function sign() {
    const now = Date.now(), when = `${renewed.toISOString().slice(11, 19)} UTC`, down = [...fell.keys()].filter((name) => fell.get(name) > now);
    const words = [!out && lost && "connection lost, trying again…", misses && `not renewed since ${when}`, down.length && `${down.slice(0, 3).join(", ")} fell`].filter(Boolean).join(" · ");
    if ($("#live").textContent !== words) $("#live").textContent = words;
    if ($("#asof")) $("#asof").textContent = when;
    document.body.classList.toggle("away", Boolean(out || (lost || misses) && now - Math.max(lost, renewed) > LOST));
  }
  function fault(...words) { $("#fault").replaceChildren(...words.length ? [make("p", { className: "trouble", role: "alert" }, ...words)] : []); }
  function hear(message) {
    if (message.asks) { if (source) channel.postMessage({ open: source.readyState === EventSource.OPEN }); return; }
    if (message.out) {
      out = true;
      source?.close();
      clearTimeout(retry);
      leave?.();
      source = leave = null;
      fault("You were logged out: ", make("code", { textContent: "qd open" }), " logs in again.");
    }
    if (message.open !== undefined) {
      if (message.open && out) { out = false; fault(); enlist(); }
      if (message.open && lost) soon(); // whatever happened meanwhile was not heard
      heard = message.open;
      lost = heard ? 0 : lost || Date.now();
    }
    sign();
    const follows = document.body.dataset.follows;
    if (message.seq > last) { last = message.seq; if (!follows) soon(); }
    if (message.roots && follows && (!message.roots.length || follows === "*" || message.roots.includes(follows))) soon();
  }
  function tell(message) { hear(message); channel.postMessage(message); }
  const ended = () => fetch("/favicon.ico", { cache: "no-store" }).then(({ status }) => { if (status === 401 || status === 403) tell({ out: true }); return out; }, () => false);
  function listen() {
    let tries = 0;
    return new Promise((resolve) => { // holds the lock for as long as the tab lives and is logged in
      leave = resolve;
      function open() {
        source = new EventSource(last ? `/live?after=${last}` : "/live");
        source.onopen = () => tell({ open: true });
        source.addEventListener("news", (event) => { tries = 0; tell({ seq: Number(event.lastEventId) }); });
        source.addEventListener("work", (event) => { tries = 0; tell({ roots: JSON.parse(event.data) }); });
        source.onerror = async () => {
          source.close();
          tell({ open: false });
          if (!await ended()) retry = setTimeout(open, Math.min(2 ** tries++, LONGEST) * 1000);
        };
      }
      if (out) resolve(); else open();
    });
  }
  function enlist() { if (navigator.locks) navigator.locks.request("quarterdeck-live", listen); else listen(); }
  channel.onmessage = (event) => hear(event.data);
  channel.postMessage({ asks: true });
  enlist();
  addEventListener("pagehide", () => source?.close());

  // ---- the page is fetched again when there is news, or when it has grown old; what the reader is doing is left alone.
  function soon() {
    if (document.hidden || waiting || out) return;
    waiting = setTimeout(refresh, Math.max(0, APART - (Date.now() - fetched)));
  }
  const dirty = (field) => field.type !== "hidden" && (field.tagName === "SELECT" ? [...field.options].some((o) => o.selected !== o.defaultSelected) : field.value !== field.defaultValue);
  const CONTROLS = "input, textarea, select";
  const callbacks = {
    beforeNodeMorphed: (old, fresh) => {
      if (old.nodeName === "DETAILS" && old.dataset.state !== fresh.dataset?.state) old.open = fresh.open;
      return !(old.nodeType === 1 && (["dialog", "live", "fault"].includes(old.id) || old.id === "charts" && old.dataset.drawn || old.dataset.said || old.matches(CONTROLS) && (dirty(old) || old === document.activeElement)));
    },
    beforeAttributeUpdated: (name) => name !== "open" && name !== "tabindex",
    beforeNodeRemoved: (old) => !(old.nodeType === 1 && old.dataset.kept),
  };
  // A replica is often back before anybody could see that it was away: one that was restarted since is shown as fallen for a while.
  function falls(fresh) {
    const had = new Map(all("[data-life]").map((shown) => shown.dataset.life.split(" ")));
    for (const shown of all("[data-life]", fresh)) {
      const [name, restarts] = shown.dataset.life.split(" ");
      if (Number(restarts) > Number(had.get(name))) { fell.set(name, Date.now() + FALLEN); setTimeout(soon, FALLEN); }
      if (!(fell.get(name) > Date.now())) continue;
      for (const part of [shown, ...all(".mark, .said", shown)]) part.classList.replace(part.classList[1], "failed");
      all("use", shown).forEach((use) => use.setAttribute("href", "#m-failed"));
      all(".said", shown).forEach((words) => { words.lastChild.textContent = "fell"; });
      all("title", shown).forEach((words) => { words.textContent = `${name} fell`; });
    }
  }
  async function refresh() {
    waiting = 0;
    if (busy) { again = true; return; }
    if ($("#dialog").open || !Number(document.body.dataset.every) || String(getSelection())) return;
    busy = true;
    const here = location.href;
    try {
      const answer = await fetch(here, { headers: { Accept: "text/html" } });
      if (answer.status === 401 || answer.status === 403) { if (!await ended()) location.reload(); return; }
      if (here !== location.href) return;
      if (!answer.ok && answer.status !== 404) { misses++; return; } // what is not there any more is news, and drawn in the frame
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (here !== location.href) return;
      falls(fresh);
      Idiomorph.morph(document.body, fresh.body.childNodes, { morphStyle: "innerHTML", callbacks });
      document.title = fresh.title;
      Object.assign(document.body.dataset, fresh.body.dataset);
      htmx.process(document.body);
      shown();
    } catch { misses++; /* nobody answers: a later round tries again */ } finally {
      sign();
      busy = false;
      fetched = Date.now();
      if (again) { again = false; soon(); }
    }
  }
  setInterval(() => {
    const every = Number(document.body.dataset.every);
    const patience = every && (misses ? Math.min(2 ** misses, LONGEST) : heard ? every : Math.min(every, UNHEARD)); // nobody tells: look more often
    if (patience && Date.now() - fetched > patience * 1000) soon();
    sign();
  }, 500);
  document.addEventListener("visibilitychange", soon);

  // ---- what pages carry only with scripts
  function decorate() {
    all("[data-origin]").forEach((span) => { span.textContent = location.origin; });
    if (wanted() || $("#row-filter")) sift(sifter()?.value || "");
  }
  function shown() { fetched = Date.now(); renewed = new Date(); misses = 0; sign(); decorate(); }

  // ---- from page to page. What cannot be shown is told, and what was written stays.
  const on = (name, act) => document.body.addEventListener(`htmx:${name}`, act);
  let place = location.pathname;
  on("afterSettle", () => {
    shown();
    const moved = place !== location.pathname, focused = document.activeElement;
    place = location.pathname;
    if (moved && !location.hash) scrollTo(0, 0);
    const title = $("h1");
    if (title && (focused === document.body || moved && !focused.matches(`${CONTROLS}, [autofocus]`))) { title.tabIndex = -1; title.focus({ preventScroll: true }); }
  });
  // htmx loads the page anew for Back and Forward: where it was read is kept
  addEventListener("popstate", () => sessionStorage.setItem("back", sessionStorage.getItem(location.href)));
  const back = sessionStorage.getItem("back");
  sessionStorage.removeItem("back");
  if (back) addEventListener("load", () => setTimeout(scrollTo, 50, 0, back));
  on("configRequest", (event) => { event.detail.headers.Accept = "text/html"; });
  const ADVICE = { get: " Try again, or ask: ", post: " What you wrote is still here. It may have been done or not: look before you send it again, or ask: " };
  const failed = (verb, words) => fault(words, ADVICE[verb], make("code", { textContent: "qd status" }));
  on("sendError", ({ detail }) => failed(detail.requestConfig.verb, "No answer: the control plane is away."));
  on("beforeSwap", ({ detail }) => {
    const { xhr, requestConfig: { verb } } = detail, { status } = xhr;
    const page = new DOMParser().parseFromString(xhr.responseText, "text/html"), drawn = $("#dialog", page), refusal = $(".hero[role=alert]", page);
    detail.isError = false;
    detail.shouldSwap = Boolean(drawn && (verb === "get" ? status < 500 : !refusal));
    if (detail.shouldSwap) {
      sessionStorage.setItem(location.href, scrollY);
      Object.assign(document.body.dataset, page.body.dataset);
      return;
    }
    // turned away at the door, where no page is drawn: the words alone came
    if (verb === "get" && status < 500) { location.assign(detail.pathInfo.finalRequestPath); return; }
    const told = all("h1, p:not(:has(a))", refusal || page.body).map((part) => part.textContent).join(". ") || page.body.textContent.slice(0, 300);
    const words = `${status} ${xhr.statusText}: ${told}.`;
    if (status < 500) { fault(words); if (!drawn) ended(); } else failed(verb, words);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy], #find, #help");
    if (!event.target.closest(".systems summary")) fold();
    if (!button) return;
    if (button.id === "find") return void palette();
    if (button.id === "help") return void ask("#keys");
    const say = (words) => {
      button.textContent = words;
      button.dataset.said = "yes"; // for as long a new state of the page leaves it alone
      setTimeout(() => { button.textContent = "Copy"; delete button.dataset.said; }, 1500);
    };
    const text = copied(document.getElementById(button.dataset.copy)).then((words) => new Blob([words], { type: "text/plain" }));
    navigator.clipboard.write([new ClipboardItem({ "text/plain": text })]).then(() => say("Copied"), () => say("Not copied"));
  });

  // the words that are shown; of a link the document it leads to, fetched within the click: later a browser allows no copy
  async function copied(shown) {
    if (!shown.href) return shown.textContent;
    const answer = await fetch(shown.href);
    if (!answer.ok) throw new Error(answer.statusText);
    return answer.text();
  }

  // ---- filter of rows, as the address has it
  const wanted = () => new URLSearchParams(location.search).get("filter");
  function sift(text) {
    const words = text.toLowerCase().split(/\s+/);
    all("table[data-filter] tbody tr").forEach((row) => { row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word)); });
  }
  function sifter() {
    let field = $("#row-filter");
    const table = $("table[data-filter]");
    if (!field && table) {
      field = made("#sifter").firstChild;
      field.value = wanted();
      field.addEventListener("input", () => {
        const url = new URL(location);
        if (field.value) url.searchParams.set("filter", field.value); else url.searchParams.delete("filter");
        history.replaceState(history.state, "", url);
        sift(field.value);
      });
      (table.closest(".scroll") || table).before(field);
    }
    return field;
  }
  function slash() {
    const field = $("[data-slash]") || sifter();
    if (field) { field.focus(); field.select(); } else palette();
  }
  function step(by) {
    const rows = all("table.rows tbody tr").filter((row) => !row.hidden && $("a", row));
    const now = rows.findIndex((row) => row.contains(document.activeElement));
    const next = rows[Math.min(Math.max(now + by, 0), rows.length - 1)];
    if (next) { $("a", next).focus(); next.scrollIntoView({ block: "nearest" }); }
  }

  // ---- palette and help
  const made = (template) => $(template).content.cloneNode(true);
  function ask(template) { $("#dialog").replaceChildren(made(template)); $("#dialog").showModal(); }
  function follow(path) { // by a link like any other, so that it is history like any other
    const link = make("a", { href: path });
    $("#dialog").append(link);
    htmx.process(link);
    link.click();
    $("#dialog").close();
  }
  function match(text, name) {
    let at = -1, cost = 0;
    for (const letter of text) {
      const found = name.indexOf(letter, at + 1);
      if (found < 0) return -1;
      cost += found - at - 1;
      at = found;
    }
    return cost + name.length / 100;
  }
  async function palette() {
    ask("#finder");
    const field = $("#dialog input"), list = $("#found");
    let items, hasty, chosen = 0, shown = [];
    function choose(index) {
      chosen = Math.min(Math.max(index, 0), shown.length - 1);
      [...list.children].forEach((li, n) => { li.ariaSelected = n === chosen; });
      if (list.children[chosen]) { list.children[chosen].scrollIntoView({ block: "nearest" }); field.setAttribute("aria-activedescendant", list.children[chosen].id); }
    }
    function show() {
      if (!items) return;
      const text = field.value.toLowerCase().replaceAll(" ", "");
      shown = items.map((item) => [match(text, item.name.toLowerCase().replaceAll(" ", "")), item]).filter(([cost]) => cost >= 0).sort((a, b) => a[0] - b[0]).slice(0, 50).map(([, item]) => item);
      list.replaceChildren(...shown.map((item, n) => {
        const li = make("li", { id: `found-${n}`, role: "option" }, make("span", { textContent: item.name }), make("span", { className: "dim", textContent: item.kind }));
        li.addEventListener("click", () => follow(item.path));
        return li;
      }));
      if (!shown.length) list.append(make("li", { textContent: "nothing matches", className: "dim" }));
      choose(0);
    }
    field.addEventListener("input", show);
    field.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") choose(chosen + 1); else if (event.key === "ArrowUp") choose(chosen - 1);
      else if (event.key === "Enter") { if (shown[chosen]) follow(shown[chosen].path); else hasty = !items; } else return;
      event.preventDefault();
    });
    const answer = await fetch($("#finder").dataset.source);
    items = answer.ok ? await answer.json() : [];
    show();
    if (hasty && shown[0] && field.offsetParent) follow(shown[0].path); // Enter came first, and nobody has closed it since
  }
  let went = 0;
  const fold = () => $(".systems")?.removeAttribute("open");
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") fold();
    const held = event.ctrlKey || event.metaKey;
    if (held && event.key.toLowerCase() === "k") { event.preventDefault(); palette(); return; }
    if (held || event.altKey || $("#dialog").open || event.target.matches(CONTROLS)) {
      if (event.key === "Escape" && event.target.matches(CONTROLS)) event.target.blur();
      return;
    }
    if (Date.now() - went < 1500) {
      went = 0;
      const place = $(`.side [data-key="${CSS.escape(event.key)}"]`);
      if (place) { event.preventDefault(); place.click(); return; }
    }
    const keys = { "/": slash, "?": () => ask("#keys"), ":": palette, j: () => step(1), k: () => step(-1), g: () => { went = Date.now(); } };
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
  });
  decorate();
})();

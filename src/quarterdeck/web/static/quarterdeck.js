// Makes whole pages live and quick by keyboard. Without this file every page still works; it is only not fetched again by itself.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  const $ = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const make = (tag, given = {}, ...inside) => { const made = Object.assign(document.createElement(tag), given); made.append(...inside); return made; };

  // ---- news: one stream for all tabs. The tab that holds the lock listens and tells the others.
  const APART = 600, UNHEARD = 2;
  const channel = "BroadcastChannel" in window ? new BroadcastChannel("quarterdeck") : null;
  let last = 0, waiting = 0, fetched = Date.now(), busy = false, again = false, source = null, heard = false, lost = false, renewed = new Date(), stale = false;

  function sign() {
    const words = [lost && "connection lost, trying again…", stale && `not renewed since ${renewed.toISOString().slice(11, 19)} UTC`].filter(Boolean).join(" · ");
    if ($("#live") && $("#live").textContent !== words) $("#live").textContent = words;
  }
  function hear(message) {
    if (message.asks) { if (source) channel.postMessage({ open: source.readyState === EventSource.OPEN }); return; }
    if (message.open !== undefined) {
      if (message.open && lost) soon(); // whatever happened meanwhile was not heard
      [heard, lost] = [message.open, !message.open];
      sign();
    }
    const follows = document.body.dataset.follows;
    if (message.seq > last) { last = message.seq; if (!follows) soon(); }
    if (message.roots && follows && (!message.roots.length || follows === "*" || message.roots.includes(follows))) soon();
  }
  function tell(message) { hear(message); if (channel) channel.postMessage(message); }
  function listen() {
    source = new EventSource("/live");
    source.onopen = () => tell({ open: true });
    source.addEventListener("news", (event) => tell({ seq: Number(event.lastEventId) }));
    source.addEventListener("work", (event) => tell({ roots: JSON.parse(event.data) }));
    source.onerror = () => {
      tell({ open: false });
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
    };
    return new Promise(() => {}); // holds the lock for as long as the tab lives
  }
  if (channel) { channel.onmessage = (event) => hear(event.data); channel.postMessage({ asks: true }); }
  if (navigator.locks && channel) navigator.locks.request("quarterdeck-live", listen); else listen();
  addEventListener("pagehide", () => source && source.close());

  // ---- the page is fetched again when there is news, or when it has grown old; what the reader is doing is left alone.
  function soon() {
    if (document.hidden || waiting) return;
    waiting = setTimeout(refresh, Math.max(0, APART - (Date.now() - fetched)));
  }
  const dirty = (field) => field.type === "hidden" ? false : field.tagName === "SELECT" ? [...field.options].some((o) => o.selected !== o.defaultSelected) : field.value !== field.defaultValue;
  const CONTROLS = "input, textarea, select";
  const callbacks = {
    beforeNodeMorphed: (old, fresh) => {
      if (old.nodeName === "DETAILS" && old.dataset.state !== fresh.dataset?.state) old.open = fresh.open;
      return !(old.nodeType === 1 && (old.id === "dialog" || old.id === "live" || old.id === "charts" && old.dataset.drawn || old.id === "answer" || old.dataset.said || old.matches(CONTROLS) && (dirty(old) || old === document.activeElement)));
    },
    beforeAttributeUpdated: (name) => name !== "open",
    beforeNodeRemoved: (old) => !(old.nodeType === 1 && old.dataset.kept),
  };
  async function refresh() {
    waiting = 0;
    if (busy) { again = true; return; }
    if ($("#dialog").open || !Number(document.body.dataset.every) || String(getSelection())) return;
    busy = true;
    const here = location.href;
    try {
      const answer = await fetch(here, { headers: { Accept: "text/html" } });
      if (answer.status === 401 || answer.status === 403) { location.reload(); return; }
      if (here !== location.href) return;
      stale = !answer.ok && answer.status !== 404; // what is not there any more is news, and drawn in the frame
      if (stale) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (here !== location.href) return;
      Idiomorph.morph(document.body, fresh.body.childNodes, { morphStyle: "innerHTML", callbacks });
      document.title = fresh.title;
      renewed = new Date();
      Object.assign(document.body.dataset, { every: fresh.body.dataset.every, follows: fresh.body.dataset.follows });
      htmx.process(document.body);
      decorate();
    } catch { stale = true; /* nobody answers: the next round tries again */ } finally {
      sign();
      busy = false;
      fetched = Date.now();
      if (again) { again = false; soon(); }
    }
  }
  setInterval(() => {
    const { every, follows } = document.body.dataset;
    const patience = Number(every) && (follows && !heard ? UNHEARD : Number(every)); // nobody tells of work: look more often
    if (patience && Date.now() - fetched > patience * 1000) soon();
  }, 500);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) soon(); });

  // ---- what pages carry only with scripts
  function decorate() {
    all("[data-origin]").forEach((span) => { span.textContent = location.origin; });
    const search = $("#row-filter");
    if (search) sift(search.value);
  }
  document.body.addEventListener("htmx:afterSettle", () => { fetched = Date.now(); renewed = new Date(); stale = false; sign(); decorate(); });
  document.body.addEventListener("htmx:historyRestore", decorate);
  document.body.addEventListener("htmx:configRequest", (event) => { event.detail.headers.Accept = "text/html"; });
  document.body.addEventListener("htmx:beforeSwap", ({ detail }) => {
    if (detail.xhr.status >= 500) return;
    detail.isError = false;
    detail.shouldSwap = detail.xhr.responseText.includes('id="dialog"');
    if (detail.shouldSwap) return;
    // turned away at the door, where no page is drawn: the words alone came
    if (detail.requestConfig.verb === "get") location.assign(detail.pathInfo.finalRequestPath);
    else $("#live").textContent = new DOMParser().parseFromString(detail.xhr.responseText, "text/html").querySelector("main").innerText;
  });
  document.body.addEventListener("htmx:afterSwap", (event) => {
    for (const name of ["every", "follows"]) {
      const found = new RegExp(`data-${name}="([^"]*)"`).exec(event.detail.xhr.responseText);
      if (found) document.body.dataset[name] = found[1];
    }
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy], #find, #help");
    if (!button) return;
    if (button.id === "find") return void palette();
    if (button.id === "help") return void help();
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

  // ---- filter of rows
  function sift(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    all("table[data-filter] tbody tr").forEach((row) => { row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word)); });
  }
  function slash() {
    let field = $("[data-slash]") || $("#row-filter");
    const table = $("table[data-filter]");
    if (!field && table) {
      field = make("input", { id: "row-filter", placeholder: "filter rows", autocomplete: "off" });
      field.dataset.kept = "yes";
      field.setAttribute("aria-label", "Filter rows");
      field.addEventListener("input", () => sift(field.value));
      (table.closest(".scroll") || table).before(field);
    }
    if (field) { field.focus(); field.select(); } else palette();
  }
  function step(by) {
    const rows = all("table.rows tbody tr").filter((row) => !row.hidden && $("a", row));
    const now = rows.findIndex((row) => row.contains(document.activeElement));
    const next = rows[Math.min(Math.max(now + by, 0), rows.length - 1)];
    if (next) { $("a", next).focus(); next.scrollIntoView({ block: "nearest" }); }
  }

  // ---- palette and help
  const follow = (path) => { $("#dialog").close(); htmx.ajax("GET", path, { target: "body", swap: "morph:innerHTML" }).then(() => { history.pushState({}, "", path); scrollTo(0, 0); }); };
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
    const dialog = $("#dialog"), field = make("input", { placeholder: "Go to a page, cluster, agent, replica, or do something", autocomplete: "off" });
    const list = make("ul", { id: "found" });
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-label", "Found");
    for (const [name, value] of [["role", "combobox"], ["aria-expanded", "true"], ["aria-controls", "found"], ["aria-label", "Find"]]) field.setAttribute(name, value);
    dialog.replaceChildren(field, list);
    dialog.showModal();
    const query = new URLSearchParams(location.search).get("system");
    const answer = await fetch("/palette" + (query ? `?system=${encodeURIComponent(query)}` : ""));
    const items = answer.ok ? await answer.json() : [];
    let chosen = 0, shown = [];
    function choose(index) {
      chosen = Math.min(Math.max(index, 0), shown.length - 1);
      [...list.children].forEach((li, n) => li.setAttribute("aria-selected", String(n === chosen)));
      if (list.children[chosen]) { list.children[chosen].scrollIntoView({ block: "nearest" }); field.setAttribute("aria-activedescendant", list.children[chosen].id); }
    }
    function show() {
      const text = field.value.toLowerCase().replaceAll(" ", "");
      shown = items.map((item) => [match(text, item.name.toLowerCase().replaceAll(" ", "")), item]).filter(([cost]) => cost >= 0).sort((a, b) => a[0] - b[0]).slice(0, 50).map(([, item]) => item);
      list.replaceChildren(...shown.map((item, n) => {
        const li = make("li", { id: `found-${n}` }, make("span", { textContent: item.name }), make("span", { className: "dim", textContent: item.kind }));
        li.setAttribute("role", "option");
        li.addEventListener("click", () => follow(item.path));
        return li;
      }));
      if (!shown.length) list.append(make("li", { textContent: "nothing matches", className: "dim" }));
      choose(0);
    }
    field.addEventListener("input", show);
    field.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") choose(chosen + 1); else if (event.key === "ArrowUp") choose(chosen - 1);
      else if (event.key === "Enter" && shown[chosen]) follow(shown[chosen].path); else return;
      event.preventDefault();
    });
    show();
  }
  function help() {
    const keys = [["Ctrl K or :", "find anything"], ["/", "filter"], ["j k", "next and previous row"], ["Enter", "open"], ["?", "this help"], ["Esc", "close"], ...all(".side [data-key]").map((a) => [`g ${a.dataset.key}`, a.textContent])];
    const table = make("table", {}, make("caption", { textContent: "Keys", className: "hidden" }), ...keys.map(([key, words]) => make("tr", {}, make("td", {}, make("kbd", { textContent: key })), make("td", { textContent: words }))));
    const close = make("button", { textContent: "Close", type: "button", className: "quiet" });
    close.addEventListener("click", () => $("#dialog").close());
    $("#dialog").replaceChildren(table, close);
    $("#dialog").showModal();
  }
  let went = 0;
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") { event.preventDefault(); palette(); return; }
    if (event.ctrlKey || event.metaKey || event.altKey || $("#dialog").open || event.target.matches(CONTROLS)) {
      if (event.key === "Escape" && event.target.matches(CONTROLS)) event.target.blur();
      return;
    }
    if (Date.now() - went < 1500) {
      went = 0;
      const place = $(`.side [data-key="${CSS.escape(event.key)}"]`);
      if (place) { event.preventDefault(); place.click(); return; }
    }
    const keys = { "/": slash, "?": help, ":": palette, j: () => step(1), k: () => step(-1), g: () => { went = Date.now(); } };
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
  });
  decorate();
})();

// The charts of a replica's page: the last ten minutes from the API, a missing heartbeat drawn as a gap.
"use strict";
(() => {
  const SHOWN = [["lag_ms", "Loop lag", "ms", 1], ["inflight", "In flight", "", 1], ["memory_bytes", "Memory", "MiB", 1 / 1048576], ["cpu", "Processor", "% of a core", 100], ["handled", "Handled", "a second", 1], ["beat_age", "Heartbeat age", "s", 1]];
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
  const utc = (at, length) => new Date(at * 1000).toISOString().slice(11, 11 + length);
  let drawn = [], box = null, loading = null;

  function library() {
    loading ??= new Promise((resolve) => {
      const style = document.createElement("link"), script = document.createElement("script");
      Object.assign(style, { rel: "stylesheet", href: "/static/vendor/uPlot.min.css" });
      Object.assign(script, { src: "/static/vendor/uPlot.iife.min.js", onload: () => resolve(true), onerror: () => resolve(false) });
      document.head.append(style, script);
    });
    return loading;
  }

  function columns(samples) {
    const at = samples.columns.indexOf("at"), rows = samples.rows, old = samples.columns.indexOf("beat_age"), life = samples.columns.indexOf("incarnation");
    const times = rows.map((row) => row[at]);
    const rate = (name) => { const c = samples.columns.indexOf(name); return rows.map((row, n) => n === 0 || row[life] !== rows[n - 1][life] ? null : (row[c] - rows[n - 1][c]) / (row[at] - rows[n - 1][at])); };
    const plain = (name) => { const c = samples.columns.indexOf(name); return rows.map((row) => row[c]); };
    const of = (name) => name === "cpu" ? rate("cpu_seconds") : name === "handled" ? rate("handled") : plain(name);
    const gone = rows.map((row) => row[old] === null || row[old] > 2.5);
    return { times, of: (name, by) => of(name).map((value, n) => gone[n] && name !== "beat_age" || value === null ? null : value * by) };
  }
  async function draw() {
    const now = document.getElementById("charts");
    if (!now || document.hidden || !(await library())) return;
    const query = now.dataset.system ? `?system=${encodeURIComponent(now.dataset.system)}` : "";
    const answer = await fetch(now.dataset.source + query).catch(() => null);
    if (!answer || !answer.ok) return;
    const { times, of } = columns((await answer.json()).samples);
    if (!times.length) return;
    if (box !== now || !now.dataset.drawn) {
      drawn.forEach(([plot]) => plot.destroy());
      now.replaceChildren();
      drawn = SHOWN.map(([name, title, unit, by]) => {
        const figure = document.createElement("figure"), caption = document.createElement("figcaption");
        caption.textContent = unit ? `${title}, ${unit}` : title;
        figure.append(caption);
        now.append(figure);
        const axis = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
        const options = { width: Math.max(figure.clientWidth - 26, 120), height: 120, cursor: { sync: { key: "replica" } }, scales: { y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.1 : 1] } },
          axes: [{ ...axis, size: 24, space: 70, values: (_, ticks, _axis, _space, apart) => ticks.map((at) => utc(at, apart < 60 ? 8 : 5)) }, { ...axis, size: 44 }], series: [{ value: (_, at) => at === null ? "" : `${utc(at, 8)} UTC` }, { label: title, stroke: colour("--accent"), width: 1.4, spanGaps: false, points: { show: false } }] };
        return [new uPlot(options, [times, of(name, by)], figure), name, by];
      });
      now.dataset.drawn = "yes";
      box = now;
    } else {
      drawn.forEach(([plot, name, by]) => plot.setData([times, of(name, by)]));
    }
  }
  addEventListener("load", draw);
  document.body.addEventListener("htmx:afterSettle", draw);
  setInterval(draw, 2000);
})();

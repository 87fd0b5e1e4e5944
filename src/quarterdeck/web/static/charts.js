// The charts of a replica's page: the last minutes, a missing heartbeat drawn as a gap.
"use strict";
(() => {
  const SHOWN = [["lag_ms", 1], ["inflight", 1], ["memory_bytes", 1 / 1048576], ["cpu", 1], ["handled", 1], ["beat_age", 1]]; // as the page names them
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
    const column = (name) => samples.columns.indexOf(name), span = 60 * (new URLSearchParams(location.search).get("minutes") || 10);
    const at = column("at"), old = column("beat_age"), life = column("incarnation"), rows = samples.rows.filter((row) => row[at] > samples.rows.at(-1)[at] - span);
    const times = rows.map((row) => row[at]);
    const rate = (name) => { const c = column(name); return rows.map((row, n) => n === 0 || row[life] !== rows[n - 1][life] ? null : (row[c] - rows[n - 1][c]) / (row[at] - rows[n - 1][at])); };
    const plain = (name) => rows.map((row) => row[column(name)]);
    const of = (name) => name === "cpu" ? rate("cpu_seconds") : name === "handled" ? rate("handled") : plain(name);
    const gone = rows.map((row) => row[old] === null || row[old] > 2.5);
    return { times, of: (name, by) => of(name).map((value, n) => gone[n] && name !== "beat_age" || value === null ? null : value * by) };
  }
  async function draw() {
    const now = document.getElementById("charts");
    if (!now || document.hidden || !(await library())) return;
    const answer = await fetch(now.dataset.source).catch(() => null);
    if (!answer || !answer.ok) return;
    const { times, of } = columns((await answer.json()).samples);
    if (!times.length) return;
    if (box !== now || !now.dataset.drawn) {
      drawn.forEach(([plot]) => plot.destroy());
      drawn = SHOWN.map(([name, by], nth) => {
        const figure = now.children[nth], value = figure.lastElementChild;
        figure.querySelector("svg")?.remove();
        const axis = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
        const tell = (plot) => {
          const n = plot.cursor.idx ?? plot.data[0].length - 1, y = plot.data[1][n];
          value.textContent = `${y == null ? "no data" : `${+y.toPrecision(3)} ${value.dataset.unit}`} at ${utc(plot.data[0][n], 8)} UTC`;
        };
        const options = { legend: { show: false }, hooks: { ready: [tell], setCursor: [tell], setData: [tell] }, width: Math.max(figure.clientWidth - 26, 120), height: 120, cursor: { sync: { key: "replica" } }, scales: { y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.1 : 1] } },
          axes: [{ ...axis, size: 24, space: 70, values: (_, ticks, _axis, _space, apart) => ticks.map((at) => utc(at, apart < 60 ? 8 : 5)) }, { ...axis, size: 44 }], series: [{}, { stroke: colour("--accent"), width: 1.4, spanGaps: false, points: { show: false } }] };
        const plot = new uPlot(options, [times, of(name, by)], figure);
        figure.append(value);
        return [plot, name, by];
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

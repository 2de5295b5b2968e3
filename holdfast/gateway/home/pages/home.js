// Keeps the home page's figures live: asks /home/figures each second and shows what changed.
// The server only counts; rates and last-minute percentiles are differences of two answers.

import { quantile, difference } from "/static/shell/histogram.js";
import { drawSpark } from "/static/shell/spark.js";

const POLL_MS = 1000;
const WINDOW_MS = 60_000;
const SPARK_POINTS = 60;

const live = document.querySelector("#live");
const samples = []; // of the last minute, the oldest first
const rates = [];

const number = new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: 0 });
const share = new Intl.NumberFormat(document.documentElement.lang, { style: "percent", maximumFractionDigits: 2 });

function milliseconds(value) {
  if (value === null) return "–";
  return value < 10 ? value.toFixed(1) : number.format(value);
}

function show(name, text) {
  live.querySelector(`[data-live="${name}"]`).textContent = text;
}

function showNotice(text) {
  const notice = live.querySelector('[data-live="notice"]');
  notice.hidden = !text;
  notice.textContent = text;
}

function showLive(figures) {
  const now = { at_ms: performance.now(), figures };
  const before = samples.at(-1);
  samples.push(now);
  while (now.at_ms - samples[0].at_ms > WINDOW_MS) samples.shift();

  show("in_flight", number.format(figures.in_flight));
  showNotice(figures.silent.length ? live.dataset.silent + figures.silent.join(", ") : "");
  if (!before) return;

  // A worker that restarted counts from zero again: show nothing negative.
  const elapsed_s = (now.at_ms - before.at_ms) / 1000;
  const rate = Math.max(0, figures.requests - before.figures.requests) / elapsed_s;
  rates.push(rate);
  if (rates.length > SPARK_POINTS) rates.shift();
  show("rate", number.format(rate));
  drawSpark(live.querySelector('[data-live="spark"]'), rates, SPARK_POINTS);

  const start = samples[0].figures;
  const requests = Math.max(0, figures.requests - start.requests);
  const errors = Math.max(0, figures.errors - start.errors);
  show("errors", requests ? share.format(errors / requests) : "–");
  const buckets = difference(figures.buckets, start.buckets);
  show("p50", milliseconds(quantile(buckets, 0.5)));
  show("p95", milliseconds(quantile(buckets, 0.95)));
  show("p99", milliseconds(quantile(buckets, 0.99)));
}

function showRoutes(routes) {
  if (!routes.length) return;
  const template = document.querySelector("#route-row");
  const rows = routes.map((route) => {
    const row = template.content.cloneNode(true);
    const cell = (name) => row.querySelector(`[data-field="${name}"]`);
    cell("name").textContent = `${route.method} ${route.route}`;
    cell("requests").textContent = number.format(route.requests);
    cell("errors").textContent = number.format(route.errors);
    for (const name of ["p50_ms", "p95_ms", "p99_ms"]) {
      cell(name).textContent = milliseconds(route[name]);
    }
    return row;
  });
  document.querySelector("#routes tbody").replaceChildren(...rows);
}

function showProcesses(processes) {
  const headline = document.querySelector("#headline");
  const trouble = processes.filter((process) => process.state !== "running").map(({ name }) => name);
  headline.textContent = trouble.length ? headline.dataset.trouble + trouble.join(", ") : headline.dataset.running;

  const table = document.querySelector("#processes");
  for (const process of processes) {
    const row = table.querySelector(`[data-process="${CSS.escape(process.name)}"]`);
    if (!row) return location.reload(); // the set of processes is another one
    const state = row.querySelector('[data-field="state"]');
    state.dataset.state = process.state;
    state.textContent = table.dataset[process.state];
    row.querySelector('[data-field="pid"]').textContent = process.pid ?? "–";
    row.querySelector('[data-field="restarts"]').textContent = process.restarts;
  }
}

async function poll() {
  try {
    const answer = await fetch("/home/figures", { signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(`figures: ${answer.status}`);
    const figures = await answer.json();
    showLive(figures);
    showRoutes(figures.routes);
    showProcesses(figures.processes);
    live.classList.remove("lost");
  } catch {
    live.classList.add("lost");
    showNotice(live.dataset.lost);
  }
  setTimeout(poll, POLL_MS);
}

if (live) poll();

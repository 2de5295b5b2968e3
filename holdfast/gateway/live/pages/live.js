// The live view: each second the workers' figures, and each open deal's ledger.
//
// The ledgers are public, the figures are for operators. The server only counts; rates and the last
// minute's percentile are differences of two readings.

import { ask, read } from "/static/shell/api.js";
import { difference, quantile } from "/static/shell/histogram.js";
import { has, lang, say } from "/static/shell/say.js";
import { copyOf, fill } from "/static/shell/slots.js";
import { drawSpark } from "/static/shell/spark.js";

const POLL_MS = 1_000;
const DEALS_EVERY_MS = 5_000;
const WINDOW_S = 60;

const plain = new Intl.NumberFormat(lang, { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat(lang, { maximumFractionDigits: 1, minimumFractionDigits: 1 });
const part = (id) => document.querySelector(`#${id}`);

// -- The workers' figures --

const readings = []; // of the last minute, the oldest first
const rates = [];

function showFigures(figures) {
  part("tiles").hidden = false;
  part("details").hidden = false;
  notice(figures.silent.length ? say("silent", { workers: figures.silent.join(", ") }) : figures.answering.length ? "" : say("alone"));
  const before = readings.at(-1);
  // Another worker may have answered, with a reading that is older.
  if (before && figures.read_at <= before.read_at) return;
  readings.push(figures);
  while (figures.read_at - readings[0].read_at > WINDOW_S) readings.shift();

  figure("queued", plain.format(figures.queued));
  showBreakers(figures.breakers);
  const elapsed_s = before ? figures.read_at - before.read_at : 0;
  showCounts("outcomes", figures.orders, before?.orders, elapsed_s, "outcome_");
  showCounts("refusals", figures.refused, before?.refused, elapsed_s, "reason_");
  if (!before) return;
  const rate = grown(figures.orders.placed, before.orders.placed) / elapsed_s;
  rates.push(rate);
  if (rates.length > WINDOW_S) rates.shift();
  figure("rate", plain.format(rate));
  drawSpark(part("spark"), rates, WINDOW_S);
  figure("refused", plain.format(grown(sum(figures.refused), sum(before.refused)) / elapsed_s));
  const p99_ms = quantile(difference(figures.place_order, readings[0].place_order), 0.99);
  figure("p99", p99_ms === null ? "–" : `${(p99_ms < 10 ? fine : plain).format(p99_ms)} ms`);
}

const sum = (counts) => Object.values(counts).reduce((all, count) => all + count, 0);

// A worker that restarted counts from zero again: nothing is shown that is negative.
const grown = (later = 0, earlier = 0) => Math.max(0, later - earlier);

function figure(name, text) {
  document.querySelector(`[data-figure="${name}"]`).textContent = text;
}

function showCounts(id, counts, before, elapsed_s, words) {
  const rows = Object.entries(counts).map(([name, count]) => fill(copyOf("count"), {
    name: has(words + name) ? say(words + name) : name.replaceAll("-", " "),
    rate: elapsed_s ? plain.format(grown(count, before[name]) / elapsed_s) : "–",
    total: plain.format(count),
  }));
  showRows(id, rows);
}

function showBreakers(breakers) {
  const rows = breakers.map(({ upstream, workers }) => fill(copyOf("breaker"), {
    name: upstream,
    state: Object.entries(workers)
      .map(([state, count]) => say("workers", { count, state: has(`state_${state}`) ? say(`state_${state}`) : state }))
      .join(", "),
  }));
  showRows("breakers", rows);
}

function showRows(id, rows) {
  const table = part(id);
  table.tBodies[0].replaceChildren(...rows);
  table.hidden = !rows.length;
  table.nextElementSibling.hidden = rows.length > 0;
}

function notice(text) {
  part("notice").hidden = !text;
  part("notice").textContent = text;
}

async function pollFigures() {
  const { status, body } = await ask("GET", "/api/v1/live/figures");
  part("signed-out").hidden = status !== 401;
  part("not-permitted").hidden = status !== 403;
  if (status === 401 || status === 403) return; // nothing changes until somebody signs in
  document.body.classList.toggle("lost", status !== 200);
  if (status === 200) showFigures(body);
  else notice(say("lost"));
  setTimeout(pollFigures, POLL_MS);
}

// -- Each open deal's ledger --

const rows = new Map(); // by the deal's id

async function pollDeals() {
  const deals = await read("/api/v1/products/deals?limit=100");
  if (deals) {
    const there = new Set(deals.data.map((deal) => deal.id));
    for (const [id, row] of rows) if (!there.has(id)) { row.remove(); rows.delete(id); }
    for (const deal of deals.data) if (!rows.has(deal.id)) rows.set(deal.id, newRow(deal));
    part("none-open").hidden = rows.size > 0;
  }
  setTimeout(pollDeals, DEALS_EVERY_MS);
}

function newRow(deal) {
  const row = fill(copyOf("ledger"), { name: deal.name });
  row.querySelector("a").href = `/shop/offers/${deal.id}`;
  showLedger(row, { initial: deal.quota, sold: 0, held: 0, remaining: deal.quota, places: 0 }, "untouched");
  part("ledgers").append(row);
  pollLedger(deal.id, row);
  return row;
}

async function pollLedger(id, row) {
  const ledger = await read(`/api/v1/offers/${id}/ledger`); // there is none before the first order
  if (ledger) {
    const { initial, sold, held, remaining } = ledger.data;
    showLedger(row, ledger.data, sold + held + remaining === initial ? "holds" : "broken");
  }
  if (rows.get(id) === row) setTimeout(() => pollLedger(id, row), POLL_MS);
}

function showLedger(row, ledger, state) {
  const { initial, sold, held, remaining, places } = ledger;
  for (const [name, count] of Object.entries({ sold, held, remaining })) {
    const element = row.querySelector(`[data-part="${name}"]`);
    element.hidden = !count;
    element.style.flexGrow = count;
    fill(row, { [name]: plain.format(count) });
  }
  fill(row, { initial: plain.format(initial), holds: say(state), places: places ? say("places", { places: plain.format(places) }) : "" });
  row.querySelector(".state").dataset.state = { holds: "running", broken: "broken" }[state] ?? "";
}

pollDeals();
pollFigures();

// The shop's window: deals that are open, deals to come, and products.
//
// A deal moves to the open ones by the server's clock and by itself. Nothing is asked at that moment,
// at which everybody would ask.

import { read } from "/static/shell/api.js";
import { say } from "/static/shell/say.js";
import { copyOf, fill } from "/static/shell/slots.js";
import { countDown, deviceAhead, now, ready } from "./clock.js";
import "./person.js";
import { discountOf, duration, number, won } from "./show.js";

const LOOK_AGAIN_MS = 5_000;
const SPREAD_MS = 3_000;
const MOST_DEALS = 100;

const open = document.querySelector("#open");
const upcoming = document.querySelector("#upcoming");
const cards = new Map(); // by the deal's id

class Card {
  constructor(deal) {
    this.element = copyOf("deal");
    this.tell(deal);
  }

  tell(deal) {
    const moved = this.deal?.opens_at !== deal.opens_at || this.deal?.closes_at !== deal.closes_at;
    this.deal = deal;
    const discount = discountOf(deal);
    fill(this.element, {
      name: deal.name,
      price: won(deal.price_krw),
      usual: discount && won(deal.usual_price_krw),
      discount,
    });
    this.element.querySelector("a").href = `/shop/offers/${deal.id}`;
    this.tellStock();
    if (moved) this.place();
  }

  tellStock(stock = null) {
    const { deal } = this;
    if (stock) this.remaining = stock.remaining;
    const gone = this.isOpen && (stock ? !stock.remaining : deal.sold_out);
    const known = this.isOpen && this.remaining !== undefined;
    fill(this.element, {
      left: gone ? say("sold_out") : say("left_of", { left: number(known ? this.remaining : deal.quota), quota: number(deal.quota) }),
    });
    this.element.classList.toggle("gone", gone);
  }

  get isOpen() {
    return Date.parse(this.deal.opens_at) <= now();
  }

  // Among the open ones or those to come, in the order in which something happens to them.
  place() {
    this.stop?.();
    const isOpen = this.isOpen;
    const end = isOpen ? "closes_at" : "opens_at";
    const end_ms = Date.parse(this.deal[end]);
    fill(this.element, { until: say(isOpen ? "closes_in" : "opens_in") });
    const list = (isOpen ? open : upcoming).querySelector("ul");
    this.end_ms = end_ms;
    const later = [...list.children].find((one) => one !== this.element && one.card.end_ms > end_ms);
    this.element.card = this;
    list.insertBefore(this.element, later ?? null);
    tellEmpty();
    this.stop = countDown(end_ms, (left_ms) => {
      fill(this.element, { countdown: duration(left_ms) });
      if (!left_ms) queueMicrotask(() => (isOpen ? this.remove() : this.begin()));
    });
  }

  begin() {
    this.place();
    this.tellStock();
    document.querySelector("#heard").textContent = say("has_opened", { name: this.deal.name });
  }

  remove() {
    this.stop();
    this.element.remove();
    cards.delete(this.deal.id);
    tellEmpty();
  }
}

function tellEmpty() {
  for (const section of [open, upcoming]) {
    section.querySelector(".empty").hidden = section.querySelector("ul").children.length > 0;
    section.removeAttribute("aria-busy");
  }
}

async function lookAtDeals() {
  const lists = await Promise.all([
    read(`/api/v1/products/deals?limit=${MOST_DEALS}`),
    read(`/api/v1/products/deals/upcoming?limit=${MOST_DEALS}`),
  ]);
  if (!lists.includes(null)) {
    const deals = lists.flatMap((list) => list.data).filter((deal) => Date.parse(deal.closes_at) > now());
    const there = new Set(deals.map((deal) => deal.id));
    for (const [id, card] of cards) if (!there.has(id)) card.remove();
    for (const deal of deals) {
      if (cards.has(deal.id)) cards.get(deal.id).tell(deal);
      else cards.set(deal.id, new Card(deal));
    }
    tellEmpty();
  }
  await Promise.all([...cards.values()].filter((card) => card.isOpen).map(lookAtStock));
  fill(document, { ahead: deviceAhead() });
}

async function lookAtStock(card) {
  const stock = await read(`/api/v1/offers/${card.deal.id}/stock`);
  if (stock) card.tellStock(stock.data);
}

async function keepLooking() {
  if (!document.hidden) await lookAtDeals();
  setTimeout(keepLooking, LOOK_AGAIN_MS + Math.random() * SPREAD_MS);
}

// -- Products: the address says which, so that a page of them can be sent to a friend --

const asked = new URLSearchParams(location.search);
const chosen = { category: asked.get("category"), sort: asked.get("sort") ?? "newest" };
let cursor = null;
let shown = 0;

function chip(told, text) {
  const link = document.createElement("a");
  const query = Object.entries({ ...chosen, ...told }).filter(([, value]) => value);
  link.href = `?${new URLSearchParams(query)}#products`;
  link.textContent = text;
  return link;
}

async function showCategories() {
  const chips = document.querySelector(".chips");
  const [all] = chips.children;
  if (!chosen.category) all.setAttribute("aria-current", "true");
  const categories = await read("/api/v1/categories?limit=100");
  for (const { name } of categories?.data ?? []) {
    const link = chip({ category: name }, name.replaceAll("-", " "));
    if (name === chosen.category) link.setAttribute("aria-current", "true");
    chips.append(link);
  }
  for (const link of document.querySelectorAll("[data-sort]")) {
    link.href = chip({ sort: link.dataset.sort }, "").href;
    if (link.dataset.sort === chosen.sort) link.setAttribute("aria-current", "true");
  }
}

async function showProducts() {
  const query = new URLSearchParams({ sort: chosen.sort, limit: 24 });
  if (chosen.category) query.set("category", chosen.category);
  if (cursor) query.set("cursor", cursor);
  const page = await read(`/api/v1/products?${query}`);
  if (!page) return;
  const first = [];
  for (const product of page.data) {
    const good = fill(copyOf("good"), { name: product.name, category: product.category.replaceAll("-", " "), price: won(product.price_krw) });
    good.querySelector("a").href = `/shop/offers/${product.id}`;
    first.push(good);
  }
  document.querySelector(".goods").append(...first);
  if (cursor) first[0]?.querySelector("a").focus(); // whoever asked for more reads on there
  cursor = page.next_cursor;
  shown += page.data.length;
  document.querySelector("#more").hidden = !cursor;
  const total = number(page.total) + (page.total_exact ? "" : "+");
  fill(document, { shown: say("shown_of", { shown: number(shown), total }) });
}

document.querySelector("#more").addEventListener("click", showProducts);
showCategories();
showProducts();
await ready;
keepLooking();

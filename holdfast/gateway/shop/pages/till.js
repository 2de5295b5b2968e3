// The till of an offer's page: shows what is known. It asks nothing and decides nothing.

import { say } from "/static/shell/say.js";
import { copyOf, fill, reveal } from "/static/shell/slots.js";
import { countDown, deviceAhead } from "./clock.js";
import { kindOf } from "./order_words.js";
import { discountOf, duration, moment, number, won } from "./show.js";
import { closesAt, isOpen, itemOf, known, mayBuy, nextMoment, view } from "./standing.js";

const page = document.querySelector("#offer");
const till = document.querySelector(".till");
const quantity = document.querySelector("#quantity");
const notice = document.querySelector("#notice");

export const buyButton = document.querySelector("#buy");

let reached = () => {};
let stopClock = () => {};
let clockIs = "";

// `then(name)` is called when a moment has come that was counted down to.
export function whenReached(then) {
  reached = then;
}

export function render() {
  const focused = document.activeElement.closest("[data-view]");
  reveal(till, "view", view());
  // Whoever pressed what is gone goes on from here, and not from the top of the page.
  if (focused?.hidden) till.focus();
  if (!known.offer) return;
  renderClock();
  renderBuy();
  renderTurn();
  renderOutcome();
}

function renderClock() {
  const [name, at_ms] = nextMoment() ?? ["", 0];
  if (clockIs === `${name} ${at_ms}`) return;
  clockIs = `${name} ${at_ms}`;
  stopClock();
  document.querySelector("#clock").hidden = !name;
  if (!name) return;
  fill(till, { until: say(name) });
  stopClock = countDown(at_ms, (left_ms) => {
    fill(till, { countdown: duration(left_ms) });
    if (!left_ms) queueMicrotask(() => reached(name));
  });
}

export function renderBuy() {
  const may = known.signedIn ? mayBuy() : 1;
  document.querySelector("#amount").hidden = may < 2;
  document.querySelector("#early").hidden = isOpen();
  quantity.max = may;
  // Not `disabled`: whoever waits for the opening keeps the focus on it.
  buyButton.setAttribute("aria-disabled", String(!isOpen() || known.asking));
  const price = won(known.offer.price_krw * wanted());
  if (!known.asking) buyButton.textContent = say("buy_for", { price });
}

export const wanted = () => Math.min(Math.max(Math.trunc(quantity.value) || 1, 1), Math.max(mayBuy(), 1));

function renderTurn() {
  const { turn } = known;
  if (!turn) return;
  const waiting = turn.state === "waiting";
  fill(till, {
    room_label: say(waiting ? "room_before" : "room_gathering"),
    room_value: number(waiting ? turn.position : turn.people),
    room_people: waiting ? say("room_people", { people: number(turn.people) }) : say("room_draw"),
  });
}

function renderOutcome() {
  if (known.won) {
    fill(till, { won: number(itemOf(known.won).place) });
    document.querySelector("#to-payment").href = `/shop/orders/${known.won.id}`;
  }
  if (known.line) {
    fill(till, {
      line_place: number(known.line.position),
      line_total: say("line_total", { total: number(known.line.total) }),
    });
  }
  const others = known.orders.filter((order) => order.id !== known.won?.id);
  till.querySelector(".mine").replaceChildren(...others.map(myOrder));
}

function myOrder(order) {
  const row = fill(copyOf("my-order"), {
    status: say(`status_${order.status}`),
    place: say("place", { place: number(itemOf(order).place) }),
    look: say(order.status === "reserved" ? "pay_now" : "look"),
  });
  row.querySelector(".tag").dataset.kind = kindOf(order.status);
  row.querySelector("a").href = `/shop/orders/${order.id}`;
  return row;
}

export function renderOffer() {
  const { offer } = known;
  const discount = discountOf(offer);
  document.title = `${offer.name} · Holdfast`;
  fill(page, {
    name: offer.name,
    price: won(offer.price_krw),
    usual: discount && won(offer.usual_price_krw),
    discount,
    opens: offer.opens_at ? moment(offer.opens_at) : say("always"),
    closes: closesAt() < Infinity ? moment(closesAt()) : say("never"),
    each_may: offer.per_customer ? number(offer.per_customer) : say("any_number"),
    ahead: offer.opens_at ? deviceAhead() : null,
  });
  page.removeAttribute("aria-busy");
}

export function renderStock() {
  const { remaining, held, sold } = known.stock;
  for (const [name, count] of Object.entries({ remaining, held, sold })) {
    const part = document.querySelector(`#stock [data-part="${name}"]`);
    part.hidden = !count;
    part.style.flexGrow = count;
  }
  const counts = { remaining: number(remaining), held: number(held), sold: number(sold) };
  fill(page, { stock: say("stock", counts) });
  document.querySelector("#stock").hidden = false;
}

export function describe(text) {
  fill(page, { description: text || null });
}

export function tell(text, kind = "") {
  notice.hidden = !text;
  notice.dataset.kind = kind;
  notice.textContent = text;
}

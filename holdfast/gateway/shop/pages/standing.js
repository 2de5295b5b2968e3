// What is known of one offer and of whoever looks at it, and which view of the till follows from it.

import { ask } from "/static/shell/api.js";
import { now } from "./clock.js";

const HOLDS = new Set(["reserved", "paid"]);
const MOST = 1000; // units of an order

export const { offer: id } = document.querySelector("#offer").dataset;

export const known = {
  offer: null,
  signedIn: true,
  orders: [], // of mine, for this
  stock: null,
  turn: null, // in the waiting room
  line: null, // the place in line
  won: null, // the order that was just made
  soldOut: false,
  limit: false,
  over: false,
  asking: false,
};

// A deal, or a product at its usual price; null if there is neither.
export async function readOffer() {
  const deal = await ask("GET", `/api/v1/products/deals/${id}`);
  if (deal.status === 200) return deal.body.data;
  const product = await ask("GET", `/api/v1/products/${id}`);
  if (product.status !== 200) return null;
  const { data } = product.body;
  return { ...data, usual_price_krw: data.price_krw };
}

export const opensAt = () => (known.offer.opens_at ? Date.parse(known.offer.opens_at) : -Infinity);
export const closesAt = () => Date.parse(known.offer.withdrawn_at ?? known.offer.closes_at) || Infinity;
export const isOpen = () => now() >= opensAt();
export const isOver = () => known.over || now() >= closesAt();
export const hasRoom = () => Boolean(known.offer.admit_per_s);
export const itemOf = (order) => order.items.find((item) => item.offer_id === id);

// How many more this customer may have, as far as we know; the server decides.
export function mayBuy() {
  const holding = known.orders.filter((order) => HOLDS.has(order.status));
  const had = holding.reduce((sum, order) => sum + itemOf(order).quantity, 0);
  return Math.min((known.offer.per_customer ?? Infinity) - had, MOST);
}

export function view() {
  if (!known.offer) return "missing";
  if (known.won) return "won";
  if (isOver()) return "over";
  if (known.line) return "line";
  if (mayBuy() < 1 || known.limit) return "limit";
  if (isOpen() && known.soldOut) return "sold_out";
  if (!known.signedIn) return "sign_in";
  if (hasRoom() && !known.asking) return roomView();
  return "buy";
}

function roomView() {
  switch (known.turn?.state) {
    case undefined: return "enter";
    case "admitted": return "buy";
    case "missed": return "missed";
    case "used": return "used";
    default: return "room";
  }
}

// The one moment that matters now: the opening, one's turn, the time to pay, the closing.
export function nextMoment() {
  const { turn, won } = known;
  switch (view()) {
    case "won": return ["pay_within", Date.parse(won.held_until)];
    case "over": return null;
    case "room": if (turn.turn_at) return ["turn_in", Date.parse(turn.turn_at)];
  }
  if (!isOpen()) return ["opens_in", opensAt()];
  if (turn?.state === "admitted") return ["turn_ends_in", Date.parse(turn.expires_at)];
  return closesAt() < Infinity ? ["closes_in", closesAt()] : null;
}

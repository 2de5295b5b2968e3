// One offer: waited for, bought once, or waited for in line.
//
// Whatever happens changes what is known (standing.js) and then calls `render` (till.js).

import { askUntilAnswered, pause, problem, read } from "/static/shell/api.js";
import { say } from "/static/shell/say.js";
import { countDown, measure, now, ready } from "./clock.js";
import { forget, intend, unanswered } from "./intention.js";
import { watchLine } from "./line.js";
import { signedIn, toSignIn } from "./person.js";
import { watchRoom } from "./room.js";
import { duration } from "./show.js";
import { hasRoom, id, isOpen, isOver, itemOf, known, mayBuy, opensAt, readOffer } from "./standing.js";
import { buyButton, describe, render, renderBuy, renderOffer, renderStock, tell, wanted, whenReached } from "./till.js";
import { showWinners } from "./winners.js";

const STOCK_EVERY_MS = 3_000;
const SOON_MS = 5_000; // so much too early, whoever has clicked is asked for once more at the opening

// -- Buying --

async function buy() {
  if (!isOpen() || known.asking || mayBuy() < 1) return;
  const admission = known.turn?.admission ?? null;
  await carryOut(unanswered(id) ?? intend(id, { quantity: wanted(), admission }));
}

async function carryOut(intention) {
  known.asking = true;
  buyButton.textContent = say("asking");
  tell("");
  render();
  const answer = await askUntilAnswered("POST", "/api/v1/orders", requestOf(intention), tellWaiting);
  stopTelling();
  await understand(answer, intention);
  known.asking = false;
  render();
}

function requestOf({ key, quantity, admission }) {
  const headers = { "Idempotency-Key": key, ...(admission && { Admission: admission }) };
  return { body: { items: [{ offer_id: id, quantity }] }, headers };
}

let stopTelling = () => {};

function tellWaiting(why, pause_ms) {
  stopTelling();
  tell(say(`again_${why}`), "warn");
  stopTelling = countDown(now() + pause_ms, (left_ms) => {
    buyButton.textContent = left_ms ? say("again_in", { left: duration(left_ms) }) : say("asking");
  });
}

// A refusal leaves nothing behind, so the next click is another intention. Only whoever must sign in
// first, or was a moment too early, still has this one.
async function understand(answer, intention) {
  if (answer.status === 401) return location.assign(toSignIn);
  const name = answer.status === 201 ? "placed" : problem(answer);
  if (name === "too-early" && await isSoon()) {
    tell(say("moment"), "warn");
    await pause(opensAt() - now());
    return carryOut(intention);
  }
  forget(id);
  if (name === "placed") {
    known.won = answer.body.data;
    tell(say("placed"), "good");
  } else refused(name);
  await Promise.all([readMine(), readTurn(), readLine()]);
}

// Our clock or our opening was wrong: ask for both.
async function isSoon() {
  const [offer] = await Promise.all([readOffer(), measure()]);
  if (offer) known.offer = offer;
  renderOffer();
  return opensAt() - now() < SOON_MS;
}

function refused(name) {
  switch (name) {
    case "sold-out": known.soldOut = true; break;
    case "not-sold-out": known.soldOut = false; break;
    case "limit-reached": known.limit = true; break;
    case "over": known.over = true; break;
    case "too-early": tell(say("too_early"), "warn"); break;
    case "not-admitted": tell(say("not_admitted"), "warn"); break;
    case "no-more-turns": tell(say("no_more_turns"), "warn"); break;
    default: tell(say("fault"), "bad");
  }
}

// -- The waiting room and the line --

async function askFor(method, what) {
  const path = `/api/v1/offers/${id}/${what}`;
  const answer = await askUntilAnswered(method, path, {}, (why) => tell(say(`again_${why}`), "warn"));
  if (answer.status === 401) location.assign(toSignIn);
  tell("");
  if (answer.status >= 400) refused(problem(answer));
}

async function enter() {
  await askFor("POST", "room");
  await readTurn();
  render();
}

async function join() {
  await askFor("POST", "waiting");
  await readLine();
  render();
}

async function leave() {
  watchLine.stop();
  await askFor("DELETE", "waiting");
  known.line = null;
  render();
}

async function readTurn() {
  if (hasRoom() && known.signedIn) known.turn = await watchRoom(id, hearTurn);
}

function hearTurn(turn) {
  if (turn.state === "admitted" && known.turn?.state !== "admitted") tell(say("your_turn"), "good");
  if (turn.state === "missed") tell("");
  if (turn.sale === "over") known.over = true;
  known.turn = turn;
  render();
}

async function readLine() {
  if (known.signedIn) known.line = await watchLine(id, hearLine);
}

// Nobody in line any more, and an order that was not there: served.
async function hearLine(line) {
  known.line = line;
  if (!line) {
    const before = new Set(known.orders.map((order) => order.id));
    await readMine();
    const served = known.orders.find((order) => !before.has(order.id) && order.status === "reserved");
    if (served) {
      known.won = served;
      tell(say("served"), "good");
    }
  }
  render();
}

// -- What changes by itself --

async function readMine() {
  if (!known.signedIn) return;
  const mine = await read("/api/v1/orders?limit=50");
  if (mine) known.orders = mine.data.filter(itemOf);
}

async function keepStock() {
  if (!document.hidden && isOpen() && !isOver()) {
    const stock = await read(`/api/v1/offers/${id}/stock`);
    if (stock) {
      known.stock = stock.data;
      known.soldOut = stock.data.remaining === 0;
      renderStock();
      render();
    }
  }
  setTimeout(keepStock, STOCK_EVERY_MS * (1 + Math.random() / 2));
}

whenReached(async (name) => {
  if (name === "opens_in" && !hasRoom()) tell(say("is_open"), "good");
  if (name === "pay_within") {
    known.won = null;
    tell("");
    await readMine();
  }
  render();
});

// -- The beginning --

buyButton.addEventListener("click", buy);
document.querySelector("#quantity").addEventListener("input", renderBuy);
for (const button of document.querySelectorAll("[data-enter]")) button.addEventListener("click", enter);
document.querySelector("#join").addEventListener("click", join);
document.querySelector("#leave").addEventListener("click", leave);
for (const link of document.querySelectorAll("[data-sign-in]")) link.href = toSignIn;

[known.offer, known.signedIn] = await Promise.all([readOffer(), signedIn, ready]);
if (known.offer) {
  known.soldOut = Boolean(known.offer.sold_out);
  renderOffer();
  describe(known.offer.description);
  await Promise.all([readMine(), readTurn(), readLine()]);
  showWinners(id, () => known.orders);
  keepStock();
  const kept = unanswered(id); // by a page that was left before it heard
  if (kept && known.signedIn) carryOut(kept);
}
render();

// What a deal's product is like is told there alone, and nobody needs it to buy.
if (known.offer?.product_id) {
  describe((await read(`/api/v1/products/${known.offer.product_id}`))?.data.description);
}

// One order of one's own: paid, cancelled, given back, and proved.
//
// All that can be done to an order may be asked twice without harm, so a lost answer is asked for again.

import { ask, askUntilAnswered, pause, problem } from "/static/shell/api.js";
import { say } from "/static/shell/say.js";
import { copyOf, fill, reveal } from "/static/shell/slots.js";
import { countDown, ready } from "./clock.js";
import { kindOf, nameOf } from "./order_words.js";
import { signedIn, toSignIn } from "./person.js";
import { checkOrder } from "./proof.js";
import { duration, moment, number, time, won } from "./show.js";

const LOOK_AGAIN_MS = 1_500;

const page = document.querySelector("[data-order]");
const form = document.querySelector("#pay");
const notice = document.querySelector("#notice");
const path = `/api/v1/orders/${page.dataset.order}`;

let order = null;
let busy = false;
let stopClock = () => {};

function render() {
  fill(page, {
    name: nameOf(order),
    status: say(`status_${order.status}`),
    placed: say("placed_at", { at: moment(order.placed_at) }),
    total: won(order.total_krw),
    standing: say(`standing_${order.status}`, { at: time(order.held_until) }),
  });
  document.title = `${nameOf(order)} · Holdfast`;
  page.querySelector(".tag").dataset.kind = kindOf(order.status);
  document.querySelector("#items").replaceChildren(...order.items.map(row));
  renderActions();
  renderClock();
}

function row(item) {
  const told = fill(copyOf("item"), {
    name: item.name,
    place: number(item.place),
    quantity: number(item.quantity),
    price: won(item.unit_price_krw),
  });
  told.querySelector("a").href = `/shop/offers/${item.offer_id}`;
  return told;
}

function renderActions() {
  const reserved = order.status === "reserved";
  form.hidden = !reserved;
  document.querySelector("#cancel").hidden = !reserved;
  document.querySelector("#refund").hidden = order.status !== "paid";
  for (const button of page.querySelectorAll("#pay .button, .actions .button")) {
    button.setAttribute("aria-disabled", String(busy));
  }
}

function renderClock() {
  stopClock();
  const reserved = order.status === "reserved";
  document.querySelector("#clock").hidden = !reserved;
  if (!reserved) return;
  stopClock = countDown(Date.parse(order.held_until), (left_ms) => {
    fill(page, { countdown: duration(left_ms) });
    if (!left_ms) followTheEnd();
  });
}

// The time is over; that it expired is for the server to say, a moment later.
async function followTheEnd() {
  for (let tries = 0; order.status === "reserved" && tries < 10; tries += 1) {
    await pause(LOOK_AGAIN_MS);
    const answer = await ask("GET", path);
    if (answer.status === 200) order = answer.body.data;
  }
  if (order.status !== "reserved") render();
}

function tell(text, kind = "") {
  notice.hidden = !text;
  notice.dataset.kind = kind;
  notice.textContent = text;
}

async function act(what, body) {
  if (busy) return;
  busy = true;
  renderActions();
  tell(say("asking"));
  const answer = await askUntilAnswered("POST", `${path}/${what}`, { body }, (why) => tell(say(`again_${why}`), "warn"));
  await understand(what, answer);
  busy = false;
  render();
}

async function understand(what, answer) {
  if (answer.status === 401) return location.assign(toSignIn);
  if (answer.status === 200) {
    order = answer.body.data;
    return tell(say(`done_${what}`), "good");
  }
  if (answer.status === 202) return followPayment(what);
  const now = await ask("GET", path);
  if (now.status === 200) order = now.body.data;
  tell(say(REFUSED[problem(answer)] ?? "fault"), "bad");
}

const REFUSED = {
  declined: "declined",
  "order-ended": "order_ended",
  "paid-too-late": "paid_too_late",
  "paid-already": "paid_already",
  "ended-already": "ended_already",
  "not-paid": "not_paid",
};

// The provider's answer was lost. It is found out without us; we only watch.
async function followPayment(what) {
  tell(say(`settling_${what}`), "warn");
  const settled = what === "refund" ? ["refunded"] : ["approved", "declined", "refunded"];
  for (;;) {
    await pause(LOOK_AGAIN_MS);
    const [payment, now] = await Promise.all([ask("GET", `${path}/payment`), ask("GET", path)]);
    if (payment.status !== 200 || now.status !== 200) continue;
    if (!settled.includes(payment.body.data.state)) continue;
    order = now.body.data;
    const done = order.status === (what === "refund" ? "refunded" : "paid");
    return tell(say(done ? `done_${what}` : "declined"), done ? "good" : "bad");
  }
}

async function check() {
  const findings = document.querySelector("#findings");
  findings.replaceChildren();
  const show = (good, text) => {
    const finding = fill(copyOf("finding"), { text });
    finding.dataset.found = good;
    findings.append(finding);
  };
  const checked = await checkOrder(order, show);
  if (!checked) return;
  document.querySelector("#receipt").hidden = false;
  fill(page, { receipt: checked.receipt, claims: JSON.stringify(checked.claims, null, 2) });
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  act("pay", { method: new FormData(form).get("method") });
});
document.querySelector("#cancel").addEventListener("click", () => act("cancel"));
document.querySelector("#refund").addEventListener("click", () => act("refund"));
document.querySelector("#check").addEventListener("click", check);
for (const link of document.querySelectorAll("[data-sign-in]")) link.href = toSignIn;

const [answer] = await Promise.all([ask("GET", path), ready, signedIn]);
if (answer.status === 200) {
  order = answer.body.data;
  render();
}
reveal(document, "view", { 200: "in", 401: "out" }[answer.status] ?? "missing");

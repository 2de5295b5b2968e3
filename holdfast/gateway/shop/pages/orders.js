// One's own orders, newest first.

import { read } from "/static/shell/api.js";
import { say } from "/static/shell/say.js";
import { copyOf, fill, reveal } from "/static/shell/slots.js";
import { countDown, now, ready } from "./clock.js";
import { signedIn, toSignIn } from "./person.js";
import { duration, moment, number, won } from "./show.js";
import { kindOf, nameOf } from "./order_words.js";

const status = new URLSearchParams(location.search).get("status");
const list = document.querySelector(".orders");
const more = document.querySelector("#more");
let cursor = null;

async function showMore() {
  const query = new URLSearchParams({ limit: 20 });
  if (status) query.set("status", status);
  if (cursor) query.set("cursor", cursor);
  const page = await read(`/api/v1/orders?${query}`);
  if (!page) return;
  const rows = page.data.map(row);
  list.append(...rows);
  if (cursor) rows[0]?.querySelector("a").focus();
  cursor = page.next_cursor;
  more.hidden = !cursor;
  list.hidden = !list.children.length;
  document.querySelector("#empty").hidden = list.children.length > 0;
}

function row(order) {
  const element = fill(copyOf("order"), {
    name: nameOf(order),
    status: say(`status_${order.status}`),
    place: order.items.map((item) => say("place", { place: number(item.place) })).join(", "),
    placed: moment(order.placed_at),
    total: won(order.total_krw),
  });
  element.querySelector("a").href = `/shop/orders/${order.id}`;
  element.querySelector(".tag").dataset.kind = kindOf(order.status);
  if (order.status === "reserved" && Date.parse(order.held_until) > now()) {
    countDown(Date.parse(order.held_until), (left_ms) => {
      fill(element, { held: left_ms ? say("pay_within_left", { left: duration(left_ms) }) : null });
    });
  }
  return element;
}

more.addEventListener("click", showMore);
for (const link of document.querySelectorAll("[data-sign-in]")) link.href = toSignIn;
const current = status ? `[data-status="${CSS.escape(status)}"]` : ".chips a";
document.querySelector(current)?.setAttribute("aria-current", "true");

const [isSignedIn] = await Promise.all([signedIn, ready]);
reveal(document, "view", isSignedIn ? "in" : "out");
if (isSignedIn) await showMore();

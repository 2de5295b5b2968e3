// The public list of who got one, in the order of sale, and where one's own orders are in it.

import { read } from "/static/shell/api.js";
import { say } from "/static/shell/say.js";
import { copyOf, fill } from "/static/shell/slots.js";
import { moment, number } from "./show.js";

const MOST = 100;

export async function* winnersOf(offer_id) {
  let cursor = null;
  do {
    const page = await read(`/api/v1/offers/${offer_id}/winners?limit=${MOST}${cursor ? `&cursor=${cursor}` : ""}`);
    if (!page) throw new Error("The list of winners does not answer.");
    yield page.data;
    cursor = page.next_cursor;
  } while (cursor);
}

// Reads them when somebody opens the list, page by page.
export function showWinners(offer_id, myOrders) {
  const section = document.querySelector("#winners");
  const details = section.querySelector("details");
  const more = section.querySelector("button");
  section.hidden = false;
  let pages = null;
  const showMore = async () => {
    const { value: winners, done } = await pages.next().catch(() => ({ done: true }));
    more.hidden = done || winners.length < MOST;
    const mine = new Set(myOrders().map((order) => order.id));
    const body = section.querySelector("tbody");
    body.append(...(winners ?? []).map((winner) => row(winner, mine)));
    section.querySelector("table").hidden = !body.children.length;
    section.querySelector(".empty").hidden = Boolean(body.children.length);
  };
  details.addEventListener("toggle", () => {
    if (!details.open) return;
    section.querySelector("tbody").replaceChildren();
    pages = winnersOf(offer_id);
    showMore();
  });
  more.addEventListener("click", showMore);
}

function row(winner, mine) {
  const isMine = mine.has(winner.order_id);
  const told = fill(copyOf("winner"), {
    place: number(winner.place),
    order: isMine ? say("this_is_you") : winner.order_id,
    quantity: number(winner.quantity),
    placed: moment(winner.placed_at),
    holds: say(winner.holds ? "holds" : "given_back"),
  });
  told.classList.toggle("is-mine", isMine);
  return told;
}

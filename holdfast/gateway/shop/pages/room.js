// The waiting room of an offer: who is there at the opening is drawn by lot, who comes later stands
// behind. The server pushes where one stands; this module only listens.

import { pause, read } from "/static/shell/api.js";

const LAST = new Set(["admitted", "used", "missed"]);
const ASK_AGAIN_MS = 2_000;

let events = null;

// The server tells no more then, but a browser's EventSource would ask for ever.
const isLast = (turn) => LAST.has(turn.state) || turn.sale === "over";

// One's turn as it is, or null for whoever is not in the room; from then on `hear(turn)` is called.
export async function watchRoom(offer_id, hear) {
  const room = await read(`/api/v1/offers/${offer_id}/room`);
  if (!room) return null;
  if (room.data.state === "admitted") watchTheEnd(offer_id, room.data, hear);
  if (!isLast(room.data)) listen(offer_id, hear);
  return room.data;
}

function listen(offer_id, hear) {
  events?.close();
  const stream = new EventSource(`/api/v1/offers/${offer_id}/room/events`);
  events = stream;
  stream.addEventListener("turn", ({ data }) => {
    const turn = JSON.parse(data);
    if (isLast(turn)) stream.close();
    if (turn.state === "admitted") watchTheEnd(offer_id, turn, hear);
    hear(turn);
  });
  // The browser comes again by itself after a lost connection, but not after a refusal.
  stream.addEventListener("error", async () => {
    if (stream.readyState !== EventSource.CLOSED || stream !== events) return;
    await pause(ASK_AGAIN_MS);
    if (stream === events) listen(offer_id, hear);
  });
}

// Nothing is pushed after the admission: when its time is over, it is asked how it ended.
async function watchTheEnd(offer_id, turn, hear) {
  await pause(Math.max(0, Date.parse(turn.expires_at) - Date.parse(turn.now)) + 500);
  const room = await read(`/api/v1/offers/${offer_id}/room`);
  if (room) hear(room.data);
}

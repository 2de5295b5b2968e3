// The waiting line of an offer that is sold out: whoever is first has an order when a unit returns.

import { ask } from "/static/shell/api.js";

const LOOK_AGAIN_MS = 2_500;

let timer = null;

// One's place as it is, or null; `hear(place)` is called when it is another one, with null at the end.
export async function watchLine(offer_id, hear) {
  watchLine.stop();
  let last = await placeIn(offer_id);
  const look = async () => {
    const place = document.hidden ? last : await placeIn(offer_id, last);
    if (place?.position !== last?.position || place?.total !== last?.total) hear(place);
    last = place;
    if (place) timer = setTimeout(look, LOOK_AGAIN_MS * (1 + Math.random() / 2));
  };
  if (last) timer = setTimeout(look, LOOK_AGAIN_MS);
  return last;
}

watchLine.stop = () => clearTimeout(timer);

// Only a 404 says that one does not wait; without an answer it is as it was.
async function placeIn(offer_id, last = null) {
  const { status, body } = await ask("GET", `/api/v1/offers/${offer_id}/waiting`);
  if (status === 200) return body.data;
  return status === 404 ? null : last;
}

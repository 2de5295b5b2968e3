// What somebody wants to buy, from the click until the answer: its key is made once and survives a
// reload, so that however often the question is asked, there is one order.

const place = (offer_id) => `holdfast.intention.${offer_id}`;

export function intend(offer_id, told) {
  const intention = { key: newKey(), ...told };
  sessionStorage.setItem(place(offer_id), JSON.stringify(intention));
  return intention;
}

export const unanswered = (offer_id) => JSON.parse(sessionStorage.getItem(place(offer_id)));

export const forget = (offer_id) => sessionStorage.removeItem(place(offer_id));

// Not randomUUID(): browsers have that over https only.
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

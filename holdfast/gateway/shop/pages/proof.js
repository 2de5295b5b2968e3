// Checks an order's receipt as a stranger would: its signature by the published keys, and its places
// against the public list of winners. `show(good, text)` is told each finding; good is "yes", "no" or
// "unknown".

import { ask, read } from "/static/shell/api.js";
import { say } from "/static/shell/say.js";
import { moment, number } from "./show.js";
import { winnersOf } from "./winners.js";

export async function checkOrder(order, show) {
  const told = await ask("GET", `/api/v1/orders/${order.id}/receipt`);
  if (told.status !== 200) {
    show("unknown", say("no_receipt"));
    return null;
  }
  const { receipt } = told.body.data;
  const claims = parse(receipt.split(".")[1]);
  show(...await checkSignature(receipt));
  const same = claims.order_id === order.id && claims.iss === location.origin;
  show(same ? "yes" : "no", say(same ? "is_of_this_order" : "is_of_another", { issuer: claims.iss }));
  for (const item of claims.items) show(...await checkPlace(item, claims));
  return { receipt, claims };
}

async function checkSignature(receipt) {
  const [head, body, signature] = receipt.split(".");
  const { kid, alg } = parse(head);
  const set = await read("/.well-known/receipt-keys.json");
  const jwk = set?.keys.find((key) => key.kid === kid && key.alg === alg);
  if (!jwk) return ["no", say("unknown_key", { kid })];
  try {
    const { kty, crv, x } = jwk;
    const key = await crypto.subtle.importKey("jwk", { kty, crv, x }, "Ed25519", false, ["verify"]);
    const signed = new TextEncoder().encode(`${head}.${body}`);
    const good = await crypto.subtle.verify("Ed25519", key, bytes(signature), signed);
    return good ? ["yes", say("signature_good", { kid })] : ["no", say("signature_bad")];
  } catch {
    return ["unknown", say("cannot_verify")]; // a browser without Ed25519, or without https
  }
}

// The list is read from its beginning: that it has no gaps up to the place is a part of the proof.
async function checkPlace(item, claims) {
  const place = number(item.place);
  let before = 0;
  try {
    for await (const winners of winnersOf(item.offer_id)) {
      for (const winner of winners) {
        if (winner.place !== before + 1) return ["no", say("gap", { place: number(before + 1) })];
        before = winner.place;
        if (before < item.place) continue;
        const same = winner.order_id === claims.order_id && winner.placed_at === claims.placed_at;
        if (!same) return ["no", say("place_not_yours", { place })];
        const told = { place, at: moment(winner.placed_at) };
        return ["yes", say(winner.holds ? "place_holds" : "place_given_back", told)];
      }
    }
  } catch {
    return ["unknown", say("no_winners")];
  }
  return ["no", say("place_missing", { place })];
}

const parse = (part) => JSON.parse(new TextDecoder().decode(bytes(part)));

function bytes(base64url) {
  const base64 = base64url.replaceAll("-", "+").replaceAll("_", "/");
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

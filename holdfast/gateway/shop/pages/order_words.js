// How orders are spoken of, wherever they are shown.

import { number } from "./show.js";

const KINDS = { reserved: "warn", paid: "" };

export const kindOf = (status) => KINDS[status] ?? "quiet";

export function nameOf(order) {
  return order.items
    .map((item) => (item.quantity > 1 ? `${item.name} × ${number(item.quantity)}` : item.name))
    .join(", ");
}

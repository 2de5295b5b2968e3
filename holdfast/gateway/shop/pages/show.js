// How things are shown: money, numbers and times, as the reader's language writes them.

import { lang, say } from "/static/shell/say.js";

const locale = navigator.languages.find((one) => one.startsWith(lang)) ?? lang;
const money = new Intl.NumberFormat(locale, { style: "currency", currency: "KRW" });
const plain = new Intl.NumberFormat(locale);
const dated = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "medium" });
const timed = new Intl.DateTimeFormat(locale, { timeStyle: "medium" });
const percent = new Intl.NumberFormat(locale, { style: "percent" });

export const won = (amount) => money.format(amount);
export const number = (count) => plain.format(count);
export const moment = (text) => dated.format(new Date(text));
export const time = (text) => timed.format(new Date(text));

// A begun second is a second: at 0 it is over.
export function duration(ms) {
  const seconds = Math.ceil(ms / 1000);
  const two = (value) => String(Math.floor(value)).padStart(2, "0");
  const clock = [(seconds / 3600) % 24, (seconds / 60) % 60, seconds % 60].map(two);
  const days = Math.floor(seconds / 86_400);
  if (days) return say("days", { days, clock: clock.join(":") });
  return (seconds < 3600 ? clock.slice(1) : clock).join(":");
}

// By how much a deal is cheaper; null if it is not.
export function discountOf({ price_krw, usual_price_krw }) {
  return price_krw < usual_price_krw ? `−${percent.format(1 - price_krw / usual_price_krw)}` : null;
}

// The server's time. Whoever counts down by their own clock comes too late, or too early.
//
// The offset is between the server's time and this page's monotonic clock, which nobody can set and
// nothing turns back. It is measured again now and then: a computer that slept stood still.

import { pause, read } from "/static/shell/api.js";
import { say } from "/static/shell/say.js";
import { duration } from "./show.js";

const SAMPLES = 5;
const MEASURE_AGAIN_MS = 60_000;
const TROUBLING_MS = 2_000;

const countdowns = new Set();
let offset_ms = null;

export const ready = measure();

export const now = () => performance.now() + offset_ms;

// What there is to say of this device's own clock; null where the difference troubles nobody.
export function deviceAhead() {
  const ahead_ms = Date.now() - now();
  if (Math.abs(ahead_ms) < TROUBLING_MS) return null;
  return say(ahead_ms > 0 ? "device_ahead" : "device_behind", { by: duration(Math.abs(ahead_ms)) });
}

// Calls `show(left_ms)` at once, at every full second that is left, and at the very end with 0.
// Each step is timed from the end, so that a late one makes the next no later. Returns its stop.
export function countDown(until_ms, show) {
  let timer;
  const countdown = () => {
    clearTimeout(timer);
    const left_ms = Math.max(0, until_ms - now());
    if (left_ms) timer = setTimeout(countdown, left_ms % 1000 || 1000);
    else countdowns.delete(countdown);
    show(left_ms);
  };
  countdowns.add(countdown);
  countdown();
  return () => { clearTimeout(timer); countdowns.delete(countdown); };
}

// The quickest of some answers tells best: half of its way is the least to be wrong about.
export async function measure() {
  let quickest_ms = Infinity;
  let measured_ms = offset_ms;
  for (let n = 0; n < SAMPLES; n += 1) {
    const asked_ms = performance.now();
    const answer = await read("/api/v1/time");
    const took_ms = performance.now() - asked_ms;
    if (answer && took_ms < quickest_ms) {
      quickest_ms = took_ms;
      measured_ms = Date.parse(answer.data.now) - asked_ms - took_ms / 2;
    }
  }
  if (measured_ms === null) {
    await pause(1000);
    return measure();
  }
  offset_ms = measured_ms;
  for (const countdown of [...countdowns]) countdown();
}

setInterval(measure, MEASURE_AGAIN_MS);
document.addEventListener("visibilitychange", () => { if (!document.hidden) measure(); });

// The API, asked from a page. The browser's cookie says who asks; no token is ever in a script.

const ANSWERS_WITHIN_MS = 20_000;
const PATIENCE_S = [1, 2, 3, 5]; // without a Retry-After; the last one again and again

// { status, body, retry_after_s }; status 0: there was no answer.
export async function ask(method, path, { body, headers = {} } = {}) {
  const asked = { method, headers, signal: AbortSignal.timeout(ANSWERS_WITHIN_MS) };
  if (body !== undefined) {
    asked.body = JSON.stringify(body);
    asked.headers = { ...headers, "Content-Type": "application/json" };
  }
  try {
    const answer = await fetch(path, asked);
    const text = await answer.text();
    const retry_after_s = Number(answer.headers.get("Retry-After")) || null;
    return { status: answer.status, body: text ? JSON.parse(text) : null, retry_after_s };
  } catch {
    return { status: 0, body: null, retry_after_s: null };
  }
}

// What is read for showing: the answer's body, or null when there is none to show.
export async function read(path) {
  const { status, body } = await ask("GET", path);
  return status === 200 ? body : null;
}

// The same question until it is decided, which a fault does not: only for what may be asked twice
// without harm.
// `waiting(why, until_ms)` is called before each pause; why is "lost" or "busy".
export async function askUntilAnswered(method, path, asked, waiting) {
  for (let tries = 0; ; tries += 1) {
    const answer = await ask(method, path, asked);
    if (answer.status && answer.status !== 429 && answer.status < 500) return answer;
    const patience_s = answer.retry_after_s ?? PATIENCE_S[Math.min(tries, PATIENCE_S.length - 1)];
    // A little more for each at random: those who were refused together do not come back together.
    const pause_ms = patience_s * 1000 + Math.random() * 500;
    waiting(answer.status ? "busy" : "lost", pause_ms);
    await pause(pause_ms);
  }
}

export const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });

// The problem's own name: "/problems/sold-out" is sold-out.
export const problem = (answer) => answer.body?.type?.split("/").at(-1) ?? "fault";

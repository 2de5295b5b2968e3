// A page's words for its scripts: those named told_… in words.yaml, put there by shell/told.html.

export const { lang } = document.documentElement;

const words = new Map(
  [...document.querySelector("#told").content.children].map((one) => [one.dataset.told, one.textContent]),
);

export function say(key, values = {}) {
  return words.get(key).replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export const has = (key) => words.has(key);

// Whether somebody is signed in, for the corner of the page and for what needs it.

import { ask } from "/static/shell/api.js";

// Only a plain no is a no: while nobody can say, whoever wants to buy may try.
export const signedIn = ask("GET", "/api/v1/users/me").then(({ status }) => status !== 401);

export const toSignIn = `/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`;

signedIn.then((yes) => {
  for (const part of document.querySelectorAll("[data-person]")) {
    part.hidden = (part.dataset.person === "in") !== yes;
    if (part.localName === "a") part.href = toSignIn;
  }
});

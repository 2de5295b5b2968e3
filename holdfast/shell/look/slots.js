// Fills the slots of a page: texts by their data-slot, copies of templates, one part out of several.

// A text fills its slots, null leaves them out.
export function fill(root, texts) {
  for (const [slot, text] of Object.entries(texts)) {
    for (const element of root.querySelectorAll(`[data-slot="${slot}"]`)) {
      element.hidden = text === null;
      element.textContent = text ?? "";
    }
  }
  return root;
}

export function copyOf(id) {
  return document.querySelector(`#${id}`).content.firstElementChild.cloneNode(true);
}

// Of all parts with this attribute, the one to see.
export function reveal(root, attribute, name) {
  for (const part of root.querySelectorAll(`[data-${attribute}]`)) {
    part.hidden = part.dataset[attribute] !== name;
  }
}

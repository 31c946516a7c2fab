// Elements from words: text is always text, whatever a device is called. No markup is ever parsed.
export function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [kind, heard] of Object.entries(value)) made.addEventListener(kind, heard);
    else if (name === "data") Object.assign(made.dataset, value);
    else if (name === "class") made.className = value;
    else if (name in made && name !== "list" && name !== "form") made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return made;
}

// The same text is not written again: nothing is announced or drawn that did not change.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const SHAPES = { good: "●", degraded: "▲", dead: "✖", maintenance: "◆" };

// A state by shape, colour and word.
export function badge(state, word) {
  return h("span", { class: "badge", data: { state } }, h("span", { class: "shape", ariaHidden: "true" }, SHAPES[state] || "○"), h("span", { class: "word" }, word));
}

export function change(element, state, word) {
  if (element.dataset.state !== state) {
    element.dataset.state = state;
    element.firstChild.textContent = SHAPES[state] || "○";
  }
  write(element.lastChild, word);
}

// Rows of a list by key: those that are there stay, in order; nothing is made twice.
export function keyed(parent, items, keyOf, make, update) {
  const before = parent.kept || new Map();
  const after = new Map();
  let at = parent.firstChild;
  for (const item of items) {
    const key = keyOf(item);
    let row = before.get(key);
    if (!row) row = make(item);
    before.delete(key);
    after.set(key, row);
    if (row === at) at = at.nextSibling;
    else parent.insertBefore(row, at);
    update(row, item);
  }
  for (const row of before.values()) row.remove();
  parent.kept = after;
}

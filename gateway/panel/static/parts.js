// What several pages are made from.
import { h, write } from "./dom.js";
import { both, say } from "./words.js";

export const failed = (box) => (bad) => {
  box.className = "wrong";
  write(box, bad.said ? both(bad.said) : String(bad.message || bad));
};

// A form that says what became of it and cannot be sent twice at once.
export function form(word, fields, told, act, wrong) {
  const button = h("button", { class: "main" }, word);
  return h("form", { class: "panel", on: { async submit(event) {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    told.className = "";
    write(told, "");
    try {
      await act();
    } catch (bad) {
      wrong(bad);
    } finally {
      button.disabled = false;
    }
  } } }, ...fields, button, told);
}

let made = 0;

// A labelled field; returns [the label, the input].
export function field(word, attributes) {
  const id = `field-${(made += 1)}`;
  return [h("label", { htmlFor: id }, word), h("input", { id, ...attributes })];
}

export const qualityState = (quality) => (quality === 0 ? "good" : quality < 128 ? "degraded" : "dead");
export const qualityWord = (quality) => say(`q${quality}`) || String(quality);

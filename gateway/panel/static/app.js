// The frame around the pages: which one is shown, what the header says, what is read aloud.
import { h, write, badge } from "./dom.js";
import { say, speak, language, both } from "./words.js";
import { store, on, ask, connect } from "./store.js";
import * as cabinet from "./cabinet.js";
import * as devicePage from "./device.js";
import * as alarms from "./alarms.js";
import * as bus from "./bus.js";
import * as commission from "./commission.js";

const main = document.getElementById("main");
const top = document.getElementById("top");
const bottom = document.getElementById("bottom");
const lost = document.getElementById("lost");
const said = document.getElementById("said");
const alarmed = document.getElementById("alarmed");
const PAGES = [["#/", "cabinet"], ["#/alarms", "alarms"], ["#/bus", "bus"], ["#/commission", "commission"]];
let ends = [];

function route() {
  const [, name = "", ...rest] = location.hash.split("/");
  let about = rest.join("/");
  try {
    about = decodeURIComponent(about);
  } catch { /* as it stands */ }
  if (name === "device") return (box) => devicePage.page(box, about);
  if (name === "alarm") return (box) => alarms.one(box, about);
  if (name === "alarms") return alarms.page;
  if (name === "bus") return bus.page;
  if (name === "commission") return about ? (box) => commission.page(box, about) : commission.list;
  return cabinet.page;
}

function show({ focus = false } = {}) {
  ends.forEach((end) => end());
  ends = [];
  main.replaceChildren();
  header();
  if (!store.ready) {
    main.append(h("p", { class: "soft" }, store.connected ? say("fieldGone") : say("loading")));
    return;
  }
  ends = route()(main);
  if (focus) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
  const heading = main.querySelector("h1");
  document.title = `${heading ? heading.textContent : ""} · ${store.gateway}`;
}

function header() {
  document.documentElement.lang = language();
  write(document.getElementById("skip"), say("skip"));
  const here = `#/${location.hash.split("/")[1] || ""}`;
  const current = here === "#/alarm" ? "#/alarms" : here === "#/device" ? "#/" : here;
  const links = PAGES.map(([href, word]) => h("a", { href, "aria-current": href === current ? "page" : null }, say(word),
    word === "alarms" && h("span", { class: "count", id: "count" }, "")));
  top.replaceChildren(
    h("div", { class: "row brand" }, h("a", { href: "#/", class: "name" }, store.gateway || "citygate"), h("span", { id: "field" }, badge("good", ""))),
    h("nav", { ariaLabel: say("pages") }, links));
  const who = store.me ? [store.me.by, say(store.me.role)].filter(Boolean).join(", ") : "";
  bottom.replaceChildren(h("span", { class: "soft" }, who), h("span", { class: "row" },
    h("button", { type: "button", on: { click: themed } }, say(isDark() ? "light" : "dark")),
    h("button", { type: "button", lang: language() === "ko" ? "en" : "ko", on: { click: spoken } }, say("other")),
    h("button", { type: "button", on: { click: out } }, say("signOut"))));
  status();
}

function status() {
  const up = store.connected && store.up;
  const word = store.connected ? (store.up ? "" : say("fieldGone")) : store.ready ? say("panelGone") : "";
  lost.hidden = !word;
  write(lost, word);
  const field = document.getElementById("field");
  if (field) field.hidden = up || !store.ready;
  if (field) field.replaceChildren(badge("dead", say("dead")));
  document.body.classList.toggle("stale", store.ready && !up);
  const count = document.getElementById("count");
  if (count) write(count, store.standing.size ? String(store.standing.size) : "");
}

const isDark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

function themed() {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("theme", theme);
  show();
}

function spoken() {
  speak(language() === "ko" ? "en" : "ko");
  show();
}

async function out() {
  await ask("/api/sign-out", {}).catch(() => {});
  location.replace("/sign-in");
}

let names = "";
let wasUp = true;
on("first", () => {
  const now = JSON.stringify([store.channels.map((one) => one.name), store.ready]);
  if (now !== names) show();  // another site, or the first time
  names = now;
  status();
});
on("field", () => {
  if (store.up && !wasUp) write(said, say("fieldBack"));
  wasUp = store.up;
  if (!store.ready) show();
  status();
});
on("alarms", (event) => {
  status();
  if (event && event.phase !== "update") write(alarmed, `${event.phase === "clear" ? say("ended") : say("began")}: ${both(event)}`);
});
addEventListener("hashchange", () => show({ focus: true }));
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

header();
ask("/api/me").then((me) => {
  store.me = me;
  connect();
}).catch(() => {
  main.replaceChildren(h("p", {}, say("noPanel")));
  setTimeout(() => location.reload(), 3000);
});

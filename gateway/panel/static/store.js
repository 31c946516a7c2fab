// What the stream has said, and who wants to know. Bounded: one latest row a channel, a hundred past events, rings only of
// the device that is looked at.
const KEPT = 900;

export const store = {
  me: null, ready: false, connected: false, up: false, gateway: "", channels: [], devices: [], cabinet: null,
  standing: new Map(), past: [], acknowledged: {}, latest: [], bands: [], rings: new Map(),
};

const wanting = new Map();

export function on(kind, heard) {
  if (!wanting.has(kind)) wanting.set(kind, new Set());
  wanting.get(kind).add(heard);
  return () => wanting.get(kind).delete(heard);
}

function tell(kind, body) {
  for (const heard of [...(wanting.get(kind) || [])]) heard(body);
}

// One channel's readings in fixed arrays, oldest first when asked.
export class Ring {
  constructor() {
    this.t = new Float64Array(KEPT);
    this.v = new Float64Array(KEPT);
    this.k = new Float64Array(KEPT);
    this.n = 0;
  }

  add(t, v, k) {
    if (this.n && t <= this.t[this.n - 1]) return;
    if (this.n === KEPT) {
      for (const column of [this.t, this.v, this.k]) column.copyWithin(0, KEPT / 4);
      this.n -= KEPT / 4;
    }
    this.t[this.n] = t;
    this.v[this.n] = v === null ? NaN : v;
    this.k[this.n] = k === null ? NaN : k;
    this.n += 1;
  }

  column(name) {
    return this[name].subarray(0, this.n);
  }
}

export const device = (name) => store.devices.find((one) => one.name === name);
export const stateOf = (name) => (store.cabinet ? store.cabinet.devices.find((one) => one.name === name) : undefined);

// Curves of one device: what the panel has kept, then what comes. Ends when the returned function is called.
export async function curves(name) {
  const mine = new Map();
  const answer = await ask(`/api/history?device=${encodeURIComponent(name)}`);
  for (const [channel, columns] of Object.entries(answer.channels)) {
    const ring = new Ring();
    columns.t.forEach((t, i) => ring.add(t, columns.v[i], columns.k[i]));
    mine.set(Number(channel), ring);
    store.rings.set(Number(channel), ring);
  }
  return {
    rings: mine,
    close() {
      for (const [channel, ring] of mine) if (store.rings.get(channel) === ring) store.rings.delete(channel);
    },
  };
}

export class Refused extends Error {
  constructor(said, status) {
    super(said.error);
    this.said = { en: `${said.code} ${said.error}`, ko: `${said.code} ${said.error_ko}` };
    this.status = status;
  }
}

const NO_PANEL = { code: "", error: "The panel does not answer.", error_ko: "패널에 연결할 수 없습니다." };

// A question or, with a body, something to be done. Throws Refused.
export async function ask(path, body) {
  let answer;
  try {
    answer = await fetch(path, body === undefined ? {} : {
      method: "POST", headers: { "content-type": "application/json", "x-citygate": "1" }, body: JSON.stringify(body),
    });
  } catch {
    throw new Refused(NO_PANEL, 0);
  }
  if (answer.status === 401) location.replace("/sign-in");
  if (answer.status === 204) return {};
  let said;
  try {
    said = await answer.json();
  } catch {
    throw new Refused(NO_PANEL, answer.status);
  }
  if (!answer.ok) throw new Refused(said, answer.status);
  return said;
}

let source = null;
let alive = 0;

export function connect() {
  source = new EventSource("/api/stream?values=all");
  source.addEventListener("first", (event) => first(JSON.parse(event.data)));
  source.addEventListener("rows", (event) => rows(JSON.parse(event.data)));
  source.addEventListener("bands", (event) => bands(JSON.parse(event.data).bands));
  source.addEventListener("cabinet", (event) => { store.cabinet = JSON.parse(event.data); heardNow(); tell("cabinet"); });
  source.addEventListener("event", (event) => happened(JSON.parse(event.data)));
  source.addEventListener("acknowledged", (event) => { store.acknowledged = JSON.parse(event.data); tell("alarms"); });
  source.addEventListener("field", (event) => { store.up = JSON.parse(event.data).up; heardNow(); tell("field"); });
  source.onerror = lost;
}

async function lost() {
  if (store.connected) {
    store.connected = false;
    tell("field");
  }
  if (source.readyState !== EventSource.CLOSED) return;  // it tries again by itself
  source.close();
  const again = await fetch("/api/me").catch(() => null);
  if (again && again.status === 401) location.replace("/sign-in");
  else setTimeout(connect, 2000);
}

function heardNow() {
  alive = Date.now();
}

// A connection that is open but dead: the cabinet is told every two seconds, and a comment every ten.
setInterval(() => {
  if (!store.connected || !store.up || Date.now() - alive < 20000) return;
  source.close();
  store.connected = false;
  tell("field");
  connect();
}, 5000);

function first(said) {
  heardNow();
  store.connected = true;
  store.up = said.up;
  if (said.channels) {
    Object.assign(store, { gateway: said.gateway, channels: said.channels, devices: said.devices, timezone: said.timezone });
    store.latest = [];
    store.bands = [];
    store.ready = true;
  }
  store.cabinet = said.cabinet;
  store.standing = new Map(said.standing.map((event) => [event.key, event]));
  store.past = said.past.slice(-100);
  store.acknowledged = said.acknowledged;
  for (const row of said.latest) store.latest[row[0]] = row;
  for (const band of said.bands) store.bands[band[0]] = band;
  tell("first");
  tell("field");
}

function rows(said) {
  heardNow();
  for (const row of said.rows) {
    store.latest[row[0]] = row;
    const ring = store.rings.get(row[0]);
    if (ring) ring.add(row[4], row[1], row[2]);
  }
  tell("rows");
}

function bands(said) {
  for (const band of said) store.bands[band[0]] = band;
  tell("bands");
}

function happened(event) {
  heardNow();
  store.past.push(event);
  if (store.past.length > 100) store.past.shift();
  const stands = store.standing.get(event.key);
  if (event.phase === "clear") store.standing.delete(event.key);
  else if (event.phase === "onset") store.standing.set(event.key, event);
  else if (stands) store.standing.set(event.key, { ...stands, evidence: [...stands.evidence, ...event.evidence] });
  tell("alarms", event);
}

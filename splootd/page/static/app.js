/** The page: makes its parts, shows one view at a time, and says how the daemon is. */

import { change } from "./client.js";
import { facts, sheet } from "./dialog.js";
import { takeFiles } from "./drop.js";
import { button, byId, element, put, write } from "./element.js";
import { EVERYTHING } from "./feed.js";
import { isTyping } from "./keys.js";
import { News } from "./news.js";
import { Now } from "./now.js";
import { Overlay } from "./overlay.js";
import { Queue } from "./queue.js";
import { say, tried } from "./say.js";
import { Shelf } from "./shelf.js";
import { count } from "./words.js";

const VIEWS = /** @type {const} */ (["queue", "library", "now"]);
const TITLES = { queue: "Queue", library: "Library", now: "Now" };

const news = new News();
const queue = new Queue(news);
const shelf = new Shelf(news);
new Now(news, (choice) => {
  go("queue");
  queue.choose({ ...EVERYTHING, ...choice });
});
const overlay = new Overlay(news);
const parts = { queue, library: shelf, now: { show() {}, hide() {} } };
/** @type {"queue" | "library" | "now" | null} */
let view = null;
/** @type {import("./protocol.js").Status | null} */
let status = null;

function route() {
  const wanted = VIEWS.find((each) => location.hash === `#${each}`) ?? "queue";
  if (wanted === view) return;
  if (view) parts[view].hide();
  view = wanted;
  for (const each of VIEWS) {
    byId(each).hidden = each !== view;
    put(byId(`to-${each}`), "aria-current", each === view ? "page" : null);
  }
  document.title = `${TITLES[view]} · Sploot`;
  parts[view].show();
}

/**
 * At once: the next key is for the view that was asked for.
 * @param {"queue" | "library" | "now"} to
 */
function go(to) {
  location.hash = to;
  route();
}

/** @param {import("./news.js").Told} told */
function hear(told) {
  const banner = byId("offline");
  if (told.kind === "offline") {
    banner.hidden = false;
    write(banner, told.sentence);
    stand("no daemon", "lost");
  } else if (told.kind === "online") {
    if (!banner.hidden) say("The daemon is back.");
    banner.hidden = true;
    write(banner, "");
  } else if (told.kind === "status") {
    const { daemon, server } = (status = told.status);
    const isWell = daemon.state === "running" && server.state === "ok";
    stand(daemon.state === "running" && !isWell ? server.state.replace("_", " ") : daemon.state, isWell ? "well" : "held");
    write(byId("pause"), daemon.state === "paused" ? "Resume" : "Pause");
    announce(told.status);
  }
}

/**
 * @param {string} word
 * @param {"well" | "held" | "lost"} how
 */
function stand(word, how) {
  write(byId("standing"), word);
  put(byId("standing"), "data-how", how);
}

let announced = "";

/**
 * For who listens instead of looking: when the queue has come to rest, not every step on the way.
 * @param {import("./protocol.js").Status} now
 */
function announce({ items }) {
  if (items.pending + items.uploading + items.embedding > 0 || !items.total) return;
  const dead = items.dead ? `; ${count(items.dead, "file")} could not be sent` : "";
  const sentence = `Everything is done: ${count(items.ready, "file")} ready${dead}.`;
  if (sentence !== announced) write(byId("announced"), (announced = sentence));
}

async function pause() {
  const done = await tried(change("POST", status?.daemon.state === "paused" ? "/v1/resume" : "/v1/pause"));
  if (done) say(done.message);
}

function help() {
  const made = sheet("Keys", facts([
    ["1 2 3", "Queue, Library, Now"],
    ["/", "search"],
    ["↑ ↓ PgUp PgDn Home End", "move through the list"],
    ["Space", "select; with Shift and arrows a range"],
    ["Ctrl A", "select everything the filter shows"],
    ["Enter", "why: the whole story of a file; a picture large"],
    ["r b f", "retry, bump, forget what is selected"],
    ["f s Delete", "in the library: favourite, similar, delete"],
    ["p", "pause sending, or go on"],
    ["Ctrl Shift M", "metrics"],
    ["Escape", "close, or select nothing"],
  ]), element("div", { class: "actions" }, button("Close", () => made.close(), { class: "main" })));
}

/** @type {Record<string, () => void>} */
const KEYS = {
  1: () => go("queue"),
  2: () => go("library"),
  3: () => go("now"),
  "?": help,
  "/": () => byId(view === "library" ? "search" : "text").focus(),
  p: () => void pause(),
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey && event.shiftKey && event.key.toLowerCase() === "m") {
    event.preventDefault();
    overlay.toggle();
    return;
  }
  if (event.key === "Escape" && !byId("overlay").hidden && !document.querySelector("dialog[open]")) return overlay.toggle();
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
  const wish = /** @type {const} */ ({ r: "retry", b: "bump", f: "forget" })[event.key];
  const does = view === "queue" && wish ? () => void queue.change(wish) : KEYS[event.key];
  if (!does) return;
  event.preventDefault();
  does();
});
addEventListener("hashchange", route);
byId("pause").addEventListener("click", () => void pause());
byId("keys").addEventListener("click", help);
takeFiles();
news.listen(hear);
news.open();
route();

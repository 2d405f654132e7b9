// Puts the page together: reads the address, shows a room, and lets acts be followed by slates.

import { announce } from "./announcer.js";
import { api } from "./api.js";
import { clock } from "./clock.js";
import { hideCurrent } from "./controls.js";
import { isKnown } from "./displays.js";
import { el, replace } from "./dom.js";
import { ExperimentsView } from "./experiments.js";
import { HomeView } from "./home.js";
import { report } from "./impressions.js";
import { Inspector } from "./inspector.js";
import { listenForKeys } from "./keyboard.js";
import { openKeysSheet } from "./keys_sheet.js";
import { listener } from "./listener.js";
import { ListenersView } from "./listeners.js";
import { NowPlayingView } from "./now_playing.js";
import { flush } from "./outbox.js";
import { player } from "./player.js";
import { mountPlayerBar } from "./player_bar.js";
import { mountRail } from "./rail.js";
import { router } from "./router.js";
import { slates } from "./slates.js";
import { errorBlock } from "./states.js";
import { switchTheme } from "./theme.js";

const main = document.getElementById("view");
const inspector = new Inspector(document.getElementById("inspector"));
const inspect = (card) => inspector.showCard(card);
const makers = {
  home: () => new HomeView({ inspect }),
  "now-playing": () => new NowPlayingView({ inspect }),
  listeners: () => new ListenersView(),
  experiments: () => new ExperimentsView(),
};
const TITLES = { home: "Home", "now-playing": "Now Playing", listeners: "Listeners", experiments: "Experiments" };
let view = null;
let rail = null;

/** The surface that the room in view shows. */
function surface() {
  return router.route.room === "now-playing" ? "now_playing" : "home";
}

/** Whether the room in view shows a slate. */
function showsSlate() {
  return ["home", "now-playing"].includes(router.route.room);
}

function showRoom({ isFirst = false } = {}) {
  const { room } = router.route;
  view?.unmount();
  view = makers[room]();
  view.mount(main);
  main.scrollTop = 0;
  document.body.dataset.room = room;
  showTitle();
  if (!isFirst) {
    main.focus({ preventScroll: true });
    announce(TITLES[room]);
  }
  const { slate } = slates.state(surface());
  if (slate && showsSlate()) router.note({ slate: slate.slate_id });
  inspector.follow(surface());
}

/** What the tab is called: the room, and the experiment that is open in it. */
function showTitle() {
  const { params, room } = router.route;
  document.title = [params.experiment, TITLES[room], "Segue"].filter(Boolean).join(" – ");
}

/** Shows what the address asks for: whom, which slate, which track. */
async function applyRoute({ before = null } = {}) {
  const { params, room } = router.route;
  const isOther = (params.user ?? null) !== listener.id;
  if (isOther) {
    if (before) await player.stop();
    slates.clear();
    listener.become(params.user ?? null);
  }
  if (params.item && !player.card) {
    player.cue(params.item);
  }
  if (params.slate && slates.state(surface()).slate?.slate_id !== params.slate) await showRecorded(params.slate);
  if (!before || before.room !== room || isOther) showRoom({ isFirst: !before });
  else if ((before.params.experiment ?? null) !== (params.experiment ?? null)) {
    showTitle();
    main.scrollTop = 0;
    main.focus({ preventScroll: true });
    announce(params.experiment ?? TITLES[room]);
  }
  rail?.showRoute();
  inspector.applyRoute();
}

async function showRecorded(slateId) {
  try {
    const record = await slates.showRecorded(slateId);
    const current = record.request.current_item_id;
    if (record.slate.surface === "now_playing" && current && !player.card) player.cue(current);
  } catch {
    // Slates are kept for a while only. The room then asks for a new one, and notes its id.
    router.note({ slate: null });
  }
}

/** After an act that the server knows of: Home follows, at once or when it is next in sight. */
function followUp() {
  // A slate nobody sees would only fill the log of what was served.
  if (router.route.room === "home") slates.askHome();
  else slates.markStale("home");
  if (router.route.room === "listeners") listener.refresh();
}

function wire() {
  for (const name of ["home", "now_playing"]) {
    slates.on(name, () => {
      const { slate } = slates.state(name);
      if (slate && name === surface() && showsSlate()) router.note({ slate: slate.slate_id });
    });
  }
  listener.on("acted", () => {
    followUp();
    if (player.card) slates.askQueue(player.card.item_id);
  });
  listener.on("profile", () => {
    // A link names a track by its id; its title may be among the plays that just came in.
    const { card, isPlaying } = player;
    if (card && !isPlaying && card.display.title === card.item_id && isKnown(card.item_id)) player.cue(card.item_id);
  });
  // A play that ended changed what the server knows; Home catches up in the background.
  player.on("acted", followUp);
  player.on("started", ({ card }) => report(card));
  router.on("change", applyRoute);
  addEventListener("pagehide", () => player.stop({ isLeaving: true }));
  addEventListener("online", () => flush().catch(() => {}));

  const focused = () => view.cardInFocus();
  listenForKeys({
    " ": () => player.toggle(),
    j: () => player.back(),
    l: () => player.next(),
    s: () => actOn(focused() ?? player.card, (card) => listener.toggleSaved(card)),
    h: () => {
      const card = focused() ?? player.card;
      if (card && card.item_id === player.card?.item_id) hideCurrent();
      else actOn(card, (one) => listener.hide(one));
    },
    i: () => inspector.toggle(focused()),
    r: () => (view.askAgain ? view.askAgain() : router.route.room === "now-playing" && player.card ? slates.askQueue(player.card.item_id) : slates.askHome()),
    t: () => {
      announce(`${switchTheme()} theme`);
      rail.showTheme();
    },
    1: () => router.go("home", { slate: null }),
    2: () => router.go("now-playing", { slate: null }),
    3: () => router.go("listeners", { slate: null }),
    4: () => router.go("experiments", { slate: null, experiment: null }),
    "/": () => {
      router.go("listeners", { slate: null });
      view.focusSearch?.();
    },
    "?": openKeysSheet,
    Escape: () => inspector.close() || false,
  });
}

function actOn(card, act) {
  if (card) act(card);
  else announce("Nothing is in focus and nothing plays.");
}

async function start() {
  rail ??= mountRail(document.getElementById("rail"), { openKeys: openKeysSheet, toggleInspector: () => inspector.toggle() });
  try {
    clock.start(await api.status());
  } catch (error) {
    const retry = () => start();
    replace(main, el("div", { class: "page" }, el("h1", { class: "visually-hidden", text: "Segue" }), errorBlock(error, "The console", retry)));
    return;
  }
  mountPlayerBar(document.getElementById("player"));
  wire();
  await applyRoute();
  flush().catch(() => {});
}

start();

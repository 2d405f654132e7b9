// The transport controls, used by the player bar and by Now Playing alike.

import { clock, SPEEDS } from "./clock.js";
import { el, replace, setText } from "./dom.js";
import { clockTime } from "./format.js";
import { icon } from "./icons.js";
import { listener } from "./listener.js";
import { player } from "./player.js";

/** Back, play, next. Returns the node and a function that shows the player's state. */
export function transport() {
  const play = el("button", { class: "play-button", type: "button", on: { click: () => player.toggle() } });
  const back = el("button", { class: "icon-button", type: "button", "aria-label": "Back", title: "Back (j)", on: { click: () => player.back() } }, icon("back"));
  const next = el("button", { class: "icon-button", type: "button", "aria-label": "Next", title: "Next (l)", on: { click: () => player.next() } }, icon("next"));
  let shown = null;
  const show = () => {
    if (shown !== player.isPlaying) {
      shown = player.isPlaying;
      replace(play, icon(shown ? "pause" : "play"));
      play.setAttribute("aria-label", shown ? "Pause" : "Play");
      play.title = shown ? "Pause (Space)" : "Play (Space)";
    }
    back.disabled = !player.card;
    next.disabled = !player.card;
  };
  show();
  return { node: el("div", { class: "transport" }, back, play, next), show };
}

/** The progress slider with its two times. */
export function progress() {
  const slider = el("input", { class: "slider", type: "range", min: "0", step: "1000", "aria-label": "Position in the track", on: { input: () => player.seek(Number(slider.value)) } });
  const passed = el("span", { class: "time" });
  const total = el("span", { class: "time time-total" });
  const show = () => {
    slider.disabled = !player.card;
    slider.max = String(player.durationMs);
    if (document.activeElement !== slider || player.isPlaying) slider.value = String(player.positionMs);
    const share = player.card ? player.positionMs / player.durationMs : 0;
    slider.style.setProperty("--share", `${(share * 100).toFixed(2)}%`);
    slider.setAttribute("aria-valuetext", `${clockTime(player.positionMs)} of ${clockTime(player.durationMs)}`);
    setText(passed, player.card ? clockTime(player.positionMs) : "0:00");
    setText(total, player.card ? (player.isLengthKnown ? clockTime(player.durationMs) : "length unknown") : "0:00");
  };
  show();
  return { node: el("div", { class: "progress" }, passed, slider, total), show };
}

/** Save and hide for what plays. */
export function acts() {
  const save = el("button", { class: "icon-button", type: "button", title: "Save (s)", on: { click: () => player.card && listener.toggleSaved(player.card) } });
  const hide = el("button", { class: "icon-button", type: "button", "aria-label": "Hide this and go on", title: "Hide (h)", on: { click: () => hideCurrent() } }, icon("hide"));
  const show = () => {
    const isSaved = Boolean(player.card) && listener.isSaved(player.card.item_id);
    replace(save, icon("heart", { isSolid: isSaved }));
    save.setAttribute("aria-label", "Save what plays");
    save.setAttribute("aria-pressed", String(isSaved));
    save.disabled = !player.card;
    hide.disabled = !player.card;
  };
  show();
  return { node: el("div", { class: "acts" }, save, hide), show };
}

/** Hides what plays, and goes on with the next. */
export async function hideCurrent() {
  const { card } = player;
  if (!card) return;
  const hidden = listener.hide(card);
  if (listener.id) await player.next();
  await hidden;
}

/** How fast the world runs while something plays; null where the clock is the wall's. */
export function speeds() {
  if (!clock.isWorld) return null;
  const buttons = SPEEDS.map((speed) =>
    el("button", {
      class: "speed", type: "button", text: `×${speed}`, "aria-label": `Time runs ${speed} times as fast while playing`, "aria-pressed": String(clock.speed === speed),
      on: {
        click: () => {
          clock.speed = speed;
          document.querySelectorAll(".speed").forEach((button) => button.setAttribute("aria-pressed", String(button.textContent === `×${speed}`)));
        },
      },
    }),
  );
  return el("div", { class: "speeds", role: "group", "aria-label": "Speed of time" }, buttons);
}

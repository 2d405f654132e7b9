// The bar at the bottom: what plays, wherever one is.

import { acts, progress, speeds, transport } from "./controls.js";
import { drawCover } from "./cover.js";
import { el, replace, setText, spoken } from "./dom.js";
import { listener } from "./listener.js";
import { player } from "./player.js";
import { router } from "./router.js";

/** Fills the footer and keeps it up to date. */
export function mountPlayerBar(container) {
  const controls = [transport(), progress(), acts()];
  const [buttons, slider, judge] = controls;
  const cover = el("span", { class: "cover bar-cover" });
  const title = el("span", { class: "bar-title", dir: "auto" });
  const subtitle = el("span", { class: "bar-subtitle" });
  const link = el("a", { class: "bar-item" }, spoken("Open Now Playing: "), cover, el("span", { class: "bar-text" }, title, subtitle));
  replace(
    container,
    link,
    el("div", { class: "bar-middle" }, buttons.node, slider.node),
    el("div", { class: "bar-side" }, judge.node, speeds()),
  );
  let drawn = null;
  const show = () => {
    const { card } = player;
    const drawing = card ? `${card.item_id} ${card.display.title}` : "";
    if (drawn !== drawing) {
      drawn = drawing;
      replace(cover, card && drawCover(card));
      cover.classList.toggle("is-empty", !card);
      cover.classList.toggle("is-round", card?.display.kind === "artist");
      setText(title, card?.display.title ?? "Nothing plays yet");
      setText(subtitle, card ? (card.display.artists?.join(", ") ?? "") : "Choose something from Home");
    }
    link.href = router.href("now-playing", { item: card?.item_id });
    controls.forEach((control) => control.show());
  };
  player.on("change", show);
  player.on("tick", () => slider.show());
  listener.on("act", () => judge.show());
  listener.on("profile", () => judge.show());
  router.on("change", show);
  show();
}

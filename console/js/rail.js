// The way around: a rail on a desk, a tab bar on a phone. Shows whom the page pretends to be.

import { drawAvatar } from "./avatar.js";
import { clock } from "./clock.js";
import { el, replace, setText } from "./dom.js";
import { moment } from "./format.js";
import { icon, mark } from "./icons.js";
import { listener } from "./listener.js";
import { router } from "./router.js";
import { followSystem, switchTheme, theme } from "./theme.js";

const ROOMS = [["home", "Home", "home"], ["now-playing", "Now Playing", "disc"], ["listeners", "Listeners", "people"], ["experiments", "Experiments", "split"]];

/** @param {{openKeys: function, toggleInspector: function}} actions */
export function mountRail(container, { openKeys, toggleInspector }) {
  const links = ROOMS.map(([room, label, name]) => [room, el("a", { class: "rail-link" }, icon(name), el("span", { text: label }))]);
  const who = el("a", { class: "who" });
  const time = el("p", { class: "world-time" });
  const themeButton = el("button", { class: "icon-button", type: "button", on: { click: () => { switchTheme(); showTheme(); } } });
  const inspectButton = el("button", { class: "icon-button rail-inspect", type: "button", "aria-label": "Inspector", title: "Inspector (i)", on: { click: toggleInspector } }, icon("inspect"));
  const keysButton = el("button", { class: "icon-button rail-keys", type: "button", "aria-label": "Keys", title: "Keys (?)", on: { click: openKeys } }, icon("keyboard"));
  replace(
    container,
    el("a", { class: "brand", href: "#/home" }, mark(), el("span", { text: "Segue" })),
    el("nav", { class: "rail-nav", "aria-label": "Rooms" }, el("ul", {}, links.map(([, link]) => el("li", {}, link)))),
    el("div", { class: "rail-foot" }, time, who, el("div", { class: "rail-tools" }, inspectButton, keysButton, themeButton)),
  );

  const showTheme = () => {
    const isDark = theme() === "dark";
    replace(themeButton, icon(isDark ? "sun" : "moon"));
    themeButton.setAttribute("aria-label", isDark ? "Use the light theme" : "Use the dark theme");
    themeButton.title = `${isDark ? "Light" : "Dark"} theme (t)`;
  };
  const showRoute = () => {
    for (const [room, link] of links) {
      link.href = router.href(room, { experiment: null });
      if (router.route.room === room) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    inspectButton.setAttribute("aria-pressed", String(Boolean(router.route.params.inspect)));
    container.querySelector(".brand").href = router.href("home");
    who.href = router.href("listeners");
  };
  const showWho = () => {
    replace(who, drawAvatar(listener.id, listener.profile?.display_name), el("span", { class: "who-text" }, el("span", { class: "who-name", text: listener.id ? listener.name : "A stranger" }), el("span", { class: "who-line", text: listener.id ? "Listening as · change" : "Choose a listener" })));
  };
  const showTime = () => setText(time, clock.isWorld ? moment(clock.now(), true) : "");

  router.on("change", showRoute);
  router.on("note", showRoute);
  listener.on("change", showWho);
  listener.on("profile", showWho);
  followSystem(showTheme);
  setInterval(showTime, 1000);
  showTheme();
  showRoute();
  showWho();
  showTime();
  return { showRoute, showTheme };
}

// Runs before the first paint, so that the page never flashes in the other theme.
(function () {
  let theme = null;
  try {
    theme = localStorage.getItem("segue.theme");
  } catch {
    // Storage may be forbidden; the system's preference is a fine answer then.
  }
  if (theme !== "light" && theme !== "dark") {
    theme = matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
  }
  document.documentElement.dataset.theme = theme;
})();

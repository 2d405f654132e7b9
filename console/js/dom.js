// Building nodes. Text always enters as text: there is no way here to parse a string as markup,
// so a title or name from outside can never become HTML.

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";

/**
 * Makes an element.
 * @param {string} tag
 * @param {object} [props] `class`, `text`, `data` (dataset), `on` (listeners), `vars` (CSS custom
 *   properties); anything else is an attribute, left out when null, undefined or false.
 * @param {...(Node|string|null|false|Array)} children strings become text nodes
 */
export function el(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** Makes an SVG element; same arguments as `el`. */
export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG_NAMESPACE, tag), props, children);
}

/** Replaces everything inside `node`. */
export function replace(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child || child === 0));
  return node;
}

/** Words for those who listen to the page; nobody sees them. */
export function spoken(text = "") {
  return el("span", { class: "visually-hidden", text });
}

/** Sets the text only if it changed, so that nothing is announced or painted twice. */
export function setText(node, text) {
  const value = text ?? "";
  if (node.textContent !== value) node.textContent = value;
}

let lastId = 0;

/** An id that is unique on this page. */
export function uniqueId(prefix) {
  lastId += 1;
  return `${prefix}-${lastId}`;
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") node.setAttribute("class", value);
    else if (name === "text") node.textContent = value;
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (name === "vars") {
      for (const [variable, content] of Object.entries(value)) node.style.setProperty(variable, content);
    } else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child || child === 0));
  return node;
}

// The tools around the image, and one table of them for buttons, keys and the help.

const ICONS = {
  invert: '<circle cx="10" cy="10" r="7"/><path d="M10 3a7 7 0 0 1 0 14z" fill="currentColor"/>',
  mirror: '<path d="M10 2.5v15M7 6 3 14h4zM13 6l4 8h-4z"/>',
  rotate: '<path d="M15.5 7A6.5 6.5 0 1 0 16.5 11M16 3v4.3h-4.3"/>',
  magnifier: '<circle cx="8.5" cy="8.5" r="5"/><path d="m12.3 12.3 4.7 4.7M8.5 6.5v4M6.5 8.5h4"/>',
  reset: '<path d="M4 8V4h4M16 8V4h-4M4 12v4h4M16 12v4h-4"/>',
  beside: '<rect x="2.5" y="4" width="15" height="12" rx="1"/><path d="M10 4v12"/>',
  save: '<path d="M10 3v9M6.5 8.8 10 12.3l3.5-3.5M4 16.5h12"/>',
  screen: '<path d="M3 7V3h4M17 7V3h-4M3 13v4h4M17 13v4h-4"/><path d="m3 3 4.5 4.5M17 17l-4.5-4.5"/>',
  adjust: '<path d="M3 6h7M14 6h3M3 14h3M10 14h7"/><circle cx="12" cy="6" r="2"/><circle cx="8" cy="14" r="2"/>',
  unfold: '<circle cx="4.5" cy="10" r="1.2"/><circle cx="10" cy="10" r="1.2"/><circle cx="15.5" cy="10" r="1.2"/>',
  help: '<path d="M7.3 7.4a2.7 2.7 0 1 1 3.9 2.4c-.8.4-1.2 1-1.2 1.9M10 14.6v.1"/>',
};
const WINDOW_KEYS = {
  [AS_TAKEN]: "W", Auto: "A", Lung: "L", "Soft tissue": "T", Bone: "O", [LOCAL_CONTRAST]: "J",
};
// Without a button; `?` lists them.
const GESTURES = [
  ["Wheel, pinch or + −", "Zoom"],
  ["Drag or arrow keys", "Move a zoomed image"],
  ["Double click or double tap", "Zoom in and back"],
  ["Right-drag, or Shift and drag", "Level (up and down) and width (left and right)"],
  ["Shift and arrow keys", "Level and width"],
];

const TOUCHES = [
  ["Two fingers", "Zoom"],
  ["One finger", "Move a zoomed image"],
  ["Double tap", "Zoom in and back"],
];
const HAS_KEYS = matchMedia("(hover: hover)").matches;

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function drawing(icon) {
  const around = element("span", {
    innerHTML: `<svg viewBox="0 0 20 20" aria-hidden="true">${ICONS[icon]}</svg>`,
  });
  return around.firstChild;
}

function tool(icon, title, key, run) {
  const made = element("button", { type: "button", ariaLabel: title, className: "tool" },
    drawing(icon));
  made.dataset.tool = icon;
  made.dataset.key = key;
  showKey(made, key);
  // The keys belong to the page again once the mouse lets go.
  made.onclick = (event) => { run(); if (event.detail) made.blur(); };
  return made;
}

// What a tool's key is, unless the page has taken it.
function showKey(made, key) {
  made.title = key ? `${made.ariaLabel} (${key})` : made.ariaLabel;
  if (key) made.setAttribute("aria-keyshortcuts", key);
  else made.removeAttribute("aria-keyshortcuts");
}

function slider(title, least, most, step, change) {
  const input = element("input", { type: "range", min: least, max: most, step });
  const output = element("output");
  input.oninput = () => change(Number(input.value));
  input.onpointerup = () => input.blur();
  const label = element("label", {}, element("span", { textContent: title }), input, output);
  return [label, (value, words) => { input.value = value; output.textContent = words; }];
}

function choice(title, options, change) {
  const input = element("select", { ariaLabel: title });
  for (const [value, words] of options) input.append(element("option", { value, textContent: words }));
  input.onchange = () => { change(input.value); input.blur(); };
  return input;
}

function typing(target) {
  return target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName)
    || ["tab", "radio", "slider", "option", "combobox"].includes(target.getAttribute?.("role"));
}

// A radiograph at its full resolution: window, invert, mirror, rotate, zoom, pan. All of that
// happens here, at once; only the keys that are meant for the page go back to the server.

const WINDOWS = [["as taken", "W"], ["auto", "A"], ["lung", "L"], ["soft tissue", "T"], ["bone", "O"]];
const MOST_ZOOM = 16;
const TOOLS = [
  ["invert", "Invert", "I", (v) => { v.inverted = !v.inverted; }],
  // On the screen, whichever way the picture is turned.
  ["mirrored", "Mirror", "H", (v) => { v.mirrored = !v.mirrored; v.turns = (4 - v.turns) % 4; }],
  ["turn", "Rotate", "K", (v) => { v.turns = (v.turns + 1) % 4; }],
  ["in", "Zoom", "+", (v) => zoom(v, 1.25)],
  ["out", "Out", "−", (v) => zoom(v, 0.8)],
  ["reset", "Reset", "0", (v) => Object.assign(v, fresh())],
];
// How each picture is looked at, so that the view stays as it is when the page is drawn anew.
const views = new Map();
// What ends the last call of the function below, by its place in the page: Streamlit calls it again
// for new data, and what the first call returned only once the viewer is gone.
const ends = new Map();
// Whether a mouse or a finger has put the focus where it is: Enter is then meant for the case.
let pointed = false;

function fresh() {
  return { preset: "as taken", low: 0, high: 255, inverted: false, mirrored: false, turns: 0,
           zoom: 1, x: 0, y: 0 };
}

function zoom(view, factor, at = { x: 0, y: 0 }) {
  const to = Math.min(Math.max(view.zoom * factor, 1), MOST_ZOOM);
  const scale = to / view.zoom;
  view.x = at.x + (view.x - at.x) * scale;
  view.y = at.y + (view.y - at.y) * scale;
  view.zoom = to;
  if (to === 1) { view.x = 0; view.y = 0; }
}

function picture(url) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("The browser cannot show this picture."));
    image.src = url;
  });
}

function typing(target) {
  return target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName)
    || ["tab", "radio", "slider", "option", "combobox"].includes(target.getAttribute?.("role"));
}

function button(row, words, key, press) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = words;
  const hint = document.createElement("kbd");
  hint.textContent = key;
  made.append(hint);
  made.onclick = () => { press(); made.blur(); };
  row.append(made);
  return made;
}

function slider(row, words, least, change) {
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"),
    { type: "range", min: least, max: 255, step: 1 });
  const output = document.createElement("output");
  label.append(words, input, output);
  row.append(label);
  input.oninput = () => change(Number(input.value));
  // The keys belong to the answer again once the mouse lets go.
  input.onpointerup = () => input.blur();
  return (value) => { input.value = value; output.textContent = Math.round(value); };
}

export default function ({ data, parentElement, setStateValue }) {
  ends.forEach((end) => end()); // one viewer at a time hears the keys
  ends.clear();
  const root = parentElement.querySelector(".viewer");
  const top = root.querySelector(".top");
  const bottom = root.querySelector(".bottom");
  const stage = root.querySelector(".stage");
  const canvas = root.querySelector("canvas");
  const note = root.querySelector(".note");
  const known = views.get(data.picture_id);
  const view = known ?? fresh();
  views.clear();
  views.set(data.picture_id, view);
  if (view.overlay === undefined && data.overlays.length) view.overlay = 0;
  const presets = { "as taken": [0, 255], ...data.presets };
  const shown = document.createElement("canvas");
  let grey = null;
  let overlays = [];

  const setWindow = (low, high, preset = "") => Object.assign(view, { low, high, preset });
  const setLevel = (level) => {
    const half = (view.high - view.low) / 2;
    setWindow(level - half, level + half);
  };
  const setWidth = (width) => {
    const level = (view.high + view.low) / 2;
    setWindow(level - width / 2, level + width / 2);
  };
  const nextOverlay = () => {
    view.overlay = view.overlay === overlays.length - 1 ? null : (view.overlay ?? -1) + 1;
  };
  const level = () => (view.high + view.low) / 2;
  const width = () => view.high - view.low;
  const limited = (value, least) => Math.min(Math.max(value, least), 255);

  const keys = new Map();
  const act = (change, develops = false) => () => { change(); if (develops) develop(); draw(); };
  top.replaceChildren();
  bottom.replaceChildren();
  const pressed = [];
  for (const [name, key] of WINDOWS) {
    const run = act(() => setWindow(...presets[name], name), true);
    keys.set(key.toLowerCase(), run);
    const made = button(top, name[0].toUpperCase() + name.slice(1), key, run);
    pressed.push(() => made.setAttribute("aria-pressed", view.preset === name));
  }
  top.append(Object.assign(document.createElement("span"), { className: "gap" }));
  for (const [name, words, key, change] of TOOLS) {
    const run = act(() => change(view), true);
    keys.set(key.toLowerCase(), run);
    const made = button(top, words, key, run);
    if (name === "invert") pressed.push(() => made.setAttribute("aria-pressed", view.inverted));
    if (name === "mirrored") pressed.push(() => made.setAttribute("aria-pressed", view.mirrored));
  }
  keys.set("-", keys.get("−"));
  keys.set("=", keys.get("+"));
  const pan = (x, y) => act(() => { if (view.zoom > 1) { view.x += x; view.y += y; } });
  keys.set("arrowleft", pan(60, 0)).set("arrowright", pan(-60, 0));
  keys.set("arrowup", pan(0, 60)).set("arrowdown", pan(0, -60));
  keys.set("shift+arrowup", act(() => setLevel(limited(level() + 8, 0)), true));
  keys.set("shift+arrowdown", act(() => setLevel(limited(level() - 8, 0)), true));
  keys.set("shift+arrowright", act(() => setWidth(limited(width() + 8, 2)), true));
  keys.set("shift+arrowleft", act(() => setWidth(limited(width() - 8, 2)), true));
  const showLevel = slider(bottom, "Level", 0, (value) => act(() => setLevel(value), true)());
  const showWidth = slider(bottom, "Width", 2, (value) => act(() => setWidth(value), true)());
  if (data.overlays.length) {
    const run = act(nextOverlay);
    keys.set("g", run);
    const made = button(bottom, "", "G", run);
    const words = document.createElement("span");
    made.prepend(words);
    pressed.push(() => {
      words.textContent = view.overlay == null ? "No heatmap" : data.overlays[view.overlay].title;
    });
  }
  const hint = document.createElement("span");
  hint.style.opacity = 0.75;
  hint.textContent = "Shift and arrows: level and width. Arrows: pan. Wheel: zoom.";
  bottom.append(hint);

  function develop() {
    if (!grey) return;
    const table = new Uint8ClampedArray(256);
    for (let value = 0; value < 256; value += 1) {
      const seen = ((value - view.low) / width()) * 255;
      table[value] = view.inverted ? 255 - Math.min(Math.max(seen, 0), 255) : seen;
    }
    const out = new ImageData(shown.width, shown.height);
    for (let from = 0; from < grey.length; from += 1) {
      const at = from * 4;
      out.data[at] = out.data[at + 1] = out.data[at + 2] = table[grey[from]];
      out.data[at + 3] = 255;
    }
    shown.getContext("2d").putImageData(out, 0, 0);
  }

  function place(letter, x) {
    let at = [view.mirrored ? -x : x, 0];
    for (let turn = 0; turn < view.turns; turn += 1) at = [-at[1], at[0]];
    const [dx, dy] = at;
    letter.className = `mark ${dx < 0 ? "left" : dx > 0 ? "right" : dy < 0 ? "top" : "bottom"}`;
  }

  function draw() {
    pressed.forEach((update) => update());
    showLevel(level());
    showWidth(width());
    place(root.querySelector("[data-side=R]"), -1);
    place(root.querySelector("[data-side=L]"), 1);
    note.textContent = [view.mirrored && "mirrored", view.turns && `rotated ${view.turns * 90}°`,
      view.inverted && "inverted", view.zoom > 1 && `${view.zoom.toFixed(1)} ×`]
      .filter(Boolean).join(" · ");
    if (!grey || !stage.clientWidth) return;
    const dots = window.devicePixelRatio || 1;
    canvas.width = stage.clientWidth * dots;
    canvas.height = stage.clientHeight * dots;
    const lying = view.turns % 2;
    const fit = Math.min(canvas.width / (lying ? shown.height : shown.width),
      canvas.height / (lying ? shown.width : shown.height)) * view.zoom;
    const paper = canvas.getContext("2d");
    paper.imageSmoothingQuality = "high";
    paper.translate(canvas.width / 2 + view.x * dots, canvas.height / 2 + view.y * dots);
    paper.rotate((view.turns * Math.PI) / 2);
    paper.scale(view.mirrored ? -fit : fit, fit);
    const box = [-shown.width / 2, -shown.height / 2, shown.width, shown.height];
    paper.drawImage(shown, ...box);
    if (overlays[view.overlay]) paper.drawImage(overlays[view.overlay], ...box);
  }

  // Streamlit's own shortcuts lose a key that comes while the page takes up the one before; they
  // serve where there is no picture. Here all that were pressed are sent each time, in order,
  // numbered by the time so that numbers also rise where the viewer is mounted anew; by the page's
  // own, which does not jump.
  function ask(event) {
    const target = event.composedPath()[0];
    if (event.key === "Tab") pointed = false;
    const name = data.keys.find((one) => one.toLowerCase() === event.key.toLowerCase());
    if (!name || event.ctrlKey || event.metaKey || event.altKey || typing(target)) return;
    event.stopImmediatePropagation();
    const activates = !pointed && target.closest?.("button, a, summary, [role=button]");
    if (name === "Enter" && activates) return;
    event.preventDefault();
    if (event.repeat) return;
    const time = Math.round(performance.timeOrigin + performance.now());
    const number = Math.max((view.pressed?.at(-1)[0] ?? 0) + 1, time);
    view.pressed = [...(view.pressed ?? []), [number, data.stage, name]];
    setStateValue("pressed", view.pressed);
  }

  const point = () => { pointed = true; };

  function key(event) {
    const target = event.composedPath()[0];
    if (event.key === "Escape" && target.closest?.(".st-key-review_comment")) target.blur();
    if (event.ctrlKey || event.metaKey || event.altKey || typing(target)) return;
    if (event.key.toLowerCase() === "e") {
      event.preventDefault();
      document.querySelector(".st-key-review_comment textarea")?.focus();
      return;
    }
    const shift = event.shiftKey && event.key.startsWith("Arrow") ? "shift+" : "";
    const run = keys.get(shift + event.key.toLowerCase());
    if (!run) return;
    event.preventDefault();
    run();
  }

  const middle = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left - box.width / 2, y: event.clientY - box.top - box.height / 2 };
  };
  // By pointer, to drag with one finger and zoom with two.
  const held = new Map();
  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, middle(event));
  };
  canvas.onpointermove = (event) => {
    const before = held.get(event.pointerId);
    if (!before) return;
    const now = middle(event);
    const other = [...held].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const apart = (point) => Math.hypot(point.x - other.x, point.y - other.y) || 1;
      zoom(view, apart(now) / apart(before), other);
    } else if (view.zoom > 1) {
      view.x += now.x - before.x;
      view.y += now.y - before.y;
    }
    held.set(event.pointerId, now);
    draw();
  };
  canvas.onpointerup = canvas.onpointercancel = (event) => held.delete(event.pointerId);
  canvas.onwheel = (event) => {
    event.preventDefault();
    zoom(view, Math.exp(-event.deltaY / 400), middle(event));
    draw();
  };

  let gone = false;
  Promise.all([data.url, ...data.overlays.map((overlay) => overlay.url)].map(picture)).then(
    ([image, ...heat]) => {
      if (gone) return;
      shown.width = image.naturalWidth;
      shown.height = image.naturalHeight;
      const paper = shown.getContext("2d", { willReadFrequently: true });
      paper.drawImage(image, 0, 0);
      const pixels = paper.getImageData(0, 0, shown.width, shown.height).data;
      grey = new Uint8Array(shown.width * shown.height);
      for (let at = 0; at < grey.length; at += 1) grey[at] = pixels[at * 4];
      overlays = heat;
      develop();
      draw();
      root.dataset.ready = `${data.picture_id}-${data.stage}`;
    },
    (error) => { note.textContent = error.message; },
  );
  const resized = new ResizeObserver(() => draw());
  resized.observe(stage);
  document.addEventListener("keydown", ask, true);
  document.addEventListener("keydown", key);
  document.addEventListener("pointerdown", point, true);
  draw();
  ends.set(parentElement, () => {
    gone = true;
    resized.disconnect();
    document.removeEventListener("keydown", ask, true);
    document.removeEventListener("keydown", key);
    document.removeEventListener("pointerdown", point, true);
  });
  return () => ends.get(parentElement)?.();
}

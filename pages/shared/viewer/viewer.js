// The viewer: a radiograph with tools. All that changes how it looks happens here, at once; the
// server hears of the next image, and of keys that are meant for the page.

const MOST_REMEMBERED = 50;
const views = new Map();
// A viewer is kept while it stands on the page: Streamlit calls the function at the end again for
// new data, with the same element.
const viewers = new WeakMap();
// The viewers on the page, the newest last: that one hears the keys.
const standing = [];
// Whether a mouse or a finger has put the focus where it is: Enter is then meant for the page.
let pointed = false;
document.addEventListener("pointerdown", () => { pointed = true; }, true);

function palette() {
  const { colours } = habits;
  if (typeof PALETTES[colours] === "string") {
    PALETTES[colours] = Uint8Array.from(atob(PALETTES[colours]), (one) => one.charCodeAt(0));
  }
  return PALETTES[colours];
}

function remembered(id) {
  const view = views.get(id) ?? freshView();
  views.delete(id);
  views.set(id, view);
  if (views.size > MOST_REMEMBERED) views.delete(views.keys().next().value);
  return view;
}

const isAmong = (chosen, { overlays }) => overlays.some(({ title }) => title === chosen);

class Viewer {
  constructor(root) {
    this.root = root;
    root.inert = true; // until there is an image
    this.stage = root.querySelector(".stage");
    this.note = root.querySelector(".note");
    this.about = root.querySelector(".about");
    this.legend = root.querySelector(".legend");
    this.help = root.querySelector(".help");
    this.panel = root.querySelector(".panel");
    this.panes = [...root.querySelectorAll(".pane")].map((pane) => new Pane(pane));
    this.view = freshView();
    this.heat = [];
    this.keys = new Map();
    this.pressed = [];
    this.buildTools();
    followPointers(this);
    this.help.onclose = () => this.draw();
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.stage);
    standing.push(this);
  }

  close() {
    this.resized.disconnect();
    standing.splice(standing.indexOf(this), 1);
  }

  // --- what is shown ---

  // What is there stays until all of the new is loaded: no tool meets half of it.
  async show(data, component) {
    Object.assign(this, { component, wanted: data });
    const isNew = this.data?.url !== data.url;
    const urls = [isNew && data.url, ...data.overlays.map(({ url }) => url)];
    let images;
    try {
      images = await Promise.all(urls.map((url) => (url ? loadImage(url) : null)));
    } catch (error) {
      this.note.textContent = error.message;
      return;
    }
    if (this.wanted !== data) return; // another was asked for
    const [image, ...heat] = images;
    if (image) {
      this.radiograph = new Radiograph(image);
      this.windows = this.radiograph.windows();
      this.view = remembered(data.image_id);
      this.stage.style.setProperty("--ratio", data.width / data.height);
      this.pressed = [];
    }
    // A heatmap that was asked for further down the page.
    const isComputed = !isNew && isAmong(data.chosen, data) && !isAmong(data.chosen, this.data);
    if (data.chosen && this.data?.chosen !== data.chosen) habits.overlay = data.chosen;
    this.data = data;
    this.heat = heat.map((one) => one && new Heat(one));
    const isNext = data.stage && this.root.dataset.ready !== data.ready;
    this.root.setAttribute("aria-label", data.title);
    this.panes.forEach((pane) => pane.canvas.setAttribute("aria-label", data.title));
    this.buildOverlays();
    for (const made of this.root.querySelectorAll(".tool")) {
      showKey(made, this.isTaken(made.dataset.key) ? "" : made.dataset.key);
    }
    this.paint();
    if (isNext) this.stage.scrollIntoView({ block: "start" });
    else if (isComputed) this.stage.scrollIntoView({ block: "nearest" });
    this.root.inert = false;
    this.root.dataset.ready = data.ready;
  }

  isTaken(key) {
    return this.data.keys.some(([one]) => one.toLowerCase() === key.toLowerCase());
  }

  get overlay() {
    const { overlays } = this.data;
    if (!overlays.length || habits.overlay === null) return -1;
    return Math.max(overlays.findIndex(({ title }) => title === habits.overlay), 0);
  }

  // Not before the browser draws: of many changes until then the last is what is seen.
  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => this.paint());
  }

  paint() {
    cancelAnimationFrame(this.waiting);
    this.waiting = null;
    const { view, data } = this;
    if (!data) return;
    this.update();
    const [far, deep] = this.panes[0].limit(this.radiograph, view);
    view.x = within(view.x, -far, far);
    view.y = within(view.y, -deep, deep);
    const look = `${view.low} ${view.high} ${view.inverted}`;
    if (this.look !== look) {
      this.look = look;
      this.table = tableOf(view.low, view.high, view.inverted);
    }
    const { radiograph, table, lens } = this;
    const plain = { radiograph, view, table, lens, overlay: null, contours: [] };
    const chosen = data.overlays[this.overlay];
    const heat = this.heat[this.overlay];
    const covered = {
      ...plain,
      overlay: heat && { canvas: heat.coloured(palette()), box: chosen.box },
      opacity: habits.opacity,
      contours: chosen ? data.contours : [],
    };
    const beside = this.beside;
    this.panes[0].draw(beside ? plain : covered);
    if (beside) this.panes[1].draw(covered);
  }

  get beside() {
    return habits.beside && this.data.overlays.length > 0;
  }

  update() {
    const { view, data } = this;
    this.root.classList.toggle("beside", this.beside);
    this.root.classList.toggle("zoomed", view.zoom > 1);
    this.root.classList.toggle("magnifying", Boolean(this.magnifying));
    this.note.textContent = describe(view);
    this.windowChoice.value = view.preset;
    this.showLevel(level(view), Math.round(level(view)));
    this.showWidth(width(view), Math.round(width(view)));
    this.showOpacity(habits.opacity * 100, `${Math.round(habits.opacity * 100)} %`);
    this.colourChoice.value = habits.colours;
    const states = {
      invert: view.inverted, mirror: view.mirrored, magnifier: this.magnifying,
      beside: habits.beside, adjust: !this.panel.hidden, help: this.help.open,
      unfold: this.root.classList.contains("unfolded"),
    };
    for (const made of this.root.querySelectorAll(".tool")) {
      const state = states[made.dataset.tool];
      if (state !== undefined) made.setAttribute("aria-pressed", Boolean(state));
    }
    const chosen = this.overlay;
    this.overlayButtons.forEach((made, at) => made.setAttribute("aria-pressed",
      at === (chosen < 0 ? this.overlayButtons.length - 1 : chosen)));
    this.showLegend(data.overlays[chosen]);
    this.about.textContent = data.overlays[chosen]?.about ?? "";
  }

  showLegend(overlay) {
    this.legend.hidden = !overlay?.url;
    if (this.legend.hidden) return;
    const [words, scale] = this.legend.children;
    words.textContent = overlay.empty ? `${overlay.title}: ${overlay.empty}` : overlay.title;
    scale.hidden = Boolean(overlay.empty);
    const colours = palette();
    const stops = Array.from({ length: 9 }, (_, at) => {
      const from = Math.min(at * 32, 255) * 3;
      return `rgb(${colours.subarray(from, from + 3).join()})`;
    });
    scale.querySelector(".ramp").style.background = `linear-gradient(90deg, ${stops.join()})`;
  }

  // --- tools ---

  buildTools() {
    const row = this.root.querySelector(".tools");
    const act = (change) => () => { change(this.view); this.draw(); };
    const add = (icon, title, key, run) => {
      row.append(tool(icon, title, key, run));
      this.keys.set(key.toLowerCase(), run);
      this.listed.push([key, title, icon]);
    };
    this.listed = [];
    const names = Object.keys(WINDOW_KEYS);
    this.windowChoice = choice("Window", [...names.map((name) => [name, name]), ["", "Set by hand"]],
      (name) => this.useWindow(name));
    this.windowChoice.querySelector("[value='']").hidden = true;
    for (const name of names) {
      this.keys.set(WINDOW_KEYS[name].toLowerCase(), () => this.useWindow(name));
      this.listed.push([WINDOW_KEYS[name], `${name} window`]);
    }
    row.append(this.windowChoice);
    add("invert", "Invert", "I", act((view) => { view.inverted = !view.inverted; }));
    add("mirror", "Mirror", "H", act(mirror));
    add("rotate", "Rotate", "K", act(rotate));
    add("magnifier", "Magnifier", "M", () => {
      this.magnifying = !this.magnifying;
      this.lens = null;
      this.draw();
    });
    add("reset", "Reset", "0", act((view) => Object.assign(view, freshView())));
    row.append(element("span", { className: "gap" }));
    add("adjust", "Adjust level, width and colours", "D", () => {
      this.panel.hidden = !this.panel.hidden;
      this.draw();
    });
    add("save", "Save as PNG", "Z", () => this.save());
    if (document.fullscreenEnabled) {
      add("screen", "Full screen", "U", () => this.toggleFullScreen());
    }
    add("help", "Keys and gestures", "?", () => this.showHelp(!this.help.open));
    const arrows = (x, y) => act((view) => { view.x += x; view.y += y; });
    const nudge = (byLevel, byWidth) =>
      act((view) => setWindow(view, level(view) + byLevel, width(view) + byWidth));
    for (const [key, run] of Object.entries({
      "+": act((view) => zoom(view, 1.25)), "-": act((view) => zoom(view, 0.8)),
      arrowup: arrows(0, 60), arrowdown: arrows(0, -60),
      arrowleft: arrows(60, 0), arrowright: arrows(-60, 0),
      "shift+arrowup": nudge(-8, 0), "shift+arrowdown": nudge(8, 0),
      "shift+arrowright": nudge(0, 8), "shift+arrowleft": nudge(0, -8),
    })) this.keys.set(key, run);
    this.keys.set("=", this.keys.get("+"));
    this.buildPanel(act);
  }

  buildPanel(act) {
    const [levels, showLevel] = slider("Level", 0, 255, 1,
      (value) => act((view) => setWindow(view, value, width(view)))());
    const [widths, showWidth] = slider("Width", 2, 510, 1,
      (value) => act((view) => setWindow(view, level(view), value))());
    this.colourChoice = choice("Overlay colours", Object.keys(PALETTES).map((name) => [name, name]),
      (name) => { habits.colours = name; this.draw(); });
    const colours = element("label", {}, element("span", { textContent: "Colours" }),
      this.colourChoice);
    this.panel.replaceChildren(levels, widths, colours);
    Object.assign(this, { showLevel, showWidth });
  }

  buildOverlays() {
    const row = this.root.querySelector(".overlays");
    const { overlays } = this.data;
    row.classList.toggle("bare", !overlays.length);
    const titles = overlays.length ? [...overlays.map(({ title }) => title), null] : [];
    const made = titles.map((title, at) => {
      const button = element("button", {
        type: "button", textContent: title ?? "None", title: overlays[at]?.about ?? "",
      });
      button.onclick = (event) => {
        habits.overlay = title;
        this.draw();
        if (event.detail) button.blur();
      };
      return button;
    });
    const toggle = () => { habits.beside = !habits.beside; this.draw(); };
    const group = element("div", { className: "group", role: "group", ariaLabel: "Overlay" }, ...made);
    const [fade, showOpacity] = slider("Opacity", 0, 100, 1,
      (value) => { habits.opacity = value / 100; this.draw(); });
    this.showOpacity = showOpacity;
    this.overlayButtons = made;
    const next = element("kbd", { textContent: "G", title: "Next overlay" });
    const gap = element("span", { className: "gap" });
    const beside = tool("beside", "Side by side", "S", toggle);
    // On a narrow screen the verdict stands near the image: the tools are folded away.
    const unfold = tool("unfold", "All tools", "", () => {
      this.root.classList.toggle("unfolded");
      this.draw();
    });
    row.replaceChildren(...(overlays.length ? [group, next, fade, gap, beside] : [gap]), unfold);
    const step = (by) => () => {
      const at = this.overlay < 0 ? overlays.length : this.overlay;
      habits.overlay = titles[(at + by + titles.length) % titles.length];
      this.draw();
    };
    if (!titles.length) return;
    this.keys.set("g", step(1)).set("shift+g", step(-1)).set("s", toggle);
  }

  useWindow(name) {
    const [low, high] = this.windows[name];
    Object.assign(this.view, { preset: name, low, high });
    this.draw();
  }

  showHelp(open) {
    if (!open) {
      this.help.close();
      return;
    }
    const rows = (HAS_KEYS ? this.keysInWords() : this.toolsInWords()).map(([sign, words]) =>
      element("div", {}, element("dt", {}, sign), element("dd", { textContent: words })));
    const close = element("button", { type: "button", textContent: "Close" });
    close.onclick = () => this.showHelp(false);
    this.help.replaceChildren(element("dl", {}, ...rows), element("p", {
      textContent: "R and L are the patient's right and left if the image is stored the usual "
        + "way round. A marker in the image takes precedence.",
    }), close);
    this.help.showModal();
    close.focus({ preventScroll: true });
    this.help.scrollTop = 0;
    this.draw();
  }

  keysInWords() {
    const { keys, comment, overlays, steps } = this.data;
    return [
      ...keys,
      ...(comment ? [["E", "Write a comment; Esc ends it"]] : []),
      ...this.listed.filter(([key]) => !this.isTaken(key)),
      ...(overlays.length ? [["G", "Next overlay"], ["S", "Side by side"]] : []),
      ...(steps ? [["← → or Page Up, Page Down", "Previous and next image"]] : []),
      ...GESTURES,
    ];
  }

  // Where there are no keys, no mouse shows what a button is called either.
  toolsInWords() {
    const tools = this.listed.flatMap(([, title, icon]) => (icon ? [[title, icon]] : []));
    if (this.data.overlays.length) tools.push(["Side by side", "beside"]);
    return [...tools.map(([title, icon]) => [drawing(icon), title]), ...TOUCHES];
  }

  toggleFullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.root.requestFullscreen();
  }

  // What is seen, all of it, with as many pixels as the radiograph has.
  save() {
    const { view, radiograph, data } = this;
    const lying = view.turns % 2;
    const canvas = canvasOf(lying ? radiograph.height : radiograph.width,
      lying ? radiograph.width : radiograph.height);
    const chosen = data.overlays[this.overlay];
    const heat = this.heat[this.overlay];
    const paper = canvas.getContext("2d");
    paper.translate(canvas.width / 2, canvas.height / 2);
    Pane.prototype.lay.call({ fit: () => 1 }, paper, {
      radiograph, view, table: this.table, opacity: habits.opacity,
      overlay: heat && { canvas: heat.coloured(palette()), box: chosen.box },
      contours: chosen ? data.contours : [],
    }, 1, 1, 0, 0);
    canvas.toBlob((blob) => {
      const href = URL.createObjectURL(blob);
      const overlay = chosen ? `-${chosen.title.toLowerCase().replace(/\W+/g, "-")}` : "";
      element("a", { href, download: `${data.save_as}${overlay}.png` }).click();
      setTimeout(() => URL.revokeObjectURL(href), 10_000);
    });
  }

  // --- keys ---

  hear(event) {
    const target = event.composedPath()[0];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && this.help.open) {
      event.stopImmediatePropagation();
      this.showHelp(false);
      return;
    }
    if (event.key === "Escape" && this.data?.comment && target.matches?.(this.data.comment)) {
      target.blur();
      return;
    }
    if (typing(target)) return;
    if (event.key.startsWith("Arrow") && target.closest?.("[data-arrows]")) return;
    const shift = event.shiftKey && event.key.length > 1 ? "shift+" : "";
    const key = shift + event.key.toLowerCase();
    const by = this.data?.steps && this.step(key);
    if (by) {
      event.preventDefault();
      this.component.setTriggerValue("step", by);
      return;
    }
    const meant = this.data?.keys.find(
      ([one]) => one.toLowerCase() === event.key.toLowerCase());
    if (meant) {
      this.pass(meant[0], event, target);
      return;
    }
    if (this.data?.comment && key === "e") {
      event.preventDefault();
      document.querySelector(this.data.comment)?.focus();
      return;
    }
    const run = this.data && this.keys.get(event.shiftKey && key === "g" ? "shift+g" : key);
    if (!run) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    run();
  }

  // Which image a key goes on to. In a zoomed one the arrows move it.
  step(key) {
    const arrows = this.view.zoom > 1 ? {} : { arrowright: 1, arrowleft: -1 };
    return { pagedown: 1, pageup: -1, ...arrows }[key];
  }

  // A key for the page. Streamlit's own shortcuts lose a key that comes while the page takes up
  // the one before; they serve where there is no image. Here all that were pressed are sent each
  // time, in order, numbered by the time so that numbers also rise where the viewer is mounted
  // anew; by the page's own, which does not jump.
  pass(name, event, target) {
    const activates = !pointed && target.closest?.("button, a, summary, [role=button]");
    event.stopImmediatePropagation();
    if (name === "Enter" && activates) return;
    event.preventDefault();
    if (event.repeat) return;
    const time = Math.round(performance.timeOrigin + performance.now());
    const number = Math.max((this.pressed.at(-1)?.[0] ?? 0) + 1, time);
    this.pressed = [...this.pressed, [number, this.data.stage, name]];
    this.component.setStateValue("pressed", this.pressed);
  }
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Tab") pointed = false;
  standing.at(-1)?.hear(event);
}, true);

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  let viewer = viewers.get(parentElement);
  if (!viewer) {
    viewer = new Viewer(parentElement.querySelector(".viewer"));
    viewers.set(parentElement, viewer);
  }
  viewer.show(data, { setStateValue, setTriggerValue });
  return () => {
    viewer.close();
    viewers.delete(parentElement);
  };
}

// How an image is looked at, and what changes it.

const MOST_ZOOM = 16;
// What stays from image to image: a reader sets it once.
const habits = { overlay: undefined, opacity: 0.6, colours: "cividis", beside: false };

function freshView() {
  return { preset: AS_TAKEN, low: 0, high: 255, inverted: false, mirrored: false, turns: 0,
           zoom: 1, x: 0, y: 0 };
}

const level = (view) => (view.high + view.low) / 2;
const width = (view) => view.high - view.low;
const within = (value, least, most) => Math.min(Math.max(value, least), most);

function setWindow(view, newLevel, newWidth) {
  const half = within(newWidth, 2, 510) / 2;
  const middle = within(newLevel, 0, 255);
  const preset = view.preset === LOCAL_CONTRAST ? LOCAL_CONTRAST : "";
  Object.assign(view, { low: middle - half, high: middle + half, preset });
}

// Zoom about a point that stays where it is; points are measured from the pane's middle.
function zoom(view, factor, at = { x: 0, y: 0 }) {
  const to = within(view.zoom * factor, 1, MOST_ZOOM);
  const by = to / view.zoom;
  view.x = at.x + (view.x - at.x) * by;
  view.y = at.y + (view.y - at.y) * by;
  view.zoom = to;
}

// On the screen, whichever way the image is turned.
function mirror(view) {
  view.mirrored = !view.mirrored;
  view.turns = (4 - view.turns) % 4;
  view.x = -view.x;
}

function rotate(view) {
  view.turns = (view.turns + 1) % 4;
  [view.x, view.y] = [-view.y, view.x];
}

function describe(view) {
  return [
    view.preset !== AS_TAKEN && (view.preset
      || `level ${Math.round(level(view))}, width ${Math.round(width(view))}`),
    view.inverted && "inverted", view.mirrored && "mirrored",
    view.turns && `rotated ${view.turns * 90}°`, view.zoom > 1 && `${view.zoom.toFixed(1)}×`,
  ].filter(Boolean).join(" · ");
}

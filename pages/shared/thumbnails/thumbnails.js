// Thumbnails to press. The one that was pressed looks chosen at once; the server hears of it.

function thumbnail(item) {
  const made = document.createElement("button");
  made.type = "button";
  made.title = item.title;
  made.setAttribute("aria-label", item.label);
  made.setAttribute("aria-current", item.current);
  const frame = document.createElement("span");
  frame.className = "frame";
  if (item.url) {
    frame.append(Object.assign(new Image(), { src: item.url, alt: "" }));
  } else {
    frame.append(Object.assign(document.createElement("span"),
      { className: "none", textContent: item.instead }));
  }
  for (const [side, words] of [["left", item.badge], ["right", item.mark]]) {
    if (!words) continue;
    frame.append(Object.assign(document.createElement("span"),
      { className: `badge ${side}`, textContent: words }));
  }
  made.append(frame);
  if (item.caption) {
    made.append(Object.assign(document.createElement("span"),
      { className: "caption", textContent: item.caption }));
  }
  return made;
}

export default function ({ data, parentElement, setTriggerValue }) {
  const list = parentElement.querySelector(".thumbnails");
  list.className = `thumbnails ${data.layout}`;
  list.setAttribute("aria-label", data.label);
  const press = (id, made) => {
    list.querySelectorAll("[aria-current=true]").forEach(
      (other) => other.setAttribute("aria-current", false));
    made.setAttribute("aria-current", true);
    setTriggerValue("chosen", id);
  };
  // Rebuilt only where something is another: the focus stays where it is.
  const wanted = JSON.stringify(data.items.map(({ current, ...rest }) => rest));
  if (list.wanted !== wanted) {
    const focused = [...list.children].indexOf(parentElement.activeElement);
    list.replaceChildren(...data.items.map(thumbnail));
    list.children[focused]?.focus();
    list.wanted = wanted;
  }
  data.items.forEach((item, at) => {
    const made = list.children[at];
    // The keys belong to the page again once the mouse lets go.
    made.onclick = (event) => { press(item.id, made); if (event.detail) made.blur(); };
    made.setAttribute("aria-current", item.current);
    if (item.current && data.layout === "strip") {
      // Sideways only: the page stays where it is.
      list.scrollLeft = made.offsetLeft - (list.clientWidth - made.clientWidth) / 2;
    }
  });
  list.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const at = [...list.children].indexOf(event.target.closest("button"));
    if (!step || at < 0) return;
    event.preventDefault();
    event.stopPropagation();
    list.children[at + step]?.focus();
  };
}

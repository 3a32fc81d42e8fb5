// The numbered cases of a session, to press.

const MARKS = { done: "✓", skipped: "↷", flagged: "⚑" };

function button({ position, state, flagged, open, current }, press) {
  const made = document.createElement("button");
  const marks = [state, flagged && "flagged"].filter(Boolean);
  made.type = "button";
  made.disabled = !open;
  made.title = [`Case ${position}`, ...marks].join(", ");
  made.setAttribute("aria-label", made.title);
  made.setAttribute("aria-current", current);
  const mark = document.createElement("span");
  mark.className = "mark";
  mark.textContent = marks.map((name) => MARKS[name]).join("");
  made.append(position, mark);
  // The keys belong to the page again once the mouse lets go.
  made.onclick = (event) => { press(position); if (event.detail) made.blur(); };
  return made;
}

export default function ({ data, parentElement, setTriggerValue }) {
  const list = parentElement.querySelector(".cases");
  const focused = [...list.children].indexOf(parentElement.activeElement);
  list.replaceChildren(...data.items.map(
    (item) => button(item, (position) => setTriggerValue("chosen", position))));
  list.children[focused]?.focus();
  const made = list.querySelector("[aria-current=true]");
  // Sideways only: the page stays where it is.
  if (made) list.scrollLeft = made.offsetLeft - (list.clientWidth - made.clientWidth) / 2;
  list.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const open = [...list.querySelectorAll("button:enabled")];
    const at = open.indexOf(event.target.closest("button"));
    if (!step || at < 0) return;
    event.preventDefault();
    open[at + step]?.focus();
  };
}

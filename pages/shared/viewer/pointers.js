// What a mouse and fingers do on the image: move, zoom, set the window, magnify.

function followPointers(viewer) {
  const held = new Map();
  let moved = 0;
  for (const { canvas } of viewer.panes) {
    const middle = (event) => {
      const box = canvas.getBoundingClientRect();
      return { x: event.clientX - box.left - box.width / 2,
               y: event.clientY - box.top - box.height / 2 };
    };
    canvas.onpointerdown = (event) => {
      canvas.setPointerCapture(event.pointerId);
      held.set(event.pointerId, middle(event));
      moved = 0;
      if (viewer.magnifying) { viewer.lens = middle(event); viewer.draw(); }
    };
    canvas.onpointermove = (event) => {
      const now = middle(event);
      if (viewer.magnifying) { viewer.lens = now; viewer.draw(); }
      const before = held.get(event.pointerId);
      if (!before) return;
      held.set(event.pointerId, now);
      const other = [...held].find(([id]) => id !== event.pointerId)?.[1];
      const { view } = viewer;
      const [x, y] = [now.x - before.x, now.y - before.y];
      moved += Math.abs(x) + Math.abs(y);
      if (other) {
        const apart = (point) => Math.hypot(point.x - other.x, point.y - other.y) || 1;
        zoom(view, apart(now) / apart(before), other);
      } else if (event.buttons & 2 || event.shiftKey) {
        setWindow(view, level(view) + y / 2, width(view) + x);
      } else if (!viewer.magnifying) {
        view.x += x;
        view.y += y;
      }
      viewer.draw();
    };
    canvas.onpointerup = canvas.onpointercancel = (event) => {
      held.delete(event.pointerId);
      if (event.pointerType === "touch" && viewer.magnifying) { viewer.lens = null; viewer.draw(); }
    };
    canvas.onpointerleave = () => { if (viewer.lens) { viewer.lens = null; viewer.draw(); } };
    canvas.oncontextmenu = (event) => event.preventDefault();
    canvas.ondblclick = (event) => {
      if (moved > 4) return;
      if (viewer.view.zoom > 1) Object.assign(viewer.view, { zoom: 1, x: 0, y: 0 });
      else zoom(viewer.view, 2.5, middle(event));
      viewer.draw();
    };
    canvas.addEventListener("wheel", (event) => {
      const factor = Math.exp(-event.deltaY / (event.ctrlKey ? 100 : 400));
      if (factor < 1 && viewer.view.zoom === 1) return; // nothing to do here: the page scrolls
      event.preventDefault();
      zoom(viewer.view, factor, middle(event));
      viewer.draw();
    }, { passive: false });
  }
}

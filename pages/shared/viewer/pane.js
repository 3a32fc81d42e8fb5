// One canvas with the radiograph as it is looked at: moved, turned, with what is laid over it.

const SMALLEST_LENS = 90;
const LENS_GAIN = 2.5;

class Pane {
  constructor(root) {
    this.root = root;
    this.canvas = root.querySelector("canvas");
    this.sides = ["R", "L"].map((side) => root.querySelector(`[data-side=${side}]`));
  }

  get size() {
    return [this.canvas.clientWidth, this.canvas.clientHeight];
  }

  // Screen pixels for one of the image where it fits into the pane.
  fit(radiograph, view) {
    const [width, height] = this.size;
    const lying = view.turns % 2;
    return Math.min(width / (lying ? radiograph.height : radiograph.width),
      height / (lying ? radiograph.width : radiograph.height));
  }

  // How far the image may be moved: never out of sight.
  limit(radiograph, view) {
    const scale = this.fit(radiograph, view) * view.zoom;
    const lying = view.turns % 2;
    const [width, height] = this.size;
    const across = (lying ? radiograph.height : radiograph.width) * scale;
    const down = (lying ? radiograph.width : radiograph.height) * scale;
    return [Math.max((across - width) / 2, 0), Math.max((down - height) / 2, 0)];
  }

  draw({ radiograph, view, table, overlay, opacity, contours, lens }) {
    const dots = window.devicePixelRatio || 1;
    const [width, height] = this.size.map((side) => Math.round(side * dots));
    if (!width || !height) return;
    if (this.canvas.width !== width || this.canvas.height !== height) {
      Object.assign(this.canvas, { width, height });
    }
    const paper = this.canvas.getContext("2d");
    paper.resetTransform();
    paper.clearRect(0, 0, width, height);
    paper.translate(width / 2, height / 2);
    const scene = { radiograph, view, table, overlay, opacity, contours };
    this.lay(paper, scene, dots, view.zoom, view.x, view.y);
    if (lens) this.magnify(paper, scene, dots, lens);
    this.sides.forEach((mark, at) => place(mark, view, at ? 1 : -1));
  }

  lay(paper, { radiograph, view, table, overlay, opacity, contours }, dots, zoom, x, y) {
    const scale = this.fit(radiograph, view) * zoom * dots;
    paper.save();
    paper.imageSmoothingQuality = "high";
    paper.translate(x * dots, y * dots);
    paper.rotate((view.turns * Math.PI) / 2);
    paper.scale(view.mirrored ? -scale : scale, scale);
    const { width, height } = radiograph;
    paper.translate(-width / 2, -height / 2);
    const local = view.preset === LOCAL_CONTRAST;
    paper.drawImage(radiograph.developed(table, scale, local), 0, 0, width, height);
    if (overlay) {
      const [left, top, right, bottom] = overlay.box;
      paper.globalAlpha = opacity;
      paper.drawImage(overlay.canvas, left * width, top * height,
        (right - left) * width, (bottom - top) * height);
      paper.globalAlpha = 1;
    }
    for (const [colour, dotted] of [["rgba(0,0,0,.75)", 3.5], ["rgba(255,255,255,.9)", 1.3]]) {
      paper.strokeStyle = colour;
      paper.lineWidth = (dotted * dots) / scale;
      paper.lineJoin = "round";
      for (const contour of contours) {
        paper.beginPath();
        for (const [across, down] of contour) paper.lineTo(across * width, down * height);
        paper.closePath();
        paper.stroke();
      }
    }
    paper.restore();
  }

  magnify(paper, scene, dots, { x, y }) {
    const radius = Math.max(SMALLEST_LENS, Math.min(...this.size) / 6);
    const gain = LENS_GAIN;
    const { view } = scene;
    paper.save();
    paper.beginPath();
    paper.arc(x * dots, y * dots, radius * dots, 0, 2 * Math.PI);
    paper.clip();
    paper.fillStyle = "#000";
    paper.fill();
    this.lay(paper, scene, dots, view.zoom * gain, x - (x - view.x) * gain,
      y - (y - view.y) * gain);
    paper.beginPath();
    paper.arc(x * dots, y * dots, radius * dots, 0, 2 * Math.PI);
    paper.lineWidth = 4 * dots;
    paper.strokeStyle = "#ddd";
    paper.stroke();
    paper.restore();
  }
}

// A letter stands on the side of the screen where its side of the image is.
function place(mark, view, side) {
  let [x, y] = [view.mirrored ? -side : side, 0];
  for (let turn = 0; turn < view.turns; turn += 1) [x, y] = [-y, x];
  mark.dataset.at = x < 0 ? "left" : x > 0 ? "right" : y < 0 ? "top" : "bottom";
}

// Pixels: a radiograph's grey levels through a window, and heatmaps in colour.

const AS_TAKEN = "As taken";
const LOCAL_CONTRAST = "Local contrast";
// Shares of the image's greys that become black and white. A radiograph of 8 bits has no scale of
// its own as CT has: the lungs are its dark half, bone its bright one.
const WINDOWS = {
  Auto: [0.005, 0.995],
  Lung: [0.01, 0.6],
  "Soft tissue": [0.25, 0.93],
  Bone: [0.5, 0.999],
};
const HEAT_SIDE = 768;

function loadImage(url) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("The browser cannot show this image."));
    image.src = url;
  });
}

function canvasOf(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

function scaled(source, width, height) {
  const paper = canvasOf(width, height).getContext("2d", { willReadFrequently: true });
  paper.imageSmoothingQuality = "high";
  paper.drawImage(source, 0, 0, width, height);
  return paper;
}

// A grey image at one size. It is developed through a table of 256 packed RGBA values, anew only
// where the table is another one.
class Level {
  constructor(grey, width, height) {
    Object.assign(this, { grey, width, height, table: null });
    this.pixels = new ImageData(width, height);
    this.words = new Uint32Array(this.pixels.data.buffer);
    this.canvas = canvasOf(width, height);
  }

  static read(paper) {
    const { width, height } = paper.canvas;
    const { data } = paper.getImageData(0, 0, width, height);
    const grey = new Uint8Array(width * height);
    for (let at = 0; at < grey.length; at += 1) grey[at] = data[at * 4];
    return new Level(grey, width, height);
  }

  developed(table) {
    if (this.table !== table) {
      const { words, grey } = this;
      for (let at = 0; at < grey.length; at += 1) words[at] = table[grey[at]];
      this.canvas.getContext("2d").putImageData(this.pixels, 0, 0);
      this.table = table;
    }
    return this.canvas;
  }

  get local() {
    this.equalized ??= new Level(equalizedLocally(this), this.width, this.height);
    return this.equalized;
  }
}

// A radiograph at its full size, a half, a quarter …: what is drawn small is developed small.
class Radiograph {
  constructor(image) {
    this.width = image.naturalWidth;
    this.height = image.naturalHeight;
    this.levels = Radiograph.levels(image, this.width, this.height);
  }

  static levels(source, width, height) {
    const found = [];
    for (let from = source; ;) {
      const paper = scaled(from, width, height);
      found.push(Level.read(paper));
      if (Math.max(width, height) < 700) return found;
      from = paper.canvas;
      width = Math.ceil(width / 2);
      height = Math.ceil(height / 2);
    }
  }

  // The smallest level that is not enlarged when `scale` screen pixels show one of the image.
  developed(table, scale, local) {
    const enough = this.levels.findLast((level) => level.width >= this.width * scale)
      ?? this.levels[0];
    return (local ? enough.local : enough).developed(table);
  }

  // Grey levels shown as black and white, by the window's name. Pure black and white, borders and
  // letters mostly, are not counted.
  windows() {
    const counts = new Uint32Array(256);
    for (const value of this.levels.at(-1).grey) counts[value] += 1;
    counts[0] = counts[255] = 0;
    const total = counts.reduce((sum, count) => sum + count, 0);
    const level = (share) => {
      let below = 0;
      for (let value = 0; value < 256; value += 1) {
        below += counts[value];
        if (below > 0 && below >= share * total) return value;
      }
      return 255;
    };
    const found = { [AS_TAKEN]: [0, 255], [LOCAL_CONTRAST]: [0, 255] };
    for (const [name, [dark, bright]] of Object.entries(WINDOWS)) {
      const low = total ? level(dark) : 0;
      found[name] = [low, total ? Math.max(level(bright), low + 1) : 255];
    }
    return found;
  }
}

function tableOf(low, high, inverted) {
  const table = new Uint32Array(256);
  for (let value = 0; value < 256; value += 1) {
    const share = Math.min(Math.max((value - low) / (high - low), 0), 1);
    const grey = Math.round(255 * (inverted ? 1 - share : share));
    table[value] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
  return table;
}

// Contrast-limited adaptive histogram equalization (Pizer et al. 1987) in eight by eight tiles.
function equalizedLocally({ grey, width, height }, tiles = 8, limit = 2) {
  const maps = [];
  for (let row = 0; row < tiles; row += 1) {
    for (let column = 0; column < tiles; column += 1) {
      const [top, bottom] = [row, row + 1].map((edge) => Math.round((edge * height) / tiles));
      const [left, right] = [column, column + 1].map((edge) => Math.round((edge * width) / tiles));
      maps.push(limitedMap(grey, width, top, bottom, left, right, limit));
    }
  }
  const out = new Uint8Array(grey.length);
  const places = (side) => Array.from({ length: side }, (_, at) => {
    const place = Math.min(Math.max(((at + 0.5) * tiles) / side - 0.5, 0), tiles - 1);
    const before = Math.floor(place);
    return [before, Math.min(before + 1, tiles - 1), place - before];
  });
  const columns = places(width);
  places(height).forEach(([above, below, down], y) => {
    for (let x = 0; x < width; x += 1) {
      const [before, after, across] = columns[x];
      const value = grey[y * width + x];
      const up = maps[above * tiles + before][value] * (1 - across)
        + maps[above * tiles + after][value] * across;
      const low = maps[below * tiles + before][value] * (1 - across)
        + maps[below * tiles + after][value] * across;
      out[y * width + x] = up * (1 - down) + low * down + 0.5;
    }
  });
  return out;
}

function limitedMap(grey, width, top, bottom, left, right, limit) {
  const counts = new Float32Array(256);
  for (let y = top; y < bottom; y += 1) {
    for (let at = y * width + left; at < y * width + right; at += 1) counts[grey[at]] += 1;
  }
  const area = (bottom - top) * (right - left);
  const most = (limit * area) / 256;
  let excess = 0;
  for (let value = 0; value < 256; value += 1) {
    excess += Math.max(counts[value] - most, 0);
    counts[value] = Math.min(counts[value], most);
  }
  let sum = 0;
  return counts.map((count) => {
    sum += count + excess / 256;
    return (255 * sum) / area;
  });
}

// A heatmap's grey values in colours that rise evenly in brightness, fading out with the heat.
class Heat {
  constructor(image) {
    const grow = Math.max(1, HEAT_SIDE / Math.max(image.naturalWidth, image.naturalHeight));
    const paper = scaled(image, Math.round(image.naturalWidth * grow),
      Math.round(image.naturalHeight * grow));
    this.level = Level.read(paper);
  }

  coloured(palette) {
    if (this.palette !== palette) {
      this.table = new Uint32Array(256);
      for (let value = 0; value < 256; value += 1) {
        const [red, green, blue] = palette.subarray(value * 3, value * 3 + 3);
        const cover = Math.round(255 * Math.sqrt(value / 255));
        this.table[value] = (cover << 24) | (blue << 16) | (green << 8) | red;
      }
      this.palette = palette;
    }
    return this.level.developed(this.table);
  }
}

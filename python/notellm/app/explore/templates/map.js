// One map: dots on a canvas. `scene()` says what is chosen; `chosen(row)` is called when somebody clicks on a dot.
class NoteMap {
  constructor(figure, scene, chosen) {
    this.canvas = figure.querySelector("canvas");
    this.caption = figure.querySelector("figcaption bdi");
    this.more = figure.querySelector("figcaption button");
    this.select = figure.querySelector("select");
    this.pen = this.canvas.getContext("2d");
    this.scene = scene;
    this.hovered = -1;
    this.select.addEventListener("change", () => { this.showAll(); chosen(scene().selected); });
    for (const button of figure.querySelectorAll("[data-zoom]")) {
      const factor = Number(button.dataset.zoom);
      button.addEventListener("click", () => (factor ? this.zoom(factor) : this.showAll()));
    }
    this.listen(chosen);
    this.showAll();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  get view() { return data.views[Number(this.select.value)]; }
  get name() { return this.select.selectedOptions[0].textContent; }

  showAll() { this.scale = 1; this.centre = [5000, 5000]; this.draw(); }

  zoom(factor, at = [0.5, 0.5]) {
    const scale = Math.min(40, Math.max(1, this.scale * factor));
    // what is under the pointer stays there
    this.centre = this.centre.map((c, axis) => c + (at[axis] - 0.5) * 10800 * (1 / this.scale - 1 / scale));
    this.scale = scale;
    this.keepInside();
    this.draw();
  }

  keepInside() {
    const slack = 5000 * (1 - 1 / this.scale);
    this.centre = this.centre.map((c) => Math.min(5000 + slack, Math.max(5000 - slack, c)));
  }

  // Where a note is, in CSS pixels. A margin of 4 % is left around all notes.
  place(row) {
    const unit = (this.canvas.clientWidth * this.scale) / 10800;
    const half = this.canvas.clientWidth / 2;
    const { points } = this.view;
    return [half + (points[2 * row] - this.centre[0]) * unit, half - (points[2 * row + 1] - (10000 - this.centre[1])) * unit];
  }

  nearest(x, y, reach) {
    let best = -1;
    const { isShown } = this.scene();
    for (let row = 0; row < COUNT; row++) {
      if (!isShown(row)) continue;
      const [px, py] = this.place(row);
      const away = Math.hypot(px - x, py - y);
      if (away <= reach) { best = row; reach = away; }
    }
    return best;
  }

  listen(chosen) {
    let pressed = null;
    this.canvas.addEventListener("pointerdown", (event) => { pressed = { x: event.clientX, y: event.clientY, moved: false }; });
    this.canvas.addEventListener("pointermove", (event) => {
      if (pressed && !event.buttons) pressed = null; // released outside of the map, which did not hear of it
      if (!pressed) return this.hover(event);
      const [dx, dy] = [event.clientX - pressed.x, event.clientY - pressed.y];
      if (!pressed.moved && Math.hypot(dx, dy) < 5) return undefined;
      if (this.scale === 1) return undefined;
      if (!pressed.moved) this.canvas.setPointerCapture(event.pointerId);
      const unit = 10800 / (this.canvas.clientWidth * this.scale);
      this.centre = [this.centre[0] - dx * unit, this.centre[1] - dy * unit];
      this.keepInside();
      pressed = { x: event.clientX, y: event.clientY, moved: true };
      return this.draw();
    });
    const release = (event) => {
      if (event.type === "pointerup" && pressed && !pressed.moved) {
        const row = this.nearest(event.offsetX, event.offsetY, event.pointerType === "touch" ? 24 : 14);
        if (row >= 0) chosen(row);
      }
      pressed = null;
    };
    for (const end of ["pointerup", "pointercancel"]) this.canvas.addEventListener(end, release);
    this.canvas.addEventListener("pointerleave", () => { this.hovered = -1; this.say(); });
    this.canvas.addEventListener("dblclick", (event) => {
      const size = this.canvas.clientWidth;
      this.zoom(1.6, [event.offsetX / size, event.offsetY / size]);
    });
  }

  hover(event) {
    this.hovered = this.nearest(event.offsetX, event.offsetY, 14);
    this.say();
  }

  // Below the map: the note under the pointer, or the chosen one.
  say() {
    const row = this.hovered >= 0 ? this.hovered : this.scene().selected;
    this.caption.textContent = row < 0 ? "\u00a0" : [titleOf(row), categoryOf(row)].filter(Boolean).join(" \u2013 ");
    this.more.hidden = row < 0 || row !== this.scene().selected;
  }

  draw() {
    const { canvas, pen } = this;
    const size = canvas.clientWidth;
    const sharp = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(size * sharp)) canvas.width = canvas.height = Math.round(size * sharp);
    pen.setTransform(sharp, 0, 0, sharp, 0, 0);
    pen.clearRect(0, 0, size, size);
    canvas.classList.toggle("zoomed", this.scale > 1);
    const style = getComputedStyle(document.documentElement);
    this.colour = (name) => style.getPropertyValue(name);
    this.drawDots(size < 500 ? 2.2 : 2.8);
    if (this.scene().selected >= 0) this.drawNeighbours();
    this.describe();
    this.say();
  }

  // Seldom categories first, so that coloured dots lie above grey ones; what is not looked for is faint.
  drawDots(radius) {
    const { isShown, isFiltered } = this.scene();
    const size = radius * Math.min(2.2, Math.sqrt(this.scale));
    for (const wanted of isFiltered ? [false, true] : [true]) {
      for (let colour = COLOURED; colour >= 0; colour--) {
        this.pen.fillStyle = this.colour(dotOf(colour));
        this.pen.globalAlpha = wanted ? 0.85 : 0.12;
        for (const row of rowsByColour[colour]) {
          if (isShown(row) === wanted) this.dot(row, wanted && isFiltered ? size * 1.3 : size);
        }
      }
    }
    this.pen.globalAlpha = 1;
  }

  dot(row, radius) {
    const [x, y] = this.place(row);
    this.pen.beginPath();
    this.pen.arc(x, y, radius, 0, 2 * Math.PI);
    this.pen.fill();
  }

  ring(row, radius, width) {
    this.pen.lineWidth = width;
    this.pen.beginPath();
    this.pen.arc(...this.place(row), radius, 0, 2 * Math.PI);
    this.pen.stroke();
  }

  drawNeighbours() {
    const { selected } = this.scene();
    const near = neighboursOf(this.view, selected).map(([row]) => row);
    this.pen.strokeStyle = this.colour("--ink");
    this.pen.lineWidth = 1;
    this.pen.globalAlpha = 0.45;
    this.pen.beginPath();
    for (const row of near) {
      this.pen.moveTo(...this.place(selected));
      this.pen.lineTo(...this.place(row));
    }
    this.pen.stroke();
    this.pen.globalAlpha = 1;
    for (const row of [selected, ...near]) {
      this.pen.fillStyle = this.colour(dotOf(colourOf(row)));
      this.dot(row, row === selected ? 6 : 4);
      this.ring(row, row === selected ? 7 : 4.5, row === selected ? 2.5 : 1.3);
    }
  }

  describe() {
    const { selected } = this.scene();
    const chosen = selected < 0 ? "none is chosen" : `chosen: ${titleOf(selected)}`;
    this.canvas.setAttribute("aria-label", `Map of ${COUNT} notes, ${this.name}, coloured by category; ${chosen}. `
      + "The search finds notes by words and lists their nearest notes.");
  }
}

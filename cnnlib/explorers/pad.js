// A grid of cells to draw on, by mouse, touch or keyboard. See pad.py.

const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const SOFT = 0.5; // half the width of a stroke's soft edge, in cells

function render({ model, el }) {
  const rows = model.get("rows");
  const columns = model.get("columns");
  const radius = (1.3 * Math.max(rows, columns)) / 28; // strokes about as wide as MNIST's
  el.classList.add("cnnlib-pad");
  el.innerHTML = `<figure>
    <div class="paper" tabindex="0" role="application" aria-label="Drawing pad of ${rows} by
      ${columns} cells. Arrow keys move the cursor, Space paints, Delete clears."><canvas
      width="${columns}" height="${rows}"></canvas><div class="cursor"></div></div>
    <figcaption><span role="status"></span>
    <button type="button" class="jupyter-button widget-button">Clear</button></figcaption></figure>`;
  const paper = el.querySelector(".paper");
  const canvas = el.querySelector("canvas");
  const cursor = el.querySelector(".cursor");
  const caption = el.querySelector("span");
  const button = el.querySelector("button");
  paper.style.aspectRatio = `${columns} / ${rows}`;
  cursor.style.width = `${100 / columns}%`;
  cursor.style.height = `${100 / rows}%`;
  let ink = new Uint8Array(rows * columns);
  let at = [Math.floor(rows / 2), Math.floor(columns / 2)]; // the cursor
  let last = null; // where the stroke that is being drawn has come to
  let down = false; // whether Space is held down

  function show() {
    const bytes = model.get("value");
    ink = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength).slice();
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(columns, rows);
    ink.forEach((value, k) => pixels.data.set([value, value, value, 255], 4 * k));
    context.putImageData(pixels, 0, 0);
  }

  // Setting a trait, not sending a message: while the kernel is busy with one drawing, ipywidgets
  // holds back the next and keeps only the newest, so that nothing queues up.
  function save() {
    model.set("value", new DataView(ink.slice().buffer));
    model.save_changes();
  }

  // Lay ink along a line between two places (row, column, in cells), or take it away there.
  function stroke([y0, x0], [y1, x1], erase) {
    const [dy, dx] = [y1 - y0, x1 - x0];
    const square = dy * dy + dx * dx;
    for (let k = 0; k < ink.length; k++) {
      const [y, x] = [Math.floor(k / columns) + 0.5, (k % columns) + 0.5];
      const along = square ? ((y - y0) * dy + (x - x0) * dx) / square : 0;
      const t = Math.max(0, Math.min(along, 1));
      const away = Math.hypot(y - y0 - t * dy, x - x0 - t * dx);
      const part = Math.max(0, Math.min((radius + SOFT - away) / (2 * SOFT), 1));
      const value = Math.round(255 * part);
      ink[k] = erase ? Math.min(ink[k], 255 - value) : Math.max(ink[k], value);
    }
    save();
  }

  // Here and not in Python: a stroke that is still held back must not come after it.
  function clear() {
    ink.fill(0);
    save();
  }

  function under(event) {
    const box = canvas.getBoundingClientRect();
    return [
      ((event.clientY - box.top) / box.height) * rows,
      ((event.clientX - box.left) / box.width) * columns,
    ];
  }

  function onDown(event) {
    if (event.button !== 0) return;
    paper.setPointerCapture(event.pointerId);
    last = under(event);
    stroke(last, last, event.shiftKey);
  }

  function onMove(event) {
    if (!last) return;
    const now = under(event);
    stroke(last, now, event.shiftKey);
    last = now;
  }

  const onUp = () => { last = null; };

  const middle = ([row, column]) => [row + 0.5, column + 0.5];

  function onKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const move = MOVES[event.key];
    if (move) {
      const from = at;
      at = [
        Math.max(0, Math.min(at[0] + move[0], rows - 1)),
        Math.max(0, Math.min(at[1] + move[1], columns - 1)),
      ];
      if (down) stroke(middle(from), middle(at), event.shiftKey);
      showCursor();
      caption.textContent = `row ${at[0]}, column ${at[1]}`;
    } else if (event.key === " " || event.key === "Enter") {
      if (event.key === " ") down = true;
      if (!event.repeat) stroke(middle(at), middle(at), event.shiftKey);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      clear();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation(); // or the notebook would select another cell, run this one, delete it
  }

  function onKeyUp(event) {
    if (event.key === " ") down = false;
  }

  const lift = () => { down = false; };

  function showCursor() {
    cursor.style.top = `${(100 * at[0]) / rows}%`;
    cursor.style.left = `${(100 * at[1]) / columns}%`;
  }

  const showCaption = () => { caption.textContent = model.get("caption"); };

  paper.addEventListener("pointerdown", onDown);
  paper.addEventListener("pointermove", onMove);
  paper.addEventListener("pointerup", onUp);
  paper.addEventListener("pointercancel", onUp);
  paper.addEventListener("keydown", onKey);
  paper.addEventListener("keyup", onKeyUp);
  paper.addEventListener("blur", lift);
  button.addEventListener("click", clear);
  model.on("change:value", show);
  model.on("change:caption", showCaption);
  show();
  showCursor();
  showCaption();
  return () => {
    model.off("change:value", show);
    model.off("change:caption", showCaption);
  };
}

export default { render };

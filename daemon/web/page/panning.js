// Zoom and pan of a picture: wheel, drag, pinch, keys.

const MOST = 12;

export function panning(stage, layer, changed) {
  let [scale, x, y] = [1, 0, 0];
  const pointers = new Map();

  const apply = () => {
    const box = stage.getBoundingClientRect();
    scale = Math.min(Math.max(scale, 1), MOST);
    x = Math.min(0, Math.max(x, box.width * (1 - scale)));
    y = Math.min(0, Math.max(y, box.height * (1 - scale)));
    layer.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    stage.classList.toggle("zoomed", scale > 1);
    changed(scale);
  };
  // Zooms about a point of the stage, which stays where it is.
  const zoom = (factor, atX, atY) => {
    const before = scale;
    scale = Math.min(Math.max(scale * factor, 1), MOST);
    x = atX - ((atX - x) * scale) / before;
    y = atY - ((atY - y) * scale) / before;
    apply();
  };
  const centre = () => [stage.clientWidth / 2, stage.clientHeight / 2];
  const reset = () => {
    [scale, x, y] = [1, 0, 0];
    apply();
  };
  const place = (event) => {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const spread = () => {
    const [[ax, ay], [bx, by]] = [...pointers.values()];
    return { size: Math.hypot(ax - bx, ay - by), at: [(ax + bx) / 2, (ay + by) / 2] };
  };

  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * 0.0015), ...place(event));
  }, { passive: false });
  stage.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, place(event));
    if (pointers.size > 1) stage.setPointerCapture(event.pointerId);
  });
  // A link in the picture is not dragged away, and a click on it that does not move stays its own.
  stage.addEventListener("dragstart", (event) => event.preventDefault());
  stage.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) return;
    const before = pointers.size === 2 ? spread() : null;
    const [wasX, wasY] = pointers.get(event.pointerId);
    const [isX, isY] = place(event);
    if (scale > 1 && Math.hypot(isX - wasX, isY - wasY) >= 1) stage.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [isX, isY]);
    if (before !== null) {
      const after = spread();
      x += after.at[0] - before.at[0];
      y += after.at[1] - before.at[1];
      zoom(after.size / Math.max(before.size, 1), ...after.at);
    } else if (pointers.size === 1 && scale > 1) {
      x += isX - wasX;
      y += isY - wasY;
      apply();
    }
  });
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
    stage.addEventListener(name, (event) => pointers.delete(event.pointerId));
  }
  stage.addEventListener("dblclick", (event) => (scale > 1 ? reset() : zoom(3, ...place(event))));
  stage.addEventListener("keydown", (event) => {
    const step = 60;
    const keys = {
      "+": () => zoom(1.4, ...centre()), "=": () => zoom(1.4, ...centre()), "-": () => zoom(1 / 1.4, ...centre()), 0: reset,
      ArrowLeft: () => (x += step), ArrowRight: () => (x -= step), ArrowUp: () => (y += step), ArrowDown: () => (y -= step),
    };
    if (!(event.key in keys) || (scale === 1 && event.key.startsWith("Arrow"))) return;
    event.preventDefault();
    keys[event.key]();
    apply();
  });
  return { zoomIn: () => zoom(1.6, ...centre()), zoomOut: () => zoom(1 / 1.6, ...centre()), reset };
}

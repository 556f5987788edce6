// An image of which only the newest matters: while one is on its way, those in between are left out.

export function newest(image, shown = () => {}) {
  let wanted = null;
  let loading = false;
  const next = () => {
    if (loading || wanted === null) return;
    const path = wanted;
    wanted = null;
    if (image.getAttribute("src") === path) return;
    loading = true;
    image.src = path;
  };
  const ended = (good) => () => {
    loading = false;
    if (good) shown();
    next();
  };
  image.addEventListener("load", ended(true));
  image.addEventListener("error", ended(false));
  return (path) => {
    wanted = path;
    next();
  };
}

// Light or dark as the system has it, from the first paint on.

const light = matchMedia("(prefers-color-scheme: light)");
const follow = () => {
  document.documentElement.dataset.theme = light.matches ? "light" : "dark";
};
light.addEventListener("change", follow);
follow();

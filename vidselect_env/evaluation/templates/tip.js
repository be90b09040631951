const tip = document.querySelector("#tip");
const tell = event => {
  const says = event.target.dataset && event.target.dataset.tip;
  tip.hidden = !says;
  if (!says) return;
  tip.textContent = says;
  const box = event.target.getBoundingClientRect(), own = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(box.left, innerWidth - own.width - 4))}px`;
  tip.style.top = `${Math.max(4, box.top - own.height - 6)}px`;
};
document.addEventListener("pointerover", tell);
document.addEventListener("focusin", tell);
document.addEventListener("click", tell);

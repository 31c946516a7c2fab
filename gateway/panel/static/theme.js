// Before anything is drawn: the theme and language that were chosen here last.
const chosen = localStorage.getItem("theme");
if (chosen) document.documentElement.dataset.theme = chosen;

// The token of an invitation lies behind the # of its link, which no server and no log sees; it is sent once.
import { say, language } from "/static/words.js";

const field = document.getElementById("token");
const told = document.getElementById("told");
document.documentElement.lang = language();
document.title = `citygate: ${say("signIn")}`;
document.getElementById("label").textContent = say("token");
document.getElementById("go").textContent = say("signIn");
document.getElementById("how").textContent = say("howToSignIn");

async function signIn(token) {
  told.textContent = "";
  try {
    const answer = await fetch("/api/sign-in", {
      method: "POST", headers: { "content-type": "application/json", "x-citygate": "1" },
      body: JSON.stringify({ token }),
    });
    if (answer.ok) return location.replace("/");
    const why = await answer.json();
    told.textContent = `${why.code} ${language() === "ko" ? why.error_ko : why.error}`;
  } catch {
    told.textContent = say("noPanel");
  }
}

document.getElementById("form").addEventListener("submit", (event) => {
  event.preventDefault();
  signIn(field.value.trim());
});

const link = location.hash.slice(1);
if (link) {
  history.replaceState(null, "", location.pathname);
  signIn(link);
}

// Asks one question after another; answers stay in the page until they are saved as CSV.
const { study, questions } = JSON.parse(document.getElementById("data").textContent);
const answers = [];
// Tells this rater's answers from others', so that a copy of the file is noticed.
const rater = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
const byId = (id) => document.getElementById(id);

function show() {
  const at = answers.length;
  byId("progress").textContent = `${at} of ${questions.length} answered`;
  byId("question").hidden = at >= questions.length;
  byId("done").hidden = at < questions.length;
  if (at < questions.length) {
    byId("source").src = questions[at].source;
    byId("left").querySelector("img").src = questions[at].left;
    byId("right").querySelector("img").src = questions[at].right;
  } else {
    const rows = answers.map((answer, trial) => `${study},${trial},${answer},${rater}`);
    byId("export").href = URL.createObjectURL(new Blob([["study,trial,answer,rater", ...rows].join("\n") + "\n"], { type: "text/csv" }));
  }
}

function answer(side) {
  if (answers.length < questions.length) {
    answers.push(side);
    show();
  }
}

byId("left").addEventListener("click", () => answer("left"));
byId("right").addEventListener("click", () => answer("right"));
document.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") answer("left");
  else if (event.key === "ArrowRight") answer("right");
  else if (event.key === "Backspace") {
    answers.pop();
    show();
  } else return;
  event.preventDefault();
});
show();

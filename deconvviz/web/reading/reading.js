"use strict";
// Questions of a test of reading: a person answers, and sees a score beside the observers'.
(() => {
  const { questions, observers } = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const buttons = [...document.querySelectorAll("#choices button")];
  let answers = [];

  /** Wilson's 95 % interval of a share. */
  function interval(hits, count) {
    const z = 1.959963984540054, share = hits / count, part = z * z / count;
    const middle = (share + part / 2) / (1 + part);
    const reach = z / (1 + part) * Math.sqrt(share * (1 - share) / count + part / (4 * count));
    return [Math.max(0, middle - reach), Math.min(1, middle + reach)];
  }

  function add(parent, tag, text, className) {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    parent.append(element);
    return element;
  }

  function picture(parent, source, alt, className) {
    const image = add(parent, "img", undefined, className);
    image.src = source;
    image.alt = alt;
  }

  function ask() {
    const number = answers.length, question = questions[number];
    byId("place").textContent = `Question ${number + 1} of ${questions.length}`;
    byId("pictures").src = question.pictures;
    byId("pictures").alt = `Pictures of channel ${question.channel}`;
    byId("channel").textContent = `channel ${question.channel}`;
    buttons.forEach((button, choice) => {
      const image = button.querySelector("img");
      image.src = question.choices[choice];
      image.alt = `Piece ${choice + 1}`;
    });
  }

  function answer(choice) {
    if (answers.length >= questions.length) return;
    answers.push(choice);
    if (answers.length < questions.length) ask(); else finish();
  }

  function row(name, hits) {
    const count = questions.length, line = add(byId("scores"), "tr");
    const [low, high] = interval(hits, count);
    const spread = count < 8 ? "too few to say" : `${low.toFixed(2)} to ${high.toFixed(2)}`;
    [name, `${hits} of ${count}`, (hits / count).toFixed(2), spread].forEach((text) => add(line, "td", text));
  }

  function finish() {
    const right = questions.map((question, number) => question.answer === answers[number]);
    const hits = right.filter(Boolean).length;
    byId("question").hidden = true;
    byId("place").textContent = "";
    byId("result").hidden = false;
    byId("score").textContent = `You: ${hits} of ${questions.length} right`;
    byId("scores").replaceChildren();
    row("you", hits);
    observers.forEach((name) => row(`observer: ${name}`, questions.reduce((sum, one) => sum + one.right[name], 0)));
    byId("chance").textContent = `Guessing scores 0.50: about ${questions.length / 2} of ${questions.length}.`;
    byId("review").replaceChildren();
    questions.forEach((question, number) => {
      const item = add(byId("review"), "li"), chosen = answers[number];
      add(item, "span", right[number] ? "Right" : "Wrong", right[number] ? "right" : "wrong");
      add(item, "span", ` - channel ${question.channel}, you chose ${chosen + 1}`);
      const pictures = add(item, "div");
      picture(pictures, question.pictures, `Pictures of channel ${question.channel}`);
      question.choices.forEach((source, choice) => {
        const fires = choice === question.answer;
        picture(pictures, source, `Piece ${choice + 1}, ${fires ? "fires it" : "does not"}`, fires ? "fires" : "");
      });
      const [first, second] = question.activations.map((value) => value.toPrecision(3));
      add(item, "span", `${question.names[0]}: ${first}; ${question.names[1]}: ${second}`);
    });
    byId("result").focus();
  }

  function start() {
    answers = [];
    byId("result").hidden = true;
    byId("question").hidden = false;
    ask();
  }

  buttons.forEach((button, choice) => button.addEventListener("click", (event) => {
    if (event.detail < 2) answer(choice); // the second press of two comes before the next question is seen
  }));
  byId("again").addEventListener("click", start);
  document.addEventListener("keydown", (event) => {
    if (event.repeat && event.key === "Enter") event.preventDefault(); // it would press a button again
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.key === "1" || event.key === "2") answer(Number(event.key) - 1);
  });
  start();
})();

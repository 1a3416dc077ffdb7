const test = JSON.parse(document.getElementById("content").textContent);
const POINTS = { 1: "bad", 2: "poor", 3: "fair", 4: "good", 5: "excellent" };
const KEPT = `listening-test/${test.test}`;
const total = test.scales.length * test.clips.reduce((sum, clip) => sum + clip.captions.length, 0);

const find = (id) => document.getElementById(id);
const screens = ["start", "rating", "end"].map(find);
const sound = find("sound");

let rater = "";
let clips = [];
let place = 0;
let ratings = {}; // of captions by id: a number for each scale, and when

// What is kept in the browser

function keep(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    find("unsaved").hidden = false;
  }
}

function kept(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null;
  }
}

const keepAll = () => keep(`${KEPT}/of/${rater}`, { place, ratings });

// Counts

const given = (caption) => test.scales.filter((scale) => ratings[caption.id]?.[scale.name]).length;
const givenOf = (clip) => clip.captions.reduce((sum, caption) => sum + given(caption), 0);
const wantedOf = (clip) => clip.captions.length * test.scales.length;
const givenInAll = () => clips.reduce((sum, clip) => sum + givenOf(clip), 0);

// Elements; texts are set as texts, never as HTML

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function show(screen, heading) {
  sound.pause();
  for (const other of screens) {
    other.hidden = other !== screen;
  }
  const started = screen !== screens[0];
  find("bar").hidden = !started;
  find("overview").hidden = !started;
  heading.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

// Start

function begin(name) {
  rater = name;
  const before = kept(`${KEPT}/of/${rater}`) ?? { place: 0, ratings: {} };
  ratings = before.ratings;
  clips = ordered(test.clips, rater, (clip) => clip.captions[0].id).map((clip) => ({
    ...clip,
    captions: ordered(clip.captions, rater, (caption) => caption.id),
  }));
  keep(`${KEPT}/rater`, rater);
  find("who").textContent = rater;
  open(Math.min(before.place, clips.length - 1));
}

const nameGiven = () => find("rater").value.normalize("NFC").trim().replace(/\s+/g, " ");

find("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  if (nameGiven()) {
    begin(nameGiven());
  } else {
    find("rater").value = "";
    find("rater").reportValidity();
  }
});

find("rater").addEventListener("input", () => {
  const before = kept(`${KEPT}/of/${nameGiven()}`);
  find("found").textContent = before && nameGiven() ? "Ratings under this name are kept here: you will go on where you stopped." : "";
});

find("leave").addEventListener("click", () => {
  keep(`${KEPT}/rater`, "");
  find("rater").value = "";
  find("found").textContent = "";
  show(screens[0], find("rater"));
});

// Rating

function open(number) {
  place = number;
  keepAll();
  const clip = clips[place];
  find("heading").textContent = `Clip ${place + 1} of ${clips.length}`;
  sound.src = clip.sound;
  find("captions").replaceChildren(...clip.captions.map(card));
  find("previous").disabled = place === 0;
  find("next").textContent = place === clips.length - 1 ? "Finish" : "Next clip";
  show(screens[1], find("heading"));
  refresh();
}

const letter = (number) => String.fromCharCode(65 + number);

function card(caption, number) {
  const name = `caption-${number}`;
  const text = element("p", { class: "text", id: name }, caption.text);
  const scales = test.scales.map((scale) => choices(caption, scale, name, letter(number)));
  return element("article", { class: "card", "data-letter": letter(number), "aria-labelledby": name },
    element("span", { class: "letter", "aria-hidden": "true" }, letter(number)), text, ...scales);
}

function choices(caption, scale, described, mark) {
  const group = `${scale.name}-${mark}`;
  const labels = test.points.map((point) => {
    const input = element("input", { type: "radio", name: group, value: point, "aria-label": `${point}, ${POINTS[point]}` });
    input.checked = ratings[caption.id]?.[scale.name] === point;
    input.addEventListener("change", () => rate(caption, scale, point));
    return element("label", { title: POINTS[point] }, input, element("span", { "aria-hidden": "true" }, `${point}`));
  });
  return element("fieldset", { "aria-describedby": described, "data-scale": scale.name },
    element("legend", {}, element("span", { class: "unseen" }, `Caption ${mark}: `), scale.question),
    element("div", { class: "points" }, ...labels),
    element("div", { class: "ends", "aria-hidden": "true" }, element("span", {}, POINTS[1]), element("span", {}, POINTS[5])));
}

function rate(caption, scale, point) {
  ratings[caption.id] = { ...ratings[caption.id], [scale.name]: point, when: new Date().toISOString() };
  keepAll();
  refresh();
}

function refresh() {
  const done = givenInAll();
  find("progress").max = total;
  find("progress").value = done;
  find("counted").textContent = `${done} of ${total} ratings`;
  find("overview").firstElementChild.replaceChildren(...clips.map((clip, number) => {
    const state = givenOf(clip) === wantedOf(clip) ? "complete" : givenOf(clip) ? "partial" : "empty";
    const label = `Clip ${number + 1}, ${givenOf(clip)} of ${wantedOf(clip)} rated`;
    const button = element("button", { type: "button", "aria-label": label, "data-state": state }, `${number + 1}`);
    if (number === place && !screens[1].hidden) {
      button.setAttribute("aria-current", "true");
    }
    button.addEventListener("click", () => open(number));
    return element("li", {}, button);
  }));
}

function turn(step) {
  if (place + step >= clips.length) {
    finish();
  } else if (place + step >= 0) {
    open(place + step);
  }
}

find("previous").addEventListener("click", () => turn(-1));
find("next").addEventListener("click", () => turn(1));

// Keys. Those of buttons, links, the player and the name field stay theirs.

const groups = () => [...find("captions").querySelectorAll("fieldset")];
const chosen = (group) => group.querySelector("input:checked");
const enter = (group) => (chosen(group) ?? group.querySelector("input")).focus();

function ratePoint(point) {
  const all = groups();
  const current = document.activeElement.closest("fieldset") ?? all.find((group) => !chosen(group)) ?? all[0];
  current.querySelector(`input[value="${point}"]`)?.click();
  const later = all.slice(all.indexOf(current) + 1);
  const next = later.find((group) => !chosen(group)) ?? all.find((group) => !chosen(group));
  if (next) {
    enter(next);
  } else {
    find("next").focus();
  }
}

function move(step) {
  const all = groups();
  const current = all.indexOf(document.activeElement.closest("fieldset"));
  enter(all[current < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(current + step, 0), all.length - 1)]);
}

document.addEventListener("keydown", (event) => {
  if (screens[1].hidden || event.ctrlKey || event.altKey || event.metaKey) {
    return;
  }
  const actions = {
    ArrowUp: () => move(-1),
    ArrowDown: () => move(1),
    n: () => turn(1),
    p: () => turn(-1),
  };
  if (!event.target.closest("button, audio")) {
    actions[" "] = () => (sound.paused ? sound.play() : sound.pause());
  }
  for (const point of test.points) {
    actions[point] = () => ratePoint(point);
  }
  const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (action && !(event.target === sound && event.key.startsWith("Arrow"))) {
    event.preventDefault();
    action();
  }
});

// End

function finish() {
  const missing = total - givenInAll();
  find("ended").textContent = missing ? "Not finished yet" : "Thank you!";
  show(screens[2], find("ended"));
  const where = clips.flatMap((clip, number) => (givenOf(clip) < wantedOf(clip) ? [number + 1] : []));
  find("missing").hidden = !missing;
  find("missing").textContent = missing
    ? `${missing} of ${total} ratings are missing, in clip ${where.join(", ")}. Open a clip below to rate it. What you have rated can be downloaded, and counts, as it is.`
    : "";
  find("downloaded").textContent = "";
  refresh();
}

find("back").addEventListener("click", () => open(place));

const quoted = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : `${value}`);

/** The ratings as CSV, one line for each caption that has one. */
function csv() {
  const lines = [[...test.columns.about, ...test.scales.map((scale) => scale.name), test.columns.when]];
  for (const clip of clips) {
    clip.captions.forEach((caption, number) => {
      if (given(caption)) {
        const own = ratings[caption.id];
        const values = test.scales.map((scale) => own[scale.name] ?? "");
        lines.push([rater, clip.id, letter(number), caption.id, ...values, own.when]);
      }
    });
  }
  return lines.map((line) => line.map((value) => quoted(`${value}`)).join(",") + "\n").join("");
}

find("download").addEventListener("click", () => {
  const address = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  const file = `${test.name}-${rater.replace(/[^\p{L}\p{N}_-]+/gu, "_")}.csv`;
  element("a", { href: address, download: file }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
  find("downloaded").textContent = `Saved as ${file}.`;
});

// What the start says, and where a rater stopped

find("clips").textContent = test.clips.length;
find("questions").append(...test.scales.map((scale) => element("div", {},
  element("dt", {}, scale.question), element("dd", {}, test.points.map((point) => `${point} ${POINTS[point]}`).join(" · ")))));
keep(`${KEPT}/opened`, true);
if (kept(`${KEPT}/rater`)) {
  begin(kept(`${KEPT}/rater`));
}

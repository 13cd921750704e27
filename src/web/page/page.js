// The page's script: asks /live every second and shows the answer.
// What posts say is untrusted: it becomes text nodes and nothing else, and links lead to http and https alone.
"use strict";

const POLL_MS = 1000;
const ANSWER_MS = 5000;
const TREND_POINTS = 60;
const STAGE_ORDER = ["score", "signal", "archive"];
const STAGE_TEXT = {
  score: "posts → sentiment",
  signal: "mentions → alerts",
  archive: "samples → Parquet",
};
const ABSTAINED = {
  "low-confidence": "low confidence",
  "unknown-language": "unknown language",
  "empty-text": "no text",
  "deleted": "deleted",
  "not-answered": "not answered",
};
const EXPLAINED = {
  lag: "Records between the committed positions and the ends. Where transactions write, one or more remain at rest.",
  partitions: "Partitions that this process reads.",
  "rows in total": "Posts, mentions (ticks among them) and samples committed since the start of this process.",
  since: "Log time at which the condition began to hold.",
};

const byId = (id) => document.getElementById(id);
const trends = new Map();
const shown = new Map();
let last = null;

/** An element with attributes and children; strings become text nodes. */
function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Builds a section anew only when its data changed: a selection and the reader's place survive the rest. */
function show(id, data, build) {
  const key = JSON.stringify(data);
  if (shown.get(id) === key) return;
  shown.set(id, key);
  byId(id).replaceChildren(...build(data));
}

// Figures and times

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const brief = new Intl.NumberFormat("en", { maximumFractionDigits: 1, notation: "compact" });

const count = (value) => (value < 1e6 ? whole.format(value) : brief.format(value));
const rate = (value) => (value > 0 && value < 10 ? value.toFixed(1) : count(value));
const minus = (text) => text.replace("-", "−");

function figure(value) {
  if (value === null || value === undefined) return "–";
  return minus(Math.abs(value) < 100 ? value.toFixed(2) : whole.format(value));
}

function signed(value) {
  const text = value.toFixed(2);
  return value > 0 && text !== "0.00" ? `+${text}` : minus(text === "-0.00" ? "0.00" : text);
}

function moment(at, now) {
  const text = String(at);
  const day = text.slice(0, 10);
  const clock = text.slice(11, 19);
  const label = day === String(now).slice(0, 10) ? clock : `${day} ${clock}`;
  return make("time", { datetime: text, title: `${text} (UTC)` }, label);
}

/** A span of time that goes on by itself. */
function since(at) {
  const element = make("span", { "data-since": at });
  element.textContent = lasting(at);
  return element;
}

function lasting(at) {
  const seconds = Math.max(0, Math.round((Date.parse(last.at) - Date.parse(at)) / 1000));
  if (Number.isNaN(seconds)) return "";
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d`;
}

// Pieces

/** The text as a link where the address is one of the web, else the text alone. */
function linked(text, address) {
  let url = null;
  try {
    url = address ? new URL(address) : null;
  } catch {
    url = null;
  }
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) return make("bdi", {}, text);
  const link = make("a", { rel: "noopener noreferrer", target: "_blank", title: url.host }, make("bdi", {}, text));
  link.href = url.href;
  return link;
}

/** A bar from −1 to +1 with zero in the middle, beside words that say the same. */
function scoreBar(score, tone) {
  const fill = make("span", { class: "fill" });
  const share = Math.min(1, Math.abs(score)) * 50;
  fill.style.width = `${share}%`;
  fill.style.left = `${score < 0 ? 50 - share : 50}%`;
  return make("span", { class: "bar", "data-tone": tone, "aria-hidden": "true" }, fill);
}

const toneOf = (score) => (score > 0 ? "positive" : score < 0 ? "negative" : "neutral");

function lean(sentiment) {
  const reason = sentiment.reason ? ABSTAINED[sentiment.reason] ?? sentiment.reason : null;
  const words = sentiment.label ?? `abstained: ${reason ?? "no answer"}`;
  const known = typeof sentiment.score === "number";
  const tone = sentiment.label === null ? "unsure" : toneOf(sentiment.label === "neutral" ? 0 : sentiment.score);
  return make("div", { class: "lean" },
    known ? scoreBar(sentiment.score, tone) : scoreBar(0, "unsure"),
    make("span", { class: "figure" }, known ? signed(sentiment.score) : "–"),
    make("span", { class: "word", "data-tone": tone }, words));
}

const subjectName = (subject) => (subject.startsWith("topic:") ? subject.slice(6).replaceAll("-", " ") : subject);

function subjectChip(subject) {
  const kind = subject === "market" ? "market" : subject.startsWith("topic:") ? "topic" : "instrument";
  return make("span", { class: "chip", "data-kind": kind, title: subject }, subjectName(subject));
}

const empty = (title, text) => make("div", { class: "empty" }, make("strong", {}, title), make("span", {}, text));

function pair(term, ...value) {
  return make("div", { title: EXPLAINED[term] }, make("dt", {}, term), make("dd", {}, ...value));
}

// Sections

function trend(name) {
  const points = trends.get(name) ?? [];
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  const top = Math.max(...points, 1);
  const x = (index) => 120 - (points.length - 1 - index) * (120 / (TREND_POINTS - 1));
  const y = (value) => 27 - (value / top) * 24;
  line.setAttribute("points", points.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`).join(" "));
  svg.setAttribute("viewBox", "0 0 120 30");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "trend");
  svg.setAttribute("aria-hidden", "true");
  svg.append(line);
  return svg;
}

function stageState(stage, finished) {
  if (stage.detail === "finished" || (finished && !stage.ready)) return ["finished", "finished"];
  if (stage.ready) return ["ready", "ready"];
  return ["waiting", stage.detail || "not ready yet"];
}

function stageItem([name, stage], finished) {
  const [state, words] = stageState(stage, finished);
  const lag = stage.lag === null ? "–" : count(stage.lag);
  return make("li", { class: "stage", "data-state": state },
    make("div", { class: "stage-head" },
      make("h3", {}, name),
      make("span", { class: "muted" }, STAGE_TEXT[name] ?? ""),
      make("span", { class: "dot", "data-state": state }, words)),
    make("div", { class: "stage-rate" },
      make("p", {}, make("span", { class: "big" }, finished ? "–" : rate(stage.rows_per_second)), make("span", { class: "muted" }, " rows/s")),
      trend(name)),
    make("dl", {},
      pair("lag", lag),
      pair("partitions", stage.partitions > 0 ? count(stage.partitions) : "–"),
      pair("rows in total", count(stage.rows))));
}

function showStages(live) {
  const rank = (name) => (STAGE_ORDER.includes(name) ? STAGE_ORDER.indexOf(name) : STAGE_ORDER.length);
  const stages = Object.entries(live.stages).sort(([a], [b]) => rank(a) - rank(b) || a.localeCompare(b));
  for (const [name, stage] of stages) {
    const points = trends.get(name) ?? [];
    points.push(stage.rows_per_second);
    trends.set(name, points.slice(-TREND_POINTS));
  }
  byId("stages").replaceChildren(...(stages.length > 0
    ? stages.map((stage) => stageItem(stage, live.finished))
    : [make("li", {}, empty("No stage has started yet.", "They appear here as soon as they do."))]));
}

function evidenceItem(post) {
  return make("li", {},
    make("span", { class: "evidence-score", "data-tone": toneOf(post.score) }, signed(post.score)),
    make("span", { class: "evidence-text" },
      linked(post.excerpt, post.url),
      make("span", { class: "muted" }, " ", make("bdi", {}, post.source), " · ", moment(post.published_at, last.at),
        ` · ${Math.round(post.weight * 100)} % of the weight`)));
}

function alertCard(alert) {
  return make("article", { class: "card", "data-severity": alert.severity },
    make("header", {},
      make("span", { class: "severity" }, alert.severity),
      subjectChip(alert.subject),
      make("span", { class: "muted rule" }, alert.rule)),
    make("p", { class: "summary" }, make("bdi", {}, alert.summary)),
    make("dl", {},
      pair("value", make("span", { class: "strong" }, figure(alert.value))),
      pair("threshold", figure(alert.threshold)),
      pair("since", moment(alert.starts_at, last.at)),
      pair("for", since(alert.starts_at))),
    alert.evidence.length > 0
      ? make("div", { class: "evidence" }, make("h3", {}, "Evidence"), make("ol", {}, ...alert.evidence.map(evidenceItem)))
      : null);
}

function showFiring(live) {
  const firing = live.firing;
  setText(byId("firing-count"), firing.length > 0 ? String(firing.length) : "");
  const key = firing.map((alert) => alert.id);
  if (shown.get("firing") !== JSON.stringify(firing)) {
    const said = firing.map((alert) => `${alert.severity}: ${alert.summary}`).slice(0, 3).join(". ");
    setText(byId("spoken"), key.length > 0 ? `${key.length} firing. ${said}` : "No alert is firing.");
  }
  show("firing", firing, () => (firing.length > 0
    ? firing.map(alertCard)
    : [empty("No alert is firing.", "An alert appears here, with the posts that caused it, as soon as a rule fires.")]));
}

function headed(classes, titles, rows) {
  const head = make("tr", { role: "row" }, ...titles.map((title) => make("th", { scope: "col", role: "columnheader" }, title)));
  return make("div", { class: "scroll" }, make("table", { class: classes, role: "table" },
    make("thead", { role: "rowgroup" }, head), make("tbody", { role: "rowgroup" }, ...rows)));
}

const cell = (name, ...children) => make("td", { class: name, role: "cell" }, ...children);

function postRow(post) {
  const topic = post.topic.label;
  const subjects = post.subjects.filter((subject) => subject !== "market" && subject !== `topic:${topic}`);
  const more = post.subjects_more > 0 ? make("span", { class: "muted" }, `+${post.subjects_more}`) : null;
  const reason = ABSTAINED[post.topic.reason] ?? "no answer";
  return make("tr", { role: "row" },
    cell("at", moment(post.published_at, last.at)),
    cell("source", make("bdi", {}, post.source), make("span", { class: "muted" }, post.kind)),
    cell("text", linked(post.text === "" ? "(no text)" : post.text, post.url)),
    cell("sentiment", lean(post.sentiment)),
    cell("topic", topic === null ? make("span", { class: "muted", title: "the model abstained" }, reason) : topic.replaceAll("-", " ")),
    cell("subjects", ...subjects.map(subjectChip), more));
}

function showPosts(live) {
  setText(byId("posts-count"), live.posts.length > 0 ? String(live.posts.length) : "");
  show("posts", live.posts, (posts) => (posts.length > 0
    ? [headed("posts-table", ["Published", "Source", "Text", "Sentiment", "Topic", "Subjects"], posts.map(postRow))]
    : [empty("No post has been scored yet.", live.finished
      ? "The input held none." : "The latest fifty appear here as they arrive.")]));
}

function indexItem(index) {
  const known = typeof index.value === "number";
  return make("li", {},
    subjectChip(index.subject),
    known ? scoreBar(index.value, toneOf(index.value)) : scoreBar(0, "unsure"),
    make("span", { class: "figure" }, known ? signed(index.value) : "–"),
    make("span", { class: "muted", title: "mentions" }, count(index.mentions)));
}

function showIndices(live) {
  show("indices", live.indices, (indices) => (indices.length > 0
    ? [make("ol", { class: "indices" }, ...indices.map(indexItem))]
    : [empty("No index yet.", "Who is spoken of most stands here, with the mean of what is said.")]));
}

function changeItem(alert) {
  return make("li", { "data-severity": alert.severity, "data-change": alert.state },
    make("div", { class: "change-head" },
      make("span", { class: "change" }, alert.state), subjectChip(alert.subject), moment(alert.at, last.at)),
    make("p", {}, make("bdi", {}, alert.summary)));
}

function showHistory(live) {
  show("history", live.alerts, (alerts) => (alerts.length > 0
    ? [make("ol", { class: "changes" }, ...alerts.map(changeItem))]
    : [empty("None yet.", "Every alert that begins, fires or ends is listed here.")]));
}

function deadItem(letter) {
  return make("li", {},
    make("div", { class: "change-head" },
      make("span", { class: "change" }, letter.reason), make("span", { class: "chip" }, letter.stage), moment(letter.at, last.at)),
    make("p", {}, make("bdi", {}, letter.message)));
}

function showDead(live) {
  show("dead", live.dead_letters, (letters) => (letters.length > 0
    ? [make("ol", { class: "changes" }, ...letters.map(deadItem))]
    : [empty("none", "Every record could be used.")]));
}

function showHead(live) {
  const firing = live.firing.length;
  document.title = `${firing > 0 ? `(${firing}) ` : ""}${live.pipeline} · bellwether`;
  setText(byId("pipeline"), live.pipeline);
  setText(byId("model"), live.model ? `bellwether · model ${live.model}` : "bellwether · no model loaded yet");
  setText(byId("clock"), live.at.slice(11, 19));
  setText(byId("date"), live.at.slice(0, 10));
  if (live.finished) showState("finished", "Finished", "The input is through. The figures are final.");
  else if (live.waiting === null) showState("ready", "Ready", "");
  else if (Object.keys(live.stages).length === 0) showState("starting", "Starting", "");
  else showState("waiting", "Not ready", live.waiting);
}

function showState(state, words, detail) {
  const element = byId("state");
  element.dataset.state = state;
  setText(element, words);
  element.title = detail;
  const banner = byId("banner");
  const text = state === "waiting" ? `Not ready. ${detail}` : state === "ready" || state === "starting" ? "" : detail;
  banner.dataset.state = state;
  setText(banner, text);
  banner.hidden = text === "";
}

function showLive(live) {
  last = live;
  showHead(live);
  showStages(live);
  showFiring(live);
  showPosts(live);
  showIndices(live);
  showHistory(live);
  showDead(live);
  for (const element of document.querySelectorAll("[data-since]")) setText(element, lasting(element.dataset.since));
}

function showLost() {
  const when = last === null ? "" : ` The figures below are those of ${last.at.slice(11, 19)} UTC.`;
  const ended = last?.finished ? " The input was through; the process may have ended." : "";
  showState("lost", "Disconnected", `No connection to bellwether, trying again every second.${when}${ended}`);
}

async function poll() {
  try {
    const answer = await fetch("/live", { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    showLive(await answer.json());
  } catch (error) {
    console.warn("no picture", error);
    showLost();
  }
  setTimeout(poll, POLL_MS);
}

poll();

"use strict";
// Draws the answers of #data step by step. Texts are set as text, never as HTML.
(() => {
  const sides = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const last = Math.max(...sides.map((side) => side.frames[side.frames.length - 1].s));
  const RATES = [1, 2, 4, 8, 16]; // steps a second
  let at = 0;
  let timer = null;
  const tone = (number) => (sides.length > 1 ? number : 1); // one answer alone has the colour of steering

  // The canvas of a side after `step` steps, replayed from the changes.
  function canvas(side, step) {
    const state = {
      piece: [...side.first], written: side.first.map(() => 0), anchor: new Map(),
      drawn: new Map(), chance: new Map(),
    };
    for (const frame of side.frames) {
      if (frame.s > step) break;
      state.anchor = new Map();
      for (let i = 0; i < frame.z.length; i += 3) {
        state.piece[frame.z[i]] = frame.z[i + 1];
        state.written[frame.z[i]] = frame.z[i + 2];
      }
      for (let i = 0; i < frame.a.length; i += 3) {
        state.chance.set(frame.a[i], [frame.a[i + 1], frame.a[i + 2]]);
        if (frame.s === step) state.anchor.set(frame.a[i], true);
      }
      state.drawn = new Map();
      if (frame.s === step) {
        for (let i = 0; i < frame.c.length; i += 2) state.drawn.set(frame.c[i], frame.c[i + 1]);
      }
    }
    return state;
  }

  function draw(number, step) {
    const side = sides[number];
    const state = canvas(side, step);
    const parts = [];
    state.piece.forEach((piece, place) => {
      if (piece === 2) return;
      const token = document.createElement("span");
      token.dataset.at = place;
      let text = side.pieces[piece];
      const ghost = piece === 0 && $("proposals").checked && state.drawn.has(place);
      if (piece === 0) {
        token.className = "token open";
        text = ghost ? side.pieces[state.drawn.get(place)] || " ■" : " ";
        token.title = "open";
        if (ghost) token.classList.add("ghost");
        if (text === " ■") token.classList.add("end");
      } else if (piece === 1) {
        text = " ■";
        token.title = "end of the answer";
        token.className = "token end";
      } else {
        token.className = state.written[place] > 0 ? "token" : "token given";
      }
      if (piece !== 0) {
        const wrote = state.written[place];
        const chance = state.chance.get(place);
        if (wrote > 0) {
          token.style.setProperty("--t", last > 1 ? ((wrote - 1) / (last - 1)).toFixed(3) : "0");
          token.title = `${piece === 1 ? "end" : text.trim()}: step ${wrote}`;
          if (chance) token.title += `, probability ${chance[0]} (base model ${chance[1]})`;
        } else {
          token.title = "given";
        }
        if (state.anchor.has(place)) token.classList.add("anchor");
      }
      const broken = text.trim() && /^\s*\n/.test(text); // a line break before the word
      if (parts.length && (broken || text.startsWith(" "))) parts.push(broken ? "\n" : " ");
      token.textContent = text.trim() || (piece === 0 ? "" : text.includes("\n") ? "⏎" : "");
      parts.push(token);
      if (text.includes("\n") && !broken) parts.push("\n");
    });
    $("canvas" + number).replaceChildren(...parts);
  }

  // What the last choice up to a step was made among: the best few answers, with the chosen one.
  function compared(number, step) {
    const box = $("pool" + number);
    const found = sides[number].frames.filter((frame) => frame.p && frame.s <= step).pop();
    box.hidden = !sides[number].frames.some((frame) => frame.p);
    if (!found) { box.replaceChildren(); return; }
    const title = document.createElement("p");
    title.className = "soft";
    title.textContent = found.n === 1 ? `one answer at step ${found.s}:` :
      `step ${found.s} chose among ${found.n} whole answers, by reward:`;
    const list = document.createElement("ul");
    for (const [reward, times, chosen, pieces] of found.p) {
      const item = document.createElement("li");
      if (chosen) item.className = "chosen";
      const value = document.createElement("span");
      value.className = "value";
      value.textContent = reward === null ? "\u2212\u221e" : reward.toFixed(2);
      const text = document.createElement("span");
      text.dir = "auto";
      const whole = pieces.map((piece) => sides[number].pieces[piece]).join("").trim();
      text.textContent = (whole.replace(/\s*\n\s*/g, " / ") || "(empty)") + (times > 1 ? ` (${times} times)` : "");
      item.append(value, text);
      list.append(item);
    }
    const rest = [found.m > 0 ? `${found.m} more` : "", found.c > 0 ? `${found.c} that the canvas cut off` : ""];
    if (found.m > 0 || found.c > 0) {
      const more = document.createElement("li");
      more.className = "soft";
      more.textContent = `and ${rest.filter(Boolean).join(", ")}`;
      list.append(more);
    }
    box.replaceChildren(title, list);
  }

  const SVG = "http://www.w3.org/2000/svg";
  function shape(kind, attributes, text) {
    const made = document.createElementNS(SVG, kind);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // A panel: the curve of a measure over the steps for each side, and the final text's value.
  function panel(title, note, read, final) {
    const W = 420, H = 170, L = 56, R = 14, T = 12, B = 28;
    const curves = sides.map((side) => side.frames.map((frame) => [frame.s, read(frame)])
      .filter(([, value]) => typeof value === "number"));
    const ends = sides.map(final);
    const values = [...curves.flat().map(([, value]) => value), ...ends.filter((v) => v !== null)];
    if (!curves.some((curve) => curve.length)) return null;
    let low = Math.min(...values), high = Math.max(...values);
    if (title === "KL") {
      if (high === 0) return null; // nothing was fitted
      low = 0;
    }
    const flat = high - low < 1e-3 * Math.max(1, Math.abs(high));
    if (flat) { low -= 0.5; high += 0.5; }
    const x = (step) => L + (last > 1 ? (step - 1) / (last - 1) : 0) * (W - L - R);
    const y = (value) => T + (1 - (value - low) / (high - low)) * (H - T - B);
    const svg = shape("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": title });
    const middle = (low + high) / 2;
    // Decimals that tell them apart; a flat curve has one line.
    const decimals = Math.max(0, Math.ceil(1 - Math.log10(high - low))) + (flat ? 2 : 0);
    for (const value of flat ? [middle] : [low, middle, high]) {
      svg.append(shape("line", { class: "axis", x1: L, x2: W - R, y1: y(value), y2: y(value) }));
      svg.append(shape("text", { x: L - 6, y: y(value) + 4, "text-anchor": "end" },
        value.toFixed(decimals)));
    }
    for (const step of new Set([1, Math.ceil(last / 2), last])) {
      svg.append(shape("text", { x: x(step), y: H - 6, "text-anchor": "middle" }, String(step)));
    }
    curves.forEach((curve, number) => {
      const points = curve.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`);
      if (points.length > 1) {
        svg.append(shape("polyline", { class: `curve s${tone(number)}`, points: points.join(" ") }));
      }
      if (points.length === 1) {
        svg.append(shape("circle", { class: `dot s${tone(number)}`, r: 3,
          cx: x(curve[0][0]), cy: y(curve[0][1]) }));
      }
      if (ends[number] !== null) {
        svg.append(shape("line", { class: `level s${tone(number)}`, x1: L, x2: W - R,
          y1: y(ends[number]), y2: y(ends[number]) }));
      }
    });
    const cursor = shape("line", { class: "cursor", y1: T, y2: H - B });
    svg.append(cursor);
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    const named = document.createElement("b");
    named.textContent = title;
    const now = document.createElement("span");
    now.className = "now";
    const soft = document.createElement("span");
    soft.className = "soft";
    soft.textContent = note;
    caption.append(named, " ", now, " ", soft);
    figure.append(caption, svg);
    $("panels").append(figure);
    return (step) => {
      cursor.setAttribute("x1", x(Math.max(step, 1)));
      cursor.setAttribute("x2", x(Math.max(step, 1)));
      const found = curves.map((curve) => curve.filter(([one]) => one === step).map(([, v]) => v)[0]);
      const first = found.find((value) => value !== undefined);
      now.textContent = first === undefined ? "" : first.toPrecision(3);
    };
  }

  const names = new Set(sides.flatMap((side) => side.frames.flatMap((f) => Object.keys(f.r || {}))));
  const movers = [...names].map((name) => panel(name, "of each step's whole answer; dashed: of the final text",
    (frame) => (frame.r ? frame.r[name] : undefined),
    (side) => (typeof side.rewards[name] === "number" ? side.rewards[name] : null)));
  movers.push(panel("KL", "how far steering moved the step's draws from the model's own, nats per open token",
    (frame) => frame.k, () => null));
  const moving = movers.filter(Boolean);
  if (moving.length && sides.length > 1) {
    const legend = document.createElement("p");
    legend.className = "soft sidekeys";
    sides.forEach((side, number) => {
      const key = document.createElement("span");
      const line = document.createElement("i");
      line.className = `key s${number}`;
      key.append(line, side.title);
      legend.append(key);
    });
    $("panels").before(legend);
  }

  function show(step) {
    at = Math.max(0, Math.min(last, step));
    sides.forEach((_, number) => { draw(number, at); compared(number, at); });
    for (const move of moving) move(at);
    $("step").value = at;
    $("at").value = `${at} / ${last}`;
    $("step").setAttribute("aria-valuetext", `step ${at} of ${last}`);
  }

  const rate = () => RATES[Number($("speed").value)];
  function pause() {
    clearInterval(timer);
    timer = null;
    $("play").textContent = "Play";
  }
  function play() {
    if (at >= last) show(0);
    clearInterval(timer);
    timer = setInterval(() => {
      show(at + 1);
      if (at >= last) pause();
    }, 1000 / rate());
    $("play").textContent = "Pause";
  }
  const toggle = () => (timer === null ? play() : pause());

  // Room for the whole answer, so that nothing below it moves.
  function reserve() {
    const boxes = sides.map((_, number) => $("canvas" + number));
    const before = at;
    let height = 0;
    for (const box of boxes) box.style.minHeight = "";
    for (const step of [0, last]) {
      show(step);
      for (const box of boxes) height = Math.max(height, box.offsetHeight);
    }
    for (const box of boxes) box.style.minHeight = `${height}px`;
    sides.forEach((side, number) => {
      const box = $("pool" + number);
      box.style.minHeight = "";
      let most = 0;
      for (const frame of side.frames.filter((one) => one.p)) {
        compared(number, frame.s);
        most = Math.max(most, box.offsetHeight);
      }
      box.style.minHeight = `${most}px`;
    });
    show(before);
  }

  $("step").max = last;
  $("step").addEventListener("input", () => { pause(); show(Number($("step").value)); });
  $("play").addEventListener("click", toggle);
  $("proposals").addEventListener("change", () => show(at));
  const paced = () => { $("pace").value = `${rate()} / s`; if (timer !== null) play(); };
  $("speed").addEventListener("input", paced);
  addEventListener("resize", reserve);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const slider = event.target.type === "range";
    const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last };
    if (event.key === " " && !["BUTTON", "INPUT"].includes(event.target.tagName)) toggle();
    else if (event.key in moves && !slider) { pause(); show(moves[event.key]); } else return;
    event.preventDefault();
  });
  addEventListener("hashchange", fromAddress);
  // answer.html#step=5 opens at that step.
  function fromAddress() {
    const asked = /^#step=(\d+)$/.exec(location.hash);
    if (asked) { pause(); show(Number(asked[1])); }
    return Boolean(asked);
  }

  // Inside of a page that knows its height it needs no scroll bar of its own.
  if (parent !== window) {
    new ResizeObserver(() => {
      parent.postMessage({ apsHeight: Math.ceil(document.body.getBoundingClientRect().height) }, "*");
    }).observe(document.body);
  }

  $("controls").hidden = false;
  $("legend").hidden = false;
  paced();
  show(last);
  reserve();
  if (!fromAddress() && !still.matches) { show(0); play(); }
})();

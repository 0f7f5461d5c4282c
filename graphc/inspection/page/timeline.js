// One profiled run, kernel after kernel: wheel or buttons zoom, dragging moves.

const LINE = { width: 1200, height: 150, top: 26, lane: 46, gap: 6 };

const timelineView = {
  title: "Timeline",
  key: () => "timeline",
  render(root, state) {
    if (!report.timeline.length)
      return void root.append(
        empty(
          "This run was not profiled. ",
          el("code", {}, "graphc report MODEL --profile"),
          " adds a timeline, ",
          el("code", {}, "exe.report(path, profile=...)"),
          " too.",
        ),
      );
    const events = lanes(report.timeline);
    const start = Math.min(...events.map((event) => event.start_us));
    const end = Math.max(...events.map((event) => event.start_us + event.us));
    const busy = events.reduce((sum, event) => sum + event.us, 0);
    const window_ = { from: Number(state.from ?? start), to: Number(state.to ?? end) };
    const picture = draw("svg", {
      class: "timeline",
      viewBox: `0 0 ${LINE.width} ${LINE.height}`,
      role: "img",
      "aria-label": "Timeline",
      tabindex: 0,
    });
    const words = muted("");
    const paintNow = () => paintTimeline(picture, events, window_, words);
    const zoom = (factor, middle = (window_.from + window_.to) / 2) => {
      const span = Math.min(Math.max((window_.to - window_.from) * factor, (end - start) / 1e4), end - start);
      const part = (middle - window_.from) / (window_.to - window_.from);
      window_.from = Math.max(start, Math.min(middle - span * part, end - span));
      window_.to = window_.from + span;
      paintNow();
      remember();
    };
    const remember = () => {
      const isWhole = window_.to - window_.from > (end - start) * 0.9999;
      adjust({ from: isWhole ? null : window_.from.toFixed(3), to: isWhole ? null : window_.to.toFixed(3) }, false);
    };
    movable(picture, window_, zoom, start, end, paintNow, remember);
    root.append(
      el(
        "div",
        { class: "figures" },
        figure("a run", duration(end - start), counted(events.length, "launch", "launches")),
        figure("in kernels", duration(busy), percent(busy / (end - start || 1))),
        figure("between", duration(Math.max(0, end - start - busy)), "launching, waiting, copying"),
      ),
      el(
        "div",
        { class: "tools" },
        el("button", { onclick: () => zoom(0.5) }, "Zoom in"),
        el("button", { onclick: () => zoom(2) }, "Zoom out"),
        el("button", { onclick: () => zoom(1e9) }, "Whole run"),
        words,
      ),
      picture,
      section("Launches by time", launches(events, end - start)),
    );
    paintNow();
    return () => {};
  },
};

// Launches that overlap stand in lanes below each other.
function lanes(timeline) {
  const ends = [];
  return [...timeline]
    .sort((a, b) => a.start_us - b.start_us)
    .map((event) => {
      let lane = ends.findIndex((end) => end <= event.start_us + 1e-9);
      if (lane < 0) lane = ends.length;
      ends[lane] = event.start_us + event.us;
      return { ...event, lane };
    });
}

function paintTimeline(picture, events, { from, to }, words) {
  const x = (us) => ((us - from) / (to - from)) * LINE.width;
  const depth = Math.max(...events.map((event) => event.lane)) + 1;
  picture.setAttribute("viewBox", `0 0 ${LINE.width} ${LINE.top + depth * (LINE.lane + LINE.gap) + 8}`);
  const parts = ticks(from, to).flatMap((us) => [
    draw("line", { class: "grid", x1: x(us), x2: x(us), y1: 18, y2: "100%" }),
    draw("text", { class: "tick middle", x: x(us), y: 12 }, duration(us)),
  ]);
  const shown = events.filter((event) => event.start_us + event.us >= from && event.start_us <= to);
  for (const event of shown) {
    const kernel = report.kernels[event.kernel];
    const width = Math.max(x(event.start_us + event.us) - x(event.start_us) - 0.6, 0.6);
    const top = LINE.top + event.lane * (LINE.lane + LINE.gap);
    const tipText = `${kernel.name}\n${duration(event.us)} from ${duration(event.start_us)}\n${kernel.lines.slice(0, 3).join(", ")}`;
    const seen = { left: Math.max(x(event.start_us), 0), right: Math.min(x(event.start_us) + width, LINE.width) };
    parts.push(
      draw(
        "a",
        { href: hashOf({ view: "kernels", kernel: event.kernel }) },
        draw("rect", {
          class: `launch ${kindClass(kernel)}`,
          x: x(event.start_us),
          y: top,
          width,
          height: LINE.lane,
          rx: 2,
          "data-tip": tipText,
        }),
        seen.right - seen.left > 44
          ? draw(
              "text",
              { class: "launch-name", x: seen.left + 5, y: top + LINE.lane / 2 + 4 },
              abridged(kernel.name, Math.floor((seen.right - seen.left - 8) / 6.4)),
            )
          : "",
      ),
    );
  }
  picture.replaceChildren(...parts);
  words.textContent = `${duration(from)} to ${duration(to)}, ${counted(shown.length, "launch", "launches")}`;
}

// About ten round times.
function ticks(from, to) {
  const rough = (to - from) / 10;
  const power10 = 10 ** Math.floor(Math.log10(rough));
  const each = [1, 2, 5, 10].map((step) => step * power10).find((step) => step >= rough);
  const first = Math.ceil(from / each);
  return Array.from({ length: Math.max(0, Math.floor(to / each) - first + 1) }, (_, index) => (first + index) * each);
}

// Wheel and drag. What was dragged is no click on the launch below the pointer: the picture captures the pointer.
function movable(picture, window_, zoom, start, end, paintNow, remember) {
  const time = (event) =>
    window_.from + ((event.clientX - picture.getBoundingClientRect().left) / picture.clientWidth) * (window_.to - window_.from);
  let held = null;
  picture.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      zoom(event.deltaY > 0 ? 1.25 : 0.8, time(event));
    },
    { passive: false },
  );
  picture.addEventListener("pointerdown", (event) => (held = { at: time(event), x: event.clientX, moved: false }));
  picture.addEventListener("pointerup", () => {
    if (held && held.moved) remember();
    held = null;
  });
  picture.addEventListener("pointermove", (event) => {
    if (!held || !event.buttons || (!held.moved && Math.abs(event.clientX - held.x) < 4)) return;
    held.moved = true;
    picture.setPointerCapture(event.pointerId);
    const span = window_.to - window_.from;
    const from = Math.max(start, Math.min(window_.from + held.at - time(event), end - span));
    if (from === window_.from) return;
    [window_.from, window_.to] = [from, from + span];
    paintNow();
  });
}

const launches = (events, whole) =>
  longTable(
    [
      { title: "kernel", cell: (event) => kernelLink(event.kernel) },
      { title: "start", number: true, cell: (event) => duration(event.start_us) },
      { title: "time", number: true, cell: (event) => duration(event.us) },
      { title: "share", number: true, cell: (event) => [percent(event.us / (whole || 1)), " ", bar(event.us / (whole || 1), "time")] },
    ],
    [...events].sort((a, b) => b.us - a.us),
    {},
    25,
  );

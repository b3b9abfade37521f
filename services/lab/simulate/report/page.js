'use strict';
(() => {
  const { data, number, fixed, percent, multiple, rate, brief, shortPercent, count, list, isNumber, numbers, element } = Page;
  const { scene, results } = data;
  const limit = data.redisLimit;
  const bound = 1 + data.epsilon;

  // The known strategies and popularities, in the order in which they are compared. Others that the data has follow without a
  // description. Wide lines are drawn below narrow ones, so that lines of equal values stay visible.
  const strategies = {
    random: { width: 3, point: 'circle', radius: 3.5, about: 'Any reader with the same probability, as a plain load balancer does.' },
    registry: { width: 8.5, point: 'rect', radius: 7.5, about: 'A table: the first viewer of a video assigns it to a reader, and the others follow.' },
    hash: { width: 6, point: 'rectRot', radius: 6.5, about: 'Rendezvous hashing: the reader with the highest hash of its name and the video.' },
    ring: { width: 4, point: 'triangle', radius: 5, about: 'Consistent hashing: the reader whose point on the ring follows the video’s hash.' },
    bounded: { width: 2, point: 'circle', radius: 2.5, about: `Consistent hashing with bounded loads: as ring, but a reader with ${multiple(bound)} the mean of viewers is full, and the next one on the ring takes the viewer. Small videos make way for a celebrity.` },
  };
  const popularities = {
    uniform: 'all videos have the same number of viewers, within one.',
    'three-tier': 'apart from one viewer for each video, 1 % of the videos have 50 % of the viewers, 9 % have 30 %, and 90 % have 20 %.',
    zipf: 'a video’s audience falls with a power of its rank, so that the first one, the celebrity, has far more viewers than any other.',
    celebrity: 'one video has 30 % of the viewers, and all others have the same number, within one.',
  };
  const unknown = { width: 2, point: 'cross', radius: 4, about: '' };
  const style = (name) => (Object.hasOwn(strategies, name) ? strategies[name] : unknown);
  const present = (known, key) => [...new Set([...Object.keys(known), ...results.map((r) => r[key])])].filter((name) => results.some((r) => r[key] === name));
  const names = present(strategies, 'strategy');
  const choices = present(popularities, 'popularity');
  const hidden = new Set();
  let popularity = choices.find((name) => location.hash === `#${encodeURIComponent(name)}`) ?? choices[0];
  let charts = [];

  function copies(value) {
    return fixed(value, value < 99.95 ? 2 : 1);
  }

  // view has the figures of the chosen popularity by fleet and strategy.
  function view() {
    const rows = results.filter((r) => r.popularity === popularity);
    const fleets = [...new Set(rows.map((r) => r.readers))].sort((a, b) => a - b);
    const by = new Map(rows.map((r) => [`${r.readers} ${r.strategy}`, r]));
    const at = (readers, name) => by.get(`${readers} ${name}`);
    const used = names.filter((name) => rows.some((r) => r.strategy === name));
    // The fleet of the example sentences: the largest in which each reader still receives 80 % of all comments under random.
    const heavy = fleets.filter((readers) => at(readers, 'random')?.messageShare?.mean >= 0.8);
    const focus = heavy.at(-1) ?? (used.includes('random') ? fleets[0] : fleets[Math.floor(fleets.length / 2)]);
    const last = fleets.at(-1);
    // grouped lists a figure by strategy, and joins equal ones: "7.14 % with hash and ring, 8.02 % with bounded".
    const grouped = (say) => {
      const groups = new Map();
      for (const name of used) {
        const figure = say(name);
        if (figure !== null) groups.set(figure, [...(groups.get(figure) ?? []), name]);
      }
      const said = [...groups].map(([figure, which]) => `${figure} with ${list(which)}`);
      return said.length < 3 ? list(said) : `${said.slice(0, -1).join(', ')}, and ${said.at(-1)}`;
    };
    const most = (name, figure) => {
      const values = numbers(fleets.map((readers) => figure(at(readers, name) ?? {})));
      return values.length > 0 ? Math.max(...values) : null;
    };
    return { rows, fleets, at, used, focus, last, grouped, most };
  }
  const quoted = (value, say) => (isNumber(value) ? say(value) : null);
  const readersOf = (n) => count(n, 'reader', 'readers');

  // The charts. value is the drawn figure of a result, references are lines that belong to no strategy, and takeaway is the caption.
  const specs = [
    {
      id: 'share', title: 'Subscription share of a reader', unit: 'part of all videos, mean of the readers; the tooltip has min and max',
      value: (r) => r.share?.mean, say: percent, tick: shortPercent, min: 0, max: 1,
      more: (r) => (r.share ? ` (${percent(r.share.min)} to ${percent(r.share.max)})` : ''),
      closed: (r) => r.closedForm?.share,
      references: [{ name: '80 %', at: () => 0.8 }],
      takeaway(v) {
        const random = v.at(v.focus, 'random');
        let text = `Of all videos, each of ${readersOf(v.focus)} is subscribed to ${v.grouped((name) => quoted(v.at(v.focus, name)?.share?.mean, percent))}.`;
        if (random && isNumber(random.messageShare?.mean)) {
          text += ` With random it receives ${percent(random.messageShare.mean)} of all comments`;
          const end = v.at(v.last, 'random')?.messageShare?.mean;
          text += v.last !== v.focus && isNumber(end) ? `, and at ${readersOf(v.last)} still ${percent(end)}` : '';
          const off = numbers(v.fleets.map((readers) => {
            const r = v.at(readers, 'random');
            return r?.closedForm ? Math.abs(r.share.mean - r.closedForm.share) : null;
          }));
          text += off.length > 0 ? `; the closed form 1−(1−1/R)ⁿ differs by at most ${fixed(100 * Math.max(...off), 2)} percentage points.` : '.';
        }
        return text;
      },
    },
    {
      id: 'copies', title: 'Copies of each comment', unit: 'readers that receive a comment from Redis', log: true,
      value: (r) => r.copiesPerComment, say: copies, tick: brief, min: 0,
      closed: (r) => r.closedForm?.copiesPerComment,
      references: [],
      takeaway(v) {
        const [first] = v.fleets;
        const say = (readers, name) => quoted(v.at(readers, name)?.copiesPerComment, copies);
        if (first === v.last) return `In a fleet of ${readersOf(first)}, each comment is copied to ${v.grouped((name) => (say(first, name) === null ? null : `${say(first, name)} readers`))}.`;
        const grows = (name) => say(first, name) !== say(v.last, name);
        const growing = v.grouped((name) => (grows(name) ? `from ${say(first, name)} to ${say(v.last, name)}` : null));
        const staying = v.grouped((name) => (grows(name) ? null : say(first, name)));
        return `From ${number(first)} to ${readersOf(v.last)}, the copies of each comment ${list([growing && `grow ${growing}`, staying && `stay at ${staying}`].filter(Boolean))}.`;
      },
    },
    {
      id: 'busiest', title: 'Busiest reader ÷ mean', unit: 'most viewers of a reader ÷ mean of all readers',
      value: (r) => r.busiest, say: multiple, tick: (value) => `${number(value, { maximumFractionDigits: 2 })}\u00a0×`, min: 1,
      references: [{ name: `1 + ε = ${number(bound, { maximumFractionDigits: 3 })}`, at: () => bound }],
      takeaway(v) {
        const most = (figure) => v.grouped((name) => {
          const value = v.most(name, figure);
          return value > 0 ? copies(value) : null;
        });
        const upTo = v.fleets.length > 1 ? 'up to ' : '';
        let text = `By viewers, the busiest reader ÷ mean is ${upTo}${most((r) => r.busiest)}`;
        if (v.most('bounded', (r) => r.busiest) !== null) {
          // A reader has a whole number of viewers, which may be above the bound by less than one.
          const over = v.fleets.some((readers) => v.at(readers, 'bounded')?.busiest > bound + readers / scene.viewers);
          text += `; bounded ${over ? 'should allow' : 'allows'} no more than ${copies(bound)}`;
        }
        const written = most((r) => r.busiestDeliveries);
        return `${text}.${written && ` By comments written to viewers, it is ${upTo}${written}.`}`;
      },
    },
    {
      id: 'redis', title: 'What Redis delivers', unit: 'messages per second, to all readers together', log: true,
      value: (r) => r.redisDeliveries, say: (value) => `${rate(value)} per second`, tick: brief, min: 0,
      more: (r) => (isNumber(r.ofRedisLimit) ? ` (${percent(r.ofRedisLimit)} of the limit)` : ''),
      references: [{ name: `limit of one Redis, ${number(limit)}`, at: () => limit, optional: true }],
      takeaway(v) {
        const most = v.used.map((name) => v.most(name, (r) => r.redisDeliveries));
        if (!most.some((value) => value > 0)) return 'Nobody posts comments, so Redis delivers none.';
        const over = v.used.filter((_, i) => most[i] > limit).map((name) => {
          const readers = v.fleets.find((fleet) => v.at(fleet, name)?.redisDeliveries > limit);
          return `${name} (at ${readersOf(readers)})`;
        });
        const said = (value) => `${rate(value)} (${percent(value / limit)} of the limit)`;
        return `In messages per second, Redis delivers ${v.fleets.length > 1 ? 'up to ' : ''}${v.grouped((name) => quoted(v.most(name, (r) => r.redisDeliveries), said))}. `
          + (over.length > 0 ? `The limit of one Redis, ${number(limit)}, is exceeded with ${list(over)}.` : `All are below the limit of one Redis, ${number(limit)}.`);
      },
    },
    {
      id: 'added', title: 'Viewers that move when a reader is added', unit: 'of all viewers', log: true,
      value: (r) => r.movedWhenAdded, say: percent, tick: shortPercent, min: 0,
      references: [{ name: 'even part, 1/(R+1)', at: (readers) => 1 / (readers + 1) }],
      takeaway: (v) => `When a reader is added to ${number(v.focus)}, the part of viewers that move is ${v.grouped((name) => moved(v.at(v.focus, name)?.movedWhenAdded))}; an even part for the new reader is ${percent(1 / (v.focus + 1))}.`,
    },
    {
      id: 'lost', title: 'Viewers that move when a reader is lost', unit: 'of all viewers, including its own', log: true,
      value: (r) => r.movedWhenLost, say: percent, tick: shortPercent, min: 0,
      references: [{ name: 'its own, 1/R', at: (readers) => 1 / readers }],
      takeaway: (v) => `When one of ${readersOf(v.focus)} is lost, the part of viewers that move is ${v.grouped((name) => moved(v.at(v.focus, name)?.movedWhenLost))}; a reader’s own are ${percent(1 / v.focus)} on average.`,
    },
  ];
  function moved(value) {
    return quoted(value, (part) => (part === 0 ? 'none' : percent(part)));
  }

  const colours = () => {
    const computed = getComputedStyle(document.documentElement);
    const colour = (name) => computed.getPropertyValue(`--${name}`).trim();
    return { of: (name) => colour(Object.hasOwn(strategies, name) ? name : 'other'), ink: colour('ink'), quiet: colour('quiet'), grid: colour('grid'), paper: colour('paper'), edge: colour('edge') };
  };
  // The closed form lies on the line of its strategy, so it is drawn as short strokes that reach out on both sides.
  const lineStyles = { closed: { dash: [2, 6], width: 10 }, reference: { dash: [8, 5], width: 2 } };

  // sample is the symbol of a strategy, or of another line, in the legend.
  function sample(name, { line, bar = false }) {
    const space = 'http://www.w3.org/2000/svg';
    const svg = document.createElementNS(space, 'svg');
    const add = (tag, attributes) => {
      const made = document.createElementNS(space, tag);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      svg.append(made);
    };
    for (const [key, value] of Object.entries({ width: 26, height: 16, viewBox: '0 0 26 16', 'aria-hidden': 'true' })) svg.setAttribute(key, value);
    if (line) {
      add('path', { d: 'M0 8H26', stroke: 'currentColor', 'stroke-width': bar ? 2 : line.width, ...(bar ? {} : { 'stroke-dasharray': line.dash.join(' ') }) });
      return svg;
    }
    const colour = `var(--${Object.hasOwn(strategies, name) ? name : 'other'})`;
    if (bar) {
      add('rect', { x: 6, y: 1, width: 14, height: 14, rx: 2, fill: colour });
      return svg;
    }
    const { width, point, radius } = style(name);
    add('path', { d: 'M0 8H26', stroke: colour, 'stroke-width': width });
    const corner = radius * Math.SQRT1_2;
    const shapes = {
      circle: ['circle', { cx: 13, cy: 8, r: radius }],
      rect: ['path', { d: `M${13 - corner} ${8 - corner}h${2 * corner}v${2 * corner}h${-2 * corner}z` }],
      rectRot: ['path', { d: `M13 ${8 - radius}l${radius} ${radius}l${-radius} ${radius}l${-radius} ${-radius}z` }],
      triangle: ['path', { d: `M13 ${8 - radius}L${13 + 0.87 * radius} ${8 + radius / 2}H${13 - 0.87 * radius}z` }],
      cross: ['path', { d: `M13 ${8 - radius}v${2 * radius}`, stroke: colour, 'stroke-width': width }],
    };
    const [tag, attributes] = shapes[point];
    add(tag, { fill: colour, ...attributes });
    return svg;
  }

  // The lines of a chart, as lists of values by fleet.
  function lines(spec, v) {
    const values = (figure, name) => v.fleets.map((readers) => {
      const r = v.at(readers, name);
      const value = r && figure(r);
      return isNumber(value) ? value : null;
    });
    const shown = v.used.filter((name) => !hidden.has(name)).map((name) => ({ name, values: values(spec.value, name) }));
    const highest = Math.max(0, ...numbers(v.used.flatMap((name) => values(spec.value, name))));
    const references = spec.references.map(({ name, at, optional }) => {
      const of = v.fleets.map(at);
      // A limit far above all values would flatten their lines.
      const outside = optional === true && Math.max(...of) > 20 * highest;
      return { name, values: of, outside };
    });
    let closed = null;
    if (spec.closed && v.fleets.length === 1) {
      closed = { name: 'closed form', by: new Map(v.used.map((name) => [name, values(spec.closed, name)[0]])) };
    } else if (spec.closed && v.used.includes('random') && numbers(values(spec.closed, 'random')).length > 0) {
      closed = { name: 'closed form of random', values: values(spec.closed, 'random') };
    }
    return { shown, references, closed };
  }

  const font = { family: getComputedStyle(document.body).fontFamily, size: 12 };
  const base = (c) => ({
    responsive: true, maintainAspectRatio: false, animation: false, font,
    layout: { padding: { top: 6, right: 10 } },
    interaction: { mode: 'index', intersect: false },
    plugins: {
      legend: { display: false },
      tooltip: {
        backgroundColor: c.ink, titleColor: c.paper, bodyColor: c.paper, padding: 10, usePointStyle: true, boxPadding: 5, bodySpacing: 4,
        titleFont: { ...font, weight: '600' }, bodyFont: font,
        itemSort: (a, b) => a.datasetIndex - b.datasetIndex,
        // A line that is the same everywhere has its figure in the legend.
        filter: (item) => !item.dataset.flat,
      },
    },
  });

  // An axis is logarithmic where that shows more. What is 0 lies at its foot then, a little below what else there is.
  function scaleOf(spec, all, c) {
    const grid = { color: c.grid, tickColor: c.grid };
    const ticks = { color: c.quiet, font, callback: (value) => spec.tick(value) };
    const border = { color: c.edge };
    const positive = all.filter((value) => value > 0);
    const low = Math.min(...positive);
    const high = Math.max(...positive);
    if (!spec.log || positive.length === 0 || high < 5 * low) {
      return { foot: null, options: { type: 'linear', min: spec.min, max: spec.max, suggestedMax: positive.length === 0 ? 1 : undefined, grid, ticks: { ...ticks, includeBounds: false }, border } };
    }
    const zero = all.some((value) => value === 0);
    const foot = zero ? low / Math.max(1.6, (high / low) ** 0.12) : null;
    const margin = (high / low) ** 0.04 * 1.04;
    const min = foot ?? low / margin;
    const steps = [];
    for (let power = Math.floor(Math.log10(min)); power <= Math.ceil(Math.log10(high * margin)); power++) {
      for (const digit of [1, 2, 5]) steps.push(digit * 10 ** power);
    }
    const within = steps.filter((value) => value >= (zero ? low / 1.05 : min) && value <= high * margin);
    return {
      foot,
      options: {
        type: 'logarithmic', min, max: high * margin, grid, border,
        ticks: { ...ticks, autoSkip: false, callback: (value) => (value === foot ? spec.tick(0) : spec.tick(value)) },
        afterBuildTicks(axis) { axis.ticks = [...(zero ? [foot] : []), ...within].map((value) => ({ value })); },
      },
    };
  }

  // Each fleet has a tick where there is room for its label.
  function fleetTicks(axis, fleets) {
    const place = (readers) => (Math.log(readers / fleets[0]) / Math.log(fleets.at(-1) / fleets[0])) * (axis.chart.width - 70);
    const ticks = [];
    for (const readers of fleets) {
      if (ticks.length === 0 || place(readers) - place(ticks.at(-1)) >= 28) ticks.push(readers);
    }
    if (ticks.at(-1) !== fleets.at(-1)) {
      while (ticks.length > 1 && place(fleets.at(-1)) - place(ticks.at(-1)) < 28) ticks.pop();
      ticks.push(fleets.at(-1));
    }
    axis.ticks = ticks.map((value) => ({ value }));
  }

  // lineChart has the fleets on its x axis.
  function lineChart(spec, v, c) {
    const { shown, references, closed: form } = lines(spec, v);
    const closed = hidden.has('random') ? null : form;
    const inside = references.filter((line) => !line.outside);
    const all = numbers([...shown.flatMap((line) => line.values), ...inside.flatMap((line) => line.values), ...(closed?.values ?? [])]);
    const { foot, options: y } = scaleOf(spec, all, c);
    const points = (values) => values.map((value, i) => ({ x: v.fleets[i], y: value === 0 && foot !== null ? foot : value, value }));
    const plain = (line, { dash, width }, order) => ({
      label: line.name, data: points(line.values), borderColor: c.quiet, borderDash: dash, borderWidth: width, order,
      pointRadius: 0, pointHoverRadius: 0, pointStyle: 'line', flat: line.values.every((value) => value === line.values[0]),
    });
    const datasets = shown.map(({ name, values }) => {
      const { width, point, radius } = style(name);
      const colour = c.of(name);
      return {
        label: name, data: points(values), borderColor: colour, backgroundColor: colour, borderWidth: width, spanGaps: true, order: width,
        pointStyle: point, pointRadius: radius, pointHoverRadius: radius + 1, pointBorderWidth: point === 'cross' ? 2 : 0,
      };
    });
    datasets.push(...(closed ? [plain(closed, lineStyles.closed, 20)] : []), ...inside.map((line) => plain(line, lineStyles.reference, 20)));
    const options = base(c);
    options.plugins.tooltip.callbacks = {
      title: ([item]) => readersOf(item.parsed.x),
      label(item) {
        const { value } = item.raw;
        const r = v.at(item.raw.x, item.dataset.label);
        const more = spec.more && r && names.includes(item.dataset.label) ? spec.more(r) : '';
        return ` ${item.dataset.label}: ${isNumber(value) ? spec.say(value) : 'not known'}${more}`;
      },
    };
    options.scales = {
      x: {
        type: 'logarithmic', min: v.fleets[0], max: v.fleets.at(-1), offset: false, grid: { color: c.grid, tickColor: c.grid }, border: { color: c.edge },
        title: { display: true, text: 'readers', color: c.quiet, font, padding: 0 },
        ticks: { color: c.quiet, font, autoSkip: false, maxRotation: 0, callback: (value) => number(value) },
        afterBuildTicks: (axis) => fleetTicks(axis, v.fleets),
      },
      y,
    };
    // Points on the edge are not cut off.
    for (const dataset of datasets) dataset.clip = 10;
    return { type: 'line', data: { datasets }, options };
  }

  // barChart is for a single fleet, which gives no line: it has a bar for each strategy.
  function barChart(spec, v, c) {
    const { shown, references, closed } = lines(spec, v);
    const options = base(c);
    options.layout.autoPadding = false; // the strokes of the closed form stay within the bars' width
    const dataset = {
      label: 'simulated', grouped: false, data: shown.map((line) => line.values[0]), backgroundColor: shown.map((line) => c.of(line.name)), maxBarThickness: 72, order: 5,
    };
    const datasets = [dataset];
    const half = ({ chart }) => Math.min(dataset.maxBarThickness, (0.8 * (chart.chartArea?.width ?? 0)) / shown.length) / 2;
    if (closed && [...closed.by.values()].some(isNumber)) {
      datasets.push({
        type: 'line', label: closed.name, data: shown.map((line) => closed.by.get(line.name)), showLine: false, borderColor: c.ink,
        pointStyle: 'line', pointRadius: half, pointHoverRadius: half, pointBorderWidth: 2, order: 0,
      });
    }
    for (const line of references.filter((each) => !each.outside)) {
      datasets.push({
        type: 'line', label: line.name, flat: true, data: [{ x: 0, y: line.values[0] }, { x: 1, y: line.values[0] }], xAxisID: 'whole', borderColor: c.ink, borderDash: lineStyles.reference.dash,
        borderWidth: lineStyles.reference.width, pointRadius: 0, pointHoverRadius: 0, order: 1,
      });
    }
    options.plugins.tooltip.callbacks = {
      label(item) {
        const more = item.datasetIndex === 0 && spec.more ? spec.more(v.at(v.last, item.label)) : '';
        return ` ${item.dataset.label}: ${spec.say(item.parsed.y)}${more}`;
      },
    };
    options.scales = {
      x: { grid: { display: false }, border: { color: c.edge }, ticks: { color: c.quiet, font: { ...font, size: 11 }, maxRotation: 40 } },
      whole: { type: 'linear', axis: 'x', display: false, offset: false, min: 0, max: 1 },
      y: { type: 'linear', beginAtZero: true, max: spec.max, grid: { color: c.grid, tickColor: c.grid }, border: { color: c.edge }, ticks: { color: c.quiet, font, callback: (value) => spec.tick(value) } },
    };
    return { type: 'bar', data: { labels: shown.map((line) => line.name), datasets }, options };
  }

  // drawCharts draws all canvases anew, in the current colours.
  function drawCharts() {
    for (const chart of charts) chart.destroy();
    const v = view();
    const c = colours();
    charts = specs.map((spec) => new Chart(document.getElementById(`chart-${spec.id}`), (v.fleets.length > 1 ? lineChart : barChart)(spec, v, c)));
  }

  function keys(spec, v) {
    const bar = v.fleets.length === 1;
    const box = element('div', { class: 'keys' });
    for (const name of v.used) {
      const button = element('button', { type: 'button', 'aria-pressed': String(!hidden.has(name)), 'data-strategy': name, title: style(name).about }, sample(name, { bar }), name);
      button.addEventListener('click', () => {
        if (!hidden.delete(name)) hidden.add(name);
        for (const other of document.querySelectorAll('[data-strategy]')) other.setAttribute('aria-pressed', String(!hidden.has(other.dataset.strategy)));
        drawCharts();
      });
      box.append(button);
    }
    const { references, closed } = lines(spec, v);
    if (closed) box.append(element('span', {}, sample('', { line: lineStyles.closed, bar }), closed.name));
    for (const line of references) box.append(element('span', {}, sample('', { line: lineStyles.reference }), line.name + (line.outside ? ', far above' : '')));
    return box;
  }

  // The table has a column for each value; heads group the values of one figure.
  const short = (value) => (value < 1e6 ? rate(value) : `${number(value / 1e6, { minimumSignificantDigits: 3, maximumSignificantDigits: 3 })}\u00a0M`);
  const spread = (figure) => [['min', (r) => figure(r)?.min], ['mean', (r) => figure(r)?.mean], ['max', (r) => figure(r)?.max]];
  const heads = [
    ['subscription share', percent, [...spread((r) => r.share), ['formula', (r) => r.closedForm?.share]]],
    ['share of comments', percent, spread((r) => r.messageShare)],
    ['copies', copies, [['mean', (r) => r.copiesPerComment], ['formula', (r) => r.closedForm?.copiesPerComment]]],
    ['comments in', short, spread((r) => r.messagesIn)],
    ['deliveries out', short, spread((r) => r.deliveriesOut)],
    ['busiest reader ÷ mean', multiple, [['viewers', (r) => r.busiest], ['deliveries', (r) => r.busiestDeliveries]]],
    ['Redis', short, [['deliveries', (r) => r.redisDeliveries], ['of limit', (r) => r.ofRedisLimit, percent]]],
    ['moved', percent, [['added', (r) => r.movedWhenAdded], ['lost', (r) => r.movedWhenLost]]],
  ];
  function drawTable(v) {
    const table = document.getElementById('table');
    const top = element('tr', {}, element('th', { class: 'fleet', scope: 'col', rowspan: '2' }, 'readers'), element('th', { class: 'name', scope: 'col', rowspan: '2' }, 'strategy'));
    const below = element('tr');
    const group = (i) => (i === 0 ? { class: 'group' } : {});
    for (const [head, , columns] of heads) {
      top.append(element('th', { colspan: String(columns.length), scope: 'colgroup', class: 'group' }, head));
      columns.forEach(([name], i) => below.append(element('th', { scope: 'col', ...group(i) }, name)));
    }
    const body = element('tbody');
    for (const readers of v.fleets) {
      v.used.filter((name) => v.at(readers, name)).forEach((name, i) => {
        const r = v.at(readers, name);
        const swatch = element('span', { class: 'swatch' });
        swatch.style.background = `var(--${Object.hasOwn(strategies, name) ? name : 'other'})`;
        const row = element('tr', i === 0 ? { class: 'first' } : {},
          element('td', { class: 'fleet' }, i === 0 ? number(readers) : element('span', { class: 'again' }, number(readers))),
          element('th', { class: 'name', scope: 'row' }, swatch, name));
        for (const [head, say, columns] of heads) {
          columns.forEach(([, figure, own], j) => row.append(element('td', group(j), quoted(figure(r), own ?? say) ?? '–')));
        }
        body.append(row);
      });
    }
    table.replaceChildren(element('thead', {}, top, below), body);
  }

  // draw shows the chosen popularity.
  function draw() {
    const v = view();
    document.getElementById('about').textContent = Object.hasOwn(popularities, popularity) ? `${popularity}: ${popularities[popularity]}` : popularity;
    document.getElementById('charts').replaceChildren(...specs.map((spec) => {
      const takeaway = spec.takeaway(v);
      return element('figure', { id: spec.id },
        element('h2', {}, spec.title), element('p', { class: 'unit' }, spec.unit), keys(spec, v),
        element('div', { class: 'plot' }, element('canvas', { id: `chart-${spec.id}`, role: 'img', 'aria-label': `${spec.title}. ${takeaway}` })),
        element('figcaption', {}, takeaway));
    }));
    drawCharts();
    drawTable(v);
  }

  function head() {
    const comments = number(scene.commentsPerMinute, { maximumSignificantDigits: 4 });
    const fleets = results.map((r) => r.readers);
    const [fewest, most] = [Math.min(...fleets), Math.max(...fleets)];
    document.getElementById('lead').textContent = `${count(scene.viewers, 'viewer', 'viewers')} of ${count(scene.videos, 'live video', 'live videos')}, each posting `
      + `${comments} ${scene.commentsPerMinute === 1 ? 'comment' : 'comments'} per minute, are placed on ${fewest < most ? `${number(fewest)} to ` : ''}${readersOf(most)} by `
      + `${count(names.length, 'strategy', 'strategies')}. The page shows what each reader receives, what Redis delivers, and which part of the viewers moves when the fleet changes.`;
    const made = document.getElementById('made');
    made.append(...(data.sceneName ? [`Scene ${data.sceneName}, seed`] : ['Seed']), ` ${scene.seed}, ε = ${number(data.epsilon, { maximumFractionDigits: 4 })}. Made by `, element('code', {}, data.command ?? 'lab simulate'));
    for (const name of choices) {
      const input = element('input', { type: 'radio', name: 'popularity', value: name });
      input.checked = name === popularity;
      input.addEventListener('change', () => {
        popularity = name;
        location.replace(`#${encodeURIComponent(name)}`);
        draw();
      });
      document.getElementById('choices').append(element('label', {}, input, name));
    }
    document.getElementById('popularities').hidden = choices.length < 2;
    const described = names.filter((name) => style(name).about);
    document.getElementById('strategies').append(...described.flatMap((name) => [element('dt', {}, name), element('dd', {}, style(name).about)]));
  }

  head();
  draw();
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawCharts);
  // Paper is white.
  addEventListener('beforeprint', () => { document.documentElement.classList.add('paper'); drawCharts(); });
  addEventListener('afterprint', () => { document.documentElement.classList.remove('paper'); drawCharts(); });
})();

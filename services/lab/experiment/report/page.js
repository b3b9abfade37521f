'use strict';
(() => {
  const { data, number, fixed, percent, multiple, rate, count, list, isNumber, numbers, element } = Page;
  const fleets = data.fleets ?? [];
  const changes = data.changes ?? [];
  const connecting = data.connecting ?? [];

  const nameOf = (f) => (f.proxy ? 'HAProxy' : f.routing);
  // The routings, in the order in which they are compared. Wide lines are drawn below narrow ones.
  const styles = {
    random: { colour: 'random', width: 3 },
    hash: { colour: 'hash', width: 6 },
    bounded: { colour: 'bounded', width: 2 },
    HAProxy: { colour: 'registry', width: 2 },
  };
  const styleOf = (name) => (Object.hasOwn(styles, name) ? styles[name] : { colour: 'other', width: 2 });
  const choices = [...new Set(fleets.map((f) => f.popularity))];
  let popularity = choices.find((name) => location.hash === `#${encodeURIComponent(name)}`) ?? choices[0];
  let charts = [];

  const micros = (value) => `${fixed(value, 1)}\u00a0µs`;
  const millis = (value) => (value < 1000 ? `${fixed(value, 1)}\u00a0ms` : `${fixed(value / 1000, 2)}\u00a0s`);
  const seconds = (value) => `${fixed(value, 1)}\u00a0s`;
  const all = (cpu) => cpu.readers + cpu.proxy + cpu.redis;

  // view has the fleets of the chosen popularity.
  function view() {
    const rows = fleets.filter((f) => f.popularity === popularity).sort((a, b) => a.readers - b.readers);
    const sizes = [...new Set(rows.map((f) => f.readers))];
    const names = Object.keys(styles).filter((name) => rows.some((f) => nameOf(f) === name));
    const at = (readers, name) => rows.find((f) => f.readers === readers && nameOf(f) === name);
    // The fleet of the example sentences has a proxy beside it, or is the middle one.
    const focus = rows.find((f) => f.proxy)?.readers ?? sizes[Math.floor(sizes.length / 2)];
    const said = (say) => list(names.map((name) => {
      const f = at(focus, name);
      const figure = f && say(f);
      return figure ? `${figure} with ${name}` : null;
    }).filter(Boolean));
    return { rows, sizes, names, at, focus, said };
  }

  // The charts of fleets. measured and simulated are the drawn figures.
  const specs = [
    {
      id: 'share', title: 'Subscription share of a reader', unit: 'part of all videos, mean of the readers',
      measured: (f) => f.share.mean, simulated: (f) => f.simulated?.share, say: percent, max: 1,
      takeaway: (v) => `Of all videos, each of ${count(v.focus, 'reader', 'readers')} is subscribed to ${v.said((f) => percent(f.share.mean))}.`,
    },
    {
      id: 'copies', title: 'Copies of each comment', unit: 'messages that readers received ÷ comments published',
      measured: (f) => f.copiesPerComment, simulated: (f) => f.simulated?.copiesPerComment, say: (value) => fixed(value, 2),
      takeaway: (v) => `With ${count(v.focus, 'reader', 'readers')}, Redis delivers each comment ${v.said((f) => `${fixed(f.copiesPerComment, 2)} times`)}.`,
    },
    {
      id: 'busiest', title: 'Busiest reader', unit: 'its viewers ÷ mean of all readers',
      measured: (f) => f.busiest, simulated: (f) => f.simulated?.busiest, say: multiple,
      takeaway: (v) => `With ${count(v.focus, 'reader', 'readers')}, the busiest has ${v.said((f) => `${multiple(f.busiest)} the mean`)}.`,
    },
    {
      id: 'cost', title: 'Processor time for a delivery', unit: 'microseconds, of all readers, the proxy and Redis', stacked: true,
      takeaway: (v) => `With ${count(v.focus, 'reader', 'readers')}, a delivery costs ${v.said((f) => micros(all(f.cpuMicrosPerDelivery)))}.`,
    },
  ];

  const palette = () => {
    const computed = getComputedStyle(document.documentElement);
    const colour = (name) => computed.getPropertyValue(`--${name}`).trim();
    return { colour, ink: colour('ink'), quiet: colour('quiet'), grid: colour('grid'), paper: colour('paper'), edge: colour('edge') };
  };
  const font = { family: getComputedStyle(document.body).fontFamily, size: 12 };
  const axis = (c, more = {}) => ({ grid: { color: c.grid, tickColor: c.grid }, border: { color: c.edge }, beginAtZero: true, ...more, ticks: { color: c.quiet, font, ...more.ticks } });
  const titled = (c, text) => ({ display: true, text, color: c.quiet, font, padding: 0 });
  const base = (c) => ({
    responsive: true, maintainAspectRatio: false, animation: false, font,
    interaction: { mode: 'index', intersect: false },
    plugins: {
      legend: { labels: { color: c.ink, font, usePointStyle: true, boxHeight: 7 } },
      tooltip: { backgroundColor: c.ink, titleColor: c.paper, bodyColor: c.paper, padding: 10, usePointStyle: true, boxPadding: 5, titleFont: { ...font, weight: '600' }, bodyFont: font },
    },
  });

  function fleetChart(spec, v, c) {
    const datasets = v.names.map((name) => {
      const { colour, width } = styleOf(name);
      return {
        label: name, data: v.sizes.map((readers) => (v.at(readers, name) ? spec.measured(v.at(readers, name)) : null)), borderColor: c.colour(colour), backgroundColor: c.colour(colour),
        borderWidth: width, pointRadius: width + 2, order: width, spanGaps: true,
      };
    });
    for (const name of v.names) {
      const values = v.sizes.map((readers) => (v.at(readers, name) ? spec.simulated(v.at(readers, name)) ?? null : null));
      if (numbers(values).length === 0) continue;
      datasets.push({
        label: `${name}, simulated`, data: values, borderColor: c.ink, backgroundColor: c.paper, borderWidth: 1.5, pointStyle: 'crossRot', pointRadius: 6, pointBorderWidth: 1.5, showLine: false, order: 0,
      });
    }
    const options = base(c);
    options.plugins.legend.labels.filter = (item, { datasets: shown }) => !item.text.includes('simulated') || item.datasetIndex === shown.findIndex((d) => d.label.includes('simulated'));
    options.plugins.legend.labels.generateLabels = (chart) => Chart.defaults.plugins.legend.labels.generateLabels(chart).map((label) => ({
      ...label, text: label.text.includes('simulated') ? 'simulated' : label.text,
    }));
    options.plugins.tooltip.callbacks = {
      title: ([item]) => count(v.sizes[item.dataIndex], 'reader', 'readers'),
      label: (item) => ` ${item.dataset.label}: ${spec.say(item.parsed.y)}`,
    };
    options.scales = {
      x: axis(c, { title: titled(c, 'readers'), offset: true }),
      y: axis(c, { max: spec.max, ticks: { callback: (value) => (spec.max === 1 ? `${number(100 * value)}\u00a0%` : number(value)) } }),
    };
    return { type: 'line', data: { labels: v.sizes.map((readers) => number(readers)), datasets }, options };
  }

  // costChart has a bar for each routing of each fleet, of the parts that processor time is used by.
  function costChart(v, c) {
    const bars = v.sizes.flatMap((readers) => v.names.filter((name) => v.at(readers, name)).map((name) => v.at(readers, name)));
    const parts = [['readers', 'readers', 'hash'], ['redis', 'Redis', 'ring'], ['proxy', 'HAProxy', 'random']];
    const options = base(c);
    options.plugins.tooltip.callbacks = { label: (item) => ` ${item.dataset.label}: ${micros(item.parsed.y)}` };
    options.scales = { x: axis(c, { stacked: true, grid: { display: false }, ticks: { maxRotation: 60 } }), y: axis(c, { stacked: true }) };
    return {
      type: 'bar', options,
      data: {
        labels: bars.map((f) => `${f.readers} ${nameOf(f)}`),
        datasets: parts.filter(([key]) => bars.some((f) => f.cpuMicrosPerDelivery[key] > 0)).map(([key, label, colour]) => ({
          label, data: bars.map((f) => f.cpuMicrosPerDelivery[key]), backgroundColor: c.colour(colour), maxBarThickness: 48,
        })),
      },
    };
  }

  // The charts of a change have the time after it on their x axis.
  function changeChart(change, c) {
    const line = (label, value, colour, axisID, more = {}) => ({
      label, data: change.samples.map((s) => ({ x: s.seconds, y: value(s) })), borderColor: c.colour(colour), backgroundColor: c.colour(colour), borderWidth: 2, pointRadius: 0, yAxisID: axisID, ...more,
    });
    const options = base(c);
    options.plugins.tooltip.callbacks = { title: ([item]) => `${fixed(item.parsed.x, 1)}\u00a0s`, label: (item) => ` ${item.dataset.label}: ${rate(item.parsed.y)}` };
    options.scales = {
      x: axis(c, { type: 'linear', title: titled(c, 'seconds'), beginAtZero: undefined, min: 0, max: change.samples.at(-1).seconds }),
      y: axis(c, { title: titled(c, 'viewers') }),
      perSecond: axis(c, { position: 'right', title: titled(c, 'a second'), grid: { display: false } }),
    };
    const datasets = [
      line('astray', (s) => s.misplaced, 'hash', 'y'), line('without stream', (s) => Math.max(0, data.viewers - s.connected), 'random', 'y'),
      line('moved a second', (s) => s.movedPerSecond, 'bounded', 'perSecond'), line('reconnects a second', (s) => s.reconnectsPerSecond, 'ring', 'perSecond', { borderDash: [4, 3] }),
    ];
    return { type: 'line', data: { datasets }, options };
  }

  const changeTitle = (change) => `${change.name}: ${change.from} to ${change.to}, ${change.routing}`;
  function changeTakeaway(change) {
    const settled = change.settled ? `All viewers were where they belong after ${seconds(change.settledSeconds)}` : 'Not all viewers came to where they belong';
    const outage = change.outageMillis.count > 0 ? `; those who lost their stream had none for ${millis(change.outageMillis.p50)} at the median and ${millis(change.outageMillis.max)} at most` : '';
    return `${settled}${outage}. ${number(change.verification.missing)} comments were lost, ${number(change.verification.duplicates)} came twice.`;
  }

  function figure(id, title, unit, takeaway) {
    return element('figure', { id },
      element('h2', {}, title), element('p', { class: 'unit' }, unit), element('div'),
      element('div', { class: 'plot' }, element('canvas', { id: `chart-${id}`, role: 'img', 'aria-label': `${title}. ${takeaway}` })), element('figcaption', {}, takeaway));
  }

  function drawCharts() {
    for (const chart of charts) chart.destroy();
    const c = palette();
    const draw = (id, config) => new Chart(document.getElementById(`chart-${id}`), config);
    charts = changes.map((change, i) => draw(`change${i}`, changeChart(change, c)));
    if (fleets.length > 0) {
      const v = view();
      charts.push(...specs.map((spec) => draw(spec.id, spec.stacked ? costChart(v, c) : fleetChart(spec, v, c))));
    }
  }

  // A table has columns of [head, value]; what is not known is a dash.
  function table(id, columns, rows) {
    const shown = (value) => (value === undefined || value === null || value === '' ? '–' : value);
    const head = element('tr', {}, ...columns.map(([name]) => element('th', { scope: 'col' }, name)));
    const body = rows.map((row, i) => element('tr', i > 0 && row.readers !== rows[i - 1].readers ? { class: 'first' } : {}, ...columns.map(([, value]) => element('td', {}, shown(value(row))))));
    document.getElementById(id).replaceChildren(element('thead', {}, head), element('tbody', {}, ...body));
  }
  const spread = (s, say) => `${say(s.mean)} (${say(s.min)} to ${say(s.max)})`;
  const maybe = (value, say) => (isNumber(value) ? say(value) : null);
  const wrong = (v) => `${number(v.missing)} / ${number(v.duplicates)} / ${number(v.misordered)}`;

  function drawFleets() {
    const v = view();
    document.getElementById('charts').replaceChildren(...specs.map((spec) => figure(spec.id, spec.title, spec.unit, spec.takeaway(v))));
    const two = (value) => fixed(value, 2);
    table('fleetTable', [
      ['readers', (f) => number(f.readers)], ['routing', nameOf],
      ['share', (f) => spread(f.share, percent)], ['simulated', (f) => maybe(f.simulated?.share, percent)], ['closed form', (f) => maybe(f.closedForm?.share, percent)],
      ['copies', (f) => two(f.copiesPerComment)], ['simulated', (f) => maybe(f.simulated?.copiesPerComment, two)], ['closed form', (f) => maybe(f.closedForm?.copiesPerComment, two)],
      ['in a second', (f) => spread(f.messagesIn, rate)], ['viewers', (f) => spread(f.viewersOfReader, rate)], ['busiest', (f) => multiple(f.busiest)], ['simulated', (f) => maybe(f.simulated?.busiest, multiple)],
      ['deliveries/s', (f) => rate(f.deliveriesPerSecond)], ['CPU: readers', (f) => micros(f.cpuMicrosPerDelivery.readers)], ['HAProxy', (f) => (f.proxy ? micros(f.cpuMicrosPerDelivery.proxy) : null)],
      ['Redis', (f) => micros(f.cpuMicrosPerDelivery.redis)], ['all', (f) => micros(all(f.cpuMicrosPerDelivery))], ['p50', (f) => millis(f.latencyMillis.p50)], ['p99', (f) => millis(f.latencyMillis.p99)],
      ['sent on', (f) => percent(f.sentOn)], ['settled', (f) => (f.settled ? seconds(f.settledSeconds) : `not: ${count(f.astray, 'viewer', 'viewers')} astray`)], ['lost / twice / misordered', (f) => wrong(f.verification)],
    ], v.rows);
  }

  function draw() {
    if (fleets.length > 0) drawFleets();
    drawCharts();
  }

  function head() {
    const comments = number(data.commentsPerMinute, { maximumSignificantDigits: 4 });
    document.getElementById('lead').textContent = `${count(data.viewers, 'viewer', 'viewers')} of ${count(data.videos, 'live video', 'live videos')}, each posting ${comments} `
      + `${data.commentsPerMinute === 1 ? 'comment' : 'comments'} per minute, over real sockets; every service is a process of its own. Viewers check every comment that they get.`;
    document.getElementById('made').append('Made by ', element('code', {}, data.command), ` on ${data.machine}.`);
    for (const goal of data.goals ?? []) document.getElementById('goals').append(element('li', {}, element('strong', {}, goal.met ? 'Met: ' : 'Not met: '), goal.says));
    for (const note of data.notes ?? []) document.getElementById('goals').append(element('li', {}, note));
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
    for (const [id, rows] of [['fleets', fleets], ['changes', changes], ['connecting', connecting]]) document.getElementById(id).hidden = rows.length === 0;
  }

  function drawOnce() {
    document.getElementById('changeCharts').append(...changes.map((change, i) => figure(`change${i}`, changeTitle(change), 'viewers, left; a second, right', changeTakeaway(change))));
    table('changeTable', [
      ['', (x) => x.name], ['readers', (x) => `${number(x.from)} to ${number(x.to)}`], ['routing', (x) => x.routing],
      ['settled', (x) => (x.settled ? seconds(x.settledSeconds) : 'never')], ['astray', (x) => number(x.astray)], ['moved', (x) => number(x.moved)], ['most a second', (x) => fixed(x.peakMovedPerSecond, 1)], ['bound', (x) => fixed(x.moveBoundPerSecond, 1)],
      ['reconnects', (x) => number(x.reconnects)], ['most a second', (x) => fixed(x.peakReconnectsPerSecond, 1)],
      ['without stream: p50', (x) => millis(x.outageMillis.p50)], ['p99', (x) => millis(x.outageMillis.p99)], ['max', (x) => millis(x.outageMillis.max)],
      ['share after', (x) => spread(x.share, percent)], ['busiest after', (x) => multiple(x.busiest)], ['lost / twice / misordered', (x) => wrong(x.verification)],
    ], changes);
    table('connectingTable', [
      ['readers', (x) => number(x.readers)], ['routing', (x) => x.routing], ['connects a second', (x) => number(x.perSecond)], ['sent on', (x) => percent(x.sentOn)],
      ['p50', (x) => millis(x.firstEventMillis.p50)], ['p99', (x) => millis(x.firstEventMillis.p99)], ['max', (x) => millis(x.firstEventMillis.max)],
    ], connecting);
  }

  head();
  drawOnce();
  draw();
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawCharts);
  // Paper is white.
  addEventListener('beforeprint', () => { document.documentElement.classList.add('paper'); drawCharts(); });
  addEventListener('afterprint', () => { document.documentElement.classList.remove('paper'); drawCharts(); });
})();
